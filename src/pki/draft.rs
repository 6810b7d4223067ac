//! Certificates that are wrong on purpose, for tests, exercises and demonstrations of what a verifier refuses.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::pki::authority::failed;
use crate::pki::credential::Credential;
use crate::pki::key::{Key, KeyType};
use crate::pki::name::{ClientIdentity, HostName};
use crate::pki::profile::{self, Options, Role, Serial, Validity};
use crate::problem::Problem;

/// A draft of a certificate that [`Authority::sign`](crate::pki::Authority::sign) signs as it is, without a check.
///
/// It begins as exactly what the authority would issue, so that one change is exactly one defect:
///
/// ```
/// use doorward::pki::{Authority, Draft};
/// use time::OffsetDateTime;
///
/// let authority = Authority::ephemeral()?;
/// let expired = Draft::client(&"alice".parse()?)?
///     .valid(OffsetDateTime::UNIX_EPOCH, OffsetDateTime::now_utc());
/// let credential = authority.sign(&expired)?;
/// assert_eq!(credential.chain().len(), 1);
/// # Ok::<(), doorward::problem::Problem>(())
/// ```
#[derive(Clone, Debug)]
pub struct Draft {
    params: CertificateParams,
    key: KeyType,
    common_name: Option<Vec<u8>>,
}

/// What a certificate's extended key usage says it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    /// `serverAuth`.
    Server,
    /// `clientAuth`.
    Client,
    /// `anyExtendedKeyUsage`.
    Any,
    /// `codeSigning`: neither of the two that TLS knows.
    CodeSigning,
}

/// A subject alternative name of any bytes at all: control characters, the wrong length, not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RawName {
    /// A `dNSName`.
    Dns(Vec<u8>),
    /// A `uniformResourceIdentifier`.
    Uri(Vec<u8>),
    /// An `rfc822Name`.
    Email(Vec<u8>),
    /// An `iPAddress`: right are 4 or 16 bytes.
    Ip(Vec<u8>),
}

impl Draft {
    /// A server's certificate as it should be.
    ///
    /// # Errors
    /// As [`Authority::server`](crate::pki::Authority::server), for the names.
    pub fn server(names: &[HostName]) -> Result<Self, Problem> {
        Ok(Self::new(profile::server(names, usual(Role::Server)?)?))
    }

    /// A client's certificate as it should be.
    ///
    /// # Errors
    /// As [`Authority::client`](crate::pki::Authority::client).
    pub fn client(identity: &ClientIdentity) -> Result<Self, Problem> {
        Ok(Self::new(profile::client(identity, usual(Role::Client)?)?))
    }

    fn new(params: CertificateParams) -> Self {
        Self { params, key: KeyType::default(), common_name: None }
    }

    /// Valid between these two moments, in whatever order and however long.
    #[must_use]
    pub fn valid(mut self, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Self {
        self.params.not_before = not_before;
        self.params.not_after = not_after;
        self
    }

    /// With a key of this kind.
    #[must_use]
    pub fn key(self, key: KeyType) -> Self {
        Self { key, ..self }
    }

    /// With exactly these extended key usages; with none the extension is left out.
    #[must_use]
    pub fn extended_usages(mut self, usages: &[Usage]) -> Self {
        let purpose = |usage: &Usage| match usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Usage::Any => ExtendedKeyUsagePurpose::Any,
            Usage::CodeSigning => ExtendedKeyUsagePurpose::CodeSigning,
        };
        self.params.extended_key_usages = usages.iter().map(purpose).collect();
        self
    }

    /// With a key usage that lets the key sign certificates and lists, but no handshake.
    #[must_use]
    pub fn key_usage_of_an_authority(mut self) -> Self {
        self.params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        self
    }

    /// With a key usage of `keyEncipherment` only, as a server of the RSA key exchange would have.
    #[must_use]
    pub fn key_usage_of_encipherment(mut self) -> Self {
        self.params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        self
    }

    /// Without a key usage.
    #[must_use]
    pub fn without_key_usage(mut self) -> Self {
        self.params.key_usages.clear();
        self
    }

    /// With exactly these subject alternative names; with none the extension is left out.
    #[must_use]
    pub fn names(mut self, names: &[RawName]) -> Self {
        self.params.subject_alt_names.clear();
        if !names.is_empty() {
            let names: Vec<u8> = names.iter().flat_map(RawName::encode).collect();
            let content = tag_length_value(0x30, &names);
            self = self.extension(&[2, 5, 29, 17], Criticality::Ignorable, content);
        }
        self
    }

    /// With these bytes as the common name; they need not be UTF-8, though the certificate says they are.
    #[must_use]
    pub fn common_name(self, bytes: &[u8]) -> Self {
        Self { common_name: Some(bytes.to_vec()), ..self }
    }

    /// With basic constraints that make it an authority. Its key usage stays as it is.
    #[must_use]
    pub fn claiming_to_be_an_authority(mut self) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    /// Without basic constraints and without a subject key identifier.
    #[must_use]
    pub fn without_basic_constraints(mut self) -> Self {
        self.params.is_ca = IsCa::NoCa;
        self
    }

    /// Without an authority key identifier, which strict verifiers demand.
    #[must_use]
    pub fn without_authority_key_identifier(mut self) -> Self {
        self.params.use_authority_key_identifier_extension = false;
        self
    }

    /// With this serial number, such as one that is taken.
    #[must_use]
    pub fn serial(mut self, serial: &Serial) -> Self {
        self.params.serial_number = Some(serial.to_rcgen());
        self
    }

    /// With an extension no verifier knows and none may overlook.
    #[must_use]
    pub fn with_unknown_critical_extension(self) -> Self {
        // 2.25 with a number of one's own needs no registration (X.667); the content is an ASN.1 NULL.
        self.extension(&[2, 25, 4_207_849_484], Criticality::Critical, vec![5, 0])
    }

    /// The certificate signed by its own key, so that nobody vouches for it.
    ///
    /// # Errors
    /// [`Fault::CertsCryptography`](crate::problem::Fault::CertsCryptography) if signing fails.
    pub fn self_signed(&self) -> Result<Credential, Problem> {
        let key = Key::generate(self.key)?;
        let (params, patch) = self.prepare(&key);
        let certificate =
            params.self_signed(&Patching { key: &key, patch: &patch }).map_err(failed)?;
        Credential::new(patch.apply_to_certificate(certificate), Vec::new(), key)
    }

    /// A fresh key, and the certificate for it that the issuer signs.
    pub(crate) fn signed_by(
        &self,
        issuer: &CertificateDer<'_>,
        issuer_key: &Key,
    ) -> Result<(CertificateDer<'static>, Key), Problem> {
        let key = Key::generate(self.key)?;
        let (params, patch) = self.prepare(&key);
        let signer = Patching { key: issuer_key, patch: &patch };
        let issuer = rcgen::Issuer::from_ca_cert_der(issuer, signer).map_err(failed)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok((patch.apply_to_certificate(certificate), key))
    }

    fn prepare(&self, key: &Key) -> (CertificateParams, Patch) {
        let mut params = self.params.clone();
        profile::seal(&mut params, key);
        let patch = self.common_name.as_deref().map_or_else(Patch::default, Patch::common_name);
        if let Some(bytes) = &self.common_name {
            let stand_in = DnValue::Utf8String("x".repeat(bytes.len()));
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, stand_in);
        }
        (params, patch)
    }

    fn extension(mut self, oid: &[u64], criticality: Criticality, content: Vec<u8>) -> Self {
        let mut extension = CustomExtension::from_oid_content(oid, content);
        extension.set_criticality(matches!(criticality, Criticality::Critical));
        self.params.custom_extensions.push(extension);
        self
    }
}

#[derive(Clone, Copy)]
enum Criticality {
    Critical,
    Ignorable,
}

impl RawName {
    fn encode(&self) -> Vec<u8> {
        // The context tags of GeneralName, RFC 5280 section 4.2.1.6.
        match self {
            Self::Email(bytes) => tag_length_value(0x81, bytes),
            Self::Dns(bytes) => tag_length_value(0x82, bytes),
            Self::Uri(bytes) => tag_length_value(0x86, bytes),
            Self::Ip(bytes) => tag_length_value(0x87, bytes),
        }
    }
}

/// Bytes of the to-be-signed part that are exchanged for others of the same length just before it is signed.
#[derive(Default)]
struct Patch {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Patch {
    /// The library writes common names in UTF-8 only, so a stand-in is written and exchanged.
    fn common_name(bytes: &[u8]) -> Self {
        let attribute = |value: &[u8]| {
            let mut attribute = vec![0x06, 0x03, 0x55, 0x04, 0x03];
            attribute.extend(tag_length_value(0x0C, value));
            attribute
        };
        Self { from: attribute(&vec![b'x'; bytes.len()]), to: attribute(bytes) }
    }

    fn apply(&self, der: &[u8]) -> Vec<u8> {
        let mut patched = der.to_vec();
        // A certificate that signed itself holds the name twice.
        let width = self.from.len().max(1);
        let places =
            der.windows(width).enumerate().filter(|(_, window)| *window == self.from.as_slice());
        for (start, _) in places {
            let rest = patched.get_mut(start..);
            if let Some(place) = rest.and_then(|rest| rest.get_mut(..self.to.len())) {
                place.copy_from_slice(&self.to);
            }
        }
        patched
    }

    fn apply_to_certificate(&self, certificate: rcgen::Certificate) -> CertificateDer<'static> {
        CertificateDer::from(self.apply(&CertificateDer::from(certificate)))
    }
}

/// A key that signs what the patch makes of a message.
struct Patching<'a> {
    key: &'a Key,
    patch: &'a Patch,
}

impl PublicKeyData for Patching<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl SigningKey for Patching<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(&self.patch.apply(message))
    }
}

/// One element in DER (X.690 section 8.1): tag, length, value.
pub(crate) fn tag_length_value(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match u8::try_from(value.len()) {
        Ok(short) if short < 0x80 => element.push(short),
        Ok(_) | Err(_) => {
            let length: Vec<u8> =
                value.len().to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            // A length has at the most 8 bytes, so the count fits beside the flag of the long form.
            element.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
            element.extend(length);
        }
    }
    element.extend_from_slice(value);
    element
}

fn usual(role: Role) -> Result<Validity, Problem> {
    Validity::new(role, Options::default().days, OffsetDateTime::now_utc(), None)
}

//! Certificate signing requests (PKCS#10): somebody keeps the key, and asks for a certificate for it.
//!
//! The key and the names are all that is taken from a request. Everything else in the certificate is what this
//! authority always writes, so that no request can ask for more than a name.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use rcgen::{PublicKeyData, SignatureAlgorithm};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::asn1_rs::Any;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Version};
use x509_parser::x509::X509Name;

use crate::peer::PeerText;
use crate::pki::authority::Authority;
use crate::pki::credential::Facts;
use crate::pki::disk::{self, Secrecy};
use crate::pki::inventory::{self, Issued, Line};
use crate::pki::keyfile;
use crate::pki::name::{ClientIdentity, ClientName, HostName};
use crate::pki::pem;
use crate::pki::profile::{self, MOST_NAMES, Role, Serial};
use crate::pki::store::{self, Store};
use crate::problem::{Fault, Problem};

/// A request that was signed by the key it holds.
#[derive(Clone, Debug)]
pub struct Request {
    key: PublicKey,
    common_name: Option<String>,
    names: Vec<Asked>,
    left_out: Vec<String>,
}

/// What was signed for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Where the chain was written.
    pub chain: PathBuf,
    /// Its names with their types, such as `dns:localhost`.
    pub names: Vec<String>,
    /// Its serial number.
    pub serial: Serial,
    /// Its last second.
    pub not_after: OffsetDateTime,
}

/// A subject alternative name somebody asks for.
#[derive(Clone, Debug)]
enum Asked {
    Dns(String),
    Ip(Vec<u8>),
    Uri(String),
    Email(String),
    Other,
}

impl Request {
    /// Reads a request from a file: PEM or DER.
    ///
    /// # Errors
    /// As [`keyfile::read_request`] and [`Request::parse`].
    pub fn open(path: &Path) -> Result<Self, Problem> {
        Self::parse(&keyfile::read_request(path)?)
    }

    /// Reads a request, and verifies that its key has signed it.
    ///
    /// # Errors
    /// [`Fault::CertsBadRequest`] if it cannot be parsed, if its signature is wrong, if its key is of a kind no
    /// handshake here accepts, or if it asks to be an authority.
    pub fn parse(der: &[u8]) -> Result<Self, Problem> {
        let unreadable = || bad("it cannot be parsed", "make the request again");
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| unreadable())?;
        let info = &request.certification_request_info;
        if !rest.is_empty() || info.version != X509Version::V1 {
            return Err(unreadable());
        }
        verify(der, info.subject_pki.raw, &request).ok_or_else(|| {
            bad(
                "it is not signed by its own key, or with an algorithm that is not accepted here",
                "make it with a P-256, P-384, Ed25519, RSA (2048 bits or more) or ML-DSA key",
            )
        })?;
        // The kind of the key is what the key says, never what the signature says: a P-384 key may sign with SHA-256.
        let key = PublicKey::read(info.subject_pki.raw, &info.subject_pki.subject_public_key.data)
            .ok_or_else(|| bad("its key is of an unsupported kind", "use a P-256 key"))?;
        let common_name = common_name(&info.subject)?;
        let mut asked = Self { key, common_name, names: Vec::new(), left_out: Vec::new() };
        for attribute in info.iter_attributes() {
            match attribute.parsed_attribute() {
                ParsedCriAttribute::ExtensionRequest(requested) => {
                    requested.extensions.iter().try_for_each(|wish| asked.consider(wish))?;
                }
                // A password for the authority's own use; nothing of it belongs into a certificate.
                ParsedCriAttribute::ChallengePassword(_)
                | ParsedCriAttribute::UnsupportedAttribute => {
                    asked.left_out.push(format!("attribute {}", attribute.oid));
                }
            }
        }
        Ok(asked)
    }

    /// What it asks for that is not taken over, for the operator to know.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Its names, as a server's.
    ///
    /// # Errors
    /// [`Fault::CertsBadRequest`] for no name or another kind of name, [`Fault::CertsBadName`] for a malformed one.
    pub fn hosts(&self) -> Result<Vec<HostName>, Problem> {
        let mut hosts = Vec::new();
        for name in &self.names {
            let host = match name {
                Asked::Dns(name) => name.parse()?,
                Asked::Ip(bytes) => address(bytes)?.parse()?,
                Asked::Uri(_) | Asked::Email(_) | Asked::Other => {
                    return Err(bad(
                        "it asks for a name that no server has",
                        "ask for DNS names and addresses only, or sign it as a client's",
                    ));
                }
            };
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        if hosts.is_empty() {
            let remedy =
                "make it with subjectAltName=DNS:app.test, because a common name is no host";
            return Err(bad("it has no subject alternative name", remedy));
        }
        Ok(hosts)
    }

    /// Its name, as a client's: from the DNS name `NAME.client.internal`, or else from the common name.
    ///
    /// # Errors
    /// [`Fault::CertsBadRequest`] for no name, two names or another kind of name; [`Fault::CertsBadName`] for a
    /// malformed one.
    pub fn identity(&self) -> Result<ClientIdentity, Problem> {
        let mut identity = ClientIdentity::from(self.client_name()?);
        for name in &self.names {
            identity = match name {
                Asked::Dns(_) => identity,
                Asked::Uri(id) if identity.spiffe().is_none() => identity.with_spiffe(id.parse()?),
                Asked::Email(email) => identity.with_email(email.parse()?),
                Asked::Uri(_) | Asked::Ip(_) | Asked::Other => {
                    return Err(bad(
                        "it asks for a name that no client has, or for two SPIFFE IDs",
                        "ask for DNS:NAME.client.internal, one SPIFFE ID and e-mail addresses only",
                    ));
                }
            };
        }
        Ok(identity)
    }

    fn client_name(&self) -> Result<ClientName, Problem> {
        let suffix = format!(".{}", ClientName::DOMAIN);
        let mut names = Vec::new();
        for name in &self.names {
            if let Asked::Dns(name) = name {
                let label = name.strip_suffix(&suffix).ok_or_else(|| {
                    let reason =
                        format!("\"{}\" is no client's name", PeerText::from(name.as_str()));
                    bad(&reason, "ask for DNS:NAME.client.internal, or sign it as a server's")
                })?;
                names.push(label);
            }
        }
        names.extend(self.common_name.as_deref());
        names.dedup();
        match names.as_slice() {
            [name] => name.parse(),
            [] => Err(bad(
                "it does not say whose it is",
                "make it with the subject /CN=NAME, or with subjectAltName=DNS:NAME.client.internal",
            )),
            [_, _, ..] => Err(bad(
                "it names several clients",
                "let the common name and the DNS name be those of one client",
            )),
        }
    }

    fn consider(&mut self, wish: &X509Extension<'_>) -> Result<(), Problem> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the enum is open-ended; nothing is taken over that is not named here"
        )]
        match wish.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(wanted) if self.names.is_empty() => {
                if wanted.general_names.len() > MOST_NAMES {
                    let reason = format!("it asks for {} names", wanted.general_names.len());
                    let remedy = format!("ask for {MOST_NAMES} at the most");
                    return Err(bad(&reason, &remedy));
                }
                self.names = wanted.general_names.iter().map(Asked::from).collect();
            }
            ParsedExtension::BasicConstraints(wanted) if wanted.ca => {
                let remedy = "make it without CA:TRUE; an authority signs no other authority here";
                return Err(bad("it asks to be an authority", remedy));
            }
            // CA:FALSE is what every certificate here says.
            ParsedExtension::BasicConstraints(_) => {}
            ParsedExtension::SubjectAlternativeName(_) => {
                return Err(bad("it has two lists of names", "write one subjectAltName"));
            }
            ParsedExtension::ParseError { .. } => {
                let reason = format!("its {} cannot be parsed", extension_name(wish));
                return Err(bad(&reason, "make the request again"));
            }
            _ => self.left_out.push(extension_name(wish)),
        }
        Ok(())
    }
}

/// A public key whose private half is elsewhere.
#[derive(Clone, Debug)]
struct PublicKey {
    algorithm: &'static SignatureAlgorithm,
    bits: Vec<u8>,
}

impl PublicKey {
    /// The kind is the one that, written again, gives the very bytes that were read.
    fn read(der: &[u8], bits: &[u8]) -> Option<Self> {
        let kinds: [&SignatureAlgorithm; 5] = [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
            &rcgen::PKCS_ML_DSA_65,
        ];
        let mut keys = kinds.into_iter().map(|algorithm| Self { algorithm, bits: bits.to_vec() });
        keys.find(|key| key.subject_public_key_info() == der)
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl Authority {
    /// The chain for a request: its certificate, then the authorities that are presented with it.
    ///
    /// # Errors
    /// As [`Request::hosts`] or [`Request::identity`], and as [`Authority::server`] or [`Authority::client`].
    pub fn sign_request(
        &self,
        request: &Request,
        role: Role,
        days: u32,
    ) -> Result<Vec<CertificateDer<'static>>, Problem> {
        let (params, hosts) = match role {
            Role::Server => {
                let hosts = request.hosts()?;
                (profile::server(&hosts, self.validity(role, days)?)?, hosts)
            }
            Role::Client => {
                let identity = request.identity()?;
                let named = identity.name().dns().parse().map(|host: HostName| vec![host]);
                (profile::client(&identity, self.validity(role, days)?)?, named?)
            }
            Role::Authority => return Err(bad("no authority is signed here", "sign a server")),
        };
        let certificate = self
            .certify(params, &request.key, role)
            .map_err(|problem| self.name_the_names(problem, &hosts))?;
        if !holds(&certificate, &request.key.subject_public_key_info()) {
            let message = "the certificate would not hold the key of the request";
            let remedy = "report this, with the kind of the key";
            return Err(Problem::error(Fault::CertsCryptography, message, remedy));
        }
        let chain = std::iter::once(certificate).chain(self.presented());
        Ok(chain.collect())
    }
}

impl Store {
    /// Signs a request, and writes the chain to a new file anywhere. The inventory knows of it, so that it can
    /// be revoked; it cannot be renewed, because its key is elsewhere.
    ///
    /// # Errors
    /// As [`Authority::sign_request`]; [`Fault::CertsExists`] if something is where the chain would go.
    pub fn sign(
        &self,
        request: &Request,
        role: Role,
        days: u32,
        to: &Path,
    ) -> Result<Signed, Problem> {
        let to = std::path::absolute(to).map_err(|error| disk::unwritable(to, &error))?;
        let _lock = store::lock(self.layout())?;
        let chain = self.authority()?.sign_request(request, role, days)?;
        let leaf = chain.first().ok_or_else(|| bad("nothing was signed", "report this"))?;
        let facts = Facts::read(leaf)?;
        let names = match role {
            Role::Client => request.identity()?.typed_names(),
            Role::Server | Role::Authority => {
                request.hosts()?.iter().map(HostName::typed).collect()
            }
        };
        let issued = Issued::new(&facts, role, names.clone());
        let file = pem::certificates(&chain);
        let file = disk::prepare_new(&to, file.as_bytes(), Secrecy::Public)?;
        inventory::record(&self.layout().inventory(), &[Line::Issued(issued)])?;
        file.appear()?;
        Ok(Signed { chain: to, names, serial: facts.serial, not_after: facts.not_after })
    }
}

impl From<&GeneralName<'_>> for Asked {
    fn from(name: &GeneralName<'_>) -> Self {
        match name {
            GeneralName::DNSName(name) => Self::Dns((*name).to_owned()),
            GeneralName::IPAddress(bytes) => Self::Ip(bytes.to_vec()),
            GeneralName::URI(uri) => Self::Uri((*uri).to_owned()),
            GeneralName::RFC822Name(email) => Self::Email((*email).to_owned()),
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => Self::Other,
        }
    }
}

/// Whether the request is signed by its own key, with any algorithm that our handshakes accept.
fn verify(der: &[u8], key: &[u8], request: &X509CertificationRequest<'_>) -> Option<()> {
    let content =
        |der| Any::from_der(der).ok().map(|(rest, any): (&[u8], Any<'_>)| (rest, any.data));
    let (after_info, _) = content(content(der)?.1)?;
    let signature_algorithm = content(after_info)?.1;
    let key_algorithm = content(content(key)?.1)?.1;
    let info = &request.certification_request_info;
    let public_key = info.subject_pki.subject_public_key.data.as_ref();
    let signature = request.signature_value.data.as_ref();
    let provider = default_provider();
    let fits = provider.signature_verification_algorithms.all.iter().find(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == key_algorithm
            && algorithm.signature_alg_id().as_ref() == signature_algorithm
    })?;
    fits.verify_signature(public_key, info.raw, signature).ok()
}

fn common_name(subject: &X509Name<'_>) -> Result<Option<String>, Problem> {
    let unreadable = |_| bad("its common name cannot be read", "write it in ASCII letters");
    let mut names = subject.iter_common_name().map(|name| name.as_str().map(str::to_owned));
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => name.map(Some).map_err(unreadable),
        (Some(_), Some(_)) => Err(bad("it has two common names", "write one")),
    }
}

fn address(bytes: &[u8]) -> Result<String, Problem> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).to_string());
    let sixteen = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).to_string());
    four.or_else(|_| sixteen())
        .map_err(|_| bad("it asks for an address of the wrong length", "write IP:192.0.2.7"))
}

fn holds(certificate: &CertificateDer<'_>, key: &[u8]) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, certificate)| certificate.public_key().raw == key)
}

fn extension_name(wish: &X509Extension<'_>) -> String {
    let oid = wish.oid.to_id_string();
    match oid.as_str() {
        "2.5.29.14" => "subjectKeyIdentifier".to_owned(),
        "2.5.29.15" => "keyUsage".to_owned(),
        "2.5.29.17" => "subjectAltName".to_owned(),
        "2.5.29.19" => "basicConstraints".to_owned(),
        "2.5.29.37" => "extendedKeyUsage".to_owned(),
        _ => format!("extension {oid}"),
    }
}

fn bad(reason: &str, remedy: &str) -> Problem {
    Problem::error(Fault::CertsBadRequest, format!("the request is refused: {reason}"), remedy)
}

#[cfg(test)]
#[cfg(unix)]
#[path = "request_tests.rs"]
mod tests;

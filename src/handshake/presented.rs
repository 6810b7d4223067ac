//! The certificate a visitor showed, read once, within bounds: who it says it is.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::peer::PeerText;
use crate::refusal::{Refusal, Refused};

/// What a certificate says of its holder. It vouches for nothing by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    names: Vec<Name>,
    unreadable: Option<PeerText>,
    subject: PeerText,
    serial: PeerText,
    pin: Pin,
    fingerprint: [u8; 32],
    expires: UnixTime,
}

/// A typed name from a certificate, byte for byte as it stands there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A `dNSName` of the subject alternative names, in lower case (RFC 4343: case means nothing).
    Dns(String),
    /// A `uniformResourceIdentifier`, such as a SPIFFE identity.
    Uri(String),
    /// An `rfc822Name`: an e-mail address.
    Email(String),
    /// A common name of the subject. Name constraints do not apply to it.
    Common(String),
}

/// The SHA-256 of a public key (`SubjectPublicKeyInfo`), which a renewal with the same key keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin([u8; 32]);

impl Presented {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`Refusal::HandshakeOversized`] above the bounds, before anything is parsed or kept;
    /// [`Refusal::HandshakeBadCertificate`] where it is no certificate.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, Refused> {
        let length = certificate.len();
        if length > LONGEST_CERTIFICATE {
            return Err(
                Refusal::HandshakeOversized.because(format!("a certificate of {length} bytes"))
            );
        }
        let unreadable = |_| Refusal::HandshakeBadCertificate.because("it cannot be parsed");
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(unreadable)?;
        let mut names = Names::default();
        names.alternative(&parsed)?;
        names.common(&parsed)?;
        let pin = sha256(parsed.public_key().raw);
        let expires = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        Ok(Self {
            names: names.typed,
            unreadable: names.unreadable,
            subject: PeerText::new(parsed.subject().to_string().as_bytes()),
            serial: PeerText::new(hex(parsed.raw_serial()).as_bytes()),
            pin: Pin(pin),
            fingerprint: sha256(certificate),
            expires: UnixTime::since_unix_epoch(std::time::Duration::from_secs(expires)),
        })
    }

    /// A certificate of which only this is left, for the gates that look at nothing else.
    pub(crate) fn remembered(names: Vec<Name>, unreadable: Option<PeerText>, pin: Pin) -> Self {
        Self {
            names,
            unreadable,
            subject: PeerText::default(),
            serial: PeerText::default(),
            pin,
            fingerprint: [0; 32],
            expires: UnixTime::since_unix_epoch(std::time::Duration::ZERO),
        }
    }

    /// The names it holds, alternative names first.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// The first name that is not what its type says: with control bytes, no ASCII, no UTF-8.
    #[must_use]
    pub fn unreadable_name(&self) -> Option<&PeerText> {
        self.unreadable.as_ref()
    }

    /// The subject, for people.
    #[must_use]
    pub fn subject(&self) -> &PeerText {
        &self.subject
    }

    /// The serial number in hexadecimal, as revocation lists and other tools print it.
    #[must_use]
    pub fn serial(&self) -> &PeerText {
        &self.serial
    }

    /// The pin of its public key.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// The SHA-256 of the whole certificate, which a renewal changes.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Its last moment.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.expires
    }
}

/// Names as they are collected, each within bounds.
#[derive(Default)]
struct Names {
    typed: Vec<Name>,
    unreadable: Option<PeerText>,
}

impl Names {
    fn alternative(&mut self, certificate: &X509Certificate<'_>) -> Result<(), Refused> {
        let malformed =
            |_| Refusal::HandshakeBadCertificate.because("the alternative names cannot be parsed");
        let extension = certificate.subject_alternative_name().map_err(malformed)?;
        let Some(extension) = extension else { return Ok(()) };
        let count = extension.value.general_names.len();
        if count > MOST_NAMES {
            return Err(Refusal::HandshakeOversized.because(format!("{count} names")));
        }
        extension.value.general_names.iter().try_for_each(|name| self.general(name))
    }

    fn general(&mut self, name: &GeneralName<'_>) -> Result<(), Refused> {
        let (text, make): (&str, fn(String) -> Name) = match name {
            GeneralName::DNSName(text) => (text, |text| Name::Dns(text.to_ascii_lowercase())),
            GeneralName::URI(text) => (text, Name::Uri),
            GeneralName::RFC822Name(text) => (text, Name::Email),
            GeneralName::Invalid(_, bytes) => {
                self.strange(bytes);
                return Ok(());
            }
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => return Ok(()),
        };
        if text.len() > LONGEST_NAME {
            let what = format!("a name of {} bytes", text.len());
            return Err(Refusal::HandshakeOversized.because(what));
        }
        // RFC 5280 section 4.2.1.6: all three are IA5String; a name holds no space and no control byte.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.strange(text.as_bytes());
        } else {
            self.typed.push(make(text.to_owned()));
        }
        Ok(())
    }

    fn common(&mut self, certificate: &X509Certificate<'_>) -> Result<(), Refused> {
        for attribute in certificate.subject().iter_common_name().take(MOST_NAMES) {
            let raw = attribute.attr_value().data;
            if raw.len() > LONGEST_NAME {
                let what = format!("a common name of {} bytes", raw.len());
                return Err(Refusal::HandshakeOversized.because(what));
            }
            match attribute.as_str() {
                Ok(text) if !text.chars().any(char::is_control) => {
                    self.typed.push(Name::Common(text.to_owned()));
                }
                Ok(_) | Err(_) => self.strange(raw),
            }
        }
        Ok(())
    }

    fn strange(&mut self, bytes: &[u8]) {
        self.unreadable.get_or_insert_with(|| PeerText::new(bytes));
    }
}

/// Whether the certificate says it is for clients (RFC 5280 section 4.2.1.12).
///
/// webpki lets a certificate pass that says nothing; here nothing said is nothing permitted.
pub(super) fn is_for_clients(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(usage) => usage.is_some_and(|usage| usage.value.client_auth),
        Err(_) => false,
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let hashed = digest(&SHA256, bytes);
    let mut fixed = [0; 32];
    fixed.iter_mut().zip(hashed.as_ref()).for_each(|(to, from)| *to = *from);
    fixed
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().take(LONGEST_SERIAL).enumerate() {
        if index > 0 {
            text.push(':');
        }
        text.extend(char::from_digit(u32::from(byte >> 4), 16));
        text.extend(char::from_digit(u32::from(byte & 0xF), 16));
    }
    text
}

impl Pin {
    /// The pin of a public key given as the DER of its `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Reads the form that it is shown in; none for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digest = STANDARD.decode(text.strip_prefix("sha256//")?).ok()?;
        Some(Self(digest.try_into().ok()?))
    }
}

/// The form curl and HPKP made common: `sha256//` and the digest in base64.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256//{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The form rules are written in: the kind, a colon, and the name, escaped for a log.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, text) = match self {
            Name::Dns(text) => ("dns", text),
            Name::Uri(text) => ("uri", text),
            Name::Email(text) => ("email", text),
            Name::Common(text) => ("cn", text),
        };
        write!(f, "{kind}:{}", PeerText::from(text.as_str()))
    }
}

/// Certificates of real authorities stay below 8 KiB, post-quantum ones (ML-DSA-65 key and
/// signature: 5.2 kB) below 12; rustls alone would admit 64 KiB each.
pub(super) const LONGEST_CERTIFICATE: usize = 16 * 1024;
/// A client is one identity with few names; path building and rules look at each of them.
const MOST_NAMES: usize = 64;
/// A DNS name has at most 253 characters (RFC 1035), a SPIFFE identity should stay within 255 here.
const LONGEST_NAME: usize = 255;
/// RFC 5280 section 4.1.2.2 bounds a serial number to 20 bytes.
const LONGEST_SERIAL: usize = 20;

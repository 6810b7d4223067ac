//! What a parsed certificate says, in the words of the field: its key, its algorithm, its names, its role.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension};
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use crate::peer::PeerText;

/// Which kind of key a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa { bits: usize },
    Curve { name: &'static str, strength: usize },
    Lattice { name: &'static str, category: u8 },
    Other(String),
}

impl KeyKind {
    pub(crate) fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        let oid = key.algorithm.algorithm.to_id_string();
        if oid == RSA || oid == RSA_PSS {
            return match key.parsed() {
                Ok(PublicKey::RSA(rsa)) => Self::Rsa { bits: rsa.key_size() },
                Ok(_) | Err(_) => Self::Other(oid),
            };
        }
        let parameters = key.algorithm.parameters.as_ref();
        let curve = parameters.and_then(|any| any.as_oid().ok()).map(|oid| oid.to_id_string());
        let wanted = if oid == EC { curve.unwrap_or(oid) } else { oid };
        let curve = CURVES.iter().find(|(known, ..)| *known == wanted);
        if let Some((_, name, strength)) = curve {
            return Self::Curve { name, strength: *strength };
        }
        match LATTICES.iter().find(|(known, ..)| *known == wanted) {
            Some((_, name, category)) => Self::Lattice { name, category: *category },
            None => Self::Other(wanted),
        }
    }

    /// Below 112 bits of strength (NIST SP 800-57 part 1).
    pub(crate) fn is_weak(&self) -> bool {
        match self {
            Self::Rsa { bits } => *bits < WEAKEST_RSA,
            Self::Curve { strength, .. } => *strength < 112,
            Self::Lattice { .. } | Self::Other(_) => false,
        }
    }

    /// Whether rustls, and so this program, can use it.
    pub(crate) fn is_supported(&self) -> bool {
        match self {
            Self::Rsa { .. } | Self::Lattice { .. } => true,
            Self::Curve { name, .. } => ["P-256", "P-384", "P-521", "Ed25519"].contains(name),
            Self::Other(_) => false,
        }
    }

    /// Whether it can only sign, so that nothing can be encrypted to it.
    pub(crate) fn only_signs(&self) -> bool {
        matches!(self, Self::Curve { .. } | Self::Lattice { .. })
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA with {bits} bits"),
            Self::Curve { name, strength } => write!(f, "{name} ({strength} bits of strength)"),
            Self::Lattice { name, category } => {
                write!(f, "{name} (post-quantum, NIST category {category})")
            }
            Self::Other(oid) => write!(f, "a kind unknown here ({oid})"),
        }
    }
}

/// The algorithm of a signature, in words.
pub(crate) fn signature(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let oid = algorithm.algorithm.to_id_string();
    let known = SIGNATURES.iter().find(|(known, _)| *known == oid);
    known.map_or_else(|| format!("unknown here ({oid})"), |(_, word)| (*word).to_owned())
}

/// Whether the hash of a signature can be collided: MD2, MD5, SHA-1.
pub(crate) fn is_weak_signature(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    let word = signature(algorithm);
    ["MD2", "MD5", "SHA-1"].iter().any(|hash| word.ends_with(hash))
}

/// The role a certificate says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Authority,
    Server,
    Client,
    Both,
    /// It says nothing, so verifiers take it for everything.
    Anything,
    /// Something TLS has no use for.
    Other,
}

impl Claim {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        if certificate.is_ca() {
            return Self::Authority;
        }
        let Ok(Some(usage)) = certificate.extended_key_usage() else { return Self::Anything };
        match (usage.value.any, usage.value.server_auth, usage.value.client_auth) {
            (true, ..) => Self::Anything,
            (false, true, true) => Self::Both,
            (false, true, false) => Self::Server,
            (false, false, true) => Self::Client,
            (false, false, false) => Self::Other,
        }
    }
}

/// The subject alternative names; none where there is no such extension, or none that can be parsed.
pub(crate) fn names<'a>(certificate: &'a X509Certificate<'_>) -> &'a [GeneralName<'a>] {
    match certificate.subject_alternative_name() {
        Ok(Some(extension)) => &extension.value.general_names,
        Ok(None) | Err(_) => &[],
    }
}

/// A name with its type, escaped: `dns:localhost`, `ip:127.0.0.1`.
pub(crate) fn typed(name: &GeneralName<'_>) -> String {
    let (kind, text): (&str, PeerText) = match name {
        GeneralName::DNSName(text) => ("dns", (*text).into()),
        GeneralName::URI(text) => ("uri", (*text).into()),
        GeneralName::RFC822Name(text) => ("email", (*text).into()),
        GeneralName::IPAddress(bytes) => ("ip", address(bytes).as_str().into()),
        GeneralName::DirectoryName(name) => ("directory", distinguished(name)),
        GeneralName::Invalid(_, bytes) => ("unreadable", PeerText::new(bytes)),
        GeneralName::OtherName(oid, _) => ("other", oid.to_id_string().as_str().into()),
        GeneralName::RegisteredID(oid) => ("registered", oid.to_id_string().as_str().into()),
        GeneralName::X400Address(_) => ("x400", PeerText::default()),
        GeneralName::EDIPartyName(_) => ("edi", PeerText::default()),
    };
    format!("{kind}:{text}")
}

/// An address, or an address and its mask as name constraints hold them.
fn address(bytes: &[u8]) -> String {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Ipv4Addr::from(bytes).to_string();
    }
    if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
        return Ipv6Addr::from(bytes).to_string();
    }
    if let Ok([a, b, c, d, mask @ ..]) = <[u8; 8]>::try_from(bytes) {
        let prefix = u32::from_be_bytes(mask).count_ones();
        return format!("{}/{prefix}", Ipv4Addr::new(a, b, c, d));
    }
    match bytes.split_first_chunk::<16>().map(|(base, mask)| (base, <[u8; 16]>::try_from(mask))) {
        Some((base, Ok(mask))) => {
            format!("{}/{}", Ipv6Addr::from(*base), u128::from_be_bytes(mask).count_ones())
        }
        Some((_, Err(_))) | None => format!("{} bytes", bytes.len()),
    }
}

/// A distinguished name, escaped; `(none)` where it is empty.
pub(crate) fn distinguished(name: &X509Name<'_>) -> PeerText {
    let text = name.to_string();
    PeerText::from(if text.is_empty() { "(none)" } else { text.as_str() })
}

/// The first common name of the subject, if it is text.
pub(crate) fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    certificate.subject().iter_common_name().next().and_then(|attribute| attribute.as_str().ok())
}

/// The key usage, if it is there and can be parsed.
pub(crate) fn key_usage(certificate: &X509Certificate<'_>) -> Option<KeyUsage> {
    certificate.key_usage().ok().flatten().map(|extension| *extension.value)
}

/// Whether subject and issuer are the same name. Its signature is another question.
pub(crate) fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// Whether no verifier here knows what an extension means.
pub(crate) fn is_unknown(extension: &ParsedExtension<'_>) -> bool {
    extension.unsupported() || matches!(extension, ParsedExtension::Unparsed)
}

const RSA: &str = "1.2.840.113549.1.1.1";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const EC: &str = "1.2.840.10045.2.1";
/// NIST SP 800-57 part 1: below this an RSA key has less than 112 bits of strength.
const WEAKEST_RSA: usize = 2048;
const CURVES: [(&str, &str, usize); 10] = [
    ("1.2.840.10045.3.1.1", "P-192", 96),
    ("1.3.132.0.33", "P-224", 112),
    ("1.2.840.10045.3.1.7", "P-256", 128),
    ("1.3.132.0.34", "P-384", 192),
    ("1.3.132.0.35", "P-521", 256),
    ("1.3.132.0.10", "secp256k1", 128),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1", 128),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1", 192),
    ("1.3.101.112", "Ed25519", 128),
    ("1.3.101.113", "Ed448", 224),
];
const LATTICES: [(&str, &str, u8); 3] = [
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44", 2),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65", 3),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87", 5),
];
const SIGNATURES: [(&str, &str); 16] = [
    ("1.2.840.113549.1.1.2", "RSA with MD2"),
    ("1.2.840.113549.1.1.4", "RSA with MD5"),
    ("1.2.840.113549.1.1.5", "RSA with SHA-1"),
    ("1.2.840.113549.1.1.11", "RSA with SHA-256"),
    ("1.2.840.113549.1.1.12", "RSA with SHA-384"),
    ("1.2.840.113549.1.1.13", "RSA with SHA-512"),
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1"),
    ("1.2.840.10045.4.3.2", "ECDSA with SHA-256"),
    ("1.2.840.10045.4.3.3", "ECDSA with SHA-384"),
    ("1.2.840.10045.4.3.4", "ECDSA with SHA-512"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
];

//! Private keys: made, read, written as PKCS#8 version 1, and never shown.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::peer::PeerText;
use crate::pki::passphrase::Passphrase;
use crate::pki::pbes2::Sealed;
use crate::pki::{keyfile, pem};
use crate::problem::{Fault, Problem};

/// The kinds of key that are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// ECDSA on P-256: small, fast, and read by everything.
    #[default]
    P256,
    /// ECDSA on P-384, for those who must.
    P384,
    /// Ed25519. Written so that `OpenSSL` 3.0, `GnuTLS` and Python read it; browsers do not.
    Ed25519,
    /// RSA with 3072 bits, for old peers. Takes up to a second to make.
    Rsa3072,
    /// ML-DSA-65 (FIPS 204), safe against quantum computers; needs `OpenSSL` 3.5 or rustls at the other end.
    MlDsa65,
}

impl KeyType {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::P256, Self::P384, Self::Ed25519, Self::Rsa3072, Self::MlDsa65];

    /// The word an operator writes for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa3072 => "rsa3072",
            Self::MlDsa65 => "ml-dsa-65",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for KeyType {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| {
            Problem::error(
                Fault::CertsBadOption,
                format!("\"{}\" is no kind of key", PeerText::from(text)),
                format!("write one of {}", Self::ALL.map(Self::word).join(", ")),
            )
        })
    }
}

/// A private key, and the public key that belongs to it.
///
/// Its bytes are wiped when it is dropped, and `Debug` shows only its kind and public identifier.
pub struct Key {
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    MlDsa65(PqdsaKeyPair),
}

impl Key {
    /// A new key from the system's random numbers.
    ///
    /// # Errors
    /// [`Fault::CertsCryptography`] if the library cannot make one.
    pub fn generate(kind: KeyType) -> Result<Self, Problem> {
        Pair::generate(kind).and_then(Self::new).map_err(|Unspecified| {
            Problem::error(
                Fault::CertsCryptography,
                format!("no {kind} key could be made"),
                "try again, and look at the system's random number generator if it stays",
            )
        })
    }

    /// A key somebody else wrote: PKCS#8 of either version, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// [`Fault::CertsBadOption`] if it is none of the kinds of [`KeyType`] (RSA of any usual size).
    pub fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, Problem> {
        Pair::from_der(der).and_then(|pair| Self::new(pair).ok()).ok_or_else(|| {
            Problem::error(
                Fault::CertsBadOption,
                "the private key is of a kind that is not signed with here",
                format!("use one of {}", KeyType::ALL.map(KeyType::word).join(", ")),
            )
        })
    }

    /// Its kind; every RSA key counts as [`KeyType::Rsa3072`].
    #[must_use]
    pub fn kind(&self) -> KeyType {
        match &self.pair {
            Pair::P256(_) => KeyType::P256,
            Pair::P384(_) => KeyType::P384,
            Pair::Ed25519(_) => KeyType::Ed25519,
            Pair::Rsa(_) => KeyType::Rsa3072,
            Pair::MlDsa65(_) => KeyType::MlDsa65,
        }
    }

    /// The bits of the public key, as the BIT STRING of a certificate holds them.
    #[must_use]
    pub fn public_bits(&self) -> &[u8] {
        match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
            Pair::MlDsa65(pair) => pair.public_key().as_ref(),
        }
    }

    /// The key identifier of RFC 7093 method 1: the first 20 bytes of the SHA-256 of the public bits.
    #[must_use]
    pub fn identifier(&self) -> Vec<u8> {
        identifier_of(self.public_bits())
    }

    /// A copy for a TLS configuration. The copy is not wiped when it is dropped.
    #[must_use]
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()))
    }

    /// The key as PEM, PKCS#8 version 1, without a password.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", &self.pkcs8)
    }

    /// The key as PEM, encrypted: PKCS#8, PBES2 with scrypt and AES-256-CBC, which `OpenSSL` 3 reads.
    ///
    /// # Errors
    /// [`Fault::CertsBadOption`] for a passphrase too short for a new key, [`Fault::CertsCryptography`] if the
    /// library fails.
    pub fn to_encrypted_pem(&self, passphrase: &Passphrase) -> Result<Zeroizing<String>, Problem> {
        passphrase.check_new()?;
        let sealed = Sealed::by_scrypt(self.pkcs8.to_vec(), passphrase.bytes());
        let sealed = sealed.map_err(|Unspecified| {
            let remedy = "try again, and look at the system's random number generator if it stays";
            Problem::error(Fault::CertsCryptography, "the key could not be encrypted", remedy)
        })?;
        Ok(pem::encode(keyfile::ENCRYPTED, &sealed.to_der()))
    }

    /// The same key once more.
    pub(crate) fn again(&self) -> Result<Self, Problem> {
        Self::from_der(&Zeroizing::new(self.to_der()))
    }

    fn new(pair: Pair) -> Result<Self, Unspecified> {
        let pkcs8 = pair.to_pkcs8()?;
        Ok(Self { pair, pkcs8 })
    }
}

/// The key identifier for the bits of a public key.
pub(crate) fn identifier_of(public_bits: &[u8]) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public_bits);
    digest.as_ref().iter().take(20).copied().collect()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, …)", self.kind())
    }
}

impl Pair {
    fn generate(kind: KeyType) -> Result<Self, Unspecified> {
        Ok(match kind {
            KeyType::P256 => Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?),
            KeyType::P384 => Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING)?),
            KeyType::Ed25519 => Self::Ed25519(Ed25519KeyPair::generate()?),
            KeyType::Rsa3072 => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa3072)?),
            KeyType::MlDsa65 => Self::MlDsa65(PqdsaKeyPair::generate(&ML_DSA_65_SIGNING)?),
        })
    }

    fn from_der(der: &PrivateKeyDer<'_>) -> Option<Self> {
        let bytes = der.secret_der();
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, bytes)
        {
            return Some(Self::P256(pair));
        }
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, bytes)
        {
            return Some(Self::P384(pair));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
            return Some(Self::Ed25519(pair));
        }
        if let Ok(pair) = RsaKeyPair::from_pkcs8(bytes).or_else(|_| RsaKeyPair::from_der(bytes)) {
            return Some(Self::Rsa(pair));
        }
        PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, bytes).ok().map(Self::MlDsa65)
    }

    /// Always version 1 of PKCS#8: `OpenSSL` 3.0, `GnuTLS` 3.7, Python and Node read no other for Ed25519.
    fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let document = match self {
            Self::P256(pair) | Self::P384(pair) => pair.to_pkcs8v1()?,
            Self::Ed25519(pair) => pair.to_pkcs8v1()?,
            Self::MlDsa65(pair) => pair.to_pkcs8v1()?,
            Self::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der()?;
                return Ok(Zeroizing::new(der.as_ref().to_vec()));
            }
        };
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match self {
            Self::P256(pair) | Self::P384(pair) => {
                Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec())
            }
            Self::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
                Ok(signature)
            }
            Self::MlDsa65(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let length = pair.sign(message, &mut signature)?;
                signature.truncate(length);
                Ok(signature)
            }
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.public_bits()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match &self.pair {
            Pair::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Pair::P384(_) => &rcgen::PKCS_ECDSA_P384_SHA384,
            Pair::Ed25519(_) => &rcgen::PKCS_ED25519,
            Pair::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
            Pair::MlDsa65(_) => &rcgen::PKCS_ML_DSA_65,
        }
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.pair.sign(message).map_err(|Unspecified| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;

    #[test]
    fn every_kind_is_read_back_by_us_and_by_rustls() {
        for kind in KeyType::ALL {
            let key = Key::generate(kind).unwrap();
            let again = Key::from_der(&key.to_der()).unwrap();
            assert_eq!(again.kind(), kind);
            assert_eq!(again.public_bits(), key.public_bits());
            assert!(any_supported_type(&key.to_der()).is_ok(), "{kind}");
            assert_eq!(kind.word().parse::<KeyType>().unwrap(), kind);
        }
    }

    #[test]
    fn every_kind_is_written_as_version_1() {
        for kind in KeyType::ALL {
            let key = Key::generate(kind).unwrap();
            // PrivateKeyInfo is a sequence that begins with INTEGER 0 for version 1.
            assert!(key.pkcs8.windows(3).take(8).any(|bytes| bytes == [2, 1, 0]), "{kind}");
        }
        assert_eq!(Key::generate(KeyType::Ed25519).unwrap().pkcs8.len(), 48);
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = Key::generate(KeyType::P256).unwrap();
        assert_eq!(format!("{key:?}"), "Key(p256, …)");
    }

    #[test]
    fn an_unknown_kind_names_the_known_ones() {
        let problem = "dsa\n".parse::<KeyType>().unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsBadOption);
        assert_eq!(problem.remedy(), "write one of p256, p384, ed25519, rsa3072, ml-dsa-65");
    }
}

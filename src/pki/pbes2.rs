//! PBES2 (RFC 8018): something encrypted with a password, as `OpenSSL` 3 writes and reads it.
//!
//! Written with scrypt (RFC 7914) or PBKDF2 and AES-256-CBC. Read with every size of AES, and only where deriving
//! the key costs no more than a fixed amount of memory and time, whatever the file asks for.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, AES_CBC_IV_LEN, Algorithm, DecryptionContext, EncryptionContext,
    PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{pbkdf2, rand};
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, DERWriter, construct_der, parse_der};
use zeroize::{Zeroize as _, Zeroizing};

/// Encrypted bytes, with everything but the password that is needed to decrypt them.
#[derive(Debug)]
pub(crate) struct Sealed {
    derivation: Derivation,
    cipher: Cipher,
    iv: [u8; AES_CBC_IV_LEN],
    bytes: Vec<u8>,
}

/// Why something encrypted cannot be read, with any password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is no `EncryptedPrivateKeyInfo`.
    Malformed,
    /// It is one, encrypted in a way that is not known here.
    Unknown,
    /// It asks for more memory or time than is spent on a key.
    Costly,
}

#[derive(Debug)]
struct Derivation {
    salt: Vec<u8>,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Pbkdf2 { hash: Hash, iterations: NonZeroU32 },
    Scrypt { log_n: u8, r: u32, p: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
}

impl Sealed {
    /// Encrypts with a key that PBKDF2 with HMAC-SHA-256 derives. `plain` is wiped.
    pub(crate) fn by_pbkdf2(
        plain: Vec<u8>,
        secret: &[u8],
        iterations: NonZeroU32,
    ) -> Result<Self, Unspecified> {
        Self::new(plain, secret, Way::Pbkdf2 { hash: Hash::Sha256, iterations })
    }

    /// Encrypts with a key that scrypt derives. `plain` is wiped.
    pub(crate) fn by_scrypt(plain: Vec<u8>, secret: &[u8]) -> Result<Self, Unspecified> {
        Self::new(plain, secret, SCRYPT)
    }

    fn new(mut plain: Vec<u8>, secret: &[u8], way: Way) -> Result<Self, Unspecified> {
        let (salt, iv) = (random()?, random()?);
        let (cipher, derivation) = (Cipher::Aes256, Derivation { salt: salt.to_vec(), way });
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(derivation.key(secret, cipher)?)?;
        // Room for the padding, so that the plain bytes never move and are overwritten where they are.
        let mut bytes = Vec::with_capacity(plain.len().saturating_add(AES_CBC_IV_LEN));
        bytes.extend_from_slice(&plain);
        plain.zeroize();
        key.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(FixedLength::from(iv)))?;
        Ok(Self { derivation, cipher, iv, bytes })
    }

    /// Reads an `EncryptedPrivateKeyInfo` (RFC 5958).
    pub(crate) fn read(der: &[u8]) -> Result<Self, Unreadable> {
        // The parser has one kind of error for what is not as it should be; ours is kept beside it.
        let mut why = Unreadable::Malformed;
        let read = parse_der(der, |reader| {
            reader.read_sequence(|info| {
                let (derivation, cipher, iv) = info.next().read_sequence(|algorithm| {
                    expect(algorithm.next(), PBES2, &mut why)?;
                    algorithm.next().read_sequence(|parameters| {
                        let derivation = Derivation::read(parameters.next(), &mut why)?;
                        let (cipher, iv) = Cipher::read(parameters.next(), &mut why)?;
                        Ok((derivation, cipher, iv))
                    })
                })?;
                let bytes = info.next().read_bytes()?;
                Ok(Self { derivation, cipher, iv, bytes })
            })
        });
        read.map_err(|_| why)
    }

    /// Decrypts; nothing where the password is another.
    ///
    /// One wrong password in some 256 leads to bytes that merely look decrypted: the caller has to see whether
    /// they are what they should be.
    pub(crate) fn open(&self, secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.derivation.key(secret, self.cipher).ok()?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
        let mut plain = Zeroizing::new(self.bytes.clone());
        let iv = DecryptionContext::Iv128(FixedLength::from(self.iv));
        let length = key.decrypt(&mut plain, iv).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    /// As an `EncryptedPrivateKeyInfo`.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        construct_der(|writer| self.write(writer))
    }

    /// As an `EncryptedPrivateKeyInfo`.
    pub(crate) fn write(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|info| {
            self.write_algorithm(info.next());
            info.next().write_bytes(&self.bytes);
        });
    }

    /// How it was encrypted.
    pub(crate) fn write_algorithm(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|pbes2| {
            pbes2.next().write_oid(&oid(PBES2));
            pbes2.next().write_sequence(|parameters| {
                self.derivation.write(parameters.next());
                parameters.next().write_sequence(|cipher| {
                    cipher.next().write_oid(&oid(self.cipher.id()));
                    cipher.next().write_bytes(&self.iv);
                });
            });
        });
    }

    /// The encrypted bytes alone.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Derivation {
    fn key(&self, secret: &[u8], cipher: Cipher) -> Result<UnboundCipherKey, Unspecified> {
        let mut key = Zeroizing::new(vec![0_u8; cipher.key_length()]);
        match self.way {
            Way::Pbkdf2 { hash, iterations } => {
                pbkdf2::derive(hash.algorithm(), iterations, &self.salt, secret, &mut key);
            }
            Way::Scrypt { log_n, r, p } => {
                let parameters = scrypt::Params::new(log_n, r, p).map_err(|_| Unspecified)?;
                scrypt::scrypt(secret, &self.salt, &parameters, &mut key)
                    .map_err(|_| Unspecified)?;
            }
        }
        UnboundCipherKey::new(cipher.algorithm(), &key)
    }

    fn read(reader: BERReader<'_, '_>, why: &mut Unreadable) -> ASN1Result<Self> {
        reader.read_sequence(|derivation| {
            let id = derivation.next().read_oid()?;
            let is_scrypt = id == oid(SCRYPT_ID);
            if !is_scrypt && id != oid(PBKDF2) {
                return Err(because(why, Unreadable::Unknown));
            }
            derivation.next().read_sequence(|parameters| {
                let salt = parameters.next().read_bytes()?;
                let way = if is_scrypt {
                    let [n, r, p] = [(); 3].map(|()| parameters.next().read_u64());
                    Way::scrypt(n?, r?, p?)
                } else {
                    let iterations = parameters.next().read_u64()?;
                    Way::pbkdf2(iterations)
                };
                let way = way.ok_or_else(|| because(why, Unreadable::Costly))?;
                // The length is that of the cipher's key, whether it is said or not.
                parameters.read_optional(length)?;
                let Way::Pbkdf2 { iterations, .. } = way else { return Ok(Self { salt, way }) };
                let hash = parameters.read_optional(|hash| Hash::read(hash, why))?;
                // SHA-1 is what a file means that does not say (RFC 8018 appendix A.2).
                let hash = hash.unwrap_or(Hash::Sha1);
                Ok(Self { salt, way: Way::Pbkdf2 { hash, iterations } })
            })
        })
    }

    fn write(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|derivation| match self.way {
            Way::Pbkdf2 { hash, iterations } => {
                derivation.next().write_oid(&oid(PBKDF2));
                derivation.next().write_sequence(|parameters| {
                    parameters.next().write_bytes(&self.salt);
                    parameters.next().write_u32(iterations.get());
                    algorithm(parameters.next(), hash.id());
                });
            }
            Way::Scrypt { log_n, r, p } => {
                derivation.next().write_oid(&oid(SCRYPT_ID));
                derivation.next().write_sequence(|parameters| {
                    parameters.next().write_bytes(&self.salt);
                    parameters.next().write_u64(1_u64.wrapping_shl(u32::from(log_n)));
                    parameters.next().write_u32(r);
                    parameters.next().write_u32(p);
                });
            }
        });
    }
}

impl Way {
    /// PBKDF2, if it ends in a time somebody waits.
    fn pbkdf2(iterations: u64) -> Option<Self> {
        let iterations = u32::try_from(iterations).ok().and_then(NonZeroU32::new)?;
        (iterations <= MOST_ITERATIONS).then_some(Self::Pbkdf2 { hash: Hash::Sha1, iterations })
    }

    /// scrypt, if it ends in a time somebody waits and in a memory that everybody has.
    fn scrypt(n: u64, r: u64, p: u64) -> Option<Self> {
        let block = r.checked_mul(128)?;
        let memory = n.checked_add(p)?.checked_mul(block)?;
        let work = n.checked_mul(p)?.checked_mul(block)?;
        let is_fit = n.is_power_of_two() && n > 1 && r > 0 && p > 0;
        if !is_fit || memory > MOST_MEMORY || work > MOST_MEMORY.saturating_mul(4) {
            return None;
        }
        let log_n = u8::try_from(n.ilog2()).ok()?;
        Some(Self::Scrypt { log_n, r: u32::try_from(r).ok()?, p: u32::try_from(p).ok()? })
    }
}

impl Hash {
    const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    fn algorithm(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn id(self) -> &'static [u64] {
        match self {
            Self::Sha1 => &[1, 2, 840, 113_549, 2, 7],
            Self::Sha256 => &[1, 2, 840, 113_549, 2, 9],
            Self::Sha384 => &[1, 2, 840, 113_549, 2, 10],
            Self::Sha512 => &[1, 2, 840, 113_549, 2, 11],
        }
    }

    fn read(reader: BERReader<'_, '_>, why: &mut Unreadable) -> ASN1Result<Self> {
        reader.read_sequence(|algorithm| {
            let id = algorithm.next().read_oid()?;
            algorithm.read_optional(nothing)?;
            let hash = Self::ALL.into_iter().find(|hash| oid(hash.id()) == id);
            hash.ok_or_else(|| because(why, Unreadable::Unknown))
        })
    }
}

impl Cipher {
    const ALL: [Self; 3] = [Self::Aes128, Self::Aes192, Self::Aes256];

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128 => &AES_128,
            Self::Aes192 => &AES_192,
            Self::Aes256 => &AES_256,
        }
    }

    fn key_length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    fn id(self) -> &'static [u64] {
        match self {
            Self::Aes128 => &[2, 16, 840, 1, 101, 3, 4, 1, 2],
            Self::Aes192 => &[2, 16, 840, 1, 101, 3, 4, 1, 22],
            Self::Aes256 => &[2, 16, 840, 1, 101, 3, 4, 1, 42],
        }
    }

    fn read(
        reader: BERReader<'_, '_>,
        why: &mut Unreadable,
    ) -> ASN1Result<(Self, [u8; AES_CBC_IV_LEN])> {
        reader.read_sequence(|algorithm| {
            let id = algorithm.next().read_oid()?;
            let cipher = Self::ALL.into_iter().find(|cipher| oid(cipher.id()) == id);
            let cipher = cipher.ok_or_else(|| because(why, Unreadable::Unknown))?;
            let iv = algorithm.next().read_bytes()?;
            let iv = iv.try_into().map_err(|_| because(why, Unreadable::Malformed))?;
            Ok((cipher, iv))
        })
    }
}

/// An algorithm whose parameters are empty.
pub(crate) fn algorithm(writer: DERWriter<'_>, id: &[u64]) {
    writer.write_sequence(|algorithm| {
        algorithm.next().write_oid(&oid(id));
        algorithm.next().write_null();
    });
}

pub(crate) fn oid(numbers: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(numbers)
}

/// Sixteen random bytes.
pub(crate) fn random() -> Result<[u8; 16], Unspecified> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}

fn expect(reader: BERReader<'_, '_>, id: &[u64], why: &mut Unreadable) -> ASN1Result<()> {
    if reader.read_oid()? == oid(id) { Ok(()) } else { Err(because(why, Unreadable::Unknown)) }
}

fn length(reader: BERReader<'_, '_>) -> ASN1Result<u16> {
    reader.read_u16()
}

fn nothing(reader: BERReader<'_, '_>) -> ASN1Result<()> {
    reader.read_null()
}

fn because(why: &mut Unreadable, reason: Unreadable) -> ASN1Error {
    *why = reason;
    ASN1Error::new(ASN1ErrorKind::Invalid)
}

const PBES2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 13];
const PBKDF2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 12];
const SCRYPT_ID: &[u64] = &[1, 3, 6, 1, 4, 1, 11_591, 4, 11];

/// 16 MiB five times: what OWASP puts beside 128 MiB once. `OpenSSL` reads no more than 32 MiB.
const SCRYPT: Way = Way::Scrypt { log_n: 14, r: 8, p: 5 };

/// What the strongest usual parameters of scrypt take (N = 131072, r = 8), and a little room.
const MOST_MEMORY: u64 = 129 << 20;

/// Some seconds; what is written today has 2048 to 1 million.
const MOST_ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000_000).unwrap();

#[cfg(test)]
#[path = "pbes2_tests.rs"]
mod tests;

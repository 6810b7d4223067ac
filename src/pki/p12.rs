//! PKCS#12 (RFC 7292): key and certificates in one file, for programs that read nothing else.
//!
//! Written the one way that `OpenSSL` 3, Java and browsers read without an option for old files: PBES2 with
//! AES-256-CBC and HMAC-SHA-256 (RFC 8018), and a MAC with SHA-256.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{digest, hmac, rand};
use rustls::pki_types::CertificateDer;
use yasna::{DERWriter, DERWriterSeq, Tag, construct_der};
use zeroize::Zeroizing;

use crate::pki::disk::{self, Secrecy};
use crate::pki::key::Key;
use crate::pki::keyfile;
use crate::pki::pbes2::{Sealed, algorithm, oid, random};
use crate::pki::renew::{BUNDLE, Filed};
use crate::pki::store::Store;
use crate::problem::{Fault, Problem};

/// The password of a bundle: 1 to 128 printable ASCII characters, because programs disagree on how others are written.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// A new one of 24 letters and digits, which is 120 random bits.
    ///
    /// # Errors
    /// [`Fault::CertsCryptography`] if the system has no random numbers.
    pub fn random() -> Result<Self, Problem> {
        let mut bytes = Zeroizing::new([0_u8; 24]);
        rand::fill(bytes.as_mut_slice()).map_err(failed)?;
        // 32 characters, without those that look alike: the low five bits choose one.
        let letters = b"abcdefghijkmnpqrstuvwxyz23456789";
        let chosen = bytes.iter().filter_map(|byte| letters.get(usize::from(byte & 31)));
        Ok(Self(Zeroizing::new(chosen.copied().map(char::from).collect())))
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a `BMPString` with its two zeros, which is what the MAC is keyed with (RFC 7292 appendix B.1).
    fn wide(&self) -> Zeroizing<Vec<u8>> {
        let mut wide =
            Zeroizing::new(Vec::with_capacity(self.0.len().saturating_mul(2).saturating_add(2)));
        for byte in self.0.bytes().chain([0]) {
            wide.extend([0, byte]);
        }
        wide
    }
}

impl FromStr for Password {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if text.is_empty() || text.len() > 128 || !text.bytes().all(printable) {
            let message =
                "the password is empty, longer than 128 characters, or not of printable ASCII";
            let remedy = "write 1 to 128 letters, digits and signs of ASCII";
            return Err(Problem::error(Fault::CertsBadOption, message, remedy));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Store {
    /// Writes key, certificate and the authority's certificate as a new file, by default `id.p12` beside them.
    ///
    /// # Errors
    /// [`Fault::CertsExists`] if something is there; the faults of reading and writing.
    pub fn export(
        &self,
        filed: &Filed,
        password: &Password,
        to: Option<&Path>,
    ) -> Result<PathBuf, Problem> {
        let to = to.map_or_else(|| Ok(filed.place.join(BUNDLE)), std::path::absolute);
        let to = to.map_err(|error| disk::unwritable(&filed.place, &error))?;
        let mut chain = filed.chain()?;
        chain.truncate(1);
        chain.extend(keyfile::read_chain(&self.layout().authority())?);
        let name = filed.place.file_name().unwrap_or_default().to_string_lossy();
        let bundle = encode(&filed.key()?, &chain, &name, password).map_err(failed)?;
        disk::create(&to, &bundle, Secrecy::Private)?;
        Ok(to)
    }
}

/// Guessing one password costs some 20 ms; opening the file twice as much.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const ENCRYPTED_DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 6];
const SHROUDED_KEY_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 2];
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
const X509_CERTIFICATE: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113_549, 1, 9, 20];
const LOCAL_KEY_ID: &[u64] = &[1, 2, 840, 113_549, 1, 9, 21];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];

/// A whole bundle. The first certificate is the key's.
fn encode(
    key: &Key,
    chain: &[CertificateDer<'_>],
    name: &str,
    password: &Password,
) -> Result<Vec<u8>, Unspecified> {
    let identifier = key.identifier();
    let own = |bag: &mut DERWriterSeq<'_>| attributes(bag.next(), name, &identifier);
    let certificates = construct_der(|writer| {
        writer.write_sequence(|bags| {
            for (certificate, is_own) in
                chain.iter().zip(std::iter::once(true).chain(std::iter::repeat(false)))
            {
                bags.next().write_sequence(|bag| {
                    bag.next().write_oid(&oid(CERTIFICATE_BAG));
                    explicit(bag.next(), |writer| {
                        writer.write_sequence(|content| {
                            content.next().write_oid(&oid(X509_CERTIFICATE));
                            explicit(content.next(), |writer| writer.write_bytes(certificate));
                        });
                    });
                    if is_own {
                        own(bag);
                    }
                });
            }
        });
    });
    let secret = password.as_str().as_bytes();
    let certificates = Sealed::by_pbkdf2(certificates, secret, ITERATIONS)?;
    let pkcs8 = Zeroizing::new(key.to_der());
    let shrouded = Sealed::by_pbkdf2(pkcs8.secret_der().to_vec(), secret, ITERATIONS)?;
    let key_bags = construct_der(|writer| {
        writer.write_sequence(|bags| {
            bags.next().write_sequence(|bag| {
                bag.next().write_oid(&oid(SHROUDED_KEY_BAG));
                explicit(bag.next(), |writer| shrouded.write(writer));
                own(bag);
            });
        });
    });
    let safe = construct_der(|writer| {
        writer.write_sequence(|safe| {
            safe.next().write_sequence(|content| encrypted_data(content, &certificates));
            safe.next().write_sequence(|content| data(content, &key_bags));
        });
    });
    seal_whole(&safe, password)
}

/// The outermost layer: what is kept, and a MAC over it.
fn seal_whole(safe: &[u8], password: &Password) -> Result<Vec<u8>, Unspecified> {
    let salt = random()?;
    let key = mac_key(password, &salt);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), safe);
    Ok(construct_der(|writer| {
        writer.write_sequence(|pfx| {
            pfx.next().write_u8(3);
            pfx.next().write_sequence(|content| data(content, safe));
            pfx.next().write_sequence(|mac_data| {
                mac_data.next().write_sequence(|digest| {
                    algorithm(digest.next(), SHA256);
                    digest.next().write_bytes(mac.as_ref());
                });
                mac_data.next().write_bytes(&salt);
                mac_data.next().write_u32(ITERATIONS.get());
            });
        });
    }))
}

/// The key of the MAC (RFC 7292 appendix B.2). One block of SHA-256 is as long as the key, so that the part
/// of the algorithm that makes further blocks is not needed.
fn mac_key(password: &Password, salt: &[u8]) -> Zeroizing<Vec<u8>> {
    const BLOCK: usize = 64;
    const PURPOSE_MAC: u8 = 3;
    let wide = password.wide();
    let whole_blocks = |bytes: &[u8]| bytes.len().div_ceil(BLOCK).saturating_mul(BLOCK);
    let mut input = Zeroizing::new(Vec::with_capacity(512));
    input.extend([PURPOSE_MAC; BLOCK]);
    input.extend(salt.iter().cycle().take(whole_blocks(salt)));
    input.extend(wide.iter().cycle().take(whole_blocks(&wide)));
    let mut block = digest::digest(&digest::SHA256, &input);
    for _ in 1..ITERATIONS.get() {
        block = digest::digest(&digest::SHA256, block.as_ref());
    }
    Zeroizing::new(block.as_ref().to_vec())
}

fn encrypted_data(content: &mut DERWriterSeq<'_>, sealed: &Sealed) {
    content.next().write_oid(&oid(ENCRYPTED_DATA));
    explicit(content.next(), |writer| {
        writer.write_sequence(|encrypted| {
            encrypted.next().write_u8(0);
            encrypted.next().write_sequence(|content| {
                content.next().write_oid(&oid(DATA));
                sealed.write_algorithm(content.next());
                content.next().write_tagged_implicit(Tag::context(0), |writer| {
                    writer.write_bytes(sealed.bytes());
                });
            });
        });
    });
}

fn data(content: &mut DERWriterSeq<'_>, bytes: &[u8]) {
    content.next().write_oid(&oid(DATA));
    explicit(content.next(), |writer| writer.write_bytes(bytes));
}

/// What ties the key to its certificate, and what a person sees in a list.
fn attributes(writer: DERWriter<'_>, name: &str, identifier: &[u8]) {
    writer.write_set_of(|set| {
        set.next().write_sequence(|attribute| {
            attribute.next().write_oid(&oid(FRIENDLY_NAME));
            attribute.next().write_set_of(|values| values.next().write_bmp_string(name));
        });
        set.next().write_sequence(|attribute| {
            attribute.next().write_oid(&oid(LOCAL_KEY_ID));
            attribute.next().write_set_of(|values| values.next().write_bytes(identifier));
        });
    });
}

fn explicit(writer: DERWriter<'_>, content: impl FnOnce(DERWriter<'_>)) {
    writer.write_tagged(Tag::context(0), content);
}

fn failed(Unspecified: Unspecified) -> Problem {
    let message = "the bundle could not be encrypted";
    let remedy = "try again, and look at the system's random number generator if it stays";
    Problem::error(Fault::CertsCryptography, message, remedy)
}

#[cfg(test)]
#[cfg(unix)]
#[path = "p12_tests.rs"]
mod tests;

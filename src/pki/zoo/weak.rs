//! A key that is weak on purpose: RSA with 1024 bits, which no library here makes any more.
//!
//! It is made anew each time, so that no private key stands in this source, and it is for exhibits alone.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use num_bigint::BigUint;
use rcgen::{PublicKeyData, SignatureAlgorithm};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, construct_der};

use crate::problem::{Fault, Problem};

/// A key pair that every strict verifier refuses.
pub(super) struct WeakKey {
    /// The private key in PKCS#8.
    pub(super) pkcs8: Vec<u8>,
    /// The public key (RFC 8017 appendix A.1.1): modulus and exponent.
    pub(super) public: Vec<u8>,
}

impl WeakKey {
    /// A fresh one.
    pub(super) fn generate() -> Result<Self, Problem> {
        loop {
            let (p, q) = (prime()?, prime()?);
            if p > q
                && let Some(key) = Self::from_primes(&p, &q)
            {
                return Ok(key);
            }
        }
    }

    /// The pair of two primes (RFC 8017 section 3.2); none where the exponent does not fit them.
    fn from_primes(p: &BigUint, q: &BigUint) -> Option<Self> {
        let one = BigUint::from(1_u8);
        let exponent = BigUint::from(EXPONENT);
        let less = |prime: &BigUint| big(prime).minus(&one);
        let (below_p, below_q) = (less(p), less(q));
        let private = exponent.modinv(&big(&below_p).times(&below_q))?;
        let parts = [
            big(p).times(q),
            exponent,
            private.clone(),
            p.clone(),
            q.clone(),
            private.modpow(&one, &below_p),
            private.modpow(&one, &below_q),
            q.modinv(p)?,
        ];
        let public = integers(parts.iter().take(2));
        let private = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(0);
                for part in &parts {
                    integer(writer.next(), part);
                }
            });
        });
        let pkcs8 = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(0);
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(&RSA_ENCRYPTION));
                    writer.next().write_null();
                });
                writer.next().write_bytes(&private);
            });
        });
        Some(Self { pkcs8, public })
    }
}

impl PublicKeyData for WeakKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// Arithmetic whose results are as long as they need to be; nothing here can overflow.
struct Big<'a>(&'a BigUint);

fn big(number: &BigUint) -> Big<'_> {
    Big(number)
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "big integers grow, and what is taken away is 1 from a prime of 512 bits"
)]
impl Big<'_> {
    fn times(&self, other: &BigUint) -> BigUint {
        self.0 * other
    }

    fn minus(&self, other: &BigUint) -> BigUint {
        self.0 - other
    }
}

fn integers<'a>(parts: impl Iterator<Item = &'a BigUint>) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| parts.for_each(|part| integer(writer.next(), part)));
    })
}

fn integer(writer: DERWriter<'_>, number: &BigUint) {
    writer.write_bigint_bytes(&number.to_bytes_be(), true);
}

/// A random number of 512 bits that is prime as far as Fermat's test with four bases can tell.
fn prime() -> Result<BigUint, Problem> {
    let one = BigUint::from(1_u8);
    loop {
        let candidate = odd()?;
        let below = big(&candidate).minus(&one);
        let passes = |base: &u8| BigUint::from(*base).modpow(&below, &candidate) == one;
        if BASES.iter().all(passes) {
            return Ok(candidate);
        }
    }
}

/// A random odd number whose two highest bits are set, so that a product of two has 1024 bits.
fn odd() -> Result<BigUint, Problem> {
    let mut bytes = [0_u8; 64];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        let remedy = "see whether the system's random numbers can be read";
        Problem::error(Fault::CertsCryptography, "no random numbers could be had", remedy)
    })?;
    let [first, .., last] = &mut bytes;
    *first |= 0xC0;
    *last |= 1;
    Ok(BigUint::from_bytes_be(&bytes))
}

/// The usual public exponent (RFC 8017 calls it a typical choice).
const EXPONENT: u32 = 65_537;
const BASES: [u8; 4] = [2, 3, 5, 7];
/// `rsaEncryption` (RFC 8017 appendix A.1).
const RSA_ENCRYPTION: [u64; 7] = [1, 2, 840, 113_549, 1, 1, 1];

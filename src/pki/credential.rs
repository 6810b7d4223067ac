//! What an authority hands out: a certificate, the chain that goes with it, and the key.

use std::fmt;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::pki::key::Key;
use crate::pki::limits::unfit;
use crate::pki::pem;
use crate::pki::profile::{Serial, hex};
use crate::problem::Problem;

/// A certificate with the chain that is presented with it, and its key.
pub struct Credential {
    certificate: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: Key,
    facts: Facts,
}

impl Credential {
    /// A certificate, the authorities that are presented with it, and its key.
    pub(crate) fn new(
        certificate: CertificateDer<'static>,
        above: Vec<CertificateDer<'static>>,
        key: Key,
    ) -> Result<Self, Problem> {
        let facts = Facts::read(&certificate)?;
        let chain = std::iter::once(certificate.clone()).chain(above).collect();
        Ok(Self { certificate, chain, key, facts })
    }

    /// The certificate itself.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The chain to present: the certificate itself, then authorities below the trusted one. Never empty.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// A copy of the key for a TLS configuration. The copy is not wiped when it is dropped.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.to_der()
    }

    /// What the inventory keeps of it.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Chain and key.
    #[must_use]
    pub fn into_parts(self) -> (Vec<CertificateDer<'static>>, Key) {
        (self.chain, self.key)
    }

    /// The serial number.
    #[must_use]
    pub fn serial(&self) -> &Serial {
        &self.facts.serial
    }

    /// The SHA-256 of the certificate, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.facts.sha256
    }

    /// The first second it is valid.
    #[must_use]
    pub fn not_before(&self) -> OffsetDateTime {
        self.facts.not_before
    }

    /// The last second it is valid.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.facts.not_after
    }

    /// The chain as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        pem::certificates(&self.chain)
    }

    /// The key as PEM, without a password.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        self.key.to_pem()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("serial", &self.facts.serial)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The last second in which a whole chain is valid: the earliest of its certificates' ends.
///
/// # Errors
/// [`Fault::CertsNotAuthority`](crate::problem::Fault::CertsNotAuthority) if the chain is empty or one of it
/// cannot be parsed.
pub fn last_second(chain: &[CertificateDer<'_>]) -> Result<OffsetDateTime, Problem> {
    let ends =
        chain.iter().map(|certificate| Facts::read(certificate).map(|facts| facts.not_after));
    let ends: Vec<_> = ends.collect::<Result<_, _>>()?;
    ends.into_iter().min().ok_or_else(|| unfit("there is none"))
}

/// What a certificate says of itself that an inventory keeps.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) serial: Serial,
    pub(crate) sha256: String,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

impl Facts {
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, Problem> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| unfit("it cannot be parsed"))?;
        let validity = parsed.validity();
        Ok(Self {
            serial: Serial::from_bytes(parsed.raw_serial()),
            sha256: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate).as_ref()),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
        })
    }
}

//! Revocation lists: which certificates of an authority no longer count, signed and numbered.

use std::fmt;
use std::str::FromStr;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateRevocationListDer;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{CertificateRevocationList as X509List, FromDer as _};
use zeroize::Zeroizing;

use crate::peer::PeerText;
use crate::pki::authority::{Authority, failed};
use crate::pki::pem;
use crate::pki::profile::Serial;
use crate::problem::{Fault, Problem};

/// A revocation list that is being written.
///
/// Version 2, with the number and the key identifier that RFC 5280 demands; without a revoked certificate the
/// list of them is left out, as it demands too. The caller keeps the number growing; a
/// [`Store`](crate::pki::Store) does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    number: u64,
    revoked: Vec<Revocation>,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
}

impl RevocationList {
    /// How long a list counts unless said otherwise, in days. After that nobody's status is known.
    pub const DAYS: u32 = 30;

    /// An empty list with this number, from now on for [`RevocationList::DAYS`] days.
    #[must_use]
    pub fn new(number: u64) -> Self {
        let now = OffsetDateTime::now_utc();
        let this_update = now.saturating_sub(CLOCK_SKEW);
        let next_update = now.saturating_add(Duration::days(i64::from(Self::DAYS)));
        Self { number, revoked: Vec::new(), this_update, next_update }
    }

    /// The same list with one more revoked certificate.
    #[must_use]
    pub fn revoking(mut self, revocation: Revocation) -> Self {
        self.revoked.push(revocation);
        self
    }

    /// The same list, counting between these two moments; the second must be later than the first.
    #[must_use]
    pub fn valid(self, this_update: OffsetDateTime, next_update: OffsetDateTime) -> Self {
        Self { this_update, next_update, ..self }
    }

    /// The same list, counting until this moment.
    #[must_use]
    pub fn until(self, next_update: OffsetDateTime) -> Self {
        Self { next_update, ..self }
    }

    /// The list, signed.
    ///
    /// # Errors
    /// [`Fault::CertsCryptography`] if the authority's key usage lacks `cRLSign`, if the dates are the wrong way
    /// round, or if the library fails.
    pub fn sign(
        &self,
        authority: &Authority,
    ) -> Result<CertificateRevocationListDer<'static>, Problem> {
        let params = CertificateRevocationListParams {
            this_update: self.this_update,
            next_update: self.next_update,
            crl_number: SerialNumber::from(self.number),
            issuing_distribution_point: None,
            revoked_certs: self.revoked.iter().map(Revocation::to_rcgen).collect(),
            // The library would compute it from the key, which need not be how the authority's certificate has it.
            key_identifier_method: KeyIdMethod::PreSpecified(authority.key_identifier().to_vec()),
        };
        params
            .signed_by(&authority.issuer()?)
            .map(CertificateRevocationListDer::from)
            .map_err(failed)
    }

    /// The list, signed, as PEM.
    ///
    /// # Errors
    /// As [`RevocationList::sign`].
    pub fn sign_pem(&self, authority: &Authority) -> Result<Zeroizing<String>, Problem> {
        Ok(pem::encode("X509 CRL", &self.sign(authority)?))
    }
}

/// How far the clock of a peer may be behind ours when it reads a new list.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    serial: Serial,
    reason: Reason,
    when: OffsetDateTime,
}

impl Revocation {
    /// The certificate with this serial number, revoked at `when`.
    #[must_use]
    pub fn new(serial: Serial, reason: Reason, when: OffsetDateTime) -> Self {
        Self { serial, reason, when }
    }

    fn to_rcgen(&self) -> RevokedCertParams {
        RevokedCertParams {
            serial_number: self.serial.to_rcgen(),
            revocation_time: self.when,
            reason_code: Some(self.reason.to_rcgen()),
            invalidity_date: None,
        }
    }
}

/// Why a certificate was revoked (RFC 5280 section 5.3.1), as far as it makes sense here.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No reason is given; the list then holds none.
    #[default]
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// Whose certificate it is has changed its name or place.
    AffiliationChanged,
    /// Another certificate takes its place.
    Superseded,
    /// It is no longer needed.
    CessationOfOperation,
    /// It should no longer get in.
    PrivilegeWithdrawn,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The word an operator writes for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }

    fn to_rcgen(self) -> RevocationReason {
        match self {
            Self::Unspecified => RevocationReason::Unspecified,
            Self::KeyCompromise => RevocationReason::KeyCompromise,
            Self::AffiliationChanged => RevocationReason::AffiliationChanged,
            Self::Superseded => RevocationReason::Superseded,
            Self::CessationOfOperation => RevocationReason::CessationOfOperation,
            Self::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Reason {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().find(|reason| reason.word() == text).ok_or_else(|| {
            let message = format!("\"{}\" is no reason to revoke", PeerText::from(text));
            let remedy = format!("write one of {}", Self::ALL.map(Self::word).join(", "));
            Problem::error(Fault::CertsBadOption, message, remedy)
        })
    }
}

/// The number of a list, if it can be read and has one of this size.
pub(crate) fn number(list: &CertificateRevocationListDer<'_>) -> Option<u64> {
    let (_, list) = X509List::from_der(list).ok()?;
    list.crl_number().and_then(|number| u64::try_from(number).ok())
}

#[cfg(test)]
#[path = "revoke_tests.rs"]
mod tests;

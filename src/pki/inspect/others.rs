//! What there is to say about a request and about a revocation list.

use std::fmt;

use rustls::pki_types::{CertificateRevocationListDer, CertificateSigningRequestDer};
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{
    CertificateRevocationList, FromDer as _, RevokedCertificate, X509CertificationRequest,
};

use super::{Odd, days_left, left, moment, pin, row, rows_of_odd};
use crate::pki::profile::hex;
use crate::pki::reading::{self, KeyKind};

/// What a request asks for.
#[derive(Clone, Debug, Serialize)]
pub struct RequestReport {
    /// The subject it asks for.
    pub subject: String,
    /// The alternative names it asks for.
    pub names: Vec<String>,
    /// The kind and strength of its key.
    pub key: String,
    /// The pin of its public key.
    pub pin: String,
    /// What is odd about it.
    pub odd: Vec<Odd>,
}

/// What a revocation list says.
#[derive(Clone, Debug, Serialize)]
pub struct ListReport {
    /// Whose list it is.
    pub issuer: String,
    /// Its number, if it has one.
    pub number: Option<String>,
    /// When it was published.
    pub published: String,
    /// Until when it counts.
    pub until: Option<String>,
    /// Whole days that are left, below zero where it is past.
    pub days_left: Option<i64>,
    /// How many certificates are on it.
    pub count: usize,
    /// The first thousand of them.
    pub revoked: Vec<RevokedReport>,
    /// What is odd about it.
    pub odd: Vec<Odd>,
}

/// One certificate on a list.
#[derive(Clone, Debug, Serialize)]
pub struct RevokedReport {
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Since when.
    pub since: String,
    /// Why, where the list says so.
    pub reason: Option<String>,
}

impl RequestReport {
    pub(super) fn read(der: &CertificateSigningRequestDer<'_>, odd: Vec<Odd>) -> Option<Self> {
        let (_, request) = X509CertificationRequest::from_der(der).ok()?;
        let info = &request.certification_request_info;
        let mut names = Vec::new();
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(extension) = extension {
                names.extend(extension.general_names.iter().map(reading::typed));
            }
        }
        Some(Self {
            subject: reading::distinguished(&info.subject).to_string(),
            names,
            key: KeyKind::of(&info.subject_pki).to_string(),
            pin: pin(info.subject_pki.raw),
            odd,
        })
    }
}

impl ListReport {
    pub(super) fn read(
        der: &CertificateRevocationListDer<'_>,
        odd: Vec<Odd>,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        Some(Self {
            issuer: reading::distinguished(list.issuer()).to_string(),
            number: list.crl_number().map(ToString::to_string),
            published: moment(list.last_update()),
            until: list.next_update().map(moment),
            days_left: list.next_update().map(|until| days_left(until, now)),
            count: list.iter_revoked_certificates().count(),
            revoked: list.iter_revoked_certificates().take(MOST).map(revoked).collect(),
            odd,
        })
    }
}

fn revoked(entry: &RevokedCertificate<'_>) -> RevokedReport {
    RevokedReport {
        serial: hex(entry.raw_serial()),
        since: moment(entry.revocation_date),
        reason: entry.reason_code().map(|(_, reason)| reason.to_string()),
    }
}

impl fmt::Display for RequestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "A request for a certificate: {}", self.subject)?;
        row(f, "names", &self.names)?;
        row(f, "key", &[&self.key])?;
        row(f, "pin", &[&self.pin])?;
        rows_of_odd(f, &self.odd)
    }
}

impl fmt::Display for ListReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "certificate" } else { "certificates" };
        write!(f, "A revocation list of {}: {} {plural}", self.issuer, self.count)?;
        row(f, "number", self.number.as_slice())?;
        row(f, "published", &[&self.published])?;
        if let (Some(until), Some(days)) = (&self.until, self.days_left) {
            row(f, "counts until", &[format!("{until}, {}", left(days))])?;
        }
        let shown = self.revoked.iter().take(SHOWN).map(ToString::to_string);
        let mut lines: Vec<_> = shown.collect();
        let more = self.count.saturating_sub(lines.len());
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        row(f, "revoked", &lines)?;
        rows_of_odd(f, &self.odd)
    }
}

impl fmt::Display for RevokedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} since {}", self.serial, self.since)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

/// A list can have hundreds of thousands of entries; a report is for people and small programs.
const MOST: usize = 1000;
/// What fits on a screen.
const SHOWN: usize = 20;

//! Explains what a file holds: who it is for, for what, until when, vouched for by whom, and what it may not do.

mod certificate;
mod live;
mod others;

use std::fmt::{self, Display};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::time::ASN1Time;

pub use certificate::{CertificateReport, Dates};
pub use live::shown_by;
pub use others::{ListReport, RequestReport, RevokedReport};

use crate::pki::document::{Document, Item};
use crate::pki::lint::{self, Lint};

/// What there is to say about one item of a file. Text that somebody else chose is escaped in it.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Report {
    /// A certificate.
    Certificate(Box<CertificateReport>),
    /// A request for one.
    Request(RequestReport),
    /// A revocation list.
    RevocationList(ListReport),
    /// A private key, of which only the form is said.
    PrivateKey {
        /// `PKCS#8`, `SEC1`, ….
        form: &'static str,
    },
    /// A public key.
    PublicKey,
    /// Something that was parsed before, and cannot be now.
    Unreadable,
}

/// Something odd: the code of a lint and its sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Odd {
    /// The code, such as `lint.missing-aki`.
    pub code: &'static str,
    /// What it means.
    pub sentence: &'static str,
}

/// What there is to say about each item of a document, at the moment `now`.
#[must_use]
pub fn inspect(document: &Document, now: OffsetDateTime) -> Vec<Report> {
    let findings = lint::lint(document, now);
    let report = |(number, item): (usize, &Item)| {
        let odd = findings.iter().filter(|finding| finding.item() == number);
        let odd = odd.map(|finding| Odd::from(finding.lint())).collect();
        match item {
            Item::Certificate(der) => CertificateReport::read(der, odd, now)
                .map_or(Report::Unreadable, |report| Report::Certificate(Box::new(report))),
            Item::Request(der) => {
                RequestReport::read(der, odd).map_or(Report::Unreadable, Report::Request)
            }
            Item::RevocationList(der) => {
                ListReport::read(der, odd, now).map_or(Report::Unreadable, Report::RevocationList)
            }
            Item::PrivateKey(form) => Report::PrivateKey { form },
            Item::PublicKey => Report::PublicKey,
        }
    };
    (1_usize..).zip(document.items()).map(report).collect()
}

impl From<Lint> for Odd {
    fn from(lint: Lint) -> Self {
        Self { code: lint.code(), sentence: lint.sentence() }
    }
}

/// A heading and a table of what is said.
impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(report) => report.fmt(f),
            Self::Request(report) => report.fmt(f),
            Self::RevocationList(report) => report.fmt(f),
            Self::PrivateKey { form } => {
                write!(f, "A private key ({form}), which is not shown")
            }
            Self::PublicKey => f.write_str("A public key without a certificate"),
            Self::Unreadable => f.write_str("Something that cannot be parsed"),
        }
    }
}

/// One row of the table; nothing where there is nothing to say.
fn row(f: &mut fmt::Formatter<'_>, label: &str, values: &[impl Display]) -> fmt::Result {
    for (number, value) in values.iter().enumerate() {
        let label = if number == 0 { label } else { "" };
        write!(f, "\n   {label:<13}{value}")?;
    }
    Ok(())
}

fn rows_of_odd(f: &mut fmt::Formatter<'_>, odd: &[Odd]) -> fmt::Result {
    let lines: Vec<_> = odd.iter().map(|odd| format!("{} {}", odd.code, odd.sentence)).collect();
    row(f, "odd", &lines)
}

/// The pin of a public key: the SHA-256 of its `SubjectPublicKeyInfo`, as curl writes it.
fn pin(key_info: &[u8]) -> String {
    format!("sha256//{}", STANDARD.encode(digest(&SHA256, key_info)))
}

/// A moment as people read it, in UTC.
fn moment(time: ASN1Time) -> String {
    let time = time.to_datetime();
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}

/// Whole days from now to a moment, below zero where it is past: -1 on the day after.
fn days_left(until: ASN1Time, now: OffsetDateTime) -> i64 {
    until.timestamp().saturating_sub(now.unix_timestamp()).div_euclid(SECONDS_A_DAY)
}

/// What is left of something, or how long it is gone, from what [`days_left`] says.
fn left(days: i64) -> String {
    match days {
        1 => "1 day left".to_owned(),
        0.. => format!("{days} days left"),
        -1 => "just ended".to_owned(),
        -2 => "ended 1 day ago".to_owned(),
        _ => format!("ended {} days ago", days.unsigned_abs().saturating_sub(1)),
    }
}

const SECONDS_A_DAY: i64 = 24 * 3600;

#[cfg(test)]
mod tests;

//! What there is to say about a certificate.

use std::fmt;

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralSubtree;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Odd, days_left, left, moment, pin, row, rows_of_odd};
use crate::pki::profile::hex;
use crate::pki::reading::{self, Claim, KeyKind};

/// What a certificate says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateReport {
    /// `authority`, `server`, `client`, `server and client`, `anything` or `something else`.
    pub role: &'static str,
    /// The alternative names with their types, such as `dns:localhost`.
    pub names: Vec<String>,
    /// The subject.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Whether subject and issuer are the same.
    pub self_issued: bool,
    /// From when until when.
    pub valid: Dates,
    /// The kind and strength of its key.
    pub key: String,
    /// The algorithm it is signed with.
    pub signature: String,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// The SHA-256 of the whole certificate in hexadecimal.
    pub sha256: String,
    /// The pin of its public key, `sha256//…`.
    pub pin: String,
    /// What it may not do.
    pub may_not: Vec<String>,
    /// What is odd about it.
    pub odd: Vec<Odd>,
}

/// From when until when, and how much of it is left.
#[derive(Clone, Debug, Serialize)]
pub struct Dates {
    /// The first moment.
    pub from: String,
    /// The last one.
    pub until: String,
    /// Whole days that are left, below zero where it is past: -1 on the first day after.
    pub days_left: i64,
    /// Whether it has begun.
    pub begun: bool,
}

impl CertificateReport {
    pub(super) fn read(
        der: &CertificateDer<'_>,
        odd: Vec<Odd>,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let claim = Claim::of(&certificate);
        Some(Self {
            role: word(claim),
            names: reading::names(&certificate).iter().map(reading::typed).collect(),
            subject: reading::distinguished(certificate.subject()).to_string(),
            issuer: reading::distinguished(certificate.issuer()).to_string(),
            self_issued: reading::is_self_issued(&certificate),
            valid: Dates {
                from: moment(validity.not_before),
                until: moment(validity.not_after),
                days_left: days_left(validity.not_after, now),
                begun: validity.not_before.to_datetime() <= now,
            },
            key: KeyKind::of(certificate.public_key()).to_string(),
            signature: reading::signature(&certificate.signature_algorithm),
            serial: hex(certificate.raw_serial()),
            sha256: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref()),
            pin: pin(certificate.public_key().raw),
            may_not: may_not(&certificate, claim),
            odd,
        })
    }
}

fn word(claim: Claim) -> &'static str {
    match claim {
        Claim::Authority => "authority",
        Claim::Server => "server",
        Claim::Client => "client",
        Claim::Both => "server and client",
        Claim::Anything => "anything",
        Claim::Other => "something else",
    }
}

fn may_not(certificate: &X509Certificate<'_>, claim: Claim) -> Vec<String> {
    let mut may_not = Vec::new();
    match claim {
        Claim::Authority => limits(certificate, &mut may_not),
        Claim::Server => may_not.push("stand for a client".to_owned()),
        Claim::Client => may_not.push("stand for a server".to_owned()),
        Claim::Other => may_not.push("stand for a server or a client".to_owned()),
        Claim::Both | Claim::Anything => {}
    }
    if claim != Claim::Authority {
        may_not.push("vouch for anybody: it is no authority".to_owned());
    }
    may_not
}

fn limits(certificate: &X509Certificate<'_>, may_not: &mut Vec<String>) {
    let basic = certificate.basic_constraints().ok().flatten();
    match basic.and_then(|basic| basic.value.path_len_constraint) {
        Some(0) => may_not.push("vouch for another authority".to_owned()),
        Some(below) => may_not.push(format!("have more than {below} authorities below it")),
        None => {}
    }
    if let Some(usage) = reading::key_usage(certificate) {
        if !usage.key_cert_sign() {
            may_not.push("sign certificates".to_owned());
        }
        if !usage.crl_sign() {
            may_not.push("sign revocation lists".to_owned());
        }
    }
    let Ok(Some(constraints)) = certificate.name_constraints() else { return };
    let list = |trees: &[GeneralSubtree<'_>]| {
        let names: Vec<_> = trees.iter().map(|tree| reading::typed(&tree.base)).collect();
        names.join(", ")
    };
    if let Some(permitted) = &constraints.value.permitted_subtrees {
        may_not.push(format!("vouch for names outside {}", list(permitted)));
    }
    if let Some(excluded) = &constraints.value.excluded_subtrees {
        may_not.push(format!("vouch for names inside {}", list(excluded)));
    }
}

impl fmt::Display for CertificateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = match (self.role, self.self_issued) {
            ("authority", true) => "A root authority",
            ("authority", false) => "An intermediate authority",
            ("server", _) => "A server's certificate",
            ("client", _) => "A client's certificate",
            ("server and client", _) => "A certificate for servers and clients",
            ("anything", _) => "A certificate for anything",
            (_, _) => "A certificate for neither a server nor a client",
        };
        f.write_str(heading)?;
        // A server has no subject when its names are where they belong.
        if self.subject != "(none)" {
            write!(f, ": {}", self.subject)?;
        }
        row(f, "names", &self.names)?;
        row(f, "valid", &[&self.valid])?;
        let vouched = if self.self_issued { "itself" } else { self.issuer.as_str() };
        row(f, "vouched by", &[vouched])?;
        row(f, "key", &[&self.key])?;
        row(f, "signature", &[&self.signature])?;
        row(f, "serial", &[&self.serial])?;
        row(f, "sha256", &[&self.sha256])?;
        row(f, "pin", &[&self.pin])?;
        row(f, "may not", &self.may_not)?;
        rows_of_odd(f, &self.odd)
    }
}

impl fmt::Display for Dates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.until)?;
        if self.begun {
            write!(f, ", {}", left(self.days_left))
        } else {
            f.write_str(", not valid yet")
        }
    }
}

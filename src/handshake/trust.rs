//! The authorities that may vouch for a client: checked by us, because webpki never looks at an anchor.

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::reasons::date;
use super::{Ending, Validity};
use crate::peer::PeerText;
use crate::problem::{Fault, Problem};

/// One certificate of `clients`, fit to be an authority.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) until: UnixTime,
    pub(super) subject: PeerText,
    pub(super) limit: DepthLimit,
}

impl Anchor {
    /// When it ends.
    pub(super) fn ending(&self) -> Ending {
        Ending { of: Validity::Authority, name: self.subject.to_string(), at: self.until }
    }
}

/// How many authorities an anchor may have below it (RFC 5280 section 4.2.1.9), found by its name.
#[derive(Clone, Debug)]
pub(super) struct DepthLimit {
    pub(super) subject: Vec<u8>,
    pub(super) below: Option<u32>,
}

/// The anchors of a bundle that are fit to vouch, and a problem for each that is not.
///
/// Unfit ones refuse the start; an expired one is left out with a warning, because bundles overlap
/// while an authority is replaced.
pub(super) fn anchors(
    bundle: Vec<CertificateDer<'static>>,
    now: UnixTime,
) -> (Vec<Anchor>, Vec<Problem>) {
    let mut anchors = Vec::new();
    let mut problems = Vec::new();
    if bundle.len() > MOST_ANCHORS {
        problems.push(Problem::error(
            Fault::HandshakeBadAnchor,
            format!("{} authorities are more than {MOST_ANCHORS}", bundle.len()),
            "name only the authorities that vouch for your own clients, not a public bundle",
        ));
        return (anchors, problems);
    }
    for (number, certificate) in (1_usize..).zip(bundle) {
        match anchor(certificate, number, now) {
            Ok(anchor) => anchors.push(anchor),
            Err(problem) => problems.push(*problem),
        }
    }
    if anchors.is_empty() && !problems.iter().any(is_error) {
        problems.push(Problem::error(
            Fault::HandshakeBadAnchor,
            "no authority in it is valid today, so nobody could vouch for a client",
            "add the current authority's certificate",
        ));
    }
    (anchors, problems)
}

fn is_error(problem: &Problem) -> bool {
    problem.severity() == crate::problem::Severity::Error
}

fn anchor(
    certificate: CertificateDer<'static>,
    number: usize,
    now: UnixTime,
) -> Result<Anchor, Box<Problem>> {
    let unfit = |why: String| {
        let what = format!("certificate {number} {why}");
        Box::new(Problem::error(
            Fault::HandshakeBadAnchor,
            what,
            "name only certificates of authorities",
        ))
    };
    let parsed = X509Certificate::from_der(&certificate);
    let (_, parsed) = parsed.map_err(|_| unfit("cannot be parsed".to_owned()))?;
    let subject = PeerText::new(parsed.subject().to_string().as_bytes());
    if let Some(flaw) = flaw(&parsed) {
        return Err(unfit(format!("({subject}) {flaw}")));
    }
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let (from, until) =
        (seconds(parsed.validity().not_before), seconds(parsed.validity().not_after));
    if now.as_secs() > until || now.as_secs() < from {
        let when = if now.as_secs() > until { "expired on" } else { "is not valid before" };
        let moment = if now.as_secs() > until { until } else { from };
        return Err(Box::new(Problem::warning(
            Fault::HandshakeBadAnchor,
            format!("authority {number} ({subject}) {when} {} and is left out", date(moment)),
            "remove it, or replace it by its successor",
        )));
    }
    let until = UnixTime::since_unix_epoch(std::time::Duration::from_secs(until));
    let below = parsed.basic_constraints().ok().flatten();
    let below = below.and_then(|constraints| constraints.value.path_len_constraint);
    let limit = DepthLimit { subject: parsed.subject().as_raw().to_vec(), below };
    drop(parsed);
    Ok(Anchor { certificate, until, subject, limit })
}

/// Why a certificate is no authority, if it is none (RFC 5280 sections 4.2.1.3, 4.2.1.9, 4.2).
fn flaw(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    match certificate.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => {}
        Ok(_) => return Some("is not an authority: its basic constraints do not say CA"),
        Err(_) => return Some("has basic constraints that cannot be parsed"),
    }
    match certificate.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => {
            return Some("may not sign certificates: no keyCertSign");
        }
        Ok(_) => {}
        Err(_) => return Some("has a key usage that cannot be parsed"),
    }
    if certificate
        .iter_extensions()
        .any(|extension| extension.critical && is_unknown(extension.parsed_extension()))
    {
        return Some("has a critical extension that is not understood here");
    }
    if let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed()
        && key.key_size() < WEAKEST_RSA
    {
        return Some("has an RSA key below 2,048 bits");
    }
    None
}

/// Whatever the parser learns to read later is not enforced here until it is listed.
fn is_unknown(extension: &ParsedExtension<'_>) -> bool {
    !matches!(
        extension,
        ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::NameConstraints(_)
            | ParsedExtension::SubjectAlternativeName(_)
    )
}

/// One verifier is built for each authority's end, so their number is bounded.
const MOST_ANCHORS: usize = 64;
/// NIST SP 800-57 part 1: below this an RSA key has less than 112 bits of strength.
const WEAKEST_RSA: usize = 2048;

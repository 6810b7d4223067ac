//! Revocation lists: one for each issuer, the newest, its signature verified before it is believed.

use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::reasons::date;
use super::trust::Anchor;
use super::{Ending, Validity};
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};

/// A list that is believed, and the issuer it speaks for.
#[derive(Debug)]
struct Believed {
    issuer: usize,
    number: Vec<u8>,
    this_update: i64,
    next_update: i64,
    place: Place,
    list: CertificateRevocationListDer<'static>,
}

/// The lists that are believed, and what is known of the others.
pub(super) struct Newest {
    /// The newest verified list of each issuer.
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    /// When each of them ends.
    pub(super) endings: Vec<Ending>,
    /// What is wrong with the rest, and what is missing.
    pub(super) problems: Vec<Problem>,
}

/// The newest verified list of each issuer, and what is wrong with the rest.
///
/// rustls takes the first list it finds for an issuer and starts with forged ones; here a list that no
/// authority in `clients` signed refuses the start, and an older one is left out (RFC 5280 section 5).
pub(super) fn newest(
    lists: Vec<Written<CertificateRevocationListDer<'static>>>,
    anchors: &[Anchor],
    provider: &CryptoProvider,
    now: UnixTime,
) -> Newest {
    let mut believed: Vec<Believed> = Vec::new();
    let mut problems = Vec::new();
    for list in lists {
        match verify(list, anchors, provider) {
            Ok(list) => keep_newest(&mut believed, list, &mut problems),
            Err(problem) => problems.push(*problem),
        }
    }
    problems.extend(believed.iter().filter_map(|list| stale(list, now)));
    for (index, anchor) in anchors.iter().enumerate() {
        if !believed.iter().any(|list| list.issuer == index) {
            problems.push(uncovered(anchor));
        }
    }
    let ending = |list: &Believed| {
        let issuer = anchors.get(list.issuer).map(|anchor| anchor.subject.to_string());
        let at = Duration::from_secs(u64::try_from(list.next_update).unwrap_or(0));
        Ending {
            of: Validity::RevocationList,
            name: issuer.unwrap_or_default(),
            at: UnixTime::since_unix_epoch(at),
        }
    };
    let endings = believed.iter().map(ending).collect();
    Newest { lists: believed.into_iter().map(|list| list.list).collect(), endings, problems }
}

fn keep_newest(believed: &mut Vec<Believed>, list: Believed, problems: &mut Vec<Problem>) {
    let Some(other) = believed.iter_mut().find(|other| other.issuer == list.issuer) else {
        return believed.push(list);
    };
    let older = if (&list.number, list.this_update) > (&other.number, other.this_update) {
        std::mem::replace(other, list)
    } else {
        list
    };
    let passed_over = Problem::warning(
        Fault::HandshakeBadCrl,
        "an older revocation list of an issuer that has a newer one is passed over",
        "remove the older list",
    );
    problems.push(passed_over.at(&older.place));
}

fn verify(
    list: Written<CertificateRevocationListDer<'static>>,
    anchors: &[Anchor],
    provider: &CryptoProvider,
) -> Result<Believed, Box<Problem>> {
    let place = list.place;
    let bad = |why: &str| {
        let remedy = "publish it again with the authority that is named in clients";
        Box::new(Problem::error(Fault::HandshakeBadCrl, why, remedy).at(&place))
    };
    let der = list.value;
    let parsed = CertificateRevocationList::from_der(&der);
    let (_, parsed) = parsed.map_err(|_| bad("the revocation list cannot be parsed"))?;
    let issuer = anchors.iter().position(|anchor| signed_by(&parsed, anchor, provider));
    let issuer = issuer.ok_or_else(|| bad("no authority in clients signed the revocation list"))?;
    let next_update = parsed.next_update();
    let next_update = next_update.ok_or_else(|| bad("the revocation list names no next update"))?;
    let number =
        parsed.crl_number().map(|number| padded(&number.to_bytes_be())).unwrap_or_default();
    let (this_update, next_update) = (parsed.last_update().timestamp(), next_update.timestamp());
    drop(parsed);
    Ok(Believed { issuer, number, this_update, next_update, place, list: der })
}

/// A number of at most 20 bytes (RFC 5280 section 5.2.3) as bytes that compare like the number.
fn padded(number: &[u8]) -> Vec<u8> {
    let zeros = LONGEST_NUMBER.saturating_sub(number.len());
    std::iter::repeat_n(0, zeros).chain(number.iter().copied()).collect()
}

fn signed_by(
    list: &CertificateRevocationList<'_>,
    anchor: &Anchor,
    provider: &CryptoProvider,
) -> bool {
    let Ok((_, issuer)) = X509Certificate::from_der(&anchor.certificate) else { return false };
    if issuer.subject().as_raw() != list.issuer().as_raw() {
        return false;
    }
    let may_sign = match issuer.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.crl_sign()),
        Err(_) => false,
    };
    may_sign && signature_holds(list, &issuer, provider)
}

/// The same algorithms that handshakes use; those whose identifier does not fit are passed over.
fn signature_holds(
    list: &CertificateRevocationList<'_>,
    issuer: &X509Certificate<'_>,
    provider: &CryptoProvider,
) -> bool {
    let signature_oid = oid_der(list.signature_algorithm.algorithm.as_bytes());
    let key = &issuer.public_key().subject_public_key.data;
    provider
        .signature_verification_algorithms
        .all
        .iter()
        .filter(|algorithm| algorithm.signature_alg_id().as_ref().starts_with(&signature_oid))
        .any(|algorithm| {
            let signed = list.tbs_cert_list.as_ref();
            algorithm.verify_signature(key, signed, &list.signature_value.data).is_ok()
        })
}

/// The DER of an object identifier: tag 6, its length in one byte, its content.
fn oid_der(content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    [&[6, length], content].concat()
}

fn stale(list: &Believed, now: UnixTime) -> Option<Problem> {
    let next_update = u64::try_from(list.next_update).unwrap_or(0);
    let left = next_update.checked_sub(now.as_secs());
    let message = match left {
        None => format!("the revocation list ended on {}: nobody gets in", date(next_update)),
        Some(left) if left < SOON.as_secs() => {
            format!("the revocation list ends on {}: then nobody gets in", date(next_update))
        }
        Some(_) => return None,
    };
    let remedy = "publish a fresh list before that";
    Some(Problem::warning(Fault::HandshakeStaleCrl, message, remedy).at(&list.place))
}

fn uncovered(anchor: &Anchor) -> Problem {
    Problem::warning(
        Fault::HandshakeNoRevocation,
        format!("no revocation list speaks for {}, so its clients are refused", anchor.subject),
        "add its list to crl, or take the authority out of clients",
    )
}

/// RFC 5280 section 5.2.3.
const LONGEST_NUMBER: usize = 20;
/// A week is time enough to publish a new list in working hours.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

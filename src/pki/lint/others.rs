//! What can be wrong with a chain, a revocation list and a request.

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, CertificateSigningRequestDer,
};
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{
    CertificateRevocationList, FromDer as _, X509Certificate, X509CertificationRequest, X509Version,
};

use super::{Finding, Lint, Sheet};
use crate::pki::reading::{self, KeyKind};

/// Several certificates are a chain if one of them is no authority; otherwise they are a bundle of anchors.
pub(super) fn check_chain(
    chain: &[CertificateDer<'_>],
    now: OffsetDateTime,
    findings: &mut Vec<Finding>,
) {
    let parsed: Vec<_> = chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed))
        .collect();
    if parsed.len() < 2 || parsed.iter().all(|certificate| certificate.is_ca()) {
        return;
    }
    for (item, pair) in (2_usize..).zip(parsed.windows(2)) {
        let [lower, upper] = pair else { continue };
        let mut sheet = Sheet { item, now, findings };
        let issued = lower.issuer().as_raw() == upper.subject().as_raw();
        sheet.when(!issued, Lint::ChainOrder);
        sheet.when(issued && upper.is_ca() && reading::is_self_issued(upper), Lint::RootInChain);
        let outlives = lower.validity().not_after > upper.validity().not_after;
        sheet.item = item.saturating_sub(1);
        sheet.when(issued && outlives, Lint::OutlivesIssuer);
    }
}

pub(super) fn check_list(der: &CertificateRevocationListDer<'_>, sheet: &mut Sheet<'_>) {
    let Ok((_, list)) = CertificateRevocationList::from_der(der) else { return };
    sheet.when(list.version() != Some(X509Version::V2), Lint::CrlVersion);
    sheet.when(reading::is_weak_signature(&list.signature_algorithm), Lint::WeakSignature);
    let next = list.next_update();
    sheet.when(next.is_none(), Lint::CrlNoNextUpdate);
    let now = sheet.now.unix_timestamp();
    sheet.when(next.is_some_and(|next| next.timestamp() < now), Lint::CrlStale);
    if list.version() == Some(X509Version::V2) {
        sheet.when(list.crl_number().is_none(), Lint::CrlNoNumber);
        let named = list.extensions().iter().any(|extension| {
            matches!(extension.parsed_extension(), ParsedExtension::AuthorityKeyIdentifier(_))
        });
        sheet.when(!named, Lint::CrlNoAki);
    }
    let none_revoked = list.iter_revoked_certificates().next().is_none();
    sheet.when(none_revoked && has_empty_sequence(&list), Lint::CrlEmptyList);
}

/// Whether the last element before the extensions is a sequence of nothing: the parser does not tell.
fn has_empty_sequence(list: &CertificateRevocationList<'_>) -> bool {
    let mut before = None;
    let mut rest = content(list.tbs_cert_list.as_ref()).unwrap_or_default();
    while let Some((tag, value, after)) = element(rest) {
        if tag == EXTENSIONS {
            break;
        }
        before = Some((tag, value.len()));
        rest = after;
    }
    before == Some((SEQUENCE, 0))
}

fn content(der: &[u8]) -> Option<&[u8]> {
    element(der).map(|(_, value, _)| value)
}

/// The first element of some DER: its tag, its value, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    if *first < 0x80 {
        let (value, after) = rest.split_at_checked(usize::from(*first))?;
        return Some((*tag, value, after));
    }
    let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
    let length = length
        .iter()
        .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?;
    let (value, after) = rest.split_at_checked(length)?;
    Some((*tag, value, after))
}

pub(super) fn check_request(der: &CertificateSigningRequestDer<'_>, sheet: &mut Sheet<'_>) {
    let Ok((_, request)) = X509CertificationRequest::from_der(der) else { return };
    let info = &request.certification_request_info;
    let kind = KeyKind::of(&info.subject_pki);
    sheet.when(kind.is_weak(), Lint::WeakKey);
    sheet.when(!kind.is_weak() && !kind.is_supported(), Lint::UnsupportedKey);
    sheet.when(reading::is_weak_signature(&request.signature_algorithm), Lint::WeakSignature);
    sheet.when(!is_signed(&request, &kind), Lint::RequestSignature);
    let (mut authority, mut named) = (false, false);
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::BasicConstraints(basic) = extension {
            authority |= basic.ca;
        }
        named |= matches!(extension, ParsedExtension::SubjectAlternativeName(_));
    }
    sheet.when(authority, Lint::RequestAuthority);
    sheet.when(!named, Lint::RequestNoNames);
}

/// The parser's verifier does not know ML-DSA, so that the algorithms of TLS are asked.
fn is_signed(request: &X509CertificationRequest<'_>, kind: &KeyKind) -> bool {
    if !kind.is_supported() {
        return request.verify_signature().is_ok();
    }
    let info = &request.certification_request_info;
    let key = &info.subject_pki.subject_public_key.data;
    rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all.iter().any(
        |algorithm| {
            algorithm.verify_signature(key, info.raw, &request.signature_value.data).is_ok()
        },
    )
}

const SEQUENCE: u8 = 0x30;
/// The context tag 0 that extensions stand under (RFC 5280 section 5.1).
const EXTENSIONS: u8 = 0xA0;

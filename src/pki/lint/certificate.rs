//! What can be wrong with any certificate, and with that of a server or client.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use super::{Lint, Sheet, authority};
use crate::pki::name::HostName;
use crate::pki::reading::{self, Claim, KeyKind};

pub(super) fn check(der: &CertificateDer<'_>, sheet: &mut Sheet<'_>) {
    // A document holds only what can be parsed.
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return };
    sheet.when(certificate.version() != X509Version::V3, Lint::Version);
    serial(certificate.raw_serial(), sheet);
    dates(&certificate, sheet);
    key(&certificate, sheet);
    extensions(&certificate, sheet);
    identifiers(&certificate, sheet);
    if certificate.is_ca() {
        authority::check(&certificate, sheet);
    } else {
        leaf(&certificate, sheet);
        names(&certificate, sheet);
    }
}

fn serial(raw: &[u8], sheet: &mut Sheet<'_>) {
    let negative = raw.first().is_some_and(|first| first & 0x80 != 0);
    let significant = raw.iter().skip_while(|byte| **byte == 0).count();
    sheet.when(negative || significant == 0, Lint::SerialNotPositive);
    sheet.when(raw.len() > LONGEST_SERIAL, Lint::SerialTooLong);
    sheet.when(!negative && significant > 0 && significant < SHORTEST_SERIAL, Lint::SerialShort);
}

fn dates(certificate: &X509Certificate<'_>, sheet: &mut Sheet<'_>) {
    let validity = certificate.validity();
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = sheet.now.unix_timestamp();
    sheet.when(until < from, Lint::DatesReversed);
    sheet.when(until < now && from <= until, Lint::Expired);
    sheet.when(now < from && from <= until, Lint::NotYetValid);
    let seconds = until.saturating_sub(from);
    let longer_than = |days: i64| seconds > days.saturating_mul(SECONDS_A_DAY);
    let (long, too_long) = match Claim::of(certificate) {
        Claim::Authority => (longer_than(AUTHORITY_DAYS), false),
        Claim::Client | Claim::Other => (longer_than(PRIVATE_DAYS), false),
        Claim::Server | Claim::Both | Claim::Anything => {
            (longer_than(SERVER_DAYS) && !longer_than(PRIVATE_DAYS), longer_than(PRIVATE_DAYS))
        }
    };
    sheet.when(long, Lint::ValidityLong);
    sheet.when(too_long, Lint::ValidityTooLong);
}

fn key(certificate: &X509Certificate<'_>, sheet: &mut Sheet<'_>) {
    let kind = KeyKind::of(certificate.public_key());
    sheet.when(reading::is_weak_signature(&certificate.signature_algorithm), Lint::WeakSignature);
    sheet.when(kind.is_weak(), Lint::WeakKey);
    sheet.when(!kind.is_weak() && !kind.is_supported(), Lint::UnsupportedKey);
    let encrypts = reading::key_usage(certificate)
        .is_some_and(|usage| usage.key_encipherment() || usage.data_encipherment());
    sheet.when(encrypts && kind.only_signs(), Lint::EnciphermentOnSigner);
}

fn extensions(certificate: &X509Certificate<'_>, sheet: &mut Sheet<'_>) {
    let unknown = certificate
        .iter_extensions()
        .any(|extension| extension.critical && reading::is_unknown(extension.parsed_extension()));
    let unreadable = certificate.iter_extensions().any(|extension| {
        matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. })
    });
    sheet.when(unknown, Lint::UnknownCritical);
    sheet.when(unreadable, Lint::UnreadableExtension);
    sheet.when(certificate.extensions_map().is_err(), Lint::DuplicateExtension);
    let not_critical =
        certificate.key_usage().is_ok_and(|usage| usage.is_some_and(|usage| !usage.critical));
    sheet.when(not_critical, Lint::KeyUsageNotCritical);
}

fn identifiers(certificate: &X509Certificate<'_>, sheet: &mut Sheet<'_>) {
    let (mut issuer, mut own, mut critical) = (false, false, false);
    for extension in certificate.iter_extensions() {
        let parsed = extension.parsed_extension();
        if let ParsedExtension::AuthorityKeyIdentifier(identifier) = parsed {
            issuer = identifier.key_identifier.is_some();
            critical |= extension.critical;
        }
        if matches!(parsed, ParsedExtension::SubjectKeyIdentifier(_)) {
            own = true;
            critical |= extension.critical;
        }
    }
    let is_ca = certificate.is_ca();
    // A root is its own issuer, and may leave it out (RFC 5280 section 4.2.1.1).
    sheet.when(!issuer && !reading::is_self_issued(certificate), Lint::MissingAki);
    sheet.when(!own && is_ca, Lint::AuthorityMissingSki);
    sheet.when(!own && !is_ca, Lint::MissingSki);
    sheet.when(critical, Lint::KeyIdentifierCritical);
    sheet.when(certificate.issuer().iter().next().is_none(), Lint::EmptyIssuer);
}

fn leaf(certificate: &X509Certificate<'_>, sheet: &mut Sheet<'_>) {
    match certificate.basic_constraints() {
        Ok(None) => sheet.when(true, Lint::NoBasicConstraints),
        Ok(Some(basic)) => {
            sheet.when(basic.value.path_len_constraint.is_some(), Lint::PathLengthOnLeaf);
        }
        // What is there twice or cannot be parsed has a lint of its own.
        Err(_) => {}
    }
    let constrains = certificate.name_constraints().is_ok_and(|names| names.is_some());
    sheet.when(constrains, Lint::ConstraintsOnLeaf);
    if let Some(usage) = reading::key_usage(certificate) {
        let signs_others = usage.key_cert_sign() || usage.crl_sign();
        sheet.when(signs_others, Lint::SignWithoutAuthority);
        sheet.when(!usage.digital_signature(), Lint::NoDigitalSignature);
    }
    match certificate.extended_key_usage() {
        Ok(None) => sheet.when(true, Lint::NoExtendedUsage),
        Ok(Some(usage)) => {
            sheet.when(usage.value.any, Lint::AnyUsage);
            let both = usage.value.server_auth && usage.value.client_auth;
            sheet.when(both, Lint::BothRoles);
        }
        Err(_) => {}
    }
    sheet.when(reading::is_self_issued(certificate), Lint::SelfSignedLeaf);
}

fn names(certificate: &X509Certificate<'_>, sheet: &mut Sheet<'_>) {
    let Ok(extension) = certificate.subject_alternative_name() else { return };
    let names = reading::names(certificate);
    let is_client = Claim::of(certificate) == Claim::Client;
    sheet.when(names.is_empty() && !is_client, Lint::MissingSan);
    sheet.when(names.is_empty() && is_client, Lint::ClientWithoutSan);
    sheet.when(names.iter().any(is_bad), Lint::BadName);
    if let Some(extension) = extension {
        let nameless = certificate.subject().iter().next().is_none();
        sheet.when(extension.critical && !nameless, Lint::SanCritical);
        sheet.when(!extension.critical && nameless, Lint::SanNotCritical);
    }
    let stray = reading::common_name(certificate).is_some_and(|common| {
        let is_host = common.contains('.') && common.parse::<HostName>().is_ok();
        let held = names.iter().map(reading::typed).any(|typed| {
            typed.split_once(':').is_some_and(|(_, text)| text.eq_ignore_ascii_case(common))
        });
        is_host && !held
    });
    sheet.when(stray, Lint::CommonNameNotInSan);
}

/// RFC 5280 section 4.2.1.6: none of them holds a space or a control byte, and none is empty.
fn is_bad(name: &GeneralName<'_>) -> bool {
    match name {
        GeneralName::DNSName(text) => {
            text.parse::<HostName>().map_or(true, |host| host.dns().is_none())
        }
        GeneralName::URI(text) => !text.contains(':') || !is_graphic(text),
        GeneralName::RFC822Name(text) => !text.contains('@') || !is_graphic(text),
        GeneralName::IPAddress(bytes) => ![4, 16].contains(&bytes.len()),
        GeneralName::Invalid(..) => true,
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_) => false,
    }
}

fn is_graphic(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// RFC 5280 section 4.1.2.2.
const LONGEST_SERIAL: usize = 20;
/// 64 bits of a random number, which the rules for public authorities demand.
const SHORTEST_SERIAL: usize = 8;
const SECONDS_A_DAY: i64 = 24 * 3600;
/// What public authorities may issue since March 2026.
const SERVER_DAYS: i64 = 200;
/// What Apple's systems take from private authorities.
const PRIVATE_DAYS: i64 = 825;
/// Ten years, leap days included.
const AUTHORITY_DAYS: i64 = 3653;

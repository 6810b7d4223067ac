//! What the files of a store hold: what ends, what fits together, what the inventory knows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::pki::credential::Facts;
use crate::pki::inventory::{self, Entry};
use crate::pki::keyfile::{read_chain, read_crls, read_key};
use crate::pki::layout::Layout;
use crate::pki::limits::Limits;
use crate::pki::profile::{Constraints, Serial};
use crate::problem::{Fault, Problem};

pub(super) fn check(layout: &Layout, now: OffsetDateTime, problems: &mut Vec<Problem>) {
    authority(layout, now, problems);
    let entries = match inventory::read(&layout.inventory()) {
        Ok(entries) => entries,
        Err(problem) => {
            problems.push(problem);
            return;
        }
    };
    list(layout, &entries, now, problems);
    let known: BTreeMap<&str, &Entry> =
        entries.iter().map(|entry| (entry.issued.sha256.as_str(), entry)).collect();
    for place in leaves(layout) {
        match read_chain(&place.join("chain.pem")) {
            Ok(chain) => leaf(&place, &chain, &known, now, problems),
            Err(problem) => problems.push(problem),
        }
    }
}

fn authority(layout: &Layout, now: OffsetDateTime, problems: &mut Vec<Problem>) {
    let read = read_chain(&layout.authority());
    let limits = read.and_then(|chain| match chain.first() {
        Some(certificate) => Limits::read(certificate),
        None => Err(crate::pki::limits::unfit("there is no certificate")),
    });
    let limits = match limits {
        Ok(limits) => limits,
        Err(problem) => {
            problems.push(problem);
            return;
        }
    };
    let path = layout.authority();
    if limits.not_after < now {
        let message = format!("{} ended on {}", path.display(), limits.not_after.date());
        let remedy = "make a new authority in another directory and hand out its trust.pem";
        problems.push(Problem::error(Fault::CertsAuthorityExpired, message, remedy));
    } else if limits.not_after < now.saturating_add(AUTHORITY_SOON) {
        let message = format!("{} ends on {}", path.display(), limits.not_after.date());
        let remedy = "make its successor now, and let peers trust both for a while";
        problems.push(Problem::warning(Fault::CertsExpires, message, remedy));
    }
    let wide = limits.constraints != Constraints::development();
    let serves = fs::read_dir(layout.directory().join("server"))
        .is_ok_and(|mut servers| servers.next().is_some());
    if wide && serves && layout.authority_key().is_file() {
        let message = format!(
            "{} lies beside the keys of servers, and may vouch for {}",
            layout.authority_key().display(),
            limits.constraints
        );
        let remedy = "keep it on a machine that serves nobody, and copy only what a server needs";
        problems.push(Problem::warning(Fault::HandshakeAuthorityKey, message, remedy));
    }
}

/// The published list: whether it is fresh, and whether everybody is on it who should be.
fn list(layout: &Layout, entries: &[Entry], now: OffsetDateTime, problems: &mut Vec<Problem>) {
    let path = layout.revocations();
    let lists = match read_crls(&path) {
        Ok(lists) => lists,
        Err(problem) => {
            problems.push(problem);
            return;
        }
    };
    let mut published = Vec::new();
    for der in &lists {
        let Ok((_, list)) = CertificateRevocationList::from_der(der) else { continue };
        published.extend(
            list.iter_revoked_certificates().map(|entry| Serial::from_bytes(entry.raw_serial())),
        );
        let Some(end) = list.next_update().map(|end| end.to_datetime()) else { continue };
        let remedy = "publish a fresh one: doorward certs crl";
        if end < now {
            let message = format!("{} ended on {}: nobody gets in", path.display(), end.date());
            problems.push(Problem::error(Fault::HandshakeStaleCrl, message, remedy));
        } else if end < now.saturating_add(LIST_SOON) {
            let message = format!("{} ends on {}: then nobody gets in", path.display(), end.date());
            problems.push(Problem::warning(Fault::HandshakeStaleCrl, message, remedy));
        }
    }
    let revoked = entries.iter().filter(|entry| entry.revoked.is_some());
    for entry in revoked.filter(|entry| !published.contains(&entry.issued.serial)) {
        let message =
            format!("{} was revoked, but is not on {}", entry.issued.serial, path.display());
        let remedy = "publish the list anew: doorward certs crl";
        problems.push(Problem::error(Fault::CertsInventoryMismatch, message, remedy));
    }
}

/// The directories with a certificate in them; those that a renewal or a crash left aside do not count.
fn leaves(layout: &Layout) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for part in ["server", "client"] {
        let Ok(entries) = fs::read_dir(layout.directory().join(part)) else { continue };
        places.extend(entries.flatten().map(|entry| entry.path()).filter(|path| {
            let hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let old = path.extension().is_some_and(|extension| extension == "old");
            path.join("chain.pem").is_file() && !hidden && !old
        }));
    }
    places.sort();
    places
}

fn leaf(
    place: &Path,
    chain: &[CertificateDer<'static>],
    known: &BTreeMap<&str, &Entry>,
    now: OffsetDateTime,
    problems: &mut Vec<Problem>,
) {
    let Some(facts) = chain.first().and_then(|own| Facts::read(own).ok()) else { return };
    let shown = place.display();
    if facts.not_after < now {
        let message = format!("{shown} ended on {}", facts.not_after.date());
        problems.push(Problem::error(Fault::CertsExpires, message, "renew it, or remove it"));
    } else if facts.not_after < now.saturating_add(LEAF_SOON) {
        let message = format!("{shown} ends on {}", facts.not_after.date());
        problems.push(Problem::warning(Fault::CertsExpires, message, "renew it"));
    }
    match known.get(facts.sha256.as_str()) {
        None => {
            let message = format!("{shown} holds a certificate that the inventory does not know");
            let remedy = "find out who put it there; it cannot be revoked by name";
            problems.push(Problem::error(Fault::CertsInventoryMismatch, message, remedy));
        }
        Some(entry) if entry.revoked.is_some() => {
            let message = format!("{shown} holds a certificate that is revoked");
            let remedy = "remove it, or renew it if it was only replaced";
            problems.push(Problem::warning(Fault::CertsInventoryMismatch, message, remedy));
        }
        Some(_) => {}
    }
    // A key that cannot be read because of its mode is reported with the files.
    let Ok(key) = read_key(&place.join("key.pem")) else { return };
    if CertifiedKey::from_der(chain.to_vec(), key, &default_provider()).is_err() {
        let message = format!("{shown}: the key does not belong to the certificate");
        let remedy = "put back the key that was made with it, or issue it again";
        problems.push(Problem::error(Fault::CertsKeyMismatch, message, remedy));
    }
}

/// A successor has to reach every peer before the end.
const AUTHORITY_SOON: Duration = Duration::days(60);
/// Two weeks hold ten working days.
const LEAF_SOON: Duration = Duration::days(14);
/// A week is time enough to publish a new list in working hours.
const LIST_SOON: Duration = Duration::days(7);

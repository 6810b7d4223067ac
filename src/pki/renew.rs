//! Renewing: a new key and certificate in the place of the old, which stay beside them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::peer::PeerText;
use crate::pki::authority::Authority;
use crate::pki::credential::{Credential, Facts};
use crate::pki::disk::{self, Secrecy};
use crate::pki::inventory::{self, Entry, Issued, Line};
use crate::pki::key::Key;
use crate::pki::keyfile;
use crate::pki::name::{ClientIdentity, ClientName, HostName};
use crate::pki::profile::{Options, Role, Serial};
use crate::pki::store::{self, Store};
use crate::pki::target::Target;
use crate::problem::{Fault, Problem};

/// A server or client whose certificate is in the store now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    /// The directory of its `chain.pem` and `key.pem`.
    pub place: PathBuf,
    /// What the inventory says of that certificate.
    pub entry: Entry,
}

/// A certificate that took the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The directory, as before; the previous pair is in `chain.pem.old` and `key.pem.old`.
    pub place: PathBuf,
    /// The new serial number.
    pub serial: Serial,
    /// The new last second; never later than the authority's.
    pub not_after: OffsetDateTime,
}

impl Filed {
    /// Its private key.
    pub(crate) fn key(&self) -> Result<Key, Problem> {
        Key::from_der(&Zeroizing::new(keyfile::read_key(&self.place.join(KEY))?))
    }

    /// Its chain.
    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Problem> {
        keyfile::read_chain(&self.place.join(CHAIN))
    }
}

impl Store {
    /// Every server and client whose certificate is in the store and in its inventory, in the order of their paths.
    ///
    /// # Errors
    /// [`Fault::CertsUnreadable`] for the inventory, [`Fault::HandshakeUnreadable`] for a chain that is damaged.
    pub fn filed(&self) -> Result<Vec<Filed>, Problem> {
        let issued = self.list()?;
        let mut filed = Vec::new();
        for role in ["client", "server"] {
            for place in directories(&self.layout().directory().join(role))? {
                let chain = place.join(CHAIN);
                if disk::kind_at(&chain)?.is_none() {
                    continue;
                }
                let chain = keyfile::read_chain(&chain)?;
                let Some(leaf) = chain.first() else { continue };
                let sha256 = Facts::read(leaf)?.sha256;
                let entry = issued.iter().find(|entry| entry.issued.sha256 == sha256);
                filed.extend(entry.map(|entry| Filed { place, entry: entry.clone() }));
            }
        }
        Ok(filed)
    }

    /// The one of [`Store::filed`] that an operator means by a word, as [`Target::find`] reads it.
    ///
    /// # Errors
    /// As [`Store::filed`] and [`Target::find`].
    pub fn find_filed(&self, word: &str) -> Result<Filed, Problem> {
        let filed = self.filed()?;
        let entries: Vec<_> = filed.iter().map(|filed| filed.entry.clone()).collect();
        let unknown = || {
            let message =
                format!("no key and certificate are in the store for \"{}\"", PeerText::from(word));
            let remedy = "look up the name: doorward certs list; who holds the key elsewhere sends a new request";
            Problem::error(Fault::CertsUnknown, message, remedy)
        };
        let target = Target::find(word, &entries).map_err(|problem| {
            if problem.fault() == Fault::CertsUnknown { unknown() } else { problem }
        })?;
        filed.into_iter().find(|filed| target.means(&filed.entry.issued)).ok_or_else(unknown)
    }

    /// Issues anew, with a new key of the same kind and the same names, for as long as before or for `days`.
    ///
    /// Chain and key change together: where the system can exchange directories, nobody ever sees the new
    /// one beside the old other; elsewhere for the time between two renames. The previous pair is kept
    /// beside them as `.old` and still counts until it ends or is revoked.
    ///
    /// # Errors
    /// The faults of issuing, of reading the present key, and of writing; the present pair is then unchanged.
    pub fn renew(&self, filed: &Filed, days: Option<u32>) -> Result<Renewed, Problem> {
        let _lock = store::lock(self.layout())?;
        let authority = self.authority()?;
        let key = filed.key()?;
        let issued = &filed.entry.issued;
        let options =
            Options { key: key.kind(), days: days.unwrap_or_else(|| length_in_days(issued)) };
        let credential = issue(&authority, issued, options)?;
        let aside = disk::aside(&filed.place)?;
        let renewed = Issued::new(credential.facts(), issued.role, issued.names.clone());
        let write = || {
            write_beside(&credential, &aside, &filed.place)?;
            inventory::record(&self.layout().inventory(), &[Line::Issued(renewed)])?;
            swap(&aside, &filed.place)?;
            put_by_bundle(&filed.place)
        };
        let written = write();
        // What cannot be removed now is removed by the next change.
        fs::remove_dir_all(&aside).ok();
        written?;
        let (serial, not_after) = (credential.serial().clone(), credential.not_after());
        Ok(Renewed { place: filed.place.clone(), serial, not_after })
    }
}

/// A bundle for programs that want one.
pub(crate) const BUNDLE: &str = "id.p12";
const CHAIN: &str = "chain.pem";
const KEY: &str = "key.pem";
/// Files of a pair, and what the previous one is kept as.
const PAIR: [(&str, &str, Secrecy); 2] =
    [(KEY, "key.pem.old", Secrecy::Private), (CHAIN, "chain.pem.old", Secrecy::Public)];

fn directories(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable = |error: std::io::Error| {
        let message = format!("{} cannot be read: {error}", folder.display());
        Problem::error(Fault::CertsUnreadable, message, "give the directory to this user")
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// How many days a certificate was made for; one whose authority's end cut it short counts at least one.
fn length_in_days(issued: &Issued) -> u32 {
    let (from, until) = (issued.not_before.unix_timestamp(), issued.not_after.unix_timestamp());
    // Both ends count, so the last second of the last day is the last one inside.
    let life = Duration::seconds(until.saturating_sub(from).saturating_add(1));
    u32::try_from(life.whole_days()).unwrap_or(0).max(1)
}

fn issue(authority: &Authority, issued: &Issued, options: Options) -> Result<Credential, Problem> {
    match issued.role {
        Role::Server => authority.server(&hosts(&issued.names)?, options),
        Role::Client => authority.client(&client(&issued.names)?, options),
        Role::Authority => Err(unknown_name("an authority")),
    }
}

/// The names of a server as the inventory keeps them.
fn hosts(names: &[String]) -> Result<Vec<HostName>, Problem> {
    let host = |name: &String| {
        let bare = name.strip_prefix("dns:").or_else(|| name.strip_prefix("ip:"));
        bare.ok_or_else(|| unknown_name(name))?.parse()
    };
    names.iter().map(host).collect()
}

/// The identity of a client as the inventory keeps it.
fn client(names: &[String]) -> Result<ClientIdentity, Problem> {
    let (first, rest) = names.split_first().ok_or_else(|| unknown_name("nobody"))?;
    let suffix = format!(".{}", ClientName::DOMAIN);
    let name = first.strip_prefix("dns:").and_then(|name| name.strip_suffix(&suffix));
    let mut identity: ClientIdentity = name.ok_or_else(|| unknown_name(first))?.parse()?;
    for name in rest {
        identity = match name.split_once(':') {
            Some(("uri", id)) => identity.with_spiffe(id.parse()?),
            Some(("email", email)) => identity.with_email(email.parse()?),
            Some(_) | None => return Err(unknown_name(name)),
        };
    }
    Ok(identity)
}

fn unknown_name(name: &str) -> Problem {
    let message = format!("the inventory holds a name that is not issued here: {name}");
    Problem::error(Fault::CertsUnreadable, message, "put back a copy of the inventory")
}

/// Writes the new pair aside, with everything beside it that is in the present directory.
fn write_beside(credential: &Credential, aside: &Path, place: &Path) -> Result<(), Problem> {
    disk::directory(aside)?;
    disk::create(&aside.join(KEY), credential.key_pem().as_bytes(), Secrecy::Private)?;
    disk::create(&aside.join(CHAIN), credential.chain_pem().as_bytes(), Secrecy::Public)?;
    for (name, old, secrecy) in PAIR {
        let present = place.join(name);
        disk::kind_at(&present)?;
        let bytes = Zeroizing::new(fs::read(&present).map_err(|error| {
            let message = format!("{} cannot be read: {error}", present.display());
            Problem::error(Fault::CertsUnreadable, message, "give the file to this user")
        })?);
        disk::create(&aside.join(old), &bytes, secrecy)?;
    }
    Ok(())
}

/// Puts the new pair in the place of the present one.
fn swap(aside: &Path, place: &Path) -> Result<(), Problem> {
    if !adopt_others(aside, place)? {
        return swap_file_by_file(aside, place);
    }
    match disk::exchange(aside, place) {
        Ok(()) => disk::sync_parent(place),
        Err(error) if error.kind() == ErrorKind::Unsupported => swap_file_by_file(aside, place),
        Err(error) => Err(disk::unwritable(place, &error)),
    }
}

/// A bundle holds the previous pair, so it is kept as that.
fn put_by_bundle(place: &Path) -> Result<(), Problem> {
    let (present, old) = (place.join(BUNDLE), place.join("id.p12.old"));
    if disk::kind_at(&present)?.is_none() {
        return Ok(());
    }
    fs::rename(&present, &old).map_err(|error| disk::unwritable(&old, &error))
}

/// Gives other files of the present directory a second name in the new one; whether all of them have one.
fn adopt_others(aside: &Path, place: &Path) -> Result<bool, Problem> {
    for entry in fs::read_dir(place).map_err(|error| disk::unwritable(place, &error))? {
        let entry = entry.map_err(|error| disk::unwritable(place, &error))?;
        let name = entry.file_name();
        if PAIR.iter().any(|(new, old, _)| name == *new || name == *old) {
            continue;
        }
        if fs::hard_link(entry.path(), aside.join(&name)).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One rename after the other: the previous pair is kept before, so that a crash in between loses nothing.
fn swap_file_by_file(aside: &Path, place: &Path) -> Result<(), Problem> {
    let moved = |name: &str| {
        fs::rename(aside.join(name), place.join(name))
            .map_err(|error| disk::unwritable(&place.join(name), &error))
    };
    for (_, old, _) in PAIR {
        disk::kind_at(&place.join(old))?;
        moved(old)?;
    }
    for (new, _, _) in PAIR {
        moved(new)?;
    }
    disk::sync_parent(&place.join(KEY))
}

#[cfg(test)]
#[cfg(unix)]
#[path = "renew_tests.rs"]
mod tests;

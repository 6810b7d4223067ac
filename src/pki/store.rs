//! A store: an authority and everything it has issued, in one directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::pki::authority::Authority;
use crate::pki::credential::{Credential, Facts};
use crate::pki::disk::{self, Aside, Lock, Secrecy};
use crate::pki::inventory::{self, Entry, Issued, Line, Revoked};
use crate::pki::key::Key;
use crate::pki::keyfile;
use crate::pki::layout::Layout;
use crate::pki::name::{ClientIdentity, HostName};
use crate::pki::passphrase::{self, Passphrase};
use crate::pki::plan::{AuthorityKey, Plan};
use crate::pki::profile::{self, Options, Role, Serial};
use crate::pki::revoke::{Reason, Revocation, RevocationList};
use crate::pki::target::{self, Target};
use crate::problem::{Fault, Problem};

/// An authority and what it has issued, on disk.
///
/// Every change holds a lock, so that several processes may share a store; every file is written aside and
/// moved to its place, so that none is ever half there; nothing is overwritten and no link is followed.
#[derive(Clone, Debug)]
pub struct Store {
    layout: Layout,
    /// The authority's key, where it is encrypted and was opened.
    unlocked: Option<Arc<Key>>,
}

/// What [`development`] came upon.
#[derive(Clone, Debug)]
pub enum Development {
    /// There was nothing: this store was made.
    Made(Store),
    /// This store was there, and was left as it is.
    Found(Store),
}

impl Development {
    /// The store, made or found.
    #[must_use]
    pub fn store(&self) -> &Store {
        match self {
            Self::Made(store) | Self::Found(store) => store,
        }
    }
}

/// Makes sure that a directory holds what development needs: an authority for names of development, a server
/// certificate for this machine, a client `alice`, and an empty revocation list.
///
/// All of it appears or none of it; one who is killed half-way leaves nothing that counts, and the next call
/// finishes or begins anew. A store that is there is left as it is.
///
/// # Errors
/// [`Fault::CertsUnwritable`], [`Fault::CertsSymlink`], [`Fault::CertsLocked`], or [`Fault::CertsExists`] where
/// parts of a store are there without the rest.
pub fn development(dir: &Path) -> Result<Development, Problem> {
    let layout = Layout::new(disk::store_directory(dir)?);
    let _lock = lock(&layout)?;
    if layout.is_complete() {
        return Ok(Development::Found(Store::at(layout)));
    }
    make(&layout, &Plan::development()?)?;
    Ok(Development::Made(Store::at(layout)))
}

impl Store {
    /// Makes a store in a directory that holds none; it may hold other files.
    ///
    /// # Errors
    /// [`Fault::CertsExists`] where a store or a part of one is; the faults of writing and of issuing.
    pub fn create(dir: &Path, plan: &Plan) -> Result<Self, Problem> {
        Self::create_with_authority(dir, plan).map(|(store, _)| store)
    }

    /// Makes a store and hands out its authority as well, whose key may be written nowhere.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create_with_authority(dir: &Path, plan: &Plan) -> Result<(Self, Authority), Problem> {
        let layout = Layout::new(disk::store_directory(dir)?);
        let _lock = lock(&layout)?;
        let authority = make(&layout, plan)?;
        let mut store = Self::at(layout);
        if matches!(plan.authority_key, AuthorityKey::Encrypted(_)) {
            store.unlocked = Some(Arc::new(authority.key().again()?));
        }
        Ok((store, authority))
    }

    /// Opens a store that was made before, and finishes making it if that was interrupted.
    ///
    /// # Errors
    /// [`Fault::CertsNoAuthority`] where there is none.
    pub fn open(dir: &Path) -> Result<Self, Problem> {
        let none = || {
            let message = format!("there is no store of certificates in {}", dir.display());
            let remedy = format!("make one: doorward certs init --dir {}", dir.display());
            Problem::error(Fault::CertsNoAuthority, message, remedy)
        };
        let layout = Layout::new(dir.canonicalize().map_err(|_| none())?);
        if layout.is_interrupted() {
            drop(lock(&layout)?);
        }
        if layout.is_complete() { Ok(Self::at(layout)) } else { Err(none()) }
    }

    fn at(layout: Layout) -> Self {
        Self { layout, unlocked: None }
    }

    /// Whether the authority's key is encrypted, and [`Store::unlock`] was not called yet.
    ///
    /// # Errors
    /// As [`keyfile::is_encrypted`]. A key that is not here needs none.
    pub fn needs_passphrase(&self) -> Result<bool, Problem> {
        let key = self.layout.authority_key();
        if self.unlocked.is_some() || disk::kind_at(&key)?.is_none() {
            return Ok(false);
        }
        keyfile::is_encrypted(&key)
    }

    /// The same store, which signs with its encrypted key as long as this value lives.
    ///
    /// # Errors
    /// [`Fault::CertsWrongPassphrase`]; as [`keyfile::read_encrypted_key`].
    pub fn unlock(mut self, passphrase: &Passphrase) -> Result<Self, Problem> {
        let key = self.layout.authority_key();
        disk::kind_at(&key)?;
        let key = Key::from_der(&*keyfile::read_encrypted_key(&key, passphrase)?)?;
        self.unlocked = Some(Arc::new(key));
        Ok(self)
    }

    /// Where its files are.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its authority, checked to be fit for signing now.
    ///
    /// # Errors
    /// [`Fault::CertsNoAuthority`] if its key is not here, [`Fault::CertsPassphraseMissing`] if it is encrypted and
    /// not unlocked; as [`Authority::open`].
    pub fn authority(&self) -> Result<Authority, Problem> {
        let key = self.layout.authority_key();
        if disk::kind_at(&key)?.is_none() {
            let message =
                format!("the private key of the authority, {}, is not here", key.display());
            let remedy =
                "issue where the key is kept, or make a new authority in another directory";
            return Err(Problem::error(Fault::CertsNoAuthority, message, remedy));
        }
        if let Some(key) = &self.unlocked {
            return Authority::load(keyfile::read_chain(&self.layout.authority())?, key.again()?);
        }
        if keyfile::is_encrypted(&key)? {
            return Err(passphrase::missing(&key));
        }
        Authority::open(&self.layout.authority(), &key)
    }

    /// Issues a server certificate, filed under the first name, and returns its directory.
    ///
    /// # Errors
    /// [`Fault::CertsExists`] if there is one of that name; as [`Authority::server`].
    pub fn issue_server(&self, names: &[HostName], options: Options) -> Result<PathBuf, Problem> {
        let _lock = lock(&self.layout)?;
        issue_server(&self.layout, &self.authority()?, names, options)
    }

    /// Issues a client certificate, filed under the client's name, and returns its directory.
    ///
    /// # Errors
    /// [`Fault::CertsExists`] if there is one of that name; as [`Authority::client`].
    pub fn issue_client(
        &self,
        identity: &ClientIdentity,
        options: Options,
    ) -> Result<PathBuf, Problem> {
        let _lock = lock(&self.layout)?;
        issue_client(&self.layout, &self.authority()?, identity, options)
    }

    /// Revokes certificates and publishes a new revocation list; returns the serial numbers that are new on it.
    ///
    /// What was revoked before stays revoked, with its first reason; a new list is signed all the same.
    ///
    /// # Errors
    /// [`Fault::CertsUnknown`] if the store issued none that is meant.
    pub fn revoke(&self, target: &Target, reason: Reason) -> Result<Vec<Serial>, Problem> {
        let _lock = lock(&self.layout)?;
        let authority = self.authority()?;
        let meant: Vec<Entry> =
            self.list()?.into_iter().filter(|entry| target.means(&entry.issued)).collect();
        if meant.is_empty() {
            return Err(target::unknown(&target.to_string()));
        }
        let at = OffsetDateTime::now_utc();
        let counting = meant.into_iter().filter(|entry| entry.revoked.is_none());
        let serials: Vec<_> = counting.map(|entry| entry.issued.serial).collect();
        let revoked: Vec<_> =
            serials.iter().map(|serial| Revoked { serial: serial.clone(), reason, at }).collect();
        let list = Publication::prepare(&self.layout, &authority, &revoked, None)?;
        let lines: Vec<_> = revoked.into_iter().map(Line::Revoked).collect();
        inventory::record(&self.layout.inventory(), &lines)?;
        list.publish()?;
        Ok(serials)
    }

    /// Signs the revocation list anew, with a higher number and a later end.
    ///
    /// # Errors
    /// As [`Store::authority`], and the faults of writing.
    pub fn publish_revocations(&self) -> Result<(), Problem> {
        let _lock = lock(&self.layout)?;
        Publication::prepare(&self.layout, &self.authority()?, &[], None)?.publish()
    }

    /// When the revocation list was published and when it ends, in seconds since 1970.
    ///
    /// # Errors
    /// [`Fault::CertsUnreadable`] where there is none that can be read.
    pub fn revocations_last(&self) -> Result<(i64, i64), Problem> {
        let path = self.layout.revocations();
        let unreadable = || {
            let message = format!("{} holds no revocation list with an end", path.display());
            Problem::error(Fault::CertsUnreadable, message, "publish it: doorward certs crl")
        };
        let list = keyfile::read_crls(&path)?.into_iter().next().ok_or_else(unreadable)?;
        let parsed = CertificateRevocationList::from_der(&list);
        let (_, parsed) = parsed.map_err(|_| unreadable())?;
        let ends = parsed.next_update().ok_or_else(unreadable)?;
        Ok((parsed.last_update().timestamp(), ends.timestamp()))
    }

    /// Everything the store has issued, its authority included, the oldest first.
    ///
    /// # Errors
    /// [`Fault::CertsUnreadable`] if the inventory is missing or damaged.
    pub fn list(&self) -> Result<Vec<Entry>, Problem> {
        inventory::read(&self.layout.inventory())
    }
}

/// Takes the lock, and puts in order what a killed process may have left.
pub(crate) fn lock(layout: &Layout) -> Result<Lock, Problem> {
    let lock = Lock::take(layout.directory())?;
    layout.finish()?;
    layout.sweep()?;
    Ok(lock)
}

/// Makes everything aside, then moves it to its place.
fn make(layout: &Layout, plan: &Plan) -> Result<Authority, Problem> {
    if let AuthorityKey::Encrypted(passphrase) = &plan.authority_key {
        passphrase.check_new()?;
    }
    layout.refuse_parts()?;
    let making = layout.making();
    let made = fill(&making, plan).and_then(|authority| making.mark_made().map(|()| authority));
    if made.is_err() {
        // The reason of the failure is what the operator needs; what cannot be removed now is removed next time.
        fs::remove_dir_all(making.directory()).ok();
    }
    let authority = made?;
    layout.write_ignore_file()?;
    layout.finish()?;
    Ok(authority)
}

fn fill(layout: &Layout, plan: &Plan) -> Result<Authority, Problem> {
    layout.make_directories()?;
    let authority = Authority::create(&plan.authority)?;
    disk::create(&layout.authority(), authority.chain_pem().as_bytes(), Secrecy::Public)?;
    write_key(layout, &authority, &plan.authority_key)?;
    disk::create(&layout.trust(), authority.trust_pem().as_bytes(), Secrecy::Public)?;
    let issued = Issued::new(&Facts::read(authority.certificate())?, Role::Authority, Vec::new());
    inventory::record(&layout.inventory(), &[Line::Issued(issued)])?;
    for names in &plan.servers {
        issue_server(layout, &authority, names, plan.leaf)?;
    }
    for identity in &plan.clients {
        issue_client(layout, &authority, identity, plan.leaf)?;
    }
    let last = match &plan.authority_key {
        AuthorityKey::Kept | AuthorityKey::Encrypted(_) => None,
        // Nobody can sign another list, and one that has ended lets nobody in.
        AuthorityKey::Discarded => Some(authority.not_after()),
    };
    Publication::prepare(layout, &authority, &[], last)?.publish()?;
    Ok(authority)
}

/// Keeps the authority's key as it was planned. One that is encrypted is opened again, before anybody relies on it.
fn write_key(layout: &Layout, authority: &Authority, kept: &AuthorityKey) -> Result<(), Problem> {
    let path = layout.authority_key();
    match kept {
        AuthorityKey::Kept => {
            disk::create(&path, authority.key().to_pem().as_bytes(), Secrecy::Private)
        }
        AuthorityKey::Encrypted(passphrase) => {
            let key = authority.key().to_encrypted_pem(passphrase)?;
            disk::create(&path, key.as_bytes(), Secrecy::Private)?;
            Authority::open_encrypted(&layout.authority(), &path, passphrase).map(|_| ())
        }
        AuthorityKey::Discarded => Ok(()),
    }
}

fn issue_server(
    layout: &Layout,
    authority: &Authority,
    names: &[HostName],
    options: Options,
) -> Result<PathBuf, Problem> {
    let first = profile::first_of(names)?;
    let credential = authority.server(names, options)?;
    let names = names.iter().map(HostName::typed).collect();
    file(layout, &credential, layout.server(first), Role::Server, names)
}

fn issue_client(
    layout: &Layout,
    authority: &Authority,
    identity: &ClientIdentity,
    options: Options,
) -> Result<PathBuf, Problem> {
    let credential = authority.client(identity, options)?;
    file(layout, &credential, layout.client(identity.name()), Role::Client, identity.typed_names())
}

/// Files a credential: chain and key appear together, or not at all.
///
/// The inventory knows of it before it can be used, so that everything in use can be revoked.
fn file(
    layout: &Layout,
    credential: &Credential,
    place: PathBuf,
    role: Role,
    names: Vec<String>,
) -> Result<PathBuf, Problem> {
    if disk::kind_at(&place)?.is_some() {
        let message = format!("{} is there already", place.display());
        let remedy = "renew it, or choose another name";
        return Err(Problem::error(Fault::CertsExists, message, remedy));
    }
    let issued = Issued::new(credential.facts(), role, names);
    let aside = disk::aside(&place)?;
    let write = || {
        disk::directory(&aside)?;
        disk::create(&aside.join("key.pem"), credential.key_pem().as_bytes(), Secrecy::Private)?;
        disk::create(&aside.join("chain.pem"), credential.chain_pem().as_bytes(), Secrecy::Public)?;
        inventory::record(&layout.inventory(), &[Line::Issued(issued)])?;
        disk::publish(&aside, &place)
    };
    let written = write();
    if written.is_err() {
        // The reason of the failure is what the operator needs; the next change removes what is left.
        fs::remove_dir_all(&aside).ok();
    }
    written.map(|()| place)
}

/// A revocation list that is signed and on the disk, and only has to take the place of the one before.
struct Publication {
    number: Aside,
    list: Aside,
}

impl Publication {
    /// What the inventory says, and `more` that it is about to say, until then or as long as a list usually counts.
    fn prepare(
        layout: &Layout,
        authority: &Authority,
        more: &[Revoked],
        until: Option<OffsetDateTime>,
    ) -> Result<Self, Problem> {
        let number = last_number(layout)?.saturating_add(1);
        let known = inventory::read(&layout.inventory())?;
        let revoked = known.into_iter().filter_map(|entry| entry.revoked);
        let empty = RevocationList::new(number);
        let empty = match until {
            Some(until) => empty.until(until),
            None => empty,
        };
        let whole = revoked.chain(more.iter().cloned());
        let list = whole.fold(empty, |list, Revoked { serial, reason, at }| {
            list.revoking(Revocation::new(serial, reason, at))
        });
        let text = list.sign_pem(authority)?;
        let written = format!("{number}\n");
        let path = layout.revocation_number();
        Ok(Self {
            number: disk::prepare(&path, written.as_bytes(), Secrecy::Public)?,
            list: disk::prepare(&layout.revocations(), text.as_bytes(), Secrecy::Public)?,
        })
    }

    /// The number first: a number that is skipped harms nobody, one that is used twice does.
    fn publish(self) -> Result<(), Problem> {
        self.number.take_place()?;
        self.list.take_place()
    }
}

/// The highest number used so far: the one written down, or the one of the published list should that be higher.
fn last_number(layout: &Layout) -> Result<u64, Problem> {
    let path = layout.revocation_number();
    let unreadable = |reason: String| {
        let message = format!(
            "{} does not hold the number of the last revocation list: {reason}",
            path.display()
        );
        Problem::error(
            Fault::CertsUnreadable,
            message,
            "write the number of the last list into it: openssl crl -noout -crlnumber",
        )
    };
    let written = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|error| unreadable(format!("{error}")))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(unreadable(error.to_string())),
    };
    // A list that cannot be read is about to be replaced, and must not keep anybody from revoking.
    let published = keyfile::read_crls(&layout.revocations()).unwrap_or_default();
    Ok(published.iter().filter_map(|list| crate::pki::revoke::number(list)).fold(written, u64::max))
}

#[cfg(test)]
#[cfg(unix)]
#[path = "store_tests.rs"]
mod tests;

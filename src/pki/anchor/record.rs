//! What was installed where, so that exactly that is taken back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::pki::anchor::mark::Mark;
use crate::pki::anchor::site::{Site, TrustStore};
use crate::pki::disk::{self, Secrecy};
use crate::pki::keyfile;
use crate::pki::layout::Layout;
use crate::problem::{Fault, Problem};

/// One authority in one trust store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deed {
    pub(crate) store: TrustStore,
    /// The directory, database or file.
    pub(crate) place: String,
    /// The image it is in; nothing for the running system, and for what is below a home.
    pub(crate) root: Option<PathBuf>,
    pub(crate) mark: Mark,
}

/// Every deed that was not taken back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    installed: Vec<Deed>,
}

impl Deed {
    pub(crate) fn new(store: TrustStore, place: String, site: &Site, mark: Mark) -> Self {
        let root = root_of(store, site);
        Self { store, place, root, mark }
    }

    /// Whether it was done at this site. A home is one, whatever image is meant beside it.
    pub(crate) fn is_of(&self, site: &Site) -> bool {
        self.root == root_of(self.store, site)
    }
}

impl Record {
    /// The one of a store of certificates; empty where nothing was ever installed.
    pub(crate) fn read(layout: &Layout) -> Result<Self, Problem> {
        let path = layout.installations();
        if disk::kind_at(&path)?.is_none() {
            return Ok(Self::default());
        }
        let bytes = keyfile::read_whole(&path)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("{} cannot be read: {error}", path.display());
            let remedy = "remove by hand what it names, then the file";
            Problem::error(Fault::CertsUnreadable, message, remedy)
        })
    }

    pub(crate) fn deeds(&self) -> &[Deed] {
        &self.installed
    }

    /// Adds a deed before it is done, so that nothing is done that nobody knows of.
    pub(crate) fn add(&mut self, layout: &Layout, deed: &Deed) -> Result<(), Problem> {
        if !self.installed.contains(deed) {
            self.installed.push(deed.clone());
        }
        self.write(layout)
    }

    /// Forgets a deed that was taken back.
    pub(crate) fn forget(&mut self, layout: &Layout, deed: &Deed) -> Result<(), Problem> {
        self.installed.retain(|other| other != deed);
        self.write(layout)
    }

    fn write(&self, layout: &Layout) -> Result<(), Problem> {
        let path = layout.installations();
        if self.installed.is_empty() {
            return disk::remove_file(&path);
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| {
            let message = format!("{} cannot be written: {error}", path.display());
            Problem::error(Fault::CertsUnwritable, message, "look at the paths it would hold")
        })?;
        disk::prepare(&path, format!("{text}\n").as_bytes(), Secrecy::Public)?.take_place()
    }
}

fn root_of(store: TrustStore, site: &Site) -> Option<PathBuf> {
    match store {
        TrustStore::System | TrustStore::Java => site.root.clone(),
        TrustStore::Nss => None,
    }
}

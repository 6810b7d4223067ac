//! Where the files of a store are, and how a store that was being made when somebody died is put in order.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pki::disk::{self, Secrecy};
use crate::pki::name::{ClientName, HostName};
use crate::problem::{Fault, Problem};

/// The paths of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The directory of the store.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What peers must trust: the only file to hand to them.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.directory.join("trust.pem")
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca/ca.crt")
    }

    /// The authority's private key, which no service needs.
    #[must_use]
    pub fn authority_key(&self) -> PathBuf {
        self.directory.join("ca/private/ca.key")
    }

    /// The revocation list.
    #[must_use]
    pub fn revocations(&self) -> PathBuf {
        self.directory.join("ca/crl.pem")
    }

    /// The number of the last revocation list.
    #[must_use]
    pub fn revocation_number(&self) -> PathBuf {
        self.directory.join("ca/crlnumber")
    }

    /// What was issued and revoked.
    #[must_use]
    pub fn inventory(&self) -> PathBuf {
        self.directory.join("ca/inventory.jsonl")
    }

    /// Into which trust stores the authority was put, where it was put into any.
    #[must_use]
    pub fn installations(&self) -> PathBuf {
        self.directory.join("ca/installed.json")
    }

    /// What peers must trust, in the form that Java reads.
    #[must_use]
    pub fn trust_for_java(&self) -> PathBuf {
        self.directory.join("trust.p12")
    }

    /// The directory of a server's `chain.pem` and `key.pem`.
    #[must_use]
    pub fn server(&self, first_name: &HostName) -> PathBuf {
        self.directory.join("server").join(first_name.path_part())
    }

    /// The directory of a client's `chain.pem` and `key.pem`.
    #[must_use]
    pub fn client(&self, name: &ClientName) -> PathBuf {
        self.directory.join("client").join(name.as_str())
    }

    /// Whether all of a store is there.
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_interrupted() && [self.trust(), self.authority()].iter().all(|path| path.is_file())
    }

    /// Whether somebody was making the store and has not come to the end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.making().directory.exists()
    }

    /// Where a new store is made before it is moved to its place.
    pub(crate) fn making(&self) -> Self {
        Self { directory: self.directory.join(".making") }
    }

    /// Makes the directories, each for the owner alone.
    pub(crate) fn make_directories(&self) -> Result<(), Problem> {
        disk::directory(&self.directory)?;
        ["ca", "ca/private", "server", "client"]
            .iter()
            .try_for_each(|part| disk::directory(&self.directory.join(part)))
    }

    /// Says that everything is written and may be moved. Only of use on what [`Layout::making`] returned.
    pub(crate) fn mark_made(&self) -> Result<(), Problem> {
        disk::create(&self.directory.join(MADE), b"", Secrecy::Public)
    }

    /// Finishes what was interrupted: moves a store that was made whole, and forgets one that was not.
    ///
    /// Nothing outside the directory it was made in is ever removed, so no authority's key can be lost here.
    pub(crate) fn finish(&self) -> Result<(), Problem> {
        let making = self.making();
        if disk::kind_at(&making.directory)?.is_none() {
            return Ok(());
        }
        if disk::kind_at(&making.directory.join(MADE))?.is_some() {
            for piece in PIECES {
                let from = making.directory.join(piece);
                if disk::kind_at(&from)?.is_some() {
                    disk::publish(&from, &self.directory.join(piece))?;
                }
            }
        }
        disk::remove_directory(&making.directory)
    }

    /// Removes what a killed process had put aside.
    pub(crate) fn sweep(&self) -> Result<(), Problem> {
        for part in ["", "ca", "ca/private", "server", "client"] {
            let Ok(entries) = fs::read_dir(self.directory.join(part)) else { continue };
            for entry in
                entries.flatten().filter(|entry| is_aside(&entry.file_name().to_string_lossy()))
            {
                let path = entry.path();
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let removed =
                    if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(|error| disk::unwritable(&path, &error))?;
            }
        }
        Ok(())
    }

    /// Refuses to make a store where a part of one is.
    pub(crate) fn refuse_parts(&self) -> Result<(), Problem> {
        for piece in PIECES {
            let path = self.directory.join(piece);
            if disk::kind_at(&path)?.is_some() {
                let message = format!("{} is there already", path.display());
                let remedy = "use the store that is there, or make a new one in another directory";
                return Err(Problem::error(Fault::CertsExists, message, remedy));
            }
        }
        Ok(())
    }

    /// Keeps keys out of version control, unless the directory says already what it keeps out.
    pub(crate) fn write_ignore_file(&self) -> Result<(), Problem> {
        let path = self.directory.join(".gitignore");
        if disk::kind_at(&path)?.is_some() {
            return Ok(());
        }
        disk::create(&path, b"*\n!.gitignore\n!README.md\n", Secrecy::Public)
    }
}

/// What a store consists of, in the order it is moved to its place: what makes it count comes last.
pub(crate) const PIECES: [&str; 4] = ["ca", "client", "server", "trust.pem"];

/// The file that says a store is made and only has to be moved.
const MADE: &str = "made";

/// Whether a name is one that [`disk::aside`] gives.
fn is_aside(name: &str) -> bool {
    name.strip_prefix('.').and_then(|name| name.rsplit_once(".new-")).is_some_and(|(_, random)| {
        random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

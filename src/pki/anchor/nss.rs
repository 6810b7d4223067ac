//! The databases of NSS: Firefox's profiles, Chromium's and Chrome's, by its program `certutil`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pki::anchor::keeper::{Keeper, Removal, Sight, Standing};
use crate::pki::anchor::mark::{Anchor, Mark};
use crate::pki::anchor::site::Site;
use crate::pki::anchor::tool::Tool;
use crate::problem::{Fault, Problem};

/// A directory with a `cert9.db`.
pub(crate) struct Database {
    path: PathBuf,
}

/// Below the home; the second kind holds one database a profile.
const SHARED: [&str; 2] = [".pki/nssdb", "snap/chromium/current/.pki/nssdb"];
const PROFILES: [&str; 4] = [
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
];
/// Nobody has more profiles; each costs some runs of a program.
const MOST_PROFILES: usize = 64;
/// A database with more certificates of its owner's own is not looked through.
const MOST_NAMES: usize = 256;

impl Database {
    /// Every one below the home, in the order of their paths. Databases are made by browsers, never here.
    pub(crate) fn all(site: &Site) -> Vec<Self> {
        let Some(home) = &site.home else { return Vec::new() };
        let mut found: Vec<_> =
            SHARED.iter().filter_map(|path| Self::at(&home.join(path))).collect();
        for folder in PROFILES {
            let Ok(entries) = fs::read_dir(home.join(folder)) else { continue };
            let mut paths: Vec<_> =
                entries.flatten().take(MOST_PROFILES).map(|entry| entry.path()).collect();
            paths.sort();
            found.extend(paths.iter().filter_map(|path| Self::at(path)));
        }
        found
    }

    /// The one in a directory, if there is one.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        path.join("cert9.db").is_file().then(|| Self { path: path.to_owned() })
    }

    fn certutil(&self, arguments: &[&str]) -> Tool {
        let mut database = std::ffi::OsString::from("sql:");
        database.push(&self.path);
        Tool::new("certutil", "libnss3-tools or nss-tools")
            .argument("-d")
            .argument(database)
            .arguments(arguments)
    }

    /// As a server's authority only: whose client certificates count is for servers to say.
    fn adding(&self, anchor: &Anchor) -> Tool {
        let label = anchor.mark.label();
        self.certutil(&["-A", "-a", "-t", "C,,", "-n", &label]).input(&anchor.pem())
    }

    /// The names of all certificates that the owner added.
    fn names(&self) -> Result<Vec<String>, Problem> {
        let listed = self.certutil(&["-L"]).run()?;
        let listed = String::from_utf8_lossy(&listed.output).into_owned();
        // A name, spaces, and trust flags with two commas; the heading has none that is only flags.
        let name = |line: &str| {
            let (name, flags) = line.trim_end().rsplit_once(' ')?;
            let is_flags = flags.bytes().filter(|byte| *byte == b',').count() == 2
                && flags.bytes().all(|byte| byte == b',' || b"pPcCTugw".contains(&byte));
            is_flags.then(|| name.trim().to_owned())
        };
        Ok(listed.lines().filter_map(name).collect())
    }

    /// The name under which a certificate is there. It may be another than ours, if somebody else added it.
    fn name_of(&self, mark: &Mark, names: &[String]) -> Result<Option<String>, Problem> {
        if names.len() > MOST_NAMES {
            let message = format!("{} holds {} certificates", self.path.display(), names.len());
            let remedy = format!("{MOST_NAMES} are looked through: remove what is not needed");
            return Err(Problem::error(Fault::CertsTrustStore, message, remedy));
        }
        // Ours first, which answers nearly every question.
        let (ours, others): (Vec<_>, Vec<_>) =
            names.iter().partition(|name| **name == mark.label());
        for name in ours.into_iter().chain(others) {
            let shown = self.certutil(&["-L", "-r", "-n", name]).try_run()?;
            if shown.is_fine() && Mark::of(&shown.output) == *mark {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    /// A file of another user's that root writes would be that user's no more, and may be a trap.
    #[cfg(unix)]
    fn refuse_anothers(&self) -> Result<(), Problem> {
        use std::os::unix::fs::MetadataExt as _;
        let file = self.path.join("cert9.db");
        let metadata = fs::symlink_metadata(&file);
        let own = metadata.is_ok_and(|metadata| {
            metadata.is_file() && metadata.uid() == nix::unistd::geteuid().as_raw()
        });
        if own {
            return Ok(());
        }
        let message = format!("{} is not a file of this user", file.display());
        Err(Problem::error(Fault::CertsTrustStore, message, "run as its owner, without sudo"))
    }

    #[cfg(not(unix))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the other system's twin uses both"
    )]
    fn refuse_anothers(&self) -> Result<(), Problem> {
        Ok(())
    }
}

impl Keeper for Database {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn steps(&self, anchor: &Anchor) -> Vec<String> {
        vec![format!("run {}, which reads the certificate", self.adding(anchor))]
    }

    fn sight(&self, mark: &Mark) -> Result<Sight, Problem> {
        let names = self.names()?;
        match self.name_of(mark, &names)? {
            Some(name) if name == mark.label() => Ok(Sight::of(Standing::Installed)),
            Some(name) => {
                Ok(Sight::noted(Standing::Installed, format!("by somebody else, as {name}")))
            }
            None if names.contains(&mark.label()) => {
                Ok(Sight::noted(Standing::CannotTell, changed(mark)))
            }
            None => Ok(Sight::missing(mark, names.iter().map(String::as_str))),
        }
    }

    fn add(&self, anchor: &Anchor) -> Result<Option<String>, Problem> {
        self.refuse_anothers()?;
        self.adding(anchor).run().map(|_| None)
    }

    fn remove(&self, mark: &Mark) -> Result<Removal, Problem> {
        let names = self.names()?;
        if !names.contains(&mark.label()) {
            return Ok(Removal::Gone);
        }
        if self.name_of(mark, &names)? != Some(mark.label()) {
            return Ok(Removal::LeftAlone(changed(mark)));
        }
        self.refuse_anothers()?;
        self.certutil(&["-D", "-n", &mark.label()]).run()?;
        Ok(Removal::Removed(None))
    }
}

fn changed(mark: &Mark) -> String {
    format!("what is called {} there is another certificate: somebody changed it", mark.label())
}

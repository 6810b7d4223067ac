//! Which trust stores there are, and where: the running system or an image of one, a home, a Java.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::peer::PeerText;
use crate::problem::{Fault, Problem};

/// A kind of trust store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustStore {
    /// The system's: `OpenSSL`, curl, git, Go and most programs read it.
    System,
    /// The databases of NSS below the home: Firefox, Chromium and Chrome.
    Nss,
    /// The one of a Java: every program on it.
    Java,
}

impl TrustStore {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::System, Self::Nss, Self::Java];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Nss => "nss",
            Self::Java => "java",
        }
    }
}

impl fmt::Display for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for TrustStore {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().find(|store| store.word() == text).ok_or_else(|| {
            let message = format!("\"{}\" is no trust store", PeerText::from(text));
            Problem::error(Fault::CertsBadOption, message, "choose system, nss or java")
        })
    }
}

/// Where trust stores are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The root of a mounted system image; nothing for the running system.
    pub(super) root: Option<PathBuf>,
    pub(super) home: Option<PathBuf>,
    pub(super) java: Option<PathBuf>,
}

impl Site {
    /// The running system, with the home that NSS databases are below, and the Java of `JAVA_HOME`.
    ///
    /// Without a home there are no databases; without a Java, the one whose `keytool` is found first counts.
    #[must_use]
    pub fn new(home: Option<PathBuf>, java: Option<PathBuf>) -> Self {
        let given = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        Self { root: None, home: given(home), java: given(java) }
    }

    /// The same home, and a mounted image of a system, in which the Java's path is meant too.
    ///
    /// # Errors
    /// [`Fault::CertsUnreadable`] if the directory is not there.
    pub fn image(self, root: &Path) -> Result<Self, Problem> {
        let root = root.canonicalize().map_err(|error| {
            let message = format!("{} cannot be entered: {error}", root.display());
            Problem::error(Fault::CertsUnreadable, message, "name the root of a mounted image")
        })?;
        Ok(Self { root: Some(root), ..self })
    }

    /// A path of the system or of the image, with every link followed; nothing where there is none.
    ///
    /// A link that leads out of an image would let what is meant for the image change this system.
    pub(super) fn find(&self, path: &Path) -> Result<Option<PathBuf>, Problem> {
        let root = self.root.as_deref().unwrap_or(Path::new("/"));
        let path = root.join(path.strip_prefix("/").unwrap_or(path));
        let found = match path.canonicalize() {
            Ok(found) if found.starts_with(root) => return Ok(Some(found)),
            Ok(found) => found,
            Err(_) => return Ok(None),
        };
        let message = format!("{} leads out of the image, to {}", path.display(), found.display());
        let remedy = "run the command in the image instead";
        Err(Problem::error(Fault::CertsSymlink, message, remedy))
    }
}

//! What every kind of trust store can do: say how things stand, take an authority in, and give it back.

use std::path::Path;

use crate::pki::anchor::java::Keystore;
use crate::pki::anchor::mark::{Anchor, Mark};
use crate::pki::anchor::native::Native;
use crate::pki::anchor::nss::Database;
use crate::pki::anchor::site::{Site, TrustStore};
use crate::pki::anchor::system::Directory;
use crate::problem::Problem;

/// One trust store: a directory, a database, a file.
pub(crate) trait Keeper {
    /// Where it is, as it is recorded and shown.
    fn place(&self) -> String;

    /// What taking the authority in would write and run, a line each.
    fn steps(&self, anchor: &Anchor) -> Vec<String>;

    /// Whether it has the authority of this mark.
    fn sight(&self, mark: &Mark) -> Result<Sight, Problem>;

    /// Takes the authority in, where it has none of its mark; returns what remains to be done, if anything.
    fn add(&self, anchor: &Anchor) -> Result<Option<String>, Problem>;

    /// Gives the authority of this mark back, and nothing else.
    fn remove(&self, mark: &Mark) -> Result<Removal, Problem>;
}

/// How a trust store stands to an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It trusts the authority.
    Installed,
    /// It does not, nor another of ours.
    NotInstalled,
    /// It does not, but it has another authority that was put there by this program.
    AnotherInstalled,
    /// There is no such trust store here.
    Absent,
    /// Nobody can say; the note says why.
    CannotTell,
}

impl Standing {
    /// The words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::NotInstalled => "not installed",
            Self::AnotherInstalled => "other authority of ours installed",
            Self::Absent => "store absent",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// What was seen in a trust store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) standing: Standing,
    pub(crate) note: Option<String>,
    /// Why nobody can tell, where that is somebody's fault.
    pub(crate) problem: Option<Problem>,
}

impl Sight {
    pub(crate) fn of(standing: Standing) -> Self {
        Self { standing, note: None, problem: None }
    }

    pub(crate) fn noted(standing: Standing, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..Self::of(standing) }
    }

    pub(crate) fn failed(problem: Problem) -> Self {
        Self { problem: Some(problem), ..Self::of(Standing::CannotTell) }
    }

    /// Whether the authority is surely not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.standing, Standing::NotInstalled | Standing::AnotherInstalled)
    }

    /// Not there; whether another of ours is, is told by the names that are.
    pub(crate) fn missing<'a>(mark: &Mark, labels: impl IntoIterator<Item = &'a str>) -> Self {
        match labels.into_iter().find(|label| mark.is_anothers(label)) {
            Some(label) => Self::noted(Standing::AnotherInstalled, label),
            None => Self::of(Standing::NotInstalled),
        }
    }
}

/// What came of giving back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone; what remains to be done, if anything.
    Removed(Option<String>),
    /// It was gone before.
    Gone,
    /// Something else is there now, and was left as it is; what it is.
    LeftAlone(String),
}

/// Every trust store of a kind that is here; none where the kind is absent.
pub(crate) fn keepers(store: TrustStore, site: &Site) -> Result<Vec<Box<dyn Keeper>>, Problem> {
    match store {
        TrustStore::System
            if site.root.is_none()
                && let Some(native) = Native::of_this_system() =>
        {
            Ok(vec![Box::new(native)])
        }
        TrustStore::System => Ok(Directory::find(site)?.map(boxed).into_iter().collect()),
        TrustStore::Nss => Ok(Database::all(site).into_iter().map(boxed).collect()),
        TrustStore::Java => Ok(Keystore::find(site)?.map(boxed).into_iter().collect()),
    }
}

/// The trust store that a record means; none where it is gone.
pub(crate) fn recorded(
    store: TrustStore,
    place: &str,
    site: &Site,
) -> Result<Option<Box<dyn Keeper>>, Problem> {
    match store {
        TrustStore::System => {
            let found = keepers(store, site)?;
            Ok(found.into_iter().find(|keeper| keeper.place() == place))
        }
        TrustStore::Nss => Ok(Database::at(Path::new(place)).map(boxed)),
        TrustStore::Java => Ok(Keystore::at(Path::new(place), site)?.map(boxed)),
    }
}

fn boxed<K: Keeper + 'static>(keeper: K) -> Box<dyn Keeper> {
    Box::new(keeper)
}

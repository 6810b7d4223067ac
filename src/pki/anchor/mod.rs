//! Trust anchors: makes other programs trust an authority, for one process or for a whole machine, and takes it back.
//!
//! [`Store::variables`] changes nothing but one shell. [`Installation`] changes the trust stores of a machine;
//! what it did is recorded in the store, and [`uninstall`] takes back exactly that.

mod environment;
mod java;
mod keeper;
mod keystore;
mod mark;
mod native;
mod nss;
mod record;
mod site;
mod system;
mod tool;

use time::OffsetDateTime;

pub use environment::{Effect, Shell, Variable};
pub use keeper::{Removal, Standing};
pub use mark::{Breadth, Mark};
pub use site::{Site, TrustStore};

use crate::pki::anchor::keeper::{Keeper, Sight, keepers, recorded};
use crate::pki::anchor::mark::Anchor;
use crate::pki::anchor::record::{Deed, Record};
use crate::pki::store::{self, Store};
use crate::problem::Problem;

/// What installing would do, looked up and judged, and not yet done.
pub struct Installation<'a> {
    store: &'a Store,
    site: &'a Site,
    jobs: Vec<Job>,
    /// What needs nothing done or cannot be done, and why.
    passed_over: Vec<Status>,
}

struct Job {
    kind: TrustStore,
    keeper: Box<dyn Keeper>,
    anchor: Anchor,
}

/// How one trust store stands to one authority of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which kind of trust store.
    pub store: TrustStore,
    /// The directory, database or file; nothing where the kind is absent.
    pub place: Option<String>,
    /// Which authority.
    pub mark: Mark,
    /// How it stands.
    pub standing: Standing,
    /// What else is worth saying.
    pub note: Option<String>,
    /// Why nobody can tell, where something failed.
    pub problem: Option<Problem>,
}

/// What became of one trust store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<T> {
    /// Which kind of trust store.
    pub store: TrustStore,
    /// The directory, database or file.
    pub place: String,
    /// Which authority.
    pub mark: Mark,
    /// What came of it.
    pub result: Result<T, Problem>,
}

impl<'a> Installation<'a> {
    /// Looks at the trust stores of these kinds, and changes nothing.
    ///
    /// # Errors
    /// [`Fault::CertsUnconstrained`], [`Fault::CertsAuthorityExpired`] or [`Fault::CertsNotAuthority`] if one of
    /// the authorities in `trust.pem` should be trusted by nobody; the faults of reading it.
    ///
    /// [`Fault::CertsUnconstrained`]: crate::problem::Fault::CertsUnconstrained
    /// [`Fault::CertsAuthorityExpired`]: crate::problem::Fault::CertsAuthorityExpired
    /// [`Fault::CertsNotAuthority`]: crate::problem::Fault::CertsNotAuthority
    pub fn plan(
        store: &'a Store,
        site: &'a Site,
        kinds: &[TrustStore],
        breadth: Breadth,
    ) -> Result<Self, Problem> {
        let anchors = Anchor::all(store.layout())?;
        let now = OffsetDateTime::now_utc();
        anchors.iter().try_for_each(|anchor| anchor.judge(breadth, now))?;
        let mut plan = Self { store, site, jobs: Vec::new(), passed_over: Vec::new() };
        for anchor in &anchors {
            look(site, kinds, &anchor.mark, |status, keeper| match (status.standing, keeper) {
                (Standing::NotInstalled | Standing::AnotherInstalled, Some(keeper)) => {
                    plan.jobs.push(Job { kind: status.store, keeper, anchor: anchor.clone() });
                }
                (_, _) => plan.passed_over.push(status),
            });
        }
        Ok(plan)
    }

    /// Every file it would write and every command it would run, a line each; none where nothing is to be done.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        self.jobs.iter().flat_map(|job| job.keeper.steps(&job.anchor)).collect()
    }

    /// The trust stores that are left as they are: those that have the authority, and those nobody can use.
    #[must_use]
    pub fn passed_over(&self) -> &[Status] {
        &self.passed_over
    }

    /// Does it. What fails in one trust store keeps none of the others from being done.
    ///
    /// A success may leave something to be done, which it says. What failed half-way is recorded, so that
    /// [`uninstall`] removes what is there of it.
    ///
    /// # Errors
    /// The faults of the record, before anything that it does not know of is done.
    pub fn perform(self) -> Result<Vec<Outcome<Option<String>>>, Problem> {
        let layout = self.store.layout();
        let _lock = store::lock(layout)?;
        let mut record = Record::read(layout)?;
        let mut outcomes = Vec::new();
        for Job { kind, keeper, anchor } in self.jobs {
            let deed = Deed::new(kind, keeper.place(), self.site, anchor.mark.clone());
            record.add(layout, &deed)?;
            let result = keeper.add(&anchor);
            if result.is_err() && keeper.sight(&deed.mark).map_or(true, |sight| sight.is_missing())
            {
                record.forget(layout, &deed)?;
            }
            outcomes.push(Outcome { store: kind, place: deed.place, mark: deed.mark, result });
        }
        Ok(outcomes)
    }
}

/// Takes back what the record says was installed at a site into trust stores of these kinds, and nothing else.
///
/// What somebody else changed in the meantime is left alone and forgotten: it is theirs.
///
/// # Errors
/// The faults of reading and writing the record.
pub fn uninstall(
    store: &Store,
    site: &Site,
    kinds: &[TrustStore],
) -> Result<Vec<Outcome<Removal>>, Problem> {
    let layout = store.layout();
    let _lock = store::lock(layout)?;
    let mut record = Record::read(layout)?;
    let meant = |deed: &&Deed| kinds.contains(&deed.store) && deed.is_of(site);
    let deeds: Vec<_> = record.deeds().iter().filter(meant).cloned().collect();
    let mut outcomes = Vec::new();
    for deed in deeds {
        let keeper = recorded(deed.store, &deed.place, site);
        let result = keeper.and_then(|keeper| match keeper {
            Some(keeper) => keeper.remove(&deed.mark),
            None => Ok(Removal::Gone),
        });
        if result.is_ok() {
            record.forget(layout, &deed)?;
        }
        let Deed { store, place, mark, .. } = deed;
        outcomes.push(Outcome { store, place, mark, result });
    }
    Ok(outcomes)
}

/// How the trust stores of these kinds stand to each authority of the store; nothing is changed.
///
/// # Errors
/// The faults of reading `trust.pem`.
pub fn status(store: &Store, site: &Site, kinds: &[TrustStore]) -> Result<Vec<Status>, Problem> {
    let mut seen = Vec::new();
    for anchor in Anchor::all(store.layout())? {
        look(site, kinds, &anchor.mark, |status, _| seen.push(status));
    }
    Ok(seen)
}

/// Looks at every trust store of these kinds; a kind that is absent is seen as well.
fn look(
    site: &Site,
    kinds: &[TrustStore],
    mark: &Mark,
    mut see: impl FnMut(Status, Option<Box<dyn Keeper>>),
) {
    for store in kinds.iter().copied() {
        let status = |place, Sight { standing, note, problem }: Sight| Status {
            store,
            place,
            mark: mark.clone(),
            standing,
            note,
            problem,
        };
        match keepers(store, site) {
            Err(problem) => see(status(None, Sight::failed(problem)), None),
            Ok(found) if found.is_empty() => see(status(None, Sight::of(Standing::Absent)), None),
            Ok(found) => {
                for keeper in found {
                    let sight = keeper.sight(mark).unwrap_or_else(Sight::failed);
                    see(status(Some(keeper.place()), sight), Some(keeper));
                }
            }
        }
    }
}

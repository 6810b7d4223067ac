//! The house: the services with their rooms, and the sockets that lead to them, as of the last change.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::doors::{Doors, Hands, Moved};
use super::outlet;
use super::prepare::{Ready, Trials, interfaces, wanted};
use super::status::Seats;
use super::{after_a_restart, filter};
use crate::accept::{Budgets, Members, Strangers};
use crate::address::{BanList, Bans};
use crate::audit::{Audit, Opening, TARGET};
use crate::config::{Config, ServiceConfig, ServiceKind};
use crate::connection::{Closing, Ground, Rooms};
use crate::handshake::Handshake;
use crate::problem::Problem;
use crate::sandbox::Sandbox;
use crate::service::Service;

/// Everything a visitor can come to. Changed as a whole, or not at all.
pub(super) struct House {
    pub(super) config: Arc<Config>,
    pub(super) ground: Arc<Ground>,
    pub(super) handshake: Handshake,
    pub(super) doors: Doors,
    pub(super) sandbox: Option<Sandbox>,
    trials: Trials,
    budgets: Budgets,
    strangers: Strangers,
    members: Members,
    bans: Arc<BanList>,
    services: BTreeMap<Arc<str>, Guarded>,
    /// Services of the embedding program, which take the place of the configured kind.
    own: HashMap<Arc<str>, Arc<dyn Service>>,
    /// The listeners that wait for their interface, as they were last told of.
    waiting: Vec<Problem>,
    /// The listeners without the filter they should have, as they were last told of.
    unfiltered: Vec<Problem>,
    /// Cancelled when nothing new is begun; none before visitors are let in.
    drain: Option<CancellationToken>,
}

/// One service, as it is told to everybody who walks to it.
struct Guarded {
    kind: ServiceKind,
    behind: Arc<dyn Service>,
    /// None before visitors are let in.
    care: Option<Care>,
    rooms: watch::Sender<Option<Arc<Rooms>>>,
}

/// The background work of a service; it ends when this is dropped.
type Care = AbortOnDropHandle<()>;

/// What a change opened, closed and left waiting.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) warnings: Vec<Problem>,
    pub(super) opened: Vec<Opening>,
    pub(super) closed: Vec<Opening>,
}

impl Change {
    fn is_any(&self) -> bool {
        !self.opened.is_empty() || !self.closed.is_empty()
    }
}

impl House {
    /// Opens every socket of a configuration that is not among those of another server. Nobody is let in yet.
    ///
    /// # Errors
    /// Every socket the system refuses; none stays open then.
    pub(super) fn open(
        config: Arc<Config>,
        ready: Ready,
        bans: Bans,
        mut handed: Vec<TcpListener>,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let Ready { handshake, budgets, ground, wanted, behind, trials, mut warnings } = ready;
        let mut house = Self {
            config,
            ground: Arc::new(ground),
            handshake,
            trials,
            doors: Doors::default(),
            sandbox: None,
            budgets,
            strangers: Strangers::new(budgets),
            members: Members::new(budgets),
            bans: Arc::default(),
            services: BTreeMap::new(),
            own: HashMap::new(),
            waiting: Vec::new(),
            unfiltered: Vec::new(),
            drain: None,
        };
        house.bans.change(|now| *now = bans);
        house.furnish(&behind);
        let mut problems = Vec::new();
        for wanted in wanted {
            let entrance = Doors::take_or_open(&wanted, &house.ground, &mut handed);
            match (entrance, house.services.get(&wanted.service)) {
                (Ok(entrance), Some(guarded)) => {
                    house.doors.add(entrance, guarded.rooms.subscribe());
                }
                (Ok(_), None) => {}
                (Err(problem), _) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        warnings.extend_from_slice(house.filter());
        Ok((house, warnings))
    }

    /// The budgets in force.
    pub(super) fn budgets(&self) -> Budgets {
        self.budgets
    }

    /// How many seats are taken: by strangers, and by members.
    pub(super) fn seats(&self) -> (Seats, Seats) {
        let Budgets { strangers, members, .. } = self.budgets;
        (
            Seats { taken: self.strangers.seated(), all: strangers.get() },
            Seats { taken: self.members.seated(), all: members.get() },
        )
    }

    /// What others may look at without asking: seats, and bans.
    pub(super) fn shared(&self) -> (Strangers, Members, Arc<BanList>) {
        (self.strangers.clone(), self.members.clone(), Arc::clone(&self.bans))
    }

    /// The networks that are kept out for a while.
    pub(super) fn bans(&self) -> &BanList {
        &self.bans
    }

    /// Judges every live session by the rooms and bans of now.
    pub(super) fn judge_again(&mut self) {
        self.furnish(&[]);
    }

    /// Where a successor took the sockets and did not become ready, the filters are ours again.
    pub(super) fn take_back(&mut self) {
        if self.doors.take_back() {
            self.filter_anew();
        }
    }

    /// As [`House::filter`]; what is new among the warnings is logged.
    pub(super) fn filter_anew(&mut self) {
        let before = self.unfiltered.clone();
        for problem in self.filter().iter().filter(|problem| !before.contains(problem)) {
            tracing::warn!(target: TARGET, code = problem.fault().code(), "{}", problem.message());
        }
    }

    /// Puts an own service behind the door called `name`, now and after every reload.
    pub(super) fn replace(&mut self, name: &str, service: Arc<dyn Service>) -> bool {
        let Some((name, _)) = self.services.get_key_value(name) else { return false };
        self.own.insert(Arc::clone(name), service);
        self.furnish(&[]);
        true
    }

    /// Lets visitors in through every socket that is open, and through every later one.
    ///
    /// # Errors
    /// A socket that the runtime cannot watch.
    pub(super) fn let_in(
        &mut self,
        audit: Arc<Audit>,
        closing: Closing,
        visitors: TaskTracker,
    ) -> Result<(), Problem> {
        self.drain = Some(closing.drain.clone());
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            let care = self.services.get(&name).and_then(|guarded| self.care_for(&guarded.behind));
            if let Some(guarded) = self.services.get_mut(&name) {
                guarded.care = care;
            }
        }
        let strangers = self.strangers.clone();
        self.doors.let_in(Hands { strangers, audit, closing, visitors })
    }

    /// Puts a new configuration in the place of the old one.
    ///
    /// # Errors
    /// Every socket that the system refuses; then nothing has changed.
    pub(super) async fn reload(
        &mut self,
        config: Arc<Config>,
        ready: Ready,
    ) -> Result<Change, Vec<Problem>> {
        let Ready { handshake, budgets, ground, wanted, behind, trials, mut warnings } = ready;
        let ground = Arc::new(ground);
        let before = Arc::clone(&self.ground);
        let moved = match self.doors.prepare(&wanted, &ground, &before).await {
            Ok(moved) => moved,
            Err(problems) => {
                // A door that stepped aside for nothing is a new socket now.
                self.filter();
                return Err(problems);
            }
        };
        if config.log != self.config.log {
            warnings.push(after_a_restart("format in [audit]"));
        }
        if config.record != self.config.record {
            warnings.push(after_a_restart("the audit log of [audit]"));
        }
        if config.bans.state != self.config.bans.state {
            warnings.push(after_a_restart("state in [bans]"));
        }
        if !outlet::is_same(config.metrics.as_ref(), self.config.metrics.as_ref()) {
            warnings.push(after_a_restart("[metrics]"));
        }
        if !outlet::is_same(config.status.as_ref(), self.config.status.as_ref()) {
            warnings.push(after_a_restart("[status]"));
        }
        if config.admin != self.config.admin {
            warnings.push(after_a_restart("[admin]"));
        }
        if config.sandbox != self.config.sandbox {
            warnings.push(after_a_restart("[sandbox]"));
        }
        self.config = config;
        self.ground = ground;
        self.handshake = handshake;
        self.trials = trials;
        self.budgets = budgets;
        self.strangers.resize(budgets);
        self.members.resize(budgets);
        self.furnish(&behind);
        Ok(self.commit(moved, warnings).await)
    }

    /// Applies the bind policy to the interfaces of now, where they have changed or a listener waits.
    pub(super) async fn look_around(&mut self) -> Option<Change> {
        let interfaces = match interfaces() {
            Ok(interfaces) => interfaces,
            // Without a list nothing is known to be outside; the next look is soon.
            Err(problem) => {
                tracing::warn!(%problem, "the interfaces cannot be watched for now");
                return None;
            }
        };
        let changed = interfaces != self.ground.interfaces;
        if !changed && !self.doors.waits() {
            return None;
        }
        let config = Arc::clone(&self.config);
        let (wanted, warnings) = wanted(&config, &interfaces, Some(&config));
        let ground = Arc::new(Ground { policy: config.bind.clone(), interfaces });
        let before = Arc::clone(&self.ground);
        // What was asked for before waits where it cannot be had, so nothing can refuse this.
        let moved = self.doors.prepare(&wanted, &ground, &before).await.ok()?;
        self.ground = ground;
        if changed {
            self.furnish(&[]);
        }
        let change = self.commit(moved, warnings).await;
        let news = change.is_any() || change.warnings != self.waiting;
        self.waiting.clone_from(&change.warnings);
        news.then_some(change)
    }

    async fn commit(&mut self, moved: Moved, mut warnings: Vec<Problem>) -> Change {
        let services = &self.services;
        let hallway = |name: &Arc<str>| services.get(name).map(|guarded| guarded.rooms.subscribe());
        let (opened, closed, waiting) = self.doors.commit(moved, hallway, &self.ground).await;
        warnings.extend(waiting);
        warnings.extend_from_slice(self.filter());
        Change { warnings, opened, closed }
    }

    /// Lets the kernel drop at every door what the gates behind it refuse now. What cannot be had is a
    /// warning.
    fn filter(&mut self) -> &[Problem] {
        let (config, bans) = (&self.config, &self.bans.now());
        self.unfiltered = self.doors.filter(|name, at| {
            let service = config.services.iter().find(|service| service.name == *name);
            service.map_or(Ok(None), |service| filter::wanted(service, bans, at))
        });
        &self.unfiltered
    }

    /// Gives every service its rooms, and closes those of services that are gone. `fresh` holds what is
    /// behind the doors of the configuration, in its order; where it is empty everything stays.
    fn furnish(&mut self, fresh: &[Arc<dyn Service>]) {
        let config = Arc::clone(&self.config);
        let balancers = config.services.iter().flat_map(|service| service.balancers.networks());
        self.strangers.exempt(balancers.copied().collect());
        self.services.retain(|name, guarded| {
            let stays = config.services.iter().any(|service| service.name == *name);
            if !stays {
                guarded.rooms.send_replace(None);
            }
            stays
        });
        let mut fresh = fresh.iter();
        for service in &config.services {
            let known = self.services.remove(&service.name);
            let Some(behind) = self.behind(service, known.as_ref(), fresh.next()) else { continue };
            let rooms = Some(Arc::new(self.rooms(service, Arc::clone(&behind))));
            let guarded = match known {
                Some(known) => {
                    let same = Arc::ptr_eq(&known.behind, &behind);
                    let care = if same { known.care } else { self.care_for(&behind) };
                    known.rooms.send_replace(rooms);
                    Guarded { kind: service.kind.clone(), behind, care, rooms: known.rooms }
                }
                None => Guarded {
                    kind: service.kind.clone(),
                    care: self.care_for(&behind),
                    behind,
                    rooms: watch::Sender::new(rooms),
                },
            };
            self.services.insert(Arc::clone(&service.name), guarded);
        }
    }

    /// What is behind a door from now on. A kind that stays as it is written stays the same object, with
    /// what it knows of its upstream, unless it was made from files, which may have changed.
    fn behind(
        &self,
        service: &ServiceConfig,
        known: Option<&Guarded>,
        fresh: Option<&Arc<dyn Service>>,
    ) -> Option<Arc<dyn Service>> {
        let same = known.filter(|known| known.kind == service.kind);
        let stays = same.filter(|_| fresh.is_none() || service.kind.files().is_empty());
        let known = stays.map(|known| &known.behind);
        self.own.get(&service.name).or(known).or(fresh).map(Arc::clone)
    }

    /// Starts what a service does beside its sessions, until the server drains or another takes its place.
    fn care_for(&self, service: &Arc<dyn Service>) -> Option<Care> {
        let drain = self.drain.clone()?;
        let service = Arc::clone(service);
        let care = async move {
            tokio::select! {
                () = drain.cancelled() => {}
                () = service.look_after() => {}
            }
        };
        Some(AbortOnDropHandle::new(tokio::spawn(care)))
    }

    fn rooms(&self, service: &ServiceConfig, behind: Arc<dyn Service>) -> Rooms {
        Rooms {
            ground: Arc::clone(&self.ground),
            balancers: Arc::clone(&service.balancers),
            bans: Arc::clone(&self.bans),
            address: Arc::clone(&service.address),
            handshake: self.handshake.greeting(&service.greeting),
            identity: Arc::clone(&service.identity),
            members: self.members.clone(),
            frame: Arc::clone(&service.frame),
            service: behind,
            trial: self.trials.get(&service.name).map(Arc::clone),
            lifetime: service.lifetime,
        }
    }
}

//! The house: the services with their rooms, and the sockets that lead to them, as of the last change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::after_a_restart;
use super::doors::{Doors, Hands, Moved};
use super::prepare::{Ready, interfaces, wanted};
use super::status::Seats;
use crate::accept::{Budgets, Members, Strangers};
use crate::address::Bans;
use crate::audit::{Audit, Opening};
use crate::config::{Config, ServiceConfig, ServiceKind};
use crate::connection::{Closing, Ground, Rooms};
use crate::handshake::Handshake;
use crate::problem::Problem;
use crate::service::{Echo, Service};

/// Everything a visitor can come to. Changed as a whole, or not at all.
pub(super) struct House {
    pub(super) config: Arc<Config>,
    pub(super) ground: Arc<Ground>,
    pub(super) handshake: Handshake,
    pub(super) doors: Doors,
    pub(super) sandbox: Vec<String>,
    budgets: Budgets,
    strangers: Strangers,
    members: Members,
    bans: Arc<Bans>,
    services: BTreeMap<Arc<str>, Guarded>,
    /// Services of the embedding program, which take the place of the configured kind.
    own: HashMap<Arc<str>, Arc<dyn Service>>,
    /// The listeners that wait for their interface, as they were last told of.
    waiting: Vec<Problem>,
}

/// One service, as it is told to everybody who walks to it.
struct Guarded {
    kind: ServiceKind,
    behind: Arc<dyn Service>,
    rooms: watch::Sender<Option<Arc<Rooms>>>,
}

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
    /// Opens every socket of a configuration. Nobody is let in yet.
    ///
    /// # Errors
    /// Every socket the system refuses; none stays open then.
    pub(super) fn open(
        config: Arc<Config>,
        ready: Ready,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let Ready { handshake, budgets, ground, wanted, warnings } = ready;
        let mut house = Self {
            config,
            ground: Arc::new(ground),
            handshake,
            doors: Doors::default(),
            sandbox: Vec::new(),
            budgets,
            strangers: Strangers::new(budgets),
            members: Members::new(budgets),
            bans: Arc::default(),
            services: BTreeMap::new(),
            own: HashMap::new(),
            waiting: Vec::new(),
        };
        house.furnish();
        let mut problems = Vec::new();
        for wanted in wanted {
            match (Doors::open(&wanted, &house.ground), house.services.get(&wanted.service)) {
                (Ok(entrance), Some(guarded)) => {
                    house.doors.add(entrance, guarded.rooms.subscribe());
                }
                (Ok(_), None) => {}
                (Err(problem), _) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok((house, warnings)) } else { Err(problems) }
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

    /// The networks that are kept out for a while.
    pub(super) fn bans(&self) -> &Bans {
        &self.bans
    }

    /// Changes the bans, and judges every live session by them.
    pub(super) fn ban(&mut self, change: impl FnOnce(&mut Bans) -> bool) -> bool {
        let changed = change(Arc::make_mut(&mut self.bans));
        if changed {
            self.furnish();
        }
        changed
    }

    /// Forgets the bans whose time is over.
    pub(super) fn expire_bans(&mut self, now: SystemTime) {
        if self.bans.iter().any(|(_, ban)| ban.until <= now) {
            self.ban(|bans| bans.expire(now));
        }
    }

    /// Puts an own service behind the door called `name`, now and after every reload.
    pub(super) fn replace(&mut self, name: &str, service: Arc<dyn Service>) -> bool {
        let Some((name, _)) = self.services.get_key_value(name) else { return false };
        self.own.insert(Arc::clone(name), service);
        self.furnish();
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
        let Ready { handshake, budgets, ground, wanted, mut warnings } = ready;
        let ground = Arc::new(ground);
        let before = Arc::clone(&self.ground);
        let moved = self.doors.prepare(&wanted, &ground, &before).await?;
        if config.log != self.config.log {
            warnings.push(after_a_restart("format in [audit]"));
        }
        if config.admin != self.config.admin {
            warnings.push(after_a_restart("[admin]"));
        }
        self.config = config;
        self.ground = ground;
        self.handshake = handshake;
        self.budgets = budgets;
        self.strangers.resize(budgets);
        self.members.resize(budgets);
        self.furnish();
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
            self.furnish();
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
        Change { warnings, opened, closed }
    }

    /// Gives every service its rooms, and closes those of services that are gone.
    fn furnish(&mut self) {
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
        for service in &config.services {
            let known = self.services.get(&service.name);
            let behind = match self.own.get(&service.name) {
                Some(own) => Arc::clone(own),
                None => behind(service, known),
            };
            let rooms = Arc::new(self.rooms(service, Arc::clone(&behind)));
            if let Some(guarded) = self.services.get_mut(&service.name) {
                guarded.kind = service.kind.clone();
                guarded.behind = behind;
                guarded.rooms.send_replace(Some(rooms));
            } else {
                let rooms = watch::Sender::new(Some(rooms));
                let guarded = Guarded { kind: service.kind.clone(), behind, rooms };
                self.services.insert(Arc::clone(&service.name), guarded);
            }
        }
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
        }
    }
}

/// What is behind the door. A kind that stays the same stays the same object, with what it knows of its upstream.
fn behind(service: &ServiceConfig, known: Option<&Guarded>) -> Arc<dyn Service> {
    match known {
        Some(guarded) if guarded.kind == service.kind => Arc::clone(&guarded.behind),
        _ => match &service.kind {
            ServiceKind::Echo => Arc::new(Echo),
            ServiceKind::Forward(forward) => Arc::new(forward.clone()),
        },
    }
}

//! The server: every listener with its rooms, from the first visitor to the last goodbye.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::accept::{Budgets, Door, Members, Strangers, Trouble, descriptors};
use crate::audit::Audit;
use crate::bind::Interfaces;
use crate::config::{Config, ServiceConfig, ServiceKind};
use crate::connection::{Closing, Rooms};
use crate::handshake::{Handshake, Loaded};
use crate::problem::{Fault, Problem, Severity};
use crate::service::{Echo, Service};

/// A server whose sockets are open and whose files are read: nothing is left that could refuse.
///
/// Nobody is let in before [`Server::run`].
pub struct Server {
    doors: Vec<(Door, Arc<Rooms>)>,
    audit: Arc<Audit>,
    closing: Closing,
    drain: Duration,
    budgets: Budgets,
    warnings: Vec<Problem>,
}

/// Ends a running server, from a signal handler or a test.
#[derive(Clone, Debug)]
pub struct Stopper(Closing);

impl Server {
    /// Reads the files of the configuration, opens its sockets, and holds it against the machine.
    ///
    /// # Errors
    /// Every problem that [`check`] finds, or a socket the system refuses. Nothing stays open then.
    pub fn open(config: &Config) -> Result<Self, Vec<Problem>> {
        let Ready { handshake, budgets, interfaces, warnings } = prepare(config)?;
        let strangers = Strangers::new(budgets);
        let members = Members::new(budgets);
        let mut doors = Vec::new();
        let mut problems = Vec::new();
        for service in &config.services {
            let rooms = Arc::new(rooms(service, &handshake, &members));
            for door in open(config, service, &interfaces, &strangers) {
                match door {
                    Ok(door) => doors.push((door, Arc::clone(&rooms))),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let (audit, closing) = (Arc::default(), Closing::default());
        Ok(Self { doors, audit, closing, drain: config.drain, budgets, warnings })
    }

    /// The same server, with an own service behind the door that the configuration calls `name`.
    ///
    /// Gates, listeners and frames stay as configured; `kind` is replaced. An unknown name changes
    /// nothing, and is answered with `None`.
    #[must_use]
    pub fn with_service(mut self, name: &str, service: impl Service) -> Option<Self> {
        let service: Arc<dyn Service> = Arc::new(service);
        let mut found = false;
        for (_, rooms) in &mut self.doors {
            if *rooms.name == *name {
                let rooms = Arc::make_mut(rooms);
                rooms.service = Arc::clone(&service);
                found = true;
            }
        }
        found.then_some(self)
    }

    /// The sockets that are open, each with the name of its service.
    pub fn listeners(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.doors.iter().map(|(door, rooms)| (&*rooms.name, door.local()))
    }

    /// The budgets in force, which the descriptor limit may have lowered.
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        self.budgets
    }

    /// What the operator should know although the server is ready.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The record, to listen to.
    #[must_use]
    pub fn audit(&self) -> Arc<Audit> {
        Arc::clone(&self.audit)
    }

    /// What ends the server.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.closing.clone())
    }

    /// Lets visitors in until it is stopped, then lets their sessions finish.
    ///
    /// # Errors
    /// A listening socket that broke: the server stops, because it would guard less than it says.
    pub async fn run(self) -> Result<(), Problem> {
        let visitors = TaskTracker::new();
        let mut listening = JoinSet::new();
        for (door, rooms) in self.doors {
            let (audit, closing) = (Arc::clone(&self.audit), self.closing.clone());
            listening.spawn(listen(door, rooms, audit, closing, visitors.clone()));
        }
        listening.spawn(summarise(Arc::clone(&self.audit), self.closing.clone()));
        let mut broken = None;
        while let Some(ended) = listening.join_next().await {
            // A task that panicked ended as little by order as one whose socket broke.
            let ended = ended.unwrap_or_else(|panic| Err(listener_broke(&panic.to_string())));
            if let Err(problem) = ended {
                broken.get_or_insert(problem);
                self.closing.drain.cancel();
            }
        }
        visitors.close();
        tokio::select! {
            () = visitors.wait() => {}
            () = sleep(self.drain) => {}
            () = self.closing.cut.cancelled() => {}
        }
        self.closing.cut.cancel();
        // Whoever is left is told goodbye, which has its own deadlines; this one is for the rest.
        drop(timeout(LAST_GOODBYES, visitors.wait()).await);
        self.audit.close();
        broken.map_or(Ok(()), Err)
    }
}

impl Stopper {
    /// Takes nobody new, and lets sessions finish what was begun.
    pub fn drain(&self) {
        self.0.drain.cancel();
    }

    /// Ends whatever still runs.
    pub fn cut(&self) {
        self.0.drain.cancel();
        self.0.cut.cancel();
    }
}

/// Everything that would refuse a start or is worth a warning, short of opening a socket.
///
/// A start refuses exactly what is an error here, and what only the system can know: a port in use, an
/// address that is not this host's, a missing privilege.
#[must_use]
pub fn check(config: &Config) -> Vec<Problem> {
    match prepare(config) {
        Ok(ready) => ready.warnings,
        Err(problems) => problems,
    }
}

/// A configuration that was held against the files it names and the machine it is on.
struct Ready {
    handshake: Handshake,
    budgets: Budgets,
    interfaces: Interfaces,
    warnings: Vec<Problem>,
}

fn prepare(config: &Config) -> Result<Ready, Vec<Problem>> {
    let mut problems = Vec::new();
    let interfaces = keep(interfaces(), &mut problems);
    if let Some(interfaces) = &interfaces {
        problems.extend(outside(config, interfaces));
    }
    let budgets = keep(fit(config), &mut problems);
    let handshake = match Handshake::load(&config.handshake, UnixTime::now()) {
        Ok(Loaded { handshake, warnings }) => {
            problems.extend(warnings);
            Some(handshake)
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    problems.extend(authority_key(config));
    let refused = problems.iter().any(|problem| problem.severity() == Severity::Error);
    match (handshake, budgets, interfaces, refused) {
        (Some(handshake), Some((budgets, lowered)), Some(interfaces), false) => {
            problems.extend(lowered);
            Ok(Ready { handshake, budgets, interfaces, warnings: problems })
        }
        (_, _, _, _) => Err(problems),
    }
}

fn keep<T>(tried: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    tried.map_err(|problem| problems.push(problem)).ok()
}

/// The budgets that the limit on open files carries.
fn fit(config: &Config) -> Result<(Budgets, Option<Problem>), Problem> {
    let listeners = config.services.iter().map(|service| service.listen.len()).sum();
    let each = if config.services.iter().any(is_forward) { 2 } else { 1 };
    config.accept.fit(descriptors(), listeners, each)
}

fn is_forward(service: &ServiceConfig) -> bool {
    matches!(service.kind, ServiceKind::Forward(_))
}

/// The listeners that the bind policy does not allow.
fn outside(config: &Config, interfaces: &Interfaces) -> Vec<Problem> {
    let mut problems = Vec::new();
    for listen in config.services.iter().flat_map(|service| &service.listen) {
        let found = match listen.value.resolve(interfaces) {
            Ok(addresses) => {
                let judged =
                    addresses.into_iter().map(|address| config.bind.judge(address, interfaces));
                judged.filter_map(Result::err).collect()
            }
            Err(problem) => vec![problem],
        };
        problems.extend(found.into_iter().map(|problem| problem.at(&listen.place)));
    }
    problems
}

/// Whoever breaks into the service must not find the key that makes certificates.
fn authority_key(config: &Config) -> Option<Problem> {
    let clients = &config.handshake.clients;
    let key = clients.value.parent()?.join(AUTHORITY_KEY);
    std::fs::File::open(&key).ok()?;
    let what = format!("{} can be read by the service", key.display());
    let problem = if config.bind.is_local() {
        let remedy = "fine on a developer's machine; keep the authority elsewhere before the scope gets wider";
        Problem::warning(Fault::HandshakeAuthorityKey, what, remedy)
    } else {
        let remedy = "move ca/private to another machine or user; the service needs trust.pem and crl.pem alone";
        Problem::error(Fault::HandshakeAuthorityKey, what, remedy)
    };
    Some(problem.at(&clients.place))
}

fn interfaces() -> Result<Interfaces, Problem> {
    Interfaces::of_this_host().map_err(|error| {
        let what = format!("the interfaces of this host cannot be listed: {error}");
        Problem::error(Fault::BindFailed, what, "see whether the process may use netlink sockets")
    })
}

fn rooms(service: &ServiceConfig, handshake: &Handshake, members: &Members) -> Rooms {
    let behind: Arc<dyn Service> = match &service.kind {
        ServiceKind::Echo => Arc::new(Echo),
        ServiceKind::Forward(forward) => Arc::new(forward.clone()),
    };
    Rooms {
        name: Arc::clone(&service.name),
        address: Arc::clone(&service.address),
        handshake: handshake.clone(),
        identity: Arc::clone(&service.identity),
        members: members.clone(),
        frame: Arc::clone(&service.frame),
        service: behind,
    }
}

/// Opens every socket of a service, each on its own, so that every problem is told at once.
fn open(
    config: &Config,
    service: &ServiceConfig,
    interfaces: &Interfaces,
    strangers: &Strangers,
) -> Vec<Result<Door, Problem>> {
    let mut doors = Vec::new();
    for listen in &service.listen {
        let addresses = match listen.value.resolve(interfaces) {
            Ok(addresses) => addresses,
            Err(problem) => {
                doors.push(Err(problem.at(&listen.place)));
                continue;
            }
        };
        for address in addresses {
            let socket = config.bind.open(address, interfaces);
            let door = socket.and_then(|socket| {
                Door::new(socket, strangers.clone())
                    .map_err(|error| listener_broke(&error.to_string()))
            });
            doors.push(door.map_err(|problem| problem.at(&listen.place)));
        }
    }
    doors
}

async fn listen(
    mut door: Door,
    rooms: Arc<Rooms>,
    audit: Arc<Audit>,
    closing: Closing,
    visitors: TaskTracker,
) -> Result<(), Problem> {
    let mut told: Option<Instant> = None;
    loop {
        let next = tokio::select! {
            biased;
            () = closing.drain.cancelled() => return Ok(()),
            next = door.next() => next,
        };
        match next {
            Ok(accepted) => {
                let visit = audit.visit(&rooms.name, door.local(), accepted.peer());
                let (rooms, audit, closing) =
                    (Arc::clone(&rooms), Arc::clone(&audit), closing.clone());
                let walk = async move { rooms.walk(accepted, visit, &audit, &closing).await };
                visitors.spawn(Box::pin(walk));
            }
            Err(Trouble::Peer(error)) => tracing::debug!(%error, "a visitor left while it queued"),
            Err(Trouble::Us(error)) => return Err(listener_broke(&error.to_string())),
            Err(Trouble::Machine(error, wait)) => {
                let quiet = told.is_some_and(|told| told.elapsed() < BETWEEN_COMPLAINTS);
                if !quiet {
                    told = Some(Instant::now());
                    tracing::error!(%error, listener = %door.local(), "cannot accept for now; raise the limit on open files or lower the budgets of [accept]");
                }
                tokio::select! {
                    () = closing.drain.cancelled() => return Ok(()),
                    () = sleep(wait) => {}
                }
            }
        }
    }
}

async fn summarise(audit: Arc<Audit>, closing: Closing) -> Result<(), Problem> {
    let mut every = interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closing.drain.cancelled() => return Ok(()),
            _ = every.tick() => audit.summarise(Instant::now()),
        }
    }
}

fn listener_broke(error: &str) -> Problem {
    let remedy =
        "start again; if it comes back, look at what closes or changes the process's sockets";
    Problem::error(Fault::BindFailed, format!("a listening socket cannot be used: {error}"), remedy)
}

/// A machine that stays out of descriptors says so about once in this time, not once a visitor.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(10);
/// Somewhat longer than one goodbye may take.
const LAST_GOODBYES: Duration = Duration::from_secs(3);
/// Where the authority's key stands beside trust.pem, in the layout of `certs/`.
const AUTHORITY_KEY: &str = "ca/private/ca.key";

//! The server: every listener with its rooms, from the first visitor to the last goodbye.

mod needs;
mod prepare;
mod refresh;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::accept::{Budgets, Door, Members, Strangers, Trouble};
use crate::audit::Audit;
use crate::bind::Interfaces;
use crate::config::{Config, ServiceConfig, ServiceKind};
use crate::connection::{Closing, Rooms};
use crate::handshake::Handshake;
use crate::problem::{Fault, Problem};
use crate::service::{Echo, Service};

pub use needs::needs;
pub use prepare::check;
use prepare::{Ready, prepare};
use refresh::Refresh;

/// A server whose sockets are open and whose files are read: nothing is left that could refuse.
///
/// Nobody is let in before [`Server::run`].
pub struct Server {
    listeners: Vec<(TcpListener, SocketAddr, Arc<Rooms>)>,
    strangers: Strangers,
    refresh: Refresh,
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
        let refresh = Refresh::new(&config.handshake, handshake);
        let strangers = Strangers::new(budgets);
        let members = Members::new(budgets);
        let mut listeners = Vec::new();
        let mut problems = Vec::new();
        for service in &config.services {
            let rooms = Arc::new(rooms(service, refresh.subscribe(), &members));
            for opened in open(config, service, &interfaces) {
                match opened {
                    Ok((socket, at)) => listeners.push((socket, at, Arc::clone(&rooms))),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let (audit, closing) = (Arc::default(), Closing::default());
        let drain = config.drain;
        Ok(Self { listeners, strangers, refresh, audit, closing, drain, budgets, warnings })
    }

    /// The same server, with an own service behind the door that the configuration calls `name`.
    ///
    /// Gates, listeners and frames stay as configured; `kind` is replaced. An unknown name changes
    /// nothing, and is answered with `None`.
    #[must_use]
    pub fn with_service(mut self, name: &str, service: impl Service) -> Option<Self> {
        let service: Arc<dyn Service> = Arc::new(service);
        let mut found = false;
        for (_, _, rooms) in &mut self.listeners {
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
        self.listeners.iter().map(|(_, at, rooms)| (&*rooms.name, *at))
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

    /// Lets visitors in until it is stopped, then lets their sessions finish. Needs a tokio runtime with
    /// its network and time drivers.
    ///
    /// # Errors
    /// A listening socket that broke: the server stops, because it would guard less than it says.
    pub async fn run(self) -> Result<(), Problem> {
        let visitors = TaskTracker::new();
        let mut listening = JoinSet::new();
        for (socket, _, rooms) in self.listeners {
            let strangers = self.strangers.clone();
            let door =
                Door::new(socket, strangers).map_err(|error| listener_broke(&error.to_string()))?;
            let (audit, closing) = (Arc::clone(&self.audit), self.closing.clone());
            listening.spawn(listen(door, rooms, audit, closing, visitors.clone()));
        }
        listening.spawn(summarise(Arc::clone(&self.audit), self.closing.clone()));
        listening.spawn(self.refresh.run(Arc::clone(&self.audit), self.closing.clone()));
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

fn rooms(
    service: &ServiceConfig,
    handshake: watch::Receiver<Handshake>,
    members: &Members,
) -> Rooms {
    let behind: Arc<dyn Service> = match &service.kind {
        ServiceKind::Echo => Arc::new(Echo),
        ServiceKind::Forward(forward) => Arc::new(forward.clone()),
    };
    Rooms {
        name: Arc::clone(&service.name),
        address: Arc::clone(&service.address),
        handshake,
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
) -> Vec<Result<(TcpListener, SocketAddr), Problem>> {
    let mut opened = Vec::new();
    for listen in &service.listen {
        let addresses = match listen.value.resolve(interfaces) {
            Ok(addresses) => addresses,
            Err(problem) => {
                opened.push(Err(problem.at(&listen.place)));
                continue;
            }
        };
        for address in addresses {
            let socket = config.bind.open(address, interfaces).and_then(|socket| {
                let at = socket.local_addr().map_err(|error| listener_broke(&error.to_string()))?;
                Ok((socket, at))
            });
            opened.push(socket.map_err(|problem| problem.at(&listen.place)));
        }
    }
    opened
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

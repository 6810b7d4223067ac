//! The doors: every listening socket, opened, moved and closed while visitors come through the others.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::control::{Lent, Loan};
use super::filter::Filter;
use super::prepare::{Wanted, waiting};
use crate::accept::{Door, Strangers, Trouble};
use crate::address::kernel::{Program, TooLong};
use crate::audit::{Audit, Opening};
use crate::connection::{Closing, Ground, Hallway, walk};
use crate::problem::{Fault, Problem};

/// All sockets that are open, and the tasks that listen on them.
#[derive(Default)]
pub(super) struct Doors {
    open: Vec<OpenDoor>,
    hands: Option<Hands>,
    listening: JoinSet<Result<(), Problem>>,
    waits: bool,
    /// While another server has handles of the sockets, and sets its own filters on them.
    lent: Option<Weak<()>>,
}

/// What every listening task needs.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) strangers: Strangers,
    pub(super) audit: Arc<Audit>,
    pub(super) closing: Closing,
    pub(super) visitors: TaskTracker,
}

/// The service that a door leads to.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) service: Arc<str>,
    pub(super) hallway: Hallway,
}

/// A socket that is open, and nobody listens on yet.
pub(super) struct Entrance {
    wanted: Wanted,
    at: SocketAddr,
    socket: TcpListener,
}

struct OpenDoor {
    wanted: SocketAddr,
    at: SocketAddr,
    line: watch::Sender<Line>,
    /// Nobody is taken from the queue until visitors are let in.
    socket: Option<TcpListener>,
    /// The socket from then on, until it is closed.
    listening: Weak<tokio::net::TcpListener>,
    filter: Filter,
    stop: CancellationToken,
    closed: CancellationToken,
}

/// How what is open differs from what is wanted.
struct Compared<'w> {
    missing: Vec<&'w Wanted>,
    /// Doors that lead to another service from now on.
    led: Vec<(SocketAddr, Arc<str>)>,
    surplus: Vec<SocketAddr>,
}

/// A change of the doors that is ready: nothing in it can be refused any more.
pub(super) struct Moved {
    opened: Vec<Entrance>,
    /// Doors that lead to another service from now on.
    led: Vec<(SocketAddr, Arc<str>)>,
    surplus: Vec<SocketAddr>,
    closed: Vec<Opening>,
    waiting: Vec<Problem>,
}

impl Doors {
    /// Opens one socket. Nobody is let in through it yet.
    pub(super) fn open(wanted: &Wanted, ground: &Ground) -> Result<Entrance, Problem> {
        let opened = ground.policy.open(wanted.address, &ground.interfaces);
        opened
            .and_then(|socket| Entrance::new(wanted, socket))
            .map_err(|problem| problem.at(&wanted.place))
    }

    /// Takes the socket that is wanted out of those of another server, which passes the policy like an own one;
    /// where there is none, opens it.
    pub(super) fn take_or_open(
        wanted: &Wanted,
        ground: &Ground,
        handed: &mut Vec<TcpListener>,
    ) -> Result<Entrance, Problem> {
        let there = |socket: &TcpListener| socket.local_addr().ok() == Some(wanted.address);
        let Some(index) = handed.iter().position(there) else { return Self::open(wanted, ground) };
        let socket = handed.swap_remove(index);
        let inspected = ground.policy.inspect(&socket, &ground.interfaces);
        inspected
            .and_then(|()| Entrance::new(wanted, socket))
            .map_err(|problem| problem.at(&wanted.place))
    }

    /// Keeps an open socket, whose visitors go to `hallway`.
    pub(super) fn add(&mut self, entrance: Entrance, hallway: Hallway) {
        let Entrance { wanted, at, socket } = entrance;
        let line = watch::Sender::new(Line { service: wanted.service, hallway });
        let stop = self.hands.as_ref().map_or_else(CancellationToken::new, Hands::stop);
        let closed = CancellationToken::new();
        let (socket, listening) = (Some(socket), Weak::new());
        let filter = Filter::default();
        let wanted = wanted.address;
        self.open.push(OpenDoor { wanted, at, line, socket, listening, filter, stop, closed });
    }

    /// The sockets that are open, each with the name of its service.
    pub(super) fn list(&self) -> impl Iterator<Item = (Arc<str>, SocketAddr)> {
        self.open.iter().map(|door| (Arc::clone(&door.line.borrow().service), door.at))
    }

    /// The sockets at which the kernel drops what the gate would refuse.
    pub(super) fn filtered(&self) -> impl Iterator<Item = SocketAddr> {
        self.open.iter().filter(|door| door.filter.is_on()).map(|door| door.at)
    }

    /// Gives every socket the filter that its service wants there; a warning for each that cannot be had.
    /// Nothing is changed while the sockets are lent: from then on the filters are those of the successor.
    pub(super) fn filter(
        &mut self,
        wanted: impl Fn(&Arc<str>, SocketAddr) -> Result<Option<Program>, TooLong>,
    ) -> Vec<Problem> {
        if self.lent.is_some() {
            return Vec::new();
        }
        let set = |door: &mut OpenDoor| {
            let wanted = wanted(&door.line.borrow().service, door.at);
            match (&door.socket, door.listening.upgrade()) {
                (Some(socket), _) => door.filter.set(&SockRef::from(socket), door.at, wanted),
                (None, Some(socket)) => door.filter.set(&SockRef::from(&*socket), door.at, wanted),
                // It is closing.
                (None, None) => Ok(()),
            }
        };
        self.open.iter_mut().filter_map(|door| set(door).err()).collect()
    }

    /// Another handle of every socket that is open.
    pub(super) fn lend(&mut self) -> std::io::Result<Lent> {
        let listening = self.open.iter().filter_map(|door| door.listening.upgrade());
        let handle = |socket: Arc<_>| SockRef::from(&*socket).try_clone().map(TcpListener::from);
        let sockets = listening.map(handle).collect::<std::io::Result<_>>()?;
        let loan = Arc::new(());
        self.lent = Some(Arc::downgrade(&loan));
        Ok(Lent { sockets, loan: Loan(loan) })
    }

    /// Whether a loan of the sockets has ended without a successor. Then its filters may still be on them.
    pub(super) fn take_back(&mut self) -> bool {
        let over = self.lent.take_if(|loan| loan.strong_count() == 0).is_some();
        if over {
            self.open.iter_mut().for_each(|door| door.filter = Filter::Unknown);
        }
        over
    }

    /// Lets visitors in through every socket, and from now on through every new one.
    pub(super) fn let_in(&mut self, hands: Hands) -> Result<(), Problem> {
        for door in &mut self.open {
            door.stop = hands.stop();
            door.listen(&hands, &mut self.listening)?;
        }
        self.hands = Some(hands);
        Ok(())
    }

    /// The next door whose task ended: without an error when it was closed on purpose.
    pub(super) async fn ended(&mut self) -> Result<(), Problem> {
        match self.listening.join_next().await {
            // A task that panicked ended as little by order as one whose socket broke.
            Some(ended) => ended.unwrap_or_else(|panic| Err(listener_broke(&panic.to_string()))),
            // Every door may be waiting for its interface.
            None => std::future::pending().await,
        }
    }

    /// Whether a socket that is asked for is not open for now.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Opens what is wanted and not open yet. Where a wider or narrower socket of ours is in the way it
    /// is closed first, and opened again if the change fails.
    ///
    /// # Errors
    /// Every socket that the system refuses, and that was not known before. Nothing has changed then.
    pub(super) async fn prepare(
        &mut self,
        wanted: &[Wanted],
        ground: &Ground,
        before: &Ground,
    ) -> Result<Moved, Vec<Problem>> {
        let Compared { missing, led, surplus } = self.compare(wanted);
        let in_the_way: Vec<_> = surplus
            .iter()
            .copied()
            .filter(|at| missing.iter().any(|new| collide(*at, new.address)))
            .collect();
        let mut stepped_aside = Vec::new();
        for at in in_the_way {
            stepped_aside.extend(self.close(at).await);
        }
        let (mut opened, mut waiting_for, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in missing {
            match Self::open(wanted, ground) {
                Ok(entrance) => opened.push(entrance),
                Err(problem) if wanted.known => waiting_for.push(waiting(&problem)),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            drop(opened);
            for door in &stepped_aside {
                problems.extend(self.reopen(door, before).err());
            }
            return Err(problems);
        }
        let closed = stepped_aside.iter().map(|door| door.opening(before)).collect();
        let surplus = surplus.into_iter().filter(|at| self.open.iter().any(|door| door.at == *at));
        Ok(Moved { opened, led, surplus: surplus.collect(), closed, waiting: waiting_for })
    }

    /// Makes a prepared change: what was opened, what was closed, and what waits.
    pub(super) async fn commit(
        &mut self,
        moved: Moved,
        hallway: impl Fn(&Arc<str>) -> Option<Hallway>,
        ground: &Ground,
    ) -> (Vec<Opening>, Vec<Opening>, Vec<Problem>) {
        let Moved { opened: entrances, led, surplus, mut closed, waiting } = moved;
        for (at, service) in led {
            let door = self.open.iter().find(|door| door.at == at);
            if let (Some(door), Some(hallway)) = (door, hallway(&service)) {
                door.line.send_replace(Line { service, hallway });
            }
        }
        for at in surplus {
            closed.extend(self.close(at).await.map(|door| door.opening(ground)));
        }
        let mut opened = Vec::new();
        for entrance in entrances {
            let Some(hallway) = hallway(&entrance.wanted.service) else { continue };
            self.add(entrance, hallway);
            let (Some(door), Some(hands)) = (self.open.last_mut(), &self.hands) else { continue };
            opened.push(door.opening(ground));
            if let Err(problem) = door.listen(hands, &mut self.listening) {
                // As a socket that breaks later: the server stops, because it would guard less than it says.
                self.listening.spawn(async { Err(problem) });
            }
        }
        self.waits = !waiting.is_empty();
        (opened, closed, waiting)
    }

    /// What is wanted and not open, what leads elsewhere now, and what nobody wants any more.
    fn compare<'w>(&self, wanted: &'w [Wanted]) -> Compared<'w> {
        let mut left: Vec<&OpenDoor> = self.open.iter().collect();
        let (mut missing, mut led) = (Vec::new(), Vec::new());
        for wanted in wanted {
            let same = |door: &&OpenDoor| door.wanted == wanted.address;
            let own = |door: &&OpenDoor| same(door) && door.line.borrow().service == wanted.service;
            // Any free port is as good as another only to the service that has it.
            let found = left
                .iter()
                .position(own)
                .or_else(|| left.iter().position(|door| same(door) && wanted.address.port() != 0));
            let Some(found) = found else {
                missing.push(wanted);
                continue;
            };
            let door = left.swap_remove(found);
            if door.line.borrow().service != wanted.service {
                led.push((door.at, Arc::clone(&wanted.service)));
            }
        }
        Compared { missing, led, surplus: left.into_iter().map(|door| door.at).collect() }
    }

    /// Closes a door, and returns when its socket is closed.
    async fn close(&mut self, at: SocketAddr) -> Option<OpenDoor> {
        let index = self.open.iter().position(|door| door.at == at)?;
        let mut door = self.open.swap_remove(index);
        door.stop.cancel();
        if door.socket.take().is_none() {
            door.closed.cancelled().await;
        }
        Some(door)
    }

    /// Opens a door again that stepped aside for nothing.
    fn reopen(&mut self, door: &OpenDoor, before: &Ground) -> Result<(), Problem> {
        let Line { service, hallway } = door.line.borrow().clone();
        let place = crate::place::Place::in_code("the configuration in force");
        let wanted = Wanted { service, address: door.wanted, place, known: true };
        let entrance = Self::open(&wanted, before)?;
        self.add(entrance, hallway);
        match (self.open.last_mut(), &self.hands) {
            (Some(door), Some(hands)) => door.listen(hands, &mut self.listening),
            (_, _) => Ok(()),
        }
    }
}

impl Entrance {
    fn new(wanted: &Wanted, socket: TcpListener) -> Result<Self, Problem> {
        let at = socket.local_addr().map_err(|error| listener_broke(&error.to_string()))?;
        Ok(Self { wanted: wanted.clone(), at, socket })
    }
}

impl Hands {
    /// A door closes when it is told to, or when the server takes nobody new.
    fn stop(&self) -> CancellationToken {
        self.closing.retire.child_token()
    }
}

impl OpenDoor {
    fn listen(
        &mut self,
        hands: &Hands,
        listening: &mut JoinSet<Result<(), Problem>>,
    ) -> Result<(), Problem> {
        let Some(socket) = self.socket.take() else { return Ok(()) };
        let door = Door::new(socket, hands.strangers.clone());
        let door = door.map_err(|error| listener_broke(&error.to_string()))?;
        self.listening = door.socket();
        let closed = self.closed.clone().drop_guard();
        let task = listen(door, self.line.subscribe(), hands.clone(), self.stop.clone());
        listening.spawn(async move {
            let ended = task.await;
            drop(closed);
            ended
        });
        Ok(())
    }

    fn opening(&self, ground: &Ground) -> Opening {
        let exposure = ground.policy.exposure(self.at, &ground.interfaces);
        Opening { service: Arc::clone(&self.line.borrow().service), at: self.at, exposure }
    }
}

/// Whether both cannot be open at once: a wildcard takes the port on every address of its family.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && covers
}

async fn listen(
    mut door: Door,
    line: watch::Receiver<Line>,
    hands: Hands,
    stop: CancellationToken,
) -> Result<(), Problem> {
    let mut told: Option<Instant> = None;
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            next = door.next() => next,
        };
        match next {
            Ok(accepted) => {
                let Line { service, hallway } = line.borrow().clone();
                let visit = hands.audit.visit(&service, door.local(), accepted.peer());
                let (audit, closing) = (Arc::clone(&hands.audit), hands.closing.clone());
                let walk = async move { walk(hallway, accepted, visit, &audit, &closing).await };
                hands.visitors.spawn(Box::pin(walk));
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
                    () = stop.cancelled() => return Ok(()),
                    () = sleep(wait) => {}
                }
            }
        }
    }
}

pub(super) fn listener_broke(error: &str) -> Problem {
    let remedy =
        "start again; if it comes back, look at what closes or changes the process's sockets";
    Problem::error(Fault::BindFailed, format!("a listening socket cannot be used: {error}"), remedy)
}

/// A machine that stays out of descriptors says so about once in this time, not once a visitor.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(10);

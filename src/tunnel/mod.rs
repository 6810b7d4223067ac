//! The tunnel: a plain socket on this machine that leads to a guarded service on another.
//!
//! It is the other end of a forward. A program that speaks no TLS connects to a [`Local`] socket; the
//! tunnel asks the kernel which user that is, holds it against the [`Callers`], dials the
//! [`Destination`], verifies the server, and carries bytes both ways. Nothing is read from a caller
//! before the server is verified.

mod denial;
mod users;
mod caller;
mod settings;
mod relay;
mod record;
mod owner;
mod remote;
mod door;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::accept::{Descriptors, descriptors};
use crate::bind::{BindPolicy, Interfaces, Listen};
use crate::connection::Closing;
use crate::place::Written;
use crate::problem::{Fault, Problem};

pub use caller::{CallerGate, CallerRule, LocalCaller};
pub use denial::Denial;
pub use settings::{
    At, CallerRules, Callers, Destination, Limits, Local, Tunnel, parse_mode, parse_pin,
    parse_server_name, parse_target,
};

use door::{JUDGED_AT_ONCE, Open, Way};
use remote::Remote;

/// Tunnels whose sockets are open and whose files are read: nothing is left that could refuse.
///
/// Nobody is let in before [`Tunnels::run`].
pub struct Tunnels {
    open: Vec<(Open, Arc<Way>)>,
    closing: Closing,
    drain: Duration,
}

/// Ends running tunnels, from a signal handler or a test.
#[derive(Clone, Debug)]
pub struct Stopper(Closing);

impl Tunnels {
    /// Reads the files of the tunnels, opens their sockets under the policy, and holds them against the
    /// machine. `drain` is how long sessions may go on once they are told to stop.
    ///
    /// # Errors
    /// Every problem at once: files that cannot be used, sockets that may not or cannot be opened, rules on
    /// users where this system does not tell them, too few descriptors. Nothing stays open then.
    pub fn open(
        bind: &BindPolicy,
        tunnels: &[Tunnel],
        drain: Duration,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems: Vec<Problem> = carried(tunnels).err().into_iter().collect();
        let interfaces = Interfaces::of_this_host().map_err(|error| vec![no_interfaces(&error)])?;
        let mut open = Vec::new();
        for tunnel in tunnels {
            problems.extend(untold(tunnel));
            let way = match way(tunnel) {
                Ok(way) => Arc::new(way),
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            for listener in &tunnel.listen {
                match open_one(bind, listener, tunnel.mode, &interfaces) {
                    Ok(some) => {
                        open.extend(some.into_iter().map(|one| (one, Arc::clone(&way))));
                    }
                    Err(problem) => problems.push(problem.at(&listener.place)),
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { open, closing: Closing::default(), drain })
    }

    /// The sockets that are open, each with the name of its tunnel.
    pub fn listeners(&self) -> impl Iterator<Item = (&str, &At)> {
        self.open.iter().map(|(open, way)| (&*way.name, open.at()))
    }

    /// What ends the tunnels.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.closing.clone())
    }

    /// Carries callers until it is stopped, then lets their sessions finish. Needs a tokio runtime with its
    /// network and time drivers.
    ///
    /// # Errors
    /// A listening socket that broke: the tunnels stop, because they would be fewer than they say.
    pub async fn run(self) -> Result<(), Problem> {
        let callers = TaskTracker::new();
        let mut listening = JoinSet::new();
        let mut ways: Vec<Arc<Way>> = Vec::new();
        for (open, way) in self.open {
            ways.push(Arc::clone(&way));
            listening.spawn(door::listen(open, way, self.closing.clone(), callers.clone()));
        }
        listening.spawn(summarise(ways.clone(), self.closing.clone()));
        let mut broken = None;
        while let Some(ended) = listening.join_next().await {
            // A task that panicked ended as little by order as one whose socket broke.
            let ended = ended.unwrap_or_else(|panic| Err(door::broke(&panic.to_string())));
            if let Err(problem) = ended {
                broken.get_or_insert(problem);
                self.closing.drain.cancel();
            }
        }
        callers.close();
        tokio::select! {
            () = callers.wait() => {}
            () = sleep(self.drain) => {}
            () = self.closing.cut.cancelled() => {}
        }
        self.closing.cut.cancel();
        drop(timeout(LAST_GOODBYES, callers.wait()).await);
        for way in &ways {
            way.record.close();
        }
        broken.map_or(Ok(()), Err)
    }
}

impl Stopper {
    /// Takes no new caller, and lets sessions finish.
    pub fn drain(&self) {
        self.0.drain.cancel();
    }

    /// Ends whatever still runs.
    pub fn cut(&self) {
        self.0.drain.cancel();
        self.0.cut.cancel();
    }
}

/// The way of a tunnel's callers, with the files it shows at its end.
fn way(tunnel: &Tunnel) -> Result<Way, Problem> {
    let remote = Remote::new(tunnel.destination.clone());
    let remote = remote.map_err(|problem| problem.at(&tunnel.place))?;
    Ok(Way::new(tunnel, remote))
}

/// Where rules on users need what this system does not tell.
fn untold(tunnel: &Tunnel) -> Option<Problem> {
    let Callers::Users(gate) = &tunnel.callers else { return None };
    let tcp = tunnel.listen.iter().find(|listen| matches!(listen.value, Local::Tcp(_)))?;
    if gate.any_user().is_some() {
        return None;
    }
    owner::tells_tcp().err().map(|problem| problem.at(&tcp.place))
}

fn open_one(
    bind: &BindPolicy,
    listener: &Written<Local>,
    mode: u32,
    interfaces: &Interfaces,
) -> Result<Vec<Open>, Problem> {
    match &listener.value {
        Local::Tcp(listen) => open_tcp(bind, listen, interfaces),
        Local::Unix(path) => Open::unix(path, mode).map(|open| vec![open]),
    }
}

fn open_tcp(
    bind: &BindPolicy,
    listen: &Listen,
    interfaces: &Interfaces,
) -> Result<Vec<Open>, Problem> {
    let open = |address| {
        let socket = bind.open(address, interfaces)?;
        let at = socket.local_addr().map_err(|error| door::broke(&error.to_string()))?;
        Ok(Open::tcp(socket, at))
    };
    listen.resolve(interfaces)?.into_iter().map(open).collect()
}

/// Whether the limit on open files carries every caller of every tunnel, with two descriptors each.
fn carried(tunnels: &[Tunnel]) -> Result<(), Problem> {
    let Descriptors::Limited(limit) = descriptors() else { return Ok(()) };
    let each = |tunnel: &Tunnel| {
        let judged = JUDGED_AT_ONCE.saturating_mul(tunnel.listen.len());
        tunnel.max.saturating_mul(2).saturating_add(judged).saturating_add(tunnel.listen.len())
    };
    let needed = tunnels.iter().map(each).fold(RESERVE, usize::saturating_add);
    if usize::try_from(limit).is_ok_and(|limit| needed > limit) {
        let what = format!("{limit} open files do not carry max callers of every tunnel");
        let remedy = format!("raise the limit to {needed} (ulimit -n, LimitNOFILE=) or lower max");
        return Err(Problem::error(Fault::AcceptDescriptors, what, remedy));
    }
    Ok(())
}

fn no_interfaces(error: &std::io::Error) -> Problem {
    let what = format!("the interfaces of this host cannot be listed: {error}");
    Problem::error(Fault::BindFailed, what, "see whether the process may use netlink sockets")
}

async fn summarise(ways: Vec<Arc<Way>>, closing: Closing) -> Result<(), Problem> {
    let mut every = interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closing.drain.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        for way in &ways {
            way.record.summarise(Instant::now());
        }
    }
}

/// Standard streams, the runtime's own descriptors, files that are read again, and a margin.
const RESERVE: usize = 32;
/// Somewhat longer than one goodbye may take.
const LAST_GOODBYES: Duration = Duration::from_secs(3);

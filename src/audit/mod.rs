//! The record: one event for every verdict, both ways, with its code.

mod burst;
mod ledger;
mod record;
mod told;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use tokio::sync::broadcast;

use crate::accept::Introduced;
use crate::address::Ban;
use crate::bans::Suspects;
use crate::handshake::Presented;
use crate::identity::Caller;
use crate::metrics::{Counts, Histogram, History, Sample, Summary};
use crate::peer::{PeerAddr, Source};
use crate::problem::Problem;
use crate::refusal::{Refusal, Refused, Room};
use crate::service::Counted;

use burst::Burst;
use ledger::Ledger;
pub(crate) use ledger::Present;
pub use ledger::{Arrival, Noted, ServiceTotals, Session, Shown, Totals};
pub use record::{Break, Chain, Record, RecordSettings, RecordTo};
pub use told::tell_problem;
use told::{is_health_check, write};

/// One visit: from the knock to the last byte.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its number, from 1, since the server started.
    pub number: u64,
    /// The service whose listener it came to.
    pub service: Arc<str>,
    /// The listener's address.
    pub listener: SocketAddr,
    /// Where the visitor comes from, as far as it is known: behind a balancer, first the balancer.
    pub peer: PeerAddr,
    /// The balancer that announced the visitor, if one did.
    pub via: Option<PeerAddr>,
}

impl Visit {
    /// The same visit, now that it is known where the visitor comes from.
    #[must_use]
    pub fn of<S>(self, introduced: &Introduced<S>) -> Self {
        Self { peer: introduced.peer(), via: introduced.via(), ..self }
    }
}

/// What is recorded. Whatever a peer chose is escaped and bounded in it.
#[derive(Clone, Debug)]
pub enum Event {
    /// A visitor passed every gate.
    Permitted(Visit, Caller),
    /// A visitor was turned away, with the certificate it showed where there was one.
    Refused(Visit, Refused, Option<Box<Presented>>),
    /// A session ended by itself.
    Left(Visit, Caller, Counted),
    /// A session was ended by a refusal.
    Cut(Visit, Caller, Counted, Refused),
    /// A session that was let in, or goes on, would be refused by the policy that is tried.
    WouldRefuse(Visit, Caller, Refused),
    /// So many more equal refusals came from a network than were recorded one by one.
    More(Refusal, Source, u64),
    /// A new state of the configuration and its files is in force.
    Reloaded {
        /// What is worth knowing about it.
        warnings: Vec<Problem>,
        /// Sockets that were opened for it.
        opened: Vec<Opening>,
        /// Sockets that were closed for it.
        closed: Vec<Opening>,
    },
    /// A network is kept out for a while.
    Banned(IpNet, Ban),
    /// A ban was ended before its time.
    Lifted(IpNet, Ban),
    /// A ban has ended by itself.
    Expired(IpNet, Ban),
    /// The new state has these problems, so the old one stays in force.
    Kept(Vec<Problem>),
    /// Interfaces of this host came, went or changed, and the bind policy was applied to them.
    Rebound {
        /// Listeners that wait for their interface.
        warnings: Vec<Problem>,
        /// Sockets that could be opened.
        opened: Vec<Opening>,
        /// Sockets that the policy allows no more.
        closed: Vec<Opening>,
    },
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The service whose visitors come to it.
    pub service: Arc<str>,
    /// Its address.
    pub at: SocketAddr,
    /// Whom it is open to, in words.
    pub exposure: String,
}

/// Records events through `tracing` and hands them to whoever listens.
///
/// A burst of equal refusals from one network is recorded one by one at first, then counted and told in
/// one [`Event::More`]: nothing is lost silently, and no stranger fills a disk.
#[derive(Debug)]
pub struct Audit {
    visits: AtomicU64,
    burst: Mutex<Burst>,
    listeners: broadcast::Sender<Event>,
    ledger: Arc<Ledger>,
    kept: OnceLock<Record>,
    suspects: Suspects,
    handshakes: Histogram,
    lag: Histogram,
    history: Mutex<History>,
}

impl Default for Audit {
    fn default() -> Self {
        let (listeners, _) = broadcast::channel(REMEMBERED);
        Self {
            visits: AtomicU64::new(0),
            burst: Mutex::default(),
            listeners,
            ledger: Arc::default(),
            kept: OnceLock::new(),
            suspects: Suspects::default(),
            handshakes: Histogram::default(),
            lag: Histogram::default(),
            history: Mutex::default(),
        }
    }
}

impl Audit {
    /// A new visit.
    #[must_use]
    pub fn visit(&self, service: &Arc<str>, listener: SocketAddr, peer: PeerAddr) -> Visit {
        let number = self.visits.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Visit { number, service: Arc::clone(service), listener, peer, via: None }
    }

    /// Every event from now on. A listener that falls behind misses events, and is told how many.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.listeners.subscribe()
    }

    /// The counts since the server started.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.ledger.totals()
    }

    /// The counts of every service since the server started.
    #[must_use]
    pub fn services(&self) -> BTreeMap<Arc<str>, ServiceTotals> {
        self.ledger.services()
    }

    /// How long handshakes took that were finished, since the server started.
    #[must_use]
    pub fn handshakes(&self) -> Counts {
        self.handshakes.counts()
    }

    /// How late the runtime was, twice a second since the server started.
    #[must_use]
    pub fn lag(&self) -> Counts {
        self.lag.counts()
    }

    /// The last hour, a sample every ten seconds, the oldest first; at most 360.
    #[must_use]
    pub fn history(&self) -> Vec<Sample> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).samples()
    }

    pub(crate) fn handshake_took(&self, time: Duration) {
        self.handshakes.count(time);
    }

    pub(crate) fn was_late(&self, time: Duration) {
        self.lag.count(time);
    }

    /// Remembers the last seconds, where it is time for that; to be called about once a second.
    pub fn remember(&self, at: SystemTime, now: Instant) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.is_due(now) {
            let totals = self.totals();
            let refused = Room::ALL.map(|room| {
                let own = totals.refused.iter().filter(|(refusal, _)| refusal.room() == room);
                own.map(|(_, count)| *count).fold(0, u64::saturating_add)
            });
            let (permitted, handshakes) = (totals.permitted, self.handshakes());
            history.take(Summary { permitted, refused, handshakes }, at, now);
        }
    }

    /// The last refusals, the newest first; at most 256 are remembered.
    #[must_use]
    pub fn last_refusals(&self) -> Vec<Noted> {
        self.ledger.last()
    }

    /// The last visitors that passed every gate, the newest first; at most 32 are remembered.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrival> {
        self.ledger.arrived()
    }

    /// Every session that is open, the oldest first.
    #[must_use]
    pub fn present(&self) -> Vec<Session> {
        self.ledger.present()
    }

    /// Writes every event from now on to an audit log as well. The first log stays.
    pub fn keep(&self, record: Record) {
        drop(self.kept.set(record));
    }

    /// Whether there is an audit log.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept.get().is_some()
    }

    /// Opens the file of the audit log anew, where it was renamed.
    pub fn reopen(&self) {
        if let Some(record) = self.kept.get() {
            record.reopen();
        }
    }

    /// How many events are not in the audit log although they should be, since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.kept.get().map_or(0, Record::lost)
    }

    /// Keeps a session among those present, as long as the answer is held.
    pub(crate) fn enter(&self, session: Session) -> Present {
        self.ledger.enter(session)
    }

    /// Records an event.
    pub fn record(&self, event: Event, now: Instant) {
        self.ledger.note(&event);
        self.suspect(&event, now);
        let alone = match &event {
            // Below what is usually written; a summary of it would not be.
            Event::Refused(_, refused, _) if is_health_check(refused) => true,
            Event::Refused(visit, refused, _) => {
                self.burst().count(refused.refusal(), visit.peer.source(), now)
            }
            Event::Permitted(..)
            | Event::Left(..)
            | Event::Cut(..)
            | Event::WouldRefuse(..)
            | Event::More(..)
            | Event::Reloaded { .. }
            | Event::Banned(..)
            | Event::Lifted(..)
            | Event::Expired(..)
            | Event::Kept(_)
            | Event::Rebound { .. } => true,
        };
        if alone {
            self.write(&event);
        }
        // Nobody may be listening.
        drop(self.listeners.send(event));
    }

    /// What is counted against networks, and what speaks for them.
    pub(crate) fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    fn suspect(&self, event: &Event, now: Instant) {
        match event {
            Event::Refused(visit, refused, _) => {
                self.suspects.refused(refused.refusal(), visit.peer.source(), now);
            }
            Event::Permitted(visit, _) | Event::Left(visit, ..) | Event::Cut(visit, ..) => {
                self.suspects.permitted(visit.peer.source(), now);
            }
            Event::WouldRefuse(..)
            | Event::More(..)
            | Event::Reloaded { .. }
            | Event::Banned(..)
            | Event::Lifted(..)
            | Event::Expired(..)
            | Event::Kept(_)
            | Event::Rebound { .. } => {}
        }
    }

    /// Tells what was counted and not recorded one by one; to be called about once a second.
    pub fn summarise(&self, now: Instant) {
        let due = self.burst().due(now);
        self.tell(due);
    }

    /// Tells all that is still untold, and ends the audit log. It waits for a slow disk, a few seconds at the most.
    pub fn close(&self) {
        let rest = self.burst().all();
        self.tell(rest);
        if let Some(record) = self.kept.get() {
            record.close();
        }
    }

    fn write(&self, event: &Event) {
        write(event);
        let Some(record) = self.kept.get() else { return };
        // One every second or two says nothing, in a log that is kept.
        if !matches!(event, Event::Refused(_, refused, _) if is_health_check(refused)) {
            record.put(event);
        }
    }

    fn tell(&self, counted: Vec<(Refusal, Source, u64)>) {
        for (refusal, source, count) in counted {
            let event = Event::More(refusal, source, count);
            self.write(&event);
            drop(self.listeners.send(event));
        }
    }

    fn burst(&self) -> std::sync::MutexGuard<'_, Burst> {
        self.burst.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The target of all events, for filters of the log.
pub const TARGET: &str = "doorward::audit";

/// How many events a listener may fall behind.
const REMEMBERED: usize = 1024;
const SHOWN: usize = 4;

//! The record: one event for every verdict, both ways, with its code.

mod burst;
mod ledger;
mod record;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use ipnet::IpNet;
use tokio::sync::broadcast;

use crate::accept::Introduced;
use crate::address::Ban;
use crate::bans::Suspects;
use crate::handshake::Presented;
use crate::identity::Caller;
use crate::peer::{PeerAddr, Source};
use crate::problem::{Problem, Severity};
use crate::refusal::{Refusal, Refused};
use crate::service::Counted;

use burst::Burst;
use ledger::Ledger;
pub(crate) use ledger::Present;
pub use ledger::{Noted, Session, Totals};
use record::moment;
pub use record::{Break, Chain, Record, RecordSettings, RecordTo};

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
}

impl Default for Audit {
    fn default() -> Self {
        let (listeners, _) = broadcast::channel(REMEMBERED);
        let (visits, burst, ledger) = (AtomicU64::new(0), Mutex::default(), Arc::default());
        Self {
            visits,
            burst,
            listeners,
            ledger,
            kept: OnceLock::new(),
            suspects: Suspects::default(),
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

    /// The last refusals, the newest first; at most 256 are remembered.
    #[must_use]
    pub fn last_refusals(&self) -> Vec<Noted> {
        self.ledger.last()
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
            Event::More(..)
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

fn write(event: &Event) {
    match event {
        Event::Permitted(visit, caller) => permitted(visit, caller),
        Event::Refused(visit, refused, _) if is_health_check(refused) => {
            health_check(visit, refused);
        }
        Event::Refused(visit, refused, presented) => refusal(visit, refused, presented.as_deref()),
        Event::Left(visit, caller, counted) => left(visit, caller, counted),
        Event::Cut(visit, caller, counted, refused) => cut(visit, caller, counted, refused),
        Event::Reloaded { warnings, opened, closed } => {
            told(warnings, opened, closed);
            tracing::info!(target: TARGET, "reloaded: the new state is in force");
        }
        Event::Kept(problems) => {
            problems.iter().for_each(tell_problem);
            tracing::error!(target: TARGET, "kept: the new state is refused, the old one stays in force");
        }
        Event::Rebound { warnings, opened, closed } => {
            told(warnings, opened, closed);
            tracing::info!(target: TARGET, "rebound: the bind policy holds for the interfaces of now");
        }
        Event::Banned(network, ban) => {
            let (until, why, by) = (moment(ban.until), &ban.why, ban.by.word());
            tracing::warn!(target: TARGET, %network, until, %why, by, "banned");
        }
        Event::Lifted(network, _) => tracing::info!(target: TARGET, %network, "ban lifted"),
        Event::Expired(network, _) => tracing::info!(target: TARGET, %network, "ban expired"),
        Event::More(refusal, source, count) => {
            tracing::warn!(
                target: TARGET, code = %refusal.code(), from = %source, count, "refused more of the same"
            );
        }
    }
}

fn permitted(visit: &Visit, caller: &Caller) {
    tracing::info!(
        target: TARGET,
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        via = visit.via.map(tracing::field::display),
        to = %visit.listener,
        name = %caller.name(),
        rule = %caller.rule(),
        serial = %caller.presented().serial(),
        "permitted",
    );
}

fn refusal(visit: &Visit, refused: &Refused, presented: Option<&Presented>) {
    tracing::warn!(
        target: TARGET,
        code = %refused.code(),
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        via = visit.via.map(tracing::field::display),
        to = %visit.listener,
        detail = said(refused).map(tracing::field::display),
        rule = refused.rule().map(tracing::field::display),
        subject = presented.map(|shown| tracing::field::display(shown.subject())),
        names = presented.map(|shown| tracing::field::display(names(shown))),
        serial = presented.map(|shown| tracing::field::display(shown.serial())),
        pin = presented.map(|shown| tracing::field::display(shown.pin())),
        "refused",
    );
}

/// A balancer asks every second or two whether the server is there; nobody was turned away by the answer.
fn is_health_check(refused: &Refused) -> bool {
    refused.refusal() == Refusal::AcceptProxyLocal
}

fn health_check(visit: &Visit, refused: &Refused) {
    tracing::debug!(
        target: TARGET,
        code = %refused.code(),
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        to = %visit.listener,
        "refused",
    );
}

fn left(visit: &Visit, caller: &Caller, counted: &Counted) {
    tracing::info!(
        target: TARGET,
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        via = visit.via.map(tracing::field::display),
        name = %caller.name(),
        frames = counted.frames_in,
        bytes_in = counted.bytes_in,
        bytes_out = counted.bytes_out,
        lasted = %format_args!("{:?}", counted.lasted),
        "left",
    );
}

fn cut(visit: &Visit, caller: &Caller, counted: &Counted, refused: &Refused) {
    tracing::warn!(
        target: TARGET,
        code = %refused.code(),
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        via = visit.via.map(tracing::field::display),
        name = %caller.name(),
        detail = said(refused).map(tracing::field::display),
        serial = %caller.presented().serial(),
        frames = counted.frames_in,
        bytes_in = counted.bytes_in,
        bytes_out = counted.bytes_out,
        lasted = %format_args!("{:?}", counted.lasted),
        "cut",
    );
}

fn told(warnings: &[Problem], opened: &[Opening], closed: &[Opening]) {
    warnings.iter().for_each(tell_problem);
    for Opening { service, at, exposure } in opened {
        tracing::info!(target: TARGET, %service, to = %at, %exposure, "opened");
    }
    for Opening { service, at, .. } in closed {
        tracing::info!(target: TARGET, %service, to = %at, "closed");
    }
}

/// Writes a problem to the log, with its place, code and remedy as fields.
pub fn tell_problem(problem: &Problem) {
    let place = problem.place().map(tracing::field::display);
    let (code, remedy) = (problem.fault().code(), problem.remedy());
    match problem.severity() {
        Severity::Error => {
            tracing::error!(target: TARGET, %code, place, %remedy, "{}", problem.message());
        }
        Severity::Warning => {
            tracing::warn!(target: TARGET, %code, place, %remedy, "{}", problem.message());
        }
    }
}

fn said(refused: &Refused) -> Option<&str> {
    Some(refused.detail()).filter(|detail| !detail.is_empty())
}

/// The names of a certificate, in one field; the serial number finds the rest of a long list.
fn names(presented: &Presented) -> String {
    let shown: Vec<_> = presented.names().iter().take(SHOWN).map(ToString::to_string).collect();
    shown.join(" ")
}

/// The target of all events, for filters of the log.
pub const TARGET: &str = "doorward::audit";

/// How many events a listener may fall behind.
const REMEMBERED: usize = 1024;
const SHOWN: usize = 4;

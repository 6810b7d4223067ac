//! What is remembered of the events: counts by code, who is present, and the last refusals.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Event, Visit};
use crate::handshake::{Pin, Presented};
use crate::identity::Caller;
use crate::peer::{PeerAddr, PeerText};
use crate::refusal::{Refusal, Refused};
use crate::service::{Counted, Tally};

/// The memory of the record. Bounded: what a stranger sends never makes it grow.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    permitted: u64,
    refused: BTreeMap<Refusal, u64>,
    would_refuse: BTreeMap<Refusal, u64>,
    last: VecDeque<Noted>,
    arrived: VecDeque<Arrival>,
    present: BTreeMap<u64, Session>,
    services: BTreeMap<Arc<str>, ServiceTotals>,
}

/// What was counted of one service since the server started. All but `open` never gets less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTotals {
    /// Visitors that passed every gate.
    pub permitted: u64,
    /// Visitors that were refused or cut, by reason; reasons that never occurred are left out.
    pub refused: BTreeMap<Refusal, u64>,
    /// Sessions that the policy that is tried would have refused, by reason.
    pub would_refuse: BTreeMap<Refusal, u64>,
    /// Messages that passed the frame gate.
    pub frames: u64,
    /// Bytes from visitors.
    pub bytes_in: u64,
    /// Bytes to visitors.
    pub bytes_out: u64,
    /// Sessions that are open now.
    pub open: usize,
}

impl ServiceTotals {
    fn add(&mut self, counted: &Counted) {
        self.frames = self.frames.saturating_add(counted.frames_in);
        self.bytes_in = self.bytes_in.saturating_add(counted.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(counted.bytes_out);
    }
}

impl Pages {
    fn of(&mut self, visit: &Visit) -> &mut ServiceTotals {
        self.services.entry(Arc::clone(&visit.service)).or_default()
    }

    /// A session is over: from now on it is in the sums. Both at once, so that the sums never get less.
    fn end(&mut self, visit: &Visit, counted: &Counted) {
        self.present.remove(&visit.number);
        self.of(visit).add(counted);
    }
}

fn one_more(counts: &mut BTreeMap<Refusal, u64>, refusal: Refusal) {
    let count = counts.entry(refusal).or_default();
    *count = count.saturating_add(1);
}

/// A refusal as it is remembered.
#[derive(Clone, Debug)]
pub struct Noted {
    /// The number of the visit.
    pub visit: u64,
    /// When it was refused.
    pub at: SystemTime,
    /// The service it came to.
    pub service: Arc<str>,
    /// The listener it came to.
    pub listener: SocketAddr,
    /// Where it came from.
    pub peer: PeerAddr,
    /// Why it was refused.
    pub refused: Refused,
    /// The balancer it came through, if any.
    pub via: Option<PeerAddr>,
    /// The certificate it showed, if it got so far.
    pub shown: Option<Shown>,
}

/// A visitor that passed every gate, as it is remembered.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The number of the visit.
    pub visit: u64,
    /// When it was let in.
    pub at: SystemTime,
    /// The service it came to.
    pub service: Arc<str>,
    /// Where it came from.
    pub peer: PeerAddr,
    /// The name that was permitted.
    pub name: String,
}

/// What is remembered of a certificate; escaped and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its first names.
    pub names: Vec<String>,
    /// How many names it has besides.
    pub more: usize,
    /// A name that is not what its type says.
    pub unreadable: Option<PeerText>,
    /// The pin of its key.
    pub pin: Pin,
}

impl From<&Presented> for Shown {
    fn from(presented: &Presented) -> Self {
        let names = presented.names();
        Self {
            names: names.iter().take(super::SHOWN).map(ToString::to_string).collect(),
            more: names.len().saturating_sub(super::SHOWN),
            unreadable: presented.unreadable_name().cloned(),
            pin: presented.pin(),
        }
    }
}

/// A session that is open.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who came where, and its number.
    pub visit: Visit,
    /// As whom.
    pub caller: Caller,
    /// What went through so far.
    pub tally: Arc<Tally>,
}

/// The counts since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Visitors that passed every gate.
    pub permitted: u64,
    /// Visitors that were refused or cut, by reason; reasons that never occurred are left out.
    pub refused: BTreeMap<Refusal, u64>,
    /// Sessions that the policy that is tried would have refused, by reason.
    pub would_refuse: BTreeMap<Refusal, u64>,
}

/// Keeps a session among those present, until it is dropped.
#[derive(Debug)]
pub(crate) struct Present {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.ledger.pages().present.remove(&self.number);
    }
}

impl Ledger {
    pub(super) fn note(&self, event: &Event) {
        match event {
            Event::Permitted(visit, caller) => {
                let arrival = Arrival {
                    visit: visit.number,
                    at: SystemTime::now(),
                    service: Arc::clone(&visit.service),
                    peer: visit.peer,
                    name: caller.name().to_string(),
                };
                let mut pages = self.pages();
                if pages.arrived.len() >= MOST_ARRIVALS {
                    pages.arrived.pop_front();
                }
                pages.arrived.push_back(arrival);
                pages.permitted = pages.permitted.saturating_add(1);
                let service = pages.of(visit);
                service.permitted = service.permitted.saturating_add(1);
            }
            Event::Refused(visit, refused, presented) => {
                self.refused(visit, refused, presented.as_deref());
            }
            Event::Left(visit, _, counted) => self.pages().end(visit, counted),
            Event::Cut(visit, caller, counted, refused) => {
                self.pages().end(visit, counted);
                self.refused(visit, refused, Some(caller.presented()));
            }
            Event::WouldRefuse(visit, _, refused) => {
                let mut pages = self.pages();
                one_more(&mut pages.would_refuse, refused.refusal());
                one_more(&mut pages.of(visit).would_refuse, refused.refusal());
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

    fn refused(&self, visit: &Visit, refused: &Refused, presented: Option<&Presented>) {
        let noted = Noted {
            visit: visit.number,
            at: SystemTime::now(),
            service: Arc::clone(&visit.service),
            listener: visit.listener,
            peer: visit.peer,
            refused: refused.clone(),
            via: visit.via,
            shown: presented.map(Shown::from),
        };
        let mut pages = self.pages();
        one_more(&mut pages.refused, refused.refusal());
        one_more(&mut pages.of(visit).refused, refused.refusal());
        // One every second or two would soon be all that is remembered.
        if super::told::is_health_check(refused) {
            return;
        }
        if pages.last.len() >= MOST_NOTED {
            pages.last.pop_front();
        }
        pages.last.push_back(noted);
    }

    pub(super) fn enter(self: &Arc<Self>, session: Session) -> Present {
        let number = session.visit.number;
        self.pages().present.insert(number, session);
        Present { ledger: Arc::clone(self), number }
    }

    pub(super) fn totals(&self) -> Totals {
        let pages = self.pages();
        Totals {
            permitted: pages.permitted,
            refused: pages.refused.clone(),
            would_refuse: pages.would_refuse.clone(),
        }
    }

    /// The sums of every service, with what the open sessions have had so far.
    pub(super) fn services(&self) -> BTreeMap<Arc<str>, ServiceTotals> {
        let pages = self.pages();
        let mut services = pages.services.clone();
        for session in pages.present.values() {
            let service = services.entry(Arc::clone(&session.visit.service)).or_default();
            service.add(&session.tally.counted());
            service.open = service.open.saturating_add(1);
        }
        services
    }

    pub(super) fn last(&self) -> Vec<Noted> {
        self.pages().last.iter().rev().cloned().collect()
    }

    pub(super) fn arrived(&self) -> Vec<Arrival> {
        self.pages().arrived.iter().rev().cloned().collect()
    }

    pub(super) fn present(&self) -> Vec<Session> {
        self.pages().present.values().cloned().collect()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Every change under the lock is whole before it can panic.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody looks through who was just called about it; each is less than 2 KiB.
const MOST_NOTED: usize = 256;
/// Who came last is looked at, and soon forgotten.
const MOST_ARRIVALS: usize = 32;

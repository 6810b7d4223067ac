//! Seats for those who have not finished the handshake: bounded in all, and for each network.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::Budgets;
use crate::peer::Source;
use crate::refusal::Refusal;

/// The seats of all connections that have not finished the handshake.
///
/// A newcomer always gets a seat: where its network has used its share, the oldest of that network
/// leaves; where all seats are taken, the oldest of all. An honest handshake takes milliseconds, so it
/// is those who sit and say nothing that go.
#[derive(Clone, Debug)]
pub struct Strangers {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug)]
struct Queue {
    seats: usize,
    share: usize,
    exempt: Vec<IpNet>,
    next: u64,
    waiting: BTreeMap<u64, (Source, Arc<Call>)>,
    by_source: HashMap<Source, BTreeSet<u64>>,
}

/// How a seated stranger is called out of its seat, and why.
#[derive(Debug, Default)]
struct Call {
    token: CancellationToken,
    reason: OnceLock<Refusal>,
}

impl Strangers {
    /// As many seats as the budgets say, all free.
    #[must_use]
    pub fn new(budgets: Budgets) -> Self {
        let queue = Queue {
            seats: budgets.strangers.get(),
            share: budgets.per_source.get(),
            exempt: Vec::new(),
            next: 0,
            waiting: BTreeMap::new(),
            by_source: HashMap::new(),
        };
        Self { queue: Arc::new(Mutex::new(queue)) }
    }

    /// As many seats as the budgets say from now on. Where more are taken, the oldest leave.
    pub fn resize(&self, budgets: Budgets) {
        let mut queue = self.lock();
        queue.seats = budgets.strangers.get();
        queue.share = budgets.per_source.get();
        while queue.waiting.len() > queue.seats {
            let oldest = queue.waiting.keys().next().copied();
            queue.call_out(oldest, Refusal::AcceptEvicted);
        }
    }

    /// Visitors from these networks have no share: a balancer brings the visitors of many networks, and each
    /// moves to a seat of its own network as soon as that is known. The seats in all bound them still.
    pub fn exempt(&self, networks: Vec<IpNet>) {
        self.lock().exempt = networks;
    }

    /// How many seats are taken now.
    #[must_use]
    pub fn seated(&self) -> usize {
        self.lock().waiting.len()
    }

    /// A seat for one more, whoever has to leave for it.
    #[must_use]
    pub fn seat(&self, source: Source) -> StrangerSeat {
        let call = Arc::new(Call::default());
        let mut queue = self.lock();
        queue.make_room(source);
        let number = queue.next;
        queue.next = number.wrapping_add(1);
        queue.waiting.insert(number, (source, Arc::clone(&call)));
        queue.by_source.entry(source).or_default().insert(number);
        drop(queue);
        StrangerSeat { number, call, strangers: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change under the lock is whole before it can panic, so a poisoned queue is still right.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn make_room(&mut self, source: Source) {
        let own = self.by_source.get(&source);
        let exempt = self.exempt.iter().any(|network| network.contains(&source.ip()));
        if !exempt && own.is_some_and(|own| own.len() >= self.share) {
            let oldest = own.and_then(BTreeSet::first).copied();
            return self.call_out(oldest, Refusal::AcceptSourceShare);
        }
        if self.waiting.len() >= self.seats {
            let oldest = self.waiting.keys().next().copied();
            self.call_out(oldest, Refusal::AcceptEvicted);
        }
    }

    fn call_out(&mut self, number: Option<u64>, reason: Refusal) {
        if let Some(call) = number.and_then(|number| self.leave(number)) {
            // Only the first reason counts; a seat is called out once, because it left the queue.
            call.reason.get_or_init(|| reason);
            call.token.cancel();
        }
    }

    fn leave(&mut self, number: u64) -> Option<Arc<Call>> {
        let (source, call) = self.waiting.remove(&number)?;
        if let Some(own) = self.by_source.get_mut(&source) {
            own.remove(&number);
            if own.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some(call)
    }
}

/// One seat among the strangers; given back when it is dropped.
#[derive(Debug)]
pub struct StrangerSeat {
    number: u64,
    call: Arc<Call>,
    strangers: Strangers,
}

impl StrangerSeat {
    /// A seat of another network for the same visitor, who was brought by a balancer.
    #[must_use]
    pub(super) fn moved_to(self, source: Source) -> StrangerSeat {
        self.strangers.seat(source)
    }

    /// Waits until somebody newer needs the seat, and says why this one was chosen.
    pub async fn called_out(&self) -> Refusal {
        self.call.token.cancelled().await;
        self.call.reason.get().copied().unwrap_or(Refusal::AcceptEvicted)
    }
}

impl Drop for StrangerSeat {
    fn drop(&mut self) {
        let _call = self.strangers.lock().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::PeerAddr;
    use std::num::NonZeroUsize;

    fn strangers(seats: usize, share: usize) -> Strangers {
        let number = |n| NonZeroUsize::new(n).unwrap();
        Strangers::new(Budgets {
            strangers: number(seats),
            per_source: number(share),
            members: number(1),
        })
    }

    fn source(ip: &str) -> Source {
        PeerAddr::new((ip.parse::<std::net::IpAddr>().unwrap(), 1).into()).source()
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room() {
        let hall = strangers(2, 2);
        let first = hall.seat(source("192.0.2.1"));
        let second = hall.seat(source("192.0.2.2"));
        let third = hall.seat(source("192.0.2.3"));
        assert_eq!(first.called_out().await, Refusal::AcceptEvicted);
        assert_eq!(hall.seated(), 2);
        assert!(!second.call.token.is_cancelled() && !third.call.token.is_cancelled());
    }

    #[tokio::test]
    async fn a_network_takes_seats_only_from_itself() {
        let hall = strangers(10, 2);
        let other = hall.seat(source("2001:db8:0:1::1"));
        let first = hall.seat(source("2001:db8::1"));
        let _second = hall.seat(source("2001:db8::2"));
        let _third = hall.seat(source("2001:db8::3"));
        assert_eq!(first.called_out().await, Refusal::AcceptSourceShare);
        assert!(!other.call.token.is_cancelled());
        assert_eq!(hall.seated(), 3);
    }

    #[tokio::test]
    async fn fewer_seats_call_the_oldest_out() {
        let hall = strangers(2, 2);
        let first = hall.seat(source("192.0.2.1"));
        let second = hall.seat(source("192.0.2.2"));
        let one = NonZeroUsize::new(1).unwrap();
        hall.resize(Budgets { strangers: one, per_source: one, members: one });
        assert_eq!(first.called_out().await, Refusal::AcceptEvicted);
        assert!(!second.call.token.is_cancelled());
    }

    #[test]
    fn a_seat_is_given_back_when_it_is_dropped() {
        let hall = strangers(2, 1);
        drop(hall.seat(source("192.0.2.1")));
        assert_eq!(hall.seated(), 0);
        assert!(hall.lock().by_source.is_empty());
    }
}

//! Seats for those who have not finished the handshake: bounded in all, and for each network.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::Budgets;
use crate::peer::{PeerAddr, Source};
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
    /// Who has no network yet came from a balancer, and has not said for whom.
    waiting: BTreeMap<u64, (Option<Source>, Arc<Call>)>,
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

    /// Visitors from these networks have no share at first: a balancer brings the visitors of many networks,
    /// and each moves to a seat of its own network as soon as that is known. The seats in all bound them still.
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
    pub fn seat(&self, peer: PeerAddr) -> StrangerSeat {
        let call = Arc::new(Call::default());
        let mut queue = self.lock();
        // The whole address is asked, not its network: a balancer can be one address of a /64.
        let exempt = queue.exempt.iter().any(|network| network.contains(&peer.ip()));
        let number = queue.enter((!exempt).then(|| peer.source()), Arc::clone(&call));
        drop(queue);
        StrangerSeat { number, call, strangers: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change under the lock is whole before it can panic, so a poisoned queue is still right.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Takes the newest seat, for which the oldest leaves where there is none.
    fn enter(&mut self, source: Option<Source>, call: Arc<Call>) -> u64 {
        self.make_room(source);
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.waiting.insert(number, (source, call));
        if let Some(source) = source {
            self.by_source.entry(source).or_default().insert(number);
        }
        number
    }

    fn make_room(&mut self, source: Option<Source>) {
        let own = source.and_then(|source| self.by_source.get(&source));
        if own.is_some_and(|own| own.len() >= self.share) {
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
        let Some(source) = source else { return Some(call) };
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
    /// The same visitor, counted among its own network now that this is known. Its old seat is given back
    /// first, so nobody else has to leave but one of that network.
    #[must_use]
    pub(super) fn moved_to(mut self, source: Source) -> StrangerSeat {
        let mut queue = self.strangers.lock();
        let known = queue.waiting.get(&self.number).and_then(|(known, _)| *known);
        if known != Some(source) {
            // Whoever was called out meanwhile has no seat to give back, and hears of it in the next room.
            if let Some(call) = queue.leave(self.number) {
                self.number = queue.enter(Some(source), call);
            }
        }
        drop(queue);
        self
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

    fn peer(ip: &str) -> PeerAddr {
        PeerAddr::new((ip.parse::<std::net::IpAddr>().unwrap(), 1).into())
    }

    fn sits(seat: &StrangerSeat) -> bool {
        !seat.call.token.is_cancelled()
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room() {
        let hall = strangers(2, 2);
        let first = hall.seat(peer("192.0.2.1"));
        let second = hall.seat(peer("192.0.2.2"));
        let third = hall.seat(peer("192.0.2.3"));
        assert_eq!(first.called_out().await, Refusal::AcceptEvicted);
        assert_eq!(hall.seated(), 2);
        assert!(sits(&second) && sits(&third));
    }

    #[tokio::test]
    async fn a_network_takes_seats_only_from_itself() {
        let hall = strangers(10, 2);
        let other = hall.seat(peer("2001:db8:0:1::1"));
        let first = hall.seat(peer("2001:db8::1"));
        let _second = hall.seat(peer("2001:db8::2"));
        let _third = hall.seat(peer("2001:db8::3"));
        assert_eq!(first.called_out().await, Refusal::AcceptSourceShare);
        assert!(sits(&other));
        assert_eq!(hall.seated(), 3);
    }

    #[tokio::test]
    async fn fewer_seats_call_the_oldest_out() {
        let hall = strangers(2, 2);
        let first = hall.seat(peer("192.0.2.1"));
        let second = hall.seat(peer("192.0.2.2"));
        let one = NonZeroUsize::new(1).unwrap();
        hall.resize(Budgets { strangers: one, per_source: one, members: one });
        assert_eq!(first.called_out().await, Refusal::AcceptEvicted);
        assert!(sits(&second));
    }

    #[test]
    fn a_seat_is_given_back_when_it_is_dropped() {
        let hall = strangers(2, 1);
        drop(hall.seat(peer("192.0.2.1")));
        assert_eq!(hall.seated(), 0);
        assert!(hall.lock().by_source.is_empty());
    }

    #[tokio::test]
    async fn a_balancer_has_no_share_even_where_it_is_one_address_of_a_network() {
        for (balancer, neighbour) in [("10.0.0.5", "10.0.0.6"), ("2001:db8::5", "2001:db8::6")] {
            let hall = strangers(20, 2);
            hall.exempt(vec![IpNet::from(peer(balancer).ip())]);
            let brought: Vec<_> = (0..5).map(|_| hall.seat(peer(balancer))).collect();
            assert!(brought.iter().all(sits), "{balancer}");
            let first = hall.seat(peer(neighbour));
            let _rest = [hall.seat(peer(neighbour)), hall.seat(peer(neighbour))];
            assert!(!sits(&first), "{neighbour}");
            assert_eq!(first.called_out().await, Refusal::AcceptSourceShare, "{neighbour}");
            assert!(brought.iter().all(sits), "{balancer}");
        }
    }

    #[test]
    fn to_say_where_one_comes_from_costs_nobody_a_seat() {
        let hall = strangers(2, 2);
        hall.exempt(vec![IpNet::from(peer("10.0.0.5").ip())]);
        let other = hall.seat(peer("192.0.2.1"));
        let brought = hall.seat(peer("10.0.0.5")).moved_to(peer("192.0.2.2").source());
        assert!(sits(&other) && sits(&brought));
        assert_eq!(hall.seated(), 2);
        drop((other, brought));
        assert_eq!(hall.seated(), 0);
        assert!(hall.lock().by_source.is_empty());
    }

    #[tokio::test]
    async fn who_comes_from_a_balancers_own_network_has_a_share_once_that_is_said() {
        let hall = strangers(20, 2);
        hall.exempt(vec!["10.0.0.0/24".parse().unwrap()]);
        let said = || hall.seat(peer("10.0.0.5")).moved_to(peer("10.0.0.9").source());
        let first = said();
        let others = [said(), said()];
        assert!(!sits(&first));
        assert_eq!(first.called_out().await, Refusal::AcceptSourceShare);
        assert!(others.iter().all(sits));
    }

    #[tokio::test]
    async fn who_was_called_out_does_not_get_a_seat_by_moving() {
        let hall = strangers(1, 1);
        hall.exempt(vec!["10.0.0.0/24".parse().unwrap()]);
        let first = hall.seat(peer("10.0.0.5"));
        let second = hall.seat(peer("192.0.2.1"));
        let first = first.moved_to(peer("192.0.2.2").source());
        assert!(!sits(&first) && sits(&second));
        assert_eq!(first.called_out().await, Refusal::AcceptEvicted);
        assert_eq!(hall.seated(), 1);
    }
}

//! Seats for authenticated sessions. A stranger never takes one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Budgets;
use crate::refusal::{Refusal, Refused};

/// The seats of all authenticated sessions.
#[derive(Clone, Debug)]
pub struct Members(Arc<Seats>);

#[derive(Debug)]
struct Seats {
    all: AtomicUsize,
    taken: AtomicUsize,
}

impl Members {
    /// As many seats as the budgets say, all free.
    #[must_use]
    pub fn new(budgets: Budgets) -> Self {
        let all = AtomicUsize::new(budgets.members.get());
        Self(Arc::new(Seats { all, taken: AtomicUsize::new(0) }))
    }

    /// As many seats as the budgets say from now on. Whoever sits keeps the seat, also beyond that.
    pub fn resize(&self, budgets: Budgets) {
        self.0.all.store(budgets.members.get(), Ordering::Relaxed);
    }

    /// How many seats are taken now.
    #[must_use]
    pub fn seated(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// A seat for one session.
    ///
    /// # Errors
    /// [`Refusal::AcceptMembersFull`] where all are taken: a session is never ended for another.
    pub fn seat(&self) -> Result<MemberSeat, Refused> {
        let all = self.0.all.load(Ordering::Relaxed);
        let one_more = |taken: usize| Some(taken.saturating_add(1)).filter(|taken| *taken <= all);
        match self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(MemberSeat(self.clone())),
            Err(_) => Err(Refusal::AcceptMembersFull.because(format!("{all} sessions"))),
        }
    }
}

/// One seat among the members; given back when it is dropped.
#[derive(Debug)]
pub struct MemberSeat(Members);

impl Drop for MemberSeat {
    fn drop(&mut self) {
        self.0.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    fn budgets(members: usize) -> Budgets {
        let number = |n| NonZeroUsize::new(n).unwrap();
        Budgets { strangers: number(1), per_source: number(1), members: number(members) }
    }

    #[test]
    fn a_seat_is_given_back_when_it_is_dropped() {
        let members = Members::new(budgets(1));
        let seat = members.seat().unwrap();
        assert_eq!(members.seat().unwrap_err().refusal(), Refusal::AcceptMembersFull);
        drop(seat);
        assert!(members.seat().is_ok());
        assert_eq!(members.seated(), 0);
    }

    #[test]
    fn fewer_seats_take_nobody_out_of_one() {
        let members = Members::new(budgets(2));
        let seats = [members.seat().unwrap(), members.seat().unwrap()];
        members.resize(budgets(1));
        assert_eq!(members.seated(), 2);
        drop(seats);
        let _only = members.seat().unwrap();
        assert_eq!(members.seat().unwrap_err().refusal(), Refusal::AcceptMembersFull);
    }
}

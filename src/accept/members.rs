//! Seats for authenticated sessions. A stranger never takes one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Budgets;
use crate::refusal::{Refusal, Refused};

/// The seats of all authenticated sessions.
#[derive(Clone, Debug)]
pub struct Members {
    free: Arc<Semaphore>,
    seats: usize,
}

impl Members {
    /// As many seats as the budgets say, all free.
    #[must_use]
    pub fn new(budgets: Budgets) -> Self {
        let seats = budgets.members.get().min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(seats)), seats }
    }

    /// How many seats are taken now.
    #[must_use]
    pub fn seated(&self) -> usize {
        self.seats.saturating_sub(self.free.available_permits())
    }

    /// A seat, if one is free.
    ///
    /// # Errors
    /// [`Refusal::AcceptMembersFull`]: nobody who sits is sent away for a newcomer.
    pub fn seat(&self) -> Result<MemberSeat, Refused> {
        let full = |_| Refusal::AcceptMembersFull.because(format!("{} sessions", self.seats));
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(full)?;
        Ok(MemberSeat { _permit: permit })
    }
}

/// One seat among the members; given back when it is dropped.
#[derive(Debug)]
pub struct MemberSeat {
    _permit: OwnedSemaphorePermit,
}

//! The accept room: who may queue. Strangers and members do not share seats.

mod balancers;
mod descriptors;
mod door;
mod members;
mod socket;
mod strangers;

use std::num::NonZeroUsize;

use crate::peer::PeerAddr;

pub use balancers::{Balancers, Introduced};
pub use descriptors::{Descriptors, descriptors};
pub(crate) use door::{Culprit, culprit};
pub use door::{Door, Trouble};
pub use members::{MemberSeat, Members};
pub use socket::Socket;
pub use strangers::{StrangerSeat, Strangers};

/// How many visitors there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Connections that have not finished the handshake.
    pub strangers: NonZeroUsize,
    /// How many of those may come from one [`crate::peer::Source`].
    pub per_source: NonZeroUsize,
    /// Authenticated sessions.
    pub members: NonZeroUsize,
}

/// A visitor that has a seat among the strangers: nothing is known of it but its address.
///
/// Made by [`Accepted::new`] alone, so whoever holds one has a bounded seat.
#[derive(Debug)]
pub struct Accepted<S> {
    stream: S,
    peer: PeerAddr,
    seat: StrangerSeat,
}

impl<S> Accepted<S> {
    /// A visitor on `stream`, seated among the strangers. Where they are too many, the oldest leaves.
    #[must_use]
    pub fn new(stream: S, peer: PeerAddr, strangers: &Strangers) -> Self {
        Self { stream, peer, seat: strangers.seat(peer) }
    }

    /// Where the visitor comes from.
    #[must_use]
    pub fn peer(&self) -> PeerAddr {
        self.peer
    }

    pub(crate) fn into_parts(self) -> (S, PeerAddr, StrangerSeat) {
        (self.stream, self.peer, self.seat)
    }
}

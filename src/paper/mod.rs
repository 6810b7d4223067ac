//! The hallway on paper: what the rooms would say to a visitor who is not there.
//!
//! The gates are the server's own, asked without a network. What only a running server knows is left
//! out, or handed in: bans. Free seats, and how fast a visitor speaks, are never asked.

mod change;
mod edit;
mod shows;
mod walk;

use crate::address::Bans;
use crate::config::ServiceConfig;
use crate::handshake::{Handshake, HandshakeSettings};
use crate::peer::PeerAddr;
use crate::place::Place;
use crate::refusal::{Refused, Room};

pub use change::{Change, Seeker};
pub use edit::Edit;
pub use shows::{Remembered, Shows};

/// The rooms in front of one service, as a configuration and the files it names describe them.
#[derive(Clone, Copy, Debug)]
pub struct Hallway<'c> {
    /// The service, with its gates.
    pub service: &'c ServiceConfig,
    /// Every service of the configuration: some of them may have the same address list.
    pub services: &'c [ServiceConfig],
    /// What was written about the handshake, for the places.
    pub settings: &'c HandshakeSettings,
    /// The handshake, with its files read.
    pub handshake: &'c Handshake,
    /// The bans of a running server; none where none was asked.
    pub bans: Option<&'c Bans>,
}

/// Somebody who might come.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// Where it comes from.
    pub from: PeerAddr,
    /// The balancer that announces it with the PROXY protocol, if any.
    pub via: Option<PeerAddr>,
    /// The protocols that it offers in TLS (ALPN); none where that is not asked.
    pub alpn: Option<Vec<String>>,
    /// The certificate it shows.
    pub shows: Shows,
    /// Everything it says, as bytes on the wire; none where that is not asked.
    pub words: Option<Vec<u8>>,
}

/// How a visitor fares: the questions of the rooms, in walking order.
#[derive(Clone, Debug)]
pub struct Walk {
    steps: Vec<Step>,
    objections: Vec<Objection>,
}

/// What one room says to one question. Some rooms have two: bans and lists, protocol and certificate.
#[derive(Clone, Debug)]
pub struct Step {
    /// The room.
    pub room: Room,
    /// Its verdict.
    pub verdict: Verdict,
    /// Where the rule that decides is written, where one does.
    pub place: Option<Place>,
}

/// A room's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It lets the visitor on; with what it goes by, in words.
    Passed(String),
    /// It turns the visitor away.
    Refused(Refused),
    /// It was not asked, and why.
    NotAsked(&'static str),
}

/// A room's no, whether or not a room before says no as well.
#[derive(Clone, Debug)]
pub struct Objection {
    /// The reason.
    pub refused: Refused,
    /// Where the rule that decides is written, where one does.
    pub place: Option<Place>,
    /// The smallest change after which this room would say yes.
    pub change: Change,
}

impl Walk {
    /// The questions, in walking order. After the first no, none is asked.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Why the visitor does not get in; none where it does.
    #[must_use]
    pub fn refused(&self) -> Option<&Objection> {
        self.objections.first()
    }

    /// Every no of the hallway: the one that counts, then those it would meet next, as far as they are
    /// known.
    #[must_use]
    pub fn objections(&self) -> &[Objection] {
        &self.objections
    }
}

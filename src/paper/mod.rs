//! The hallway on paper: what the rooms would say to a visitor who is not there.
//!
//! The gates are the server's own, asked without a network. What only a running server knows is left
//! out: bans, free seats, and how fast a visitor speaks.

mod change;
mod edit;

use std::sync::Arc;

use bytes::BytesMut;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::config::ServiceConfig;
use crate::frame::{Decoder, FramePolicy};
use crate::handshake::{Handshake, HandshakeSettings, Presented};
use crate::peer::PeerAddr;
use crate::place::Place;
use crate::refusal::{Refusal, Refused, Room};

pub use change::{Change, Seeker, Told};
pub use edit::Edit;

/// The rooms in front of one service, as a configuration and the files it names describe them.
#[derive(Clone, Copy, Debug)]
pub struct Hallway<'c> {
    /// The service, with its gates.
    pub service: &'c ServiceConfig,
    /// What was written about the handshake, for the places.
    pub settings: &'c HandshakeSettings,
    /// The handshake, with its files read.
    pub handshake: &'c Handshake,
}

/// Somebody who might come.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// Where it comes from.
    pub from: PeerAddr,
    /// The balancer that announces it with the PROXY protocol, if any.
    pub via: Option<PeerAddr>,
    /// The chain it shows, its own certificate first; empty where it shows none.
    pub chain: Vec<CertificateDer<'static>>,
    /// Everything it says, as bytes on the wire; none where that is not asked.
    pub words: Option<Vec<u8>>,
}

/// How a visitor fares: one step a room, in walking order.
#[derive(Clone, Debug)]
pub struct Walk {
    steps: Vec<Step>,
    objections: Vec<Objection>,
}

/// What one room says.
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
    /// The rooms, in walking order. After the first that refuses, none is asked.
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

impl Hallway<'_> {
    /// Walks `visitor` through the rooms at `now`.
    #[must_use]
    pub fn walk(&self, visitor: &Visitor, now: UnixTime) -> Walk {
        let met = visitor.via.unwrap_or(visitor.from);
        let announced = visitor.via.map(|_| visitor.from);
        let accept = self.service.balancers.judge(met, announced);
        let presented = visitor.chain.first().and_then(|leaf| Presented::read(leaf).ok());
        let peer = accept.as_ref().map_or(met, |peer| *peer);
        let steps = if accept.is_ok() {
            vec![
                self.accept(accept, announced.is_some()),
                self.address(peer),
                self.handshake(visitor, met, now),
                self.identity(presented.as_ref(), peer),
                self.frame(visitor.words.as_deref()),
            ]
        } else {
            let rest = [Room::Address, Room::Handshake, Room::Identity, Room::Frame];
            let rest = rest.map(|room| Step::not_asked(room, UNKNOWN_VISITOR));
            std::iter::once(self.accept(accept, true)).chain(rest).collect()
        };
        let seeker = Seeker::showing(peer, presented.as_ref());
        let objections = steps.iter().filter_map(|step| self.objection(step, &seeker)).collect();
        let mut open = true;
        let mut walked = Vec::new();
        for step in steps {
            let refuses = matches!(step.verdict, Verdict::Refused(_));
            walked.push(if open { step } else { Step::not_asked(step.room, TURNED_AWAY) });
            open = open && !refuses;
        }
        Walk { steps: walked, objections }
    }

    fn accept(&self, judged: Result<PeerAddr, Refused>, announced: bool) -> Step {
        let announced = announced && !self.service.balancers.networks().is_empty();
        let how = if announced { "announced as" } else { "comes from" };
        let judged = judged.map(|peer| format!("{how} {}", peer.ip()));
        let decides = !self.service.balancers.networks().is_empty();
        Step::of(Room::Accept, judged, decides.then_some(&self.service.place))
    }

    fn address(&self, peer: PeerAddr) -> Step {
        match self.service.address.judge(peer) {
            Ok(rule) => {
                let what = format!("{} is allowed", rule.network);
                Step::of(Room::Address, Ok(what), Some(&rule.place))
            }
            Err(refused) => {
                let place = refused.rule().cloned();
                let place = place.or_else(|| change::allow_place(self.service));
                Step::of(Room::Address, Err(refused), place.as_ref())
            }
        }
    }

    fn handshake(&self, visitor: &Visitor, met: PeerAddr, now: UnixTime) -> Step {
        let judged = if visitor.via.is_some() && !self.service.balancers.are_at(met) {
            // Nobody listens for its header, which is then where TLS should begin.
            Err(Refusal::HandshakeNotTls.because("a header of the PROXY protocol came first"))
        } else {
            self.handshake.judge_again(&visitor.chain, now)
        };
        let place = match &judged {
            Ok(()) => &self.settings.clients.place,
            Err(refused) => self.handshake_place(refused.refusal()),
        };
        let judged = judged.map(|()| "an authority in clients vouches for it".to_owned());
        Step::of(Room::Handshake, judged, Some(place))
    }

    fn handshake_place(&self, refusal: Refusal) -> &Place {
        let lists = matches!(
            refusal,
            Refusal::HandshakeRevoked | Refusal::HandshakeCrlExpired | Refusal::HandshakeNoCrl
        );
        let list = self.settings.crl.first().filter(|_| lists);
        list.map_or(&self.settings.clients.place, |list| &list.place)
    }

    fn identity(&self, presented: Option<&Presented>, peer: PeerAddr) -> Step {
        let Some(presented) = presented else {
            return Step::not_asked(Room::Identity, UNKNOWN_NAME);
        };
        match self.service.identity.judge(presented, peer) {
            Ok((name, place)) => {
                Step::of(Room::Identity, Ok(format!("{name} is permitted")), Some(place))
            }
            Err(refused) => {
                let place = refused.rule().cloned();
                let place = place.unwrap_or_else(|| self.service.place.clone());
                Step::of(Room::Identity, Err(refused), Some(&place))
            }
        }
    }

    fn frame(&self, words: Option<&[u8]>) -> Step {
        let Some(words) = words else {
            return Step::not_asked(Room::Frame, NOTHING_SAID);
        };
        let judged = judge_frames(&self.service.frame, words);
        let judged = judged.map(|count| match count {
            1 => "1 message is well formed".to_owned(),
            _ => format!("{count} messages are well formed"),
        });
        Step::of(Room::Frame, judged, Some(&self.service.place))
    }

    fn objection(&self, step: &Step, seeker: &Seeker) -> Option<Objection> {
        let Verdict::Refused(refused) = &step.verdict else { return None };
        let rule = refused.rule().map(ToString::to_string);
        let told =
            Told { refusal: refused.refusal(), detail: refused.detail(), rule: rule.as_deref() };
        let change = Change::smallest(self.service, seeker, told);
        Some(Objection { refused: refused.clone(), place: step.place.clone(), change })
    }
}

impl Step {
    fn of(room: Room, judged: Result<String, Refused>, place: Option<&Place>) -> Self {
        let verdict = judged.map_or_else(Verdict::Refused, Verdict::Passed);
        Self { room, verdict, place: place.cloned() }
    }

    fn not_asked(room: Room, why: &'static str) -> Self {
        Self { room, verdict: Verdict::NotAsked(why), place: None }
    }
}

/// How many messages there are in what was said, all of it.
///
/// # Errors
/// As the gate refuses the first message that is none, or what is left at the end.
fn judge_frames(policy: &Arc<FramePolicy>, words: &[u8]) -> Result<u64, Refused> {
    let mut decoder = Decoder::new(Arc::clone(policy));
    let mut buffer = BytesMut::new();
    let mut rest = words;
    let mut count: u64 = 0;
    loop {
        while decoder.decode(&mut buffer)?.is_some() {
            count = count.saturating_add(1);
        }
        // The server reads no more than the gate wants, and the gate must see what it would see there.
        let wanted = decoder.wanted(&buffer).max(1).min(rest.len());
        let Some((next, later)) = rest.split_at_checked(wanted).filter(|_| wanted > 0) else {
            let last = decoder.finish(&mut buffer)?;
            return Ok(count.saturating_add(u64::from(last.is_some())));
        };
        buffer.extend_from_slice(next);
        rest = later;
    }
}

const TURNED_AWAY: &str = "the visitor is gone by then";
const UNKNOWN_VISITOR: &str = "nobody knows where the visitor comes from";
const UNKNOWN_NAME: &str = "there is no certificate that could be read";
const NOTHING_SAID: &str = "no message was given";

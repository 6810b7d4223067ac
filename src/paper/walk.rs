//! The walk: every gate of the hallway, asked in the order in which the server asks.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use ipnet::IpNet;
use rustls::pki_types::UnixTime;

use super::change::{self, Change, Seeker};
use super::{Hallway, Objection, Shows, Step, Verdict, Visitor, Walk};
use crate::address::Bans;
use crate::frame::{Decoder, FramePolicy};
use crate::handshake::Presented;
use crate::peer::PeerAddr;
use crate::place::Place;
use crate::refusal::{Refusal, Refused, Room};

impl Hallway<'_> {
    /// Walks `visitor` through the rooms at `now`.
    #[must_use]
    pub fn walk(&self, visitor: &Visitor, now: UnixTime) -> Walk {
        let met = visitor.via.unwrap_or(visitor.from);
        let announced = visitor.via.map(|_| visitor.from);
        let accept = self.service.balancers.judge(met, announced);
        let presented = visitor.shows.presented();
        let peer = accept.as_ref().map_or(met, |peer| *peer);
        let knows_whom = accept.is_ok();
        let mut steps = vec![self.accept(accept, announced.is_some())];
        if knows_whom {
            steps.extend([self.bans(peer, now), self.address(peer)]);
            steps.extend(self.header(visitor, met));
            steps.extend(self.protocol(visitor));
            steps.extend([
                self.certificate(visitor, now),
                self.identity(presented.as_ref(), peer),
                self.frame(visitor.words.as_deref()),
            ]);
        } else {
            let rest = [Room::Address, Room::Handshake, Room::Identity, Room::Frame];
            steps.extend(rest.map(|room| Step::not_asked(room, UNKNOWN_VISITOR)));
        }
        steps.push(Step::not_asked(Room::Service, NOTHING_CALLED));
        let seeker = Seeker::showing(peer, presented.as_ref());
        let objections = steps.iter().filter_map(|step| self.objection(step, &seeker, now));
        let objections = objections.collect();
        let mut open = true;
        for step in &mut steps {
            if !open {
                *step = Step::not_asked(step.room, TURNED_AWAY);
            }
            open = open && !matches!(step.verdict, Verdict::Refused(_));
        }
        Walk { steps, objections }
    }

    fn accept(&self, judged: Result<PeerAddr, Refused>, announced: bool) -> Step {
        let announced = announced && !self.service.balancers.networks().is_empty();
        let how = if announced { "announced as" } else { "comes from" };
        let judged = judged.map(|peer| format!("{how} {}", peer.ip()));
        let decides = !self.service.balancers.networks().is_empty();
        Step::of(Room::Accept, judged, decides.then_some(&self.service.place))
    }

    fn bans(&self, peer: PeerAddr, now: UnixTime) -> Step {
        let Some(bans) = self.bans else {
            return Step::not_asked(Room::Address, NO_SERVER);
        };
        let judged = bans.judge(peer, clock(now));
        Step::of(Room::Address, judged.map(|()| "no ban covers it".to_owned()), None)
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

    /// From anybody but a balancer nobody listens for a header, which is then where TLS should begin.
    fn header(&self, visitor: &Visitor, met: PeerAddr) -> Option<Step> {
        let unheard = visitor.via.is_some() && !self.service.balancers.are_at(met);
        let refused = Refusal::HandshakeNotTls.because("a header of the PROXY protocol came first");
        unheard.then(|| Step::of(Room::Handshake, Err(refused), Some(&self.service.place)))
    }

    /// Which protocol is spoken in TLS is settled before a certificate is asked for.
    fn protocol(&self, visitor: &Visitor) -> Option<Step> {
        let spoken = &self.service.greeting.alpn;
        if spoken.is_empty() {
            return None;
        }
        let Some(offered) = &visitor.alpn else {
            return Some(Step::not_asked(Room::Handshake, NO_PROTOCOL));
        };
        let judged = self.service.greeting.judge(offered).map(|()| match offered.as_slice() {
            [] => "it offers no protocol, which may be".to_owned(),
            _ => format!("it offers one of {}", spoken.join(", ")),
        });
        Some(Step::of(Room::Handshake, judged, Some(&self.service.place)))
    }

    fn certificate(&self, visitor: &Visitor, now: UnixTime) -> Step {
        let judged = match &visitor.shows {
            Shows::Chain(chain) => self.handshake.judge_again(chain, now),
            Shows::Remembered(_) => return Step::not_asked(Room::Handshake, ONLY_NAMES),
            Shows::Unknown => return Step::not_asked(Room::Handshake, NEVER_SEEN),
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

    fn objection(&self, step: &Step, seeker: &Seeker, now: UnixTime) -> Option<Objection> {
        let Verdict::Refused(refused) = &step.verdict else { return None };
        let change = match (refused.refusal(), self.bans) {
            (Refusal::AddressBanned, Some(bans)) => {
                Change::unban(&around(bans, seeker.peer(), clock(now)))
            }
            _ => Change::smallest(self.service, seeker, refused).at_all(&self.sharing()),
        };
        Some(Objection { refused: refused.clone(), place: step.place.clone(), change })
    }

    /// The other services whose address list is the same one.
    fn sharing(&self) -> Vec<&str> {
        let own = &self.service.address;
        let same = self.services.iter().filter(|other| Arc::ptr_eq(&other.address, own));
        same.map(|other| &*other.name).filter(|name| *name != &*self.service.name).collect()
    }
}

/// Every network around the address that is banned now: ending the ban of one leaves the others.
fn around(bans: &Bans, peer: PeerAddr, now: SystemTime) -> Vec<IpNet> {
    let holds = |network: &IpNet| network.contains(&peer.ip());
    let around = bans.iter().filter(|(network, ban)| holds(network) && ban.until > now);
    around.map(|(network, _)| *network).collect()
}

fn clock(now: UnixTime) -> SystemTime {
    let since = Duration::from_secs(now.as_secs());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
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
const NO_SERVER: &str = "bans are a running server's, and none was asked";
const NO_PROTOCOL: &str = "no protocol was given (--alpn)";
const ONLY_NAMES: &str = "the record holds no certificate, only its names (--cert shows one)";
const NEVER_SEEN: &str = "no certificate was seen (--cert shows one)";
const UNKNOWN_NAME: &str = "there is no certificate that could be read";
const NOTHING_SAID: &str = "no message was given (--frame)";
const NOTHING_CALLED: &str = "nothing is called on paper";

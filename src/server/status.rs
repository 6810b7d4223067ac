//! The state of a running server, as its operator reads it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::house::House;
use crate::audit::{Arrival, Audit, Noted, Session};
use crate::handshake::Ending;

/// The state of a running server. Every text a peer chose is escaped and bounded in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The number of the process.
    pub process: u32,
    /// The configuration file, where there is one.
    pub config: Option<String>,
    /// How long the server has run, in seconds.
    pub seconds: u64,
    /// Whether nobody new is let in any more.
    pub draining: bool,
    /// The sockets that are open, and to whom.
    pub listeners: Vec<Listener>,
    /// What is guarded.
    pub services: Vec<Guarded>,
    /// The open sessions, the oldest first, at most 1,000.
    pub sessions: Vec<Present>,
    /// How many sessions each name has.
    pub names: BTreeMap<String, usize>,
    /// Connections that have not finished the handshake.
    pub strangers: Seats,
    /// Authenticated sessions.
    pub members: Seats,
    /// What has a last day: certificates and revocation lists.
    pub endings: Vec<Ends>,
    /// What the sandbox holds back, a line each; empty where there is none.
    pub sandbox: Vec<String>,
    /// How many visitors passed every gate.
    pub permitted: u64,
    /// How many were refused or cut, by code.
    pub refused: BTreeMap<String, u64>,
    /// How many sessions the policy that is tried would have refused, by code; nothing where none is tried.
    pub would_refuse: Option<BTreeMap<String, u64>>,
    /// The last refusals, the newest first.
    pub last: Vec<Refusal>,
    /// The last visitors that passed every gate, the newest first.
    #[serde(default)]
    pub arrived: Vec<Arrived>,
    /// New states that were put in force, and that were refused.
    pub reloads: Reloads,
    /// Networks that are kept out for a while.
    pub bans: Vec<Banned>,
}

/// One open socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The service it leads to.
    pub service: String,
    /// Its address.
    pub at: SocketAddr,
    /// Whom it is open to, in words.
    pub exposure: String,
    /// Whether the kernel drops whoever the address list refuses; they are in no count and no log.
    pub filtered: bool,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// Its name.
    pub name: String,
    /// What is behind the door.
    pub kind: String,
    /// How many sessions it has.
    pub sessions: usize,
}

/// One open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// The number of the visit.
    pub visit: u64,
    /// The service.
    pub service: String,
    /// The name that was permitted.
    pub name: String,
    /// Where it comes from.
    pub from: String,
    /// How long it has lasted, in seconds.
    pub seconds: u64,
    /// Messages that passed the frame gate.
    pub frames: u64,
    /// Bytes from the visitor.
    pub bytes_in: u64,
    /// Bytes to the visitor.
    pub bytes_out: u64,
}

/// Seats of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// How many are taken.
    pub taken: usize,
    /// How many there are.
    pub all: usize,
}

/// Something with a last day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// What it is.
    pub what: String,
    /// Which one.
    pub name: String,
    /// Its last moment.
    pub at: String,
    /// Whole days left; none when it has ended.
    pub days_left: Option<u64>,
}

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The number of the visit.
    pub visit: u64,
    /// When.
    pub at: String,
    /// The service it came to.
    pub service: String,
    /// The listener it came to.
    pub to: SocketAddr,
    /// Where it came from.
    pub from: String,
    /// Why.
    pub code: String,
    /// What was seen.
    pub detail: String,
    /// Where the rule that decided is written.
    pub rule: Option<String>,
    /// The first names of the certificate that was shown.
    pub names: Vec<String>,
    /// How many names it has besides.
    #[serde(default)]
    pub more_names: usize,
    /// A name in it that is not what its type says.
    #[serde(default)]
    pub bad_name: Option<String>,
    /// The pin of its key; none where no certificate was seen.
    #[serde(default)]
    pub pin: Option<String>,
    /// The balancer it came through, if any.
    #[serde(default)]
    pub via: Option<String>,
}

/// A visitor that passed every gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// The number of the visit.
    pub visit: u64,
    /// When.
    pub at: String,
    /// The service it came to.
    pub service: String,
    /// Where it came from.
    pub from: String,
    /// The name that was permitted.
    pub name: String,
}

/// How often a new state was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloads {
    /// How many are or were in force.
    pub done: u64,
    /// How many were refused.
    pub refused: u64,
    /// When the last one was tried.
    pub last: Option<String>,
    /// Whether the last one was refused, so that files and state differ.
    pub stale: bool,
}

/// A network that is kept out for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Banned {
    /// Which network.
    pub network: String,
    /// When it ends.
    pub until: String,
    /// Why.
    pub why: String,
    /// Who banned it: `operator`, or `refusals` for too many of them.
    pub by: String,
}

impl Status {
    pub(super) fn of(house: &House, audit: &Audit, reloads: &Reloads, running: Duration) -> Self {
        let (config, ground) = (&house.config, &house.ground);
        let present = audit.present();
        let mut names = BTreeMap::new();
        for session in &present {
            let count: &mut usize = names.entry(session.caller.name().to_string()).or_default();
            *count = count.saturating_add(1);
        }
        let filtered: Vec<_> = house.doors.filtered().collect();
        let listener = |(service, at): (std::sync::Arc<str>, SocketAddr)| {
            let exposure = ground.policy.exposure(at, &ground.interfaces);
            let filtered = filtered.contains(&at);
            Listener { service: service.to_string(), at, exposure, filtered }
        };
        let guarded = |service: &crate::config::ServiceConfig| Guarded {
            name: service.name.to_string(),
            kind: service.kind.to_string(),
            sessions: present.iter().filter(|one| one.visit.service == service.name).count(),
        };
        let totals = audit.totals();
        let refused = totals.refused.iter().map(|(code, count)| (code.to_string(), *count));
        let would = totals.would_refuse.iter().map(|(code, count)| (code.to_string(), *count));
        let (strangers, members) = house.seats();
        let sandbox = house.sandbox.as_ref().map(|sandbox| sandbox.report().lines());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            config: config.source.file.as_ref().map(|file| file.display().to_string()),
            seconds: running.as_secs(),
            draining: false,
            listeners: house.doors.list().map(listener).collect(),
            services: config.services.iter().map(guarded).collect(),
            sessions: present.iter().take(MOST_SESSIONS).map(Present::from).collect(),
            names,
            strangers,
            members,
            endings: house.handshake.endings().iter().map(Ends::from).collect(),
            sandbox: sandbox.unwrap_or_default(),
            permitted: totals.permitted,
            refused: refused.collect(),
            would_refuse: config.tried.is_some().then(|| would.collect()),
            last: audit.last_refusals().iter().map(Refusal::from).collect(),
            arrived: audit.arrived().into_iter().map(Arrived::from).collect(),
            reloads: reloads.clone(),
            bans: house
                .bans()
                .now()
                .iter()
                .map(|(network, ban)| Banned::new(network, ban))
                .collect(),
        }
    }
}

impl From<&Session> for Present {
    fn from(session: &Session) -> Self {
        let counted = session.tally.counted();
        Self {
            visit: session.visit.number,
            service: session.visit.service.to_string(),
            name: session.caller.name().to_string(),
            from: session.visit.peer.to_string(),
            seconds: counted.lasted.as_secs(),
            frames: counted.frames_in,
            bytes_in: counted.bytes_in,
            bytes_out: counted.bytes_out,
        }
    }
}

impl From<&Ending> for Ends {
    fn from(ending: &Ending) -> Self {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(ending.at.as_secs()));
        Self {
            what: ending.of.word().to_owned(),
            name: ending.name.clone(),
            at: at.map(moment).unwrap_or_default(),
            days_left: ending.days_left(UnixTime::now()),
        }
    }
}

impl From<&Noted> for Refusal {
    fn from(noted: &Noted) -> Self {
        let shown = noted.shown.as_ref();
        Self {
            visit: noted.visit,
            at: moment(noted.at),
            service: noted.service.to_string(),
            to: noted.listener,
            from: noted.peer.to_string(),
            code: noted.refused.code().to_owned(),
            detail: noted.refused.detail().to_owned(),
            rule: noted.refused.rule().map(ToString::to_string),
            names: shown.map(|shown| shown.names.clone()).unwrap_or_default(),
            more_names: shown.map(|shown| shown.more).unwrap_or_default(),
            bad_name: shown.and_then(|shown| Some(shown.unreadable.as_ref()?.to_string())),
            pin: shown.map(|shown| shown.pin.to_string()),
            via: noted.via.map(|via| via.to_string()),
        }
    }
}

impl From<Arrival> for Arrived {
    fn from(arrival: Arrival) -> Self {
        let Arrival { visit, at, service, peer, name } = arrival;
        Self { visit, at: moment(at), service: service.to_string(), from: peer.to_string(), name }
    }
}

impl Banned {
    fn new(network: &ipnet::IpNet, ban: &crate::address::Ban) -> Self {
        Self {
            network: network.to_string(),
            until: moment(ban.until),
            why: ban.why.to_string(),
            by: ban.by.word().to_owned(),
        }
    }
}

/// A moment as RFC 3339 writes it, in UTC.
pub(super) fn moment(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

/// What a person or a program can look through; the counts tell of all.
const MOST_SESSIONS: usize = 1000;

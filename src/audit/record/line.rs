//! The lines of the audit log: what each event is called, and what it tells. The schema is a contract.

use std::net::SocketAddr;
use std::time::SystemTime;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::address::Ban;
use crate::audit::{Event, Opening, SHOWN, Visit};
use crate::handshake::Presented;
use crate::identity::Caller;
use crate::problem::Problem;
use crate::refusal::Refused;
use crate::service::Counted;

/// One line. Every text a peer chose is escaped and bounded in it; what does not apply is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Line {
    v: u8,
    /// The number of what happened, from 1 at each start; what was lost has used up its numbers.
    pub(super) seq: u64,
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    opened: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    closed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    former: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<String>,
    /// The SHA-256 of the line before, where lines are chained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prev: Option<String>,
}

/// How the run before this one ended, as far as the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Former {
    /// The log is new here.
    None,
    /// In order: everything is written.
    Stopped,
    /// Somehow else: what was queued then is lost, and nobody knows how much that was.
    Killed,
}

/// What is read back of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Read {
    #[serde(default)]
    pub(super) event: String,
    pub(super) prev: Option<String>,
}

impl Line {
    fn new(event: &'static str, at: SystemTime) -> Self {
        Self { v: VERSION, time: moment(at), event, ..Self::default() }
    }

    /// The first line of a run.
    pub(super) fn started(at: SystemTime, former: Former) -> Self {
        let former = match former {
            Former::None => "none",
            Former::Stopped => STOPPED,
            Former::Killed => "killed",
        };
        Self {
            version: Some(env!("CARGO_PKG_VERSION")),
            process: Some(std::process::id()),
            former: Some(former),
            ..Self::new("started", at)
        }
    }

    /// The last line of a run that ended in order.
    pub(super) fn stopped(at: SystemTime) -> Self {
        Self::new(STOPPED, at)
    }

    /// So many events could not be written.
    pub(super) fn lost(at: SystemTime, count: u64) -> Self {
        Self { count: Some(count), ..Self::new("lost", at) }
    }

    /// Half a line was at the end of the file, and was taken away.
    pub(super) fn mended(at: SystemTime, fragment: &[u8]) -> Self {
        let shown = fragment.get(..LONGEST_FRAGMENT).unwrap_or(fragment);
        Self {
            count: u64::try_from(fragment.len()).ok(),
            fragment: Some(String::from_utf8_lossy(shown).into_owned()),
            ..Self::new("mended", at)
        }
    }

    /// The file is another one from here on.
    pub(super) fn reopened(at: SystemTime) -> Self {
        Self::new("reopened", at)
    }

    /// What an event tells.
    pub(super) fn of(event: &Event, at: SystemTime) -> Self {
        match event {
            Event::Permitted(visit, caller) => {
                Self::new("permitted", at).visit(visit).caller(caller)
            }
            Event::Refused(visit, refused, presented) => {
                let line = Self::new("refused", at).visit(visit).refused(refused);
                match presented.as_deref() {
                    Some(shown) => line.presented(shown),
                    None => line,
                }
            }
            Event::Left(visit, caller, counted) => {
                Self::new("left", at).visit(visit).caller(caller).counted(counted)
            }
            Event::Cut(visit, caller, counted, refused) => {
                let line = Self::new("cut", at).visit(visit).caller(caller);
                line.counted(counted).refused(refused)
            }
            Event::WouldRefuse(visit, caller, refused) => {
                Self::new("would-refuse", at).visit(visit).caller(caller).refused(refused)
            }
            Event::More(refusal, source, count) => Self {
                code: Some(refusal.code()),
                from: Some(source.to_string()),
                count: Some(*count),
                ..Self::new("more", at)
            },
            Event::Reloaded { warnings, opened, closed } => {
                Self::new("reloaded", at).told(warnings).doors(opened, closed)
            }
            Event::Banned(network, ban) => Self::new("banned", at).ban(network, ban),
            Event::Lifted(network, ban) => Self::new("lifted", at).ban(network, ban),
            Event::Expired(network, ban) => Self::new("expired", at).ban(network, ban),
            Event::Kept(problems) => Self::new("kept", at).told(problems),
            Event::Rebound { warnings, opened, closed } => {
                Self::new("rebound", at).told(warnings).doors(opened, closed)
            }
        }
    }

    fn visit(self, visit: &Visit) -> Self {
        Self {
            visit: Some(visit.number),
            service: Some(visit.service.to_string()),
            from: Some(visit.peer.ip().to_string()),
            port: Some(visit.peer.port()),
            via: visit.via.map(|via| via.to_string()),
            to: Some(visit.listener),
            ..self
        }
    }

    fn caller(self, caller: &Caller) -> Self {
        let line = self.presented(caller.presented());
        Self {
            name: Some(caller.name().to_string()),
            rule: Some(caller.rule().to_string()),
            ..line
        }
    }

    fn presented(self, presented: &Presented) -> Self {
        let names = presented.names().iter().take(SHOWN).map(ToString::to_string);
        Self {
            subject: Some(presented.subject().to_string()),
            names: names.collect(),
            serial: Some(presented.serial().to_string()),
            pin: Some(presented.pin().to_string()),
            ..self
        }
    }

    fn refused(self, refused: &Refused) -> Self {
        let detail = Some(refused.detail()).filter(|detail| !detail.is_empty());
        Self {
            code: Some(refused.code()),
            detail: detail.map(str::to_owned),
            rule: refused.rule().map(ToString::to_string),
            ..self
        }
    }

    fn counted(self, counted: &Counted) -> Self {
        Self {
            frames: Some(counted.frames_in),
            bytes_in: Some(counted.bytes_in),
            bytes_out: Some(counted.bytes_out),
            milliseconds: u64::try_from(counted.lasted.as_millis()).ok(),
            ..self
        }
    }

    fn ban(self, network: &IpNet, ban: &Ban) -> Self {
        Self {
            network: Some(network.to_string()),
            until: Some(moment(ban.until)),
            by: Some(ban.by.word()),
            detail: Some(ban.why.to_string()),
            ..self
        }
    }

    fn told(self, problems: &[Problem]) -> Self {
        let shown = problems.iter().take(MOST_PROBLEMS);
        let shown = shown.map(|problem| match problem.place() {
            Some(place) => format!("{place} {} {}", problem.fault(), problem.message()),
            None => format!("{} {}", problem.fault(), problem.message()),
        });
        Self { problems: shown.collect(), count: u64::try_from(problems.len()).ok(), ..self }
    }

    fn doors(self, opened: &[Opening], closed: &[Opening]) -> Self {
        let at = |doors: &[Opening]| {
            doors.iter().map(|door| format!("{} {}", door.service, door.at)).collect()
        };
        Self { opened: at(opened), closed: at(closed), ..self }
    }

    /// What a person reads first.
    pub(super) fn message(&self) -> String {
        let code = self.code.map(|code| format!(" {code}")).unwrap_or_default();
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let from = self.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
        let network = self.network.as_ref().map(|network| format!(" {network}"));
        let network = network.unwrap_or_default();
        let count = self.count.map(|count| format!(" ({count})")).unwrap_or_default();
        format!("{}{code}{name}{from}{network}{count}", self.event)
    }

    /// How much it matters, as syslog counts: 3 an error, 4 a warning, 6 information.
    pub(super) fn priority(&self) -> u8 {
        match self.event {
            "kept" | "lost" | "mended" => 3,
            "refused" | "cut" | "more" | "banned" | "would-refuse" => 4,
            _ => 6,
        }
    }
}

/// A moment as RFC 3339 writes it, in UTC, to the microsecond.
pub(in crate::audit) fn moment(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let at = at.replace_microsecond(at.microsecond()).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}

/// What the last line of a run that ended in order is called.
pub(super) const STOPPED: &str = "stopped";
/// A field may be added at any time; a change of what one means takes a new number.
const VERSION: u8 = 1;
/// Whoever reloads sees all of them; the log tells what it was about.
const MOST_PROBLEMS: usize = 16;
/// Half of a line is at most a line.
const LONGEST_FRAGMENT: usize = 4096;

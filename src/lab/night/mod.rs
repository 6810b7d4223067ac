//! A night in the log of a guarded service: what happens in it (exercise 22), and rules that look for attackers.

pub(crate) mod rules;

use serde::{Deserialize, Serialize};

use super::seed::{Dice, Seed};

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// Seconds since 22:00.
    pub(crate) at: u32,
    pub(crate) from: String,
    /// The port that was asked for.
    pub(crate) port: u16,
    /// The name in the certificate, where one was shown.
    pub(crate) name: String,
    pub(crate) verdict: String,
    /// Why not.
    pub(crate) code: String,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// Somebody who is to be found.
#[derive(Clone, Debug)]
pub(crate) struct Attacker {
    pub(crate) kind: Kind,
    /// The address, and the name where it has one that is its own.
    pub(crate) known_as: Vec<String>,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Asks for one port after the other.
    Scan,
    /// Shows one wrong badge after the other.
    Brute,
    /// The same, once every few minutes, all night.
    Slow,
    /// Fetches more than anybody needs, with a real badge.
    Copy,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Scan, Self::Brute, Self::Slow, Self::Copy];

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Scan => "the port scan",
            Self::Brute => "the badge brute force",
            Self::Slow => "the slow probe",
            Self::Copy => "the midnight copy",
        }
    }
}

/// A night from 22:00 to 06:00.
#[derive(Clone, Debug)]
pub(crate) struct Night {
    pub(crate) events: Vec<Event>,
    pub(crate) attackers: Vec<Attacker>,
}

impl Night {
    /// The night that grows from this seed.
    pub(crate) fn of(seed: &Seed) -> Self {
        let mut maker = Maker { dice: seed.dice("night"), events: Vec::new() };
        maker.ordinary();
        maker.machines();
        maker.morning();
        let attackers = vec![maker.scan(), maker.brute(), maker.slow(), maker.copy()];
        let mut events = maker.events;
        events.sort_by_key(|event| event.at);
        Self { events, attackers }
    }

    /// As a file, a line for each event.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<_> =
            self.events.iter().filter_map(|event| serde_json::to_string(event).ok()).collect();
        lines.join("\n")
    }
}

struct Maker {
    dice: Dice,
    events: Vec<Event>,
}

impl Maker {
    fn between(&mut self, least: u32, most: u32) -> u32 {
        self.dice.below(most.saturating_sub(least).saturating_add(1)).saturating_add(least)
    }

    fn served(&mut self, at: u32, from: &str, name: &str, bytes: (u32, u32)) {
        let (bytes_in, bytes_out) = bytes;
        self.events.push(Event {
            at,
            from: from.to_owned(),
            port: SERVICE,
            name: name.to_owned(),
            verdict: "served".to_owned(),
            code: String::new(),
            bytes_in: bytes_in.into(),
            bytes_out: bytes_out.into(),
        });
    }

    fn refused(&mut self, at: u32, from: &str, asked: (u16, &str), code: &str) {
        let (port, name) = asked;
        self.events.push(Event {
            at,
            from: from.to_owned(),
            port,
            name: name.to_owned(),
            verdict: "refused".to_owned(),
            code: code.to_owned(),
            bytes_in: 0,
            bytes_out: 0,
        });
    }

    /// Staff who work late, and sometimes take the wrong badge.
    fn ordinary(&mut self) {
        for _ in 0..500 {
            let at = self.between(0, END);
            let who = self.between(1, STAFF);
            let (from, name) = (format!("10.66.20.{who}"), format!("staff-{who}.school.test"));
            if self.between(1, 100) <= 4 {
                self.refused(at, &from, (SERVICE, &name), "identity.no-rule");
            } else {
                let (bytes_in, bytes_out) =
                    (self.between(200, 90_000), self.between(200, 4_000_000));
                self.served(at, &from, &name, (bytes_in, bytes_out));
            }
        }
    }

    /// A monitor that asks for the health of the service, and a backup that is large and comes every hour.
    fn machines(&mut self) {
        for at in (0..END).step_by(20) {
            self.served(at, "10.66.0.5", "monitor.school.test", (60, 20));
        }
        for hour in 0..8_u32 {
            let begin = hour.saturating_mul(3600).saturating_add(self.between(60, 300));
            for _ in 0..30 {
                let at = begin.saturating_add(self.between(0, 1500));
                let bytes_in = self.between(50_000_000, 200_000_000);
                self.served(at, "10.66.0.7", "backup.school.test", (bytes_in, 900));
            }
        }
    }

    /// The exam morning: a class behind one address, and everybody else at once.
    fn morning(&mut self) {
        for _ in 0..270 {
            let at = self.between(27_000, 28_200);
            let pupil = self.between(1, 200);
            let name = format!("pupil-{pupil}.school.test");
            if self.between(1, 100) <= 15 {
                self.refused(at, "10.66.40.1", (SERVICE, &name), "handshake.expired");
            } else {
                self.served(at, "10.66.40.1", &name, (400, 60_000));
            }
        }
        for pupil in 1..=150_u32 {
            let at = self.between(27_000, END);
            let (from, name) = (format!("10.66.50.{pupil}"), format!("pupil-{pupil}.school.test"));
            if self.between(1, 100) <= 20 {
                self.refused(at, &from, (SERVICE, &name), "handshake.expired");
            }
            self.served(at.saturating_add(5), &from, &name, (400, 60_000));
        }
    }

    fn scan(&mut self) -> Attacker {
        let from = self.stranger(60);
        let first = self.between(1000, 20_000);
        let mut at = first;
        let mut port = u16::try_from(self.between(20, 2000)).unwrap_or(20);
        for _ in 0..self.between(40, 60) {
            self.refused(at, &from, (port, ""), "bind.closed");
            at = at.saturating_add(self.between(2, 7));
            port = port.saturating_add(u16::try_from(self.between(1, 300)).unwrap_or(1));
        }
        Attacker { kind: Kind::Scan, known_as: vec![from], first, last: at }
    }

    fn brute(&mut self) -> Attacker {
        let from = self.stranger(90);
        let first = self.between(2000, 24_000);
        let mut at = first;
        for _ in 0..self.between(50, 70) {
            self.refused(at, &from, (SERVICE, ""), "handshake.unknown-authority");
            at = at.saturating_add(self.between(2, 9));
        }
        Attacker { kind: Kind::Brute, known_as: vec![from], first, last: at }
    }

    fn slow(&mut self) -> Attacker {
        let from = self.stranger(120);
        let first = self.between(60, 400);
        let mut at = first;
        while at < END {
            let guess = self.between(1, 900);
            let name = format!("guest-{guess}.school.test");
            self.refused(at, &from, (SERVICE, &name), "identity.no-rule");
            at = at.saturating_add(self.between(330, 540));
        }
        Attacker { kind: Kind::Slow, known_as: vec![from], first, last: END }
    }

    fn copy(&mut self) -> Attacker {
        let who = self.between(1, STAFF);
        // The badge is real, and the address is not where its owner sits.
        let (from, name) = (self.stranger(150), format!("staff-{who}.school.test"));
        let first = self.between(6600, 8400);
        let mut at = first;
        for _ in 0..self.between(25, 35) {
            let bytes = self.between(70_000_000, 110_000_000);
            self.served(at, &from, &name, (900, bytes));
            at = at.saturating_add(self.between(30, 70));
        }
        Attacker { kind: Kind::Copy, known_as: vec![from, name], first, last: at }
    }

    /// An address that nobody else has, in one of thirty networks.
    fn stranger(&mut self, first: u32) -> String {
        let (third, fourth) = (self.between(first, first.saturating_add(29)), self.between(2, 250));
        format!("10.66.{third}.{fourth}")
    }
}

/// The service's port.
const SERVICE: u16 = 443;
/// 06:00, in seconds since 22:00.
pub(crate) const END: u32 = 28_800;
/// How many work late.
const STAFF: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_the_same_from_the_same_seed_and_has_four_attackers() {
        let night = Night::of(&Seed::named("a"));
        assert_eq!(night.text(), Night::of(&Seed::named("a")).text());
        assert_ne!(night.text(), Night::of(&Seed::named("b")).text());
        assert_eq!(night.attackers.len(), Kind::ALL.len());
        assert!(night.events.is_sorted_by_key(|event| event.at));
        assert!(night.events.len() > 2000, "{}", night.events.len());
    }
}

//! The packet filter of exercise 08: a table of rules, and packets that are held against it one by one.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What is seen of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Packet {
    pub(crate) direction: Direction,
    /// Of the host outside.
    pub(crate) peer: String,
    pub(crate) from_port: u16,
    pub(crate) to_port: u16,
    /// Whether it asks for a connection: SYN without ACK.
    pub(crate) opens: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    In,
    Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Accept,
    Drop,
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    default: Verdict,
    #[serde(default)]
    rule: Vec<Rule>,
}

/// What is not written fits every packet. The first rule that fits decides.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rule {
    direction: Option<Direction>,
    from_port: Option<u16>,
    to_port: Option<u16>,
    state: Option<State>,
    verdict: Verdict,
}

/// What only a filter with a memory can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// It asks for a connection.
    New,
    /// It belongs to one that was let through.
    Established,
}

/// Prints a verdict for each packet of a file, a line each.
///
/// # Errors
/// In a sentence: what in the files cannot be used.
pub(crate) fn judge(file: &Path, packets: &Path) -> Result<(), String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let table: Table =
        toml::from_str(&read(file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut known = BTreeSet::new();
    for line in read(packets)?.lines() {
        let packet: Packet = serde_json::from_str(line)
            .map_err(|error| format!("{}: {error}", packets.display()))?;
        let word = match table.verdict(&packet, &mut known) {
            Verdict::Accept => "accept",
            Verdict::Drop => "drop",
        };
        drop(writeln!(std::io::stdout(), "{word}"));
    }
    Ok(())
}

/// A connection by the host outside, its port, and ours.
type Connection = (String, u16, u16);

impl Table {
    fn verdict(&self, packet: &Packet, known: &mut BTreeSet<Connection>) -> Verdict {
        let connection = packet.connection();
        let state = if known.contains(&connection) {
            Some(State::Established)
        } else {
            packet.opens.then_some(State::New)
        };
        let rule = self.rule.iter().find(|rule| rule.fits(packet, state));
        let verdict = rule.map_or(self.default, |rule| rule.verdict);
        if verdict == Verdict::Accept && packet.opens {
            known.insert(connection);
        }
        verdict
    }
}

impl Rule {
    fn fits(&self, packet: &Packet, state: Option<State>) -> bool {
        self.direction.is_none_or(|own| own == packet.direction)
            && self.from_port.is_none_or(|own| own == packet.from_port)
            && self.to_port.is_none_or(|own| own == packet.to_port)
            && self.state.is_none_or(|own| Some(own) == state)
    }
}

impl Packet {
    fn connection(&self) -> Connection {
        let (theirs, ours) = match self.direction {
            Direction::In => (self.from_port, self.to_port),
            Direction::Out => (self.to_port, self.from_port),
        };
        (self.peer.clone(), theirs, ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_known_by_the_packet_that_asked() {
        let table: Table = toml::from_str(
            "default = \"drop\"\n[[rule]]\nstate = \"established\"\nverdict = \"accept\"\n\
             [[rule]]\ndirection = \"out\"\nverdict = \"accept\"\n",
        )
        .unwrap();
        let mut known = BTreeSet::new();
        let packet = |direction, from_port, to_port, opens| Packet {
            direction,
            peer: "10.66.0.9".to_owned(),
            from_port,
            to_port,
            opens,
        };
        let mut verdict = |packet: &Packet| table.verdict(packet, &mut known);
        assert_eq!(verdict(&packet(Direction::In, 443, 50_000, false)), Verdict::Drop);
        assert_eq!(verdict(&packet(Direction::Out, 50_000, 443, true)), Verdict::Accept);
        assert_eq!(verdict(&packet(Direction::In, 443, 50_000, false)), Verdict::Accept);
        assert_eq!(verdict(&packet(Direction::In, 443, 8081, true)), Verdict::Drop);
    }
}

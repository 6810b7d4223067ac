//! Which of a door's visitors a condition of the host's rules speaks of.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::ruleset::{Name, Ruleset, only};
use super::spans::Spans;

/// The sources of which something is surely true, and those of which it may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) surely: Spans,
    pub(super) maybe: Spans,
}

/// The first packet of a visitor from elsewhere, but for its source.
pub(super) struct Packet<'r> {
    pub(super) v4: bool,
    /// Where it goes; one of the host's addresses where none is given.
    pub(super) to: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) rules: &'r Ruleset,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Source,
    Target,
    Port,
    /// TCP, UDP and so on.
    Transport,
    /// IPv4 or IPv6.
    Family,
    Interface,
    /// What is known of its connection.
    State,
    /// Something that such a packet does not have, so that the condition does not hold.
    Absent,
    Unknown,
}

impl Sources {
    pub(super) fn exactly(spans: Spans) -> Self {
        Self { surely: spans.clone(), maybe: spans }
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self { surely: self.surely.and(&other.surely), maybe: self.maybe.and(&other.maybe) }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.surely = self.surely.or(&other.surely);
        self.maybe = self.maybe.or(&other.maybe);
    }

    /// Takes out what goes another way.
    pub(super) fn take(&mut self, gone: &Self) {
        self.surely = self.surely.without(&gone.maybe);
        self.maybe = self.maybe.without(&gone.surely);
    }
}

impl Packet<'_> {
    pub(super) fn everybody(&self) -> Sources {
        Sources::exactly(Spans::all(self.v4))
    }

    /// Perhaps everybody, because nobody knows.
    pub(super) fn anybody(&self) -> Sources {
        Sources { surely: Spans::default(), maybe: Spans::all(self.v4) }
    }

    fn all_or_none(&self, all: bool) -> Sources {
        if all { self.everybody() } else { Sources::default() }
    }

    /// Of whom a `match` holds.
    pub(super) fn matching(&self, table: &Name, condition: &Value) -> Sources {
        let part = |key: &str| condition.get(key).unwrap_or(&Value::Null);
        let (left, right) = (part("left"), part("right"));
        if self.fields(left).contains(&Field::Absent) {
            return Sources::default();
        }
        match part("op").as_str() {
            Some("==" | "in") => self.holding(table, left, right),
            Some("!=") => {
                let mut rest = self.everybody();
                rest.take(&self.holding(table, left, right));
                rest
            }
            Some(order @ ("<" | ">" | "<=" | ">=")) => self.ordered(left, order, right),
            _ => self.anybody(),
        }
    }

    /// Of whom it is true that `left` is one of what `right` says.
    pub(super) fn holding(&self, table: &Name, left: &Value, right: &Value) -> Sources {
        let any = |values: &[Value]| {
            let mut all = Sources::default();
            for value in values {
                all.add(&self.holding(table, left, value));
            }
            all
        };
        let fields = self.fields(left);
        if fields.contains(&Field::Absent) {
            return Sources::default();
        }
        if let Value::Array(values) = right {
            // A list of flags says something else of anything but a state.
            return if fields == [Field::State] { any(values) } else { self.anybody() };
        }
        if let Some(name) = right.as_str().filter(|name| name.starts_with('@')) {
            return self.rules.set(table, name).map_or_else(|| self.anybody(), any);
        }
        match only(right) {
            Some(("set", Value::Array(values))) => any(values),
            Some(("elem", element)) => {
                self.holding(table, left, element.get("val").unwrap_or(&Value::Null))
            }
            Some(("concat", Value::Array(values))) if values.len() == fields.len() => {
                let each = fields.iter().zip(values).map(|(field, value)| self.one(*field, value));
                each.fold(self.everybody(), |all, one| all.and(&one))
            }
            _ => match fields.as_slice() {
                [field] => self.one(*field, right),
                _ => self.anybody(),
            },
        }
    }

    fn ordered(&self, left: &Value, order: &str, right: &Value) -> Sources {
        let bound = right.as_u64().filter(|_| self.fields(left) == [Field::Port]);
        let Some(bound) = bound else { return self.anybody() };
        let port = u64::from(self.port);
        self.all_or_none(match order {
            "<" => port < bound,
            ">" => port > bound,
            "<=" => port <= bound,
            _ => port >= bound,
        })
    }

    /// What a left side looks at; several for a concatenation.
    fn fields(&self, left: &Value) -> Vec<Field> {
        match only(left) {
            Some(("concat", Value::Array(parts))) => {
                parts.iter().map(|part| self.field(part)).collect()
            }
            _ => vec![self.field(left)],
        }
    }

    fn field(&self, left: &Value) -> Field {
        let Some((kind, what)) = only(left) else { return Field::Unknown };
        let word = |key: &str| what.get(key).and_then(Value::as_str).unwrap_or_default();
        match (kind, word("key")) {
            ("payload", _) => self.payload(word("protocol"), word("field")),
            ("meta", "l4proto") => Field::Transport,
            ("meta", "nfproto" | "protocol") => Field::Family,
            ("meta", "iif" | "iifname") => Field::Interface,
            ("ct", "state") if !self.rules.untracked => Field::State,
            _ => Field::Unknown,
        }
    }

    fn payload(&self, protocol: &str, field: &str) -> Field {
        let own = if self.v4 { "ip" } else { "ip6" };
        match (protocol, field) {
            ("ip" | "ip6", _) if protocol != own => Field::Absent,
            ("ip" | "ip6", "saddr") => Field::Source,
            ("ip" | "ip6", "daddr") => Field::Target,
            ("ip", "protocol") | ("ip6", "nexthdr") => Field::Transport,
            ("tcp" | "th", "dport") => Field::Port,
            (
                "udp" | "udplite" | "icmp" | "icmpv6" | "igmp" | "sctp" | "dccp" | "esp" | "ah"
                | "arp",
                _,
            ) => Field::Absent,
            _ => Field::Unknown,
        }
    }

    /// Of whom it is true that a field has this one value.
    fn one(&self, field: Field, value: &Value) -> Sources {
        if value == "*" && field != Field::Interface {
            return self.everybody();
        }
        if let Some(("elem", element)) = only(value) {
            return self.one(field, element.get("val").unwrap_or(&Value::Null));
        }
        match field {
            Field::Source => addresses(value).map_or_else(|| self.anybody(), Sources::exactly),
            Field::Target => self.target(value),
            Field::Port => match ports(value) {
                Some((first, last)) => self.all_or_none(first <= self.port && self.port <= last),
                None => self.anybody(),
            },
            Field::Transport => self.all_or_none(value == "tcp" || *value == TCP),
            Field::Family => {
                let own: [Value; 3] = if self.v4 {
                    ["ipv4".into(), "ip".into(), 2.into()]
                } else {
                    ["ipv6".into(), "ip6".into(), 10.into()]
                };
                self.all_or_none(own.contains(value))
            }
            // Nobody from elsewhere comes in there.
            Field::Interface if value == "lo" => Sources::default(),
            Field::State => self.all_or_none(value == "new"),
            Field::Absent => Sources::default(),
            Field::Interface | Field::Unknown => self.anybody(),
        }
    }

    fn target(&self, value: &Value) -> Sources {
        match (addresses(value), self.to) {
            (Some(spans), Some(to)) => {
                self.all_or_none(!spans.and(&Spans::between(to, to)).is_empty())
            }
            (Some(_) | None, _) => self.anybody(),
        }
    }
}

/// An address, a network or a range.
fn addresses(value: &Value) -> Option<Spans> {
    if let Some(ip) = value.as_str() {
        let ip = ip.parse().ok()?;
        return Some(Spans::between(ip, ip));
    }
    match only(value)? {
        ("prefix", prefix) => {
            let ip: IpAddr = prefix.get("addr")?.as_str()?.parse().ok()?;
            let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
            let network = IpNet::new(ip, length).ok()?;
            Some(Spans::between(network.network(), network.broadcast()))
        }
        ("range", ends) => {
            let end = |at: usize| ends.get(at)?.as_str()?.parse().ok();
            Some(Spans::between(end(0)?, end(1)?))
        }
        _ => None,
    }
}

fn ports(value: &Value) -> Option<(u16, u16)> {
    let port = |value: &Value| u16::try_from(value.as_u64()?).ok();
    match only(value) {
        Some(("range", ends)) => Some((port(ends.get(0)?)?, port(ends.get(1)?)?)),
        _ => Some((port(value)?, port(value)?)),
    }
}

/// The number of TCP (RFC 9293).
const TCP: u16 = 6;

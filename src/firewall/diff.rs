//! Where the rules of a host let more addresses knock than the configuration does.
//!
//! The host's rules are walked once for a door, with all sources at the same time. Where a condition is not
//! understood, both ways are gone: what comes in then is let in perhaps.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use super::matches::{Packet, Sources};
use super::ruleset::{Chain, Hook, Name, Ruleset, only};
use super::spans::Spans;
use super::{Door, Policy};
use crate::place::Place;

/// How a host's rules differ from the configuration at one door.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The service behind the door.
    pub service: Arc<str>,
    /// The door.
    pub at: SocketAddr,
    /// Where the service is written.
    pub place: Place,
    /// Who is refused by the gate, and let through by the host.
    pub wider: Addresses,
    /// Who is refused by the gate, and let through by the host if a condition holds that is not understood.
    pub perhaps: Addresses,
    /// Who may knock, and is surely dropped by the host.
    pub narrower: Addresses,
}

/// Addresses of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// As networks, the fewest that there are.
    pub networks: Vec<IpNet>,
    /// How many they are.
    pub count: u128,
}

impl Policy {
    /// How the host's rules differ at each door. Addresses that no packet from elsewhere has as its source are
    /// left out; so is what a redirection to the door makes of other ports.
    #[must_use]
    pub fn differences(&self, host: &Ruleset) -> Vec<Difference> {
        self.doors.iter().map(|door| difference(door, host)).collect()
    }
}

fn difference(door: &Door, host: &Ruleset) -> Difference {
    let v4 = door.at.is_ipv4();
    let packet = Packet { v4, to: door.bound(), port: door.at.port(), rules: host };
    let passes = Walker { packet: &packet, rules: host, steps: MOST_STEPS }.host();
    let mut allowed = Spans::default();
    for span in &door.allowed {
        allowed = allowed.or(&Spans::between(span.first, span.last));
    }
    let possible = possible(v4);
    let addresses = |spans: &Spans| {
        let spans = spans.and(&possible);
        Addresses { networks: spans.networks(v4), count: spans.count() }
    };
    Difference {
        service: Arc::clone(&door.service),
        at: door.at,
        place: door.place.clone(),
        wider: addresses(&passes.surely.without(&allowed)),
        perhaps: addresses(&passes.maybe.without(&passes.surely).without(&allowed)),
        narrower: addresses(&allowed.without(&passes.maybe)),
    }
}

/// The sources that a packet from elsewhere can have (RFC 6890): neither this host, nor many.
fn possible(v4: bool) -> Spans {
    let never: &[&str] = if v4 {
        &["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32"]
    } else {
        &["::/127", "::ffff:0:0/96", "ff00::/8"]
    };
    let networks = never.iter().filter_map(|network| network.parse::<IpNet>().ok());
    networks.fold(Spans::all(v4), |rest, network| {
        rest.without(&Spans::between(network.network(), network.broadcast()))
    })
}

/// How a packet fares in a chain.
struct Fared<'n> {
    chain: &'n Name,
    /// How many jumps led here.
    depth: u8,
    /// Those who are at the next rule.
    here: Sources,
    accepted: Sources,
    /// Those whom the chain lets go back to where they came from.
    through: Sources,
}

struct Walker<'r> {
    packet: &'r Packet<'r>,
    rules: &'r Ruleset,
    /// What is left of them: chains that jump to each other can take for ever.
    steps: u32,
}

impl<'r> Walker<'r> {
    /// Who passes every chain that a packet for the door enters.
    fn host(mut self) -> Sources {
        let mut passes = self.packet.everybody();
        let rules = self.rules;
        let own = if self.packet.v4 { "ip" } else { "ip6" };
        let seen = |(family, ..): &Name| [own, "inet", "netdev"].contains(&family.as_str());
        for (name, chain, hook) in rules.entered().filter(|(name, ..)| seen(name)) {
            let accepted = self.enter(name, chain, hook);
            match hook.name.as_str() {
                "input" => passes = passes.and(&accepted),
                // What is sent on from another port was another packet there.
                "prerouting" if hook.kind != "nat" && !rules.redirects => {
                    passes = passes.and(&accepted);
                }
                // It depends on the device which packets it sees.
                "prerouting" | "ingress" => passes.surely = passes.surely.and(&accepted.surely),
                _ => {}
            }
        }
        passes
    }

    fn enter(&mut self, name: &Name, chain: &'r Chain, hook: &Hook) -> Sources {
        let (mut accepted, through) = self.chain(name, chain, self.packet.everybody(), 0);
        if !hook.drops {
            accepted.add(&through);
        }
        accepted
    }

    /// Who is accepted in the chain, and whom it lets go back to where they came from.
    fn chain(
        &mut self,
        name: &Name,
        chain: &'r Chain,
        here: Sources,
        depth: u8,
    ) -> (Sources, Sources) {
        let (accepted, through) = (Sources::default(), Sources::default());
        let mut fared = Fared { chain: name, depth, here, accepted, through };
        for rule in &chain.rules {
            let Some(left) = self.steps.checked_sub(1) else {
                // Nobody looks on, and whoever is here now may get anywhere.
                let hit = fared.here.clone();
                fared.unknown(&hit);
                break;
            };
            self.steps = left;
            self.rule(rule, &mut fared);
        }
        fared.through.add(&fared.here);
        (fared.accepted, fared.through)
    }

    fn rule(&mut self, rule: &'r [Value], fared: &mut Fared<'_>) {
        let mut hit = fared.here.clone();
        for statement in rule {
            let Some((kind, what)) = only(statement) else {
                hit.surely = Spans::default();
                continue;
            };
            match kind {
                "match" => hit = hit.and(&self.packet.matching(fared.chain, what)),
                "counter" | "log" | "comment" | "mangle" | "notrack" => {}
                "vmap" => hit = self.map(what, &hit, fared),
                _ if is_verdict(kind, what) => {
                    return self.verdict(statement, &hit, fared);
                }
                // A limit, or something newer: it may hold or not.
                _ => hit.surely = Spans::default(),
            }
        }
    }

    /// Verdicts by the value of something; gives back who goes on in the rule.
    fn map(&mut self, map: &'r Value, hit: &Sources, fared: &mut Fared<'_>) -> Sources {
        let elements = match map.get("data") {
            Some(Value::String(named)) => self.rules.set(fared.chain, named),
            data => data.and_then(|data| data.get("set")?.as_array()).map(Vec::as_slice),
        };
        let (Some(key), Some(elements)) = (map.get("key"), elements) else {
            fared.unknown(hit);
            return Sources { surely: Spans::default(), maybe: hit.maybe.clone() };
        };
        // What stands for everything else is asked last.
        let rest = |element: &&Value| element.get(0).is_some_and(|key| key == "*");
        let (last, first): (Vec<_>, Vec<_>) = elements.iter().partition(rest);
        let mut unmapped = hit.clone();
        let mut goes_on = Sources::default();
        for element in first.into_iter().chain(last) {
            let (Some(value), Some(verdict)) = (element.get(0), element.get(1)) else { continue };
            let one = unmapped.and(&self.packet.holding(fared.chain, key, value));
            if verdict.get("continue").is_some() {
                goes_on.add(&one);
            } else {
                self.verdict(verdict, &one, fared);
            }
            unmapped.take(&one);
        }
        goes_on
    }

    fn verdict(&mut self, verdict: &'r Value, hit: &Sources, fared: &mut Fared<'_>) {
        let Some((kind, what)) = only(verdict) else { return fared.unknown(hit) };
        match kind {
            "continue" => {}
            "accept" => {
                fared.accepted.add(hit);
                fared.here.take(hit);
            }
            "drop" => fared.here.take(hit),
            "reject" if self.rejects(what) => fared.here.take(hit),
            "reject" => fared.here.surely = fared.here.surely.without(&hit.maybe),
            "return" => {
                fared.through.add(hit);
                fared.here.take(hit);
            }
            "jump" | "goto" => {
                let target = what.get("target").and_then(Value::as_str);
                let target = target.and_then(|target| self.rules.chain(fared.chain, target));
                let Some((target, chain)) = target.filter(|_| fared.depth < DEEPEST) else {
                    return fared.unknown(hit);
                };
                let deeper = fared.depth.saturating_add(1);
                let (accepted, through) = self.chain(&target, chain, hit.clone(), deeper);
                fared.here.take(hit);
                fared.accepted.add(&accepted);
                let after = if kind == "jump" { &mut fared.here } else { &mut fared.through };
                after.add(&through);
            }
            _ => fared.unknown(hit),
        }
    }

    /// An answer of one family is for packets of that family.
    fn rejects(&self, how: &Value) -> bool {
        let foreign = if self.packet.v4 { "icmpv6" } else { "icmp" };
        how.get("type").is_none_or(|kind| kind != foreign)
    }
}

impl Fared<'_> {
    /// Something may accept them, drop them, or let the next rule decide.
    fn unknown(&mut self, hit: &Sources) {
        let perhaps = Sources { surely: Spans::default(), maybe: hit.maybe.clone() };
        self.accepted.add(&perhaps);
        self.here.surely = self.here.surely.without(&hit.maybe);
    }
}

fn is_verdict(kind: &str, what: &Value) -> bool {
    let foreign = kind == "xt" && what.get("type").is_some_and(|kind| kind == "target");
    foreign
        || matches!(
            kind,
            "accept"
                | "drop"
                | "reject"
                | "return"
                | "continue"
                | "jump"
                | "goto"
                | "queue"
                | "dnat"
                | "snat"
                | "masquerade"
                | "redirect"
                | "tproxy"
                | "synproxy"
                | "fwd"
        )
}

/// As deep as the kernel jumps (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: u8 = 16;
/// A hundred times the rules of a large host.
const MOST_STEPS: u32 = 1_000_000;

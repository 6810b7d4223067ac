//! The address policy as rules of the host's firewall, for defence in depth.
//!
//! The rules say what the address gate says, no more and no less: most specific network first, resolved
//! beforehand into ranges that do not overlap. Only the doors of a configuration are spoken of; no other port
//! of the host is opened or closed.

mod commands;
mod diff;
mod matches;
mod nftables;
mod ruleset;
mod spans;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use crate::address::{AddressGate, Effect, NetworkRule};
use crate::bind::Interfaces;
use crate::config::{Config, ServiceConfig};
use crate::peer::PeerText;
use crate::place::Place;

pub use diff::{Addresses, Difference};
pub use ruleset::Ruleset;

/// Who may knock where, as a firewall can be told.
#[derive(Clone, Debug)]
pub struct Policy {
    doors: Vec<Door>,
    /// The listeners that have no rules, and why.
    left_out: Vec<String>,
}

/// A socket that others than this machine can reach.
#[derive(Clone, Debug)]
struct Door {
    service: Arc<str>,
    at: SocketAddr,
    /// Where the service is written.
    place: Place,
    /// Whether balancers announce who comes.
    announced: bool,
    /// The addresses that may knock, of the listener's family, in order and apart.
    allowed: Vec<Span>,
}

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: IpAddr,
    last: IpAddr,
}

/// What the rules are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A file for `nft -f`: a table named doorward.
    Nftables,
    /// A script with chains named DOORWARD, for IPv4 and IPv6.
    Iptables,
    /// A script of ufw commands.
    Ufw,
    /// A script of firewall-cmd commands: a policy named doorward.
    Firewalld,
}

impl Policy {
    /// The policy of a configuration on a host with these interfaces.
    ///
    /// A listener on a loopback address has no rules: nobody else reaches it. Neither has one whose port the
    /// system chooses, one whose interface is not there now, nor one that is handed over at the start.
    #[must_use]
    pub fn of(config: &Config, interfaces: &Interfaces) -> Self {
        let mut policy = Self { doors: Vec::new(), left_out: Vec::new() };
        for service in &config.services {
            for listen in &service.listen {
                let shown = format!("{} of {}", listen.value, service.name);
                if listen.value.inherited().is_some() {
                    let why = "it is handed over at the start, and nobody here knows its address";
                    policy.left_out.push(format!("{shown}: {why}"));
                    continue;
                }
                let Ok(addresses) = listen.value.resolve(interfaces) else {
                    policy.left_out.push(format!("{shown}: its interface is not there now"));
                    continue;
                };
                for at in addresses {
                    policy.add(service, at, &shown);
                }
            }
        }
        policy
    }

    fn add(&mut self, service: &ServiceConfig, at: SocketAddr, shown: &str) {
        if at.ip().to_canonical().is_loopback() {
            self.left_out.push(format!("{shown}: loopback only, nobody else reaches it"));
            return;
        }
        if at.port() == 0 {
            self.left_out.push(format!("{shown}: the system chooses its port"));
            return;
        }
        self.doors.push(Door {
            service: Arc::clone(&service.name),
            at,
            place: service.place.clone(),
            announced: !service.balancers.networks().is_empty(),
            allowed: allowed(service, at.is_ipv4()),
        });
    }

    /// The listeners that have no rules, each with the reason.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The text that puts the policy in force, in the place of what the same text put in force before.
    #[must_use]
    pub fn load(&self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Nftables => nftables::load(self),
            Dialect::Iptables => commands::iptables(self),
            Dialect::Ufw => commands::ufw(self),
            Dialect::Firewalld => commands::firewalld(self),
        }
    }

    /// The text that takes it out again, and nothing else.
    #[must_use]
    pub fn remove(&self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Nftables => nftables::REMOVE.to_owned(),
            Dialect::Iptables => commands::remove_iptables(self),
            Dialect::Ufw => commands::remove_ufw(self),
            Dialect::Firewalld => commands::REMOVE_FIREWALLD.to_owned(),
        }
    }
}

/// A text that grows by lines.
#[derive(Default)]
struct Script(String);

impl Script {
    /// A text that begins by saying what it is, and what it leaves out.
    fn new(policy: &Policy, what: &str) -> Self {
        let mut text = Self::default();
        text.line(format_args!("# The address policy of doorward: {what}"));
        text.line("# It repeats the address gate and does not replace it. Make it anew when the configuration changes.");
        for left_out in &policy.left_out {
            text.line(format_args!("# No rule for {}", one_line(left_out)));
        }
        text
    }

    fn line(&mut self, line: impl std::fmt::Display) {
        self.0.push_str(&line.to_string());
        self.0.push('\n');
    }
}

/// A comment ends with its line, whatever the name of a file holds.
fn one_line(text: &str) -> String {
    PeerText::escaped(text.as_bytes())
}

impl Door {
    /// A comment that says what the rules behind it are for.
    fn comment(&self) -> String {
        let mut comment = format!("{} at {} ({})", self.service, self.at, self.place);
        if self.announced {
            comment.push_str("; behind its balancers everybody is let through to the address gate");
        }
        if self.allows_all() {
            comment.push_str("; every address may knock, so it needs no rule");
        }
        one_line(&comment)
    }

    fn allows_all(&self) -> bool {
        let (first, last) = ends(self.at.is_ipv4());
        self.allowed == [Span { first, last }]
    }

    /// The address it is bound to; none where it is bound to all of its family.
    fn bound(&self) -> Option<IpAddr> {
        (!self.at.ip().is_unspecified()).then_some(self.at.ip())
    }

    /// What may knock as networks, the fewest that there are.
    fn networks(&self) -> Vec<IpNet> {
        self.allowed.iter().flat_map(Span::networks).collect()
    }
}

impl Span {
    fn networks(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
            }
            // Both ends come from one run of the gate.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
        }
    }
}

/// The first and the last address of a family.
fn ends(v4: bool) -> (IpAddr, IpAddr) {
    if v4 {
        return (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
    }
    (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into())
}

/// What may send a first packet: whoever may knock, and the balancers, who knock for others.
fn allowed(service: &ServiceConfig, v4: bool) -> Vec<Span> {
    let balancers = service.balancers.networks();
    let with_balancers;
    let gate = if balancers.is_empty() {
        &*service.address
    } else {
        with_balancers = let_through(&service.address, balancers);
        &with_balancers
    };
    let mut spans: Vec<Span> = Vec::new();
    for run in gate.runs().filter(|run| run.first.is_ipv4() == v4) {
        if run.rule.effect != Effect::Allow {
            continue;
        }
        match spans.last_mut().filter(|before| follows(before.last, run.first)) {
            Some(before) => before.last = run.last,
            None => spans.push(Span { first: run.first, last: run.last }),
        }
    }
    spans
}

/// The gate without what it says inside of these networks, all of whose addresses it allows.
fn let_through(gate: &AddressGate, networks: &[IpNet]) -> AddressGate {
    let outside = |rule: &NetworkRule| !networks.iter().any(|net| net.contains(&rule.network));
    let inside = networks.iter().map(|network| NetworkRule {
        network: *network,
        effect: Effect::Allow,
        place: Place::in_code("a balancer"),
    });
    AddressGate::new(gate.rules().filter(outside).chain(inside))
}

fn follows(last: IpAddr, first: IpAddr) -> bool {
    match (last, first) {
        (IpAddr::V4(last), IpAddr::V4(first)) => {
            last.to_bits().checked_add(1) == Some(first.to_bits())
        }
        (IpAddr::V6(last), IpAddr::V6(first)) => {
            last.to_bits().checked_add(1) == Some(first.to_bits())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

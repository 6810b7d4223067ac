//! What a policy may say: scopes and port ranges.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::Interfaces;
use crate::network::parse_network;
use crate::place::Written;
use crate::problem::{Fault, Problem};

/// Which networks may reach the sockets of this process at all.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Loopback addresses alone.
    Localhost,
    /// Every address of this host, the wildcard among them.
    All,
    /// Addresses of these interfaces and networks alone.
    Only(Vec<Written<ScopeRule>>),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Localhost => f.write_str("scope = \"localhost\""),
            Scope::All => f.write_str("scope = \"all\""),
            Scope::Only(rules) => {
                let rules: Vec<_> =
                    rules.iter().map(|rule| format!("\"{}\"", rule.value)).collect();
                write!(f, "scope = [{}]", rules.join(", "))
            }
        }
    }
}

/// One entry of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeRule {
    /// Whatever addresses this interface has when the socket is opened.
    Interface(String),
    /// Addresses of this host inside this network.
    Network(IpNet),
}

impl ScopeRule {
    /// Reads `eth0`, `10.20.0.0/16` or `192.0.2.7`.
    ///
    /// # Errors
    /// The faults of [`parse_network`] for what looks like an address, [`Fault::BindBadScope`] for what
    /// no interface can be called, and for `0.0.0.0/0` or `::/0`: every network is a word of its own.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let is_address = text.contains('/') || text.contains(':') || looks_like_ipv4(text);
        if is_address {
            return narrow(text, parse_network(text)?);
        }
        if matches!(text, "localhost" | "all") {
            let remedy = format!("write scope = \"{text}\" alone, without brackets");
            return Err(Problem::error(
                Fault::BindBadScope,
                format!("{text:?} is no entry of a list"),
                remedy,
            ));
        }
        let is_name = (1..=LONGEST_INTERFACE).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        if !is_name {
            let remedy = "write an interface such as \"eth0\", an address, or a network such as \"10.20.0.0/16\"";
            return Err(Problem::error(
                Fault::BindBadScope,
                format!("{text:?} is no interface and no network"),
                remedy,
            ));
        }
        Ok(ScopeRule::Interface(text.to_owned()))
    }

    pub(super) fn covers(&self, address: SocketAddr, interfaces: &Interfaces) -> bool {
        match self {
            ScopeRule::Interface(name) => interfaces.has(name, address),
            ScopeRule::Network(network) => network.contains(&address.ip().to_canonical()),
        }
    }
}

fn narrow(text: &str, network: IpNet) -> Result<ScopeRule, Problem> {
    if network.prefix_len() > 0 {
        return Ok(ScopeRule::Network(network));
    }
    let what = format!("{text:?} is every network of its family");
    let remedy = "write scope = \"all\" alone, without brackets, if every network is meant";
    Err(Problem::error(Fault::BindBadScope, what, remedy))
}

fn looks_like_ipv4(text: &str) -> bool {
    text.split('.').count() == 4 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

impl fmt::Display for ScopeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScopeRule::Interface(name) => f.write_str(name),
            ScopeRule::Network(network) => network.fmt(f),
        }
    }
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Reads `1024-65535` or `8443`.
    ///
    /// # Errors
    /// [`Fault::BindBadPorts`] for port 0, a range that ends before it begins, and anything else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let bad = |why: &str| {
            let remedy = "write one port such as \"8443\" or a range such as \"1024-65535\"";
            Problem::error(Fault::BindBadPorts, format!("{text:?} {why}"), remedy)
        };
        let port = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|port| digits && *port > 0)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first.trim()), port(last.trim()));
        let (Some(first), Some(last)) = (first, last) else {
            return Err(bad("is no port from 1 to 65535 and no range of them"));
        };
        if first > last {
            return Err(bad("ends before it begins"));
        }
        Ok(Self { first, last })
    }

    /// Every port of the range.
    #[must_use]
    pub fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// Whether the port is in the range.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        if self.last > self.first {
            write!(f, "-{}", self.last)?;
        }
        Ok(())
    }
}

/// `IFNAMSIZ` of Linux is 16 with the final zero; other systems name adapters at greater length.
const LONGEST_INTERFACE: usize = 64;

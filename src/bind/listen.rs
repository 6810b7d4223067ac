//! Where a service wants to listen, as written and as addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::interfaces::{LOOPBACK, is_link_local};
use super::{Interfaces, inherited};
use crate::problem::{Fault, Problem};

/// One entry of `listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Address(SocketAddr),
    /// An IPv6 link-local address with the interface it belongs to.
    Zoned(Ipv6Addr, String, u16),
    /// Every address that an interface has when the socket is opened.
    Interface {
        /// The interface.
        name: String,
        /// The port on each of its addresses.
        port: u16,
    },
    /// The sockets that were handed over under this name before the start.
    Inherited(String),
}

impl Listen {
    /// Reads `127.0.0.1:8443`, `[::1]:8443`, `[fe80::1%eth0]:8443` or `systemd:NAME`.
    ///
    /// # Errors
    /// [`Fault::BindBadListen`] for a name, a missing address or port, and an IPv4-mapped address, each
    /// with its own remedy.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(name) = text.strip_prefix(inherited::PREFIX) {
            if inherited::is_name(name) {
                return Ok(Listen::Inherited(name.to_owned()));
            }
            let remedy = "write \"systemd:\" and what FileDescriptorName= of the socket unit says";
            return Err(bad(text, "has no name that a descriptor can have", remedy));
        }
        if let Some((ip, interface, port)) = zoned(text) {
            return if is_link_local(ip.into()) {
                Ok(Listen::Zoned(ip, interface, port))
            } else {
                let plain = SocketAddr::new(IpAddr::V6(ip).to_canonical(), port);
                Err(bad(text, "has a zone and is not link-local", format!("write \"{plain}\"")))
            };
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip() != address.ip().to_canonical() => {
                let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
                Err(bad(text, "is an IPv4-mapped address", format!("write \"{plain}\"")))
            }
            Ok(address) => Ok(Listen::Address(address)),
            Err(_) => Err(no_address(text)),
        }
    }

    /// The name under which its sockets were handed over, if they were.
    #[must_use]
    pub fn inherited(&self) -> Option<&str> {
        match self {
            Listen::Inherited(name) => Some(name),
            Listen::Address(_) | Listen::Zoned(..) | Listen::Interface { .. } => None,
        }
    }

    /// The port it asks for; 0 where the system or whoever opened the socket chooses.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Listen::Address(address) => address.port(),
            Listen::Zoned(_, _, port) | Listen::Interface { port, .. } => *port,
            Listen::Inherited(_) => 0,
        }
    }

    /// The socket addresses that are meant.
    ///
    /// # Errors
    /// [`Fault::BindUnknownInterface`] where an interface has no address, with the nearest name, and
    /// [`Fault::BindInherited`] where nothing was handed over under a name.
    pub fn resolve(&self, interfaces: &Interfaces) -> Result<Vec<SocketAddr>, Problem> {
        match self {
            Listen::Address(address) => Ok(vec![*address]),
            Listen::Zoned(ip, interface, port) => {
                let zone = interfaces.zone_of(interface);
                let zone = zone.ok_or_else(|| unknown(interface, interfaces))?;
                Ok(vec![SocketAddrV6::new(*ip, *port, 0, zone).into()])
            }
            Listen::Interface { name, port } => {
                let addresses = interfaces.zoned(name);
                if addresses.is_empty() {
                    return Err(unknown(name, interfaces));
                }
                let socket = |(ip, zone)| match ip {
                    IpAddr::V4(_) => SocketAddr::new(ip, *port),
                    IpAddr::V6(ip) => SocketAddrV6::new(ip, *port, 0, zone).into(),
                };
                Ok(addresses.into_iter().map(socket).collect())
            }
            Listen::Inherited(name) => inherited::addresses(name),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Address(address) => address.fmt(f),
            Listen::Zoned(ip, interface, port) => write!(f, "[{ip}%{interface}]:{port}"),
            Listen::Interface { name, port } => write!(f, "{name} port {port}"),
            Listen::Inherited(name) => write!(f, "{}{name}", inherited::PREFIX),
        }
    }
}

fn zoned(text: &str) -> Option<(Ipv6Addr, String, u16)> {
    let (address, port) = text.strip_prefix('[')?.rsplit_once("]:")?;
    let (ip, interface) = address.split_once('%')?;
    let named = interface.bytes().any(|byte| !byte.is_ascii_digit());
    let ip: Ipv6Addr = ip.parse().ok()?;
    named.then_some((ip, interface.to_owned(), port.parse().ok()?))
}

fn no_address(text: &str) -> Problem {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let port = port.parse::<u16>().ok();
    let suggested = port.unwrap_or(8443);
    let likely = port.is_some_and(|port| port >= 1000) || text.parse::<IpAddr>().is_err();
    if port.is_some() && likely && host.parse::<Ipv6Addr>().is_ok() {
        return bad(
            text,
            "has an IPv6 address without brackets",
            format!("write \"[{host}]:{suggested}\""),
        );
    }
    if text.parse::<IpAddr>().is_ok() {
        let brackets = if text.contains(':') { ("[", "]") } else { ("", "") };
        let remedy = format!("write \"{}{text}{}:8443\"", brackets.0, brackets.1);
        return bad(text, "has no port", remedy);
    }
    if host.eq_ignore_ascii_case("localhost") {
        let [v4, v6] = LOOPBACK.map(|ip| SocketAddr::new(ip, suggested));
        return bad(text, "names no address", format!("write [\"{v4}\", \"{v6}\"]"));
    }
    if matches!(host, "" | "*") {
        let remedy = format!(
            "write \"127.0.0.1:{suggested}\"; for every network \"0.0.0.0:{suggested}\" and scope = \"all\""
        );
        return bad(text, "says not where", remedy);
    }
    if host.bytes().any(|byte| byte.is_ascii_alphabetic()) && !host.contains(':') {
        let remedy = format!(
            "write the address, or {{ interface = \"{host}\", port = {suggested} }} for an interface"
        );
        return bad(text, "names no address", remedy);
    }
    bad(text, "is no address with a port", "write \"127.0.0.1:8443\" or \"[::1]:8443\"")
}

fn bad(text: &str, why: &str, remedy: impl Into<String>) -> Problem {
    Problem::error(Fault::BindBadListen, format!("{text:?} {why}"), remedy)
}

fn unknown(interface: &str, interfaces: &Interfaces) -> Problem {
    let names = interfaces.names();
    let nearest = names.iter().max_by(|one, other| {
        let near = |name: &str| strsim::jaro_winkler(interface, name);
        near(one).total_cmp(&near(other))
    });
    let remedy = match nearest {
        Some(name) if strsim::jaro_winkler(interface, name) > 0.7 => {
            format!("did you mean {name:?}?")
        }
        _ => format!("interfaces with an address are {}", names.join(", ")),
    };
    let what = format!("no interface {interface:?} with an address on this host");
    Problem::error(Fault::BindUnknownInterface, what, remedy)
}

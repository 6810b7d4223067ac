//! The interfaces of this host and their addresses, as they are now.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A snapshot: which interface has which address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces(Vec<Address>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    interface: String,
    ip: IpAddr,
    /// The zone of an IPv6 link-local address, 0 for any other.
    zone: u32,
}

impl Interfaces {
    /// A snapshot that somebody else took. Interfaces are numbered from 1 as they are first named.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = (String, IpAddr)>) -> Self {
        let mut named: Vec<String> = Vec::new();
        let mut number = |interface: &String| {
            let known = named.iter().position(|name| name == interface);
            let position = known.unwrap_or_else(|| {
                named.push(interface.clone());
                named.len().saturating_sub(1)
            });
            u32::try_from(position).map_or(u32::MAX, |position| position.saturating_add(1))
        };
        let address = |(interface, ip)| {
            let zone = if is_link_local(ip) { number(&interface) } else { 0 };
            Address { interface, ip, zone }
        };
        Self(addresses.into_iter().map(address).collect())
    }

    /// The snapshot of now.
    ///
    /// # Errors
    /// What the system says where it will not list them.
    #[cfg(unix)]
    pub fn of_this_host() -> io::Result<Self> {
        use nix::ifaddrs::getifaddrs;
        let mut addresses = Vec::new();
        for entry in getifaddrs()? {
            let Some(address) = entry.address else { continue };
            let (ip, zone) = if let Some(v4) = address.as_sockaddr_in() {
                (IpAddr::V4(v4.ip()), 0)
            } else if let Some(v6) = address.as_sockaddr_in6() {
                (IpAddr::V6(v6.ip()), v6.scope_id())
            } else {
                continue;
            };
            addresses.push(Address { interface: without_label(entry.interface_name), ip, zone });
        }
        Ok(Self(addresses))
    }

    /// Loopback alone: this system's other interfaces are not known here, so that a scope that names
    /// one refuses to start instead of guessing.
    ///
    /// # Errors
    /// None on this system.
    #[cfg(not(unix))]
    pub fn of_this_host() -> io::Result<Self> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Ok(Self::new(loopback.map(|ip| ("loopback".to_owned(), ip))))
    }

    /// The addresses of an interface; none where there is no such interface.
    #[must_use]
    pub fn addresses_of(&self, interface: &str) -> Vec<IpAddr> {
        self.of(interface).map(|address| address.ip).collect()
    }

    /// The names of all interfaces that have an address.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.iter().map(|address| address.interface.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Which interface has the address; the first, where a link-local address is on several.
    #[must_use]
    pub fn interface_of(&self, ip: IpAddr) -> Option<&str> {
        self.0.iter().find(|address| address.ip == ip).map(|address| address.interface.as_str())
    }

    /// Which interface has the address of a socket. A link-local address says so by its zone: the
    /// same one may be on many interfaces.
    pub(super) fn interface_at(&self, address: SocketAddr) -> Option<&str> {
        let here = self.0.iter().find(|own| own.is_at(address));
        here.map(|own| own.interface.as_str())
    }

    /// Whether the interface has the address of a socket.
    pub(super) fn has(&self, interface: &str, address: SocketAddr) -> bool {
        self.of(interface).any(|own| own.is_at(address))
    }

    /// The addresses of an interface with their zones, for sockets.
    pub(super) fn zoned(&self, interface: &str) -> Vec<(IpAddr, u32)> {
        self.of(interface).map(|address| (address.ip, address.zone)).collect()
    }

    /// The zone of a link-local address written as `fe80::1%eth0`.
    pub(super) fn zone_of(&self, interface: &str) -> Option<u32> {
        self.of(interface).map(|address| address.zone).find(|zone| *zone != 0)
    }

    fn of(&self, interface: &str) -> impl Iterator<Item = &Address> {
        self.0.iter().filter(move |address| address.interface == interface)
    }
}

impl Address {
    fn is_at(&self, address: SocketAddr) -> bool {
        let zone = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        self.ip == address.ip().to_canonical() && (self.zone == zone || !is_link_local(self.ip))
    }
}

pub(super) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Linux tells `eth0:1` for an address of `eth0` that was given a label (ip-address(8)); no
/// interface can have a colon in its name.
#[cfg(unix)]
fn without_label(mut interface: String) -> String {
    if let Some(colon) = interface.find(':') {
        interface.truncate(colon);
    }
    interface
}

/// The loopback addresses, which every host has, whatever its interfaces are called.
pub(super) const LOOPBACK: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

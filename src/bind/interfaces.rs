//! The interfaces of this host and their addresses, as they are now.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// A snapshot that somebody else took.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = (String, IpAddr)>) -> Self {
        let address = |(interface, ip)| Address { interface, ip, zone: 0 };
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
            addresses.push(Address { interface: entry.interface_name, ip, zone });
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

    /// Which interface has the address.
    #[must_use]
    pub fn interface_of(&self, ip: IpAddr) -> Option<&str> {
        self.0.iter().find(|address| address.ip == ip).map(|address| address.interface.as_str())
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

/// The loopback addresses, which every host has, whatever its interfaces are called.
pub(super) const LOOPBACK: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

//! Who holds an address that is in use, where the system tells.

use std::net::SocketAddr;

/// The process that listens at the address, in words: `redis-server (pid 812)`.
#[cfg(target_os = "linux")]
pub(super) fn of(address: SocketAddr) -> Option<String> {
    let holder = linux::listener_at(address)?;
    Some(linux::process_with(holder.inode).unwrap_or_else(|| holder.unseen()))
}

/// Not told on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn of(_: SocketAddr) -> Option<String> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use crate::peer::PeerText;

    /// A listening socket, as `/proc/net/tcp` and `/proc/net/tcp6` tell of it (proc(5)).
    pub(super) struct Holder {
        ip: IpAddr,
        port: u16,
        user: u32,
        pub(super) inode: u64,
    }

    impl Holder {
        /// What can be said where its process cannot be looked into.
        pub(super) fn unseen(&self) -> String {
            if self.user == nix::unistd::geteuid().as_raw() {
                return "a process that cannot be seen from here".to_owned();
            }
            format!("a process of another user (uid {})", self.user)
        }

        /// A wildcard holds the port of every address, and needs the port of every address.
        fn is_in_the_way_of(&self, wanted: SocketAddr) -> bool {
            let ip = wanted.ip();
            let wildcard = self.ip.is_unspecified() || ip.is_unspecified();
            self.port == wanted.port() && (self.ip == ip || wildcard)
        }
    }

    /// Who listens there. An IPv4 address may also be held by an IPv6 socket of both families, but
    /// only where no IPv4 socket holds it.
    pub(super) fn listener_at(wanted: SocketAddr) -> Option<Holder> {
        let within = |table: &str| {
            let text = fs::read_to_string(table).unwrap_or_default();
            text.lines().filter_map(listener).find(|holder| holder.is_in_the_way_of(wanted))
        };
        if wanted.is_ipv6() {
            return within("/proc/net/tcp6");
        }
        within("/proc/net/tcp").or_else(|| within("/proc/net/tcp6"))
    }

    /// A line whose state is LISTEN (0A).
    fn listener(line: &str) -> Option<Holder> {
        let mut fields = line.split_whitespace();
        let (ip, port) = fields.nth(1)?.split_once(':')?;
        if fields.nth(1)? != "0A" {
            return None;
        }
        Some(Holder {
            ip: from_proc(ip)?,
            port: u16::from_str_radix(port, 16).ok()?,
            user: fields.nth(3)?.parse().ok()?,
            inode: fields.nth(1)?.parse().ok()?,
        })
    }

    /// Addresses stand there as 32-bit words in the order of the machine.
    fn from_proc(hex: &str) -> Option<IpAddr> {
        let bits = u128::from_str_radix(hex, 16).ok()?;
        if hex.len() == 8 {
            return Some(IpAddr::V4(Ipv4Addr::from(u32::try_from(bits).ok()?.to_ne_bytes())));
        }
        let [a, b, c, d] = bits.to_be_bytes().as_chunks::<4>().0.try_into().ok()?;
        let word = |word: [u8; 4]| u32::from_be_bytes(word).to_ne_bytes();
        let octets: [u8; 16] = [word(a), word(b), word(c), word(d)].concat().try_into().ok()?;
        Some(IpAddr::from(octets).to_canonical())
    }

    /// The process that has the socket among its descriptors, if this user may see it.
    pub(super) fn process_with(inode: u64) -> Option<String> {
        let target = format!("socket:[{inode}]");
        for process in fs::read_dir("/proc").ok()?.flatten().take(MOST_PROCESSES) {
            let pid = process.file_name();
            let pid = pid.to_string_lossy();
            if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let path = process.path();
            let holds = |descriptor: fs::DirEntry| {
                fs::read_link(descriptor.path())
                    .is_ok_and(|link| link.as_os_str() == target.as_str())
            };
            let Ok(descriptors) = fs::read_dir(path.join("fd")) else { continue };
            if descriptors.flatten().any(holds) {
                let name = fs::read(path.join("comm")).unwrap_or_default();
                let name = PeerText::new(name.trim_ascii_end());
                return Some(format!("{name} (pid {pid})"));
            }
        }
        None
    }

    /// A start should not take seconds on a machine with very many processes.
    const MOST_PROCESSES: usize = 20_000;
}

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
    use std::net::SocketAddr;

    use crate::bind::tcp_table::{Row, TABLES, rows};
    use crate::peer::PeerText;

    /// A listening socket.
    pub(super) struct Holder {
        at: SocketAddr,
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
            let (own, ip) = (self.at.ip(), wanted.ip());
            let wildcard = own.is_unspecified() || ip.is_unspecified();
            self.at.port() == wanted.port() && (own == ip || wildcard)
        }
    }

    /// Who listens there. An IPv4 address may also be held by an IPv6 socket of both families, but
    /// only where no IPv4 socket holds it.
    pub(super) fn listener_at(wanted: SocketAddr) -> Option<Holder> {
        let within = |table: &str| {
            rows(table).filter_map(listener).find(|holder| holder.is_in_the_way_of(wanted))
        };
        let [v4, v6] = TABLES;
        if wanted.is_ipv6() {
            return within(v6);
        }
        within(v4).or_else(|| within(v6))
    }

    fn listener(row: Row) -> Option<Holder> {
        let Row { local, user, inode, .. } = row;
        (row.state == LISTEN).then_some(Holder { at: local, user, inode })
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

    /// The kernel's number for a socket that listens.
    const LISTEN: u8 = 0x0A;
    /// A start should not take seconds on a machine with very many processes.
    const MOST_PROCESSES: usize = 20_000;
}

//! Who holds an address that is in use, where the system tells.

use std::net::SocketAddr;

/// The process that listens at the address, in words: `redis-server (pid 812)`.
#[cfg(target_os = "linux")]
pub(super) fn of(address: SocketAddr) -> Option<String> {
    let inode = linux::listening_inode(address)?;
    Some(linux::process_with(inode).unwrap_or_else(|| "a process of another user".to_owned()))
}

/// Not told on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn of(_: SocketAddr) -> Option<String> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::net::{IpAddr, SocketAddr};

    use crate::peer::PeerText;

    /// Looks the listening socket up in `/proc/net/tcp` and `/proc/net/tcp6` (proc(5)); a wildcard
    /// socket holds the port of every address.
    pub(super) fn listening_inode(address: SocketAddr) -> Option<u64> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
        let own_table = usize::from(address.is_ipv6());
        let mut found = None;
        for (family, table) in tables.iter().enumerate() {
            let text = fs::read_to_string(table).unwrap_or_default();
            for (local, inode) in text.lines().filter_map(listener) {
                let (ip, port) = local.rsplit_once(':')?;
                if u16::from_str_radix(port, 16) != Ok(address.port()) {
                    continue;
                }
                if family == own_table && ip == as_in_proc(address.ip()) {
                    return Some(inode);
                }
                if ip.bytes().all(|byte| byte == b'0') {
                    found = Some(inode);
                }
            }
        }
        found
    }

    /// Local address and inode of a line whose state is LISTEN (0A).
    fn listener(line: &str) -> Option<(&str, u64)> {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        if state != "0A" {
            return None;
        }
        Some((local, inode.parse().ok()?))
    }

    /// Addresses stand there as 32-bit words in the order of the machine.
    fn as_in_proc(ip: IpAddr) -> String {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words = bytes.chunks(4).filter_map(|word| word.first_chunk::<4>());
        let words: Vec<_> =
            words.map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect();
        words.concat()
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

//! The system's tables of TCP sockets, `/proc/net/tcp` and `/proc/net/tcp6` (proc(5)).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One socket of a table. Addresses are canonical: an IPv6 socket that speaks IPv4 is told as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its own end.
    pub(crate) local: SocketAddr,
    /// The other end; the unspecified address where there is none.
    pub(crate) remote: SocketAddr,
    /// Its state, by the kernel's number.
    pub(crate) state: u8,
    /// The user that made it.
    pub(crate) user: u32,
    /// The number of its file; 0 where no process holds it any more, and `user` means nothing then.
    pub(crate) inode: u64,
}

/// The table of IPv4 sockets, and that of IPv6 ones, which may speak IPv4 too.
pub(crate) const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The sockets of one table, read as they are asked for; none where there is no such table.
pub(crate) fn rows(table: &str) -> impl Iterator<Item = Row> {
    let lines = File::open(table).ok().map(|file| BufReader::new(file).lines());
    lines.into_iter().flatten().map_while(Result::ok).filter_map(|line| row(&line))
}

/// A line; the first one names the columns and is none.
fn row(line: &str) -> Option<Row> {
    let mut fields = line.split_whitespace();
    let local = end(fields.nth(1)?)?;
    let remote = end(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let user = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Row { local, remote, state, user, inode })
}

fn end(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    Some(SocketAddr::new(from_proc(ip)?, u16::from_str_radix(port, 16).ok()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn a_line_is_a_socket_with_both_its_ends() {
        let v4 = "   7: 0100007F:1F90 0200007F:D431 01 00000000:00000000 00:00000000 00000000  1000 \
                  0 98765 1 0000000000000000 20 4 30 10 -1";
        let expected = Row {
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "127.0.0.2:54321".parse().unwrap(),
            state: 1,
            user: 1000,
            inode: 98765,
        };
        assert_eq!(row(v4), Some(expected));
        let mapped = v4
            .replace("0100007F:", "0000000000000000FFFF00000100007F:")
            .replace("0200007F:", "0000000000000000FFFF00000200007F:");
        assert_eq!(row(&mapped), Some(expected));
        let v6 = v4.replace("0100007F:", "00000000000000000000000001000000:");
        assert_eq!(row(&v6).unwrap().local, "[::1]:8080".parse().unwrap());
    }

    #[test]
    fn anything_else_is_no_socket() {
        for line in
            ["", "  sl  local_address rem_address   st", "1: 0100007F 0200007F:1 01", "1: x:1 y:2"]
        {
            assert_eq!(row(line), None, "{line}");
        }
        assert_eq!(rows("/nowhere").count(), 0);
    }
}

//! The words for whoever is at the other end: its address and what it says of itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};

/// The address a visitor comes from, canonical by construction.
///
/// An IPv4-mapped IPv6 address (`::ffff:10.1.2.3`) becomes its IPv4 twin here, once, so that no list
/// can be walked around by spelling an address another way. Scope and flow label are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddr {
    ip: IpAddr,
    port: u16,
}

impl PeerAddr {
    /// The canonical form of a socket address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { ip: address.ip().to_canonical(), port: address.port() }
    }

    /// The canonical address: never an IPv4-mapped one.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The port the visitor comes from.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The network whose members share one budget.
    #[must_use]
    pub fn source(&self) -> Source {
        match self.ip {
            IpAddr::V4(ip) => Source(IpAddr::V4(ip)),
            IpAddr::V6(ip) => Source(IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & SUBNET))),
        }
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

/// The network a visitor comes from: one IPv4 address, or one IPv6 /64.
///
/// One household or host commands a whole /64 (RFC 6177, RFC 4291 section 2.5.1), so counting single
/// IPv6 addresses would give one attacker 2^64 seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The network itself.
    #[must_use]
    pub fn network(&self) -> IpNet {
        match self.0 {
            IpAddr::V4(ip) => IpNet::V4(ip.into()),
            IpAddr::V6(ip) => Ipv6Net::new(ip, 64).unwrap_or_else(|_| ip.into()).into(),
        }
    }

    /// The first address of the network.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => ip.fmt(f),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

/// The bits of an IPv6 address that name its /64.
const SUBNET: u128 = !0 << 64;

/// Text that a peer chose: a name from a certificate, a line it sent.
///
/// The only way peer-controlled bytes reach a log, a terminal or a page. It is bounded in length when
/// it is made and escaped when it is shown: control characters, quotes, backslashes, bidirectional
/// and zero-width characters and line separators come out as `\u{…}`, bytes that are not UTF-8 as `\x…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PeerText(Box<str>);

impl PeerText {
    /// What a peer said, escaped, and cut after [`PeerText::LONGEST`] characters with a `…`.
    #[must_use]
    pub fn new(said: &[u8]) -> Self {
        let mut pieces = pieces(said);
        let mut text = String::new();
        for piece in pieces.by_ref().take(Self::LONGEST) {
            piece.escape(&mut text);
        }
        if pieces.next().is_some() {
            text.push('…');
        }
        Self(text.into_boxed_str())
    }

    /// All of what a peer said, escaped and not cut: for a terminal, whose owner asked for it.
    #[must_use]
    pub fn escaped(said: &[u8]) -> String {
        let mut text = String::new();
        for piece in pieces(said) {
            piece.escape(&mut text);
        }
        text
    }

    /// What was shown before and has been read back; nothing where it cannot have been.
    #[must_use]
    pub fn shown_before(text: &str) -> Option<Self> {
        let could = text.chars().all(is_plain) && text.chars().count() <= LONGEST_SHOWN;
        could.then(|| Self(text.into()))
    }

    /// How many characters of a peer's text are shown: a DNS name has 253 at the most.
    pub const LONGEST: usize = 256;

    /// The escaped text: safe for one line of a log, a terminal, or a quoted string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PeerText {
    fn from(said: &str) -> Self {
        Self::new(said.as_bytes())
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The longest text, all of it escaped as `\u{10ffff}`, and its `…`.
const LONGEST_SHOWN: usize = PeerText::LONGEST * 10 + 1;

/// A character, or a byte that is part of none.
enum Piece {
    Character(char),
    Byte(u8),
}

fn pieces(said: &[u8]) -> impl Iterator<Item = Piece> {
    said.utf8_chunks().flat_map(|chunk| {
        let characters = chunk.valid().chars().map(Piece::Character);
        characters.chain(chunk.invalid().iter().copied().map(Piece::Byte))
    })
}

impl Piece {
    fn escape(self, text: &mut String) {
        match self {
            Piece::Byte(byte) => text.extend(std::ascii::escape_default(byte).map(char::from)),
            Piece::Character(special @ ('"' | '\\')) => text.extend(['\\', special]),
            Piece::Character(plain) if is_plain(plain) => text.push(plain),
            Piece::Character(other) => text.extend(other.escape_unicode()),
        }
    }
}

/// Whether a character can be shown as it is: no control (C0, C1, DEL), no line or paragraph
/// separator, no bidirectional or zero-width formatting, no tag, no noncharacter or private use.
fn is_plain(character: char) -> bool {
    !(character.is_control()
        || matches!(
            u32::from(character),
            0xAD | 0x34F
                | 0x61C
                | 0x115F..=0x1160
                | 0x17B4..=0x17B5
                | 0x180B..=0x180F
                | 0x200B..=0x200F
                | 0x2028..=0x202E
                | 0x2060..=0x206F
                | 0x3164
                | 0xE000..=0xF8FF
                | 0xFDD0..=0xFDEF
                | 0xFE00..=0xFE0F
                | 0xFEFF
                | 0xFFA0
                | 0xFFF0..=0xFFFB
                | 0xFFFE..=0xFFFF
                | 0xE0000..
        ))
}

/// The address of a visitor that came over no network, for tests and embedding programs.
impl Default for PeerAddr {
    fn default() -> Self {
        Self { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_its_ipv4_twin() {
        let mapped: SocketAddr = "[::ffff:10.1.2.3]:5".parse().unwrap();
        assert_eq!(PeerAddr::new(mapped).to_string(), "10.1.2.3:5");
    }

    #[test]
    fn an_ipv6_64_is_one_source() {
        let one = PeerAddr::new("[2001:db8:1:2::1]:5".parse().unwrap());
        let two = PeerAddr::new("[2001:db8:1:2:ffff::9]:6".parse().unwrap());
        assert_eq!(one.source(), two.source());
        assert_eq!(one.source().to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn what_a_peer_says_stays_one_printable_line() {
        let said = b"a\nb\x1b[31m\xff\xe2\x80\xae\xe2\x80\xa8\"\\\xc2\x9b";
        let shown = PeerText::new(said).to_string();
        assert_eq!(shown, "a\\u{a}b\\u{1b}[31m\\xff\\u{202e}\\u{2028}\\\"\\\\\\u{9b}");
    }

    #[test]
    fn what_was_shown_can_be_read_back_and_nothing_else() {
        let shown = PeerText::new(b"a\nb\x1b\"");
        assert_eq!(PeerText::shown_before(shown.as_str()), Some(shown));
        for forged in ["a\nb", "\u{1b}[2J", &"a".repeat(3000)] {
            assert_eq!(PeerText::shown_before(forged), None);
        }
    }

    #[test]
    fn what_a_peer_says_is_cut() {
        let shown = PeerText::new(&vec![b'a'; 30_000]).to_string();
        assert_eq!(shown.chars().count(), PeerText::LONGEST + 1);
        assert!(shown.ends_with('…'));
    }
}

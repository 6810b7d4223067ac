//! Load balancers in front of us: they say where a visitor really comes from, and nobody else may.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use proxy_header::{ParseConfig, Protocol, ProxyHeader, Tlv};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::{Accepted, StrangerSeat};
use crate::peer::PeerAddr;
use crate::refusal::{Refusal, Refused};

/// The networks whose connections begin with a header of the PROXY protocol, version 1 or 2.
///
/// From them the header is required; from anybody else it is not understood. Without networks, the
/// usual case, every visitor is who it seems to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancers {
    from: Vec<IpNet>,
    deadline: Duration,
}

/// A visitor whose own address is known: where it comes from, and through whom.
///
/// Made by [`Balancers::introduce`] alone, so that nobody is judged by a balancer's address.
#[derive(Debug)]
pub struct Introduced<S> {
    stream: S,
    peer: PeerAddr,
    via: Option<PeerAddr>,
    seat: StrangerSeat,
}

impl Default for Balancers {
    fn default() -> Self {
        Self::new(Vec::new(), Duration::ZERO)
    }
}

impl Balancers {
    /// Balancers in these networks, whose header is there within `deadline`.
    #[must_use]
    pub fn new(from: Vec<IpNet>, deadline: Duration) -> Self {
        Self { from, deadline }
    }

    /// The networks.
    #[must_use]
    pub fn networks(&self) -> &[IpNet] {
        &self.from
    }

    /// Whether connections from this address begin with a header.
    #[must_use]
    pub fn are_at(&self, peer: PeerAddr) -> bool {
        self.from.iter().any(|network| network.contains(&peer.ip()))
    }

    /// Where a visitor comes from that connects from `met` with a whole header about `announced`, or with
    /// none. From anybody but a balancer the header is no announcement.
    ///
    /// # Errors
    /// [`Refusal::AcceptProxyMissing`] for a balancer without a header, [`Refusal::AcceptProxyLying`] for
    /// an address that no visitor can come from.
    pub fn judge(&self, met: PeerAddr, announced: Option<PeerAddr>) -> Result<PeerAddr, Refused> {
        match announced {
            _ if !self.are_at(met) => Ok(met),
            Some(announced) => believed(announced, met),
            None => Err(Refusal::AcceptProxyMissing.because("it announced nobody")),
        }
    }

    /// Learns where a visitor comes from. Behind a balancer it moves to a seat of its own network.
    ///
    /// # Errors
    /// A header that is missing, late, too long, malformed, for another protocol, about the balancer
    /// itself, or about an address that cannot be; or the call of a newer visitor. Nothing behind the
    /// header is read.
    pub async fn introduce<S>(&self, accepted: Accepted<S>) -> Result<Introduced<S>, Refused>
    where
        S: AsyncRead + Unpin,
    {
        let (mut stream, peer, seat) = accepted.into_parts();
        if !self.are_at(peer) {
            // Another service may have a balancer there; here it is a visitor like any other.
            let seat = seat.moved_to(peer.source());
            return Ok(Introduced { stream, peer, via: None, seat });
        }
        let late = |_| {
            let waited = format!("no whole header after {:?}", self.deadline);
            Refusal::AcceptProxyLate.because(waited)
        };
        let header = tokio::select! {
            biased;
            reason = seat.called_out() => return Err(reason.bare()),
            read = timeout(self.deadline, header(&mut stream)) => read.map_err(late)??,
        };
        let announced = announced(&header, peer)?;
        let seat = seat.moved_to(announced.source());
        Ok(Introduced { stream, peer: announced, via: Some(peer), seat })
    }
}

impl<S> Introduced<S> {
    /// Where the visitor comes from.
    #[must_use]
    pub fn peer(&self) -> PeerAddr {
        self.peer
    }

    /// The balancer it came through, if any.
    #[must_use]
    pub fn via(&self) -> Option<PeerAddr> {
        self.via
    }

    pub(crate) fn into_parts(self) -> (S, PeerAddr, StrangerSeat) {
        (self.stream, self.peer, self.seat)
    }
}

/// The bytes of the header and none behind it, which belong to TLS.
async fn header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Refused> {
    let mut header = Vec::with_capacity(LONGEST_V1);
    // Both versions are longer than this; what is something else shows at its first wrong byte.
    while header.len() < SIGNATURE.len() {
        more(stream, &mut header, SIGNATURE.len()).await?;
        if !SIGNATURE.starts_with(&header) && !begins_like_v1(&header) {
            return Err(Refusal::AcceptProxyMissing.because("something else came first"));
        }
    }
    if header != SIGNATURE {
        while !header.ends_with(b"\r\n") {
            if header.len() == LONGEST_V1 {
                let what = format!("no line end within {LONGEST_V1} bytes");
                return Err(Refusal::AcceptProxyTooLong.because(what));
            }
            let next = header.len().saturating_add(1);
            more(stream, &mut header, next).await?;
        }
        return Ok(header);
    }
    until(stream, &mut header, SIGNATURE.len().saturating_add(4)).await?;
    let length =
        header.last_chunk::<2>().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
    if length > LONGEST_V2 {
        let what = format!("{length} bytes are announced, more than {LONGEST_V2}");
        return Err(Refusal::AcceptProxyTooLong.because(what));
    }
    let whole = header.len().saturating_add(length);
    until(stream, &mut header, whole).await?;
    Ok(header)
}

async fn until(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
    length: usize,
) -> Result<(), Refused> {
    while header.len() < length {
        more(stream, header, length).await?;
    }
    Ok(())
}

/// Reads once, up to `length` bytes in all.
async fn more(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
    length: usize,
) -> Result<(), Refused> {
    let missing = length.saturating_sub(header.len());
    let missing = u64::try_from(missing).unwrap_or(0);
    match stream.take(missing).read_buf(header).await {
        Ok(0) | Err(_) if header.is_empty() => {
            Err(Refusal::AcceptProxyMissing.because("the connection ended without a byte"))
        }
        Ok(0) | Err(_) => Err(Refusal::AcceptProxyMalformed.because("it ended in the middle")),
        Ok(_) => Ok(()),
    }
}

fn begins_like_v1(header: &[u8]) -> bool {
    header.starts_with(V1) || V1.starts_with(header)
}

/// The address that a whole header announces.
fn announced(header: &[u8], balancer: PeerAddr) -> Result<PeerAddr, Refused> {
    let malformed = |what: &'static str| Refusal::AcceptProxyMalformed.because(what);
    let version2 = header.starts_with(SIGNATURE);
    if version2 && header.get(SIGNATURE.len()) == Some(&LOCAL) {
        // What follows means nothing then, whatever it is (the protocol's section 2.2).
        return Err(Refusal::AcceptProxyLocal.bare());
    }
    let config = ParseConfig { include_tlvs: true, allow_v1: !version2, allow_v2: version2 };
    let (parsed, length) = ProxyHeader::parse(header, config)
        .map_err(|_| malformed("it does not follow the protocol"))?;
    if length != header.len() {
        return Err(malformed("its length does not fit its content"));
    }
    if !checksum_is_right(header, &parsed)? {
        return Err(malformed("its checksum is wrong"));
    }
    let Some(address) = parsed.proxied_address() else {
        return Err(Refusal::AcceptProxyNotTcp.because("no address family, or one that is not IP"));
    };
    if address.protocol != Protocol::Stream {
        return Err(Refusal::AcceptProxyNotTcp.because("datagrams"));
    }
    believed(PeerAddr::new(address.source), balancer)
}

/// No visitor comes from such an address; loopback is another machine's where the balancer is one.
fn believed(announced: PeerAddr, balancer: PeerAddr) -> Result<PeerAddr, Refused> {
    if cannot_be(announced, balancer) {
        return Err(Refusal::AcceptProxyLying.because(announced.to_string()));
    }
    Ok(announced)
}

fn cannot_be(announced: PeerAddr, balancer: PeerAddr) -> bool {
    let ip = announced.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let foreign_loopback = ip.is_loopback() && !balancer.ip().is_loopback();
    ip.is_unspecified()
        || ip.is_multicast()
        || broadcast
        || foreign_loopback
        || announced.port() == 0
}

/// Whether the checksum fits, where there is one (the protocol's section 2.2.3); bad fields are malformed.
fn checksum_is_right(header: &[u8], parsed: &ProxyHeader<'_>) -> Result<bool, Refused> {
    let mut told = None;
    for field in parsed.tlvs() {
        match field {
            Ok(Tlv::Crc32c(sum)) => told = Some(sum),
            Ok(_) => {}
            Err(_) => return Err(Refusal::AcceptProxyMalformed.because("a field is cut off")),
        }
    }
    let Some(told) = told else { return Ok(true) };
    let field = [&[PP2_TYPE_CRC32C, 0, 4][..], &told.to_be_bytes()].concat();
    // The sum is over the header with zeros in its own place.
    let places = header.windows(field.len()).enumerate().filter(|(_, seen)| *seen == field);
    Ok(places.into_iter().any(|(at, _)| {
        let mut blank = header.to_vec();
        let from = at.saturating_add(3);
        let sum = blank.get_mut(from..from.saturating_add(4));
        sum.into_iter().flatten().for_each(|byte| *byte = 0);
        crc32c(&blank) == told
    }))
}

/// CRC-32C (RFC 9260 appendix A), bit by bit: a header is short.
fn crc32c(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ REVERSED_POLYNOMIAL } else { sum >> 1 }
        })
    });
    !sum
}

/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What a header of version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// Version 2 with the command LOCAL: the balancer speaks for itself.
const LOCAL: u8 = 0x20;
const PP2_TYPE_CRC32C: u8 = 0x03;
const REVERSED_POLYNOMIAL: u32 = 0x82F6_3B78;
/// The protocol's section 2.1: the longest line with its end.
const LONGEST_V1: usize = 107;
/// Two IPv6 addresses and what common balancers add take 300 bytes; a whole certificate is of no use here.
const LONGEST_V2: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::{Budgets, Strangers};
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use std::num::NonZeroUsize;

    fn peer(text: &str) -> PeerAddr {
        PeerAddr::new(text.parse::<SocketAddr>().unwrap())
    }

    fn strangers(share: usize) -> Strangers {
        let number = |n| NonZeroUsize::new(n).unwrap();
        Strangers::new(Budgets {
            strangers: number(9),
            per_source: number(share),
            members: number(1),
        })
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn tcp4(fields: &[u8]) -> Vec<u8> {
        v2(0x21, 0x11, &[&[192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x20, 0xfb], fields].concat())
    }

    /// What comes of these bytes from a balancer, and how many are left for TLS.
    fn met(bytes: &[u8], at_once: usize) -> Result<(PeerAddr, usize), &'static str> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let chunks = bytes.chunks(at_once);
            let mut script = tokio_test_script(chunks);
            let balancers =
                Balancers::new(vec!["10.0.0.0/24".parse().unwrap()], Duration::from_secs(5));
            let accepted = Accepted::new(&mut script, peer("10.0.0.5:1"), &strangers(9));
            match balancers.introduce(accepted).await {
                Ok(introduced) => {
                    assert_eq!(introduced.via(), Some(peer("10.0.0.5:1")));
                    let (stream, peer, _seat) = introduced.into_parts();
                    let mut left = Vec::new();
                    stream.read_to_end(&mut left).await.unwrap();
                    Ok((peer, left.len()))
                }
                Err(refused) => Err(refused.code()),
            }
        })
    }

    /// A stream that gives one chunk a read.
    fn tokio_test_script<'c>(
        chunks: impl Iterator<Item = &'c [u8]>,
    ) -> impl AsyncRead + Unpin + 'c {
        let chunks: Vec<_> = chunks
            .map(|chunk| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(chunk)))
            .collect();
        tokio_util::io::StreamReader::new(futures_util::stream::iter(chunks))
    }

    #[test]
    fn both_versions_are_understood_however_they_are_split_and_nothing_behind_is_lost() {
        let headers = [
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 8443\r\n".to_vec(),
            tcp4(&[]),
            tcp4(&[0x04, 0, 2, 0, 0]),
        ];
        for header in headers {
            for at_once in [1, 2, 7, 12, 13, 1000] {
                let bytes = [&header[..], b"\x16\x03\x01 and so on"].concat();
                assert_eq!(met(&bytes, at_once), Ok((peer("192.0.2.7:12345"), 13)), "{at_once}");
            }
        }
        let mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::1 12345 8443\r\n";
        assert_eq!(met(mapped, 100), Ok((peer("192.0.2.7:12345"), 0)), "one spelling");
    }

    #[test]
    fn what_is_wrong_with_a_header_has_a_name() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let huge = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        let wrong_sum = tcp4(&[3, 0, 4, 1, 2, 3, 4]);
        let cut_field = tcp4(&[4, 0, 9, 1]);
        let udp = v2(0x21, 0x12, &[192, 0, 2, 7, 10, 0, 0, 1, 1, 1, 1, 1]);
        for (bytes, code) in [
            (&b""[..], "accept.proxy-missing"),
            (b"\x16\x03\x01\x02\x00\x01", "accept.proxy-missing"),
            (b"GET / HTTP/1.1\r\n", "accept.proxy-missing"),
            (b"PROXY TCP4 192.0.2.7", "accept.proxy-malformed"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n", "accept.proxy-malformed"),
            (b"PROXY TCP4 192.0.2.777 10.0.0.1 1 2\r\n", "accept.proxy-malformed"),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", "accept.proxy-malformed"),
            (&long, "accept.proxy-too-long"),
            (&huge, "accept.proxy-too-long"),
            (&wrong_sum, "accept.proxy-malformed"),
            (&cut_field, "accept.proxy-malformed"),
            (&v2(0x31, 0x11, &[0; 12]), "accept.proxy-malformed"),
            (&v2(0x21, 0x11, &[0; 11]), "accept.proxy-malformed"),
            (&v2(0x20, 0x00, &[]), "accept.proxy-local"),
            (&v2(0x20, 0x77, &[1, 2]), "accept.proxy-local"),
            (&v2(0x21, 0x00, &[]), "accept.proxy-not-tcp"),
            (&v2(0x21, 0x31, &[0; 216]), "accept.proxy-not-tcp"),
            (&udp, "accept.proxy-not-tcp"),
            (b"PROXY UNKNOWN\r\n", "accept.proxy-not-tcp"),
            (b"PROXY TCP4 0.0.0.0 10.0.0.1 12345 8443\r\n", "accept.proxy-lying"),
            (b"PROXY TCP4 127.0.0.1 10.0.0.1 12345 8443\r\n", "accept.proxy-lying"),
            (b"PROXY TCP6 ::ffff:127.0.0.1 ::1 12345 8443\r\n", "accept.proxy-lying"),
            (b"PROXY TCP4 224.0.0.1 10.0.0.1 12345 8443\r\n", "accept.proxy-lying"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 0 8443\r\n", "accept.proxy-lying"),
        ] {
            assert_eq!(met(bytes, 1000), Err(code), "{:?}", bytes.escape_ascii().to_string());
            assert_eq!(met(bytes, 1), Err(code), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_right_checksum_is_right() {
        // The check value of CRC-32C.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        let blank = tcp4(&[3, 0, 4, 0, 0, 0, 0]);
        let summed = tcp4(&[&[3, 0, 4][..], &crc32c(&blank).to_be_bytes()].concat());
        assert!(met(&summed, 1000).is_ok());
    }

    #[tokio::test]
    async fn nobody_else_is_asked_for_a_header() {
        let balancers =
            Balancers::new(vec!["10.0.0.5/32".parse().unwrap()], Duration::from_secs(5));
        let bytes: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 8443\r\n";
        let accepted = Accepted::new(bytes, peer("10.0.0.6:1"), &strangers(9));
        let introduced = balancers.introduce(accepted).await.unwrap();
        assert_eq!((introduced.peer(), introduced.via()), (peer("10.0.0.6:1"), None));
        assert_eq!(introduced.into_parts().0.len(), bytes.len(), "not a byte is read");
    }

    #[tokio::test]
    async fn a_balancer_of_another_service_is_here_a_visitor_with_a_share() {
        let strangers = strangers(1);
        strangers.exempt(vec!["10.0.0.5/32".parse().unwrap()]);
        let come = || {
            let accepted = Accepted::new(&b""[..], peer("10.0.0.5:1"), &strangers);
            async { Balancers::default().introduce(accepted).await.unwrap().into_parts().2 }
        };
        let (first, _second) = (come().await, come().await);
        assert_eq!(strangers.seated(), 1, "one share, one seat");
        assert_eq!(first.called_out().await, Refusal::AcceptSourceShare);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_any_split_says_the_same(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..80),
                proptest::collection::vec(any::<u8>(), 0..60).prop_map(|rest| [SIGNATURE, &rest].concat()),
                "PROXY [TCP46UNKNOW0-9a-f:. ]{0,60}\r\n".prop_map(String::into_bytes),
            ],
            at_once in 1_usize..20,
        ) {
            prop_assert_eq!(met(&bytes, at_once), met(&bytes, 1000));
        }
    }
}

//! A recorded conversation as a capture file: what a sniffer would have seen, with the keys to read it.
//!
//! The format is pcapng (IETF draft-ietf-opsawg-pcapng): blocks with a type, a length before and after, and
//! a body padded to four bytes. The IP and TCP headers are made up around the bytes that passed.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};

use crate::lab::relay::{Segment, Way};

/// A conversation that passed a relay, and the secrets of its connections as `SSLKEYLOGFILE` has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    pub(crate) segments: Vec<Segment>,
    pub(crate) secrets: String,
}

impl Capture {
    /// The file's bytes. Wireshark opens it, and with the secrets inside it decrypts what is encrypted.
    pub(crate) fn pcapng(&self) -> Vec<u8> {
        let mut file = Vec::new();
        // Byte order, version 1.0, and a length of the section that is not told.
        let mut section = BYTE_ORDER.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend([0xff; 8]);
        block(&mut file, SECTION_HEADER, &section);
        let mut interface = RAW_IP.to_le_bytes().to_vec();
        interface.extend([0; 6]);
        block(&mut file, INTERFACE, &interface);
        if !self.secrets.is_empty() {
            let mut body = TLS_KEY_LOG.to_le_bytes().to_vec();
            body.extend(length(self.secrets.len()).to_le_bytes());
            body.extend(self.secrets.as_bytes());
            block(&mut file, DECRYPTION_SECRETS, &body);
        }
        for packet in self.packets() {
            packet.write(&mut file);
        }
        file
    }

    fn packets(&self) -> Vec<Packet> {
        let mut packets = Vec::new();
        let mut flows: Vec<Flow> = Vec::new();
        for segment in &self.segments {
            if segment.connection >= flows.len() {
                let flow = Flow::new(segment);
                packets.extend(flow.hello(segment.at));
                flows.push(flow);
            }
            let Some(flow) = flows.get_mut(segment.connection) else { continue };
            packets.extend(flow.data(segment));
        }
        let end = self.segments.last().map_or(UNIX_EPOCH, |segment| segment.at);
        packets.extend(flows.iter().flat_map(|flow| flow.end(end)));
        packets
    }
}

/// One connection, and how far each side has counted its bytes.
struct Flow {
    client: SocketAddr,
    server: SocketAddr,
    from_client: u32,
    from_server: u32,
}

impl Flow {
    fn new(first: &Segment) -> Self {
        Self { client: first.client, server: first.server, from_client: 1, from_server: 1 }
    }

    /// The three packets that open a connection.
    fn hello(&self, at: SystemTime) -> Vec<Packet> {
        let bare = |tcp| Packet::new(tcp, &[], at);
        let syn = self.from(Way::ToServer, 0).map(PacketBuilderStep::syn).and_then(bare);
        let answer = self.from(Way::ToClient, 0).map(|tcp| tcp.syn().ack(1)).and_then(bare);
        let ack = self.from(Way::ToServer, 1).map(|tcp| tcp.ack(1)).and_then(bare);
        syn.into_iter().chain(answer).chain(ack).collect()
    }

    fn data(&mut self, segment: &Segment) -> Option<Packet> {
        let (own, other) = match segment.way {
            Way::ToServer => (&mut self.from_client, self.from_server),
            Way::ToClient => (&mut self.from_server, self.from_client),
        };
        let sequence = *own;
        *own = own.wrapping_add(length(segment.bytes.len()));
        let tcp = self.from(segment.way, sequence)?.psh().ack(other);
        Packet::new(tcp, &segment.bytes, segment.at)
    }

    fn end(&self, at: SystemTime) -> Vec<Packet> {
        let Self { from_client, from_server, .. } = *self;
        let after = from_client.wrapping_add(1);
        let bare = |tcp| Packet::new(tcp, &[], at);
        let client = self.from(Way::ToServer, from_client);
        let client = client.map(|tcp| tcp.fin().ack(from_server)).and_then(bare);
        let server = self.from(Way::ToClient, from_server);
        let server = server.map(|tcp| tcp.fin().ack(after)).and_then(bare);
        client.into_iter().chain(server).collect()
    }

    /// The headers of a packet that goes this way; none where the two ends are of two families.
    fn from(&self, way: Way, sequence: u32) -> Option<PacketBuilderStep<TcpHeader>> {
        let (from, to) = match way {
            Way::ToServer => (self.client, self.server),
            Way::ToClient => (self.server, self.client),
        };
        let ip = match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64)
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                PacketBuilder::ipv6(from.ip().octets(), to.ip().octets(), 64)
            }
            (SocketAddr::V4(_), SocketAddr::V6(_)) | (SocketAddr::V6(_), SocketAddr::V4(_)) => {
                return None;
            }
        };
        Some(ip.tcp(from.port(), to.port(), sequence, WINDOW))
    }
}

/// A packet, from its IP header on.
struct Packet {
    at: SystemTime,
    bytes: Vec<u8>,
}

impl Packet {
    fn new(tcp: PacketBuilderStep<TcpHeader>, payload: &[u8], at: SystemTime) -> Option<Self> {
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, payload).ok()?;
        Some(Self { at, bytes })
    }

    fn write(&self, file: &mut Vec<u8>) {
        let since: Duration = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since.as_micros()).unwrap_or(0);
        let part = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        let (high, low) = (part(micros.wrapping_shr(32)), part(micros));
        let length = length(self.bytes.len());
        let mut body = Vec::new();
        for number in [0, high, low, length, length] {
            body.extend(number.to_le_bytes());
        }
        body.extend(&self.bytes);
        block(file, ENHANCED_PACKET, &body);
    }
}

fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padding = body.len().wrapping_neg() & 3;
    let total = length(body.len().saturating_add(padding).saturating_add(12)).to_le_bytes();
    file.extend(kind.to_le_bytes());
    file.extend(total);
    file.extend(body);
    file.extend(std::iter::repeat_n(0, padding));
    file.extend(total);
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

// Numbers of the pcapng draft, section 4, and of the registry of link types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;
/// "TLSK".
const TLS_KEY_LOG: u32 = 0x544c_534b;
const RAW_IP: u32 = 101;
const WINDOW: u16 = 64_240;

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(connection: usize, way: Way, bytes: &[u8]) -> Segment {
        let (client, server) =
            ("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:443".parse().unwrap());
        Segment { connection, client, server, way, at: SystemTime::now(), bytes: bytes.to_vec() }
    }

    /// Every block's type and body, if the lengths before and after agree.
    fn blocks(file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let number = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk::<4>().unwrap());
        let mut rest = file;
        let mut found = Vec::new();
        while let Some((head, after)) = rest.split_at_checked(8) {
            let total = usize::try_from(number(&head[4..])).unwrap();
            assert_eq!(total.checked_rem(4), Some(0));
            let (body, after) = after.split_at(total.checked_sub(12).unwrap());
            assert_eq!(number(after), number(&head[4..]));
            found.push((number(head), body.to_vec()));
            rest = &after[4..];
        }
        assert!(rest.is_empty());
        found
    }

    #[test]
    fn a_conversation_becomes_blocks_that_agree_with_themselves() {
        let segments = vec![segment(0, Way::ToServer, b"PIN=1"), segment(0, Way::ToClient, b"ok")];
        let file = Capture { segments, secrets: "CLIENT_RANDOM 00 11\n".to_owned() }.pcapng();
        let found = blocks(&file);
        let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
        // A handshake of three, two with data, two ends.
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE, DECRYPTION_SECRETS, 6, 6, 6, 6, 6, 6, 6]);
        assert!(found[6].1.windows(5).any(|window| window == b"PIN=1"));
    }

    #[test]
    fn the_sequence_numbers_count_the_bytes() {
        let segments = vec![
            segment(0, Way::ToServer, &[1; 100]),
            segment(0, Way::ToServer, &[2; 50]),
            segment(0, Way::ToClient, &[3; 7]),
        ];
        let packets = Capture { segments, secrets: String::new() }.packets();
        let sequence =
            |packet: &Packet| u32::from_be_bytes(packet.bytes[24..28].try_into().unwrap());
        let acknowledged =
            |packet: &Packet| u32::from_be_bytes(packet.bytes[28..32].try_into().unwrap());
        assert_eq!(packets[3..6].iter().map(sequence).collect::<Vec<_>>(), [1, 101, 1]);
        assert_eq!(acknowledged(&packets[5]), 151);
        assert_eq!((sequence(&packets[6]), sequence(&packets[7])), (151, 8));
    }
}

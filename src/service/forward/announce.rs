//! The announcement: a header of the PROXY protocol that tells an upstream who calls.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proxy_header::{ProxiedAddress, ProxyHeader, SslInfo, Tlv};
use rustls::ProtocolVersion;

use crate::handshake::Name;
use crate::identity::{Caller, PermittedName};
use crate::refusal::{Refusal, Refused};

/// What an upstream is told of a caller before the caller's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// Nothing: the session begins with what the caller says.
    #[default]
    Nothing,
    /// Both addresses, in a header of the PROXY protocol version 1.
    V1,
    /// Addresses, identity and the number of the visit, in a header of version 2.
    ///
    /// Beside the standard fields ALPN (where one was agreed on), SSL (a client certificate was shown and
    /// verified; the TLS version; the common name where there is one), `UNIQUE_ID` (the visit's number in
    /// the record, in decimal) and CRC32C it carries three of our own: 0xE0 the name that was permitted,
    /// as a rule writes it (`dns:alice.client.internal`); 0xE1 the SHA-256 of the caller's certificate in
    /// hexadecimal; 0xE2 the name of the service.
    V2,
}

impl Announce {
    /// The header for a caller of the service called `service`; empty where nothing is to be told.
    ///
    /// Every value comes from the caller's certificate, its connection or the configuration, and has a
    /// bound: the whole header stays below 2 KiB.
    ///
    /// # Errors
    /// [`Refusal::ServiceFailed`] where a value is longer than its bound. It is never cut: a part of a
    /// name can be another one's name.
    pub(super) fn header(self, caller: &Caller, service: &str) -> Result<Vec<u8>, Refused> {
        let addresses = addresses(caller);
        match self {
            Announce::Nothing => Ok(Vec::new()),
            Announce::V1 => {
                let mut header = Vec::new();
                ProxyHeader::with_address(addresses)
                    .encode_v1(&mut header)
                    .map_err(|error| unspeakable(&error))?;
                Ok(header)
            }
            Announce::V2 => {
                let tlvs = fields(caller, service)?;
                let mut header = Vec::new();
                ProxyHeader::with_tlvs(Some(addresses), tlvs)
                    .encode_v2(&mut header)
                    .map_err(|error| unspeakable(&error))?;
                seal(&mut header);
                Ok(header)
            }
        }
    }

    /// The header of a connection that is nobody's: a check of ours.
    pub(super) fn own(self) -> Vec<u8> {
        let mut header = Vec::new();
        // A header without an address fits every buffer.
        match self {
            Announce::Nothing => {}
            Announce::V1 => drop(ProxyHeader::with_local().encode_v1(&mut header)),
            Announce::V2 => drop(ProxyHeader::with_local().encode_v2(&mut header)),
        }
        header
    }
}

/// Both addresses, of one family: where they differ, IPv4 is written as its IPv6 twin.
fn addresses(caller: &Caller) -> ProxiedAddress {
    let peer = caller.peer();
    let source = SocketAddr::new(peer.ip(), peer.port());
    let met = caller.met().map_or_else(
        || SocketAddr::new(nowhere(source.ip()), 0),
        |met| SocketAddr::new(met.ip().to_canonical(), met.port()),
    );
    if source.is_ipv4() == met.is_ipv4() {
        return ProxiedAddress::stream(source, met);
    }
    ProxiedAddress::stream(in_v6(source), in_v6(met))
}

fn nowhere(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn in_v6(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(ip.into(), address.port())
}

fn fields<'a>(caller: &'a Caller, service: &'a str) -> Result<Vec<Tlv<'a>>, Refused> {
    let mut fields = Vec::new();
    if let Some(alpn) = caller.alpn() {
        fields.push(Tlv::Alpn(bound(alpn)?.into()));
    }
    fields.push(Tlv::Ssl(secured(caller)?));
    fields.push(Tlv::UniqueId(caller.visit().to_string().into_bytes().into()));
    let name = spelled(caller.name());
    bound(name.as_bytes())?;
    fields.push(Tlv::Custom(NAME, name.into_bytes().into()));
    let fingerprint = in_hex(caller.presented().fingerprint());
    fields.push(Tlv::Custom(FINGERPRINT, fingerprint.into_bytes().into()));
    fields.push(Tlv::Custom(SERVICE, bound(service.as_bytes())?.into()));
    fields.push(Tlv::Crc32c(0));
    Ok(fields)
}

/// Nobody gets here without TLS and a certificate that was verified in this very connection.
fn secured(caller: &Caller) -> Result<SslInfo<'static>, Refused> {
    let mut info = SslInfo::new(true, true, true, 0);
    let version = caller.tls_version().and_then(version);
    if let Some(version) = version {
        info.append_tlv(Tlv::SslVersion(version.into()));
    }
    let common = caller.presented().names().iter().find_map(|name| match name {
        Name::Common(text) if !text.is_empty() => Some(text),
        Name::Common(_) | Name::Dns(_) | Name::Uri(_) | Name::Email(_) => None,
    });
    if let Some(common) = common {
        bound(common.as_bytes())?;
        info.append_tlv(Tlv::SslCn(common.into()));
    }
    Ok(info)
}

/// The words OpenSSL has for the versions, which other proxies send.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; no other version is spoken here"
)]
fn version(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// The name as a rule writes it, byte for byte: an upstream compares it.
fn spelled(name: &PermittedName) -> String {
    match name {
        PermittedName::Name(Name::Dns(text)) => format!("dns:{text}"),
        PermittedName::Name(Name::Uri(text)) => format!("uri:{text}"),
        PermittedName::Name(Name::Email(text)) => format!("email:{text}"),
        PermittedName::Name(Name::Common(text)) => format!("cn:{text}"),
        PermittedName::Pin(pin) => format!("pin:{pin}"),
    }
}

fn in_hex(bytes: [u8; 32]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn bound(value: &[u8]) -> Result<&[u8], Refused> {
    if value.len() > LONGEST_VALUE {
        let what = format!("a value of {} bytes is too long to announce", value.len());
        return Err(Refusal::ServiceFailed.because(what));
    }
    Ok(value)
}

fn unspeakable(error: &proxy_header::Error) -> Refused {
    Refusal::ServiceFailed.because(format!("the caller cannot be announced: {error}"))
}

/// Writes the checksum of the whole header into its last four bytes, which are zero.
fn seal(header: &mut [u8]) {
    let sum = crc32c(header).to_be_bytes();
    if let Some(last) = header.last_chunk_mut::<4>() {
        *last = sum;
    }
}

/// CRC-32C (RFC 9260 appendix A), a bit at a time: a header is short.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ CASTAGNOLI } else { sum >> 1 };
    let fold = |sum: u32, byte: &u8| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum));
    !bytes.iter().fold(!0, fold)
}

/// The polynomial of Castagnoli, its bits reversed.
const CASTAGNOLI: u32 = 0x82F6_3B78;
/// Types 0xE0 to 0xEF are for the use of applications.
const NAME: u8 = 0xE0;
const FINGERPRINT: u8 = 0xE1;
const SERVICE: u8 = 0xE2;
/// A name of 255 bytes, as the handshake room admits it, with its type before it. Four such values
/// and the rest fit below 2 KiB, and nginx reads headers of up to 4 KiB.
const LONGEST_VALUE: usize = 255 + "email:".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 9260 appendix A names the algorithm; RFC 3720 appendix B.4 gives these values.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_check_of_ours_says_that_it_is_nobodys() {
        assert_eq!(Announce::Nothing.own(), b"");
        assert_eq!(Announce::V1.own(), b"PROXY UNKNOWN\r\n");
        assert_eq!(Announce::V2.own(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }

    #[test]
    fn a_value_that_is_too_long_is_refused_and_not_cut() {
        assert_eq!(bound(&vec![b'a'; LONGEST_VALUE]).unwrap().len(), LONGEST_VALUE);
        let refused = bound(&vec![b'a'; LONGEST_VALUE + 1]).unwrap_err();
        assert_eq!(refused.refusal(), Refusal::ServiceFailed);
    }
}

//! Networks as people write them: one spelling each, and a reason for every other.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::problem::{Fault, Problem};

/// Reads `10.0.0.0/8`, `2001:db8::/32`, or one address, which is a network of itself alone.
///
/// # Errors
/// One reason, with a remedy: [`Fault::AddressHostBits`] where bits outside the prefix are set,
/// [`Fault::AddressLeadingZero`] where a number begins with a zero, [`Fault::AddressMapped`] for an
/// IPv4-mapped network, which could never match, [`Fault::AddressBadNetwork`] for anything else.
pub fn parse_network(text: &str) -> Result<IpNet, Problem> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    if let Some(plain) = without_leading_zeros(text) {
        return Err(Problem::error(
            Fault::AddressLeadingZero,
            format!("{text:?} has a number with a leading zero, which some programs read as octal"),
            format!("write {plain}"),
        ));
    }
    let ip: IpAddr = address.parse().map_err(|_| not_an_address(text, address))?;
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(prefix) => length(text, prefix, longest)?,
        None => longest,
    };
    if let IpAddr::V6(v6) = ip
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(mapped(text, v4, prefix));
    }
    let network = IpNet::new(ip, prefix).map_err(|_| not_an_address(text, address))?;
    if network.trunc() != network {
        return Err(Problem::error(
            Fault::AddressHostBits,
            format!("{text} names a host, not a network"),
            format!("write {}, or {ip}/{longest} for this one host", network.trunc()),
        ));
    }
    Ok(network)
}

fn length(text: &str, prefix: &str, longest: u8) -> Result<u8, Problem> {
    let bits = prefix
        .parse::<u8>()
        .ok()
        .filter(|bits| *bits <= longest && prefix.bytes().all(|b| b.is_ascii_digit()));
    bits.ok_or_else(|| {
        let remedy = match prefix.parse::<Ipv4Addr>() {
            Ok(mask) if mask.to_bits().leading_ones() == mask.to_bits().count_ones() => {
                format!("write the mask {mask} as /{}", mask.to_bits().count_ones())
            }
            _ => format!("write a prefix length from 0 to {longest} after the slash"),
        };
        Problem::error(
            Fault::AddressBadNetwork,
            format!("{text:?} has no prefix length from 0 to {longest}"),
            remedy,
        )
    })
}

fn mapped(text: &str, v4: Ipv4Addr, prefix: u8) -> Problem {
    // Who writes ::ffff:10.0.0.0/8 means the prefix of the IPv4 network.
    let bits = prefix.checked_sub(96).unwrap_or(prefix);
    let remedy = match IpNet::new(v4.into(), bits).map(|network| network.trunc()) {
        Ok(network) => format!("write {network}"),
        Err(_) => "write the IPv4 network, such as 10.0.0.0/8".to_owned(),
    };
    let what = format!("{text} would never match: visitors are judged by their IPv4 address");
    Problem::error(Fault::AddressMapped, what, remedy)
}

fn not_an_address(text: &str, address: &str) -> Problem {
    let without_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.parse::<IpAddr>().is_ok() && port.parse::<u16>().is_ok()
    });
    let remedy = if text.trim() != text {
        "remove the spaces around it"
    } else if without_port {
        "leave the port out: addresses are judged, not ports"
    } else if text.contains('*') {
        "write a network such as 10.0.0.0/8 in place of the pattern"
    } else if text.contains('-') && text.bytes().any(|byte| byte == b'.') && !has_letters(text) {
        "write networks such as 10.0.0.0/8 in place of the range"
    } else if address.contains('%') {
        "leave the zone after the % out"
    } else if has_letters(address) && !address.contains(':') {
        "write addresses: names are not looked up, because whoever answers for them would decide"
    } else {
        "write a network such as 10.0.0.0/8 or 2001:db8::/32, or one address"
    };
    Problem::error(
        Fault::AddressBadNetwork,
        format!("{text:?} is no address and no network"),
        remedy,
    )
}

fn has_letters(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The same text without leading zeros in its decimal numbers, where it has any.
fn without_leading_zeros(text: &str) -> Option<String> {
    // Of a million lines none has one: they are not taken apart for it.
    let mut parts = text.split(|c: char| !c.is_ascii_alphanumeric());
    if !parts.any(|part| part.len() > 1 && part.starts_with('0')) {
        return None;
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let is_decimal =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = address.split('.').collect();
    let is_v4 = parts.len() == 4 && parts.iter().all(|part| is_decimal(part));
    let plain = |part: &str| match part.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    };
    let mut written = if is_v4 {
        parts.iter().map(|part| plain(part)).collect::<Vec<_>>().join(".")
    } else {
        address.to_owned()
    };
    if let Some(prefix) = prefix {
        written.push('/');
        written.push_str(&if is_decimal(prefix) { plain(prefix) } else { prefix.to_owned() });
    }
    (written != text).then_some(written)
}

/// A number of addresses as people read it: `65,534`, or `about 2^64`.
#[must_use]
pub fn counted(number: u128) -> String {
    if number < LONGEST_NUMBER {
        return in_threes(&number.to_string());
    }
    let whole = number.saturating_add(1);
    let power = whole.checked_ilog2().unwrap_or_default();
    format!("about 2^{power}")
}

fn in_threes(digits: &str) -> String {
    let mut text = String::new();
    for (left, digit) in (1..=digits.len()).rev().zip(digits.chars()) {
        text.push(digit);
        if left > 1 && left % 3 == 1 {
            text.push(',');
        }
    }
    text
}

/// All of IPv4 is still read as a number; more is read as a power of two.
const LONGEST_NUMBER: u128 = 10_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let problem = parse_network(text).unwrap_err();
        format!("{} | {}", problem.fault(), problem.remedy())
    }

    #[test]
    fn one_address_is_a_network_of_itself() {
        assert_eq!(parse_network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(parse_network("::1").unwrap().to_string(), "::1/128");
        assert_eq!(parse_network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(parse_network("0.0.0.0/0").unwrap().to_string(), "0.0.0.0/0");
        assert_eq!(parse_network("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
    }

    #[test]
    fn host_bits_are_refused_with_both_meanings() {
        assert_eq!(
            problem("10.1.2.3/8"),
            "address.host-bits | write 10.0.0.0/8, or 10.1.2.3/32 for this one host"
        );
        assert_eq!(
            problem("2001:db8::1/32"),
            "address.host-bits | write 2001:db8::/32, or 2001:db8::1/128 for this one host"
        );
    }

    #[test]
    fn leading_zeros_are_refused() {
        assert_eq!(problem("010.0.0.1"), "address.leading-zero | write 10.0.0.1");
        assert_eq!(problem("10.0.0.0/08"), "address.leading-zero | write 10.0.0.0/8");
        assert_eq!(problem("2001:db8::/032"), "address.leading-zero | write 2001:db8::/32");
    }

    #[test]
    fn mapped_networks_are_refused_with_their_ipv4_form() {
        assert_eq!(problem("::ffff:127.0.0.0/104"), "address.mapped | write 127.0.0.0/8");
        assert_eq!(problem("::ffff:10.1.2.3"), "address.mapped | write 10.1.2.3/32");
        assert_eq!(problem("::ffff:10.0.0.0/8"), "address.mapped | write 10.0.0.0/8");
        assert_eq!(
            problem("::ffff:0:0/64"),
            "address.mapped | write the IPv4 network, such as 10.0.0.0/8"
        );
    }

    #[test]
    fn anything_else_says_what_to_write() {
        for (text, remedy) in [
            ("", "write a network such as 10.0.0.0/8 or 2001:db8::/32, or one address"),
            (" 10.0.0.1", "remove the spaces around it"),
            ("10.0.0.1:80", "leave the port out: addresses are judged, not ports"),
            ("[::1]:80", "leave the port out: addresses are judged, not ports"),
            (
                "localhost",
                "write addresses: names are not looked up, because whoever answers for them would decide",
            ),
            ("10.*", "write a network such as 10.0.0.0/8 in place of the pattern"),
            ("10.0.0.1-10.0.0.9", "write networks such as 10.0.0.0/8 in place of the range"),
            ("fe80::1%eth0", "leave the zone after the % out"),
            ("10.0.0.0/255.0.0.0", "write the mask 255.0.0.0 as /8"),
            ("10.0.0.0/33", "write a prefix length from 0 to 32 after the slash"),
            ("10.0.0.0/", "write a prefix length from 0 to 32 after the slash"),
            ("10.0.0.0/+8", "write a prefix length from 0 to 32 after the slash"),
            ("::/129", "write a prefix length from 0 to 128 after the slash"),
        ] {
            assert_eq!(problem(text), format!("address.bad-network | {remedy}"), "{text}");
        }
    }

    #[test]
    fn a_count_is_read_in_threes_or_as_a_power() {
        for (count, text) in
            [(0, "0"), (999, "999"), (65_534, "65,534"), (1 << 32, "4,294,967,296")]
        {
            assert_eq!(counted(count), text);
        }
        assert_eq!(counted((1 << 64) - 1), "about 2^64");
        assert_eq!(counted(u128::MAX), "about 2^127");
    }
}

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::sample::select;

use super::interpreter::passes;
use super::*;
use crate::address::{Ban, BannedBy, NetworkRule};
use crate::peer::{PeerAddr, PeerText};
use crate::place::Place;

fn gate(allow: &[IpNet], deny: &[IpNet]) -> AddressGate {
    let allow = allow.iter().map(|net| (*net, Effect::Allow));
    let deny = deny.iter().map(|net| (*net, Effect::Deny));
    let place = Place::in_code("test");
    let rule = |(network, effect)| NetworkRule { network, effect, place: place.clone() };
    AddressGate::new(allow.chain(deny).map(rule))
}

fn banned(networks: &[IpNet]) -> Bans {
    let mut bans = Bans::default();
    for network in networks {
        let until = now().checked_add(Duration::from_secs(60)).unwrap();
        bans.add(*network, Ban { until, why: PeerText::new(b"x"), by: BannedBy::Operator });
    }
    bans
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What the rooms of a service say of a visitor from this address.
fn rooms_say(gate: &AddressGate, bans: &Bans, balancers: &[IpNet], ip: IpAddr) -> bool {
    let peer = PeerAddr::new((ip, 1).into());
    balancers.iter().any(|network| network.contains(&ip))
        || (bans.judge(peer, now()).is_ok() && gate.judge(peer).is_ok())
}

#[test]
fn an_empty_gate_lets_nobody_pass() {
    for (family, ip) in [(Family::V4, "127.0.0.1"), (Family::V6, "::1")] {
        let program =
            Program::compile(family, &AddressGate::default(), &Bans::default(), &[]).unwrap();
        assert_eq!(program.instructions().len(), 1, "nothing has to be looked at");
        assert!(!passes(&program, ip.parse().unwrap()));
    }
}

#[test]
fn everybody_passes_where_everybody_is_listed() {
    let gate = gate(&nets(&["0.0.0.0/0", "::/0"]), &[]);
    let v4 = Program::compile(Family::V4, &gate, &Bans::default(), &[]).unwrap();
    let v6 = Program::compile(Family::V6, &gate, &Bans::default(), &[]).unwrap();
    assert_eq!(v4.instructions().len(), 1);
    assert!(passes(&v4, "255.255.255.255".parse().unwrap()));
    assert!(passes(&v6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()));
    assert!(
        !passes(&v6, "::ffff:10.0.0.1".parse().unwrap()),
        "no socket of ours has such a visitor"
    );
}

#[test]
fn a_balancer_passes_whatever_the_lists_say_of_it() {
    let gate = gate(&nets(&["10.0.0.0/8"]), &nets(&["192.0.2.7/32"]));
    let bans = banned(&nets(&["192.0.2.0/24", "10.1.0.0/16"]));
    let program = Program::compile(Family::V4, &gate, &bans, &nets(&["192.0.2.7/32"])).unwrap();
    let said = |ip: &str| passes(&program, ip.parse().unwrap());
    assert!(said("192.0.2.7"));
    assert!(!said("192.0.2.8"));
    assert!(said("10.0.0.1"));
    assert!(!said("10.1.0.1"), "banned");
}

#[test]
fn neighbours_are_merged_before_they_are_counted() {
    let all: Vec<_> = (0..=255_u8).map(|n| IpNet::new([10, 0, n, 0].into(), 24).unwrap()).collect();
    let program = Program::compile(Family::V4, &gate(&all, &[]), &Bans::default(), &[]).unwrap();
    assert_eq!(program.instructions().len(), 5, "a word, two comparisons, two ends");
}

#[test]
fn a_list_in_too_many_pieces_makes_no_program() {
    let every_other = |count: u32| -> Vec<IpNet> {
        (0..count).map(|n| IpNet::from(IpAddr::from(Ipv4Addr::from(n * 2)))).collect()
    };
    let of = |count| {
        Program::compile(Family::V4, &gate(&every_other(count), &[]), &Bans::default(), &[])
    };
    let most = of(1900).unwrap();
    assert!(most.instructions().len() <= MOST_INSTRUCTIONS);
    for n in 0..4000 {
        let ip = Ipv4Addr::from(n);
        assert_eq!(passes(&most, ip.into()), n % 2 == 0 && n < 3800, "{ip}");
    }
    assert_eq!(of(2100), Err(TooLong));
    assert_eq!(of(100_000), Err(TooLong));
}

#[test]
fn seven_hundred_ipv6_networks_fit_wherever_they_are() {
    let scattered: Vec<IpNet> = (1..=700_u128)
        .map(|n| {
            let bits = (0x2001_u128 << 112) | ((n * 0x9E37_79B9_7F4B % (1 << 48)) << 64);
            IpNet::new(Ipv6Addr::from_bits(bits).into(), 64).unwrap()
        })
        .collect();
    let program =
        Program::compile(Family::V6, &gate(&scattered, &[]), &Bans::default(), &[]).unwrap();
    for network in scattered {
        let IpNet::V6(network) = network else { continue };
        assert!(passes(&program, network.broadcast().into()), "{network}");
        let after = Ipv6Addr::from(network.broadcast().to_bits() + 1);
        assert!(!passes(&program, after.into()), "{after}");
    }
}

#[test]
fn a_listener_on_loopback_is_filtered_on_demand_only() {
    let said = |ip: &str| {
        [Kernel::Off, Kernel::Outside, Kernel::All].map(|kernel| kernel.covers(ip.parse().unwrap()))
    };
    for loopback in ["127.0.0.1", "127.9.9.9", "::1"] {
        assert_eq!(said(loopback), [false, false, true], "{loopback}");
    }
    for outside in ["0.0.0.0", "::", "192.0.2.1", "fe80::1"] {
        assert_eq!(said(outside), [false, true, true], "{outside}");
    }
}

/// Networks that nest, touch, and reach both ends of the address space.
fn networks(most: usize) -> impl Strategy<Value = Vec<IpNet>> {
    let v4 = (any::<u32>(), select(vec![0_u32, 0x0A00_0000, 0xFFFF_0000]), 0..=32_u8).prop_map(
        |(bits, base, length)| {
            let bits = base | (bits & 0xFFFF);
            IpNet::new(Ipv4Addr::from(bits).into(), length).unwrap().trunc()
        },
    );
    let v6 = (any::<u128>(), select(vec![0_u32, 16, 32, 64, 112]), 0..=128_u8).prop_map(
        |(bits, shared, length)| {
            let bits = bits.checked_shr(shared).unwrap_or(0);
            let network = IpNet::new(Ipv6Addr::from(bits).into(), length).unwrap().trunc();
            // The lists refuse these, so no gate has them.
            if MAPPED.contains(&Ipv6Addr::from(bits)) { "::/0".parse().unwrap() } else { network }
        },
    );
    prop::collection::vec(prop_oneof![v4, v6], 0..most)
}

/// The ends of every network and their neighbours, where a mistake would be, and addresses between.
fn asked(networks: &[IpNet], others: &[u128]) -> Vec<IpAddr> {
    let mut asked = Vec::new();
    for network in networks {
        match network {
            IpNet::V4(net) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                for bits in [first.wrapping_sub(1), first, last, last.wrapping_add(1)] {
                    asked.push(Ipv4Addr::from(bits).into());
                }
            }
            IpNet::V6(net) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                for bits in [first.wrapping_sub(1), first, last, last.wrapping_add(1)] {
                    asked.push(Ipv6Addr::from(bits).into());
                }
            }
        }
    }
    for other in others {
        asked.push(Ipv6Addr::from(*other).into());
        asked.push(Ipv6Addr::from(*other >> 64).into());
        let low = u32::try_from(other & 0xFFFF_FFFF).unwrap();
        asked.push(Ipv4Addr::from(low).into());
        asked.push(Ipv4Addr::from(0x0A00_0000 | (low & 0xFFFF)).into());
    }
    asked
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Each case asks for some 400 addresses: more than 100,000 in all.
    #[test]
    fn the_program_says_what_the_rooms_say(
        allow in networks(40), deny in networks(20), bans in networks(10), balancers in networks(3),
        others in prop::collection::vec(any::<u128>(), 40),
    ) {
        let gate = gate(&allow, &deny);
        let all: Vec<IpNet> =
            [&*allow, &*deny, &*bans, &*balancers].into_iter().flatten().copied().collect();
        let bans = banned(&bans);
        let v4 = Program::compile(Family::V4, &gate, &bans, &balancers).unwrap();
        let v6 = Program::compile(Family::V6, &gate, &bans, &balancers).unwrap();
        for ip in asked(&all, &others) {
            let (program, is_mapped) = match ip {
                IpAddr::V4(_) => (&v4, false),
                IpAddr::V6(v6_ip) => (&v6, v6_ip.to_ipv4_mapped().is_some()),
            };
            let expected = !is_mapped && rooms_say(&gate, &bans, &balancers, ip);
            prop_assert_eq!(passes(program, ip), expected, "{}", ip);
        }
    }
}

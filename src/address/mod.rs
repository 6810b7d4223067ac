//! The address gate: may this address talk to us at all?

mod bans;
pub mod kernel;
mod list;
mod ranges;
mod rules;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::accept::Introduced;
use crate::accept::StrangerSeat;
use crate::peer::PeerAddr;
use crate::place::Place;
use crate::refusal::{Refusal, Refused};

pub use bans::{Ban, BanList, BannedBy, Bans};
pub use list::{parse_list, twins};
use ranges::{Deciding, Ranges};
use rules::Rules;

/// The allow and deny rules of one service, ready to judge.
///
/// The most specific network wins, and a deny wins a tie. An address that no rule covers is refused,
/// so an empty gate admits nobody. Every verdict names the rule that decided.
#[derive(Debug, Default)]
pub struct AddressGate {
    rules: Rules,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// One line of an address list: a network, what it does, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRule {
    /// The network, without host bits and never IPv4-mapped: see [`crate::network::parse_network`].
    pub network: IpNet,
    /// What happens to an address in it.
    pub effect: Effect,
    /// Where the rule is written.
    pub place: Place,
}

/// What a rule does to the addresses in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// They may go on.
    Allow,
    /// They are turned away.
    Deny,
}

/// Addresses that follow each other and have the same deciding rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first of them.
    pub first: IpAddr,
    /// The last of them, of the same family.
    pub last: IpAddr,
    /// The rule that decides.
    pub rule: NetworkRule,
}

impl AddressGate {
    /// A gate that judges by these rules; their order means nothing.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = NetworkRule>) -> Self {
        let (mut kept, mut v4, mut v6) = (Rules::default(), Vec::new(), Vec::new());
        for rule in rules {
            let (network, effect) = (rule.network, rule.effect);
            let number = kept.add(rule);
            let (first, last) = (network.network(), network.broadcast());
            match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    v4.push(ranges::span(first.to_bits(), last.to_bits(), effect, number));
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    v6.push(ranges::span(first.to_bits(), last.to_bits(), effect, number));
                }
                // Both are of the family of the network.
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        kept.settle();
        Self { v4: Ranges::flatten(v4), v6: Ranges::flatten(v6), rules: kept }
    }

    /// The rules it judges by, the IPv4 ones first, each family in the order in which it was given.
    pub fn rules(&self) -> impl Iterator<Item = NetworkRule> + Clone {
        self.rules.iter()
    }

    /// The most specific rule that covers the address, whatever it says.
    #[must_use]
    pub fn deciding(&self, peer: PeerAddr) -> Option<NetworkRule> {
        match peer.ip() {
            IpAddr::V4(ip) => self.rules.v4(self.v4.find(ip.to_bits())?.number()),
            IpAddr::V6(ip) => self.rules.v6(self.v6.find(ip.to_bits())?.number()),
        }
    }

    /// What the rule that decides does, without the rule.
    #[must_use]
    pub fn effect(&self, peer: PeerAddr) -> Option<Effect> {
        let deciding = match peer.ip() {
            IpAddr::V4(ip) => self.v4.find(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.find(ip.to_bits()),
        };
        deciding.map(Deciding::effect)
    }

    /// The whole policy as runs that do not overlap, IPv4 first, in order. What is in none of them no
    /// rule covers. Neighbours may have rules of the same effect.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        let v4 = self.v4.runs().filter_map(|(first, last, rule)| {
            let (first, last) = (Ipv4Addr::from(first).into(), Ipv4Addr::from(last).into());
            Some(Run { first, last, rule: self.rules.v4(rule.number())? })
        });
        let v6 = self.v6.runs().filter_map(|(first, last, rule)| {
            let (first, last) = (Ipv6Addr::from(first).into(), Ipv6Addr::from(last).into());
            Some(Run { first, last, rule: self.rules.v6(rule.number())? })
        });
        v4.chain(v6)
    }

    /// The rule that lets this address go on.
    ///
    /// # Errors
    /// [`Refusal::AddressNotListed`] where no rule covers it, [`Refusal::AddressDenied`] with the rule
    /// where the deciding one is a deny.
    pub fn judge(&self, peer: PeerAddr) -> Result<NetworkRule, Refused> {
        let rule = self.deciding(peer).ok_or_else(|| Refusal::AddressNotListed.bare())?;
        match rule.effect {
            Effect::Allow => Ok(rule),
            Effect::Deny => Err(Refusal::AddressDenied.by_rule(rule.place)),
        }
    }

    /// Lets an introduced visitor go on to the handshake.
    ///
    /// # Errors
    /// As [`AddressGate::judge`]; the stream is dropped, and the stranger learns nothing.
    pub fn admit<S>(&self, introduced: Introduced<S>) -> Result<Admitted<S>, Refused> {
        self.pass(introduced.peer())?;
        let (stream, peer, seat) = introduced.into_parts();
        Ok(Admitted { stream, peer, seat })
    }

    /// As [`AddressGate::judge`], for whoever does not ask which rule it was.
    pub(crate) fn pass(&self, peer: PeerAddr) -> Result<(), Refused> {
        match self.effect(peer) {
            Some(Effect::Allow) => Ok(()),
            Some(Effect::Deny) => {
                Err(self.judge(peer).err().unwrap_or(Refusal::AddressDenied.bare()))
            }
            None => Err(Refusal::AddressNotListed.bare()),
        }
    }
}

/// A visitor whose address may knock. Made by [`AddressGate::admit`] alone.
#[derive(Debug)]
pub struct Admitted<S> {
    stream: S,
    peer: PeerAddr,
    seat: StrangerSeat,
}

impl<S> Admitted<S> {
    /// Where the visitor comes from.
    #[must_use]
    pub fn peer(&self) -> PeerAddr {
        self.peer
    }

    pub(crate) fn into_parts(self) -> (S, PeerAddr, StrangerSeat) {
        (self.stream, self.peer, self.seat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(network: IpNet, effect: Effect, line: u32) -> NetworkRule {
        NetworkRule { network, effect, place: Place::new("test.toml".into(), line, 1) }
    }

    fn gate(allow: &[&str], deny: &[&str]) -> AddressGate {
        let allow = allow.iter().map(|net| (net, Effect::Allow));
        let deny = deny.iter().map(|net| (net, Effect::Deny));
        let rules = (1..).zip(allow.chain(deny));
        AddressGate::new(
            rules.map(|(line, (net, effect))| rule(net.parse().unwrap(), effect, line)),
        )
    }

    fn peer(ip: &str) -> PeerAddr {
        PeerAddr::new((ip.parse::<IpAddr>().unwrap(), 9).into())
    }

    fn verdict(gate: &AddressGate, ip: &str) -> String {
        match gate.judge(peer(ip)) {
            Ok(rule) => format!("ok by {}", rule.place),
            Err(refused) => refused.to_string(),
        }
    }

    #[test]
    fn an_empty_gate_admits_nobody() {
        assert_eq!(verdict(&AddressGate::default(), "127.0.0.1"), "address.not-listed");
        assert_eq!(verdict(&AddressGate::default(), "::1"), "address.not-listed");
    }

    #[test]
    fn the_most_specific_network_wins() {
        let gate = gate(&["10.0.0.0/8", "10.1.2.3/32"], &["10.1.0.0/16"]);
        assert_eq!(verdict(&gate, "10.0.0.1"), "ok by test.toml:1:1");
        assert_eq!(verdict(&gate, "10.1.0.1"), "address.denied by test.toml:3:1");
        assert_eq!(verdict(&gate, "10.1.2.3"), "ok by test.toml:2:1");
        assert_eq!(verdict(&gate, "10.1.2.4"), "address.denied by test.toml:3:1");
        assert_eq!(verdict(&gate, "10.2.0.0"), "ok by test.toml:1:1");
        assert_eq!(verdict(&gate, "11.0.0.0"), "address.not-listed");
    }

    #[test]
    fn deny_wins_a_tie() {
        let gate = gate(&["192.0.2.0/24"], &["192.0.2.0/24"]);
        assert_eq!(verdict(&gate, "192.0.2.1"), "address.denied by test.toml:2:1");
    }

    #[test]
    fn a_mapped_address_meets_its_ipv4_rule() {
        let gate = gate(&["::/0"], &["127.0.0.0/8"]);
        assert_eq!(verdict(&gate, "::ffff:127.0.0.1"), "address.denied by test.toml:2:1");
    }

    #[test]
    fn the_ends_of_the_address_space_are_covered() {
        let gate = gate(&["0.0.0.0/0", "::/0"], &["255.255.255.255/32", "ffff::/16"]);
        assert_eq!(verdict(&gate, "0.0.0.0"), "ok by test.toml:1:1");
        assert_eq!(verdict(&gate, "255.255.255.254"), "ok by test.toml:1:1");
        assert_eq!(verdict(&gate, "255.255.255.255"), "address.denied by test.toml:3:1");
        assert_eq!(verdict(&gate, "ffff:ffff::1"), "address.denied by test.toml:4:1");
    }

    #[test]
    fn a_network_of_a_long_list_weighs_forty_bytes_at_most() {
        let mut numbers = 1..;
        let mut spread = || {
            let number: u128 = numbers.next().unwrap_or(0);
            number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
        };
        let mut nets = std::collections::BTreeSet::new();
        while nets.len() < 100_000 {
            let ip = Ipv4Addr::from(u32::try_from(spread() >> 96).unwrap());
            nets.insert(IpNet::new(ip.into(), 32).unwrap());
        }
        while nets.len() < 120_000 {
            nets.insert(IpNet::new(Ipv6Addr::from(spread()).into(), 64).unwrap().trunc());
        }
        let gate =
            AddressGate::new((1..).zip(&nets).map(|(line, net)| rule(*net, Effect::Allow, line)));
        let weight = gate.rules.weight() + gate.v4.weight() + gate.v6.weight();
        assert!(weight <= 40 * nets.len(), "{} bytes each", weight / nets.len());
        for net in nets {
            assert_eq!(gate.deciding(PeerAddr::new((net.addr(), 1).into())).unwrap().network, net);
        }
    }

    fn slow(rules: &[NetworkRule], ip: IpAddr) -> Option<&NetworkRule> {
        rules
            .iter()
            .filter(|rule| rule.network.contains(&ip))
            .max_by_key(|rule| (rule.network.prefix_len(), rule.effect))
    }

    proptest! {
        #[test]
        fn the_gate_agrees_with_a_linear_search(
            nets in prop::collection::btree_set((0_u32..=0xFFFF, 16_u8..=32, any::<bool>()), 0..40),
            asked in prop::collection::vec(0_u32..=0xFFFF, 1..40),
        ) {
            let rules: Vec<_> = (1..).zip(nets).map(|(line, (bits, length, allow))| {
                let effect = if allow { Effect::Allow } else { Effect::Deny };
                let net = ipnet::Ipv4Net::new(bits.into(), length).unwrap().trunc();
                rule(net.into(), effect, line)
            }).collect();
            let gate = AddressGate::new(rules.clone());
            for bits in asked {
                let ip = IpAddr::V4(bits.into());
                let fast = gate.deciding(PeerAddr::new((ip, 1).into()));
                let slow = slow(&rules, ip);
                prop_assert_eq!(
                    fast.as_ref().map(|rule| (rule.network, rule.effect)),
                    slow.map(|rule| (rule.network, rule.effect))
                );
                let runs: Vec<_> = gate.runs().filter(|run| run.first <= ip && ip <= run.last).collect();
                prop_assert_eq!(gate.effect(PeerAddr::new((ip, 1).into())), fast.as_ref().map(|rule| rule.effect));
                prop_assert!(runs.len() <= 1, "the runs {runs:?} overlap");
                prop_assert_eq!(runs.first().map(|run| run.rule.clone()), fast);
            }
        }
    }
}

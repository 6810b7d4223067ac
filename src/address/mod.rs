//! The address gate: may this address talk to us at all?

mod bans;
pub mod kernel;
mod list;
mod ranges;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use ipnet::IpNet;

use crate::accept::Introduced;
use crate::accept::StrangerSeat;
use crate::peer::PeerAddr;
use crate::place::Place;
use crate::refusal::{Refusal, Refused};

pub use bans::{Ban, BanList, BannedBy, Bans};
pub use list::parse_list;
use ranges::Ranges;

/// The allow and deny rules of one service, ready to judge.
///
/// The most specific network wins, and a deny wins a tie. An address that no rule covers is refused,
/// so an empty gate admits nobody. Every verdict names the rule that decided.
#[derive(Debug, Default)]
pub struct AddressGate {
    rules: Vec<NetworkRule>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'g> {
    /// The first of them.
    pub first: IpAddr,
    /// The last of them, of the same family.
    pub last: IpAddr,
    /// The rule that decides.
    pub rule: &'g NetworkRule,
}

impl AddressGate {
    /// A gate that judges by these rules; their order means nothing.
    #[must_use]
    pub fn new(rules: Vec<NetworkRule>) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for (number, rule) in (1_u32..).zip(&rules) {
            match rule.network {
                IpNet::V4(net) => {
                    v4.push(ranges::span(
                        net.network().to_bits(),
                        net.broadcast().to_bits(),
                        rule.effect,
                        number,
                    ));
                }
                IpNet::V6(net) => {
                    v6.push(ranges::span(
                        net.network().to_bits(),
                        net.broadcast().to_bits(),
                        rule.effect,
                        number,
                    ));
                }
            }
        }
        Self { v4: Ranges::flatten(v4), v6: Ranges::flatten(v6), rules }
    }

    /// The rules it judges by.
    #[must_use]
    pub fn rules(&self) -> &[NetworkRule] {
        &self.rules
    }

    /// The most specific rule that covers the address, whatever it says.
    #[must_use]
    pub fn deciding(&self, peer: PeerAddr) -> Option<&NetworkRule> {
        let number = match peer.ip() {
            IpAddr::V4(ip) => self.v4.find(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.find(ip.to_bits()),
        }?;
        self.rule(number)
    }

    /// The whole policy as runs that do not overlap, IPv4 first, in order. What is in none of them no
    /// rule covers. Neighbours may have rules of the same effect.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let v4 = self.v4.runs().map(|(first, last, number)| {
            (IpAddr::from(Ipv4Addr::from(first)), IpAddr::from(Ipv4Addr::from(last)), number)
        });
        let v6 = self.v6.runs().map(|(first, last, number)| {
            (IpAddr::from(Ipv6Addr::from(first)), IpAddr::from(Ipv6Addr::from(last)), number)
        });
        let with_rule = |(first, last, number)| Some(Run { first, last, rule: self.rule(number)? });
        v4.chain(v6).filter_map(with_rule)
    }

    fn rule(&self, number: NonZeroU32) -> Option<&NetworkRule> {
        self.rules.get(usize::try_from(number.get().checked_sub(1)?).ok()?)
    }

    /// The rule that lets this address go on.
    ///
    /// # Errors
    /// [`Refusal::AddressNotListed`] where no rule covers it, [`Refusal::AddressDenied`] with the rule
    /// where the deciding one is a deny.
    pub fn judge(&self, peer: PeerAddr) -> Result<&NetworkRule, Refused> {
        let rule = self.deciding(peer).ok_or_else(|| Refusal::AddressNotListed.bare())?;
        match rule.effect {
            Effect::Allow => Ok(rule),
            Effect::Deny => Err(Refusal::AddressDenied.by_rule(rule.place.clone())),
        }
    }

    /// Lets an introduced visitor go on to the handshake.
    ///
    /// # Errors
    /// As [`AddressGate::judge`]; the stream is dropped, and the stranger learns nothing.
    pub fn admit<S>(&self, introduced: Introduced<S>) -> Result<Admitted<S>, Refused> {
        self.judge(introduced.peer())?;
        let (stream, peer, seat) = introduced.into_parts();
        Ok(Admitted { stream, peer, seat })
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
            rules.map(|(line, (net, effect))| rule(net.parse().unwrap(), effect, line)).collect(),
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
                    fast.map(|rule| (rule.network, rule.effect)),
                    slow.map(|rule| (rule.network, rule.effect))
                );
                let runs: Vec<_> = gate.runs().filter(|run| run.first <= ip && ip <= run.last).collect();
                prop_assert!(runs.len() <= 1, "the runs {runs:?} overlap");
                prop_assert_eq!(runs.first().map(|run| run.rule), fast);
            }
        }
    }
}

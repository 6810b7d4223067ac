//! The rules as they are kept: a million may be listed, so each has no more bytes than it needs.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Effect, NetworkRule};
use crate::place::Place;

/// All rules of a gate, each numbered from 1 among those of its family.
#[derive(Debug, Default)]
pub(super) struct Rules {
    v4: Vec<Packed<Ipv4Addr>>,
    v6: Vec<Packed<Ipv6Addr>>,
    /// What the rules are written in.
    files: Vec<Arc<str>>,
}

/// One rule: 16 bytes for IPv4, 28 for IPv6.
#[derive(Clone, Copy, Debug)]
struct Packed<A> {
    network: A,
    line: u32,
    column: u32,
    file: u16,
    length: u8,
    effect: Effect,
}

impl Rules {
    /// Keeps a rule, and tells its number.
    pub(super) fn add(&mut self, rule: NetworkRule) -> u32 {
        let NetworkRule { network, effect, place } = rule;
        let (line, column, file) = (place.line(), place.column(), self.file(place.shared_file()));
        let length = network.prefix_len();
        let count = match network {
            IpNet::V4(net) => {
                let network = net.addr();
                self.v4.push(Packed { network, line, column, file, length, effect });
                self.v4.len()
            }
            IpNet::V6(net) => {
                let network = net.addr();
                self.v6.push(Packed { network, line, column, file, length, effect });
                self.v6.len()
            }
        };
        u32::try_from(count).unwrap_or(0)
    }

    /// Gives back the memory that is not needed when all are there.
    pub(super) fn settle(&mut self) {
        self.v4.shrink_to_fit();
        self.v6.shrink_to_fit();
    }

    /// The IPv4 rule of this number.
    pub(super) fn v4(&self, number: u32) -> Option<NetworkRule> {
        self.v4_rule(self.v4.get(index(number)?)?)
    }

    /// The IPv6 rule of this number.
    pub(super) fn v6(&self, number: u32) -> Option<NetworkRule> {
        self.v6_rule(self.v6.get(index(number)?)?)
    }

    /// How many bytes it holds on to.
    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        size_of_val(self.v4.as_slice()).saturating_add(size_of_val(self.v6.as_slice()))
    }

    /// Every rule, the IPv4 ones first.
    pub(super) fn iter(&self) -> impl Iterator<Item = NetworkRule> + Clone {
        let v4 = self.v4.iter().filter_map(|packed| self.v4_rule(packed));
        v4.chain(self.v6.iter().filter_map(|packed| self.v6_rule(packed)))
    }

    fn v4_rule(&self, packed: &Packed<Ipv4Addr>) -> Option<NetworkRule> {
        let network = Ipv4Net::new(packed.network, packed.length).ok()?.into();
        Some(NetworkRule { network, effect: packed.effect, place: self.place(packed) })
    }

    fn v6_rule(&self, packed: &Packed<Ipv6Addr>) -> Option<NetworkRule> {
        let network = Ipv6Net::new(packed.network, packed.length).ok()?.into();
        Some(NetworkRule { network, effect: packed.effect, place: self.place(packed) })
    }

    fn place<A>(&self, packed: &Packed<A>) -> Place {
        match self.files.get(usize::from(packed.file)) {
            Some(file) => Place::new(Arc::clone(file), packed.line, packed.column),
            None => Place::in_code("one of very many files"),
        }
    }

    /// The number of a file; most rules are written where the one before is.
    fn file(&mut self, file: &Arc<str>) -> u16 {
        let known = self.files.iter().rposition(|known| Arc::ptr_eq(known, file) || known == file);
        let number = known.unwrap_or_else(|| {
            self.files.push(Arc::clone(file));
            self.files.len().saturating_sub(1)
        });
        u16::try_from(number).unwrap_or(u16::MAX)
    }
}

fn index(number: u32) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_comes_back_as_it_was_written() {
        let mut rules = Rules::default();
        let [one, two] = ["one.list", "two.list"].map(Arc::<str>::from);
        let written = [
            ("10.0.0.0/8", Effect::Allow, Place::new(Arc::clone(&one), 70_000, 3)),
            ("2001:db8::/32", Effect::Deny, Place::new(two, 1, 100_000)),
            ("0.0.0.0/0", Effect::Deny, Place::new(Arc::from("one.list"), 2, 1)),
            ("::1/128", Effect::Allow, Place::in_code("a test")),
        ];
        let written = written.map(|(network, effect, place)| NetworkRule {
            network: network.parse().unwrap(),
            effect,
            place,
        });
        let numbers: Vec<_> = written.iter().map(|rule| rules.add(rule.clone())).collect();
        assert_eq!(numbers, [1, 1, 2, 2]);
        let [v4, v6, all, loopback] = written;
        assert_eq!(rules.v4(1), Some(v4.clone()));
        assert_eq!(rules.v6(1), Some(v6.clone()));
        assert_eq!((rules.v4(0), rules.v4(3)), (None, None));
        let kept: Vec<_> = rules.iter().collect();
        assert_eq!(kept, [v4, all, v6, loopback]);
        assert_eq!(rules.files.len(), 3, "a file is kept once");
    }

    #[test]
    fn a_rule_is_small() {
        assert_eq!(size_of::<Packed<Ipv4Addr>>(), 16);
        assert_eq!(size_of::<Packed<Ipv6Addr>>(), 28);
    }
}

//! Sets of addresses of one family, as numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// Ranges from a first to a last number, in order and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(Vec<(u128, u128)>);

impl Spans {
    /// Every address of a family.
    pub(super) fn all(v4: bool) -> Self {
        Self(vec![(0, if v4 { u128::from(u32::MAX) } else { u128::MAX })])
    }

    /// The addresses from the first to the last; none where they are of two families.
    pub(super) fn between(first: IpAddr, last: IpAddr) -> Self {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Self::of(&[(first.to_bits().into(), last.to_bits().into())])
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => Self::of(&[(first.to_bits(), last.to_bits())]),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Self::default(),
        }
    }

    fn of(ranges: &[(u128, u128)]) -> Self {
        let mut ranges: Vec<_> =
            ranges.iter().copied().filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        let mut apart: Vec<(u128, u128)> = Vec::new();
        for (first, last) in ranges {
            match apart.last_mut().filter(|before| before.1.saturating_add(1) >= first) {
                Some(before) => before.1 = before.1.max(last),
                None => apart.push((first, last)),
            }
        }
        Self(apart)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        Self::of(&[&self.0[..], &other.0[..]].concat())
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        let (mut one, mut two) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(a), Some(b)) = (one.peek(), two.peek()) {
            both.push((a.0.max(b.0), a.1.min(b.1)));
            // What ends first can meet nothing more.
            if a.1 <= b.1 {
                one.next();
            } else {
                two.next();
            }
        }
        Self::of(&both)
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        self.and(&other.rest())
    }

    /// Every number that is not in it, of whichever family.
    fn rest(&self) -> Self {
        let mut rest = Vec::new();
        let mut next = Some(0);
        for (first, last) in &self.0 {
            if let (Some(from), Some(to)) = (next, first.checked_sub(1)) {
                rest.push((from, to));
            }
            next = last.checked_add(1);
        }
        rest.extend(next.map(|from| (from, u128::MAX)));
        Self::of(&rest)
    }

    /// How many addresses they are; one less for all of IPv6.
    pub(super) fn count(&self) -> u128 {
        let sizes =
            self.0.iter().map(|(first, last)| last.saturating_sub(*first).saturating_add(1));
        sizes.fold(0, u128::saturating_add)
    }

    /// The same as networks, the fewest that there are.
    pub(super) fn networks(&self, v4: bool) -> Vec<IpNet> {
        self.0.iter().flat_map(|range| networks(*range, v4)).collect()
    }
}

fn networks((first, last): (u128, u128), v4: bool) -> Vec<IpNet> {
    if !v4 {
        let (first, last) = (Ipv6Addr::from_bits(first), Ipv6Addr::from_bits(last));
        return Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect();
    }
    let address = |bits: u128| Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX));
    Ipv4Subnets::new(address(first), address(last), 0).map(IpNet::V4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(spans: &Spans, number: u128) -> bool {
        spans.0.iter().any(|(first, last)| *first <= number && number <= *last)
    }

    fn some() -> impl Strategy<Value = Spans> {
        prop::collection::vec((0_u128..40, 0_u128..12), 0..5).prop_map(|ranges| {
            Spans::of(
                &ranges
                    .iter()
                    .map(|(first, more)| (*first, first.saturating_add(*more)))
                    .collect::<Vec<_>>(),
            )
        })
    }

    proptest! {
        #[test]
        fn a_number_is_in_a_set_where_logic_says_so(one in some(), two in some()) {
            for number in (0..60).chain([u128::MAX]) {
                let (a, b) = (holds(&one, number), holds(&two, number));
                prop_assert_eq!(holds(&one.or(&two), number), a || b);
                prop_assert_eq!(holds(&one.and(&two), number), a && b);
                prop_assert_eq!(holds(&one.without(&two), number), a && !b);
            }
            let apart = one.0.windows(2).all(|pair| pair[0].1.saturating_add(1) < pair[1].0);
            prop_assert!(apart, "{:?}", one);
        }
    }

    #[test]
    fn the_ends_of_a_family_are_in_it() {
        assert_eq!(Spans::all(true).networks(true), ["0.0.0.0/0".parse::<IpNet>().unwrap()]);
        assert_eq!(Spans::all(false).networks(false), ["::/0".parse::<IpNet>().unwrap()]);
        assert!(Spans::all(false).rest().is_empty());
        assert_eq!(Spans::all(true).count(), 1 << 32);
    }
}

//! Chance that is the same every time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `SplitMix64`: a number after the other, decided by the first.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn one_of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        let number = self.below(all.len());
        &all[number]
    }

    fn byte(&mut self, values: &[u8]) -> u8 {
        *self.one_of(values)
    }

    /// An address near the rules of the scene, of either family, sometimes spelled in the other.
    pub(crate) fn address(&mut self) -> IpAddr {
        match self.below(6) {
            0 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(self.roll() >> 32).unwrap())),
            1 => {
                let last = u16::from(self.byte(&[0, 1, 2, 7, 255]));
                let net = u16::from(self.byte(&[0, 1, 2]));
                *self.one_of(&[
                    Ipv6Addr::LOCALHOST,
                    Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, last),
                    Ipv6Addr::new(0xfd00, 0, 0, net, 0, 0, 0, last),
                ])
            }
            .into(),
            2 => self.loopback().to_ipv6_mapped().into(),
            3..6 => self.loopback().into(),
            _ => unreachable!("below six"),
        }
    }

    pub(crate) fn loopback(&mut self) -> Ipv4Addr {
        let second = self.byte(&[0, 1, 2, 3]);
        let third = self.byte(&[0, 1, 2, 3, 127, 128, 255]);
        let fourth = u8::try_from(1 + self.below(254)).unwrap();
        let fourth = self.byte(&[1, 2, 3, 4, fourth, fourth]);
        Ipv4Addr::new(127, second, third, fourth)
    }
}

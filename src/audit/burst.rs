//! Equal refusals in a burst: the first few stand alone, the rest are counted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::peer::{PeerAddr, Source};
use crate::refusal::Refusal;

/// What was refused lately, by reason and network. Time comes in as an argument.
#[derive(Debug, Default)]
pub(super) struct Burst {
    windows: HashMap<(Refusal, Source), Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    seen: u64,
}

impl Burst {
    /// Counts a refusal; true where it should be recorded by itself.
    pub(super) fn count(&mut self, refusal: Refusal, source: Source, now: Instant) -> bool {
        let known = self.windows.contains_key(&(refusal, source));
        // With too many networks at once the table stops growing; the rest share one row a reason.
        let key = if known || self.windows.len() < MOST_WINDOWS {
            (refusal, source)
        } else {
            (refusal, PeerAddr::new(ELSEWHERE.into()).source())
        };
        let window = self.windows.entry(key).or_insert(Window { began: now, seen: 0 });
        window.seen = window.seen.saturating_add(1);
        window.seen <= ALONE
    }

    /// The windows that are over, with what was counted in them and not recorded.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Refusal, Source, u64)> {
        let over = |window: &Window| now.saturating_duration_since(window.began) >= LENGTH;
        told(self.windows.extract_if(|_, window| over(window)))
    }

    /// All windows, over or not.
    pub(super) fn all(&mut self) -> Vec<(Refusal, Source, u64)> {
        told(self.windows.drain())
    }
}

fn told(windows: impl Iterator<Item = ((Refusal, Source), Window)>) -> Vec<(Refusal, Source, u64)> {
    let mut more: Vec<_> = windows
        .map(|((refusal, source), window)| (refusal, source, window.seen.saturating_sub(ALONE)))
        .filter(|(_, _, count)| *count > 0)
        .collect();
    more.sort_unstable();
    more
}

/// Enough to see a pattern, few enough to read.
const ALONE: u64 = 5;
/// A burst is told of while it is still fresh.
const LENGTH: Duration = Duration::from_secs(10);
/// Bounds the memory that strangers can make the record take: about 64 bytes each.
const MOST_WINDOWS: usize = 4096;
/// The row for networks that found no room of their own.
const ELSEWHERE: ([u8; 4], u16) = ([0, 0, 0, 0], 0);

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u32) -> Source {
        PeerAddr::new((std::net::Ipv4Addr::from_bits(0x0A00_0000 | last), 1).into()).source()
    }

    #[test]
    fn the_first_few_stand_alone_and_the_rest_are_counted() {
        let mut burst = Burst::default();
        let now = Instant::now();
        let alone =
            (0..100).filter(|_| burst.count(Refusal::AddressDenied, source(1), now)).count();
        assert_eq!(alone, 5);
        assert_eq!(burst.due(now), []);
        let later = now + Duration::from_secs(10);
        assert_eq!(burst.due(later), [(Refusal::AddressDenied, source(1), 95)]);
        assert!(burst.count(Refusal::AddressDenied, source(1), later));
    }

    #[test]
    fn nothing_is_lost_when_a_million_networks_knock() {
        let mut burst = Burst::default();
        let now = Instant::now();
        let alone = (0..1_000_000_u64)
            .filter(|n| {
                burst.count(Refusal::AddressNotListed, source(u32::try_from(*n).unwrap()), now)
            })
            .count();
        assert!(burst.windows.len() <= MOST_WINDOWS + Refusal::ALL.len());
        let counted: u64 = burst.all().iter().map(|(_, _, count)| count).sum();
        assert_eq!(u64::try_from(alone).unwrap() + counted, 1_000_000);
    }
}

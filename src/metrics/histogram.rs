//! How long things took, counted in buckets: bounded whatever happens, and added to without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of durations, by length.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    microseconds: AtomicU64,
}

/// What a histogram has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many were at most as long as each bound and longer than the one before; the last is for the longest.
    pub buckets: [u64; BUCKETS],
    /// All of them together, in microseconds.
    pub microseconds: u64,
}

impl Histogram {
    /// Counts one.
    pub fn count(&self, took: Duration) {
        let index = BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed)),
            microseconds: self.microseconds.load(Ordering::Relaxed),
        }
    }
}

impl Counts {
    /// How many there were.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.buckets.iter().copied().fold(0, u64::saturating_add)
    }

    /// What was counted since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets;
        for (now, before) in buckets.iter_mut().zip(earlier.buckets) {
            *now = now.saturating_sub(before);
        }
        Self { buckets, microseconds: self.microseconds.saturating_sub(earlier.microseconds) }
    }

    /// What at least `percent` of them took at most, read off between the bounds; none where there were none.
    #[must_use]
    pub fn percentile(&self, percent: u32) -> Option<Duration> {
        let number = u32::try_from(self.number()).unwrap_or(u32::MAX);
        let wanted = f64::from(number) * f64::from(percent) / 100.0;
        let (mut below, mut lower) = (0.0, Duration::ZERO);
        for (count, bound) in self.buckets.iter().zip(BOUNDS.iter().chain(BOUNDS.last())) {
            let count = f64::from(u32::try_from(*count).unwrap_or(u32::MAX));
            if count > 0.0 && below + count >= wanted {
                let part = ((wanted - below) / count).clamp(0.0, 1.0);
                return Some(lower.saturating_add(bound.saturating_sub(lower).mul_f64(part)));
            }
            below += count;
            lower = *bound;
        }
        None
    }
}

/// From half a millisecond, a handshake on this machine, to the ten seconds in which most deadlines end.
pub(super) const BOUNDS: [Duration; BUCKETS - 1] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

const BUCKETS: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_one_bucket_and_percentiles_lie_between_the_bounds() {
        let histogram = Histogram::default();
        assert_eq!(histogram.counts().percentile(50), None);
        for millis in 1..=100 {
            histogram.count(Duration::from_millis(millis));
        }
        histogram.count(Duration::from_secs(60));
        let counts = histogram.counts();
        assert_eq!(counts.number(), 101);
        assert_eq!(counts.microseconds, 5_050_000 + 60_000_000);
        assert_eq!((counts.buckets[1], counts.buckets[7], counts.buckets[14]), (1, 50, 1));
        let median = counts.percentile(50).unwrap();
        assert!((45..=55).contains(&median.as_millis()), "{median:?}");
        assert_eq!(counts.percentile(100), Some(Duration::from_secs(10)));
        histogram.count(Duration::from_micros(100));
        let later = histogram.counts().since(&counts);
        assert_eq!((later.number(), later.microseconds, later.buckets[0]), (1, 100, 1));
    }
}

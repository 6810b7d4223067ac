//! The last hour, a sample every ten seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::Counts;

/// Samples of the last hour, the oldest first. Time comes in as an argument.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    before: Summary,
    taken: Option<Instant>,
}

/// What happened in ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its end, in seconds since 1970 (UTC).
    pub at: u64,
    /// Visitors that passed every gate.
    pub permitted: u64,
    /// Visitors that were refused or cut, by room, in walking order: accept, address, handshake, identity, frame, service.
    pub refused: [u64; 6],
    /// Handshakes that were finished.
    pub handshakes: u64,
    /// What half of them took at most, in microseconds; none where there were none.
    pub median: Option<u64>,
    /// What 99 of 100 took at most, in microseconds.
    pub slowest: Option<u64>,
}

/// What was counted since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) permitted: u64,
    pub(crate) refused: [u64; 6],
    pub(crate) handshakes: Counts,
}

impl History {
    /// Whether ten seconds have passed since the last sample.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.taken.is_none_or(|taken| now.saturating_duration_since(taken) >= EVERY)
    }

    /// Takes a sample of what came since the last one.
    pub(crate) fn take(&mut self, totals: Summary, at: SystemTime, now: Instant) {
        if self.taken.replace(now).is_none() {
            // There is no span yet that it could stand for; what came so far is in the next one.
            return;
        }
        let before = std::mem::replace(&mut self.before, totals);
        let totals = &self.before;
        let took = totals.handshakes.since(&before.handshakes);
        let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut refused = totals.refused;
        for (now, before) in refused.iter_mut().zip(before.refused) {
            *now = now.saturating_sub(before);
        }
        if self.samples.len() >= MOST {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at: at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            permitted: totals.permitted.saturating_sub(before.permitted),
            refused,
            handshakes: took.number(),
            median: took.percentile(50).map(micros),
            slowest: took.percentile(99).map(micros),
        });
    }

    /// The samples, the oldest first; at most 360.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }
}

/// Fine enough for a plot of an hour.
const EVERY: Duration = Duration::from_secs(10);
/// One hour.
const MOST: usize = 360;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    #[test]
    fn an_hour_is_remembered_and_no_more() {
        let mut history = History::default();
        let (begin, handshakes) = (Instant::now(), Histogram::default());
        for number in 0..=1000_u64 {
            let now = begin + Duration::from_secs(10 * number);
            assert!(history.is_due(now));
            handshakes.count(Duration::from_millis(3));
            let totals = Summary {
                permitted: 2 * number,
                refused: [number, 0, 0, 5 * number, 0, 0],
                handshakes: handshakes.counts(),
            };
            history.take(totals, SystemTime::UNIX_EPOCH + Duration::from_secs(10 * number), now);
            assert!(!history.is_due(now + Duration::from_secs(9)));
        }
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].at, samples[359].at), (360, 6410, 10_000));
        for sample in samples {
            assert_eq!(
                (sample.permitted, sample.refused, sample.handshakes),
                (2, [1, 0, 0, 5, 0, 0], 1)
            );
            assert!((2500..=5000).contains(&sample.median.unwrap()), "{sample:?}");
        }
    }
}

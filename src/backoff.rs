//! Waiting before another try: longer each time, never in step with others.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Exponential waits with jitter between two bounds, begun anew after a success.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    waits: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    /// Waits that begin at `shortest`, double each time and stay at `longest`, each with up to as much
    /// again of jitter.
    #[must_use]
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .with_jitter()
            .without_max_times();
        Self { builder, waits: builder.build(), longest }
    }

    /// How long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.longest)
    }

    /// The last try succeeded: the next wait is the shortest again.
    pub fn reset(&mut self) {
        self.waits = self.builder.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(80));
        let first = backoff.next_wait();
        assert!((10..=20).contains(&first.as_millis()), "{first:?}");
        let later = (0..50).map(|_| backoff.next_wait()).max().unwrap();
        assert!(later <= Duration::from_millis(160), "{later:?}");
        assert!(later >= Duration::from_millis(80), "{later:?}");
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(20));
    }
}

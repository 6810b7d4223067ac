//! How fast messages may come: a token bucket, kept as one point in time (the generic cell rate algorithm).

use std::fmt;
use std::time::{Duration, Instant};

use crate::problem::{Fault, Problem};
use crate::refusal::{Refusal, Refused};

/// So many messages in a time, with so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
    burst: u32,
}

impl Rate {
    /// Reads `200/s`, `30/m` or `1000/h`. A burst of one second's worth, and of one at least, is allowed.
    ///
    /// # Errors
    /// [`Fault::ConfigBadValue`] for anything else, and for 0 or more than a million.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let bad = || {
            let remedy =
                "write a number from 1 to 1000000 and a time: \"200/s\", \"30/m\" or \"1000/h\"";
            Problem::error(Fault::ConfigBadValue, format!("{text:?} is no rate"), remedy)
        };
        let (count, per) = text.split_once('/').ok_or_else(bad)?;
        let seconds: u32 = match per.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(bad()),
        };
        let count = count.trim();
        let digits = count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u32 = count.parse().map_err(|_| bad())?;
        if !digits || !(1..=FASTEST).contains(&count) {
            return Err(bad());
        }
        let burst = count.checked_div(seconds).unwrap_or(count).max(1);
        Ok(Self { count, per: Duration::from_secs(u64::from(seconds)), burst })
    }

    /// `count` in any time, all of them at once after a pause; 0 means 1.
    #[must_use]
    pub fn within(count: u32, per: Duration) -> Self {
        let count = count.max(1);
        Self { count, per, burst: count }
    }

    /// The same rate, with `burst` messages at once; 0 means 1.
    #[must_use]
    pub fn with_burst(self, burst: u32) -> Self {
        Self { burst: burst.max(1), ..self }
    }

    /// How many messages may come at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst
    }

    fn interval(self) -> Duration {
        self.per.checked_div(self.count).unwrap_or(self.per)
    }

    fn tolerance(self) -> Duration {
        self.interval().saturating_mul(self.burst.saturating_sub(1))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// The pace of one session.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    tolerance: Duration,
    rate: Rate,
    /// When the bucket will be full again, were nothing more to come.
    full_at: Instant,
}

impl Pace {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { interval: rate.interval(), tolerance: rate.tolerance(), rate, full_at: now }
    }

    /// When nothing is left of what was taken, were nothing more to come.
    #[must_use]
    pub fn full_at(&self) -> Instant {
        self.full_at
    }

    /// Takes one message out of the bucket.
    ///
    /// # Errors
    /// [`Refusal::FrameRate`] where it is empty; nothing is taken then.
    pub fn take(&mut self, now: Instant) -> Result<(), Refused> {
        let full_at = self.full_at.max(now);
        if full_at.saturating_duration_since(now) > self.tolerance {
            return Err(Refusal::FrameRate.because(format!("faster than {}", self.rate)));
        }
        self.full_at = full_at.checked_add(self.interval).unwrap_or(full_at);
        Ok(())
    }
}

/// A message a microsecond is no limit any more.
const FASTEST: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let now = Instant::now();
        let mut pace = Pace::new(Rate::parse("10/s").unwrap(), now);
        let passed = (0..20).filter(|_| pace.take(now).is_ok()).count();
        assert_eq!(passed, 10);
        assert_eq!(pace.take(now).unwrap_err().code(), "frame.rate");
        let later = now + Duration::from_millis(100);
        assert!(pace.take(later).is_ok());
        assert_eq!(pace.take(later).unwrap_err().code(), "frame.rate");
        let rested = later + Duration::from_secs(60);
        assert_eq!((0..20).filter(|_| pace.take(rested).is_ok()).count(), 10);
    }

    #[test]
    fn a_burst_can_be_set() {
        let now = Instant::now();
        let mut pace = Pace::new(Rate::parse("30/m").unwrap().with_burst(3), now);
        assert_eq!((0..9).filter(|_| pace.take(now).is_ok()).count(), 3);
        assert!(pace.take(now + Duration::from_secs(2)).is_ok());
    }

    #[test]
    fn what_is_no_rate_says_what_one_is() {
        for text in ["", "200", "200/d", "/s", "-1/s", "+1/s", "0/s", "1000001/s", "1.5/s"] {
            assert_eq!(Rate::parse(text).unwrap_err().fault(), Fault::ConfigBadValue, "{text}");
        }
        assert_eq!(Rate::parse("200/s").unwrap().to_string(), "200/s");
    }
}

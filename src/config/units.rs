//! How durations and sizes are written.

use std::fmt;
use std::time::Duration;

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`. Nothing else reads as one.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(60 * 60).map(Duration::from_secs),
        "d" => number.checked_mul(24 * 60 * 60).map(Duration::from_secs),
        _ => None,
    }
}

/// A size in bytes: a whole number and `B`, `KiB` or `MiB`.
///
/// `KB` and `k` are refused: half of all programs take them for 1000, the other half for 1024.
pub(super) fn size(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text)?;
    let number = usize::try_from(number).ok()?;
    match unit {
        "B" => Some(number),
        "KiB" => number.checked_mul(1 << 10),
        "MiB" => number.checked_mul(1 << 20),
        _ => None,
    }
}

/// A duration, written as the operator would.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        // One day is as often meant as 24 hours.
        if self.0.subsec_millis() == 0 && seconds > DAY && seconds.is_multiple_of(DAY) {
            return write!(f, "{}d", seconds / DAY);
        }
        match (self.0.subsec_millis(), seconds % 60, seconds % 3600) {
            (0, 0, 0) if seconds > 0 => write!(f, "{}h", seconds / 3600),
            (0, 0, _) if seconds > 0 => write!(f, "{}m", seconds / 60),
            (0, _, _) => write!(f, "{seconds}s"),
            (_, _, _) => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

/// A size, written as the operator would.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Size(pub(super) usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        match (bytes % (1 << 20), bytes % (1 << 10)) {
            (0, _) if bytes > 0 => write!(f, "{}MiB", bytes / (1 << 20)),
            (_, 0) if bytes > 0 => write!(f, "{}KiB", bytes / (1 << 10)),
            (_, _) => write!(f, "{bytes}B"),
        }
    }
}

const DAY: u64 = 24 * 3600;

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(Span(Duration::from_secs(90)).to_string(), "90s");
    }

    #[test]
    fn what_could_be_read_two_ways_is_no_duration() {
        for text in
            ["", "5", "s", "-5s", "+5s", "5 s", "1.5s", "5S", "5s ", "5min", "5s5s", "٥s", "1e3s"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(duration("99999999999999999999s"), None);
        assert_eq!(duration("18446744073709551615h"), None);
    }

    #[test]
    fn a_size_is_counted_in_powers_of_two() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MiB", 1_048_576), ("0B", 0)] {
            assert_eq!(size(text), Some(bytes), "{text}");
            assert_eq!(Size(bytes).to_string(), text);
        }
        for text in ["", "64", "64KB", "64k", "64kib", "1GB", "-1KiB", "1.5MiB", "1 KiB", "KiB"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(size("18446744073709551615KiB"), None);
    }
}

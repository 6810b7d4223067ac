//! What was measured, for people and for programs.

use std::thread::available_parallelism;

use serde::Serialize;

use super::load::Done;
use super::process::Spent;
use crate::cli::screen;

/// One measurement.
#[derive(Debug, Serialize)]
pub(super) struct Measure {
    /// What was done again and again.
    pub(super) what: String,
    /// How many connections did it at once.
    pub(super) connections: usize,
    /// How often it was done.
    done: u64,
    /// How often it failed.
    failed: u64,
    /// What the first failure was.
    first_failure: Option<String>,
    /// How often no answer came at all.
    unanswered: u64,
    /// How often a second it was done.
    per_second: u64,
    /// Bytes that arrived a second.
    pub(super) bytes_per_second: Option<u64>,
    /// How long each took.
    microseconds: Option<Percentiles>,
    /// What each idle connection weighs in the server, in bytes.
    pub(super) bytes_each: Option<u64>,
    /// What it took of the machine.
    #[serde(flatten)]
    pub(super) spent: Spent,
    /// Whether the client used up its own cores, so that the server may carry more than is said here.
    limited_by_client: bool,
}

/// So many parts of all were as fast as this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Percentiles {
    p50: u32,
    p90: u32,
    p99: u32,
    p999: u32,
    max: u32,
}

impl Measure {
    /// What came of doing something on so many connections.
    pub(super) fn of(connections: usize, done: Done, spent: Spent) -> Self {
        let number = u64::try_from(done.times.len()).unwrap_or(u64::MAX);
        Self {
            what: String::new(),
            connections,
            done: number,
            failed: done.failed,
            first_failure: done.first_failure.map(|error| error.to_string()),
            unanswered: done.unanswered,
            per_second: a_second(number, spent.milliseconds),
            bytes_per_second: None,
            microseconds: Percentiles::of(done.times),
            bytes_each: None,
            limited_by_client: is_limit(spent.own_cpu_percent),
            spent,
        }
    }

    /// The same, with the name of what was done.
    pub(super) fn named(mut self, what: String) -> Self {
        self.what = what;
        self
    }
}

impl Percentiles {
    fn of(mut times: Vec<u32>) -> Option<Self> {
        times.sort_unstable();
        let max = *times.last()?;
        let at = |thousandths: usize| {
            let rank = times.len().saturating_mul(thousandths).div_ceil(1000);
            times.get(rank.saturating_sub(1)).copied().unwrap_or(max)
        };
        Some(Self { p50: at(500), p90: at(900), p99: at(990), p999: at(999), max })
    }
}

/// Prints all measurements.
pub(super) fn print(measures: &[Measure], as_json: bool) {
    if as_json {
        return screen::say(serde_json::json!({ "measures": measures }));
    }
    for measure in measures {
        screen::say(line(measure));
    }
    if measures.iter().any(|measure| measure.limited_by_client) {
        screen::say(
            "! the client used up its own cores there: the server may carry more than that",
        );
    }
}

fn line(measure: &Measure) -> String {
    let Measure { what, connections, done, failed, unanswered, per_second, spent, .. } = measure;
    let mut parts = Vec::new();
    if let Some(bytes) = measure.bytes_per_second {
        parts.push(format!("{} MB/s", bytes.checked_div(1_000_000).unwrap_or(0)));
    } else if let Some(bytes) = measure.bytes_each {
        parts.push(format!("{done} held, {bytes} bytes each"));
    } else {
        parts.push(format!("{per_second}/s"));
    }
    if let Some(Percentiles { p50, p90, p99, p999, max }) = measure.microseconds {
        parts.push(format!("p50 {p50} p90 {p90} p99 {p99} p99.9 {p999} max {max} us"));
    }
    if *unanswered > 0 {
        parts.push(format!("{unanswered} unanswered"));
    }
    if *failed > 0 {
        let first = measure.first_failure.as_deref().unwrap_or("unknown");
        parts.push(format!("{failed} failed, the first: {first}"));
    }
    let tries = done.saturating_add(*unanswered);
    if let (Some(all), false) = (spent.server_cpu_microseconds, tries == 0) {
        let hundredths = all.saturating_mul(100).checked_div(tries).unwrap_or(0);
        let (whole, rest) = (hundredths / 100, hundredths % 100);
        parts.push(format!("server {whole}.{rest:02} us of CPU each"));
    } else if let Some(percent) = spent.server_cpu_percent() {
        parts.push(format!("server {percent} % of a core"));
    }
    if let Some(percent) = spent.own_cpu_percent {
        let mark = if measure.limited_by_client { "!" } else { "" };
        parts.push(format!("client {percent} %{mark}"));
    }
    format!("{what:<28} {connections:>5} at once: {}", parts.join(", "))
}

pub(super) fn a_second(done: u64, milliseconds: u64) -> u64 {
    done.saturating_mul(1000).checked_div(milliseconds).unwrap_or(0)
}

fn is_limit(own_cpu_percent: Option<u64>) -> bool {
    let cores = available_parallelism().map_or(1, |cores| u64::try_from(cores.get()).unwrap_or(1));
    own_cpu_percent.is_some_and(|percent| percent >= cores.saturating_mul(BUSY_PERCENT))
}

/// Less than all: nobody is scheduled without a gap.
const BUSY_PERCENT: u64 = 90;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_times_at_their_ranks() {
        assert_eq!(Percentiles::of(Vec::new()), None);
        let all: Vec<u32> = (1..=1000).rev().collect();
        let of_all = Percentiles { p50: 500, p90: 900, p99: 990, p999: 999, max: 1000 };
        assert_eq!(Percentiles::of(all), Some(of_all));
        let of_one = Percentiles { p50: 7, p90: 7, p99: 7, p999: 7, max: 7 };
        assert_eq!(Percentiles::of(vec![7]), Some(of_one));
    }
}

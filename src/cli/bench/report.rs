//! What was measured, for people and for programs.

use hdrhistogram::Histogram;
use serde::Serialize;

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
    pub(super) done: u64,
    /// How often it failed, and nothing else was counted.
    pub(super) failed: u64,
    /// How often no answer came at all.
    pub(super) unanswered: u64,
    /// How often a second.
    pub(super) per_second: u64,
    /// Bytes a second there, and as many back.
    pub(super) bytes_per_second: Option<u64>,
    /// How long each took.
    pub(super) microseconds: Option<Percentiles>,
    /// What each idle connection weighs in the server, in bytes.
    pub(super) bytes_each: Option<u64>,
    /// What it took of the machine.
    #[serde(flatten)]
    pub(super) spent: Spent,
}

/// So many parts of all were faster than this.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Percentiles {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Percentiles {
    /// Those of a histogram; none where it is empty.
    pub(super) fn of(times: &Histogram<u64>) -> Option<Self> {
        (!times.is_empty()).then(|| Self {
            p50: times.value_at_quantile(0.5),
            p90: times.value_at_quantile(0.9),
            p99: times.value_at_quantile(0.99),
            p999: times.value_at_quantile(0.999),
            max: times.max(),
        })
    }
}

impl Measure {
    /// A measurement of something that was done so often.
    pub(super) fn of(what: impl Into<String>, connections: usize, done: u64, spent: Spent) -> Self {
        Self {
            what: what.into(),
            connections,
            done,
            failed: 0,
            unanswered: 0,
            per_second: a_second(done, spent.milliseconds),
            bytes_per_second: None,
            microseconds: None,
            bytes_each: None,
            spent,
        }
    }

    /// The same measurement of messages of so many bytes.
    pub(super) fn of_bytes(mut self, size: u64) -> Self {
        self.bytes_per_second =
            Some(a_second(self.done.saturating_mul(size), self.spent.milliseconds));
        self
    }
}

/// Prints all measurements.
pub(super) fn print(measures: &[Measure], as_json: bool) {
    if as_json {
        let object = serde_json::json!({ "measures": measures });
        return screen::say(object);
    }
    for measure in measures {
        screen::say(line(measure));
    }
}

fn line(measure: &Measure) -> String {
    let Measure { what, connections, done, failed, unanswered, per_second, spent, .. } = measure;
    let mut parts = vec![format!("{done} done")];
    if measure.bytes_each.is_none() {
        parts.push(format!("{per_second}/s"));
    }
    if let Some(bytes) = measure.bytes_per_second {
        parts.push(format!("{} MB/s there and back", bytes.checked_div(1_000_000).unwrap_or(0)));
    }
    if let Some(Percentiles { p50, p90, p99, p999, max }) = measure.microseconds {
        parts.push(format!("p50 {p50} p90 {p90} p99 {p99} p99.9 {p999} max {max} us"));
    }
    if let Some(bytes) = measure.bytes_each {
        parts.push(format!("{bytes} bytes each"));
    }
    if *failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if *unanswered > 0 {
        parts.push(format!("{unanswered} unanswered"));
    }
    let tries = done.saturating_add(*unanswered);
    if let Some(each) = spent.server_cpu_microseconds.and_then(|all| all.checked_div(tries)) {
        parts.push(format!("server {each} us of CPU each"));
    }
    if let Some(percent) = spent.own_cpu_percent {
        parts.push(format!("client {percent} % of a core"));
    }
    format!("{what:<24} {connections:>5} at once: {}", parts.join(", "))
}

fn a_second(done: u64, milliseconds: u64) -> u64 {
    done.saturating_mul(1000).checked_div(milliseconds).unwrap_or(0)
}

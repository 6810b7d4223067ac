//! What a process takes of the machine: this one, and the server's where it is known.

use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Measures processor time while something runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    server: Option<u32>,
}

/// The processor times at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Instant,
    own: Option<Duration>,
    server: Option<Duration>,
}

/// What was taken since.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spent {
    /// How long it was.
    pub(super) milliseconds: u64,
    /// The share of one core that the client took, in percent.
    pub(super) own_cpu_percent: Option<u64>,
    /// The processor time of the server.
    pub(super) server_cpu_microseconds: Option<u64>,
}

impl Spent {
    /// The share of one core that the server took, in percent.
    pub(super) fn server_cpu_percent(self) -> Option<u64> {
        self.server_cpu_microseconds?.checked_div(self.milliseconds.checked_mul(10)?)
    }
}

impl Clock {
    /// A clock that also watches this process.
    pub(super) fn of(server: Option<u32>) -> Self {
        Self { server }
    }

    /// The processor times now.
    pub(super) fn now(self) -> Moment {
        Moment { at: Instant::now(), own: own_time(), server: self.server.and_then(time_of) }
    }

    /// What was taken since `before`.
    pub(super) fn since(self, before: Moment) -> Spent {
        let now = self.now();
        let lasted = now.at.saturating_duration_since(before.at);
        let own = now.own.zip(before.own).map(|(now, before)| now.saturating_sub(before));
        let server = now.server.zip(before.server).map(|(now, before)| now.saturating_sub(before));
        Spent {
            milliseconds: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
            own_cpu_percent: own.and_then(|own| percent(own, lasted)),
            server_cpu_microseconds: server.map(microseconds),
        }
    }

    /// The memory of the server that nobody shares, plus its part of what is shared, in bytes.
    pub(super) fn memory(self) -> Option<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.server?)).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        kibibytes.checked_mul(1024)
    }
}

pub(super) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn percent(part: Duration, whole: Duration) -> Option<u64> {
    microseconds(part).checked_mul(100)?.checked_div(microseconds(whole))
}

#[cfg(unix)]
fn own_time() -> Option<Duration> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let times = [usage.user_time(), usage.system_time()];
    times.into_iter().try_fold(Duration::ZERO, |sum, time| {
        let seconds = u64::try_from(time.tv_sec()).ok()?;
        let microseconds = u64::try_from(time.tv_usec()).ok()?;
        let time = Duration::from_secs(seconds).checked_add(Duration::from_micros(microseconds))?;
        sum.checked_add(time)
    })
}

#[cfg(not(unix))]
fn own_time() -> Option<Duration> {
    None
}

/// The time that a process has had, with all threads it ever had, where the system tells (proc(5)).
fn time_of(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before may hold anything; after its bracket the times are the 12th and the 13th field.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()?.checked_add(times.next()?.ok()?)?;
    ticks.checked_mul(MILLISECONDS_A_TICK).map(Duration::from_millis)
}

/// `USER_HZ` is 100 wherever Linux runs that we build for.
const MILLISECONDS_A_TICK: u64 = 10;

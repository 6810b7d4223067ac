//! Whether the upstream is up: who may try it, and who is told at once that it is down.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::refusal::{Refusal, Refused};

/// What is known of one upstream. It opens nothing and reads no clock: time comes in as an argument.
///
/// While the upstream counts as up, everybody may try. One failed attempt begins an outage, in which
/// one attempt at a time is let through and everybody else is refused at once. One success ends it.
#[derive(Debug)]
pub(super) struct Health {
    service: String,
    upstream: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    outage: Option<Outage>,
    outages: u64,
    waits: Backoff,
}

#[derive(Debug)]
struct Outage {
    number: u64,
    since: SystemTime,
    why: String,
    next: Instant,
    tried: bool,
}

/// One moment, on the clock that measures and on the one that people read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) date: SystemTime,
}

/// The permission to connect once. Dropping it, as when its member leaves, lets somebody else try.
#[derive(Debug)]
pub(super) struct Attempt<'h> {
    health: &'h Health,
    /// The outage whose one attempt this is.
    outage: Option<u64>,
}

impl Health {
    /// An upstream that counts as up until it is found down. The names are for the record.
    pub(super) fn new(service: &str, upstream: &str) -> Self {
        let waits = Backoff::new(SHORTEST_WAIT, LONGEST_WAIT);
        let state = Mutex::new(State { outage: None, outages: 0, waits });
        Self { service: service.to_owned(), upstream: upstream.to_owned(), state }
    }

    /// Asks for an attempt.
    ///
    /// # Errors
    /// [`Refusal::ServiceUnreachable`] during an outage, before its next attempt is due or while that is
    /// under way.
    pub(super) fn begin(&self, now: Moment) -> Result<Attempt<'_>, Refused> {
        let mut state = self.state();
        let outage = match &mut state.outage {
            None => None,
            Some(outage) if outage.tried || now.at < outage.next => {
                return Err(outage.refusal(&self.upstream, now));
            }
            Some(outage) => {
                outage.tried = true;
                Some(outage.number)
            }
        };
        Ok(Attempt { health: self, outage })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Whether it is the one attempt of an outage, and not one of many while the upstream is up.
    pub(super) fn is_in_outage(&self) -> bool {
        self.outage.is_some()
    }

    /// The upstream took the connection: it is up.
    pub(super) fn succeeded(self, now: Moment) {
        let Health { service, upstream, .. } = self.health;
        let mut state = self.health.state();
        state.waits.reset();
        if let Some(outage) = state.outage.take() {
            let down = now.date.duration_since(outage.since).unwrap_or_default();
            tracing::info!(%service, %upstream, ?down, "the upstream is up again");
        }
    }

    /// The upstream did not take the connection: it is down. Gives back when this attempt may be made
    /// again, where it is the outage's one attempt.
    pub(super) fn failed(&mut self, why: &str, now: Moment) -> Option<Instant> {
        let Health { service, upstream, .. } = self.health;
        let mut state = self.health.state();
        let State { outage, outages, waits } = &mut *state;
        let ours = outage.as_ref().map(|outage| outage.number);
        if ours.is_some() && ours != self.outage {
            // Somebody else found out first, and is trying.
            return None;
        }
        let wait = waits.next_wait();
        let next = now.at.checked_add(wait).unwrap_or(now.at);
        if let Some(outage) = outage {
            outage.next = next;
            why.clone_into(&mut outage.why);
            return Some(next);
        }
        tracing::warn!(%service, %upstream, %why, "the upstream is down");
        *outages = outages.saturating_add(1);
        let (number, since) = (*outages, now.date);
        *outage = Some(Outage { number, since, why: why.to_owned(), next, tried: true });
        self.outage = Some(number);
        Some(next)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut state = self.health.state();
        if let Some(outage) = &mut state.outage
            && self.outage == Some(outage.number)
        {
            outage.tried = false;
        }
    }
}

impl Outage {
    fn refusal(&self, upstream: &str, now: Moment) -> Refused {
        let since = shown(self.since);
        let next = match self.next.saturating_duration_since(now.at) {
            Duration::ZERO => "an attempt is under way".to_owned(),
            wait => format!("next attempt in {}ms", wait.as_millis().max(1)),
        };
        let why = &self.why;
        Refusal::ServiceUnreachable
            .because(format!("{upstream}: down since {since}, {next}: {why}"))
    }
}

impl Moment {
    /// Now.
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), date: SystemTime::now() }
    }
}

/// A moment to the second, in UTC.
fn shown(date: SystemTime) -> String {
    let date = OffsetDateTime::from(date);
    let (hour, minute, second) = date.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", date.date())
}

/// A local service that is restarted is back within a few of these.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// With the jitter, which at most doubles it, nobody is refused for more than 5 s after the upstream is back.
const LONGEST_WAIT: Duration = Duration::from_millis(2500);

#[cfg(test)]
mod tests {
    use super::*;

    const UP: &str = "127.0.0.1:9";

    #[expect(clippy::arithmetic_side_effects, reason = "a test's moments are near to now")]
    fn at(start: Moment, millis: u64) -> Moment {
        let since = Duration::from_millis(millis);
        Moment { at: start.at + since, date: start.date + since }
    }

    fn refused(health: &Health, now: Moment) -> Option<String> {
        health.begin(now).err().map(|refused| refused.detail().to_owned())
    }

    #[test]
    fn while_it_is_up_everybody_may_try() {
        let (health, now) = (Health::new("door", UP), Moment::now());
        let attempts: Vec<_> = (0..100).map(|_| health.begin(now).unwrap()).collect();
        assert_eq!(attempts.len(), 100);
    }

    #[test]
    fn after_a_failure_one_at_a_time_tries_and_the_others_are_told_at_once() {
        let (health, now) = (Health::new("door", UP), Moment::now());
        let mut first = health.begin(now).unwrap();
        let next = first.failed("connection refused", now).unwrap();
        assert!((100..=200).contains(&(next - now.at).as_millis()), "{:?}", next - now.at);
        let told = refused(&health, now).unwrap();
        assert!(told.starts_with("127.0.0.1:9: down since 2"), "{told}");
        assert!(told.contains(" UTC, next attempt in 1"), "{told}");
        assert!(told.ends_with("ms: connection refused"), "{told}");
        // The first is still at it, although its time has come.
        let told = refused(&health, at(now, 300)).unwrap();
        assert!(told.contains("an attempt is under way"), "{told}");
        drop(first);
        let probe = health.begin(at(now, 300)).unwrap();
        assert!(refused(&health, at(now, 300)).is_some());
        probe.succeeded(at(now, 310));
        assert_eq!(refused(&health, at(now, 310)), None);
    }

    #[test]
    fn waits_grow_to_five_seconds_and_a_success_resets_them() {
        let (health, now) = (Health::new("door", UP), Moment::now());
        let mut attempt = health.begin(now).unwrap();
        let wait = |attempt: &mut Attempt<'_>| attempt.failed("no", now).unwrap() - now.at;
        let longest = (0..40).map(|_| wait(&mut attempt)).max().unwrap();
        assert!((2500..=5000).contains(&longest.as_millis()), "{longest:?}");
        attempt.succeeded(now);
        let mut attempt = health.begin(now).unwrap();
        assert!(wait(&mut attempt).as_millis() <= 200);
    }

    #[test]
    fn attempts_that_began_before_the_outage_change_nothing_but_by_success() {
        let (health, now) = (Health::new("door", UP), Moment::now());
        let mut first = health.begin(now).unwrap();
        let mut late = health.begin(now).unwrap();
        let later = health.begin(now).unwrap();
        first.failed("no", now);
        assert_eq!(late.failed("no", now), None);
        drop(late);
        assert!(refused(&health, at(now, 10_000)).is_some(), "the first one is still trying");
        later.succeeded(now);
        assert_eq!(refused(&health, now), None);
        // An attempt of an outage that is over does not end the next one.
        let mut second = health.begin(now).unwrap();
        second.failed("again", now);
        drop(first);
        assert!(refused(&health, at(now, 10_000)).is_some());
    }

    #[test]
    fn a_member_that_leaves_lets_the_next_one_try() {
        let (health, now) = (Health::new("door", UP), Moment::now());
        health.begin(now).unwrap().failed("no", now);
        let probe = health.begin(at(now, 300)).unwrap();
        drop(probe);
        assert_eq!(refused(&health, at(now, 300)), None);
    }
}

//! The record of a tunnel: one line for every verdict, with its code, and a count where there are too many.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::relay::{Cut, Tally};
use crate::audit::TARGET;
use crate::client::ClientError;
use crate::place::Place;

/// Writes the lines of one tunnel, to the target of the server's audit events.
#[derive(Debug)]
pub(super) struct Record {
    tunnel: Arc<str>,
    calls: AtomicU64,
    burst: Mutex<HashMap<&'static str, Window>>,
}

/// One call, as its lines name it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) listener: Arc<str>,
    /// An address, or what the kernel says of the other end of a unix socket.
    pub(super) from: String,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    seen: u64,
}

impl Record {
    pub(super) fn new(tunnel: &Arc<str>) -> Self {
        Self { tunnel: Arc::clone(tunnel), calls: AtomicU64::new(0), burst: Mutex::default() }
    }

    /// The number of a new call, from 1.
    pub(super) fn number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    pub(super) fn permitted(&self, call: &Call, rule: &dyn Display, server: SocketAddr) {
        tracing::info!(
            target: TARGET,
            call = call.number,
            tunnel = %self.tunnel,
            from = %call.from,
            to = %call.listener,
            rule = %rule,
            server = %server,
            "permitted",
        );
    }

    /// A caller that got nowhere. Equal codes in a burst are counted, so that no caller fills a disk.
    pub(super) fn refused(
        &self,
        call: &Call,
        code: &'static str,
        seen: &dyn Display,
        at: Option<&Place>,
    ) {
        if !self.stands_alone(code, Instant::now()) {
            return;
        }
        let seen = seen.to_string();
        tracing::warn!(
            target: TARGET,
            %code,
            call = call.number,
            tunnel = %self.tunnel,
            from = %call.from,
            to = %call.listener,
            detail = Some(seen.as_str()).filter(|seen| !seen.is_empty()).map(tracing::field::display),
            rule = at.map(tracing::field::display),
            "refused",
        );
    }

    pub(super) fn left(&self, call: &Call, tally: &Tally) {
        tracing::info!(
            target: TARGET,
            call = call.number,
            tunnel = %self.tunnel,
            from = %call.from,
            sent = tally.sent(),
            received = tally.received(),
            lasted = %format_args!("{:?}", tally.lasted()),
            "left",
        );
    }

    pub(super) fn cut(&self, call: &Call, tally: &Tally, cut: &Cut) {
        if !self.stands_alone(cut.code(), Instant::now()) {
            return;
        }
        tracing::warn!(
            target: TARGET,
            code = %cut.code(),
            call = call.number,
            tunnel = %self.tunnel,
            from = %call.from,
            detail = %cut.detail(),
            sent = tally.sent(),
            received = tally.received(),
            lasted = %format_args!("{:?}", tally.lasted()),
            "cut",
        );
    }

    pub(super) fn refreshed(&self) {
        tracing::info!(target: TARGET, tunnel = %self.tunnel, "refreshed: changed files are in force");
    }

    pub(super) fn kept(&self, error: &ClientError) {
        tracing::error!(
            target: TARGET,
            code = %error.code(),
            tunnel = %self.tunnel,
            detail = %error.sentence(),
            remedy = %error.remedy(),
            "kept: the changed files cannot be used, the old ones stay in force",
        );
    }

    /// Tells what was counted and not recorded one by one; to be called about once a second.
    pub(super) fn summarise(&self, now: Instant) {
        let over = |window: &Window| now.saturating_duration_since(window.began) >= LENGTH;
        let due: Vec<_> = self.burst().extract_if(|_, window| over(window)).collect();
        self.tell(due);
    }

    /// Tells all that is still untold, at the end.
    pub(super) fn close(&self) {
        let rest: Vec<_> = self.burst().drain().collect();
        self.tell(rest);
    }

    fn tell(&self, windows: Vec<(&'static str, Window)>) {
        for (code, window) in windows {
            let count = window.seen.saturating_sub(ALONE);
            if count > 0 {
                tracing::warn!(target: TARGET, %code, tunnel = %self.tunnel, count, "refused more of the same");
            }
        }
    }

    fn stands_alone(&self, code: &'static str, now: Instant) -> bool {
        let mut burst = self.burst();
        let window = burst.entry(code).or_insert(Window { began: now, seen: 0 });
        window.seen = window.seen.saturating_add(1);
        window.seen <= ALONE
    }

    /// There are as many windows as codes, which are a closed list.
    fn burst(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Window>> {
        self.burst.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As in the server's record: enough to see a pattern, few enough to read.
const ALONE: u64 = 5;
/// A burst is told of while it is still fresh.
const LENGTH: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_of_a_code_stand_alone_until_its_window_is_over() {
        let record = Record::new(&Arc::from("t"));
        let now = Instant::now();
        let alone = (0..100).filter(|_| record.stands_alone("tunnel.full", now)).count();
        assert_eq!(alone, 5);
        assert!(record.stands_alone("tunnel.idle", now));
        record.summarise(now);
        assert!(!record.stands_alone("tunnel.full", now));
        record.summarise(now + LENGTH);
        assert!(record.stands_alone("tunnel.full", now + LENGTH));
    }
}

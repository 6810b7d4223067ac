//! What went through a session: counted both ways, for the record and for the idle deadline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Counters of one session, shared by its reading and its writing half.
#[derive(Debug)]
pub struct Tally {
    began: Instant,
    frames_in: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    wrote: AtomicU64,
}

/// A snapshot of a [`Tally`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Messages that passed the frame gate.
    pub frames_in: u64,
    /// Bytes of those messages on the wire, before TLS.
    pub bytes_in: u64,
    /// Bytes written to the visitor, before TLS.
    pub bytes_out: u64,
    /// How long the session has lasted.
    pub lasted: Duration,
}

impl Tally {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            frames_in: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            wrote: AtomicU64::new(0),
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        Counted {
            frames_in: self.frames_in.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            lasted: self.began.elapsed(),
        }
    }

    pub(super) fn received(&self, wire_bytes: usize) {
        self.frames_in.fetch_add(1, Ordering::Relaxed);
        self.bytes_in.fetch_add(u64::try_from(wire_bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.wrote.store(now, Ordering::Relaxed);
    }

    /// When something was last written; when the session began, if nothing was.
    pub(super) fn last_written(&self) -> Instant {
        let since = Duration::from_millis(self.wrote.load(Ordering::Relaxed));
        self.began.checked_add(since).unwrap_or(self.began)
    }
}

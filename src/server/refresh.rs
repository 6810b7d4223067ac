//! Fresh files while the server runs: a new certificate, authority or revocation list counts at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::UnixTime;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::{Audit, Event};
use crate::connection::Closing;
use crate::handshake::{Handshake, HandshakeSettings, Loaded};
use crate::problem::Problem;

/// Looks after the files of `[handshake]`, and hands a new handshake room to everybody who needs one.
///
/// All or nothing: where the new files have a problem, the old state serves on, loudly.
#[derive(Debug)]
pub(super) struct Refresh {
    settings: HandshakeSettings,
    current: watch::Sender<Handshake>,
    seen: Vec<Fingerprint>,
}

/// What a file looked like: when it was changed, how long it is, and on Unix which file it is.
type Fingerprint = Option<(Option<SystemTime>, u64, u64)>;

impl Refresh {
    /// Looks after the files that `handshake` was read from.
    pub(super) fn new(settings: &HandshakeSettings, handshake: Handshake) -> Self {
        let seen = fingerprints(&paths(settings));
        Self { settings: settings.clone(), current: watch::Sender::new(handshake), seen }
    }

    /// The handshake room of now, and every later one.
    pub(super) fn subscribe(&self) -> watch::Receiver<Handshake> {
        self.current.subscribe()
    }

    /// Looks once a second until the server drains. Polling sees what notifications miss on network
    /// file systems and through replaced links, and costs a few system calls.
    pub(super) async fn run(mut self, audit: Arc<Audit>, closing: Closing) -> Result<(), Problem> {
        let mut every = interval(BETWEEN_LOOKS);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed: Option<Vec<Fingerprint>> = None;
        let mut told = days_left(&self.current.borrow());
        loop {
            tokio::select! {
                () = closing.drain.cancelled() => return Ok(()),
                _ = every.tick() => {}
            }
            told = tell_days_left(&self.current.borrow(), told);
            let files = paths(&self.settings);
            let Ok(now) = tokio::task::spawn_blocking(move || fingerprints(&files)).await else {
                continue;
            };
            if now == self.seen {
                changed = None;
            } else if changed.as_ref() == Some(&now) {
                // Unchanged since the last look: whoever writes them has finished.
                self.seen = now;
                audit.record(self.load(), Instant::now());
            } else {
                changed = Some(now);
            }
        }
    }

    fn load(&self) -> Event {
        match Handshake::load(&self.settings, UnixTime::now()) {
            Ok(Loaded { handshake, warnings }) => {
                self.current.send_replace(handshake);
                Event::Refreshed(warnings)
            }
            Err(problems) => Event::Kept(problems),
        }
    }
}

fn days_left(handshake: &Handshake) -> u64 {
    let left = handshake.server_expires().as_secs().saturating_sub(UnixTime::now().as_secs());
    left / (24 * 3600)
}

/// Warns when the server's certificate comes to 30, 7 and 1 days before its end.
fn tell_days_left(handshake: &Handshake, before: u64) -> u64 {
    let left = days_left(handshake);
    if WARNED_AT.iter().any(|days| left <= *days && before > *days) {
        tracing::warn!(days = left, "the server's certificate ends soon: renew it");
    }
    left
}

fn paths(settings: &HandshakeSettings) -> Vec<PathBuf> {
    let files = [&settings.certificate, &settings.key, &settings.clients].into_iter();
    files.chain(&settings.crl).map(|file| file.value.clone()).collect()
}

fn fingerprints(files: &[PathBuf]) -> Vec<Fingerprint> {
    files.iter().map(|file| fingerprint(file)).collect()
}

fn fingerprint(file: &Path) -> Fingerprint {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok(), meta.len(), number(&meta)))
}

#[cfg(unix)]
fn number(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> u64 {
    0
}

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const WARNED_AT: [u64; 3] = [30, 7, 1];

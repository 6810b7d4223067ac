//! Bytes both ways between a caller and the remote, half-closes kept, until both have said all.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until, timeout};

use super::Denial;
use crate::client::{Away, ClientError, Moment, of_session};
use crate::peer::PeerText;

/// What went through a session, counted as it goes.
#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// Milliseconds from the beginning to the last byte, either way.
    last: AtomicU64,
    caller_said_all: AtomicBool,
}

/// Why a session ended before both sides had said all.
#[derive(Clone, Debug)]
pub(super) enum Cut {
    /// For a reason of the tunnel's own, with what was seen.
    Denied(Denial, PeerText),
    /// For one of the remote's.
    Remote(ClientError),
}

impl Tally {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            last: AtomicU64::new(0),
            caller_said_all: AtomicBool::new(false),
        }
    }

    /// Bytes of the caller that went to the remote.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes of the remote that went to the caller.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn lasted(&self) -> Duration {
        self.began.elapsed()
    }

    fn count(&self, counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Returns when nothing was said for `idle`.
    async fn quiet(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let end = self.began.checked_add(last).and_then(|last| last.checked_add(idle));
            let Some(end) = end else { return std::future::pending().await };
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }
}

/// Carries bytes until both sides have ended; each is told when the other ends.
///
/// # Errors
/// [`Denial::Idle`], [`Denial::Stalled`] or [`Denial::Broken`], or what the remote did, an end before its
/// first word among it.
pub(super) async fn relay<L, R>(
    caller: &mut L,
    remote: &mut R,
    at: SocketAddr,
    idle: Duration,
    tally: &Tally,
) -> Result<(), Cut>
where
    L: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let (from_caller, to_caller) = split(caller);
    let (from_remote, to_remote) = split(remote);
    let both = async {
        tokio::try_join!(up(from_caller, to_remote, tally), down(from_remote, to_caller, at, tally))
    };
    tokio::select! {
        both = both => both.map(|_| ()),
        () = tally.quiet(idle) => Err(denied(Denial::Idle, &format!("nothing for {idle:?}"))),
    }
}

/// Caller to remote.
async fn up(
    mut caller: impl AsyncRead + Unpin,
    mut remote: impl AsyncWrite + Unpin,
    tally: &Tally,
) -> Result<(), Cut> {
    let mut buffer = BytesMut::with_capacity(COPIED_AT_ONCE);
    loop {
        buffer.clear();
        match caller.read_buf(&mut buffer).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(denied(Denial::Broken, &error.kind().to_string())),
        }
        match timeout(LONGEST_STALL, pass(&mut remote, &buffer)).await {
            Ok(Ok(())) => tally.count(&tally.sent, buffer.len()),
            // What the remote says about it is among what it sends, and that goes on.
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err(denied(Denial::Stalled, "the remote reads nothing")),
        }
    }
    tally.caller_said_all.store(true, Ordering::Relaxed);
    // A remote that is gone already needs no telling.
    drop(timeout(LONGEST_STALL, remote.shutdown()).await);
    Ok(())
}

/// Remote to caller.
async fn down(
    mut remote: impl AsyncRead + Unpin,
    mut caller: impl AsyncWrite + Unpin,
    at: SocketAddr,
    tally: &Tally,
) -> Result<(), Cut> {
    let mut buffer = BytesMut::with_capacity(COPIED_AT_ONCE);
    loop {
        buffer.clear();
        match remote.read_buf(&mut buffer).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(Cut::Remote(broken(&error, at, tally))),
        }
        match timeout(LONGEST_STALL, pass(&mut caller, &buffer)).await {
            Ok(Ok(())) => tally.count(&tally.received, buffer.len()),
            Ok(Err(error)) => return Err(denied(Denial::Broken, &error.kind().to_string())),
            Err(_) => return Err(denied(Denial::Stalled, "the caller reads nothing")),
        }
    }
    if tally.received() == 0 && !tally.caller_said_all.load(Ordering::Relaxed) {
        return Err(Cut::Remote(ClientError::TurnedAway(Away::Unheard)));
    }
    // A caller that is gone already needs no telling.
    drop(timeout(LONGEST_STALL, caller.shutdown()).await);
    Ok(())
}

async fn pass(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

fn broken(error: &io::Error, at: SocketAddr, tally: &Tally) -> ClientError {
    of_session(error).unwrap_or_else(|| match tally.received() {
        0 => ClientError::TurnedAway(Away::Unheard),
        _ => ClientError::Reset { at, moment: Moment::InSession },
    })
}

pub(super) fn denied(denial: Denial, seen: &str) -> Cut {
    Cut::Denied(denial, PeerText::from(seen))
}

/// One TLS record (RFC 8446 section 5.1).
const COPIED_AT_ONCE: usize = 16 * 1024;
/// As for a forward: a side that takes nothing for so long is stuck.
const LONGEST_STALL: Duration = Duration::from_secs(30);

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;

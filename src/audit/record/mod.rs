//! The audit log: the record as lines that programs read, in a file, the journal of systemd, or on standard output.
//!
//! It is written by a thread of its own behind a bounded queue. A disk that is full or hangs loses lines, which are
//! counted and told of; it never makes a visitor wait.

mod chain;
mod file;
#[cfg(unix)]
mod journal;
mod keeper;
mod line;
mod paper;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use super::Event;
use crate::place::Written;
use crate::problem::{Fault, Problem};

pub use chain::{Break, Chain};
use keeper::Keeper;
pub(super) use line::moment;
use paper::Paper;

/// Where the audit log goes, and whether its lines are chained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSettings {
    /// Where it goes.
    pub to: Written<RecordTo>,
    /// Whether each line carries the SHA-256 of the one before; for a file alone.
    pub chain: bool,
}

/// Where an audit log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordTo {
    /// To the end of a file.
    File(PathBuf),
    /// To the journal of systemd.
    Journal,
    /// To standard output.
    Stdout,
}

/// An audit log that is open: its first line is written.
#[derive(Debug)]
pub struct Record {
    queue: SyncSender<Message>,
    state: Arc<State>,
    ended: Mutex<Receiver<()>>,
}

/// What the thread is sent.
#[derive(Debug)]
enum Message {
    Event(SystemTime, Box<Event>),
    /// Look at the state.
    Wake,
}

/// What is shared with the thread.
#[derive(Debug, Default)]
struct State {
    /// Events that found the queue full, and are not told of yet.
    overflown: AtomicU64,
    /// Events that are in no line, since the start.
    lost: AtomicU64,
    reopen: AtomicBool,
    close: AtomicBool,
}

impl Record {
    /// Opens the log and writes its first line.
    ///
    /// # Errors
    /// [`Fault::AuditUnwritable`] where it cannot be written to, [`Fault::AuditLocked`] where another process does.
    pub fn open(settings: &RecordSettings) -> Result<Self, Problem> {
        Self::begin(settings).map_err(|problem| problem.at(&settings.to.place))
    }

    fn begin(settings: &RecordSettings) -> Result<Self, Problem> {
        let (paper, found) = Paper::open(&settings.to.value)?;
        let (queue, messages) = sync_channel(MOST_WAITING);
        let (end, ended) = sync_channel(1);
        let state = Arc::new(State::default());
        let keeper = Keeper::begin(paper, found, settings.chain, Arc::clone(&state))?;
        let keep = move || {
            keeper.keep(&messages);
            // Nobody may be waiting.
            end.send(()).ok();
        };
        let thread = thread::Builder::new().name("audit".to_owned()).spawn(keep);
        thread.map_err(|error| {
            let what = format!("the thread of the audit log cannot be started: {error}");
            Problem::error(
                Fault::AuditUnwritable,
                what,
                "raise the limit on processes of this user",
            )
        })?;
        Ok(Self { queue, state, ended: Mutex::new(ended) })
    }

    /// Hands an event to the log. It never waits: what finds the queue full is lost, and counted.
    pub(super) fn put(&self, event: &Event) {
        let message = Message::Event(SystemTime::now(), Box::new(event.clone()));
        if self.queue.try_send(message).is_err() {
            self.state.overflown.fetch_add(1, Ordering::Relaxed);
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens a file anew that was renamed.
    pub(super) fn reopen(&self) {
        self.state.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// How many events are in no line, since the start.
    pub(super) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Writes what waits and the last line, unless the disk takes too long.
    pub(super) fn close(&self) {
        self.state.close.store(true, Ordering::Release);
        self.wake();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // What a hanging disk does not take now, nobody can wait for.
        ended.recv_timeout(LONGEST_CLOSE).ok();
    }

    /// A queue that is full needs no waking.
    fn wake(&self) {
        self.queue.try_send(Message::Wake).ok();
    }
}

/// About 4 MiB of events at the most, and a second of a busy server.
const MOST_WAITING: usize = 4096;
/// Shorter than the time in which a service manager loses its patience.
const LONGEST_CLOSE: Duration = Duration::from_secs(3);

//! The thread that writes the audit log: one line after the other, with what was lost in between.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use super::chain::{BEGINNING, link};
use super::file::Found;
use super::line::Line;
use super::paper::Paper;
use super::{Message, State};
use crate::problem::{Fault, Problem};

#[derive(Debug)]
pub(super) struct Keeper {
    paper: Paper,
    state: Arc<State>,
    /// The hash of the last line, where lines are chained.
    head: Option<String>,
    seq: u64,
    /// Events that no line tells of yet, not even as lost.
    untold: u64,
    /// When it was last said that a line could not be written.
    complained: Option<Instant>,
    unsynced: Option<Instant>,
}

impl Keeper {
    /// Writes the first lines: what was found, and that a run begins.
    pub(super) fn begin(
        mut paper: Paper,
        found: Found,
        chain: bool,
        state: Arc<State>,
    ) -> Result<Self, Problem> {
        let left = if chain { paper.file().and_then(|file| file.take_left()) } else { None };
        let head = chain.then(|| found.head.or(left).unwrap_or_else(|| BEGINNING.to_owned()));
        let (seq, untold, complained, unsynced) = (0, 0, None, None);
        let mut keeper = Self { paper, state, head, seq, untold, complained, unsynced };
        let now = SystemTime::now();
        let mended = match found.fragment.as_slice() {
            [] => Ok(()),
            fragment => keeper.write(vec![Line::mended(now, fragment)], 0),
        };
        let started = mended.and_then(|()| keeper.write(vec![Line::started(now, found.former)], 0));
        started.map_err(|error| {
            let what = format!("the audit log takes no line: {error}");
            Problem::error(Fault::AuditUnwritable, what, "make room where it is written to")
        })?;
        Ok(keeper)
    }

    /// Writes until it is told to end, or nobody is left who could tell.
    pub(super) fn keep(mut self, messages: &Receiver<Message>) {
        loop {
            let patience = if self.unsynced.is_some() { BETWEEN_SYNCS } else { LONGEST_SLEEP };
            match messages.recv_timeout(patience) {
                Ok(Message::Event(at, event)) => self.put(Line::of(&event, at)),
                Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.state.reopen.swap(false, Ordering::Acquire) {
                self.reopen();
            }
            self.sync(BETWEEN_SYNCS);
            if self.state.close.load(Ordering::Acquire) {
                return self.finish(messages);
            }
        }
    }

    /// Writes what waits, and the last line.
    fn finish(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.try_recv() {
                Ok(Message::Event(at, event)) => self.put(Line::of(&event, at)),
                Ok(Message::Wake) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.put(Line::stopped(SystemTime::now()));
        self.sync(Duration::ZERO);
        if let (Some(head), Some(file)) = (&self.head, self.paper.file()) {
            // Without it a chain begins anew where the file was taken away meanwhile, and says so.
            file.leave(head).ok();
        }
    }

    /// Writes a line, and before it what was lost since the last one; or counts it with those. Both or none: a disk
    /// on which only the shorter one has room is still full.
    fn put(&mut self, line: Line) {
        let overflown = self.state.overflown.swap(0, Ordering::Relaxed);
        self.untold = self.untold.saturating_add(overflown);
        let count = self.untold;
        let lost = (count > 0).then(|| Line::lost(SystemTime::now(), count));
        match self.write(lost.into_iter().chain([line]).collect(), count) {
            Ok(()) if count > 0 => {
                self.untold = 0;
                tracing::error!(
                    count,
                    "the audit log is written again: so many events are not in it"
                );
            }
            Ok(()) => {}
            Err(error) => {
                // On a disk that is nearly full, a shorter line may have room after a longer one had none.
                let told = self.complained.is_some_and(|at| at.elapsed() < BETWEEN_COMPLAINTS);
                if !told {
                    self.complained = Some(Instant::now());
                    tracing::error!(%error, "the audit log cannot be written: events are lost, and counted, until it can");
                }
                self.untold = self.untold.saturating_add(1);
                self.state.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes lines, whose numbers begin after `skipped` that are lost.
    fn write(&mut self, mut lines: Vec<Line>, skipped: u64) -> io::Result<()> {
        let mut seq = self.seq.saturating_add(skipped);
        let mut head = self.head.clone();
        let mut text = Vec::new();
        for line in &mut lines {
            seq = seq.saturating_add(1);
            line.seq = seq;
            line.prev.clone_from(&head);
            let bytes = serde_json::to_vec(line)?;
            head = head.map(|_| link(&bytes));
            text.extend(bytes);
            text.push(b'\n');
        }
        self.paper.add(&lines, &text)?;
        (self.seq, self.head) = (seq, head);
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Goes on in the file that stands under the name now. The chain goes on as well.
    fn reopen(&mut self) {
        let Some(file) = self.paper.file() else { return };
        match file.reopen() {
            Ok(None) => {}
            Ok(Some(found)) => {
                let now = SystemTime::now();
                if !found.fragment.is_empty() {
                    self.put(Line::mended(now, &found.fragment));
                }
                self.put(Line::reopened(now));
            }
            Err(problem) => {
                tracing::error!(%problem, "the audit log is not opened anew, and goes on where it was");
            }
        }
    }

    /// Brings to the disk what has waited for so long.
    fn sync(&mut self, after: Duration) {
        let Some(since) = self.unsynced.filter(|since| since.elapsed() >= after) else { return };
        self.unsynced = None;
        if let Some(file) = self.paper.file()
            && let Err(error) = file.sync()
        {
            let since = since.elapsed();
            tracing::error!(%error, ?since, "the audit log may not outlive a failure of this machine");
        }
    }
}

/// What a failing machine may lose at the most; one write a second is nothing to a disk.
const BETWEEN_SYNCS: Duration = Duration::from_secs(1);
/// Once is enough for whoever reads it.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(60);
/// Nothing waits for it: whoever wants something wakes the thread.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

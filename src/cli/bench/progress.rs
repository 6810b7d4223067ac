//! How far it is, on a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr};

/// A line that is written over again, and is gone at the end.
pub(super) struct Progress {
    steps: usize,
    done: usize,
    is_seen: bool,
}

impl Progress {
    /// Of so many steps; nothing is drawn where nobody watches.
    pub(super) fn of(steps: usize) -> Self {
        Self { steps, done: 0, is_seen: stderr().is_terminal() }
    }

    /// The next step begins.
    pub(super) fn next(&mut self, what: &dyn Display) {
        let line = self.line(what);
        self.done = self.done.saturating_add(1);
        self.draw(&line);
    }

    fn line(&self, what: &dyn Display) -> String {
        let full = self.done.saturating_mul(WIDTH).checked_div(self.steps).unwrap_or(0).min(WIDTH);
        let (full, empty) = ("#".repeat(full), ".".repeat(WIDTH.saturating_sub(full)));
        format!("[{full}{empty}] {} of {}: {what}", self.done.saturating_add(1), self.steps)
    }

    fn draw(&self, line: &str) {
        if self.is_seen {
            let mut screen = stderr().lock();
            drop(write!(screen, "\r\x1b[2K{line}"));
            drop(screen.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.draw("");
    }
}

/// Narrow enough to leave room for the words on 80 columns.
const WIDTH: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_from_nothing_to_its_last_step() {
        let mut progress = Progress { steps: 4, done: 0, is_seen: false };
        assert_eq!(progress.line(&"a"), format!("[{}] 1 of 4: a", ".".repeat(24)));
        for _ in 0..3 {
            progress.next(&"b");
        }
        assert_eq!(progress.line(&"c"), format!("[{}{}] 4 of 4: c", "#".repeat(18), ".".repeat(6)));
    }
}

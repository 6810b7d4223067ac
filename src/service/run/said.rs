//! What a program says on its standard error, for the log: a line each, escaped, and not too many.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep_until};

use crate::peer::PeerText;

/// Logs what a program says until it ends. It is always read, so that no program waits for its log
/// for long; one that floods it is slowed down.
pub(super) async fn record(mut stderr: impl AsyncRead + Unpin, service: Arc<str>, visit: u64) {
    let mut buffer = vec![0; READ_AT_ONCE];
    let mut said = Said::new(Instant::now());
    let mut taken = 0_usize;
    loop {
        let read = match stderr.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let now = Instant::now();
        if let Some(untold) = said.turn(now) {
            taken = 0;
            tell_untold(&service, visit, untold);
        }
        for line in said.lines(buffer.get(..read).unwrap_or_default()) {
            tell(&service, visit, &line);
        }
        taken = taken.saturating_add(read);
        if taken > MOST_BYTES {
            sleep_until(said.until()).await;
        }
    }
    if let Some(line) = said.last() {
        tell(&service, visit, &line);
    }
    tell_untold(&service, visit, said.untold);
}

fn tell(service: &str, visit: u64, line: &PeerText) {
    tracing::info!(visit, %service, said = %line, "the program says");
}

fn tell_untold(service: &str, visit: u64, untold: u64) {
    if untold > 0 {
        tracing::warn!(visit, %service, lines = untold, "the program says more than is logged");
    }
}

/// Cuts bytes into lines, and keeps count of those told in the present second.
#[derive(Debug)]
struct Said {
    line: Vec<u8>,
    began: Instant,
    told: u32,
    untold: u64,
}

impl Said {
    fn new(now: Instant) -> Self {
        Self { line: Vec::new(), began: now, told: 0, untold: 0 }
    }

    /// When the present second is over.
    fn until(&self) -> Instant {
        self.began.checked_add(SECOND).unwrap_or(self.began)
    }

    /// Begins another second where the present one is over; answers with what it left untold.
    fn turn(&mut self, now: Instant) -> Option<u64> {
        if now < self.until() {
            return None;
        }
        self.began = now;
        self.told = 0;
        Some(std::mem::take(&mut self.untold))
    }

    /// The lines that end in `bytes`, as many as may be told.
    fn lines(&mut self, bytes: &[u8]) -> Vec<PeerText> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE.saturating_sub(self.line.len());
            let text = piece.strip_suffix(b"\n");
            self.line.extend(text.unwrap_or(piece).iter().take(room));
            if text.is_some() {
                lines.extend(self.last());
            }
        }
        lines
    }

    /// The line so far, where it is one and may be told.
    fn last(&mut self) -> Option<PeerText> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return None;
        }
        if self.told >= MOST_LINES {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told = self.told.saturating_add(1);
        Some(PeerText::new(&line))
    }
}

/// A traceback fits; a flood does not.
const MOST_LINES: u32 = 50;
/// What is shown of a line at most, each character in up to four bytes, and one byte that shows that
/// there was more.
const LONGEST_LINE: usize = PeerText::LONGEST * 4 + 1;
const SECOND: Duration = Duration::from_secs(1);
const READ_AT_ONCE: usize = 8 * 1024;
/// A program that says more than this in a second waits for the next one.
const MOST_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[PeerText]) -> Vec<&str> {
        lines.iter().map(PeerText::as_str).collect()
    }

    #[test]
    fn lines_are_told_whole_wherever_they_were_split() {
        let mut said = Said::new(Instant::now());
        assert_eq!(shown(&said.lines(b"one\ntw")), ["one"]);
        assert_eq!(shown(&said.lines(b"o\n\n\x1b[31m")), ["two"]);
        assert_eq!(said.last().unwrap().as_str(), "\\u{1b}[31m");
    }

    #[test]
    fn a_line_without_an_end_is_kept_in_bounds() {
        let mut said = Said::new(Instant::now());
        for _ in 0..1000 {
            assert!(said.lines(&[b'x'; 1000]).is_empty());
        }
        assert!(said.line.len() <= LONGEST_LINE);
        let line = said.lines(b"\n").remove(0);
        assert_eq!(line.as_str().chars().count(), PeerText::LONGEST + 1);
    }

    #[test]
    fn so_many_lines_a_second_are_told_and_the_rest_is_counted() {
        let now = Instant::now();
        let mut said = Said::new(now);
        assert_eq!(said.lines(&b"x\n".repeat(60)).len(), 50);
        assert_eq!(said.turn(now), None);
        let later = now + SECOND;
        assert_eq!(said.turn(later), Some(10));
        assert_eq!(said.lines(b"x\n").len(), 1);
        assert_eq!(said.turn(later + SECOND), Some(0));
    }
}

//! The chain: each line carries the SHA-256 of the one before, so that a changed or missing line shows.
//!
//! It has no key. Whoever may write the file can write a whole new chain; what they cannot do is to make it end in
//! a hash that somebody else has noted.

use std::fmt::Write as _;
use std::io::{self, BufRead};

use aws_lc_rs::digest::{SHA256, digest};

use super::line::Read;

/// The SHA-256 of a line without its end, in hexadecimal.
pub(super) fn link(line: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, line).as_ref() {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// What the first line of a chain carries.
pub(super) const BEGINNING: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

/// Whether a text can be the hash of a line.
pub(super) fn is_link(text: &str) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == BEGINNING.len() && text.bytes().all(hexadecimal)
}

/// A chain that is followed from file to file, the oldest first.
#[derive(Debug, Default)]
pub struct Chain {
    head: Option<String>,
    lines: u64,
}

/// Where a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The first line that does not follow from the one before, counted from 1 in its file.
    pub line: u64,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Chain {
    /// Follows the chain through another file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn follow(&mut self, mut file: impl BufRead) -> io::Result<Result<(), Break>> {
        let mut number = 0_u64;
        let mut line = Vec::new();
        loop {
            line.clear();
            let bound = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
            let read = io::Read::take(&mut file, bound).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(Ok(()));
            }
            number = number.saturating_add(1);
            if let Err(why) = self.take(&line) {
                return Ok(Err(Break { line: number, why }));
            }
        }
    }

    /// The hash of the last line: what somebody else should note.
    #[must_use]
    pub fn head(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// How many lines follow from each other.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    fn take(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err("it is cut off: the program was stopped while it wrote, or still writes");
        };
        let read: Read =
            serde_json::from_slice(line).map_err(|_| "it is no line of an audit log")?;
        let prev = read.prev.ok_or("it carries no hash: it was not written with chain = true")?;
        match &self.head {
            None if is_link(&prev) => {}
            Some(head) if *head == prev => {}
            Some(_) if prev == BEGINNING => {
                return Err("a new chain begins here: what was before it may not be all there was");
            }
            None | Some(_) => {
                return Err(
                    "it does not follow from the line before: one of them was changed, or some are missing",
                );
            }
        }
        self.head = Some(link(line));
        self.lines = self.lines.saturating_add(1);
        Ok(())
    }
}

/// Far longer than any line that is written.
const LONGEST_LINE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: usize) -> Vec<String> {
        let mut prev = BEGINNING.to_owned();
        let line = |number| {
            let line = format!("{{\"event\":\"x\",\"seq\":{number},\"prev\":\"{prev}\"}}");
            prev = link(line.as_bytes());
            line
        };
        (0..lines).map(line).collect()
    }

    fn follow(lines: &[String]) -> Result<u64, Break> {
        let mut chain = Chain::default();
        let text = lines.join("\n") + "\n";
        chain.follow(text.as_bytes()).unwrap().map(|()| chain.lines())
    }

    #[test]
    fn the_hash_is_the_one_that_sha256sum_prints() {
        assert_eq!(
            link(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_changed_a_missing_and_a_swapped_line_show() {
        assert_eq!(follow(&log(9)), Ok(9));
        let broken = |change: fn(&mut Vec<String>)| {
            let mut lines = log(9);
            change(&mut lines);
            follow(&lines).unwrap_err().line
        };
        assert_eq!(broken(|lines| lines[3] = lines[3].replace("\"x\"", "\"y\"")), 5);
        assert_eq!(broken(|lines| drop(lines.remove(3))), 4);
        assert_eq!(broken(|lines| lines.swap(3, 4)), 4);
        assert_eq!(broken(|lines| lines.insert(3, "{}".into())), 4);
        assert_eq!(broken(|lines| lines.insert(3, lines[2].clone())), 4);
        assert_eq!(broken(|lines| lines[8].truncate(20)), 9);
    }

    #[test]
    fn a_chain_goes_on_in_the_next_file_and_a_new_one_does_not_pass_for_it() {
        let lines = log(4);
        let mut chain = Chain::default();
        for half in [&lines[..2], &lines[2..]] {
            chain.follow((half.join("\n") + "\n").as_bytes()).unwrap().unwrap();
        }
        assert_eq!((chain.lines(), chain.head()), (4, Some(link(lines[3].as_bytes()).as_str())));
        let anew = chain.follow((log(1).join("\n") + "\n").as_bytes()).unwrap().unwrap_err();
        assert!(anew.line == 1 && anew.why.contains("a new chain begins"), "{anew:?}");
    }

    #[test]
    fn half_a_line_is_not_counted() {
        let lines = log(2);
        let mut chain = Chain::default();
        let text = format!("{}\n{}", lines[0], &lines[1]);
        let cut = chain.follow(text.as_bytes()).unwrap().unwrap_err();
        assert!(cut.line == 2 && cut.why.contains("cut off"), "{cut:?}");
        assert_eq!(chain.lines(), 1);
    }
}

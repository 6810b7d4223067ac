//! Reading a text file that an operator named, without trusting that it is one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::units::Size;
use crate::problem::{Fault, Problem};

/// The text of the file at `path`, which is UTF-8 and has at most `longest` bytes.
pub(super) fn text_of(path: &Path, longest: usize) -> Result<String, Unreadable> {
    // Asked before opening: a fifo would keep the start waiting for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(Unreadable::NoFile);
    }
    let mut bytes = Vec::new();
    let one_more = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(one_more).read_to_end(&mut bytes)?;
    if bytes.len() > longest {
        return Err(Unreadable::TooLong(longest));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let breaks = valid.filter(|byte| **byte == b'\n').count();
        Unreadable::NotUtf8 { line: breaks.saturating_add(1) }
    })
}

/// Why a file is no text that could be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The system did not let us.
    System(io::Error),
    /// A directory, a fifo, a socket or a device.
    NoFile,
    /// More than this many bytes.
    TooLong(usize),
    /// The first line that is not UTF-8.
    NotUtf8 {
        /// From 1.
        line: usize,
    },
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Unreadable {
    /// The problem, about `name`.
    pub(super) fn problem(&self, fault: Fault, name: &str) -> Problem {
        let (message, remedy) = match self {
            Self::System(error) => (
                format!("{name} cannot be read: {error}"),
                "check the path, which counts from the working directory, and who may read it",
            ),
            Self::NoFile => (format!("{name} is no regular file"), "name the file itself"),
            Self::TooLong(longest) => (
                format!("{name} is longer than {}", Size(*longest)),
                "check that it is the file you meant",
            ),
            Self::NotUtf8 { line } => (
                format!("{name} is not UTF-8: see line {line}"),
                "save it as UTF-8, or check that it is the file you meant",
            ),
        };
        Problem::error(fault, message, remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_to_its_last_permitted_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        fs::write(&path, "12345").unwrap();
        assert_eq!(text_of(&path, 5).unwrap(), "12345");
        assert!(matches!(text_of(&path, 4), Err(Unreadable::TooLong(4))));
    }

    #[test]
    fn what_is_no_text_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(text_of(directory.path(), 5), Err(Unreadable::NoFile)));
        let path = directory.path().join("list");
        assert!(matches!(text_of(&path, 5), Err(Unreadable::System(_))));
        fs::write(&path, b"a\nb\n\xff\n").unwrap();
        assert!(matches!(text_of(&path, 50), Err(Unreadable::NotUtf8 { line: 3 })));
    }
}

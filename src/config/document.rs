//! The text of a configuration and everything found wrong in it, each with its line and column.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, Error};

use crate::peer::PeerText;
use crate::place::Place;
use crate::problem::{Fault, Problem, Severity};

/// One file while it is read: turns byte offsets into places and gathers problems.
///
/// Problems are written down as they are met, and reading goes on, so that one run shows them all.
#[derive(Debug)]
pub(super) struct Document<'t> {
    text: &'t str,
    file: Arc<str>,
    /// The offset of each line's first character.
    lines: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Document<'t> {
    /// `text`, which was read from `file`.
    pub(super) fn new(text: &'t str, file: &str) -> Self {
        // A byte order mark is no column.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let breaks = text.match_indices('\n').map(|(offset, _)| offset.saturating_add(1));
        let lines = std::iter::once(first).chain(breaks).collect();
        Self { text, file: Arc::from(file), lines, problems: RefCell::default() }
    }

    /// The tables of the file, or nothing when it is not TOML.
    ///
    /// A tree recovered from broken text would report keys as missing that are only unreadable, so
    /// the syntax is put right first: the first error of every broken line is written down.
    pub(super) fn tables(&self) -> Option<DeTable<'t>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Some(root.into_inner());
        }
        let mut errors: Vec<_> =
            errors.iter().map(|error| (self.place(error.span().unwrap_or(0..0)), error)).collect();
        errors.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut broken = BTreeSet::new();
        for (place, error) in errors {
            if broken.insert(place.line()) {
                self.report(syntax(error).at(&place));
            }
        }
        None
    }

    /// Where a span begins; columns count characters.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let line = self.lines.partition_point(|start| *start <= span.start).max(1);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..span.start).unwrap_or("");
        let column = before.chars().count().saturating_add(1);
        Place::new(Arc::clone(&self.file), narrow(line), narrow(column))
    }

    /// The file as a whole, for what is written nowhere.
    pub(super) fn whole(&self) -> Place {
        Place::new(Arc::clone(&self.file), 0, 0)
    }

    /// Writes a problem down.
    pub(super) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Writes the problem of a reading down, at `place` unless it has a place of its own.
    pub(super) fn keep<T>(&self, reading: Result<T, Problem>, place: &Place) -> Option<T> {
        reading.map_err(|problem| self.report(problem.at(place))).ok()
    }

    /// All problems, in the order of the file, and whether one of them refuses the start.
    pub(super) fn into_problems(self) -> (Vec<Problem>, bool) {
        let mut problems = self.problems.into_inner();
        problems.sort_by(|one, other| one.place().cmp(&other.place()));
        let refused = problems.iter().any(|problem| problem.severity() == Severity::Error);
        (problems, refused)
    }
}

/// Text of the file as it may be shown: quoted, on one line, and cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", PeerText::from(text))
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn syntax(error: &Error) -> Problem {
    let seen = error.message();
    let remedy = if seen.contains("must be quoted") {
        "put text in double quotes: key = \"text\""
    } else if seen.contains("duplicate key") {
        "keep one of the two; a table is opened once, and only [[service]] may come again"
    } else if seen.contains("array") {
        "separate the values by commas and end the list with ]"
    } else {
        "write one key = value a line, under a [table]"
    };
    Problem::error(Fault::ConfigSyntax, format!("the line is not TOML: {seen}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_and_not_bytes() {
        let document = Document::new("a = 1\nü = \"ö\" # 2\n", "x.toml");
        assert_eq!(document.place(0..1).to_string(), "x.toml:1:1");
        assert_eq!(document.place(6..8).to_string(), "x.toml:2:1");
        assert_eq!(document.place(11..12).to_string(), "x.toml:2:5");
        assert_eq!(document.whole().to_string(), "x.toml");
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        let document = Document::new("\u{feff}a = 1\r\nb = 2\r\n", "x.toml");
        assert_eq!(document.place(3..4).to_string(), "x.toml:1:1");
        assert_eq!(document.place(10..11).to_string(), "x.toml:2:1");
    }

    #[test]
    fn every_broken_line_is_reported_once() {
        let document = Document::new("a = yes\nb = [1 2]\na = 3\nc = \"ok\"\n", "x.toml");
        assert!(document.tables().is_none());
        let (problems, refused) = document.into_problems();
        assert!(refused);
        let lines: Vec<_> = problems.iter().map(|one| one.place().unwrap().line()).collect();
        assert_eq!(lines, [1, 2, 3]);
        assert!(problems.iter().all(|one| one.fault() == Fault::ConfigSyntax));
    }
}

//! The text of a configuration and everything found wrong in it, each with its line and column.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
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
    /// Whether bytes and characters are the same, which spares counting in very long lines.
    is_ascii: bool,
    problems: RefCell<Vec<Problem>>,
    /// The files that were read for this one.
    lists: RefCell<Vec<PathBuf>>,
}

impl<'t> Document<'t> {
    /// `text`, which was read from `file`.
    pub(super) fn new(text: &'t str, file: &str) -> Self {
        // A byte order mark is no column.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let breaks = text.match_indices('\n').map(|(offset, _)| offset.saturating_add(1));
        let lines = std::iter::once(first).chain(breaks).collect();
        let is_ascii = text.is_ascii();
        let (file, problems, lists) = (Arc::from(file), RefCell::default(), RefCell::default());
        Self { text, file, lines, is_ascii, problems, lists }
    }

    /// Notes that a file was read for this one.
    pub(super) fn note_list(&self, list: &Path) {
        let mut lists = self.lists.borrow_mut();
        if !lists.iter().any(|known| known == list) {
            lists.push(list.to_owned());
        }
    }

    /// The files that were read for this one.
    pub(super) fn lists(&self) -> Vec<PathBuf> {
        self.lists.borrow().clone()
    }

    /// The tables of the file, or nothing when it is not TOML.
    ///
    /// A tree recovered from broken text would report keys as missing that are only unreadable, so
    /// the syntax is put right first.
    pub(super) fn tables(&self) -> Option<DeTable<'t>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Some(root.into_inner());
        }
        self.report_broken_lines(errors);
        None
    }

    /// Writes down the first error of every broken line.
    ///
    /// The parser gives up behind some errors. What is broken after them shows once the broken lines
    /// are blanked, as long as those are whole: a blanked piece of a list would break its other lines.
    fn report_broken_lines(&self, mut errors: Vec<Error>) {
        let mut text = self.text.to_owned();
        let mut broken = BTreeSet::new();
        while !errors.is_empty() {
            let mut blank = Vec::new();
            for (offset, error) in in_order(&errors) {
                let number = self.line_of(offset);
                if !broken.insert(number) {
                    continue;
                }
                if broken.len() > MOST_BROKEN {
                    self.report(another_file().at(&self.place(offset..offset)));
                    return;
                }
                blank.extend(self.line(number));
                self.report(syntax(error).at(&self.place(offset..offset)));
            }
            let whole = |line: &Range<usize>| is_whole(self.text.get(line.clone()).unwrap_or(""));
            let may_hide_more = !blank.is_empty()
                && blank.iter().all(whole)
                && !errors.iter().any(is_unclosed_list);
            if !may_hide_more {
                return;
            }
            for line in blank {
                text.replace_range(line.clone(), &" ".repeat(line.len()));
            }
            errors = DeTable::parse_recoverable(&text).1;
        }
    }

    /// The bytes of a line, without its ending.
    fn line(&self, number: usize) -> Option<Range<usize>> {
        let start = *self.lines.get(number.checked_sub(1)?)?;
        let text = self.text.get(start..)?;
        let length = text.find(['\r', '\n']).unwrap_or(text.len());
        Some(start..start.saturating_add(length))
    }

    /// Where a span begins; columns count characters.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let line = self.line_of(span.start);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..span.start).unwrap_or("");
        let before = if self.is_ascii { before.len() } else { before.chars().count() };
        let column = before.saturating_add(1);
        Place::new(Arc::clone(&self.file), narrow(line), narrow(column))
    }

    /// The number of the line an offset is in, from 1.
    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
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
        problems.sort_by_key(|problem| (problem.place().cloned(), problem.fault()));
        // A table that two services share has its flaw once.
        problems.dedup();
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

/// The errors by offset, up to the first unclosed list: the rest of the file seems to be inside.
fn in_order(errors: &[Error]) -> Vec<(usize, &Error)> {
    let offset = |error: &Error| error.span().map_or(0, |span| span.start);
    let mut sorted: Vec<_> = errors.iter().map(|error| (offset(error), error)).collect();
    sorted.sort_by_key(|(offset, _)| *offset);
    if errors.iter().any(is_unclosed_list)
        && let Some(first) = sorted.iter().position(|(_, error)| error.message().contains("array"))
    {
        sorted.truncate(first.saturating_add(1));
    }
    sorted
}

fn is_unclosed_list(error: &Error) -> bool {
    error.message().starts_with("unclosed array")
}

/// Whether nothing of the line goes on in the next, and no table begins with it.
fn is_whole(line: &str) -> bool {
    !["[", "{", "\"\"\"", "'''"].iter().any(|opening| line.contains(opening))
}

fn syntax(error: &Error) -> Problem {
    let seen = error.message();
    let known = REMEDIES.iter().find(|(part, _)| seen.contains(part));
    let remedy =
        known.map_or("write one key = value a line, under a [table]", |(_, remedy)| *remedy);
    Problem::error(Fault::ConfigSyntax, format!("the line is not TOML: {seen}"), remedy)
}

fn another_file() -> Problem {
    let message = format!("more than {MOST_BROKEN} lines are not TOML; the rest is not shown");
    Problem::error(Fault::ConfigSyntax, message, "check that it is the file you meant")
}

/// What to do about an error, by a part of what the parser says.
const REMEDIES: [(&str, &str); 6] = [
    ("must be quoted", "put text in double quotes: key = \"text\""),
    ("duplicate key", "keep one of the two; only [[service]] and its tables may come again"),
    ("array", "separate the values of a list by commas, and end it with ]"),
    ("escape", "double the backslash, or put the text in single quotes"),
    ("string", "end the text with the quote it begins with, on the same line"),
    ("unclosed table", "end the name of the table with ]"),
];

/// Whoever has broken this many lines has another kind of file.
const MOST_BROKEN: usize = 50;

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

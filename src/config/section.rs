//! One table of the file: which keys it has, and which of them nobody asked for.

use toml::de::{DeTable, DeValue};

use super::document::{Document, quoted};
use super::entry::Entry;
use super::words::{listed, nearest};
use crate::place::Place;
use crate::problem::{Fault, Problem};

/// A table while it is read. It remembers the keys it was asked for; [`Section::finish`] reports the rest.
///
/// A table that is not written reads like an empty one, so that a missing table means its defaults.
#[derive(Debug)]
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    name: &'static str,
    place: Place,
    table: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// The top of the file.
    pub(super) fn top(document: &'d Document<'d>, table: &'d DeTable<'d>) -> Self {
        Self::new(document, TOP, document.whole(), Some(table))
    }

    /// Where the table begins; the whole file when it is not written.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The file the table is in.
    pub(super) fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// Whether the table is written at all.
    pub(super) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    /// The value of a key that may be left out.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<Entry<'d>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let value = self.table?.get(key)?;
        let place = self.document.place(value.span());
        Some(Entry::new(self.document, (key, self.name), place, value.get_ref()))
    }

    /// The value of a key that has a default, as `read` reads it.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Entry<'d>) -> Option<T>,
    ) -> Option<T> {
        self.entry(key).map_or(Some(default), |entry| read(&entry))
    }

    /// The value of a key that has no default; `example` is a value an operator may copy.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<Entry<'d>> {
        let entry = self.entry(key);
        if entry.is_none() {
            self.blame(
                Fault::ConfigMissingKey,
                format!("{} has no {key}, and there is no default", self.name),
                format!("add it, such as {key} = {example}"),
            );
        }
        entry
    }

    /// The table under `key`, shown as `name`.
    pub(super) fn table(&mut self, key: &'static str, name: &'static str) -> Self {
        let Some(entry) = self.entry(key) else {
            return Self::new(self.document, name, self.place.clone(), None);
        };
        let remedy = format!("write {name} on a line of its own and its keys under it");
        Self::of(&entry, name, "a table", &remedy)
            .unwrap_or_else(|| Self::new(self.document, name, entry.place().clone(), None))
    }

    /// The tables under `key`, each opened by `name` in two brackets; none when none is written,
    /// nothing when something else is.
    pub(super) fn tables(&mut self, key: &'static str, name: &'static str) -> Option<Vec<Self>> {
        let Some(entry) = self.entry(key) else {
            return Some(Vec::new());
        };
        let what = format!("tables, each opened by {name}");
        let remedy = format!("write {name} in two brackets before each");
        if !entry.is_list() {
            entry.takes(&what, &remedy);
            return None;
        }
        let items = entry.items();
        let tables: Vec<_> =
            items.iter().filter_map(|item| Self::of(item, name, &what, &remedy)).collect();
        (items.is_empty() || !tables.is_empty()).then_some(tables)
    }

    /// The table that `entry` is, shown as `name`; otherwise reports that the key takes `what`.
    pub(super) fn of(
        entry: &Entry<'d>,
        name: &'static str,
        what: &str,
        remedy: &str,
    ) -> Option<Self> {
        let DeValue::Table(table) = entry.value() else {
            entry.takes(what, remedy);
            return None;
        };
        Some(Self::new(entry.document(), name, entry.place().clone(), Some(table)))
    }

    /// Reports a problem of the table as a whole.
    pub(super) fn blame(
        &self,
        fault: Fault,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.document.report(Problem::error(fault, message, remedy).at(&self.place));
    }

    /// Reports what is worth knowing about the table as a whole.
    pub(super) fn warn(&self, fault: Fault, message: impl Into<String>, remedy: impl Into<String>) {
        self.document.report(Problem::warning(fault, message, remedy).at(&self.place));
    }

    /// Reports every key that nobody asked for, with the nearest one that exists.
    pub(super) fn finish(&self) {
        for (key, value) in self.table.into_iter().flatten() {
            if self.known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let place = self.document.place(key.span());
            self.document.report(self.unknown(key.get_ref(), value.get_ref()).at(&place));
        }
    }

    fn new(
        document: &'d Document<'d>,
        name: &'static str,
        place: Place,
        table: Option<&'d DeTable<'d>>,
    ) -> Self {
        Self { document, name, place, table, known: Vec::new() }
    }

    fn unknown(&self, key: &str, value: &DeValue<'_>) -> Problem {
        let what = if matches!(value, DeValue::Table(_)) { "table" } else { "key" };
        let message = format!("{} has no {what} {}", self.name, quoted(key));
        let remedy = match nearest(key, self.known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("remove it; {} takes {}", self.name, listed(&self.known)),
        };
        Problem::error(Fault::ConfigUnknownKey, message, remedy)
    }
}

/// How messages name the top of the file.
const TOP: &str = "the file";

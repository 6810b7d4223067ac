//! One value of the file, and the ways to read it.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeInteger, DeValue};

use super::document::{Document, quoted};
use super::units::{self, Size, Span};
use super::words::{listed, nearest};
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};

/// A value with its key and its place. Each reading answers with the value, or reports why not.
#[derive(Debug)]
pub(super) struct Entry<'d> {
    document: &'d Document<'d>,
    /// The key, and how messages name its table.
    name: (&'static str, &'static str),
    place: Place,
    value: &'d DeValue<'d>,
}

/// The least and the most a value may be, and why.
#[derive(Clone, Debug)]
pub(super) struct Bounds<T> {
    /// What the value may be, both ends included.
    pub(super) range: RangeInclusive<T>,
    /// A clause that tells the operator what goes wrong beyond them.
    pub(super) why: &'static str,
}

impl<'d> Entry<'d> {
    /// The value of `name`, the key and its table, at `place`.
    pub(super) fn new(
        document: &'d Document<'d>,
        name: (&'static str, &'static str),
        place: Place,
        value: &'d DeValue<'d>,
    ) -> Self {
        Self { document, name, place, value }
    }

    /// Where the value begins.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The file the value is in.
    pub(super) fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// The value as TOML has it.
    pub(super) fn value(&self) -> &'d DeValue<'d> {
        self.value
    }

    /// Whether it is written as a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// The values of a list; a single value is a list of one.
    pub(super) fn items(&self) -> Vec<Self> {
        let DeValue::Array(items) = self.value else {
            return vec![Self { place: self.place.clone(), ..*self }];
        };
        items
            .iter()
            .map(|item| Self {
                place: self.document.place(item.span()),
                value: item.get_ref(),
                ..*self
            })
            .collect()
    }

    /// Text.
    pub(super) fn string(&self) -> Option<Written<&'d str>> {
        let DeValue::String(text) = self.value else {
            let is_single = !(self.value.is_array() || self.value.is_table());
            let remedy = if is_single { "put it in double quotes" } else { "write one text here" };
            self.takes("text", remedy);
            return None;
        };
        Some(Written::new(text.as_ref(), self.place.clone()))
    }

    /// Every value of a list, or a single value, as `read` reads it; nothing if one could not be read.
    pub(super) fn each<T>(&self, read: impl FnMut(&Self) -> Option<T>) -> Option<Vec<T>> {
        // All are read before the first bad one ends it, so that each is reported.
        let read: Vec<_> = self.items().iter().map(read).collect();
        read.into_iter().collect()
    }

    /// The path of a file, relative to the working directory.
    pub(super) fn path(&self) -> Option<Written<PathBuf>> {
        let text = self.string()?;
        if text.value.is_empty() || text.value.contains('\0') {
            self.refuse(text.value, "which is no path", "write the path of a file");
            return None;
        }
        Some(Written::new(PathBuf::from(text.value), text.place))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.string()?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*meaning);
        }
        let remedy = nearest(text.value, words.iter().map(|(word, _)| *word))
            .map_or_else(|| choices(words), |near| format!("did you mean {}?", quoted(near)));
        self.refuse(text.value, "which is none of its choices", &remedy);
        None
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        let DeValue::Boolean(flag) = self.value else {
            self.takes("true or false", "write true or false without quotes");
            return None;
        };
        Some(*flag)
    }

    /// A whole number within bounds.
    pub(super) fn number<N>(&self, bounds: &Bounds<N>) -> Option<N>
    where
        N: TryFrom<i128> + PartialOrd + fmt::Display,
    {
        let DeValue::Integer(integer) = self.value else {
            self.takes("a whole number", &format!("write a number {}", bounds.choose()));
            return None;
        };
        let number = whole(integer).and_then(|number| N::try_from(number).ok());
        self.within(number, &shown(integer), bounds)
    }

    /// A duration such as `"5s"`.
    pub(super) fn duration(&self, bounds: &Bounds<Duration>) -> Option<Duration> {
        let spans = bounds.spans();
        let is_short = bounds.range.start().as_secs() < HOUR;
        let (units, example) = if is_short { ("ms, s or m", "5s") } else { ("h or d", "30d") };
        let remedy = format!("write a whole number and {units} in quotes, {}", spans.choose());
        let DeValue::String(text) = self.value else {
            self.takes(&format!("a duration such as {}", quoted(example)), &remedy);
            return None;
        };
        let Some(duration) = units::duration(text) else {
            self.refuse(text, "which is no duration", &remedy);
            return None;
        };
        self.within(Some(Span(duration)), &quoted(text), &spans).map(|Span(duration)| duration)
    }

    /// A size such as `"64KiB"`, or a number of bytes.
    pub(super) fn size(&self, bounds: &Bounds<usize>) -> Option<usize> {
        let sizes = bounds.sizes();
        let remedy = format!("write a whole number and KiB or MiB in quotes, {}", sizes.choose());
        let (size, written) = match self.value {
            DeValue::String(text) => {
                let Some(size) = units::size(text) else {
                    self.refuse(text, "which is no size", &remedy);
                    return None;
                };
                (Some(size), quoted(text))
            }
            DeValue::Integer(integer) => {
                (whole(integer).and_then(|bytes| usize::try_from(bytes).ok()), shown(integer))
            }
            DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.takes("a size such as \"64KiB\"", &remedy);
                return None;
            }
        };
        self.within(size.map(Size), &written, &sizes).map(|Size(size)| size)
    }

    /// What a room made of the value; its problem is reported here.
    pub(super) fn checked<T>(&self, made: Result<T, Problem>) -> Option<T> {
        self.document.keep(made, &self.place)
    }

    /// Reports that the key takes something of another type.
    pub(super) fn takes(&self, what: &str, remedy: &str) {
        let message = format!("{self} takes {what}, not {}", described(self.value));
        self.blame(Fault::ConfigWrongType, message, remedy);
    }

    /// Reports that `written` is nothing the key can mean; `why` is a clause about it.
    pub(super) fn refuse(&self, written: &str, why: &str, remedy: &str) {
        let message = format!("{self} is {}, {why}", quoted(written));
        self.blame(Fault::ConfigBadValue, message, remedy);
    }

    /// Reports a problem of the value.
    pub(super) fn blame(
        &self,
        fault: Fault,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.document.report(Problem::error(fault, message, remedy).at(&self.place));
    }

    /// Reports what is worth knowing about the value.
    pub(super) fn warn(&self, fault: Fault, message: impl Into<String>, remedy: impl Into<String>) {
        self.document.report(Problem::warning(fault, message, remedy).at(&self.place));
    }

    fn within<T>(&self, value: Option<T>, written: &str, bounds: &Bounds<T>) -> Option<T>
    where
        T: PartialOrd + fmt::Display,
    {
        let value = match value {
            Some(value) if bounds.range.contains(&value) => return Some(value),
            other => other,
        };
        let (least, most) = (bounds.range.start(), bounds.range.end());
        let is_less = value.map_or(written.starts_with('-'), |value| value < *least);
        let beyond =
            if is_less { format!("less than {least}") } else { format!("more than {most}") };
        let message = format!("{self} is {written}, {beyond}");
        let remedy = format!("write a value {}: {}", bounds.choose(), bounds.why);
        self.blame(Fault::ConfigBadValue, message, remedy);
        None
    }
}

/// `deadline in [handshake]`, as messages begin.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, table) = self.name;
        write!(f, "{key} in {table}")
    }
}

impl<T: fmt::Display> Bounds<T> {
    fn choose(&self) -> String {
        format!("from {} to {}", self.range.start(), self.range.end())
    }
}

impl Bounds<Duration> {
    fn spans(&self) -> Bounds<Span> {
        let range = Span(*self.range.start())..=Span(*self.range.end());
        Bounds { range, why: self.why }
    }
}

impl Bounds<usize> {
    fn sizes(&self) -> Bounds<Size> {
        let range = Size(*self.range.start())..=Size(*self.range.end());
        Bounds { range, why: self.why }
    }
}

/// The number, unless no bound could ever be as large.
fn whole(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A number as it is written, unless it is absurdly long.
fn shown(integer: &DeInteger<'_>) -> String {
    let digits = integer.to_string();
    if digits.len() <= LONGEST_NUMBER {
        digits
    } else {
        format!("{}…", digits.split_at_checked(LONGEST_NUMBER).map_or("", |(head, _)| head))
    }
}

fn choices<T>(words: &[(&'static str, T)]) -> String {
    let words: Vec<_> = words.iter().map(|(word, _)| quoted(word)).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    format!("the choices are {}", listed(&words))
}

fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {}", quoted(text)),
        DeValue::Integer(integer) => format!("the number {}", shown(integer)),
        DeValue::Float(_) => "a fraction".to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// As many digits as the largest number that any bound could have.
const LONGEST_NUMBER: usize = 20;

/// Where hours begin to be the better unit, in seconds.
const HOUR: u64 = 3600;

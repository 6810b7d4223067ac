//! Where something was written: file, line and column, so that every rule can be named.

use std::fmt;
use std::sync::Arc;

/// A position in a file an operator wrote. Cheap to clone; lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    file: Arc<str>,
    line: u32,
    column: u32,
}

impl Place {
    /// A position in `file`.
    #[must_use]
    pub fn new(file: Arc<str>, line: u32, column: u32) -> Self {
        Self { file, line, column }
    }

    /// A rule that no file holds, such as one an embedding program wrote in code.
    #[must_use]
    pub fn in_code(what: &str) -> Self {
        Self { file: Arc::from(what), line: 0, column: 0 }
    }

    /// The file, as it was named when it was read.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file, for whoever keeps many places of it.
    pub(crate) fn shared_file(&self) -> &Arc<str> {
        &self.file
    }

    /// The line, from 1; 0 for a rule that no file holds.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column in characters, from 1; 0 for a whole line.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.column
    }
}

/// `file:line:column`, leaving out what is not known.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.line > 0 && self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// A value an operator wrote, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// What was meant.
    pub value: T,
    /// Where it is written.
    pub place: Place,
}

impl<T> Written<T> {
    /// `value`, as written at `place`.
    #[must_use]
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

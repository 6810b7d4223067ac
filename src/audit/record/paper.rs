//! What lines are written on: one small interface for a file, the journal and standard output.

use std::io::{self, Write};

use super::RecordTo;
use super::file::{Found, LogFile};
#[cfg(unix)]
use super::journal::{Journal, SOCKET};
use super::line::{Former, Line};
use crate::problem::{Fault, Problem};

#[derive(Debug)]
pub(super) enum Paper {
    File(LogFile),
    #[cfg(unix)]
    Journal(Journal),
    Stdout,
}

impl Paper {
    pub(super) fn open(to: &RecordTo) -> Result<(Self, Found), Problem> {
        let new = Found { former: Former::None, fragment: Vec::new(), head: None };
        match to {
            RecordTo::File(path) => {
                let (file, found) = LogFile::open(path)?;
                Ok((Paper::File(file), found))
            }
            RecordTo::Journal => Ok((journal()?, new)),
            RecordTo::Stdout => Ok((Paper::Stdout, new)),
        }
    }

    /// Writes lines, whose text this is, or nothing of them. The journal alone may have taken the first of them.
    pub(super) fn add(&mut self, lines: &[Line], text: &[u8]) -> io::Result<()> {
        match self {
            Paper::File(file) => file.add(text),
            #[cfg(unix)]
            Paper::Journal(journal) => lines.iter().try_for_each(|line| journal.add(line)),
            Paper::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text)?;
                stdout.flush()
            }
        }
    }

    /// The file, where it is one.
    pub(super) fn file(&mut self) -> Option<&mut LogFile> {
        match self {
            Paper::File(file) => Some(file),
            #[cfg(unix)]
            Paper::Journal(_) => None,
            Paper::Stdout => None,
        }
    }
}

#[cfg(unix)]
fn journal() -> Result<Paper, Problem> {
    let journal = Journal::open(SOCKET.as_ref()).map_err(|error| {
        let what = format!("no journal of systemd listens at {SOCKET}: {error}");
        let remedy = "let to in [audit] name a file on a machine without systemd";
        Problem::error(Fault::AuditUnwritable, what, remedy)
    })?;
    Ok(Paper::Journal(journal))
}

#[cfg(not(unix))]
fn journal() -> Result<Paper, Problem> {
    let remedy = "let to in [audit] name a file";
    Err(Problem::error(Fault::AuditUnwritable, "this system has no journal of systemd", remedy))
}

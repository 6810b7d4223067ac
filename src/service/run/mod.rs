//! Run: a program for each session, with the session's messages on its standard streams.
//!
//! The program is the operator's own: it runs as the same user, and is trusted as much as a library
//! would be. What is held here guards against its mistakes: what it may use up, how long it may stay,
//! and that nothing of it is left behind.
//!
//! On Linux a small second process stands between doorward and each program, the [`Keeper`]. It sets the
//! limits, adopts whatever the program starts and leaves alone, and ends all of it with the session, even
//! where doorward itself is killed. Where there is no keeper, a start says so.

mod command;
mod ending;
#[cfg(target_os = "linux")]
mod keep;
mod programs;
mod said;
mod talk;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::peer::PeerText;
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};

pub use programs::Programs;

/// Which program, and what it may do. [`Programs::open`] makes a service of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The program: a path, or a name that the `PATH` of the server finds.
    pub program: Written<String>,
    /// Its arguments. No shell reads them.
    pub arguments: Vec<String>,
    /// Where it runs; the working directory of the server where nothing is written.
    pub directory: Option<Written<PathBuf>>,
    /// Its environment, besides `PATH`, `LANG` and the variables that name the caller.
    pub environment: BTreeMap<String, String>,
    /// In which form it reads and writes messages.
    pub streams: Streams,
    /// How long it may go on once its session is over and it was asked to end.
    pub grace: Duration,
    /// What it may use up.
    pub limits: Limits,
    /// Where the limits are written; what is written must be held, or the start is refused.
    pub limited: Option<Place>,
    /// Who watches over it.
    pub keeper: Keeper,
}

/// In which form a program reads and writes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// As they come from the visitor, with their lengths or line endings.
    Frames,
    /// A line each, although the visitor speaks in length-prefixed messages. A message that holds a
    /// line feed is refused.
    Lines,
}

/// What the programs of a service may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of address space for each process (`RLIMIT_AS`).
    pub memory: usize,
    /// Time on the processor for each process (`RLIMIT_CPU`), in whole seconds.
    pub cpu: Duration,
    /// Open files for each process (`RLIMIT_NOFILE`).
    pub files: u64,
    /// Programs that run at the same time.
    pub programs: NonZeroUsize,
}

impl Default for Limits {
    /// 512 MiB, a minute, 64 files and 64 programs: small tools stay far below.
    fn default() -> Self {
        let programs = NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN);
        Self { memory: 512 << 20, cpu: Duration::from_secs(60), files: 64, programs }
    }
}

/// The process that watches over a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// There is none: limits are not held, and what a program starts in a process group of its own, or
    /// leaves behind when the server is killed, goes on.
    Absent,
    /// A program that hands the arguments after its first, [`KEEP_PROGRAM`], to [`keep_program`]: the
    /// `doorward` command, or an embedding program.
    At(PathBuf),
}

impl Keeper {
    /// This very program, which hands its arguments to [`keep_program`]. [`Keeper::Absent`] where the
    /// system has nothing to keep programs with.
    #[must_use]
    pub fn this_program() -> Self {
        // The link leads to the program that runs, even where an update has replaced its file.
        let own = Keeper::At(PathBuf::from("/proc/self/exe"));
        if own.holds() { own } else { Keeper::Absent }
    }

    /// Whether there is one, and a system on which it can do its work.
    #[must_use]
    pub fn holds(&self) -> bool {
        let Keeper::At(path) = self else { return false };
        cfg!(target_os = "linux") && path.is_file() && Path::new(CHILDREN).exists()
    }
}

/// The job of a [`Keeper`]: runs a program as `arguments` say, and ends with it.
///
/// They are what this library wrote for itself: the first release that reads other ones is another
/// version of the same program.
#[must_use]
pub fn keep_program(arguments: &[OsString]) -> ExitCode {
    #[cfg(target_os = "linux")]
    return keep::run(arguments);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = arguments;
        ExitCode::from(CANNOT_RUN)
    }
}

impl Run {
    /// What refuses a start with this program, or is worth a warning.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.resolve().err().into_iter().collect();
        problems.extend(self.unkept());
        problems
    }

    /// The programs that are started for a session: its own, and the keeper.
    #[must_use]
    pub fn programs(&self) -> Vec<PathBuf> {
        let own = self.resolve().ok().map(|found| found.program);
        let keeper = match &self.keeper {
            // The link of the process itself leads to the program that a sandbox has to let start.
            Keeper::At(path) => Some(path.canonicalize().unwrap_or_else(|_| path.clone())),
            Keeper::Absent => None,
        };
        own.into_iter().chain(keeper).collect()
    }

    /// Any file of the directory that the program runs in, which it may read.
    #[must_use]
    pub fn reads(&self) -> Option<PathBuf> {
        let directory = self.resolve().ok()?.directory.unwrap_or_else(|| PathBuf::from("."));
        Some(directory.join("any"))
    }

    /// The program and its arguments, for a report.
    #[must_use]
    pub fn shown(&self) -> String {
        let program = match self.resolve() {
            Ok(found) => found.program.to_string_lossy().into_owned(),
            Err(_) => self.program.value.clone(),
        };
        let words = std::iter::once(&program).chain(&self.arguments);
        let words: Vec<_> = words.map(|word| PeerText::from(word.as_str()).to_string()).collect();
        words.join(" ")
    }

    /// How many descriptors of the server its programs take: three pipes each, and what is waited on.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.limits.programs.get().saturating_mul(4)
    }

    fn unkept(&self) -> Option<Problem> {
        if self.keeper.holds() {
            return None;
        }
        let seen = "no keeper watches over programs here, so their limits are not held";
        let remedy = "run the doorward command on Linux, or give an embedding program a Keeper";
        Some(if let Some(place) = &self.limited {
            let remedy = format!("{remedy}; or remove [service.limits]");
            Problem::error(Fault::ServiceUnkept, seen, remedy).at(place)
        } else {
            let seen = format!("{seen}, and what a program leaves behind is not found");
            Problem::warning(Fault::ServiceUnkept, seen, remedy).at(&self.program.place)
        })
    }
}

/// The first argument of a [`Keeper`].
pub const KEEP_PROGRAM: &str = "keep-program";

/// Where Linux lists the children of a process: how a keeper finds what a program left behind.
const CHILDREN: &str = "/proc/thread-self/children";
/// As shells end where a program is there and cannot be run.
#[cfg(not(target_os = "linux"))]
const CANNOT_RUN: u8 = 126;

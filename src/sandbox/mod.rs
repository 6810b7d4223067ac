//! The sandbox: what the process gives up once its sockets are open, before anybody is let in.
//!
//! A gate decides about visitors. The sandbox is for the day a gate is wrong: whoever takes the process over
//! finds no other file, no other port, no other user and few system calls. It is best effort by default,
//! and always says what it could not have.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
mod needs;
mod report;

use std::fs::File;
use std::path::PathBuf;

use crate::place::{Place, Written};
use crate::problem::{Fault, Problem, Severity};

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use other as system;

pub use needs::{Needs, Ports};
pub use report::{Enforced, Landlock, Report, User};

/// The table `[sandbox]`, as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSettings {
    /// How much is asked for.
    pub effort: Effort,
    /// Where the table is written.
    pub place: Place,
    /// Whom a process that root started becomes.
    pub user: Option<Written<String>>,
    /// The group it has then; the user's own one where none is written.
    pub group: Option<Written<String>>,
    /// What the process may write, besides what its configuration needs.
    pub write: Vec<Written<PathBuf>>,
}

/// How much of the sandbox is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Nothing.
    Off,
    /// Whatever the system has; what it has not is said.
    Best,
    /// All of it, or no start.
    Whole,
}

/// A process inside its sandbox. There is no way out again but a new process.
#[derive(Clone, Debug)]
pub struct Sandbox {
    report: Report,
    needs: Option<Needs>,
    warnings: Vec<Problem>,
}

impl Sandbox {
    /// Gives up everything but `needs`, for this process and whatever it starts.
    ///
    /// It must be called before a second thread exists: the kernel restricts the thread that asks and those it
    /// starts later, and nothing else.
    ///
    /// # Errors
    /// [`Fault::SandboxBadUser`] and [`Fault::SandboxBadPath`] before anything is given up.
    /// [`Fault::SandboxFailed`] where the user cannot be left behind for good, or another thread runs.
    /// [`Fault::SandboxGap`] where the settings ask for the whole sandbox and the system has only a part. After
    /// an error the process may be half inside, and should end.
    pub fn enter(settings: &SandboxSettings, needs: &Needs) -> Result<Self, Vec<Problem>> {
        if settings.effort != Effort::Off {
            system::alone().map_err(|problem| vec![problem.at(&settings.place)])?;
        }
        Self::give_up(settings, needs)
    }

    /// The same for the calling thread and whatever it starts, whoever else runs.
    fn give_up(settings: &SandboxSettings, needs: &Needs) -> Result<Self, Vec<Problem>> {
        let mut problems = advise(settings);
        if has_error(&problems) {
            return Err(problems);
        }
        if settings.effort == Effort::Off {
            return Ok(Self { report: Report::default(), needs: None, warnings: problems });
        }
        let mut wanted = needs.clone();
        wanted.writes.extend(settings.write.iter().map(|path| path.value.clone()));
        let report = match system::enter(settings, &wanted) {
            Ok(report) => report,
            Err(problem) => {
                problems.push(problem.at(&settings.place));
                return Err(problems);
            }
        };
        problems.extend(report.missing.iter().map(|what| gap(settings, what)));
        problems.extend(lost(&wanted).map(|problem| problem.at(&settings.place)));
        if has_error(&problems) {
            return Err(problems);
        }
        Ok(Self { report, needs: Some(wanted), warnings: problems })
    }

    /// What holds, for the start-up lines and the status.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What the operator should know: what is missing, and what can be read no more.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// What another configuration would need that this sandbox does not give: a reload to it would leave a
    /// service that cannot reach its upstream, or a file that cannot be read.
    ///
    /// Only a restart can give more, so each is an error with that remedy.
    #[must_use]
    pub fn lacks(&self, needs: &Needs) -> Vec<Problem> {
        let remedy = "restart instead of reloading: a sandbox never gets wider";
        let Some(given) = &self.needs else { return Vec::new() };
        // What this kernel does not limit is there for a new configuration as well.
        let mut lacks = Vec::new();
        if self.report.landlock.abi > 0 {
            lacks.extend(given.lacks_paths(needs));
        }
        if self.report.landlock.abi >= FIRST_WITH_PORTS {
            lacks.extend(given.lacks_ports(needs));
        }
        if self.report.denied_system_calls > 0 {
            lacks.extend(given.lacks_programs(needs));
        }
        lacks.into_iter().map(|what| Problem::error(Fault::SandboxNarrow, what, remedy)).collect()
    }
}

/// What can be said of `settings` in advance, on this machine and as this user, with nothing given up.
#[must_use]
pub fn foresee(settings: &SandboxSettings) -> Vec<Problem> {
    let mut problems = advise(settings);
    if settings.effort != Effort::Off {
        problems.extend(system::missing().iter().map(|what| gap(settings, what)));
    }
    problems
}

/// What does not depend on how the kernel answers.
fn advise(settings: &SandboxSettings) -> Vec<Problem> {
    if settings.effort == Effort::Off {
        let what = "the sandbox is switched off: who takes the process over has all its user has";
        let remedy = "remove enable = false, and see what the start-up lines say is missing";
        return vec![Problem::warning(Fault::SandboxOff, what, remedy).at(&settings.place)];
    }
    let mut problems: Vec<_> = system::advise(settings).into_iter().collect();
    for path in &settings.write {
        if let Err(error) = path.value.metadata() {
            let what = format!("{} cannot be opened: {error}", path.value.display());
            let remedy = "make it before the start, or remove it from write of [sandbox]";
            problems.push(Problem::error(Fault::SandboxBadPath, what, remedy).at(&path.place));
        }
    }
    problems
}

fn gap(settings: &SandboxSettings, what: &str) -> Problem {
    let problem = match settings.effort {
        Effort::Whole => {
            let remedy = "use a system that has it, or remove require = true to do without";
            Problem::error(Fault::SandboxGap, what, remedy)
        }
        Effort::Best | Effort::Off => {
            let remedy =
                "the rest holds; require = true in [sandbox] would refuse the start instead";
            Problem::warning(Fault::SandboxGap, what, remedy)
        }
    };
    problem.at(&settings.place)
}

/// The files that could be read at the start and cannot be from inside: their next version would be missed.
fn lost(needs: &Needs) -> impl Iterator<Item = Problem> {
    needs.files.iter().filter_map(|file| {
        let error = File::open(file).err()?;
        let what = format!("{} cannot be read any more: {error}", file.display());
        let remedy =
            "let the user of the service own it; until then a changed file is not taken up";
        Some(Problem::warning(Fault::SandboxFileLost, what, remedy))
    })
}

fn has_error(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity() == Severity::Error)
}

/// The version of Landlock that knows TCP ports (Linux 6.7).
const FIRST_WITH_PORTS: u32 = 4;

#[cfg(all(test, target_os = "linux"))]
mod tests;

//! Where words go: results to standard output, everything else to standard error.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use doorward::problem::{Problem, Severity};

/// A line of the result. A reader that went away is no error of ours.
pub(super) fn say(line: impl Display) {
    if STDOUT_IS_TAKEN.load(Ordering::Relaxed) {
        return tell(line);
    }
    drop(writeln!(io::stdout().lock(), "{line}"));
}

/// From now on standard output belongs to the audit log, and results go to standard error.
pub(super) fn leave_stdout() {
    STDOUT_IS_TAKEN.store(true, Ordering::Relaxed);
}

static STDOUT_IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// A line for the person at the terminal.
pub(super) fn tell(line: impl Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// All problems, and how many there are of each kind.
pub(super) fn tell_problems(problems: &[Problem]) {
    for problem in problems {
        tell(problem);
    }
}

/// `1 error, 2 warnings`.
pub(super) fn count(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.severity() == Severity::Error).count();
    let warnings = problems.len().saturating_sub(errors);
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    format!("{}, {}", plural(errors, "error"), plural(warnings, "warning"))
}

/// The beginning of a line that a person goes on with.
pub(super) fn tell_start(words: impl Display) {
    let mut stderr = io::stderr().lock();
    drop(write!(stderr, "{words}").and_then(|()| stderr.flush()));
}

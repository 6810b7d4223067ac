//! The scene of a test: an authority, a hall with open doors, and visitors of every kind.

pub(crate) mod hall;
pub(crate) mod set;
pub(crate) mod visitor;

pub(crate) use hall::Hall;
pub(crate) use set::Set;
pub(crate) use visitor::{Visitor, prefixed};

use std::io::Write;
use std::process::Command;

/// Whether a program is there; says by name that the test is skipped where it is not.
pub(crate) fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        skipped(&format!("{program} is not installed"));
    }
    there
}

/// Says that a test is skipped, and why, past the harness, which keeps the words of tests that pass.
#[expect(clippy::explicit_write, reason = "the harness keeps what the print macros say")]
pub(crate) fn skipped(why: &str) {
    writeln!(std::io::stderr(), "skipped: {why}").unwrap();
}

//! The scene of a test: an authority, a hall with open doors, and visitors of every kind.

use std::io::Write;
use std::process::Command;

pub(crate) mod hall;
pub(crate) mod set;
pub(crate) mod visitor;

pub(crate) use hall::Hall;
pub(crate) use set::Set;
pub(crate) use visitor::{Visitor, prefixed};

/// An echo service on a free port, for alice alone.
pub(crate) const ALICE: &str = r#"
[[service]]
name = "echo"
listen = "127.0.0.1:0"
kind = "echo"
  [[service.identity]]
  permit = ["dns:alice.client.internal"]
"#;

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

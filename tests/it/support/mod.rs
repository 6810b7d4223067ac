//! The scene of a test: an authority, a hall with open doors, and visitors of every kind.

pub(crate) mod hall;
pub(crate) mod set;
pub(crate) mod visitor;

pub(crate) use hall::Hall;
pub(crate) use set::Set;
pub(crate) use visitor::{Visitor, prefixed};

use std::process::Command;

/// Whether a program is there; says by name that the test is skipped where it is not.
pub(crate) fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("skipped: {program} is not installed");
        eprintln!("skipped: {program} is not installed");
    }
    there
}

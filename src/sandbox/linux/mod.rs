//! The sandbox of Linux: user, capabilities, Landlock and seccomp, in the order in which each can still be had.

mod calls;
mod landlock;
mod paths;
mod user;

use caps::CapSet;

use super::{Needs, Report, SandboxSettings};
use crate::problem::{Fault, Problem};

/// Gives up everything but `needs`.
pub(super) fn enter(settings: &SandboxSettings, needs: &Needs) -> Result<Report, Problem> {
    // Names are looked up in files that are closed a moment later.
    let user = user::target(settings)?;
    let mut report = Report { on: true, ..Report::default() };
    match nix::sys::prctl::set_no_new_privs() {
        Ok(()) => report.no_new_privileges = true,
        Err(error) => report.missing.push(format!("programs may gain privileges: {error}")),
    }
    // What root may do includes shrinking this set, so it goes while the process is still root.
    let bounded = caps::clear(None, CapSet::Bounding).is_ok();
    if let Some(user) = user {
        user::become_for_good(&user)?;
        report.user = Some(user);
    }
    match without_capabilities() {
        Ok(()) => report.no_capabilities = true,
        Err(error) => report.missing.push(format!("capabilities are left: {error}")),
    }
    if !bounded && !report.no_new_privileges {
        report.missing.push("a program that is started may have capabilities".to_owned());
    }
    report.starts_programs = !needs.programs.is_empty();
    landlock::restrict(needs, &mut report);
    calls::deny(needs, &mut report);
    Ok(report)
}

/// What this kernel does not have, found out without giving anything up.
pub(super) fn missing() -> Vec<String> {
    landlock::missing().into_iter().chain(calls::missing()).collect()
}

pub(super) use user::advise;

/// Landlock, seccomp and capabilities hold the thread that asks and those that it starts, no other.
pub(super) fn alone() -> Result<(), Problem> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Ok(()) };
    let threads = threads.count();
    if threads <= 1 {
        return Ok(());
    }
    let what = format!("{threads} threads run already, and the sandbox would hold one of them");
    let remedy = "enter the sandbox before a runtime or another thread is started";
    Err(Problem::error(Fault::SandboxFailed, what, remedy))
}

fn without_capabilities() -> Result<(), String> {
    // Kernels before 4.3 have no ambient set, and so nothing to clear.
    drop(caps::clear(None, CapSet::Ambient));
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        let has = caps::read(None, set).map_err(|error| error.to_string())?;
        // A service manager that took them all may have taken the system call too.
        if !has.is_empty() {
            caps::clear(None, set).map_err(|error| error.to_string())?;
        }
    }
    let left = caps::read(None, CapSet::Permitted).map_err(|error| error.to_string())?;
    if left.is_empty() { Ok(()) } else { Err(format!("{} of them", left.len())) }
}

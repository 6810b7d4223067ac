//! The keeper: a process that stands between doorward and one program, and outlives neither.
//!
//! It adopts whatever the program leaves behind (`PR_SET_CHILD_SUBREAPER`), and kills all of it when the
//! program has ended, or when nobody reads its standard error any more: doorward has let go of it, or is
//! gone. It runs the program through itself a second time, which sets the limits and then becomes the
//! program.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{DirEntry, File, read_dir, read_to_string};
use std::io::{self, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::{set_child_subreaper, set_no_new_privs, set_pdeathsig};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, close, dup2_stdin, dup2_stdout, getpid, getppid, setsid};

use super::{CHILDREN, KEEP_PROGRAM};

/// Does what `arguments` say: `keep MEMORY CPU FILES PROGRAM…`, or the same after `become KEEPER`.
pub(super) fn run(arguments: &[OsString]) -> ExitCode {
    let (role, rest) = match arguments.split_first() {
        Some((role, rest)) => (role.to_str().unwrap_or_default(), rest),
        None => ("", arguments),
    };
    let done = match (role, rest.split_first()) {
        ("keep", _) => keep(rest),
        ("become", Some((keeper, rest))) => become_program(keeper, rest),
        _ => Err(say("this is not for people: doorward runs it to watch over a program")),
    };
    done.unwrap_or_else(ExitCode::from)
}

/// Runs the program, waits for its end or for that of doorward, and leaves nothing of it.
fn keep(rest: &[OsString]) -> Result<ExitCode, u8> {
    let failed = |error: nix::Error| say(format_args!("the keeper cannot start: {error}"));
    close_inherited().map_err(|error| say(format_args!("the keeper cannot start: {error}")))?;
    // The signals that ask a group to end are for the program; this one has to see to the rest.
    let mut blocked = SigSet::empty();
    blocked.extend([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    blocked.thread_block().map_err(failed)?;
    let mut child_ended = SigSet::empty();
    child_ended.add(Signal::SIGCHLD);
    let ended = SignalFd::with_flags(&child_ended, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(failed)?;
    setsid().map_err(failed)?;
    set_child_subreaper(true).map_err(failed)?;
    set_no_new_privs().map_err(failed)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed)?;
    let program = Command::new("/proc/self/exe")
        .args([KEEP_PROGRAM, "become"])
        .arg(getpid().to_string())
        .args(rest)
        .spawn()
        .map_err(|error| say(format_args!("the keeper cannot start: {error}")))?;
    let_go_of_streams().map_err(|error| say(format_args!("the keeper cannot start: {error}")))?;
    let program = i32::try_from(program.id()).map_err(|_| say("the program has no number"))?;
    let program = Pid::from_raw(program);
    let status = watch(program, &ended).map_err(failed)?;
    kill_all(&ended);
    Ok(end_like(status))
}

/// Whoever started doorward may have left files and sockets open in it. They are none of a program's.
fn close_inherited() -> io::Result<()> {
    let number = |entry: io::Result<DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let open: Vec<i32> = read_dir("/proc/self/fd")?.filter_map(number).collect();
    for number in open.into_iter().filter(|number| *number > LAST_STREAM) {
        // The directory that was read is among them, and closed by now.
        close(number).unwrap_or_default();
    }
    Ok(())
}

/// The ends of the program's streams are its own: who else holds them would keep them open.
fn let_go_of_streams() -> io::Result<()> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    Ok(())
}

/// Waits until the program has ended; kills it where nobody is left to hear it.
fn watch(program: Pid, ended: &SignalFd) -> nix::Result<WaitStatus> {
    loop {
        while let Some(status) = reap()? {
            if status.pid() == Some(program) {
                return Ok(status);
            }
        }
        let errors = stderr();
        let mut watched = [
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            // Asked for nothing, a pipe still tells that its reader is gone.
            PollFd::new(errors.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
        let [child, hearer] = watched;
        if hearer.any() == Some(true) {
            kill(program, Signal::SIGKILL)?;
            return waitpid(program, None);
        }
        if child.any() == Some(true) {
            while matches!(ended.read_signal(), Ok(Some(_))) {}
        }
    }
}

/// A child that has ended; none where all still run.
fn reap() -> nix::Result<Option<WaitStatus>> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) => Ok(None),
        Ok(status) => Ok(Some(status)),
        Err(error) => Err(error),
    }
}

/// Kills every child, and whoever becomes one by that, until there is none.
fn kill_all(ended: &SignalFd) {
    loop {
        let children = read_to_string(CHILDREN).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            // One that is gone already is as good.
            kill(Pid::from_raw(child), Signal::SIGKILL).unwrap_or_default();
        }
        loop {
            match reap() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        // Until another one dies, or a little later: one may have been adopted in between.
        let mut watched = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::from(ANOTHER_LOOK)).unwrap_or_default();
        while matches!(ended.read_signal(), Ok(Some(_))) {}
    }
}

/// Ends as the program did, so that doorward sees how.
fn end_like(status: WaitStatus) -> ExitCode {
    let code = match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => {
            let mut blocked = SigSet::empty();
            blocked.add(signal);
            // The last thing it does, unless the signal is one that this process ignores. Where the
            // runtime has a handler of its own, that steps aside at the first one.
            for _ in 0..2 {
                raise(signal).and_then(|()| blocked.thread_unblock()).unwrap_or_default();
            }
            let number = (1..=LAST_SIGNAL).find(|number| Signal::try_from(*number) == Ok(signal));
            number.map_or(i32::from(CANNOT_RUN), |number| KILLED.saturating_add(number))
        }
        // Nobody asked to be told of these.
        WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive => i32::from(CANNOT_RUN),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(CANNOT_RUN))
}

/// Sets the limits, then is the program.
fn become_program(keeper: &OsString, rest: &[OsString]) -> Result<ExitCode, u8> {
    let [memory, cpu, files, program, arguments @ ..] = rest else {
        return Err(say("the keeper was told too little"));
    };
    let failed = |error: nix::Error| say(format_args!("the limits cannot be set: {error}"));
    set_pdeathsig(Signal::SIGKILL).map_err(failed)?;
    if Some(getppid().to_string().as_str()) != keeper.to_str() {
        // The keeper died before it could be followed.
        return Err(CANNOT_RUN);
    }
    let mut command = Command::new(program);
    command.args(arguments);
    let cpu = number(cpu)?;
    limit(Resource::RLIMIT_NOFILE, number(files)?, 0).map_err(failed)?;
    // The first signal may be caught; a second later comes one that cannot be.
    limit(Resource::RLIMIT_CPU, cpu, 1).map_err(failed)?;
    limit(Resource::RLIMIT_AS, number(memory)?, 0).map_err(failed)?;
    // What the keeper keeps from itself is meant for the program.
    SigSet::empty().thread_set_mask().map_err(failed)?;
    let error = command.exec();
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    say(format_args!("the program cannot be run: {error}"));
    Err(code)
}

/// Lowers a limit; one that is lower already stays.
fn limit(resource: Resource, soft: u64, more: u64) -> nix::Result<()> {
    let (_, most) = getrlimit(resource)?;
    let hard = soft.saturating_add(more).min(most);
    setrlimit(resource, soft.min(hard), hard)
}

fn number(text: &OsString) -> Result<u64, u8> {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| say("a limit is no number"))
}

/// Tells the log of doorward.
fn say(what: impl Display) -> u8 {
    // Nobody may be left to hear it.
    drop(writeln!(stderr(), "doorward: {what}"));
    CANNOT_RUN
}

/// As shells end where there is no such program, where it cannot be run, and where a signal ended it.
const NOT_FOUND: u8 = 127;
const CANNOT_RUN: u8 = 126;
const KILLED: i32 = 128;
/// Of all systems; the real-time ones are not asked for by name.
const LAST_SIGNAL: i32 = 64;
/// Milliseconds. A process that was adopted unseen runs on for so long.
const ANOTHER_LOOK: u16 = 10;
/// Standard error.
const LAST_STREAM: i32 = 2;

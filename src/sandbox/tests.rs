//! Scenes inside a sandbox, each in a thread of its own that the kernel restricts and that ends with the scene.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
use socket2::{Domain, SockFilter, Socket, Type};

use super::*;
use crate::bind::Interfaces;

/// Plays a scene in a thread of its own.
fn apart<T: Send>(scene: impl FnOnce() -> T + Send) -> T {
    let played = std::thread::scope(|threads| threads.spawn(scene).join());
    played.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn settings(effort: Effort) -> SandboxSettings {
    let place = Place::in_code("test");
    SandboxSettings { effort, place, user: None, group: None, write: Vec::new() }
}

/// The restrictions on this thread alone.
fn enter(effort: Effort, needs: &Needs) -> Result<Sandbox, Vec<Problem>> {
    Sandbox::give_up(&settings(effort), needs)
}

fn kind<T>(tried: std::io::Result<T>) -> Result<(), ErrorKind> {
    tried.map(drop).map_err(|error| error.kind())
}

fn skipped(why: &str) {
    drop(writeln!(std::io::stderr(), "skipped: {why}"));
}

const DENIED: Result<(), ErrorKind> = Err(ErrorKind::PermissionDenied);
/// The kernel's cryptography by socket (linux/socket.h).
const AF_ALG: i32 = 38;

#[test]
fn files_outside_are_neither_read_nor_written() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let logs = tempfile::tempdir().unwrap();
    let [config, other] = [&here, &there].map(|directory| directory.path().join("file"));
    fs::write(&config, "inside").unwrap();
    fs::write(&other, "outside").unwrap();
    let files = [config.clone()].into();
    let writes = [logs.path().to_owned()].into();
    apart(|| {
        let needs = Needs { files, writes, ..Needs::default() };
        let sandbox = enter(Effort::Best, &needs).unwrap();
        if sandbox.report().landlock.state == Enforced::Not {
            return skipped("this kernel has no Landlock");
        }
        assert_eq!(fs::read_to_string(&config).unwrap(), "inside");
        // Renewed by rename, as certificates are, by somebody outside: see tests/it/sandbox.rs.
        for outside in [other.as_path(), "/etc/passwd".as_ref(), "/bin/sh".as_ref()] {
            assert_eq!(kind(File::open(outside)), DENIED, "{}", outside.display());
        }
        assert_eq!(kind(fs::write(&config, "changed")), DENIED);
        let [log, old] = ["log", "log.1"].map(|name| logs.path().join(name));
        fs::write(&log, "a line").unwrap();
        fs::rename(&log, &old).unwrap();
        fs::remove_file(&old).unwrap();
    });
}

#[test]
fn ports_outside_are_neither_connected_to_nor_listened_on() {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let [upstream, elsewhere] = [(); 2].map(|()| TcpListener::bind(loopback).unwrap());
    let free = TcpListener::bind(loopback).unwrap().local_addr().unwrap();
    apart(|| {
        let [upstream, elsewhere] = [upstream, elsewhere].map(|door| door.local_addr().unwrap());
        let bind = Ports::Only([free.port()].into());
        let needs = Needs { connect: [upstream.port()].into(), bind, ..Needs::default() };
        let sandbox = enter(Effort::Best, &needs).unwrap();
        if sandbox.report().landlock.abi < FIRST_WITH_PORTS {
            return skipped("Landlock of this kernel knows no ports");
        }
        assert_ne!(kind(TcpStream::connect(upstream)), DENIED);
        assert_eq!(kind(TcpStream::connect(elsewhere)), DENIED);
        assert_ne!(kind(TcpListener::bind(free)), DENIED);
        assert_eq!(kind(TcpListener::bind(loopback)), DENIED);
    });
}

#[test]
fn system_calls_that_a_guard_never_makes_are_denied() {
    apart(|| {
        let sandbox = enter(Effort::Best, &Needs::default()).unwrap();
        let report = sandbox.report();
        assert!(report.denied_system_calls > 40 && report.no_new_privileges, "{report:?}");
        assert!(report.no_capabilities, "{report:?}");
        assert_eq!(kind(Command::new("/bin/true").status()), DENIED);
        assert_eq!(unshare(CloneFlags::CLONE_NEWUSER), Err(nix::errno::Errno::EPERM));
        let socket = |family: i32| kind(Socket::new(Domain::from(family), Type::DGRAM, None));
        assert_eq!([AF_ALG, nix::libc::AF_PACKET].map(socket), [DENIED, DENIED]);
        assert_eq!([nix::libc::AF_UNIX, nix::libc::AF_INET6].map(socket), [Ok(()), Ok(())]);
        // What is needed still works: interfaces by netlink, threads by clone.
        Interfaces::of_this_host().unwrap();
        std::thread::spawn(|| drop(File::open("/proc/self/status").unwrap())).join().unwrap();
    });
}

#[test]
fn a_filter_on_a_socket_is_as_possible_as_without_capabilities() {
    // BPF_RET | BPF_K: every packet whole.
    let all = || SockFilter::new(6, 0, 0, u32::MAX);
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Some kernels ask for a privilege here, which is nothing that seccomp decides.
    let without_capabilities = apart(|| {
        caps::clear(None, caps::CapSet::Effective).unwrap();
        kind(socket().attach_filter(&[all()]))
    });
    let inside = apart(|| {
        enter(Effort::Best, &Needs::default()).unwrap();
        kind(socket().attach_filter(&[all()]))
    });
    assert_eq!(inside, without_capabilities);
}

#[test]
fn a_program_that_is_needed_can_be_started_and_is_inside_too() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    let script = format!("echo hi | cat; cat {} 2>&1 >/dev/null", secret.path().display());
    let (state, said) = apart(|| {
        let needs = Needs { programs: [PathBuf::from("/bin/sh")].into(), ..Needs::default() };
        let sandbox = enter(Effort::Best, &needs).unwrap();
        let done = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
        (sandbox.report().landlock.state, String::from_utf8(done.stdout).unwrap())
    });
    assert!(said.starts_with("hi\n"), "{said}");
    assert_eq!(said.contains("Permission denied"), state != Enforced::Not, "{said}");
}

#[test]
fn a_process_with_a_second_thread_is_turned_back_before_anything_is_given_up() {
    let problems =
        apart(|| Sandbox::enter(&settings(Effort::Best), &Needs::default())).unwrap_err();
    assert_eq!(problems.last().unwrap().fault(), Fault::SandboxFailed);
}

#[test]
fn without_landlock_the_rest_holds_and_the_gap_is_told() {
    let gap = "this kernel has no Landlock: files and ports are not limited";
    let sandbox = apart(|| {
        no_landlock();
        enter(Effort::Best, &Needs::default()).unwrap()
    });
    let report = sandbox.report();
    assert_eq!((report.landlock.state, report.landlock.abi), (Enforced::Not, 0));
    assert!(report.denied_system_calls > 40 && report.no_new_privileges);
    assert_eq!(report.missing, [gap]);
    assert_eq!(report.lines().last().unwrap(), &format!("missing: {gap}"));
    let told = sandbox.warnings().iter().find(|problem| problem.fault() == Fault::SandboxGap);
    let told = told.unwrap();
    assert_eq!((told.severity(), told.message()), (Severity::Warning, gap));
}

#[test]
fn without_landlock_a_sandbox_that_is_required_refuses_the_start_and_check_says_so_before() {
    let [before, after] = apart(|| {
        no_landlock();
        let before = foresee(&settings(Effort::Whole));
        [before, enter(Effort::Whole, &Needs::default()).unwrap_err()]
    });
    let gaps = |problems: Vec<Problem>| -> Vec<Problem> {
        problems.into_iter().filter(|problem| problem.fault() == Fault::SandboxGap).collect()
    };
    assert_eq!(gaps(before), gaps(after.clone()));
    assert_eq!(gaps(after)[0].severity(), Severity::Error);
}

#[test]
fn a_configuration_that_needs_more_is_told_to_restart() {
    let programs = [PathBuf::from("/bin/cat")].into();
    let more = Needs { connect: [5432].into(), programs, ..Needs::default() };
    let cat = "the sandbox lets nobody start /bin/cat";
    let port = "the sandbox lets nothing connect to port 5432";
    let sandbox = apart(|| enter(Effort::Best, &Needs::default()).unwrap());
    let lacks = sandbox.lacks(&more);
    assert!(lacks.iter().all(|problem| problem.fault() == Fault::SandboxNarrow));
    let lacks: Vec<_> = lacks.iter().map(Problem::message).collect();
    let limits_ports = sandbox.report().landlock.abi >= FIRST_WITH_PORTS;
    assert_eq!(lacks, if limits_ports { vec![port, cat] } else { vec![cat] });
    // What the kernel does not limit, a new configuration may have.
    let without = apart(|| {
        no_landlock();
        enter(Effort::Best, &Needs::default()).unwrap()
    });
    assert_eq!(without.lacks(&more).iter().map(Problem::message).collect::<Vec<_>>(), [cat]);
    let off = enter(Effort::Off, &Needs::default()).unwrap();
    assert!(off.lacks(&more).is_empty());
    assert_eq!(off.report().lines(), ["off"]);
}

/// Makes this thread believe that its kernel was built without Landlock.
fn no_landlock() {
    let missing = SeccompAction::Errno(nix::libc::ENOSYS.unsigned_abs());
    let rules = [(nix::libc::SYS_landlock_create_ruleset, Vec::new())].into_iter().collect();
    let machine = TargetArch::try_from(std::env::consts::ARCH);
    let filter = machine.and_then(|machine| {
        SeccompFilter::new(rules, SeccompAction::Allow, missing, machine)?.try_into()
    });
    let applied = filter
        .map_err(Into::into)
        .and_then(|program: seccompiler::BpfProgram| seccompiler::apply_filter(&program));
    assert!(applied.is_ok(), "{applied:?}");
}

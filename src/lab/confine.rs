//! A learner's program on somebody else's machine: what it may use, write and see while it is judged.
//!
//! Two processes stand around it where the system allows it. The outer one gives the inner one a process tree of
//! its own, in which the inner one is the first: the program sees and signals nobody outside, and when the inner
//! one ends the kernel ends all that is left. The inner one lowers the limits and shuts the file system.

use std::path::PathBuf;

/// What is told to the process around a program.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Whether this is the first process of a tree of its own.
    #[arg(long)]
    inside: bool,
    /// The one folder that may be written.
    folder: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// The words that come before a program's own, to have it confined.
pub(crate) fn around(folder: &std::path::Path) -> Vec<String> {
    ["lab", "confined"]
        .map(str::to_owned)
        .into_iter()
        .chain([folder.display().to_string(), "--".to_owned()])
        .collect()
}

/// Whether this process is one of the two that stand around a program.
pub(crate) fn is_around(id: u32) -> bool {
    let words = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0);
    words.nth(1) == Some(b"lab") && words.next() == Some(b"confined")
}

/// Starts the program confined, and ends with its code.
pub(crate) fn run(args: &Args) -> u8 {
    system::run(args)
}

/// What confines a program here, and what is missing, for the report.
pub(crate) fn words() -> String {
    system::words()
}

/// Gives this process files of its own at `folder`, in memory, so that no program can fill the disk.
///
/// # Errors
/// In words, why the system gives none.
pub(crate) fn own_files(folder: &std::path::Path) -> Result<(), String> {
    system::own_files(folder)
}

/// As a shell says it of a program that cannot be run.
const CANNOT_RUN: u8 = 126;

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use landlock::{
        ABI, Access as _, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
        RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    };
    use nix::errno::Errno;
    use nix::libc;
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::prctl::set_pdeathsig;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitStatus, wait};

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch, apply_filter,
    };

    use super::{Args, CANNOT_RUN, around};

    pub(super) fn run(args: &Args) -> u8 {
        // Whatever happens to the one who waits for it, nothing of this goes on alone.
        if let Err(error) = set_pdeathsig(Signal::SIGKILL) {
            return failed(error);
        }
        if args.inside {
            return inner(args);
        }
        match unshare(CloneFlags::CLONE_NEWPID) {
            Ok(()) => outer(args).unwrap_or_else(failed),
            Err(_) => inner(args),
        }
    }

    /// Starts this program once more, as the first process of the tree.
    fn outer(args: &Args) -> Result<u8, std::io::Error> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut words = around(&args.folder);
        words.insert(2, "--inside".to_owned());
        let status = command.args(words).args(&args.command).status()?;
        Ok(code(status))
    }

    fn inner(args: &Args) -> u8 {
        if let Err(error) = limit() {
            return failed(error);
        }
        // The kernel takes a limit for a whole tree since Linux 6.14; the limit of a user does not bind root.
        drop(fs::write("/proc/sys/kernel/pid_max", MOST_PROCESSES.to_string()));
        let Some((program, arguments)) = args.command.split_first() else { return CANNOT_RUN };
        let own = std::env::current_exe().unwrap_or_default();
        let program = if program == "doorward" { own.clone() } else { PathBuf::from(program) };
        if let Err(error) = shut(&args.folder, &own) {
            return failed(error);
        }
        if let Err(error) = internet_only() {
            return failed(error);
        }
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for name in ["HOME", "TMPDIR"] {
            command.env(name, &args.folder);
        }
        match command.spawn() {
            Ok(child) => wait_for(child.id()),
            Err(error) => failed(error),
        }
    }

    /// Waits for the program, and takes in what its own children leave behind.
    fn wait_for(id: u32) -> u8 {
        loop {
            match wait() {
                Ok(WaitStatus::Exited(pid, code)) if u32::try_from(pid.as_raw()) == Ok(id) => {
                    return u8::try_from(code).unwrap_or(CANNOT_RUN);
                }
                Ok(WaitStatus::Signaled(pid, signal, _))
                    if u32::try_from(pid.as_raw()) == Ok(id) =>
                {
                    let number = (1..=64).find(|it| Signal::try_from(*it) == Ok(signal));
                    let number = number.and_then(|it| u8::try_from(it).ok()).unwrap_or(0);
                    return KILLED.saturating_add(number);
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return failed(error),
            }
        }
    }

    fn code(status: std::process::ExitStatus) -> u8 {
        use std::os::unix::process::ExitStatusExt as _;
        let signal = status.signal().and_then(|it| u8::try_from(it).ok());
        let killed = || KILLED.saturating_add(signal.unwrap_or(0));
        status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or_else(killed)
    }

    fn failed(error: impl std::fmt::Display) -> u8 {
        use std::io::Write as _;
        drop(writeln!(std::io::stderr(), "the program cannot be confined and run: {error}"));
        CANNOT_RUN
    }

    /// Lowers what one process may use; a limit that is lower already stays.
    fn limit() -> Result<(), Errno> {
        for (resource, most) in [
            (Resource::RLIMIT_DATA, MOST_MEMORY),
            (Resource::RLIMIT_FSIZE, MOST_FILE),
            (Resource::RLIMIT_CPU, MOST_SECONDS),
            (Resource::RLIMIT_NOFILE, MOST_OPEN),
            (Resource::RLIMIT_NPROC, MOST_PROCESSES),
            (Resource::RLIMIT_CORE, 0),
        ] {
            let (_, hard) = getrlimit(resource)?;
            let most = most.min(hard);
            setrlimit(resource, most, most)?;
        }
        Ok(())
    }

    /// Leaves of the file system what programs are made of, to read, and the one folder, to write.
    fn shut(folder: &Path, own: &Path) -> Result<RulesetStatus, RulesetError> {
        let ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(VETTED))?
            .scope(Scope::from_all(VETTED))?;
        let mut ruleset = ruleset.create()?;
        let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
        for path in readable(own) {
            ruleset = open(ruleset, &path, read)?;
        }
        for device in DEVICES {
            ruleset = open(
                ruleset,
                Path::new(device),
                AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
            )?;
        }
        ruleset = open(ruleset, folder, AccessFs::from_all(VETTED) & !DEVICE_FILES)?;
        Ok(ruleset.restrict_self()?.ruleset)
    }

    /// Leaves the sockets of the internet alone, which lead nowhere in a network of its own. A unix socket leads to
    /// services of this machine that believe its user, and Landlock does not judge who connects to one.
    fn internet_only() -> Result<(), seccompiler::Error> {
        let families = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        let other = families.map(|family| {
            let family = u64::from(family.unsigned_abs());
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
        });
        let other = SeccompRule::new(other.into_iter().collect::<Result<_, _>>()?)?;
        // What it is asked to do does not pass a filter of system calls.
        let mut rules = BTreeMap::from([
            (libc::SYS_socket, vec![other]),
            (libc::SYS_io_uring_setup, Vec::new()),
        ]);
        // The numbers of the x32 ABI, which pass as x86-64: without its bit none of them exists elsewhere.
        let twins: Vec<_> = rules.iter().map(|(call, rules)| (call | X32, rules.clone())).collect();
        rules.extend(twins);
        let machine = TargetArch::try_from(std::env::consts::ARCH)?;
        let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, machine)?;
        apply_filter(&BpfProgram::try_from(filter)?)
    }

    fn open(
        ruleset: RulesetCreated,
        path: &Path,
        access: BitFlags<AccessFs>,
    ) -> Result<RulesetCreated, RulesetError> {
        let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(VETTED) };
        ruleset.add_rule(PathBeneath::new(opened, access))
    }

    /// The system, this program, and where the search path leads: a language that somebody installed for themselves
    /// lies beside its programs. Never a home folder, in which there is more than languages.
    fn readable(own: &Path) -> Vec<PathBuf> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let is_home = |path: &Path| home.as_deref().is_some_and(|home| home.starts_with(path));
        let mut paths: Vec<PathBuf> = SYSTEM.map(PathBuf::from).to_vec();
        paths.push(own.to_owned());
        let search = std::env::var_os("PATH").unwrap_or_default();
        for folder in std::env::split_paths(&search).filter(|folder| folder.is_absolute()) {
            if let Some(parent) = folder.parent().filter(|parent| !is_home(parent)) {
                paths.push(parent.to_owned());
            }
            paths.push(folder);
        }
        paths.retain(|path| path.parent().is_some() && !is_home(path));
        paths
    }

    pub(super) fn own_files(folder: &Path) -> Result<(), String> {
        let failed = |error: Errno| format!("the system gives no files of its own ({error})");
        unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
        let none: Option<&str> = None;
        // Nothing of this is seen outside.
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(failed)?;
        let options = format!("size={MOST_FILES},nr_inodes=20000,mode=0700");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), folder, Some("tmpfs"), flags, Some(options.as_str())).map_err(failed)
    }

    pub(super) fn words() -> String {
        let limits = "limits of time, memory and files";
        let known = Ruleset::default()
            .handle_access(AccessFs::from_all(VETTED))
            .and_then(Ruleset::create)
            .is_ok();
        let is_on = fs::read_to_string("/sys/kernel/security/lsm");
        if known && is_on.map_or(true, |modules| modules.contains("landlock")) {
            format!("{limits}, Landlock")
        } else {
            format!("{limits}; this kernel has no Landlock, so they may read your files")
        }
    }

    /// `__X32_SYSCALL_BIT` of the kernel.
    const X32: i64 = 0x4000_0000;
    /// What this program has vetted; a kernel that knows less gives what it can.
    const VETTED: ABI = ABI::V6;
    /// Programs have no business with these.
    const DEVICE_FILES: BitFlags<AccessFs> =
        landlock::make_bitflags!(AccessFs::{MakeChar | MakeBlock});
    const SYSTEM: [&str; 16] = [
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/etc",
        "/opt",
        "/nix",
        "/snap",
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/sys",
        "/proc/version",
        "/sys",
    ];
    const DEVICES: [&str; 5] =
        ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
    /// Of the environment. The rest may hold what is nobody's business.
    const PASSED_ON: [&str; 7] = [
        "PATH",
        "LANG",
        "LC_ALL",
        "TZ",
        "PYTHONUNBUFFERED",
        "PYTHONDONTWRITEBYTECODE",
        "SSLKEYLOGFILE",
    ];
    /// In bytes: a language with a heap of its own starts in a quarter of it.
    const MOST_MEMORY: u64 = 1 << 30;
    const MOST_FILE: u64 = 64 << 20;
    const MOST_FILES: u64 = 256 << 20;
    const MOST_SECONDS: u64 = 60;
    const MOST_OPEN: u64 = 4096;
    const MOST_PROCESSES: u64 = 512;
    /// A shell's number for a program that a signal ended.
    const KILLED: u8 = 128;
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::Path;
    use std::process::Command;

    use super::{Args, CANNOT_RUN};

    pub(super) fn run(args: &Args) -> u8 {
        let Some((program, arguments)) = args.command.split_first() else { return CANNOT_RUN };
        let own = std::env::current_exe().unwrap_or_default();
        let program = if program == "doorward" { own } else { program.into() };
        let status = Command::new(program).args(arguments).status();
        let code = status.ok().and_then(|status| status.code());
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(CANNOT_RUN)
    }

    pub(super) fn own_files(_: &Path) -> Result<(), String> {
        Err("this system gives no files of its own".to_owned())
    }

    pub(super) fn words() -> String {
        "only a limit of time, as this system has nothing more: they may do what you may".to_owned()
    }
}

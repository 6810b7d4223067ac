//! seccomp: system calls that a guard never makes, and that whoever takes it over would try first.
//!
//! It is a list of what is denied. A list of what is allowed would be stronger and break with the next C
//! library, which may come while the service runs. Denied calls fail with EPERM, so that a library that tries
//! one goes on without it.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use crate::sandbox::{Needs, Report};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Denies them to this thread and all it starts, and writes down what came of it.
pub(super) fn deny(needs: &Needs, report: &mut Report) {
    let denied = || -> Result<usize, seccompiler::Error> {
        let (rules, count) = rules(needs)?;
        let filter = program(rules, libc::EPERM)?;
        // The flags of clone3 are out of a filter's sight. Told that there is none, libraries use clone.
        let no_clone3 = program(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?;
        apply_filter(&filter)?;
        apply_filter(&no_clone3)?;
        Ok(count)
    };
    match denied() {
        Ok(count) => report.denied_system_calls = count,
        Err(error) => report.missing.push(format!("system calls are not denied: {error}")),
    }
}

/// Whether the kernel has no filters for system calls.
pub(super) fn missing() -> Option<String> {
    let known = std::fs::read_to_string("/proc/self/status").ok()?;
    let has = known.lines().any(|line| line.starts_with("Seccomp:"));
    (!has).then(|| "this kernel has no seccomp: system calls are not denied".to_owned())
}

/// The rules, and how many calls they deny, wholly or in part.
fn rules(needs: &Needs) -> Result<(Rules, usize), BackendError> {
    let mut rules = Rules::new();
    let programs: &[i64] = if needs.programs.is_empty() { &STARTING_PROGRAMS } else { &[] };
    for call in GROUPS.iter().flat_map(|group| group.iter()).chain(programs) {
        rules.insert(*call, Vec::new());
    }
    rules.insert(libc::SYS_clone, new_namespaces()?);
    rules.insert(libc::SYS_socket, other_sockets()?);
    // And clone3, which has a program of its own.
    let count = rules.len().saturating_add(1);
    Ok((with_other_numbers(rules), count))
}

/// A user namespace makes the process root over a part of the kernel that is seldom looked at.
fn new_namespaces() -> Result<Vec<SeccompRule>, BackendError> {
    let kinds = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    kinds.into_iter().map(|kind| SeccompRule::new(vec![has_flag(0, kind)?])).collect()
}

/// Every family but unix, internet and the netlink that lists interfaces: the others are large, old or
/// privileged parts of the kernel.
fn other_sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let other: Result<_, _> = families.into_iter().map(|family| is_not(0, family)).collect();
    let netlink = vec![is(0, libc::AF_NETLINK)?, is_not(2, libc::NETLINK_ROUTE)?];
    Ok(vec![SeccompRule::new(other?)?, SeccompRule::new(netlink)?])
}

fn is(argument: u8, value: i32) -> Result<SeccompCondition, BackendError> {
    compare(argument, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: i32) -> Result<SeccompCondition, BackendError> {
    compare(argument, SeccompCmpOp::Ne, value)
}

fn has_flag(argument: u8, flag: i32) -> Result<SeccompCondition, BackendError> {
    let flag = u64::from(flag.unsigned_abs());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag)
}

fn compare(argument: u8, how: SeccompCmpOp, value: i32) -> Result<SeccompCondition, BackendError> {
    let value = u64::from(value.unsigned_abs());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value)
}

/// The same calls by the numbers of the x32 ABI, which have a bit of their own and pass as x86-64.
#[cfg(target_arch = "x86_64")]
fn with_other_numbers(mut rules: Rules) -> Rules {
    let twins: Vec<_> = rules.iter().map(|(call, rules)| (call | X32, rules.clone())).collect();
    rules.extend(twins);
    for (call, of_x32) in X32_NUMBERS {
        if let Some(denied) = rules.get(&call).cloned() {
            rules.insert(of_x32 | X32, denied);
        }
    }
    rules
}

#[cfg(not(target_arch = "x86_64"))]
fn with_other_numbers(rules: Rules) -> Rules {
    rules
}

fn program(rules: Rules, errno: i32) -> Result<BpfProgram, BackendError> {
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    let answer = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, machine)?.try_into()
}

/// Another program in place of this one, unless a service is a program.
const STARTING_PROGRAMS: [i64; 2] = [libc::SYS_execve, libc::SYS_execveat];

/// Looking into other processes: their memory holds other people's keys.
const OTHER_PROCESSES: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
];

/// Another view of the file system, around the rules on paths.
const FILE_SYSTEMS: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
];

/// Another view of everything else; clone and clone3 are judged by their flags.
const NAMESPACES: &[i64] = &[libc::SYS_setns, libc::SYS_unshare];

/// Another kernel, or more of it.
const KERNEL: &[i64] = &[
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
];

/// Parts of the kernel with a long history of holes, which nothing here uses. A filter on a socket is set by
/// setsockopt, and stays possible.
const RICH_INTERFACES: &[i64] = &[
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
];

/// The key store of the kernel, which is shared between the processes of a user.
const KEYS: &[i64] = &[libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key];

/// The clock decides which certificates are valid; the name, the terminal and the rest of the machine are not
/// ours to change.
const MACHINE: &[i64] = &[
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_personality,
];

/// What only this kind of processor has: its ports, its segments, and a second way to boot.
#[cfg(target_arch = "x86_64")]
const PROCESSOR: &[i64] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_kexec_file_load];

#[cfg(not(target_arch = "x86_64"))]
const PROCESSOR: &[i64] = &[];

const GROUPS: [&[i64]; 8] =
    [OTHER_PROCESSES, FILE_SYSTEMS, NAMESPACES, KERNEL, RICH_INTERFACES, KEYS, MACHINE, PROCESSOR];

/// `__X32_SYSCALL_BIT` of the kernel.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Calls that have a number of their own in the x32 ABI (`syscall_64.tbl` of the kernel).
#[cfg(target_arch = "x86_64")]
const X32_NUMBERS: [(i64, i64); 6] = [
    (libc::SYS_execve, 520),
    (libc::SYS_ptrace, 521),
    (libc::SYS_kexec_load, 528),
    (libc::SYS_process_vm_readv, 539),
    (libc::SYS_process_vm_writev, 540),
    (libc::SYS_execveat, 545),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_only_be_started_where_one_is_needed() {
        let (without, _) = rules(&Needs::default()).unwrap();
        assert!(without.contains_key(&libc::SYS_execve));
        let needs = Needs { programs: ["/bin/cat".into()].into(), ..Needs::default() };
        let (with, _) = rules(&needs).unwrap();
        assert!(!with.contains_key(&libc::SYS_execve) && with.contains_key(&libc::SYS_ptrace));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_second_number_is_no_way_around() {
        let (rules, _) = rules(&Needs::default()).unwrap();
        for number in [libc::SYS_mount, 520, 521, 545] {
            assert!(rules.contains_key(&(number | X32)), "{number}");
        }
    }

    #[test]
    fn what_tokio_and_the_resolver_use_is_left() {
        let (rules, _) = rules(&Needs::default()).unwrap();
        for call in [libc::SYS_setsockopt, libc::SYS_epoll_create1, libc::SYS_openat] {
            assert!(!rules.contains_key(&call), "{call}");
        }
        program(rules, libc::EPERM).unwrap();
    }
}

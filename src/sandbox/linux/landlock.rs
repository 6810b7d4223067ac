//! Landlock: which files and TCP ports are left, held by the kernel (landlock(7)).

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::paths::Paths;
use crate::sandbox::{Enforced, Landlock, Needs, Ports, Report};

/// Restricts this thread, and writes down what came of it.
pub(super) fn restrict(needs: &Needs, report: &mut Report) {
    let paths = Paths::of(needs);
    report.landlock = left(needs, &paths);
    match enforce(needs, &paths) {
        Ok(status) => {
            report.landlock.state = match status.ruleset {
                RulesetStatus::FullyEnforced => Enforced::Fully,
                RulesetStatus::PartiallyEnforced => Enforced::Partially,
                RulesetStatus::NotEnforced => Enforced::Not,
            };
            report.landlock.abi = version(status.landlock);
            if report.landlock.state != Enforced::Fully {
                report.missing.push(lacking(status.landlock));
            }
        }
        Err(error) => report.missing.push(format!("Landlock is not enforced: {error}")),
    }
}

/// What this kernel does not know, found out by asking for it and using nothing.
pub(super) fn missing() -> Option<String> {
    let known = |abi: ABI| {
        let asked = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let asked = asked.handle_access(AccessFs::from_all(abi));
        let asked = match AccessNet::from_all(abi) {
            none if none.is_empty() => asked,
            ports => asked.and_then(|ruleset| ruleset.handle_access(ports)),
        };
        let asked = match Scope::from_all(abi) {
            none if none.is_empty() => asked,
            scopes => asked.and_then(|ruleset| ruleset.scope(scopes)),
        };
        asked.and_then(Ruleset::create).is_ok()
    };
    let versions = [ABI::V6, ABI::V5, ABI::V4, ABI::V3, ABI::V2, ABI::V1];
    match versions.into_iter().find(|abi| known(*abi)) {
        Some(ABI::V6) => None,
        Some(abi) => Some(beyond(abi)),
        None => Some(NOTHING.to_owned()),
    }
}

fn enforce(needs: &Needs, paths: &Paths) -> Result<RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(VETTED))?
        .handle_access(AccessNet::ConnectTcp)?
        .scope(Scope::from_all(VETTED))?;
    if let Ports::Only(_) = needs.bind {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
    }
    let mut ruleset = ruleset.create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    for path in &paths.read {
        ruleset = open(ruleset, path, read)?;
    }
    for path in &paths.execute {
        ruleset = open(ruleset, path, read | AccessFs::Execute)?;
    }
    // Devices and links are nothing that a log, a state file or a socket is.
    let write = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    for path in &paths.write {
        ruleset = open(ruleset, path, read | write)?;
    }
    for port in &needs.connect {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    if let Ports::Only(ports) = &needs.bind {
        for port in ports {
            ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
        }
    }
    ruleset.restrict_self()
}

/// Opens a path with everything below. One that vanished in the meantime needs no rule.
fn open(
    ruleset: RulesetCreated,
    path: &std::path::Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
    // A right that only directories have would count as one that the kernel lacks.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(VETTED) };
    ruleset.add_rule(PathBeneath::new(opened, access))
}

fn left(needs: &Needs, paths: &Paths) -> Landlock {
    let listed = |paths: &std::collections::BTreeSet<std::path::PathBuf>| {
        paths.iter().map(|path| path.display().to_string()).collect()
    };
    Landlock {
        read: listed(&paths.read),
        write: listed(&paths.write),
        execute: listed(&paths.execute),
        connect: needs.connect.iter().copied().collect(),
        bind: match &needs.bind {
            Ports::Any => None,
            Ports::Only(ports) => Some(ports.iter().copied().collect()),
        },
        ..Landlock::default()
    }
}

fn lacking(status: LandlockStatus) -> String {
    match status {
        LandlockStatus::NotEnabled => {
            "Landlock is in this kernel and switched off: files and ports are not limited"
                .to_owned()
        }
        LandlockStatus::NotImplemented => NOTHING.to_owned(),
        LandlockStatus::Available { effective_abi, .. } => beyond(effective_abi),
    }
}

/// What a version of Landlock cannot limit yet.
fn beyond(abi: ABI) -> String {
    let since = [
        (ABI::V2, "moves between directories"),
        (ABI::V3, "truncation"),
        (ABI::V4, "TCP ports"),
        (ABI::V5, "control of devices"),
        (ABI::V6, "signals and abstract sockets"),
    ];
    let not: Vec<_> = since.iter().filter(|(new, _)| abi < *new).map(|(_, what)| *what).collect();
    format!("Landlock ABI {abi} of this kernel does not limit {}", not.join(", "))
}

fn version(status: LandlockStatus) -> u32 {
    match status {
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            let known = kernel_abi.map_or_else(|| effective_abi.to_string(), |abi| abi.to_string());
            known.parse().unwrap_or(0)
        }
    }
}

/// The newest rights that were tried with this program. Later ones limit UDP and unix sockets, which name
/// services use in ways of their own.
const VETTED: ABI = ABI::V7;
const NOTHING: &str = "this kernel has no Landlock: files and ports are not limited";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_version_says_what_it_does_not_limit() {
        assert_eq!(
            beyond(ABI::V4),
            "Landlock ABI 4 of this kernel does not limit control of devices, signals and abstract sockets"
        );
        assert!(beyond(ABI::V1).contains("TCP ports"));
    }
}

//! Leaving root behind.

use nix::unistd::{
    Gid, Group, ROOT, Uid, User as Account, getgroups, getresgid, getresuid, setgroups, setresgid,
    setresuid,
};

use crate::place::Written;
use crate::problem::{Fault, Problem};
use crate::sandbox::{SandboxSettings, User};

/// What is wrong or unwise about the user, told before anything is given up.
pub(in crate::sandbox) fn advise(settings: &SandboxSettings) -> Option<Problem> {
    if settings.user.is_some() {
        return target(settings).err();
    }
    if !is_root() {
        return None;
    }
    let what = "the process runs as root, and no user is named that it becomes";
    let remedy = "write user = \"doorward\" in [sandbox], or start it as that user";
    Some(Problem::warning(Fault::SandboxRoot, what, remedy).at(&settings.place))
}

/// Whom to become: nobody else where root did not start the process, because only root can.
pub(super) fn target(settings: &SandboxSettings) -> Result<Option<User>, Problem> {
    let Some(user) = &settings.user else { return Ok(None) };
    if !is_root() {
        return Ok(None);
    }
    let account = account(user)?;
    let gid = match &settings.group {
        Some(group) => group_of(group)?,
        None => account.gid,
    };
    if account.uid.is_root() || gid.as_raw() == 0 {
        let what = format!("{:?} is root or in its group, which gives up nothing", user.value);
        let remedy = "name a user that has no other work on this host";
        return Err(Problem::error(Fault::SandboxBadUser, what, remedy).at(&user.place));
    }
    let name = user.value.clone();
    Ok(Some(User { name, uid: account.uid.as_raw(), gid: gid.as_raw() }))
}

/// Becomes `user`, in its one group, and makes sure that there is no way back.
pub(super) fn become_for_good(user: &User) -> Result<(), Problem> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    // Groups first: without root's user, nobody may change them.
    setgroups(&[gid]).map_err(|error| failed(user, &format!("its groups: {error}")))?;
    setresgid(gid, gid, gid).map_err(|error| failed(user, &format!("its group: {error}")))?;
    setresuid(uid, uid, uid).map_err(|error| failed(user, &error.to_string()))?;
    let users = getresuid().map_err(|error| failed(user, &error.to_string()))?;
    let groups = getresgid().map_err(|error| failed(user, &error.to_string()))?;
    let became = users.real == uid && users.effective == uid && users.saved == uid;
    let joined = groups.real == gid && groups.effective == gid && groups.saved == gid;
    if !became || !joined || getgroups().ok().as_deref() != Some(&[gid]) {
        return Err(failed(user, "the system says that something of root is left"));
    }
    if setresuid(ROOT, ROOT, ROOT).is_ok() || setresgid(gid, Gid::from_raw(0), gid).is_ok() {
        return Err(failed(user, "the way back to root is open"));
    }
    Ok(())
}

fn is_root() -> bool {
    Uid::effective().is_root()
}

fn account(user: &Written<String>) -> Result<Account, Problem> {
    match Account::from_name(&user.value) {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(unknown("user", user, "there is none of that name")),
        Err(error) => Err(unknown("user", user, &error.to_string())),
    }
}

fn group_of(group: &Written<String>) -> Result<Gid, Problem> {
    match Group::from_name(&group.value) {
        Ok(Some(found)) => Ok(found.gid),
        Ok(None) => Err(unknown("group", group, "there is none of that name")),
        Err(error) => Err(unknown("group", group, &error.to_string())),
    }
}

fn unknown(kind: &str, name: &Written<String>, why: &str) -> Problem {
    let what = format!("the {kind} {:?} cannot be found: {why}", name.value);
    let remedy = "make it first, such as with useradd --system --no-create-home doorward";
    Problem::error(Fault::SandboxBadUser, what, remedy).at(&name.place)
}

fn failed(user: &User, why: &str) -> Problem {
    let what = format!("the process cannot become {}: {why}", user.name);
    let remedy = "start it as that user, or with the capabilities to change users and groups";
    Problem::error(Fault::SandboxFailed, what, remedy)
}

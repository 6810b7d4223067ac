//! The users and groups of this machine.

#[cfg(unix)]
pub(super) use unix::{group_named, groups_of, name_of, own_user, user_named};

#[cfg(not(unix))]
pub(super) use elsewhere::{group_named, groups_of, name_of, own_user, user_named};

#[cfg(unix)]
mod unix {
    use std::ffi::CString;

    use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};

    /// The user that this process acts as.
    pub(in crate::tunnel) fn own_user() -> u32 {
        geteuid().as_raw()
    }

    pub(in crate::tunnel) fn user_named(name: &str) -> Option<u32> {
        is_name(name).then(|| User::from_name(name).ok().flatten())?.map(|user| user.uid.as_raw())
    }

    pub(in crate::tunnel) fn group_named(name: &str) -> Option<u32> {
        is_name(name)
            .then(|| Group::from_name(name).ok().flatten())?
            .map(|group| group.gid.as_raw())
    }

    pub(in crate::tunnel) fn name_of(user: u32) -> Option<String> {
        User::from_uid(Uid::from_raw(user)).ok().flatten().map(|user| user.name)
    }

    /// The groups that the user database has the user in, and `own`, the group its process acts as.
    /// May wait for a directory service.
    pub(in crate::tunnel) fn groups_of(user: u32, own: Option<u32>) -> Vec<u32> {
        let mut groups: Vec<u32> = own.into_iter().collect();
        let Ok(Some(user)) = User::from_uid(Uid::from_raw(user)) else { return groups };
        let Ok(name) = CString::new(user.name) else { return groups };
        let listed = getgrouplist(&name, user.gid).unwrap_or_default();
        groups.extend(listed.into_iter().map(Gid::as_raw));
        groups
    }

    /// The database takes C strings, and an empty name is nobody's.
    fn is_name(name: &str) -> bool {
        !name.is_empty() && !name.contains('\0')
    }
}

/// Users are not told of by number here, and rules on them are refused at the start.
#[cfg(not(unix))]
mod elsewhere {
    pub(in crate::tunnel) fn own_user() -> u32 {
        0
    }

    pub(in crate::tunnel) fn user_named(_: &str) -> Option<u32> {
        None
    }

    pub(in crate::tunnel) fn group_named(_: &str) -> Option<u32> {
        None
    }

    pub(in crate::tunnel) fn name_of(_: u32) -> Option<String> {
        None
    }

    pub(in crate::tunnel) fn groups_of(_: u32, own: Option<u32>) -> Vec<u32> {
        own.into_iter().collect()
    }
}

//! `[sandbox]`: what the process gives up once its sockets are open.

use super::entry::Entry;
use super::section::Section;
use crate::place::Written;
use crate::problem::Fault;
use crate::sandbox::{Effort, SandboxSettings};

/// The table; the sandbox is on where nothing is written.
pub(super) fn read(mut section: Section<'_>) -> Option<SandboxSettings> {
    let enable = section.or("enable", true, Entry::flag);
    let require = section.or("require", false, Entry::flag);
    let user = section.or("user", None, |entry| account(entry).map(Some));
    let group = section.or("group", None, |entry| account(entry).map(Some));
    let write = section.or("write", Vec::new(), |entry| entry.each(Entry::path));
    let others = ["require", "user", "group", "write"].map(|key| section.entry(key));
    section.finish();
    let effort = match (enable?, require?) {
        (false, _) => {
            for entry in others.iter().flatten() {
                entry.blame(
                    Fault::ConfigBadValue,
                    format!("{entry} means nothing while enable is false"),
                    "remove it, or remove enable = false",
                );
            }
            Effort::Off
        }
        (true, false) => Effort::Best,
        (true, true) => Effort::Whole,
    };
    if let ([_, None, Some(grouped), _], Effort::Best | Effort::Whole) = (&others, effort) {
        grouped.blame(
            Fault::ConfigBadValue,
            format!("{grouped} means nothing without user"),
            "add user, the one to become together with the group",
        );
        return None;
    }
    let place = section.place().clone();
    Some(SandboxSettings { effort, place, user: user?, group: group?, write: write? })
}

/// The name of a user or group. Numbers are refused: whom they mean depends on the host.
fn account(entry: &Entry<'_>) -> Option<Written<String>> {
    let text = entry.string()?;
    let is_name = text.value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.value.len() <= LONGEST_NAME
        && text.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.$@".contains(&byte));
    if !is_name {
        entry.refuse(
            text.value,
            "which is no name of an account",
            "write a name such as \"doorward\"",
        );
        return None;
    }
    Some(Written::new(text.value.to_owned(), text.place))
}

/// What `useradd` of Linux takes at most.
const LONGEST_NAME: usize = 32;

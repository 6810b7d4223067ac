//! What the files of a store are, whoever made them: modes, links, version control.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pki::keyfile;
use crate::problem::{Fault, Problem};

/// Looks at every file below a directory, follows no link, and returns those that hold a private key.
pub(super) fn check(directory: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut keys = Vec::new();
    let mut waiting = vec![(directory.to_owned(), DEEPEST)];
    while let Some((directory, depth)) = waiting.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                problems.push(unreadable(&directory, &error));
                continue;
            }
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_symlink() {
                problems.push(link(&path));
            } else if metadata.is_dir() && depth > 0 {
                waiting.push((path, depth.saturating_sub(1)));
            } else if metadata.is_file() && holds_a_key(&path) {
                problems.extend(exposed(&path, &metadata));
                keys.push(path);
            }
        }
    }
    keys
}

/// Says which keys git knows, if there is a git that knows the directory.
pub(super) fn check_tracked(directory: &Path, keys: &[PathBuf], problems: &mut Vec<Problem>) {
    // A repository may name a program that git would run to watch files.
    let run = Command::new("git")
        .args(["-c", "core.fsmonitor=false", "-C"])
        .arg(directory)
        .args(["ls-files", "-z", "--", "."])
        .output();
    let Ok(run) = run else { return };
    for name in run.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let path = directory.join(String::from_utf8_lossy(name).as_ref());
        if keys.contains(&path) {
            let message = format!("{} is under version control", path.display());
            let remedy = format!(
                "git rm --cached {}; whoever has the repository has the key, so revoke its certificate and issue it again",
                path.display()
            );
            problems.push(Problem::error(Fault::CertsKeyTracked, message, remedy));
        }
    }
}

fn holds_a_key(path: &Path) -> bool {
    keyfile::read_whole(path).is_ok_and(|bytes| keyfile::contains(&bytes, b"PRIVATE KEY-----"))
}

#[cfg(unix)]
fn exposed(path: &Path, metadata: &Metadata) -> Option<Problem> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let message =
            format!("{} has mode {mode:03o}, so others may use the private key", path.display());
        let remedy = format!("chmod 600 {}; if others were here, issue it again", path.display());
        Problem::error(Fault::HandshakeKeyExposed, message, remedy)
    })
}

/// Where there are no permission bits there is nothing to judge.
#[cfg(not(unix))]
fn exposed(_path: &Path, _metadata: &Metadata) -> Option<Problem> {
    None
}

fn link(path: &Path) -> Problem {
    let message = format!("{} is a symbolic link, and a store has none", path.display());
    Problem::error(
        Fault::CertsSymlink,
        message,
        "look where it leads and who made it, then remove it",
    )
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let message = format!("{} cannot be looked into: {error}", path.display());
    Problem::error(Fault::CertsUnreadable, message, "run as the owner of the store")
}

/// A store is three levels deep; what is deeper was put there by somebody else.
const DEEPEST: usize = 8;

//! Before a start: which file is the program, and may it be run?

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Run;
use crate::peer::PeerText;
use crate::problem::{Fault, Problem};

/// A program that was found, and the directory it will run in.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// Absolute, so that neither `PATH` nor a directory decides again.
    pub(super) program: PathBuf,
    pub(super) directory: Option<PathBuf>,
}

impl Run {
    /// Finds the program once, before anybody is let in.
    pub(super) fn resolve(&self) -> Result<Resolved, Problem> {
        let program = self.program()?;
        let Some(directory) = &self.directory else {
            return Ok(Resolved { program, directory: None });
        };
        let entered = absolute(&directory.value).filter(|path| may_be(path, Use::Entered));
        if entered.is_some() {
            return Ok(Resolved { program, directory: entered });
        }
        let shown = PeerText::from(directory.value.to_string_lossy().as_ref());
        let seen = format!("\"{shown}\" is no directory that this user may enter");
        let remedy = "make it, or name another; it counts from the working directory of doorward";
        Err(Problem::error(Fault::ServiceBadCommand, seen, remedy).at(&directory.place))
    }

    /// A name with a slash is a path from the working directory; any other is looked up.
    fn program(&self) -> Result<PathBuf, Problem> {
        let name = &self.program.value;
        let bad = |why: &str, remedy: &str| {
            let seen = format!("\"{}\" {why}", PeerText::from(name.as_str()));
            Problem::error(Fault::ServiceBadCommand, seen, remedy).at(&self.program.place)
        };
        if name.contains(std::path::is_separator) {
            let path = absolute(Path::new(name)).filter(|path| path.exists());
            let path = path.ok_or_else(|| {
                bad("does not exist", "check the path; it counts from the working directory")
            })?;
            if may_be(&path, Use::Run) {
                return Ok(path);
            }
            return Err(bad(
                "is no file that this user may run",
                "make it executable (chmod +x), or name its interpreter first: [\"python3\", \"server.py\"]",
            ));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        find(name, &path).ok_or_else(|| {
            bad(
                "is not found in PATH",
                "install it, or write its whole path, such as \"/usr/bin/python3\"",
            )
        })
    }
}

/// The first executable file of that name in the absolute directories of `path`.
///
/// A relative one would mean another directory for each place the server is started from.
fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).filter(|directory| directory.is_absolute()).find_map(|directory| {
        ENDINGS
            .iter()
            .map(|ending| directory.join(format!("{name}{ending}")))
            .find(|file| may_be(file, Use::Run))
    })
}

fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}

/// What is meant to be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Run,
    Entered,
}

fn may_be(path: &Path, used: Use) -> bool {
    let fits = match used {
        Use::Run => path.is_file(),
        Use::Entered => path.is_dir(),
    };
    fits && permitted(path)
}

#[cfg(unix)]
fn permitted(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// Found out when it is tried.
#[cfg(not(unix))]
fn permitted(_: &Path) -> bool {
    true
}

#[cfg(not(windows))]
const ENDINGS: &[&str] = &[""];
/// What Windows itself can start, without a shell.
#[cfg(windows)]
const ENDINGS: &[&str] = &["", ".exe"];

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_name_is_looked_up_in_absolute_directories_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tool");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        let path = std::env::join_paths([Path::new("."), directory.path()]).unwrap();
        assert_eq!(find("tool", &path), None, "no executable bit");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(find("tool", &path), Some(file));
        assert_eq!(find("Cargo.toml", OsStr::new(".")), None);
        assert_eq!(find("tool", OsStr::new("")), None);
    }
}

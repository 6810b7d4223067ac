//! Which paths stay open, and why.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::sandbox::Needs;
use crate::sandbox::needs::directories;

/// What stays open of the file system; each path with everything below.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) read: BTreeSet<PathBuf>,
    pub(super) write: BTreeSet<PathBuf>,
    pub(super) execute: BTreeSet<PathBuf>,
}

impl Paths {
    /// Those of `needs` that exist.
    pub(super) fn of(needs: &Needs) -> Self {
        let mut paths = Self::default();
        paths.read.extend(directories(&needs.files));
        paths.read.extend(ALWAYS_READ.iter().map(PathBuf::from));
        paths.write.extend(needs.writes.iter().cloned());
        paths.write.insert(PathBuf::from("/dev/null"));
        if needs.names {
            paths.read.extend(NAME_SERVICE.iter().map(PathBuf::from));
            paths.read.extend(NAME_FILES.iter().filter_map(|file| beside_target(file)));
        }
        for program in &needs.programs {
            let target = program.canonicalize().ok();
            for path in [Some(program.as_path()), target.as_deref()].into_iter().flatten() {
                paths.execute.insert(path.to_owned());
                let beside = path.parent().filter(|parent| parent.parent().is_some());
                paths.execute.extend(beside.map(Path::to_owned));
                paths.execute.extend(beside.and_then(prefix).map(Path::to_owned));
            }
        }
        if !needs.programs.is_empty() {
            paths.execute.extend(PROGRAMS.iter().map(PathBuf::from));
            paths.read.extend(PROGRAM_FILES.iter().map(PathBuf::from));
        }
        for set in [&mut paths.read, &mut paths.write, &mut paths.execute] {
            set.retain(|path| path.exists());
        }
        paths
    }
}

/// Where the libraries of a program are whose directory is named as such directories are: a version of an
/// interpreter that was installed beside the system's.
fn prefix(directory: &Path) -> Option<&Path> {
    let name = directory.file_name()?.to_str()?;
    let prefix = directory.parent().filter(|_| PROGRAM_DIRECTORIES.contains(&name));
    prefix.filter(|prefix| prefix.parent().is_some())
}

/// The directory of what a file of /etc leads to, where that is elsewhere: a resolver that keeps its file in
/// /run replaces it there.
fn beside_target(file: &str) -> Option<PathBuf> {
    let target = Path::new(file).canonicalize().ok()?;
    let parent = target.parent().filter(|parent| parent.parent().is_some())?;
    (!parent.starts_with("/etc")).then(|| parent.to_owned())
}

/// `/proc` tells who holds a port, and the processor quota together with `/sys/fs/cgroup`; the two devices are
/// where libraries look for randomness when the system call is missing.
const ALWAYS_READ: [&str; 4] = ["/proc", "/sys/fs/cgroup", "/dev/urandom", "/dev/random"];

/// What a look-up of a host name reads: the files below, and libraries that are loaded at the first one. `/etc`
/// is opened whole because its files are replaced by rename, after which a rule for the old file is worth
/// nothing and no name is found any more.
const NAME_SERVICE: [&str; 7] =
    ["/etc", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store"];

/// The files of a look-up that may be links to elsewhere.
const NAME_FILES: [&str; 6] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
];

/// Where programs, their interpreters and libraries are.
const PROGRAMS: [&str; 8] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/opt"];

/// The names that the directories of programs have, beside which their libraries are.
const PROGRAM_DIRECTORIES: [&str; 4] = ["bin", "sbin", "libexec", "shims"];

/// What most programs read when they start.
const PROGRAM_FILES: [&str; 2] = ["/etc", "/dev/zero"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_names_and_programs_neither_etc_nor_usr_is_open() {
        let paths = Paths::of(&Needs::default());
        let open = paths.read.iter().chain(&paths.write).chain(&paths.execute);
        for path in open {
            assert!(!path.starts_with("/etc") && !path.starts_with("/usr"), "{}", path.display());
        }
        assert!(paths.execute.is_empty());
    }

    #[test]
    fn names_open_what_a_resolver_reads_wherever_it_is() {
        let paths = Paths::of(&Needs { names: true, ..Needs::default() });
        for file in NAME_FILES {
            let Ok(target) = Path::new(file).canonicalize() else { continue };
            assert!(paths.read.iter().any(|open| target.starts_with(open)), "{}", target.display());
        }
    }

    #[test]
    fn a_program_opens_itself_and_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("answer.sh");
        std::fs::write(&program, "").unwrap();
        let paths = Paths::of(&Needs { programs: [program].into(), ..Needs::default() });
        assert!(paths.execute.contains(directory.path()));
    }

    #[test]
    fn an_interpreter_of_its_own_opens_its_libraries_and_a_script_opens_no_home() {
        let tools = Path::new("/home/me/tools");
        assert_eq!(prefix(&tools.join("bin")), Some(tools));
        assert_eq!(prefix(Path::new("/home/me")), None);
        assert_eq!(prefix(Path::new("/bin")), None, "which would be everything");
    }
}

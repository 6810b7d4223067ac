//! What a configuration needs of the system once its sockets are open. Everything else is given up.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What must still work inside the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files that are read again when they change. Their directories are opened too, because a new version
    /// comes by rename.
    pub files: BTreeSet<PathBuf>,
    /// Files and directories that are written.
    pub writes: BTreeSet<PathBuf>,
    /// Whether host names are looked up.
    pub names: bool,
    /// The TCP ports that upstreams have.
    pub connect: BTreeSet<u16>,
    /// The TCP ports that listeners have, now and after a reload.
    pub bind: Ports,
    /// Programs that are started.
    pub programs: BTreeSet<PathBuf>,
}

/// A set of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every port.
    Any,
    /// These alone; port 0 is whatever port the system chooses.
    Only(BTreeSet<u16>),
}

impl Default for Ports {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Needs {
    /// What `other` needs of the file system and this does not hold, in words.
    pub(super) fn lacks_paths(&self, other: &Self) -> Vec<String> {
        let mut lacks = Vec::new();
        let readable = directories(&self.files);
        for file in &other.files {
            if !places(file).iter().all(|place| readable.iter().any(|dir| place.starts_with(dir))) {
                lacks.push(format!("the sandbox does not open {}", file.display()));
            }
        }
        for path in other.writes.difference(&self.writes) {
            lacks.push(format!("the sandbox does not open {} for writing", path.display()));
        }
        if other.names && !self.names {
            lacks.push("the sandbox does not open what host names are looked up with".to_owned());
        }
        lacks
    }

    /// The same of ports.
    pub(super) fn lacks_ports(&self, other: &Self) -> Vec<String> {
        let mut lacks = Vec::new();
        for port in other.connect.difference(&self.connect) {
            lacks.push(format!("the sandbox lets nothing connect to port {port}"));
        }
        match (&self.bind, &other.bind) {
            (Ports::Any, _) => {}
            (Ports::Only(_), Ports::Any) => {
                lacks.push("the sandbox limits the ports that may be listened on".to_owned());
            }
            (Ports::Only(given), Ports::Only(wanted)) => {
                for port in wanted.difference(given) {
                    lacks.push(format!("the sandbox lets nothing listen on port {port}"));
                }
            }
        }
        lacks
    }

    /// The same of programs.
    pub(super) fn lacks_programs(&self, other: &Self) -> Vec<String> {
        let missing = other.programs.difference(&self.programs);
        missing
            .map(|program| format!("the sandbox lets nobody start {}", program.display()))
            .collect()
    }
}

/// The directories of `files`, as written and as their links lead.
pub(super) fn directories(files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    files.iter().flat_map(|file| places(file)).collect()
}

/// Where the next version of a file will be: beside the name, or beside what the name leads to. The file itself
/// stands for the root directory, which would be everything.
fn places(file: &Path) -> Vec<PathBuf> {
    let beside = |file: &Path| -> Option<PathBuf> {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(if parent.parent().is_none() { file.to_owned() } else { parent })
    };
    let target = file.canonicalize().ok();
    [beside(file), target.and_then(|target| beside(&target))].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacks(given: &Needs, needed: &Needs) -> Vec<String> {
        let lacks = [Needs::lacks_paths, Needs::lacks_ports, Needs::lacks_programs];
        lacks.into_iter().flat_map(|lacks| lacks(given, needed)).collect()
    }

    fn reading(files: &[&Path]) -> Needs {
        Needs { files: files.iter().map(|file| (*file).to_owned()).collect(), ..Needs::default() }
    }

    #[test]
    fn a_file_is_covered_by_another_of_its_directory_and_by_none_elsewhere() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let given = reading(&[&here.path().join("one")]);
        assert!(lacks(&given, &reading(&[&here.path().join("two")])).is_empty());
        let lacks = lacks(&given, &reading(&[&there.path().join("three")]));
        assert!(lacks.len() == 1 && lacks[0].ends_with("three"), "{lacks:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_opens_both_of_its_ends() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = there.path().join("key.pem");
        std::fs::write(&target, "").unwrap();
        let link = here.path().join("key.pem");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let opened = directories(&[link].into_iter().collect());
        let both = [here.path(), there.path()].map(|dir| dir.canonicalize().unwrap());
        assert_eq!(opened, both.into_iter().collect());
    }

    #[test]
    fn a_file_in_the_root_directory_does_not_open_everything() {
        let opened = directories(&[PathBuf::from("/doorward.toml")].into_iter().collect());
        assert_eq!(opened, [PathBuf::from("/doorward.toml")].into_iter().collect());
    }

    #[test]
    fn a_new_port_name_or_program_is_lacking() {
        let some = Needs { connect: [6379].into(), ..Needs::default() };
        let more = Needs {
            connect: [6379, 5432].into(),
            names: true,
            bind: Ports::Only([8443].into()),
            programs: [PathBuf::from("/usr/bin/cat")].into(),
            writes: [PathBuf::from("/var/log/doorward")].into(),
            ..Needs::default()
        };
        assert!(lacks(&more, &some).is_empty());
        assert_eq!(lacks(&some, &more).len(), 5);
        let any = Needs { bind: Ports::Any, ..Needs::default() };
        assert!(
            lacks(&any, &Needs { bind: Ports::Only([1].into()), ..Needs::default() }).is_empty()
        );
        assert_eq!(lacks(&more, &any).len(), 1);
    }
}

//! The system's trust store on Linux: a directory for additions, and a program that rebuilds the rest from it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pki::anchor::keeper::{Keeper, Removal, Sight, Standing};
use crate::pki::anchor::mark::{Anchor, Mark};
use crate::pki::anchor::site::Site;
use crate::pki::anchor::tool::Tool;
use crate::pki::disk::{self, Secrecy};
use crate::pki::keyfile;
use crate::problem::{Fault, Problem};

/// How a family of distributions keeps its trust.
struct Family {
    /// Where an administrator's additions are.
    directory: &'static str,
    extension: &'static str,
    /// The one file that most programs read, and from which the rebuilding can be seen.
    bundle: &'static str,
    program: &'static str,
    /// Its arguments after something was added, and after something was taken away.
    added: &'static [&'static str],
    removed: &'static [&'static str],
    package: &'static str,
}

/// In this order the first that is there counts. From the manual pages of `update-ca-trust`, `trust` and both
/// programs called `update-ca-certificates`.
const FAMILIES: [Family; 4] = [
    // Fedora, Red Hat and theirs.
    Family {
        directory: "/etc/pki/ca-trust/source/anchors",
        extension: "pem",
        bundle: "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        program: "update-ca-trust",
        added: &["extract"],
        removed: &["extract"],
        package: "ca-certificates",
    },
    // Arch.
    Family {
        directory: "/etc/ca-certificates/trust-source/anchors",
        extension: "crt",
        bundle: "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
        program: "trust",
        added: &["extract-compat"],
        removed: &["extract-compat"],
        package: "p11-kit",
    },
    // openSUSE.
    Family {
        directory: "/etc/pki/trust/anchors",
        extension: "pem",
        bundle: "/var/lib/ca-certificates/ca-bundle.pem",
        program: "update-ca-certificates",
        added: &[],
        removed: &[],
        package: "ca-certificates",
    },
    // Debian, Ubuntu, Alpine. Without --fresh the links of what was taken away stay.
    Family {
        directory: "/usr/local/share/ca-certificates",
        extension: "crt",
        bundle: "/etc/ssl/certs/ca-certificates.crt",
        program: "update-ca-certificates",
        added: &[],
        removed: &["--fresh"],
        package: "ca-certificates",
    },
];

/// The directory of additions of the running system, or of an image.
pub(crate) struct Directory {
    family: &'static Family,
    /// As it is on this system, every link followed.
    path: PathBuf,
    site: Site,
}

impl Directory {
    /// The one of the site, if it has any that is known.
    pub(crate) fn find(site: &Site) -> Result<Option<Self>, Problem> {
        for family in &FAMILIES {
            let found = site.find(Path::new(family.directory))?.filter(|path| path.is_dir());
            if let Some(path) = found {
                return Ok(Some(Self { family, path, site: site.clone() }));
            }
        }
        Ok(None)
    }

    fn file(&self, mark: &Mark) -> PathBuf {
        self.path.join(format!("{}.{}", mark.label(), self.family.extension))
    }

    /// The program that rebuilds; nothing where the image has none.
    fn rebuild(&self, arguments: &'static [&'static str]) -> Option<Tool> {
        let Family { program, package, .. } = self.family;
        let Some(root) = &self.site.root else {
            return Some(Tool::new(*program, package).arguments(arguments));
        };
        let there = ["usr/sbin", "usr/bin", "sbin", "bin"]
            .iter()
            .any(|folder| fs::symlink_metadata(root.join(folder).join(program)).is_ok());
        there.then(|| Tool::in_image(root, program).arguments(arguments))
    }

    /// Rebuilds, or says what to run.
    fn rebuilt(&self, arguments: &'static [&'static str]) -> Result<Option<String>, Problem> {
        match self.rebuild(arguments) {
            Some(tool) => tool.run().map(|_| None),
            None => Ok(Some(self.to_run_in_the_image(arguments))),
        }
    }

    fn to_run_in_the_image(&self, arguments: &[&str]) -> String {
        let command: Vec<_> =
            std::iter::once(self.family.program).chain(arguments.iter().copied()).collect();
        format!(
            "the image has no {}: run there, when it has: {}",
            self.family.program,
            command.join(" ")
        )
    }

    /// Whether what programs read was rebuilt since; the file itself is there.
    fn taken_over(&self, mark: &Mark) -> Result<Sight, Problem> {
        let Family { bundle, program, .. } = self.family;
        let Some(bundle) = self.site.find(Path::new(bundle))? else {
            let note = format!("the file is there, but {bundle} is not: run {program}");
            return Ok(Sight::noted(Standing::CannotTell, note));
        };
        match keyfile::read_chain(&bundle) {
            Ok(chain) if chain.iter().any(|certificate| Mark::of(certificate) == *mark) => {
                Ok(Sight::of(Standing::Installed))
            }
            Ok(_) => {
                let note =
                    format!("the file is there, but not in {}: run {program}", bundle.display());
                Ok(Sight::noted(Standing::CannotTell, note))
            }
            Err(problem) => Ok(Sight::noted(Standing::CannotTell, problem.message())),
        }
    }
}

impl Keeper for Directory {
    fn place(&self) -> String {
        self.family.directory.to_owned()
    }

    fn steps(&self, anchor: &Anchor) -> Vec<String> {
        let run = self.rebuild(self.family.added).map_or_else(
            || self.to_run_in_the_image(self.family.added),
            |tool| format!("run {tool}"),
        );
        vec![format!("write {}", self.file(&anchor.mark).display()), run]
    }

    fn sight(&self, mark: &Mark) -> Result<Sight, Problem> {
        let file = self.file(mark);
        if disk::kind_at(&file)?.is_some() {
            if mark.is_all_of(&file)? {
                return self.taken_over(mark);
            }
            return Ok(Sight::noted(Standing::CannotTell, changed(&file)));
        }
        let names: Vec<_> = fs::read_dir(&self.path)
            .map_err(|error| {
                Problem::error(
                    Fault::CertsUnreadable,
                    format!("{} cannot be looked into: {error}", self.path.display()),
                    "run as a user who may",
                )
            })?
            .flatten()
            .map(|entry| entry.path())
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        Ok(Sight::missing(mark, names.iter().map(String::as_str)))
    }

    fn add(&self, anchor: &Anchor) -> Result<Option<String>, Problem> {
        let file = self.file(&anchor.mark);
        disk::create(&file, anchor.pem().as_bytes(), Secrecy::Public).map_err(as_root)?;
        self.rebuilt(self.family.added)
    }

    fn remove(&self, mark: &Mark) -> Result<Removal, Problem> {
        let file = self.file(mark);
        if disk::kind_at(&file)?.is_none() {
            // Rebuilding may have failed the last time.
            return match self.taken_over(mark)?.standing {
                Standing::Installed => self.rebuilt(self.family.removed).map(Removal::Removed),
                Standing::NotInstalled
                | Standing::AnotherInstalled
                | Standing::Absent
                | Standing::CannotTell => Ok(Removal::Gone),
            };
        }
        if !mark.is_all_of(&file)? {
            return Ok(Removal::LeftAlone(changed(&file)));
        }
        disk::remove_file(&file).map_err(as_root)?;
        self.rebuilt(self.family.removed).map(Removal::Removed)
    }
}

fn changed(file: &Path) -> String {
    format!("{} is not what was put there: somebody changed it", file.display())
}

/// Nobody owns the directories of a system but root.
fn as_root(problem: Problem) -> Problem {
    if problem.fault() != Fault::CertsUnwritable {
        return problem;
    }
    Problem::error(Fault::CertsUnwritable, problem.message(), "run it as root: sudo doorward …")
}

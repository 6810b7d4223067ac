//! The trust store of a Java: its file `cacerts`, by its program `keytool`.

use std::env;
use std::env::consts::EXE_SUFFIX;
use std::path::{Path, PathBuf};

use crate::pki::anchor::keeper::{Keeper, Removal, Sight, Standing};
use crate::pki::anchor::mark::{Anchor, Mark};
use crate::pki::anchor::site::Site;
use crate::pki::anchor::tool::Tool;
use crate::problem::Problem;

/// A `cacerts`.
pub(crate) struct Keystore {
    /// As it is on this system, every link followed.
    path: PathBuf,
    keytool: String,
}

/// Below the home of a Java; the second where an old one holds its runtime apart.
const WITHIN: [&str; 2] = ["lib/security/cacerts", "jre/lib/security/cacerts"];
/// What every Java is shipped with. It keeps nobody out; who may write the file is what counts.
const PASSWORD: &str = "changeit";

impl Keystore {
    /// The one of the site's Java; on the running system, of the Java whose `keytool` is found first.
    pub(crate) fn find(site: &Site) -> Result<Option<Self>, Problem> {
        let home = match (&site.java, &site.root) {
            (Some(home), _) => Some(home.clone()),
            (None, None) => home_of(search("keytool")),
            (None, Some(_)) => None,
        };
        let Some(home) = home else { return Ok(None) };
        for within in WITHIN {
            if let Some(found) = Self::at(&home.join(within), site)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The one with this path on the site, if it is there.
    pub(crate) fn at(path: &Path, site: &Site) -> Result<Option<Self>, Problem> {
        // What is recorded of an image is a path of this system, inside of the image.
        let inside = site.root.as_ref().and_then(|root| path.strip_prefix(root).ok());
        let found = site.find(inside.unwrap_or(path))?.filter(|path| path.is_file());
        let own = site.java.as_ref().filter(|_| site.root.is_none());
        let own = own
            .map(|home| home.join("bin").join(format!("keytool{EXE_SUFFIX}")))
            .filter(|path| path.is_file());
        let keytool = own.map_or_else(|| "keytool".to_owned(), |path| path.display().to_string());
        Ok(found.map(|path| Self { path, keytool }))
    }

    fn tool(&self, verb: &str, label: Option<&str>) -> Tool {
        let tool = Tool::new(&self.keytool, "a JDK, or JAVA_HOME where one is")
            .argument(verb)
            .argument("-keystore")
            .argument(&self.path)
            .arguments(["-storepass", PASSWORD]);
        match label {
            Some(label) => tool.arguments(["-alias", label]),
            None => tool,
        }
    }

    fn adding(&self, anchor: &Anchor) -> Tool {
        let tool = self.tool("-importcert", Some(&anchor.mark.label()));
        tool.argument("-noprompt").input(&anchor.pem())
    }

    /// The names of all certificates.
    fn names(&self) -> Result<Vec<String>, Problem> {
        let listed = self.tool("-list", None).run()?;
        let listed = String::from_utf8_lossy(&listed.output).into_owned();
        let is_name = |line: &&str| line.contains("trustedCertEntry");
        let name = |line: &str| line.split(',').next().map(str::to_owned);
        Ok(listed.lines().filter(is_name).filter_map(name).collect())
    }

    /// Whether the certificate under our name is ours.
    fn holds(&self, mark: &Mark) -> Result<bool, Problem> {
        let shown = self.tool("-exportcert", Some(&mark.label())).run()?;
        Ok(Mark::of(&shown.output) == *mark)
    }
}

impl Keeper for Keystore {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn steps(&self, anchor: &Anchor) -> Vec<String> {
        vec![format!("run {}, which reads the certificate", self.adding(anchor))]
    }

    fn sight(&self, mark: &Mark) -> Result<Sight, Problem> {
        let names = self.names()?;
        if !names.contains(&mark.label()) {
            return Ok(Sight::missing(mark, names.iter().map(String::as_str)));
        }
        if self.holds(mark)? {
            return Ok(Sight::of(Standing::Installed));
        }
        Ok(Sight::noted(Standing::CannotTell, changed(mark)))
    }

    fn add(&self, anchor: &Anchor) -> Result<Option<String>, Problem> {
        self.adding(anchor).run().map(|_| None)
    }

    fn remove(&self, mark: &Mark) -> Result<Removal, Problem> {
        if !self.names()?.contains(&mark.label()) {
            return Ok(Removal::Gone);
        }
        if !self.holds(mark)? {
            return Ok(Removal::LeftAlone(changed(mark)));
        }
        self.tool("-delete", Some(&mark.label())).run()?;
        Ok(Removal::Removed(None))
    }
}

/// A program as the system would find it.
fn search(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .map(|folder| folder.join(format!("{program}{EXE_SUFFIX}")))
        .find(|path| path.is_file())
}

/// The home of the Java that a `keytool` belongs to.
fn home_of(keytool: Option<PathBuf>) -> Option<PathBuf> {
    let keytool = keytool?.canonicalize().ok()?;
    keytool.parent()?.parent().map(Path::to_owned)
}

fn changed(mark: &Mark) -> String {
    format!("what is called {} there is another certificate: somebody changed it", mark.label())
}

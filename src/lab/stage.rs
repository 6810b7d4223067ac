//! Where a check is played: a copy of the learner's folder, ports, secrets, and visitors that stay in the house.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use super::knock::{Knock, Target};
use super::lan::Lan;
use super::look::Capture;
use super::pace::Pace;
use super::program::{Program, SECRETS};
use super::relay::Segment;
use super::seed::{Dice, Seed};
use super::variant::Variant;

/// Why a check cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The learner's work is why: a program that does not start, a file that cannot be read.
    Yours(String),
    /// This machine is why.
    Machine(String),
}

impl Stop {
    pub(crate) fn yours(why: impl Into<String>) -> Self {
        Self::Yours(why.into())
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
    pub(crate) fn machine(why: impl ToString) -> Self {
        Self::Machine(why.to_string())
    }
}

/// What one check of one folder is played on.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: TempDir,
    run: BTreeMap<String, Vec<String>>,
    lan: Lan,
    pace: Pace,
    variant: Variant,
    seed: Seed,
    confines: bool,
    /// Ports that this check opened or that belong to the learner's variant: an attack goes nowhere else.
    opened: RefCell<Vec<u16>>,
}

/// `lab.toml`, in every exercise's folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabFile {
    /// For the person who reads it.
    #[serde(rename = "exercise")]
    _exercise: String,
    #[serde(default)]
    run: BTreeMap<String, Vec<String>>,
}

/// What a check needs to know beside the learner's files.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) lan: Lan,
    pub(crate) pace: Pace,
    pub(crate) variant: Variant,
    /// The seed of this run.
    pub(crate) seed: Seed,
    /// Whether what is started is confined.
    pub(crate) confines: bool,
}

impl Stage {
    /// Copies the files to where the check can change them.
    ///
    /// # Errors
    /// [`Stop::Yours`] for a `lab.toml` that cannot be read, [`Stop::Machine`] where the copy cannot be made.
    pub(crate) fn set(files: &BTreeMap<String, Vec<u8>>, setting: &Setting) -> Result<Self, Stop> {
        let folder = TempDir::with_prefix("doorward-lab-").map_err(Stop::machine)?;
        for (name, bytes) in files {
            write(folder.path(), name, bytes).map_err(Stop::machine)?;
        }
        let text = files.get("lab.toml").ok_or_else(|| Stop::yours("lab.toml is missing"))?;
        let file: LabFile = toml::from_str(&String::from_utf8_lossy(text))
            .map_err(|error| Stop::yours(format!("lab.toml: {}", error.message())))?;
        let Setting { lan, pace, variant, seed, confines } = setting.clone();
        let opened = RefCell::new(variant.ports());
        Ok(Self { folder, run: file.run, lan, pace, variant, seed, confines, opened })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn lan(&self) -> &Lan {
        &self.lan
    }

    /// So long on a quiet machine, and longer on this one where it is slow.
    pub(crate) fn patience(&self, quiet: Duration) -> Duration {
        self.pace.stretch(quiet)
    }

    /// Dice of this run, for one purpose.
    pub(crate) fn dice(&self, purpose: &str) -> Dice {
        self.seed.dice(purpose)
    }

    /// A word of this run that nobody can guess.
    pub(crate) fn secret(&self, purpose: &str) -> String {
        self.dice(purpose).word(16)
    }

    /// A value of the learner's variant.
    ///
    /// # Errors
    /// [`Stop::Machine`] where the exercise has none of that name, which is the author's mistake.
    pub(crate) fn value(&self, name: &str) -> Result<&str, Stop> {
        let value = self.variant.value(name);
        value.ok_or_else(|| Stop::machine(format!("the exercise has no {{{{{name}}}}}")))
    }

    /// A port of the learner's variant.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub(crate) fn port(&self, name: &str) -> Result<u16, Stop> {
        let value = self.value(name)?;
        value.parse().map_err(|_| Stop::machine(format!("{{{{{name}}}}} is no port")))
    }

    /// Puts a file into the copy, in place of the learner's.
    ///
    /// # Errors
    /// [`Stop::Machine`] where it cannot be written.
    pub(crate) fn give(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), Stop> {
        write(self.path(), name, bytes.as_ref()).map_err(Stop::machine)
    }

    /// A file of the learner's.
    ///
    /// # Errors
    /// [`Stop::Yours`] where it cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<String, Stop> {
        fs::read_to_string(self.path().join(name))
            .map_err(|error| Stop::yours(format!("{name} cannot be read: {error}")))
    }

    /// A file of the learner's, as TOML of this form.
    ///
    /// # Errors
    /// [`Stop::Yours`] where it cannot be read, or is not of this form.
    pub(crate) fn read_toml<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Stop> {
        toml::from_str(&self.read(name)?)
            .map_err(|error| Stop::yours(format!("{name}: {}", error.to_string().trim())))
    }

    /// The learner's command for this part, as `lab.toml` has it.
    ///
    /// # Errors
    /// [`Stop::Yours`] where there is none.
    fn command(&self, role: &str) -> Result<&[String], Stop> {
        let command = self.run.get(role).map(Vec::as_slice);
        command.ok_or_else(|| Stop::yours(format!("lab.toml has no {role} in [run]")))
    }

    /// What a relay recorded, with the secrets that the learner's programs wrote down for it.
    pub(crate) fn capture(&self, segments: Vec<Segment>) -> Capture {
        let secrets = fs::read_to_string(self.path().join(SECRETS)).unwrap_or_default();
        Capture { segments, secrets }
    }

    /// Starts the learner's program for this part. `{name}` in an argument becomes the value given here.
    ///
    /// # Errors
    /// [`Stop::Yours`] where there is none or it does not start.
    pub(crate) fn start(&self, role: &str, values: &[(&str, String)]) -> Result<Program, Stop> {
        let fill = |word: &String| {
            let replace = |word: String, (name, value): &(&str, String)| {
                word.replace(&format!("{{{name}}}"), value)
            };
            values.iter().fold(word.clone(), replace)
        };
        let command: Vec<_> = self.command(role)?.iter().map(fill).collect();
        Program::start(role, &command, self.path(), self.confines)
    }

    /// Starts the learner's server, and waits until one of these addresses is open at `port`.
    ///
    /// # Errors
    /// [`Stop::Yours`] where it ends, or opens nothing in time.
    pub(crate) async fn serve(
        &self,
        role: &str,
        at: &[IpAddr],
        port: u16,
    ) -> Result<Program, Stop> {
        let mut server = self.start(role, &[])?;
        let limit = self.patience(START);
        loop {
            for ip in at {
                let target = self.aim(SocketAddr::new(*ip, port))?;
                if target.is_open(self.patience(Duration::from_millis(200))).await {
                    return Ok(server);
                }
            }
            if let Some(status) = server.ended(POLL).await {
                let words = server.last_words();
                return Err(Stop::yours(format!(
                    "your {role} ended ({status}) before it served anybody: {words}"
                )));
            }
            if server.age() > limit {
                let words = server.last_words();
                return Err(Stop::yours(format!(
                    "your {role} opened none of its addresses at port {port} within {} s. {words}",
                    limit.as_secs()
                )));
            }
        }
    }

    /// Permission to visit or attack this address: it is in the house, and its port belongs to this check.
    ///
    /// # Errors
    /// [`Stop::Machine`] for anything else. No flag lifts this.
    pub(crate) fn aim(&self, at: SocketAddr) -> Result<Target, Stop> {
        if !self.lan.holds(at.ip()) {
            return Err(Stop::machine(format!("{at} is not in this lab, so it is not visited")));
        }
        if !self.opened.borrow().contains(&at.port()) {
            return Err(Stop::machine(format!("port {} was not opened by this lab", at.port())));
        }
        Ok(Target::new(at))
    }

    /// Takes note of a port that the check itself has opened.
    pub(crate) fn opened(&self, port: u16) {
        self.opened.borrow_mut().push(port);
    }

    /// Knocks at every address of the LAN, each time from that same address, and says what was found at each.
    ///
    /// # Errors
    /// As [`aim`](Self::aim).
    pub(crate) async fn knock_everywhere(&self, port: u16) -> Result<Vec<(IpAddr, Knock)>, Stop> {
        let mut found = Vec::new();
        for ip in self.lan.addresses() {
            let target = self.aim(SocketAddr::new(ip, port))?;
            found.push((ip, target.knock(Some(ip), self.patience(LISTEN)).await));
        }
        Ok(found)
    }
}

/// The words of the commands in a `lab.toml`, among which are the files that they start.
pub(crate) fn run_names(lab: &[u8]) -> Vec<String> {
    let file: Option<LabFile> = toml::from_str(&String::from_utf8_lossy(lab)).ok();
    file.map(|file| file.run.into_values().flatten().collect()).unwrap_or_default()
}

/// Writes a file below the folder, with the folders it needs.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path: PathBuf = name.split('/').fold(folder.to_owned(), |path, part| path.join(part));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, bytes)?;
    #[cfg(unix)]
    if name.ends_with("key.pem") {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// A program in an interpreted language on a school's machine needs a second or two.
const START: Duration = Duration::from_secs(5);
/// Between two looks at a program that has opened nothing yet.
const POLL: Duration = Duration::from_millis(10);
/// A service on the same machine that has something to say has said it by then.
const LISTEN: Duration = Duration::from_millis(500);

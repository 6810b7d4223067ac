//! The exercises, as they lie in `labs`: each a folder with its task, its start, solutions and wrong answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use include_dir::{Dir, DirEntry, include_dir};
use serde::Deserialize;

use super::verdict::Gate;

/// What is in the binary.
static LABS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/labs");

/// An exercise: what its `exercise.toml` says, and the files beside it.
#[derive(Clone, Debug)]
pub(crate) struct Exercise {
    /// `03`.
    pub(crate) number: String,
    /// `03-who-can-reach-me`.
    pub(crate) folder: String,
    pub(crate) about: About,
    /// Every file below the folder, by its path in it, with forward slashes.
    files: BTreeMap<String, Vec<u8>>,
}

/// `exercise.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct About {
    /// A few words.
    pub(crate) title: String,
    /// One sentence: what will be asked of the learner.
    pub(crate) task: String,
    pub(crate) track: Track,
    /// From 1, a beginner, to 4.
    pub(crate) level: u8,
    pub(crate) minutes: u16,
    /// What one does in it.
    pub(crate) how: Vec<How>,
    /// The room that the attack must be stopped in.
    pub(crate) room: Gate,
    /// The statements of the text that it is about: `S9`.
    pub(crate) statements: Vec<String>,
    /// Three, from a question to nearly the answer.
    pub(crate) hints: [String; 3],
    /// The name of the check in this program; the exercise's own number without it.
    #[serde(default)]
    pub(crate) check: Option<String>,
    /// How long one check may take, in seconds, where two are not enough; judged at the author's, not the learner's.
    #[serde(default = "two")]
    pub(crate) seconds: u16,
    /// The files that each check makes anew in a copy of the learner's folder.
    #[serde(default, rename = "given")]
    _given: Vec<String>,
    /// The files that are the learner's answer and are handed in; every other is thrown away at marking.
    pub(crate) artefacts: Vec<String>,
    #[serde(default)]
    pub(crate) predictions: Vec<Prediction>,
    #[serde(default)]
    pub(crate) cards: Vec<Card>,
    #[serde(default)]
    pub(crate) misconceptions: Vec<Misconception>,
}

fn two() -> u16 {
    2
}

/// The four wings of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Track {
    Sockets,
    Gates,
    Secrets,
    Siege,
}

impl Track {
    pub(crate) const ALL: [Self; 4] = [Self::Sockets, Self::Gates, Self::Secrets, Self::Siege];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Gates => "gates",
            Self::Secrets => "secrets",
            Self::Siege => "siege",
        }
    }
}

/// What one does in an exercise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// Edits a configuration.
    Config,
    /// Types commands.
    Commands,
    /// Writes a program, in any language.
    Program,
    /// Reads a capture or a log.
    Capture,
}

impl How {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Commands => "commands",
            Self::Program => "program",
            Self::Capture => "capture",
        }
    }
}

/// A question to be answered before anything is measured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prediction {
    pub(crate) ask: String,
    pub(crate) choices: Vec<String>,
    /// What is measured, shown only afterwards.
    pub(crate) truth: String,
}

/// A sentence of the textbook that the learner can now judge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Card {
    /// The statement's number.
    pub(crate) statement: String,
    pub(crate) says: String,
    pub(crate) measured: String,
}

/// A known wrong answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Misconception {
    /// `M03-LIST-ONLY`; the folder in `wrong` has the same name.
    pub(crate) code: String,
    pub(crate) means: String,
    pub(crate) look: String,
}

impl Exercise {
    /// Every exercise of this program, in their order.
    ///
    /// # Errors
    /// In words, where a folder is not an exercise.
    pub(crate) fn all() -> Result<Vec<Self>, String> {
        let mut all = LABS.dirs().map(Self::embedded).collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|one, other| one.folder.cmp(&other.folder));
        Ok(all)
    }

    /// The exercise with this number or folder name; `3` is `03`.
    ///
    /// # Errors
    /// In words, where there is none.
    pub(crate) fn find(wanted: &str) -> Result<Self, String> {
        let all = Self::all()?;
        let known =
            all.iter().map(|exercise| exercise.number.as_str()).collect::<Vec<_>>().join(" ");
        let two = format!("{wanted:0>2}");
        let found = all.into_iter().find(|one| one.number == two || one.folder == wanted);
        found.ok_or_else(|| format!("there is no exercise {wanted}; there are {known}"))
    }

    /// An exercise of somebody else, from its folder.
    ///
    /// # Errors
    /// In words, where it cannot be read.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        collect(folder, folder, &mut files)
            .map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Self::new(name.to_owned(), files)
    }

    fn embedded(dir: &Dir<'_>) -> Result<Self, String> {
        let folder = dir.path().display().to_string();
        let mut files = BTreeMap::new();
        flatten(dir, dir.path(), &mut files);
        Self::new(folder, files)
    }

    fn new(folder: String, files: BTreeMap<String, Vec<u8>>) -> Result<Self, String> {
        let text = files.get("exercise.toml").map(|bytes| String::from_utf8_lossy(bytes));
        let text = text.ok_or_else(|| format!("{folder} has no exercise.toml"))?;
        let about =
            toml::from_str(&text).map_err(|error| format!("{folder}/exercise.toml: {error}"))?;
        let number = folder.split('-').next().unwrap_or_default().to_owned();
        Ok(Self { number, folder, about, files })
    }

    /// The name of what checks it.
    pub(crate) fn check(&self) -> &str {
        self.about.check.as_deref().unwrap_or(&self.number)
    }

    /// A text beside `exercise.toml`.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The files of a folder in it, by their paths in that folder.
    pub(crate) fn folder(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let below = |(path, bytes): (&String, &Vec<u8>)| {
            let rest = path.strip_prefix(name)?.strip_prefix('/')?;
            Some((rest.to_owned(), bytes.clone()))
        };
        self.files.iter().filter_map(below).collect()
    }

    /// The start state with the files of another folder laid over it.
    pub(crate) fn overlaid(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.folder("start");
        files.extend(self.folder(name));
        files
    }

    /// The folders whose names begin with this, such as every solution.
    pub(crate) fn folders(&self, beginning: &str) -> Vec<String> {
        let depth = beginning.matches('/').count().saturating_add(1);
        let named = |path: &String| {
            let parts: Vec<_> = path.split('/').collect();
            let folder = parts.get(..depth)?.join("/");
            (parts.len() > depth && folder.starts_with(beginning)).then_some(folder)
        };
        let mut folders: Vec<_> = self.files.keys().filter_map(named).collect();
        folders.dedup();
        folders
    }

    /// What is known of a wrong answer.
    pub(crate) fn misconception(&self, code: &str) -> Option<&Misconception> {
        self.about.misconceptions.iter().find(|known| known.code == code)
    }
}

/// The files of an embedded folder.
fn flatten(dir: &Dir<'_>, root: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => flatten(dir, root, files),
            DirEntry::File(file) => {
                let path = file.path().strip_prefix(root).unwrap_or(file.path());
                files.insert(slashed(path), file.contents().to_vec());
            }
        }
    }
}

/// The files of a folder on the disk; links are not followed.
fn collect(at: &Path, root: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let path: PathBuf = entry.path();
        if kind.is_dir() {
            collect(&path, root, files)?;
        } else if kind.is_file() {
            let name = path.strip_prefix(root).unwrap_or(&path);
            files.insert(slashed(name), fs::read(&path)?);
        }
    }
    Ok(())
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

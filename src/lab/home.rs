//! The learner's folder: one folder an exercise, and the journal of what was done.

use std::fs;
use std::path::{Path, PathBuf};

use doorward::peer::PeerText;

use super::catalogue::Exercise;
use super::check::{Files, variant};
use super::class::ticket::Ticket;
use super::journal::{Event, Journal};
use super::seed::Seed;
use super::stage::write;

/// Where a learner works.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    pub(crate) journal: Journal,
}

impl Home {
    /// The folder that is named; else this one or one above it that has a journal; else `doorward-lab` here.
    ///
    /// # Errors
    /// In words, where the journal cannot be read.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, String> {
        let here = std::env::current_dir().map_err(|error| error.to_string())?;
        let has_journal = |folder: &&Path| folder.join(JOURNAL).is_file();
        let above = here.ancestors().find(has_journal).map(Path::to_owned);
        let path = named.map(Path::to_owned).or(above).unwrap_or_else(|| here.join(NAME));
        let journal = Journal::read(&path.join(JOURNAL))?;
        Ok(Self { path, journal })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where an exercise's files are, or would be.
    pub(crate) fn folder(&self, exercise: &Exercise) -> PathBuf {
        self.path.join(&exercise.folder)
    }

    /// The exercise whose folder we are in, if we are in one.
    pub(crate) fn standing_in(&self) -> Option<String> {
        let here = std::env::current_dir().ok()?;
        let inside = here.strip_prefix(self.path.canonicalize().ok()?).ok()?;
        inside.components().next()?.as_os_str().to_str().map(str::to_owned)
    }

    /// The seed of this learner's variants; the first use makes it.
    ///
    /// # Errors
    /// In words, where the journal cannot be written.
    pub(crate) fn seed(&mut self) -> Result<Seed, String> {
        if let Some(seed) = self.journal.seed() {
            return Ok(seed);
        }
        let seed = Seed::fresh();
        fs::create_dir_all(&self.path)
            .map_err(|error| format!("{} cannot be made: {error}", self.path.display()))?;
        self.journal.add(&Event::Began { seed: seed.to_string() })?;
        Ok(seed)
    }

    /// The ticket of the class that was joined last.
    ///
    /// # Errors
    /// In words: no class was joined, or the ticket was changed.
    pub(crate) fn ticket(&self) -> Result<Ticket, String> {
        let path = self.path.join(TICKET);
        if !path.is_file() {
            return Err(
                "you have joined no class: doorward lab join FILE, with your teacher's ticket"
                    .to_owned(),
            );
        }
        Ticket::read(&path)
    }

    /// Keeps the ticket of a class.
    ///
    /// # Errors
    /// In words, where it cannot be written.
    pub(crate) fn join(&self, ticket: &Ticket) -> Result<(), String> {
        let path = self.path.join(TICKET);
        fs::create_dir_all(&self.path)
            .and_then(|()| fs::write(&path, ticket.text()))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }

    /// Writes the start state of an exercise. A folder that exists is left as it is.
    ///
    /// # Errors
    /// In words: the folder exists already, or cannot be written.
    pub(crate) fn start(&mut self, exercise: &Exercise) -> Result<PathBuf, String> {
        let folder = self.folder(exercise);
        if folder.exists() {
            return Err(format!(
                "{} is there already; to begin again, doorward lab reset {}",
                folder.display(),
                exercise.number
            ));
        }
        let variant = variant(exercise, &self.seed()?);
        let mut files = exercise.folder("start");
        if let Some(task) = exercise.text("task.md") {
            files.insert("task.md".to_owned(), task.into_bytes());
        }
        for (name, bytes) in variant.fill_all(&files) {
            write(&folder, &name, &bytes).map_err(|error| {
                format!("{}/{name} cannot be written: {error}", folder.display())
            })?;
        }
        self.journal.add(&Event::Started { exercise: exercise.number.clone() })?;
        Ok(folder)
    }

    /// The learner's files as they are now.
    ///
    /// # Errors
    /// In words: the exercise was not started, or its folder holds more than any answer needs.
    pub(crate) fn files(&self, exercise: &Exercise) -> Result<Files, String> {
        let folder = self.folder(exercise);
        if !folder.is_dir() {
            let number = &exercise.number;
            return Err(format!("exercise {number} was not started: doorward lab start {number}"));
        }
        read_folder(&folder)
    }
}

/// Every plain file below a folder. Links are not followed; caches and hidden files are left out.
///
/// # Errors
/// In words, where it holds more than any answer needs, or cannot be read.
pub(crate) fn read_folder(folder: &Path) -> Result<Files, String> {
    let mut files = Files::new();
    let mut size = 0_u64;
    let mut open = vec![(folder.to_owned(), String::new())];
    while let Some((at, prefix)) = open.pop() {
        let entries = fs::read_dir(&at).map_err(|error| format!("{}: {error}", at.display()))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(about) = entry.metadata() else { continue };
            if name.starts_with('.') || IGNORED.contains(&name.as_str()) {
                continue;
            }
            let inside = format!("{prefix}{name}");
            if about.is_dir() {
                open.push((entry.path(), format!("{inside}/")));
            } else if about.is_file() {
                size = size.saturating_add(about.len());
                if files.len() >= MOST_FILES || size > MOST_BYTES {
                    let shown = PeerText::escaped(inside.as_bytes());
                    return Err(format!(
                        "{} holds more than {MOST_FILES} files or 8 MiB (at {shown}): an answer is smaller",
                        folder.display()
                    ));
                }
                let bytes = fs::read(entry.path());
                files.insert(inside, bytes.map_err(|error| format!("{name}: {error}"))?);
            }
        }
    }
    Ok(files)
}

const JOURNAL: &str = "progress.jsonl";
const TICKET: &str = "class.ticket";
const NAME: &str = "doorward-lab";
/// What tools leave behind.
const IGNORED: [&str; 3] = ["__pycache__", "node_modules", "target"];
const MOST_FILES: usize = 200;
const MOST_BYTES: u64 = 8 * 1024 * 1024;

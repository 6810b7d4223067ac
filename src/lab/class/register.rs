//! The class's own folder: its key, what it was told, and who has a ticket.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use doorward::pki::{Key, KeyType};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::ticket::{Claims, Ticket, day, is_id};
use crate::lab::catalogue::Exercise;
use crate::lab::seed::{Seed, hex};

/// A class.
#[derive(Debug)]
pub(crate) struct Class {
    folder: PathBuf,
    pub(crate) about: About,
    key: Ed25519KeyPair,
    /// What every learner's seed comes from.
    secret: Seed,
}

/// `class.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    pub(crate) name: String,
    /// The numbers of the exercises that count.
    pub(crate) exercises: Vec<String>,
    /// The last day for handing in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<String>,
}

impl Class {
    /// Makes the folder of a new class, with a key of its own.
    ///
    /// # Errors
    /// In words: the folder is there, an exercise or the day is none, or it cannot be written.
    pub(crate) fn create(
        folder: &Path,
        exercises: &[String],
        due: Option<&str>,
    ) -> Result<Self, String> {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !is_id(name) {
            return Err(format!(
                "{} cannot be the name of a class: use letters, digits, dots and dashes",
                folder.display()
            ));
        }
        let mut numbers = Vec::new();
        for wanted in exercises {
            numbers.push(Exercise::find(wanted)?.number);
        }
        if numbers.is_empty() {
            numbers = Exercise::all()?.into_iter().map(|one| one.number).collect();
        }
        if let Some(due) = due {
            day(due)?;
        }
        let about =
            About { name: name.to_owned(), exercises: numbers, due: due.map(str::to_owned) };
        let key = Key::generate(KeyType::Ed25519).map_err(|problem| problem.to_string())?;
        if folder.exists() {
            return Err(format!("{} is there already", folder.display()));
        }
        let failed =
            |error: std::io::Error| format!("{} cannot be made: {error}", folder.display());
        fs::create_dir(folder).map_err(failed)?;
        let text = toml::to_string(&about).map_err(|error| error.to_string())?;
        fs::write(folder.join(ABOUT), text).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(folder.join(KEY)).map_err(failed)?;
        file.write_all(key.to_pem().as_bytes()).map_err(failed)?;
        Self::open(folder)
    }

    /// Opens a class's folder.
    ///
    /// # Errors
    /// In words: it is none, or its key cannot be read.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        let path = folder.join(ABOUT);
        let text = fs::read_to_string(&path).map_err(|error| {
            format!("{} is no class ({error}): doorward class new makes one", folder.display())
        })?;
        let about: About =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let path = folder.join(KEY);
        let unreadable = |why: String| format!("{} cannot be read: {why}", path.display());
        let pem = fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
        let der =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unreadable(error.to_string()))?;
        let key = Ed25519KeyPair::from_pkcs8(der.secret_der())
            .map_err(|error| unreadable(error.to_string()))?;
        let sum = digest::digest(&digest::SHA256, der.secret_der());
        let secret = Seed::of(sum.as_ref()).derive("doorward class");
        Ok(Self { folder: folder.to_owned(), about, key, secret })
    }

    /// A file or folder of the class.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The seed of a learner's variants.
    pub(crate) fn seed(&self, id: &str) -> Seed {
        self.secret.derive(&format!("learner {id}"))
    }

    /// A learner's ticket.
    pub(crate) fn ticket(&self, id: &str) -> Ticket {
        let claims = Claims {
            class: self.about.name.clone(),
            id: id.to_owned(),
            seed: self.seed(id).to_string(),
            exercises: self.about.exercises.clone(),
            due: self.about.due.clone(),
        };
        Ticket::sign(claims, &self.key)
    }

    /// Whether this class has issued the ticket, whose signature fits its own key already.
    ///
    /// # Errors
    /// In words, why not.
    pub(crate) fn admits(&self, ticket: &Ticket) -> Result<(), String> {
        if ticket.key != hex(self.key.public_key().as_ref()) {
            return Err("its ticket is signed by another key than this class's".to_owned());
        }
        if ticket.claims.class != self.about.name {
            return Err(format!("its ticket is for the class {}", ticket.claims.class));
        }
        if ticket.claims.seed != self.seed(&ticket.claims.id).to_string() {
            return Err("its ticket has a seed that this class does not give".to_owned());
        }
        Ok(())
    }

    /// Writes a ticket for everybody in a list, and says how many there are.
    ///
    /// # Errors
    /// In words: the list cannot be read or names somebody twice, or a ticket cannot be written.
    pub(crate) fn issue(&self, roster: &Path) -> Result<usize, String> {
        let ids = roster_ids(roster)?;
        let folder = self.path(TICKETS);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        for id in &ids {
            let path = folder.join(format!("{id}.ticket"));
            fs::write(&path, self.ticket(id).text())
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        }
        Ok(ids.len())
    }

    /// Everybody who has a ticket.
    pub(crate) fn learners(&self) -> Vec<String> {
        let named = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".ticket").filter(|id| is_id(id)).map(str::to_owned)
        };
        let entries = fs::read_dir(self.path(TICKETS)).into_iter().flatten().flatten();
        let mut ids: Vec<_> = entries.filter_map(named).collect();
        ids.sort();
        ids
    }

    /// The exercises that count.
    ///
    /// # Errors
    /// In words, where this program has one no longer.
    pub(crate) fn exercises(&self) -> Result<Vec<Exercise>, String> {
        self.about.exercises.iter().map(|number| Exercise::find(number)).collect()
    }
}

/// The column `id` of a list.
fn roster_ids(path: &Path) -> Result<Vec<String>, String> {
    let shown = path.display();
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let headers = reader.headers().map_err(|error| format!("{shown}: {error}"))?;
    let is_column = |name: &str| name.trim_start_matches('\u{feff}').eq_ignore_ascii_case("id");
    let column = headers.iter().position(is_column).ok_or_else(|| {
        format!("{shown} has no column id: its first line must name it, such as id,name")
    })?;
    let mut ids: Vec<String> = Vec::new();
    for (line, record) in (2_usize..).zip(reader.records()) {
        let record = record.map_err(|error| format!("{shown}: {error}"))?;
        let id = record.get(column).unwrap_or_default();
        if !is_id(id) {
            return Err(format!(
                "{shown}:{line}: an id has up to 64 letters, digits, dots, dashes and underscores, and begins with a letter or digit"
            ));
        }
        // Each becomes a file's name, and not every system tells a from A in one.
        if let Some(twin) = ids.iter().find(|known| known.eq_ignore_ascii_case(id)) {
            return Err(format!("{shown}:{line}: {id} is there already, as {twin}"));
        }
        ids.push(id.to_owned());
    }
    if ids.is_empty() { Err(format!("{shown} names nobody")) } else { Ok(ids) }
}

const ABOUT: &str = "class.toml";
const KEY: &str = "class.key";
const TICKETS: &str = "tickets";

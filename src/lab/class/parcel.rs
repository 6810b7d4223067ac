//! A submission: one file with the ticket, the journal and the answers, read as what it is, a stranger's.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Seek, Write};
use std::path::Path;

use doorward::peer::PeerText;
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::ticket::Ticket;
use crate::lab::catalogue::Exercise;
use crate::lab::check::Files;
use crate::lab::home::Home;
use crate::lab::journal::{Journal, now};
use crate::lab::stage::run_names;

/// What was handed in.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) manifest: Manifest,
    pub(crate) ticket: Ticket,
    pub(crate) journal: Journal,
    /// The answers, by the folders of their exercises.
    pub(crate) work: BTreeMap<String, Files>,
}

/// What the learner's program says of the parcel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The form of the file, which is [`FORMAT`].
    pub(crate) format: u32,
    /// The version of the program that made it.
    pub(crate) version: String,
    /// When it was made, in seconds since 1970, as the learner's clock had it.
    pub(crate) made: u64,
}

impl Parcel {
    /// What there is to hand in, from the learner's folder.
    ///
    /// # Errors
    /// In words: an exercise's folder cannot be read, or nothing was started.
    pub(crate) fn collect(home: &Home, ticket: Ticket) -> Result<Self, String> {
        let mut work = BTreeMap::new();
        for number in &ticket.claims.exercises {
            let Ok(exercise) = Exercise::find(number) else { continue };
            if home.folder(&exercise).is_dir() {
                let files = answer(&exercise, home.files(&exercise)?);
                work.insert(exercise.folder.clone(), files);
            }
        }
        if work.is_empty() {
            let list = ticket.claims.exercises.join(" ");
            return Err(format!("none of the class's exercises was started: {list}"));
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let manifest = Manifest { format: FORMAT, version, made: now() };
        Ok(Self { manifest, ticket, journal: home.journal.clone(), work })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// In words, where they cannot be made.
    pub(crate) fn pack(&self) -> Result<Vec<u8>, String> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let manifest = serde_json::to_string(&self.manifest).unwrap_or_default();
        put(&mut zip, MANIFEST, manifest.as_bytes())?;
        put(&mut zip, TICKET, self.ticket.text().as_bytes())?;
        put(&mut zip, JOURNAL, self.journal.text().as_bytes())?;
        for (folder, files) in &self.work {
            for (name, bytes) in files {
                put(&mut zip, &format!("{WORK}{folder}/{name}"), bytes)?;
            }
        }
        let done = zip.finish().map_err(|error| format!("it cannot be packed: {error}"))?;
        Ok(done.into_inner())
    }

    /// Reads a submission's file. Nothing of it is written anywhere.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
        let mut bytes = Vec::new();
        file.take(MOST_PACKED.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| format!("cannot be read: {error}"))?;
        if u64::try_from(bytes.len()).is_ok_and(|size| size > MOST_PACKED) {
            return Err("is larger than 16 MiB; a submission is smaller".to_owned());
        }
        Self::unpack(bytes)
    }

    /// The same from its bytes.
    fn unpack(bytes: Vec<u8>) -> Result<Self, String> {
        let mut parts = unpacked(bytes)?;
        let mut part = |name: &str| {
            parts.remove(name).ok_or_else(|| format!("is no submission: it has no {name}"))
        };
        let manifest: Manifest = serde_json::from_slice(&part(MANIFEST)?)
            .map_err(|error| format!("has a {MANIFEST} that cannot be read: {error}"))?;
        if manifest.format != FORMAT {
            return Err(format!(
                "was made by another version of doorward ({}): hand it in again with this one",
                PeerText::escaped(manifest.version.as_bytes())
            ));
        }
        let ticket = Ticket::parse(&part(TICKET)?)
            .map_err(|why| format!("has a ticket that cannot be believed: {why}"))?;
        let journal = part(JOURNAL)?;
        let journal = Journal::parse(&String::from_utf8_lossy(&journal))
            .map_err(|why| format!("has a journal that cannot be read: line {why}"))?;
        let mut work: BTreeMap<String, Files> = BTreeMap::new();
        for (name, bytes) in parts {
            let inside = name.strip_prefix(WORK).and_then(|name| name.split_once('/'));
            let (folder, name) =
                inside.ok_or_else(|| format!("holds {}, which is no answer", shown(&name)))?;
            work.entry(folder.to_owned()).or_default().insert(name.to_owned(), bytes);
        }
        Ok(Self { manifest, ticket, journal, work })
    }
}

/// What of a learner's files is the answer: what the exercise asks for, and what `lab.toml` starts.
pub(crate) fn answer(exercise: &Exercise, mut files: Files) -> Files {
    let named = files.get("lab.toml").map(|text| run_names(text)).unwrap_or_default();
    files.retain(|name, _| exercise.about.artefacts.contains(name) || named.contains(name));
    files
}

fn put(zip: &mut ZipWriter<impl Write + Seek>, name: &str, bytes: &[u8]) -> Result<(), String> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file(name, options)
        .map_err(|error| error.to_string())
        .and_then(|()| zip.write_all(bytes).map_err(|error| error.to_string()))
        .map_err(|error| format!("{name} cannot be packed: {error}"))
}

/// Every part of the file by its name, as long as all of it stays within what an honest one needs.
fn unpacked(bytes: Vec<u8>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let broken = |error: zip::result::ZipError| format!("is damaged, or no submission: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > MOST_PARTS {
        return Err(format!(
            "holds {} files; a submission has at most {MOST_PARTS}",
            archive.len()
        ));
    }
    let mut parts = BTreeMap::new();
    let mut lowered = std::collections::BTreeSet::new();
    let mut left = MOST_UNPACKED;
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(broken)?;
        let name = part.name().map_err(broken)?.into_owned();
        if part.is_dir() || part.is_symlink() || !is_inside(&name) {
            return Err(format!("holds {}, which would lead elsewhere", shown(&name)));
        }
        if !lowered.insert(name.to_lowercase()) {
            return Err(format!("holds {} twice", shown(&name)));
        }
        let most = MOST_PART.min(left);
        let mut content = Vec::new();
        // What it says of its size is not believed: it is read up to what is allowed, and not further.
        part.take(most.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|error| format!("is damaged at {}: {error}", shown(&name)))?;
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if size > most {
            return Err(format!("unpacks to more than a submission holds, at {}", shown(&name)));
        }
        left = left.saturating_sub(size);
        parts.insert(name, content);
    }
    Ok(parts)
}

/// Whether a name stays inside the folder it is unpacked to, on every system.
fn is_inside(name: &str) -> bool {
    let usual = |c: char| !c.is_control() && !['\\', ':'].contains(&c);
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.len() <= MOST_NAME && name.chars().all(usual) && name.split('/').all(part)
}

fn shown(name: &str) -> String {
    PeerText::escaped(name.as_bytes()).chars().take(80).collect()
}

/// The form of the file that this program writes and reads.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const TICKET: &str = "ticket.json";
const JOURNAL: &str = "progress.jsonl";
const WORK: &str = "work/";
/// Every exercise with ten times the files it asks for.
const MOST_PARTS: usize = 1000;
const MOST_NAME: usize = 200;
/// In bytes: one part, the file itself, and all parts together.
const MOST_PART: u64 = 4 * 1024 * 1024;
const MOST_PACKED: u64 = 16 * 1024 * 1024;
const MOST_UNPACKED: u64 = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn zipped(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in parts {
            put(&mut zip, name, bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn a_part_that_leads_elsewhere_is_refused() {
        for name in [
            "../class.key",
            "work/../../class.key",
            "/etc/passwd",
            "work/03/./x",
            "work//x",
            "C:/x",
            "work\\..\\x",
            "work/03/a\nb",
            "work/03/",
            &format!("work/{}", "x".repeat(200)),
        ] {
            assert!(!is_inside(name), "{name}");
            let why = unpacked(zipped(&[(name, b"x")])).unwrap_err();
            assert!(why.contains("would lead elsewhere"), "{name}: {why}");
        }
        assert!(is_inside("work/03-who-can-reach-me/server.py"));
    }

    #[test]
    fn a_link_is_refused() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_symlink("work/03/notes", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        let why = unpacked(zip.finish().unwrap().into_inner()).unwrap_err();
        assert!(why.contains("would lead elsewhere"), "{why}");
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let zeros = vec![0; usize::try_from(MOST_PART).unwrap() + 1];
        let bomb = zipped(&[("work/03/bomb", &zeros)]);
        assert!(bomb.len() < 16 * 1024);
        assert!(unpacked(bomb).unwrap_err().contains("more than a submission holds"));
        let some = &zeros[..usize::try_from(MOST_PART).unwrap()];
        let names: Vec<_> = (0..9).map(|number| format!("work/03/{number}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), some)).collect();
        assert!(unpacked(zipped(&many)).unwrap_err().contains("more than a submission holds"));
        let names: Vec<_> = (0..=MOST_PARTS).map(|number| format!("work/03/{number}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        assert!(unpacked(zipped(&many)).unwrap_err().contains("at most 1000"));
    }

    #[test]
    fn a_size_that_lies_is_not_believed() {
        // The claimed sizes of the one part, in its local header and in the directory, become one byte.
        let zeros = vec![0; usize::try_from(MOST_PART).unwrap() + 1];
        let mut bomb = zipped(&[("work/03/bomb", &zeros)]);
        let claimed = u32::try_from(zeros.len()).unwrap().to_le_bytes();
        let places: Vec<_> =
            (0..bomb.len() - 4).filter(|at| bomb[*at..*at + 4] == claimed).collect();
        assert_eq!(places.len(), 2);
        for at in places {
            bomb[at..at + 4].copy_from_slice(&1_u32.to_le_bytes());
        }
        // Refused, or cut at the byte it claimed: never unpacked whole.
        assert!(unpacked(bomb).map_or(true, |parts| parts["work/03/bomb"].len() <= 1));
    }

    #[test]
    fn names_that_some_systems_take_for_one_are_refused() {
        let why = unpacked(zipped(&[("work/03/a", b"1"), ("work/03/A", b"2")])).unwrap_err();
        assert!(why.contains("twice"), "{why}");
    }

    #[test]
    fn what_is_no_zip_is_said_so() {
        for bytes in [Vec::new(), b"PK".to_vec(), vec![0; 1000]] {
            assert!(unpacked(bytes).unwrap_err().contains("no submission"));
        }
    }
}

//! The bans in a file, so that they outlive the process. Written whole and aside, readable by its owner alone.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::address::{Ban, BannedBy, Bans};
use crate::network::parse_network;
use crate::peer::PeerText;
use crate::pki::disk::{Aside, Secrecy, prepare};
use crate::place::Written;
use crate::problem::{Fault, Problem};

/// The file of the bans.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    path: PathBuf,
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    v: u8,
    bans: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    network: String,
    /// Seconds since 1970, UTC.
    until: u64,
    by: String,
    why: String,
}

impl Book {
    /// The book at a path, with the bans that stand in it and are not over at `now`. No file means no bans.
    ///
    /// # Errors
    /// [`Fault::BansUnreadable`] where it cannot be read, others may write it, or it is not what was written: whoever is
    /// banned would get in.
    pub(crate) fn open(path: &Written<PathBuf>, now: SystemTime) -> Result<(Self, Bans), Problem> {
        // Written by rename beside it, which takes a directory.
        let file = Path::new(".").join(&path.value);
        let bans = read(&file, now).map_err(|why| {
            let what = format!("the bans in {} cannot be read: {why}", path.value.display());
            let remedy = "mend the file, or remove it to begin without bans";
            Problem::error(Fault::BansUnreadable, what, remedy).at(&path.place)
        })?;
        Ok((Self { path: file }, bans))
    }

    /// Writes the bans, whole or not at all.
    ///
    /// # Errors
    /// [`Fault::BansUnwritable`].
    pub(crate) fn write(&self, bans: &Bans) -> Result<(), Problem> {
        let page = Page { v: VERSION, bans: bans.iter().map(entry).collect() };
        let written = serde_json::to_vec_pretty(&page).map_err(|error| error.to_string());
        let written = written.and_then(|bytes| {
            let aside = prepare(&self.path, &bytes, Secrecy::Private);
            aside.and_then(Aside::take_place).map_err(|problem| problem.message().to_owned())
        });
        written.map_err(|why| {
            let what = format!("the bans cannot be kept: {why}");
            let remedy = "let state in [bans] name a file in a directory that the user of the service may write";
            Problem::error(Fault::BansUnwritable, what, remedy)
        })
    }
}

fn entry((network, ban): (&IpNet, &Ban)) -> Entry {
    let until = ban.until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Entry {
        network: network.to_string(),
        until: until.as_secs(),
        by: ban.by.word().to_owned(),
        why: ban.why.to_string(),
    }
}

fn read(path: &Path, now: SystemTime) -> Result<Bans, String> {
    let mut text = String::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Bans::default()),
        Err(error) => return Err(error.to_string()),
    };
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() || is_writable_by_others(&metadata) {
        return Err("it is no file that its owner alone may write".to_owned());
    }
    file.take(LONGEST).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let page: Page = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if page.v != VERSION {
        return Err(format!("it is of version {}, and {VERSION} is understood", page.v));
    }
    let mut bans = Bans::default();
    for entry in page.bans {
        let (network, ban) = meant(&entry).ok_or_else(|| {
            format!("{} is no ban that was written", PeerText::from(entry.network.as_str()))
        })?;
        if ban.until > now && !bans.add(network, ban) {
            return Err(format!("it holds more than {} bans", Bans::MOST));
        }
    }
    Ok(bans)
}

fn meant(entry: &Entry) -> Option<(IpNet, Ban)> {
    let network = parse_network(&entry.network).ok()?;
    let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(entry.until))?;
    let (why, by) = (PeerText::shown_before(&entry.why)?, BannedBy::from_word(&entry.by)?);
    Some((network, Ban { until, why, by }))
}

#[cfg(unix)]
fn is_writable_by_others(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o022 != 0
}

#[cfg(not(unix))]
fn is_writable_by_others(_: &std::fs::Metadata) -> bool {
    false
}

const VERSION: u8 = 1;
/// As many bans as there may be, each with the longest reason.
const LONGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap()
    }

    fn path(directory: &tempfile::TempDir) -> Written<PathBuf> {
        Written::new(directory.path().join("bans.json"), Place::in_code("test"))
    }

    #[test]
    fn what_was_written_is_read_back_and_what_is_over_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(&directory);
        let (book, mut bans) = Book::open(&path, at(0)).unwrap();
        assert!(bans.is_empty());
        let ban = |until, why: &[u8], by| Ban { until: at(until), why: PeerText::new(why), by };
        bans.add("10.0.0.0/8".parse().unwrap(), ban(100, b"a\x1b\n\"b", BannedBy::Operator));
        bans.add("2001:db8::/64".parse().unwrap(), ban(50, b"x", BannedBy::Refusals));
        book.write(&bans).unwrap();
        for _ in 0..2 {
            let (book, read) = Book::open(&path, at(10)).unwrap();
            let all =
                |bans: &Bans| bans.iter().map(|(net, ban)| (*net, ban.clone())).collect::<Vec<_>>();
            assert_eq!(all(&read), all(&bans));
            book.write(&read).unwrap();
        }
        assert_eq!(Book::open(&path, at(50)).unwrap().1.len(), 1);
    }

    #[test]
    fn what_was_not_written_so_refuses_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(&directory);
        let wrong = [
            "",
            "{\"v\":1,\"bans\":[",
            "{\"v\":2,\"bans\":[]}",
            "{\"v\":1,\"bans\":[],\"x\":0}",
            "{\"v\":1,\"bans\":[{\"network\":\"10.0.0.1/8\",\"until\":9,\"by\":\"operator\",\"why\":\"\"}]}",
            "{\"v\":1,\"bans\":[{\"network\":\"10.0.0.0/8\",\"until\":9,\"by\":\"me\",\"why\":\"\"}]}",
            "{\"v\":1,\"bans\":[{\"network\":\"10.0.0.0/8\",\"until\":9,\"by\":\"operator\",\"why\":\"\\u001b\"}]}",
        ];
        for text in wrong {
            std::fs::write(&path.value, text).unwrap();
            let refused = Book::open(&path, at(0)).map(|_| ()).unwrap_err();
            assert_eq!(refused.fault(), Fault::BansUnreadable, "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_book_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = path(&directory);
        let (book, bans) = Book::open(&path, at(0)).unwrap();
        book.write(&bans).unwrap();
        let mode =
            |mode| std::fs::set_permissions(&path.value, std::fs::Permissions::from_mode(mode));
        assert_eq!(std::fs::metadata(&path.value).unwrap().permissions().mode() & 0o777, 0o600);
        mode(0o660).unwrap();
        assert!(Book::open(&path, at(0)).is_err());
    }
}

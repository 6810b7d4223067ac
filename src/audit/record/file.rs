//! A log in a file: whole lines, added at the end, also over a crash, a full disk and a rotation.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::chain::{BEGINNING, is_link, link};
use super::line::{Former, Read as Reading, STOPPED};
use crate::problem::{Fault, Problem};

/// The file of a log, open and locked: no second process writes to it.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// A part of a line may stand at the end, because it could not be taken away again.
    torn: bool,
}

/// How a file was found.
#[derive(Debug)]
pub(super) struct Found {
    /// How the last run ended.
    pub(super) former: Former,
    /// Half a line that stood at the end, and was taken away.
    pub(super) fragment: Vec<u8>,
    /// The hash of the last whole line; none where there is no line.
    pub(super) head: Option<String>,
}

impl LogFile {
    /// Opens the file at its end, makes it where there is none, and takes half a line away that stands there.
    ///
    /// # Errors
    /// [`Fault::AuditUnwritable`] where it is no file, or the system refuses; [`Fault::AuditLocked`] where another
    /// process writes to it.
    pub(super) fn open(path: &Path) -> Result<(Self, Found), Problem> {
        let file = open(path).map_err(|error| unwritable(path, &error))?;
        lock(path, &file)?;
        let mut log = Self { path: path.to_owned(), file, torn: false };
        let found = log.mend().map_err(|error| unwritable(path, &error))?;
        Ok((log, found))
    }

    /// Adds a whole line, or nothing.
    pub(super) fn add(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.mend()?;
            self.torn = false;
        }
        // Asked each time: whoever copies a log may cut it off behind our back.
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(line);
        if written.is_err() {
            // A full disk takes a part of a line.
            self.torn = self.file.set_len(before).is_err();
        }
        written
    }

    /// Makes sure that what was written outlives the machine.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Opens the file anew where another one, or none, stands under its name now; whether that was so.
    pub(super) fn reopen(&mut self) -> Result<Option<Found>, Problem> {
        if same(&self.file, &self.path) {
            return Ok(None);
        }
        let (fresh, found) = Self::open(&self.path)?;
        // The old one keeps what it has, on the disk.
        self.file.sync_data().ok();
        *self = fresh;
        Ok(Some(found))
    }

    /// Remembers, while nobody writes, where the chain goes on if the file is taken away until the next start.
    pub(super) fn leave(&self, head: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        private(&mut options).open(beside(&self.path))?.write_all(head.as_bytes())
    }

    /// What [`LogFile::leave`] remembered. It is forgotten then, because from now on it is wrong.
    pub(super) fn take_left(&self) -> Option<String> {
        let path = beside(&self.path);
        let mut text = String::new();
        let mut options = OpenOptions::new();
        let file = private(options.read(true)).open(&path).ok()?;
        let bound = u64::try_from(BEGINNING.len()).unwrap_or(u64::MAX);
        file.take(bound).read_to_string(&mut text).ok()?;
        fs::remove_file(&path).ok()?;
        is_link(&text).then_some(text)
    }

    /// Reads the end of the file, and takes half a line away from it.
    fn mend(&mut self) -> io::Result<Found> {
        let length = self.file.metadata()?.len();
        let begin = length.saturating_sub(LONGEST_END);
        self.file.seek(SeekFrom::Start(begin))?;
        let mut end = Vec::new();
        (&self.file).take(LONGEST_END).read_to_end(&mut end)?;
        let whole =
            end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        let fragment = end.split_off(whole);
        if !fragment.is_empty() {
            let cut = u64::try_from(fragment.len()).map_err(io::Error::other)?;
            self.file.set_len(length.saturating_sub(cut))?;
        }
        let last =
            end.strip_suffix(b"\n").and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next());
        let read = last.and_then(|line| serde_json::from_slice::<Reading>(line).ok());
        let former = match (&last, read) {
            (None, _) if fragment.is_empty() => Former::None,
            (_, Some(read)) if read.event == STOPPED && fragment.is_empty() => Former::Stopped,
            (_, _) => Former::Killed,
        };
        Ok(Found { former, fragment, head: last.map(link) })
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for a reader, and a device is no log.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    private(&mut options).open(path)
}

fn lock(path: &Path, file: &File) -> Result<(), Problem> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let what = format!("another process writes its audit log to {}", path.display());
            Err(Problem::error(Fault::AuditLocked, what, "give each server a log of its own"))
        }
        // Some network file systems have no locks; what is lost is the warning.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// Whether the name still leads to the open file.
#[cfg(unix)]
fn same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// A file that is open cannot be renamed by others there.
#[cfg(not(unix))]
fn same(_: &File, path: &Path) -> bool {
    path.exists()
}

/// A new log is its owner's alone: it says who talks to whom. A link is followed to nowhere.
#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &OpenOptions {
    options
}

/// Where the head of the chain is while nobody writes.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".head");
    path.with_file_name(name)
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    let what = format!("the audit log {} cannot be opened: {error}", path.display());
    let remedy =
        "let to in [audit] name a file in a directory that the user of the service may write";
    Problem::error(Fault::AuditUnwritable, what, remedy)
}

/// Longer than the longest line.
const LONGEST_END: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn half_a_line_is_taken_away_and_handed_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "{\"event\":\"stopped\"}\n{\"event\":\"refu").unwrap();
        let (mut log, found) = LogFile::open(&path).unwrap();
        assert_eq!(found.fragment, b"{\"event\":\"refu");
        assert_eq!(found.former, Former::Killed);
        assert_eq!(found.head, Some(link(b"{\"event\":\"stopped\"}")));
        log.add(b"{}\n").unwrap();
        assert_eq!(text(&path), "{\"event\":\"stopped\"}\n{}\n");
        drop(log);
        let (_, found) = LogFile::open(&path).unwrap();
        assert_eq!((found.former, found.head), (Former::Killed, Some(link(b"{}"))));
    }

    #[test]
    fn a_new_and_a_stopped_log_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let former = |path: &Path| LogFile::open(path).unwrap().1.former;
        assert_eq!(former(&path), Former::None);
        fs::write(&path, "{\"event\":\"stopped\",\"prev\":null}\n").unwrap();
        assert_eq!(former(&path), Former::Stopped);
    }

    #[test]
    fn two_processes_do_not_share_a_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let _first = LogFile::open(&path).unwrap();
        assert_eq!(LogFile::open(&path).unwrap_err().fault(), Fault::AuditLocked);
    }

    #[cfg(unix)]
    #[test]
    fn a_renamed_log_is_left_and_one_that_stayed_is_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
        let (mut log, _) = LogFile::open(&path).unwrap();
        log.add(b"one\n").unwrap();
        assert!(log.reopen().unwrap().is_none());
        fs::rename(&path, &old).unwrap();
        log.add(b"two\n").unwrap();
        assert!(log.reopen().unwrap().is_some());
        log.add(b"three\n").unwrap();
        assert_eq!((text(&old).as_str(), text(&path).as_str()), ("one\ntwo\n", "three\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_a_pipe_and_a_directory_are_no_log() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        for name in ["link", "pipe", "", "nowhere/log"] {
            let fault = LogFile::open(&at(name)).unwrap_err().fault();
            assert_eq!(fault, Fault::AuditUnwritable, "{name}");
        }
    }

    #[test]
    fn what_a_chain_left_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let (log, _) = LogFile::open(&directory.path().join("log")).unwrap();
        assert_eq!(log.take_left(), None);
        log.leave(&link(b"x")).unwrap();
        assert_eq!(log.take_left(), Some(link(b"x")));
        assert_eq!(log.take_left(), None);
    }
}

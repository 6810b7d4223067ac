//! Puts files where nobody else reads them, redirects them, or sees half of them.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::pki::profile::Serial;
use crate::problem::{Fault, Problem};

/// Who may read a file. The mode is set exactly, whatever the umask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// The owner only: mode 0600, from the first byte.
    Private,
    /// Everybody who may enter the directory: mode 0644.
    Public,
}

/// Writes a new file, whole or not at all, and refuses where anything, even a dangling link, is already.
pub(crate) fn create(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<(), Problem> {
    prepare_new(path, bytes, secrecy)?.appear()
}

/// Writes a new file so that it only has to appear. What a full disk refuses, it refuses here.
pub(crate) fn prepare_new(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<Aside, Problem> {
    if kind_at(path)?.is_some() {
        return Err(exists(path));
    }
    Aside::write(path, bytes, secrecy)
}

/// Writes a file that may be there already as a regular file, so that only its place has to be taken: readers
/// see the old one or the new one, whole. What a full disk refuses, it refuses here.
pub(crate) fn prepare(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<Aside, Problem> {
    if kind_at(path)?.is_some_and(|metadata| !metadata.is_file()) {
        return Err(exists(path));
    }
    Aside::write(path, bytes, secrecy)
}

/// Adds whole lines to a file of the owner's, and makes sure they are on the disk; or adds nothing.
///
/// A last line without an end was cut off by a crash before anybody was told it was written: it is removed.
pub(crate) fn append(path: &Path, lines: &str) -> Result<(), Problem> {
    kind_at(path)?;
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    let mut write = || -> io::Result<()> {
        let mut file = private(&mut options).open(path)?;
        set_mode(&file, Secrecy::Private)?;
        let mut before = Vec::new();
        file.read_to_end(&mut before)?;
        let whole =
            before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        let length = u64::try_from(whole).map_err(io::Error::other)?;
        if whole < before.len() {
            file.set_len(length)?;
        }
        let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_all());
        if written.is_err() {
            // A full disk takes a part of a line; the reason is what the operator needs.
            file.set_len(length).ok();
        }
        written
    };
    write().map_err(|error| unwritable(path, &error))?;
    sync_parent(path)
}

/// Makes a directory for its owner alone, or makes sure that one is there and takes others' permissions away.
pub(crate) fn directory(path: &Path) -> Result<(), Problem> {
    match kind_at(path)? {
        Some(metadata) if metadata.is_dir() => keep_mode(path, &metadata, 0o700),
        Some(_) => Err(exists(path)),
        None => {
            make_directory(path, false).map_err(|error| unwritable(path, &error))?;
            sync_parent(path)
        }
    }
}

/// The directory of a store, made where it is missing. It may be reached over a link, but nothing in it may.
///
/// One that is there keeps its mode, except that nobody but its owner may write in it afterwards.
pub(crate) fn store_directory(path: &Path) -> Result<PathBuf, Problem> {
    if !path.exists() {
        make_directory(path, true).map_err(|error| unwritable(path, &error))?;
    }
    let path = path.canonicalize().map_err(|error| unwritable(path, &error))?;
    let metadata = fs::metadata(&path).map_err(|error| unwritable(&path, &error))?;
    if !metadata.is_dir() {
        return Err(exists(&path));
    }
    keep_mode(&path, &metadata, 0o755)?;
    Ok(path)
}

/// Moves a file or directory that was made aside to its place, where nothing may be.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<(), Problem> {
    if kind_at(to)?.is_some() {
        return Err(exists(to));
    }
    fs::rename(from, to).map_err(|error| unwritable(to, &error))?;
    sync_parent(to)
}

/// Lets two directories change places in one step, so that nobody sees a third state.
///
/// Where the system or the file system cannot, the error is of kind [`ErrorKind::Unsupported`].
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    match renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL | Errno::ENOSYS) => Err(ErrorKind::Unsupported.into()),
        Err(error) => Err(error.into()),
    }
}

/// Lets two directories change places, which this system cannot.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Removes a directory and all in it, and follows no link. None there is fine.
pub(crate) fn remove_directory(path: &Path) -> Result<(), Problem> {
    if kind_at(path)?.is_none() {
        return Ok(());
    }
    fs::remove_dir_all(path).map_err(|error| unwritable(path, &error))
}

/// Removes a file; a link is refused. None there is fine.
pub(crate) fn remove_file(path: &Path) -> Result<(), Problem> {
    if kind_at(path)?.is_none() {
        return Ok(());
    }
    fs::remove_file(path).map_err(|error| unwritable(path, &error))?;
    sync_parent(path)
}

/// What is at the path, if anything; a symbolic link is refused.
pub(crate) fn kind_at(path: &Path) -> Result<Option<Metadata>, Problem> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            let message = format!("{} is a symbolic link", path.display());
            let remedy = "look where it leads and who made it, then remove it";
            Err(Problem::error(Fault::CertsSymlink, message, remedy))
        }
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unwritable(path, &error)),
    }
}

/// The right to change a store: one process and one thread at a time. Given back when it is dropped or killed.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of a directory, but not for ever.
    pub(crate) fn take(directory: &Path) -> Result<Self, Problem> {
        let path = directory.join(".lock");
        kind_at(&path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let opened = private(&mut options).open(&path);
        let opened = opened.and_then(|file| set_mode(&file, Secrecy::Private).map(|()| file));
        let file = opened.map_err(|error| unwritable(&path, &error))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
                Err(TryLockError::WouldBlock) if started.elapsed() > PATIENCE => {
                    let message = format!(
                        "another process has been changing {} for {PATIENCE:?}",
                        directory.display()
                    );
                    return Err(Problem::error(
                        Fault::CertsLocked,
                        message,
                        "let it finish or end it, then try again",
                    ));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Making an RSA authority on a busy machine takes seconds; nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Short beside what the holder does, long beside a look at the lock.
const PAUSE: Duration = Duration::from_millis(10);

/// A path beside the one that is meant, which nobody can guess.
pub(crate) fn aside(target: &Path) -> Result<PathBuf, Problem> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    Ok(target.with_file_name(format!(".{name}.new-{}", Serial::random()?)))
}

/// A file beside the one that is meant; it goes away unless it takes the other's place.
#[derive(Debug)]
pub(crate) struct Aside {
    path: PathBuf,
    target: PathBuf,
}

impl Aside {
    fn write(target: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<Self, Problem> {
        let aside = Self { path: aside(target)?, target: target.to_owned() };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let write = |mut file: File| {
            file.write_all(bytes)?;
            set_mode(&file, secrecy)?;
            file.sync_all()
        };
        let written = private(&mut options).open(&aside.path).and_then(write);
        written.map_err(|error| unwritable(target, &error))?;
        Ok(aside)
    }

    /// Appears where nothing may be.
    pub(crate) fn appear(self) -> Result<(), Problem> {
        let target = self.target.clone();
        // A hard link never replaces what is there; a rename would, so it serves only where links are unknown.
        match fs::hard_link(&self.path, &target) {
            Ok(()) => drop(self),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists(&target)),
            Err(_) if kind_at(&target)?.is_none() => return self.take_place(),
            Err(error) => return Err(unwritable(&target, &error)),
        }
        sync_parent(&target)
    }

    /// Replaces what is meant, in one step.
    pub(crate) fn take_place(self) -> Result<(), Problem> {
        let target = &self.target;
        fs::rename(&self.path, target).map_err(|error| unwritable(target, &error))?;
        sync_parent(target)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove, and after a failure nothing more to be done.
        fs::remove_file(&self.path).ok();
    }
}

/// Opens with mode 0600 and never through a link.
#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
}

/// Where there are no modes, the directory the operator chose is what protects the file.
#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &OpenOptions {
    options
}

#[cfg(unix)]
fn set_mode(file: &File, secrecy: Secrecy) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = match secrecy {
        Secrecy::Private => 0o600,
        Secrecy::Public => 0o644,
    };
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_file: &File, _secrecy: Secrecy) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn make_directory(path: &Path, with_parents: bool) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    DirBuilder::new().recursive(with_parents).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_directory(path: &Path, with_parents: bool) -> io::Result<()> {
    DirBuilder::new().recursive(with_parents).create(path)
}

/// Takes every permission away that is not in `most`.
#[cfg(unix)]
fn keep_mode(path: &Path, metadata: &Metadata, most: u32) -> Result<(), Problem> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & !most == 0 {
        return Ok(());
    }
    let narrower = fs::Permissions::from_mode(mode & most);
    fs::set_permissions(path, narrower).map_err(|error| unwritable(path, &error))
}

#[cfg(not(unix))]
fn keep_mode(_path: &Path, _metadata: &Metadata, _most: u32) -> Result<(), Problem> {
    Ok(())
}

/// A new name is on the disk only when its directory is.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Problem> {
    let parent = path.parent().unwrap_or(path);
    // Elsewhere a directory cannot be opened as a file, and names are written through.
    if cfg!(unix) {
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| unwritable(parent, &error))?;
    }
    Ok(())
}

fn exists(path: &Path) -> Problem {
    let message = format!("{} is there already", path.display());
    Problem::error(Fault::CertsExists, message, "move it away, or choose another name or directory")
}

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Problem {
    let message = format!("{} cannot be written: {error}", path.display());
    Problem::error(
        Fault::CertsUnwritable,
        message,
        "choose a directory this user owns, on a disk with room",
    )
}

#[cfg(test)]
#[cfg(unix)]
#[path = "disk_tests.rs"]
mod tests;

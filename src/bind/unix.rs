//! Unix sockets: the place is looked at before one is made, and the socket is taken away at the end.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use nix::unistd::{getegid, geteuid};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::problem::{Fault, Problem};

/// The file of an open unix socket. It is removed when this is dropped, unless another took its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

impl SocketFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What somebody else put there since is not ours to remove.
        if fs::symlink_metadata(&self.path).is_ok_and(|now| identity(&now) == self.identity) {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Opens a listening unix socket, not blocking, whose file has this mode before anybody can connect.
///
/// A socket that an earlier run left behind is replaced: one of this user, on which nobody listens.
///
/// # Errors
/// [`Fault::BindSocketPath`] where the directory lets others replace the socket, or something that is not
/// such a leftover is in the way; [`Fault::BindInUse`] where somebody listens there;
/// [`Fault::BindNotPermitted`] or [`Fault::BindFailed`] where the system refuses.
pub fn open_unix(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), Problem> {
    open(path, mode, Instead::OfALeftover)
}

/// As [`open_unix`], in the place of a server of this user that still listens there and is about to leave.
///
/// # Errors
/// As [`open_unix`].
pub fn replace_unix(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), Problem> {
    open(path, mode, Instead::OfWhoeverListens)
}

/// Whose socket a new one may replace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instead {
    OfALeftover,
    OfWhoeverListens,
}

fn open(path: &Path, mode: u32, instead: Instead) -> Result<(UnixListener, SocketFile), Problem> {
    let named = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = named.unwrap_or(Path::new("."));
    let opened = File::open(directory).and_then(|file| Ok((file.metadata()?, file)));
    let (found, held) = opened.map_err(|error| refused(directory, &error))?;
    judge_directory(directory, &found)?;
    // Two that start at once must not each take the other's fresh socket for a leftover.
    lock(&held, directory)?;
    clear(path, instead)?;
    let listener = listen(path, mode).map_err(|error| refused(path, &error))?;
    let fresh = fs::symlink_metadata(path).map_err(|error| refused(path, &error))?;
    Ok((listener, SocketFile { path: path.to_owned(), identity: identity(&fresh) }))
}

/// Whoever can rename files in a directory can put a socket of its own in the place of ours.
fn judge_directory(directory: &Path, found: &Metadata) -> Result<(), Problem> {
    let shown = directory.display();
    if !found.is_dir() {
        return Err(in_the_way(format!("{shown} is no directory"), "name a file in a directory"));
    }
    let own = found.uid() == geteuid().as_raw();
    if !own && found.uid() != 0 {
        let what = format!(
            "{shown} belongs to another user (uid {}), who could replace the socket",
            found.uid()
        );
        return Err(in_the_way(what, "use a directory of this user, such as its /run/user/UID"));
    }
    let (mode, sticky) = (found.mode(), found.mode() & STICKY != 0);
    let by_everybody = mode & 0o002 != 0;
    let by_others = by_everybody || (mode & 0o020 != 0 && found.gid() != getegid().as_raw());
    if by_others && !sticky {
        let what = format!(
            "others may write in {shown} (mode {:03o}) and could replace the socket",
            mode & 0o7777
        );
        let remedy = format!("run chmod go-w {shown}, or use a directory of this user");
        return Err(in_the_way(what, remedy));
    }
    Ok(())
}

fn lock(directory: &File, name: &Path) -> Result<(), Problem> {
    for _ in 0..LOCK_TRIES {
        match directory.try_lock() {
            Err(TryLockError::WouldBlock) => sleep(BETWEEN_TRIES),
            // On a file system without locks the check below is all there is.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
    let what = format!("another process holds a lock on {}", name.display());
    Err(in_the_way(what, "try again, or use a directory that others cannot open"))
}

/// Makes way for a new socket, if what is there is nothing but a leftover of ours.
fn clear(path: &Path, instead: Instead) -> Result<(), Problem> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(path, &error)),
    };
    if !found.file_type().is_socket() {
        let what = format!("{shown} exists, and is no socket");
        return Err(in_the_way(what, "remove it if nobody needs it, or choose another path"));
    }
    if found.uid() != geteuid().as_raw() {
        let what = format!("{shown} is a socket of another user (uid {})", found.uid());
        return Err(in_the_way(what, "let its owner remove it, or choose another path"));
    }
    match somebody_listens(path) {
        Ok(true) if instead == Instead::OfALeftover => {
            let what = format!("somebody listens on {shown} already");
            Err(Problem::error(Fault::BindInUse, what, "end that process, or choose another path"))
        }
        Ok(_) => fs::remove_file(path).map_err(|error| refused(path, &error)),
        Err(error) => {
            let what = format!("{shown} is a socket that cannot be asked who listens: {error}");
            Err(in_the_way(what, "remove it if nobody needs it, or choose another path"))
        }
    }
}

/// Asks without waiting: a listener whose queue is full is one, too.
fn somebody_listens(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before it listens, so nobody meets another mode.
    let listening = fs::set_permissions(path, Permissions::from_mode(mode))
        .and_then(|()| socket.listen(BACKLOG));
    if let Err(error) = listening {
        drop(fs::remove_file(path));
        return Err(error);
    }
    Ok(socket.into())
}

/// Which file it is. Its number alone may be given to the next file; where the system does not tell when
/// a file was made, that is all there is.
type Identity = (u64, u64, Option<SystemTime>);

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino(), found.created().ok())
}

fn in_the_way(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem::error(Fault::BindSocketPath, what, remedy)
}

fn refused(path: &Path, error: &io::Error) -> Problem {
    let what = format!("{} cannot be opened: {error}", path.display());
    if error.kind() == io::ErrorKind::PermissionDenied {
        let remedy = "use a directory that this user may write in, such as its /run/user/UID";
        return Problem::error(Fault::BindNotPermitted, what, remedy);
    }
    let remedy = "make the directory, and check the path, which the system limits to 107 bytes";
    Problem::error(Fault::BindFailed, what, remedy)
}

/// Only the owner of a file may rename or remove it in such a directory.
const STICKY: u32 = 0o1000;
/// A second in all: opening a socket takes a millisecond.
const LOCK_TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);
/// As for TCP: a burst of honest callers; the kernel lowers it to its own limit.
const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        (directory, path)
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn fault(path: &Path) -> Fault {
        open_unix(path, 0o600).map(|_| ()).unwrap_err().fault()
    }

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_owner() {
        let (_directory, path) = directory();
        let (listener, file) = open_unix(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        UnixStream::connect(&path).unwrap();
        assert_eq!(fault(&path), Fault::BindInUse);
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn a_leftover_is_replaced_and_a_successor_is_not_removed() {
        let (_directory, path) = directory();
        let (listener, file) = open_unix(&path, 0o600).unwrap();
        // The process ends without a word: nobody listens, and the file stays.
        drop(listener);
        let (_successor, _its_file) = open_unix(&path, 0o600).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_is_no_leftover_stays() {
        let (directory, path) = directory();
        fs::write(&path, "precious").unwrap();
        assert_eq!(fault(&path), Fault::BindSocketPath);
        let link = directory.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(fault(&link), Fault::BindSocketPath);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_directory_in_which_others_could_replace_the_socket_is_refused() {
        let (directory, path) = directory();
        mode(directory.path(), 0o777);
        assert_eq!(fault(&path), Fault::BindSocketPath);
        mode(directory.path(), 0o1777);
        open_unix(&path, 0o600).unwrap();
        assert_eq!(fault(&directory.path().join("nowhere/a.sock")), Fault::BindFailed);
    }

    #[test]
    fn whoever_opens_a_socket_waits_for_another_that_does() {
        let (directory, path) = directory();
        let other = File::open(directory.path()).unwrap();
        other.lock().unwrap();
        assert_eq!(fault(&path), Fault::BindSocketPath);
        other.unlock().unwrap();
        open_unix(&path, 0o600).unwrap();
    }

    #[test]
    fn of_many_that_start_at_once_one_gets_the_socket() {
        let (_directory, path) = directory();
        for _ in 0..20 {
            // What an earlier run left behind.
            drop(UnixListener::bind(&path).unwrap());
            let opened: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| open_unix(&path, 0o600).ok())).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(opened.iter().flatten().count(), 1);
            UnixStream::connect(&path).unwrap();
        }
    }
}

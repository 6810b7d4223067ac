//! Sockets that somebody opened for us before we were started: systemd, or whoever speaks its protocol
//! (`sd_listen_fds(3)`). They pass the same policy as our own.
//!
//! Which descriptors a process was born with is a fact of the process, so there is one place for it.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;

use super::Listen;
use crate::place::Written;
use crate::problem::{Fault, Problem};

static ADOPTED: OnceLock<Vec<Inherited>> = OnceLock::new();

/// A listening socket under the name it was handed over with.
#[derive(Debug)]
struct Inherited {
    name: String,
    at: SocketAddr,
    socket: TcpListener,
}

/// Takes over the sockets that the environment tells of and `listeners` name, and closes all others.
///
/// It must be called before a second thread exists, and only once: the environment is cleared of what was taken.
///
/// # Errors
/// [`Fault::BindInherited`] for a named descriptor that is no TCP socket, for an environment that contradicts
/// itself, and [`Fault::BindDuplicate`] where another listener has the address of an inherited one. What is
/// closed because nobody names it is a warning.
pub fn adopt(listeners: &[&Written<Listen>]) -> Result<Vec<Problem>, Vec<Problem>> {
    let wanted: BTreeSet<&str> = listeners.iter().filter_map(|one| one.value.inherited()).collect();
    let (adopted, mut problems, mut refused) = system::take(&wanted);
    for Inherited { name, at, .. } in &adopted {
        let twin = listeners.iter().find(|one| one.value == Listen::Address(*at));
        problems.extend(twin.map(|twin| {
            refused = true;
            let what = format!("{at} is handed over as {name:?} already");
            let remedy = format!("remove it, or \"{PREFIX}{name}\"");
            Problem::error(Fault::BindDuplicate, what, remedy).at(&twin.place)
        }));
    }
    if refused {
        return Err(problems);
    }
    // A second call finds an environment without descriptors, and so has nothing to add.
    drop(ADOPTED.set(adopted));
    Ok(problems)
}

/// Whether [`adopt`] was called. Before, only the service manager knows what it will hand over.
#[must_use]
pub fn is_adopted() -> bool {
    ADOPTED.get().is_some()
}

/// Where the sockets of that name are; there is at least one.
pub(super) fn addresses(name: &str) -> Result<Vec<SocketAddr>, Problem> {
    let adopted = ADOPTED.get().map(Vec::as_slice).unwrap_or_default();
    let named = adopted.iter().filter(|socket| socket.name == name);
    let addresses: Vec<_> = named.map(|socket| socket.at).collect();
    if addresses.is_empty() { Err(missing(name, adopted)) } else { Ok(addresses) }
}

/// A handle of the inherited socket at this very address, not blocking.
pub(super) fn at(address: SocketAddr) -> Option<std::io::Result<TcpListener>> {
    let found = ADOPTED.get()?.iter().find(|socket| socket.at == address)?;
    let socket = found.socket.try_clone();
    Some(socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket)))
}

fn missing(name: &str, adopted: &[Inherited]) -> Problem {
    let names: BTreeSet<_> = adopted.iter().map(|socket| format!("{:?}", socket.name)).collect();
    let what = format!("no socket was handed over under the name {name:?}");
    let remedy = if names.is_empty() {
        format!("start it by its socket unit, with FileDescriptorName={name} there")
    } else {
        let names: Vec<_> = names.into_iter().collect();
        format!(
            "those of the other listeners are {}; a new one comes with a restart",
            names.join(", ")
        )
    };
    Problem::error(Fault::BindInherited, what, remedy)
}

/// What a name must look like (`sd_listen_fds_with_names(3)`): no colon, no control character, at most 255 bytes.
pub(super) fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// What stands before the name of an inherited socket.
pub(super) const PREFIX: &str = "systemd:";

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeSet;

    use listenfd::ListenFd;

    use super::Inherited;
    use crate::peer::PeerText;
    use crate::problem::{Fault, Problem};

    /// The sockets that are wanted, what there is to say about all, and whether that refuses the start.
    pub(super) fn take(wanted: &BTreeSet<&str>) -> (Vec<Inherited>, Vec<Problem>, bool) {
        // Meant for another process, or for nobody: then names may be left over, and mean nothing.
        if sd_notify::listen_fds().is_ok_and(|descriptors| descriptors.len() == 0) {
            return (Vec::new(), Vec::new(), false);
        }
        let names: Vec<_> = match sd_notify::listen_fds_with_names() {
            Ok(descriptors) => descriptors.map(|(_, name)| name).collect(),
            Err(error) => {
                let problem =
                    refused(format!("LISTEN_FDS and what belongs to it is wrong: {error}"));
                return (Vec::new(), vec![problem], true);
            }
        };
        let mut descriptors = ListenFd::from_env();
        let (mut adopted, mut problems, mut is_refused) = (Vec::new(), Vec::new(), false);
        for (index, name) in names.into_iter().enumerate() {
            if !wanted.contains(name.as_str()) {
                problems.push(close(&mut descriptors, index, &name));
                continue;
            }
            match socket(&mut descriptors, index, &name) {
                Ok(socket) => adopted.push(socket),
                Err(problem) => {
                    is_refused = true;
                    problems.push(problem);
                }
            }
        }
        (adopted, problems, is_refused)
    }

    fn socket(descriptors: &mut ListenFd, index: usize, name: &str) -> Result<Inherited, Problem> {
        let taken = descriptors.take_tcp_listener(index);
        let socket = taken.map_err(|_| refused(format!("{name:?} is no TCP socket")))?;
        let socket = socket.ok_or_else(|| refused(format!("{name:?} is not there")))?;
        let unknown = |error| refused(format!("{name:?} does not say where it is: {error}"));
        let at = socket.local_addr().map_err(unknown)?;
        Ok(Inherited { name: name.to_owned(), at, socket })
    }

    /// Nobody would look after it, and whoever connects would wait for ever.
    fn close(descriptors: &mut ListenFd, index: usize, name: &str) -> Problem {
        let closed = descriptors.take_raw_fd(index).ok().flatten();
        let closed = closed.is_some_and(|descriptor| nix::unistd::close(descriptor).is_ok());
        let how = if closed { "it was closed" } else { "it could not be closed" };
        let name = PeerText::from(name);
        let what =
            format!("a descriptor was handed over as \"{name}\", which no listener names; {how}");
        let remedy =
            format!("add \"systemd:{name}\" to a listen, or remove it from the socket unit");
        Problem::warning(Fault::BindInherited, what, remedy)
    }

    fn refused(what: String) -> Problem {
        let remedy = "hand over listening TCP sockets, such as with ListenStream= of a socket unit";
        Problem::error(Fault::BindInherited, what, remedy)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::collections::BTreeSet;

    use super::Inherited;
    use crate::problem::Problem;

    /// Nobody hands sockets over on this system.
    pub(super) fn take(_: &BTreeSet<&str>) -> (Vec<Inherited>, Vec<Problem>, bool) {
        (Vec::new(), Vec::new(), false)
    }
}

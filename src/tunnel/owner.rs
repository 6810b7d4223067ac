//! Who is at the other end of a local connection, as the kernel tells it and not the caller.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::{Denial, LocalCaller, users};
use crate::problem::{Fault, Problem};

/// Whether to look up which groups a caller is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    Wanted,
    Ignored,
}

/// Whether this system tells who owns a loopback connection; otherwise why a start is refused.
#[cfg(target_os = "linux")]
pub(super) fn tells_tcp() -> Result<(), Problem> {
    let [v4, _] = crate::bind::tcp_table::TABLES;
    std::fs::File::open(v4).map(drop).map_err(|error| {
        let what = format!("{v4} cannot be read, so nobody could tell which user calls: {error}");
        Problem::error(Fault::TunnelCallers, what, UNTOLD)
    })
}

/// Not told on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn tells_tcp() -> Result<(), Problem> {
    let what = "this system does not tell which user a TCP connection belongs to";
    Err(Problem::error(Fault::TunnelCallers, what, UNTOLD))
}

/// Who connected from `caller` to `own`, both on this machine.
///
/// # Errors
/// [`Denial::UnknownCaller`] where no live socket with exactly these ends is found, or not in time.
pub(super) async fn of_tcp(
    caller: SocketAddr,
    own: SocketAddr,
    groups: Groups,
) -> Result<LocalCaller, Denial> {
    let looking = async {
        for _ in 0..LOOKS {
            let look = spawn_blocking(move || {
                owner(caller, own).map(|user| local_caller(user, None, None, groups))
            });
            if let Ok(Some(found)) = look.await {
                return Ok(found);
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Err(Denial::UnknownCaller)
    };
    timeout(LONGEST_LOOK, looking).await.unwrap_or(Err(Denial::UnknownCaller))
}

/// Who connected to a unix socket: the process at the moment of its connect(2).
///
/// # Errors
/// [`Denial::UnknownCaller`] where the system does not say.
#[cfg(unix)]
pub(super) async fn of_unix(
    stream: &tokio::net::UnixStream,
    groups: Groups,
) -> Result<LocalCaller, Denial> {
    let told = stream.peer_cred().map_err(|_| Denial::UnknownCaller)?;
    let (user, group, process) = (told.uid(), told.gid(), told.pid());
    let look = spawn_blocking(move || local_caller(user, Some(group), process, groups));
    match timeout(LONGEST_LOOK, look).await {
        Ok(Ok(caller)) => Ok(caller),
        Ok(Err(_)) | Err(_) => Err(Denial::UnknownCaller),
    }
}

fn local_caller(
    user: u32,
    group: Option<u32>,
    process: Option<i32>,
    groups: Groups,
) -> LocalCaller {
    let groups = match groups {
        Groups::Wanted => users::groups_of(user, group),
        Groups::Ignored => Vec::new(),
    };
    LocalCaller { user, groups, process }
}

/// The user of the one socket whose ends are exactly these.
#[cfg(target_os = "linux")]
fn owner(caller: SocketAddr, own: SocketAddr) -> Option<u32> {
    use crate::bind::tcp_table::{TABLES, rows};
    let (caller, own) = (canonical(caller), canonical(own));
    let mut rows = TABLES.into_iter().flat_map(rows);
    let row = rows.find(|row| row.local == caller && row.remote == own)?;
    (is_live(row.state) && row.inode != 0).then_some(row.user)
}

#[cfg(not(target_os = "linux"))]
fn owner(_: SocketAddr, _: SocketAddr) -> Option<u32> {
    None
}

/// A caller that has said all waits for the answer in one of the two states after ESTABLISHED.
///
/// In any state, a socket that no process holds any more is told as root's: its number of 0 gives it away.
#[cfg(target_os = "linux")]
fn is_live(state: u8) -> bool {
    const ESTABLISHED: u8 = 1;
    const FIN_WAIT: [u8; 2] = [4, 5];
    state == ESTABLISHED || FIN_WAIT.contains(&state)
}

#[cfg(target_os = "linux")]
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const UNTOLD: &str = "listen on a unix socket, or write --allow-any-user if every user may call";
/// The table is read in pieces while it changes, and a row can be missed.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// Only a directory service that hangs takes longer.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[expect(clippy::unwrap_used, reason = "a test without its connection should stop there")]
    fn pair(at: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(at).unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (caller, listener.accept().unwrap().0)
    }

    #[expect(clippy::unwrap_used, reason = "a test without its connection should stop there")]
    fn found(accepted: &TcpStream) -> Option<u32> {
        owner(accepted.peer_addr().unwrap(), accepted.local_addr().unwrap())
    }

    #[test]
    fn the_owner_of_a_connection_is_found_in_either_family() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let (_caller, accepted) = pair(at);
            assert_eq!(found(&accepted), Some(users::own_user()), "{at}");
        }
    }

    #[test]
    fn an_ipv6_socket_that_speaks_ipv4_is_found_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _caller = TcpStream::connect(format!("[::ffff:127.0.0.1]:{port}")).unwrap();
        let accepted = listener.accept().unwrap().0;
        assert_eq!(found(&accepted), Some(users::own_user()));
    }

    #[test]
    fn a_caller_that_has_said_all_is_still_known() {
        let (caller, accepted) = pair("127.0.0.1:0");
        caller.shutdown(Shutdown::Write).unwrap();
        assert_eq!(found(&accepted), Some(users::own_user()));
    }

    #[test]
    fn a_caller_that_is_gone_is_nobody_and_not_root() {
        let (caller, accepted) = pair("127.0.0.1:0");
        drop(caller);
        assert_eq!(found(&accepted), None);
    }

    #[test]
    fn the_other_end_or_another_port_is_nobody() {
        let (caller, accepted) = pair("127.0.0.1:0");
        let (peer, own) = (accepted.peer_addr().unwrap(), accepted.local_addr().unwrap());
        let elsewhere = SocketAddr::new(own.ip(), own.port().wrapping_add(1));
        assert_eq!(owner(peer, elsewhere), None);
        assert_eq!(owner(elsewhere, own), None);
        drop(caller);
    }
}

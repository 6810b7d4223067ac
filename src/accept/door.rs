//! The door: takes one visitor after the other from a listening socket, and sorts what can go wrong.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpListener;

use super::{Accepted, Socket, Strangers};
use crate::backoff::Backoff;
use crate::peer::PeerAddr;

/// One listening socket, and the seats for whoever comes through it.
#[derive(Debug)]
pub struct Door {
    listener: Arc<TcpListener>,
    local: SocketAddr,
    strangers: Strangers,
    backoff: Backoff,
}

/// Why no visitor came in, sorted by who caused it.
#[derive(Debug)]
pub enum Trouble {
    /// The visitor left while it queued, or the network lost it: carry on at once.
    Peer(io::Error),
    /// The machine is out of descriptors or memory: wait this long, then carry on.
    Machine(io::Error, Duration),
    /// The socket itself is broken: stop.
    Us(io::Error),
}

impl Door {
    /// A door on a socket that the bind policy opened, which must be non-blocking.
    ///
    /// # Errors
    /// When the runtime cannot watch the socket, or the socket does not know its own address.
    pub fn new(listener: std::net::TcpListener, strangers: Strangers) -> io::Result<Self> {
        let local = listener.local_addr()?;
        if INHERITED {
            tune(&SockRef::from(&listener))?;
        }
        let listener = Arc::new(TcpListener::from_std(listener)?);
        Ok(Self { listener, local, strangers, backoff: Backoff::new(SHORTEST_WAIT, LONGEST_WAIT) })
    }

    /// The address the socket is bound to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The socket itself, for as long as the door is open.
    #[must_use]
    pub fn socket(&self) -> Weak<TcpListener> {
        Arc::downgrade(&self.listener)
    }

    /// The next visitor, seated among the strangers. Safe to cancel: no visitor is lost.
    ///
    /// # Errors
    /// [`Trouble`], sorted; it never waits by itself.
    pub async fn next(&mut self) -> Result<Accepted<Socket>, Trouble> {
        let (stream, address) = match self.listener.accept().await {
            Ok(visitor) => visitor,
            Err(error) => return Err(self.sort(error)),
        };
        self.backoff.reset();
        if !INHERITED {
            tune(&SockRef::from(&stream)).map_err(Trouble::Peer)?;
        }
        without_filter(&SockRef::from(&stream));
        Ok(Accepted::new(Socket::new(stream), PeerAddr::new(address), &self.strangers))
    }

    fn sort(&mut self, error: io::Error) -> Trouble {
        match culprit(&error) {
            Culprit::Peer => Trouble::Peer(error),
            Culprit::Machine => Trouble::Machine(error, self.backoff.next_wait()),
            Culprit::Us => Trouble::Us(error),
        }
    }
}

/// Small messages leave at once, and a peer that vanished is noticed.
fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

/// A connection inherits the filter of its listener. It has done its work, and would cost time at every
/// packet and keep the memory of a list that is replaced.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn without_filter(stream: &SockRef<'_>) {
    // Most have none, which is an error to the kernel. What stays passes this visitor's address.
    drop(stream.detach_filter());
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn without_filter(_: &SockRef<'_>) {}

/// Who caused an error of accept(2).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Culprit {
    Peer,
    Machine,
    Us,
}

/// Who caused an error of accept(2). Linux also hands on errors of the new connection, such as
/// EPROTO or ENETDOWN, and its manual page asks to treat them as a visitor that left.
pub(crate) fn culprit(error: &io::Error) -> Culprit {
    if is_exhaustion(error) {
        return Culprit::Machine;
    }
    if is_broken_socket(error) {
        return Culprit::Us;
    }
    Culprit::Peer
}

#[cfg(unix)]
fn is_exhaustion(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(number, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

#[cfg(unix)]
fn is_broken_socket(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(
        number,
        Some(Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK | Errno::EFAULT | Errno::EOPNOTSUPP)
    )
}

#[cfg(not(unix))]
fn is_exhaustion(error: &io::Error) -> bool {
    // WSAEMFILE and WSAENOBUFS.
    matches!(error.raw_os_error(), Some(10024 | 10055))
        || error.kind() == io::ErrorKind::OutOfMemory
}

#[cfg(not(unix))]
fn is_broken_socket(error: &io::Error) -> bool {
    // WSAEBADF, WSAEFAULT, WSAEINVAL, WSAENOTSOCK, WSAEOPNOTSUPP.
    matches!(error.raw_os_error(), Some(10009 | 10014 | 10022 | 10038 | 10045))
}

/// Whether connections have these settings from their listening socket, so that a stranger who is refused costs three
/// system calls less (Linux copies the whole socket).
const INHERITED: bool = cfg!(any(target_os = "linux", target_os = "android"));
/// A descriptor comes free within a handshake's time, so the first wait is as short as one.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
/// Long enough to leave the processor alone, short enough that a freed descriptor is soon used.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// A peer that vanished without a word is noticed within a few minutes (the kernel probes 9 times).
const KEEPALIVE: Duration = Duration::from_secs(60);

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use nix::errno::Errno;

    fn sorted(number: Errno) -> Culprit {
        culprit(&io::Error::from(number))
    }

    #[test]
    fn only_exhaustion_makes_the_door_wait() {
        for number in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
            assert_eq!(sorted(number), Culprit::Machine, "{number}");
        }
    }

    #[test]
    fn a_visitor_that_left_is_no_reason_to_wait() {
        for number in
            [Errno::ECONNABORTED, Errno::ECONNRESET, Errno::EPROTO, Errno::ENETDOWN, Errno::EINTR]
        {
            assert_eq!(sorted(number), Culprit::Peer, "{number}");
        }
    }

    #[test]
    fn a_broken_socket_stops_the_door() {
        for number in [Errno::EBADF, Errno::EINVAL, Errno::ENOTSOCK] {
            assert_eq!(sorted(number), Culprit::Us, "{number}");
        }
    }
}

#[cfg(test)]
mod settings_tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::accept::Budgets;

    fn listener() -> std::net::TcpListener {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    }

    fn door(listener: std::net::TcpListener) -> Door {
        let one = std::num::NonZeroUsize::MIN;
        let strangers = Strangers::new(Budgets { strangers: one, per_source: one, members: one });
        Door::new(listener, strangers).unwrap()
    }

    #[tokio::test]
    async fn small_messages_leave_at_once_and_a_peer_that_vanished_is_noticed() {
        let mut door = door(listener());
        let _visitor = TcpStream::connect(door.local()).await.unwrap();
        let (stream, _, _) = door.next().await.unwrap().into_parts();
        let socket = SockRef::from(stream.tcp());
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_visitor_comes_in_without_the_filter_of_its_listener() {
        let listener = listener();
        let everybody = [socket2::SockFilter::new(0x06, 0, 0, u32::MAX)];
        if SockRef::from(&listener).attach_filter(&everybody).is_err() {
            return println!("skipped: this user may not filter on this kernel");
        }
        let mut door = door(listener);
        let _visitor = TcpStream::connect(door.local()).await.unwrap();
        let (stream, _, _) = door.next().await.unwrap().into_parts();
        let left = SockRef::from(stream.tcp()).detach_filter().unwrap_err();
        assert_eq!(left.kind(), io::ErrorKind::NotFound, "nothing is left to take off");
    }
}

//! Coming to a door without TLS, and what is found there.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// An address that may be visited, since it belongs to this check. [`Stage::aim`](super::stage::Stage::aim)
/// makes it, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target(SocketAddr);

/// What is found at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Knock {
    /// It opened, and said this before it closed or fell silent.
    Said(Vec<u8>),
    /// It opened, said nothing and hung up.
    HungUp,
    /// It opened and said nothing.
    Mute,
    /// A packet came back that says no.
    Refused,
    /// Nothing came back.
    Silent,
    /// There is no way there.
    Nowhere,
    /// Something else of this machine's.
    Other(String),
}

impl Knock {
    /// Whether the kernel made a connection.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Said(_) | Self::HungUp | Self::Mute)
    }

    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Said(_) => "open, and it talks",
            Self::HungUp => "open, and it hangs up",
            Self::Mute => "open, and it says nothing",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Nowhere => "no way there",
            Self::Other(what) => what,
        }
    }
}

impl Target {
    /// For [`Stage::aim`](super::stage::Stage::aim) alone.
    pub(super) fn new(at: SocketAddr) -> Self {
        Self(at)
    }

    pub(crate) fn address(self) -> SocketAddr {
        self.0
    }

    /// A connection from this address of the machine, or from whichever the system takes.
    ///
    /// # Errors
    /// As the system has it; `TimedOut` after `limit`.
    pub(crate) async fn connect(
        self,
        from: Option<IpAddr>,
        limit: Duration,
    ) -> std::io::Result<TcpStream> {
        let socket = if self.0.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        match timeout(limit, socket.connect(self.0)).await {
            Ok(connected) => connected,
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }

    /// Whether somebody listens there.
    pub(crate) async fn is_open(self, limit: Duration) -> bool {
        self.connect(None, limit).await.is_ok()
    }

    /// Connects and listens, each no longer than `limit`.
    pub(crate) async fn knock(self, from: Option<IpAddr>, limit: Duration) -> Knock {
        match self.connect(from, limit).await {
            Ok(stream) => hear(stream, limit).await,
            Err(error) => not_open(&error),
        }
    }
}

/// What the other side says first.
async fn hear(mut stream: TcpStream, limit: Duration) -> Knock {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    let listening = async {
        while said.len() < MOST_HEARD {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return true,
                Ok(count) => said.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            }
        }
        true
    };
    let ended = timeout(limit, listening).await.is_ok();
    match (said.is_empty(), ended) {
        (false, _) => Knock::Said(said),
        (true, true) => Knock::HungUp,
        (true, false) => Knock::Mute,
    }
}

fn not_open(error: &std::io::Error) -> Knock {
    let is = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
    if is(&[ErrorKind::ConnectionRefused]) {
        Knock::Refused
    } else if is(&[ErrorKind::TimedOut]) {
        Knock::Silent
    } else if is(&[ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable]) {
        Knock::Nowhere
    } else {
        Knock::Other(error.to_string())
    }
}

/// More than any service of an exercise says at once.
const MOST_HEARD: usize = 64 * 1024;

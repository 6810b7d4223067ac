//! The line to the upstream: opened, announced and secured, all within one deadline.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::upstream::{Endpoint, Upstream};
use crate::handshake::Dialler;
use crate::peer::PeerText;
use crate::problem::Problem;
use crate::refusal::{Refusal, Refused};

/// A byte stream both ways to the upstream, whatever it is made of.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
pub(super) type Line = Box<dyn Duplex>;

/// How the upstream is reached, with everything read that is needed for it.
#[derive(Clone, Debug)]
pub(super) enum Dial {
    Plain(Endpoint),
    Tls(Endpoint, Dialler),
    Unix(PathBuf),
}

/// Why there is no line.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nobody listens: the upstream is down, or in the middle of a restart.
    Refused(io::Error),
    /// It was not reached, or broke off at once.
    Unreachable(io::Error),
    /// It is not the server it should be, or it speaks no TLS.
    Untrusted(PeerText),
    /// It was not ready before the deadline.
    Late,
}

impl Dial {
    /// The way to `upstream`, with warnings.
    ///
    /// # Errors
    /// Every problem of the files that its TLS needs.
    pub(super) fn load(
        upstream: &Upstream,
        now: UnixTime,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        Ok(match upstream {
            Upstream::Plain(endpoint) => (Dial::Plain(endpoint.clone()), Vec::new()),
            Upstream::Unix(path) => (Dial::Unix(path.clone()), Vec::new()),
            Upstream::Tls(endpoint, settings) => {
                let (dialler, warnings) = Dialler::load(settings, now)?;
                (Dial::Tls(endpoint.clone(), dialler), warnings)
            }
        })
    }

    /// Connects and says `greeting`, before TLS where there is TLS, as receivers of the PROXY protocol
    /// expect it.
    pub(super) async fn reach(&self, greeting: &[u8], until: Instant) -> Result<Line, Broken> {
        timeout_at(until, self.connect(greeting)).await.unwrap_or(Err(Broken::Late))
    }

    async fn connect(&self, greeting: &[u8]) -> Result<Line, Broken> {
        match self {
            Dial::Plain(endpoint) => Ok(Box::new(open(endpoint, greeting).await?)),
            Dial::Tls(endpoint, dialler) => {
                let stream = open(endpoint, greeting).await?;
                let secured = dialler.perform(stream).await.map_err(|error| of_tls(&error))?;
                Ok(Box::new(secured))
            }
            Dial::Unix(path) => unix(path, greeting).await,
        }
    }
}

async fn open(endpoint: &Endpoint, greeting: &[u8]) -> Result<TcpStream, Broken> {
    let connected = match endpoint {
        Endpoint::Address(address) => TcpStream::connect(address).await,
        Endpoint::Name(host, port) => TcpStream::connect((host.as_str(), *port)).await,
    };
    let mut stream = connected.map_err(Broken::of)?;
    // What the caller says is gathered already; none of it may wait for company. Where that cannot be had, it is slow.
    drop(stream.set_nodelay(true));
    stream.write_all(greeting).await.map_err(Broken::Unreachable)?;
    Ok(stream)
}

#[cfg(unix)]
async fn unix(path: &Path, greeting: &[u8]) -> Result<Line, Broken> {
    let mut stream = tokio::net::UnixStream::connect(path).await.map_err(Broken::of)?;
    stream.write_all(greeting).await.map_err(Broken::Unreachable)?;
    Ok(Box::new(stream))
}

#[cfg(not(unix))]
async fn unix(_: &Path, _: &[u8]) -> Result<Line, Broken> {
    Err(Broken::Unreachable(io::Error::other("this system has no unix sockets")))
}

fn of_tls(error: &io::Error) -> Broken {
    match said_in_tls(error) {
        Some(said) => Broken::Untrusted(said),
        None => Broken::Unreachable(io::Error::new(error.kind(), "it broke off in the handshake")),
    }
}

/// What TLS says of a broken stream; none where it is not TLS that broke it.
pub(super) fn said_in_tls(error: &io::Error) -> Option<PeerText> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    if let Error::InvalidCertificate(CertificateError::Other(ours)) = error {
        // rustls shows it in the form of a program text.
        return Some(PeerText::from(format!("invalid peer certificate: {}", ours.0).as_str()));
    }
    Some(PeerText::from(error.to_string().as_str()))
}

impl Broken {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is non-exhaustive; whatever else hinders a connection is no restart"
    )]
    fn of(error: io::Error) -> Self {
        match error.kind() {
            // A unix socket that is not there yet is the same as a port nobody listens on.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Broken::Refused(error),
            _ => Broken::Unreachable(error),
        }
    }

    /// Whether it may be the moment between the end of the upstream and its next beginning.
    pub(super) fn may_be_a_restart(&self) -> bool {
        matches!(self, Broken::Refused(_))
    }

    /// The refusal of a member that waited for this.
    pub(super) fn refusal(&self, upstream: &str) -> Refused {
        let refusal = match self {
            Broken::Refused(_) | Broken::Unreachable(_) => Refusal::ServiceUnreachable,
            Broken::Untrusted(_) => Refusal::ServiceUntrusted,
            Broken::Late => Refusal::ServiceTimeout,
        };
        refusal.because(format!("{upstream}: {self}"))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Refused(error) | Broken::Unreachable(error) => error.fmt(f),
            Broken::Untrusted(said) => said.fmt(f),
            Broken::Late => f.write_str("not ready within connect_deadline"),
        }
    }
}

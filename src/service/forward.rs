//! Forward: the session goes on to an upstream, byte for byte, half-closes kept.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{FrameReader, FrameWriter, Frames, Service, Serving};
use crate::identity::Caller;
use crate::problem::{Fault, Problem};
use crate::refusal::{Refusal, Refused};

/// Where a session goes on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// An address.
    Tcp(SocketAddr),
    /// A host name and a port; the name is looked up for each session.
    Name(String, u16),
    /// A unix socket.
    Unix(std::path::PathBuf),
}

impl Upstream {
    /// Reads `127.0.0.1:6379`, `db.internal:5432` or `unix:/run/app.sock`.
    ///
    /// # Errors
    /// [`Fault::ServiceBadUpstream`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let bad = |why: &str| {
            let remedy = "write \"127.0.0.1:6379\", \"db.internal:5432\" or \"unix:/run/app.sock\"";
            Problem::error(Fault::ServiceBadUpstream, format!("{text:?} {why}"), remedy)
        };
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.len() > LONGEST_SOCKET_PATH {
                return Err(bad("is no absolute path of at most 107 bytes"));
            }
            return Ok(Upstream::Unix(path.into()));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(bad("has no port")),
                _ => Ok(Upstream::Tcp(address)),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("has no port"))?;
        let port: u16 = port.parse().map_err(|_| bad("has no port between 1 and 65535"))?;
        let is_host = host.len() <= LONGEST_HOST
            && host.split('.').all(is_label)
            && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if port == 0 || !is_host {
            return Err(bad("is no address and no host name"));
        }
        Ok(Upstream::Name(host.to_owned(), port))
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Upstream::Tcp(address) => address.fmt(f),
            Upstream::Name(host, port) => write!(f, "{host}:{port}"),
            Upstream::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Connects every session to an upstream. What the visitor says passes the frame gate and goes on
/// unchanged; what the upstream answers goes back as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where to.
    pub to: Upstream,
    /// How long the upstream may take to accept.
    pub connect_deadline: Duration,
}

impl Service for Forward {
    fn serve<'a>(&'a self, _caller: &'a Caller, frames: &'a mut Frames) -> Serving<'a> {
        Box::pin(async move {
            match &self.to {
                Upstream::Tcp(address) => self.relay(frames, TcpStream::connect(address)).await?,
                Upstream::Name(host, port) => {
                    self.relay(frames, TcpStream::connect((host.as_str(), *port))).await?;
                }
                Upstream::Unix(path) => self.relay_unix(frames, path).await?,
            }
            Ok(())
        })
    }

    /// The upstream's protocol is not ours to speak in.
    fn reports_refusals(&self) -> bool {
        false
    }
}

impl Forward {
    #[cfg(unix)]
    async fn relay_unix(&self, frames: &mut Frames, path: &std::path::Path) -> Result<(), Refused> {
        self.relay(frames, tokio::net::UnixStream::connect(path)).await
    }

    #[cfg(not(unix))]
    async fn relay_unix(&self, _: &mut Frames, _: &std::path::Path) -> Result<(), Refused> {
        Err(Refusal::ServiceUnreachable.because("this system has no unix sockets"))
    }

    async fn relay<S>(
        &self,
        frames: &mut Frames,
        connecting: impl Future<Output = io::Result<S>>,
    ) -> Result<(), Refused>
    where
        S: AsyncRead + AsyncWrite,
    {
        let upstream = match timeout(self.connect_deadline, connecting).await {
            Ok(Ok(upstream)) => upstream,
            Ok(Err(error)) => {
                return Err(Refusal::ServiceUnreachable.because(format!("{}: {error}", self.to)));
            }
            Err(_) => {
                let waited = format!("{}: no answer after {:?}", self.to, self.connect_deadline);
                return Err(Refusal::ServiceTimeout.because(waited));
            }
        };
        let (from_upstream, to_upstream) = tokio::io::split(upstream);
        let idle = frames.idle();
        let said_all = AtomicBool::new(false);
        let (reader, writer) = frames.halves();
        tokio::try_join!(
            up(reader, to_upstream, &said_all),
            down(from_upstream, writer, idle, &said_all)
        )?;
        Ok(())
    }
}

/// Visitor to upstream, until the visitor ends its side; then the upstream is told so.
async fn up(
    reader: &mut FrameReader,
    mut upstream: impl AsyncWrite + Unpin,
    said_all: &AtomicBool,
) -> Result<(), Refused> {
    let mut listening = true;
    while let Some(frame) = reader.next().await {
        let frame = frame?;
        if !listening {
            continue;
        }
        match timeout(LONGEST_STALL, upstream.write_all(frame.wire())).await {
            Ok(Ok(())) => {}
            // The upstream has had enough; what it still answers goes on to the visitor.
            Ok(Err(_)) => listening = false,
            Err(_) => return Err(Refusal::ServiceTimeout.because("the upstream stopped reading")),
        }
    }
    said_all.store(true, Ordering::Relaxed);
    // An upstream that is gone already needs no telling.
    drop(upstream.shutdown().await);
    Ok(())
}

/// Upstream to visitor, until the upstream ends its side; then the visitor is told so.
async fn down(
    mut upstream: impl AsyncRead + Unpin,
    writer: &mut FrameWriter,
    idle: Duration,
    said_all: &AtomicBool,
) -> Result<(), Refused> {
    let mut buffer = bytes::BytesMut::with_capacity(COPIED_AT_ONCE);
    loop {
        buffer.clear();
        match timeout(idle, upstream.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return writer.close().await,
            Ok(Ok(_)) => writer.pass(&buffer).await?,
            Ok(Err(error)) => {
                let why = format!("the upstream broke off: {}", error.kind());
                return Err(Refusal::ServiceFailed.because(why));
            }
            // While the visitor may still speak, its own idle deadline decides.
            Err(_) if !said_all.load(Ordering::Relaxed) => {}
            Err(_) => return Err(Refusal::FrameIdle.because("neither side says anything")),
        }
    }
}

/// One TLS record (RFC 8446 section 5.1).
const COPIED_AT_ONCE: usize = 16 * 1024;
/// An upstream that takes nothing for so long is stuck.
const LONGEST_STALL: Duration = Duration::from_secs(30);
/// `sun_path` of Linux holds 108 bytes with its final zero.
const LONGEST_SOCKET_PATH: usize = 107;
/// RFC 1035 section 2.3.4.
const LONGEST_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_an_address_a_name_or_a_unix_socket() {
        for text in ["127.0.0.1:6379", "[::1]:5432", "db.internal:5432", "unix:/run/app.sock"] {
            assert_eq!(Upstream::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "6379",
            ":6379",
            "db",
            "db:0",
            "db:99999",
            "unix:run",
            "1.2.3:9",
            "a b:1",
            "127.0.0.1:0",
        ] {
            assert_eq!(
                Upstream::parse(text).unwrap_err().fault(),
                Fault::ServiceBadUpstream,
                "{text}"
            );
        }
    }
}

//! The flood: connections without TLS, as many as are answered, over loopback alone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::load::{Load, Missed};
use super::report::Measure;

impl Load {
    /// Connections from an address that say nothing, until the server has closed them.
    pub(super) async fn flood(&self, from: IpAddr) -> Measure {
        let at = self.dial.at;
        self.repeat(AT_ONCE, MOST_EACH, move |_| knock(from, at)).await
    }
}

async fn knock(from: IpAddr, at: SocketAddr) -> Result<(), Missed> {
    match timeout(NO_ANSWER, connect(from, at)).await {
        Err(_) => Err(Missed::Unanswered),
        Ok(Err(error)) => Err(Missed::Failed(error)),
        Ok(Ok(mut stream)) => {
            // Without a wait in the system for each, which would run out of ports.
            drop(stream.set_zero_linger());
            drop(stream.shutdown().await);
            // A stranger may be told why, or be cut off: either is an end.
            let mut words = Vec::new();
            drop(timeout(GOODBYE, stream.take(MOST_WORDS).read_to_end(&mut words)).await);
            Ok(())
        }
    }
}

async fn connect(from: IpAddr, at: SocketAddr) -> io::Result<TcpStream> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(at).await
}

/// An alert is seven bytes.
const MOST_WORDS: u64 = 4096;
/// As many as a busy server has in its queue.
pub(super) const AT_ONCE: usize = 64;
/// A flood ends after this many tries of each task, however long it may last: less than half a million in all.
const MOST_EACH: u64 = 7_000;
/// Over loopback the answer is there when the call returns, if there is any.
const NO_ANSWER: Duration = Duration::from_millis(10);
/// A server that does not close in that time is measured by the next one.
const GOODBYE: Duration = Duration::from_millis(200);

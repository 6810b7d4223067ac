//! The small server of exercise 02, which takes its seat as its file says.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    listen: IpAddr,
    taken: Taken,
    /// How often it asks, where it asks again; for ever without it.
    attempts: Option<u32>,
    /// Milliseconds between two times.
    #[serde(default)]
    wait: u64,
    take: Take,
    /// How a start without a seat is told to whoever looks at the exit code.
    #[serde(default = "one")]
    code: u8,
}

fn one() -> u8 {
    1
}

/// What it does where the port is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Taken {
    /// It goes on as if nothing had happened.
    Ignore,
    /// It takes any port that is free.
    Elsewhere,
    /// It asks again.
    Retry,
    /// It says so and ends.
    Fail,
}

/// How it asks the kernel for the seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Take {
    /// Without an option.
    Plain,
    /// Old connections of a server that is gone do not hold it (`SO_REUSEADDR`).
    ReuseAddress,
    /// Others may sit on it too (`SO_REUSEPORT`).
    ReusePort,
}

/// Serves `greeting.txt` at this port until the process is ended; the exit code, where there was no seat.
///
/// # Errors
/// In a sentence: what in the file cannot be used.
pub(crate) async fn serve(file: &Path, port: u16) -> Result<u8, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let plan: Plan =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let at = SocketAddr::new(plan.listen, port);
    match plan.seat(at).await {
        Ok(listener) => {
            let own = listener.local_addr().map_or(port, |own| own.port());
            say(&format!("ready {own}"));
            greet(listener).await
        }
        Err(_) if plan.taken == Taken::Ignore => {
            say(&format!("ready {port}"));
            std::future::pending::<()>().await;
            Ok(0)
        }
        Err(error) => {
            drop(writeln!(io::stderr(), "{at} cannot be had: {error}"));
            Ok(plan.code)
        }
    }
}

impl Plan {
    async fn seat(&self, at: SocketAddr) -> io::Result<TcpListener> {
        let mut asked = 1_u32;
        loop {
            let error = match self.listen(at) {
                Ok(listener) => return Ok(listener),
                Err(error) => error,
            };
            let may_ask = self.attempts.is_none_or(|most| asked < most);
            match self.taken {
                Taken::Retry if may_ask => {
                    asked = asked.saturating_add(1);
                    sleep(Duration::from_millis(self.wait)).await;
                }
                Taken::Elsewhere => return self.listen(SocketAddr::new(at.ip(), 0)),
                Taken::Ignore | Taken::Retry | Taken::Fail => return Err(error),
            }
        }
    }

    fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
        match self.take {
            Take::Plain => {}
            Take::ReuseAddress => reuse_address(&socket)?,
            Take::ReusePort => share(&socket)?,
        }
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        socket.listen(64)?;
        TcpListener::from_std(socket.into())
    }
}

/// On Windows this option would let others sit on the same seat, and an old connection holds none.
fn reuse_address(socket: &Socket) -> io::Result<()> {
    if cfg!(windows) { Ok(()) } else { socket.set_reuse_address(true) }
}

/// Lets others sit on the same seat.
pub(crate) fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    Ok(())
}

async fn greet(listener: TcpListener) -> ! {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let text = std::fs::read("greeting.txt").unwrap_or_default();
        // A visitor that went away is no failure of the server.
        drop(stream.write_all(&text).await);
        drop(stream.shutdown().await);
    }
}

fn say(line: &str) {
    drop(writeln!(io::stdout().lock(), "{line}"));
}

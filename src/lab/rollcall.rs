//! The small server of exercise 01, which knows who is who by as much as its file says.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The file.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Plan {
    listen: SocketAddr,
    serve: Serve,
    known_by: KnownBy,
    report: Report,
}

/// How it takes visitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Serve {
    /// The next one is taken when the last one has gone.
    OneByOne,
    AtOnce,
}

/// What tells one visitor from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KnownBy {
    Nothing,
    Address,
    Port,
    Both,
}

/// Which numbers it tells a visitor of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Report {
    /// The server's end, then the visitor's.
    ServerClient,
    ClientServer,
    /// The visitor's port as if the server had it.
    NewPort,
}

struct Roll {
    plan: Plan,
    names: Mutex<HashMap<String, String>>,
}

/// Serves until the process is ended.
///
/// # Errors
/// In a sentence: what in the file cannot be done.
pub(crate) async fn serve(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let plan: Plan =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let listener = TcpListener::bind(plan.listen).await;
    let listener = listener.map_err(|error| format!("{}: {error}", plan.listen))?;
    drop(writeln!(std::io::stdout(), "listening at {}", plan.listen));
    Arc::new(Roll { plan, names: Mutex::default() }).open(listener).await
}

impl Roll {
    async fn open(self: Arc<Self>, listener: TcpListener) -> ! {
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            match self.plan.serve {
                Serve::OneByOne => self.receive(stream, from).await,
                Serve::AtOnce => {
                    let roll = Arc::clone(&self);
                    tokio::spawn(async move { roll.receive(stream, from).await });
                }
            }
        }
    }

    /// Answers line by line until the visitor has no more.
    async fn receive(&self, stream: TcpStream, from: SocketAddr) {
        let key = match self.plan.known_by {
            KnownBy::Nothing => String::new(),
            KnownBy::Address => from.ip().to_string(),
            KnownBy::Port => from.port().to_string(),
            KnownBy::Both => from.to_string(),
        };
        let four = self.four(&stream, from);
        let mut stream = BufReader::new(stream);
        let mut is_named = false;
        loop {
            let mut line = Vec::new();
            let read = (&mut stream).take(LONGEST).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(1..)) {
                break;
            }
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            is_named |= line.starts_with("name ");
            let reply = self.answer(&key, &line, &four);
            if stream.get_mut().write_all(format!("{reply}\n").as_bytes()).await.is_err() {
                break;
            }
        }
        if is_named {
            self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
    }

    fn answer(&self, key: &str, line: &str, four: &str) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match line.split_once(' ') {
            Some(("name", name)) => {
                names.insert(key.to_owned(), name.to_owned());
                format!("hello {name}")
            }
            _ if line == "who" => names.get(key).cloned().unwrap_or_else(|| "nobody".to_owned()),
            _ if line == "four" => four.to_owned(),
            _ => "what?".to_owned(),
        }
    }

    fn four(&self, stream: &TcpStream, from: SocketAddr) -> String {
        let own = stream.local_addr().unwrap_or(self.plan.listen);
        match self.plan.report {
            Report::ServerClient => format!("{own} {from}"),
            Report::ClientServer => format!("{from} {own}"),
            Report::NewPort => format!("{} {from}", SocketAddr::new(own.ip(), from.port())),
        }
    }
}

const LONGEST: u64 = 200;

//! Names the fault of a service by a table: the way of exercise 05 that needs no code.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The file: how long to wait, and what to conclude from what is seen.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    /// Milliseconds for each wait; it waits for ever without it.
    timeout: Option<u64>,
    /// What is seen, and the word for it.
    conclude: BTreeMap<String, String>,
}

/// Connects, looks, and prints the word that the table has for what was seen.
///
/// # Errors
/// In a sentence: what in the file cannot be used.
pub(crate) async fn name(file: &Path, host: &str, port: u16) -> Result<(), String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let table: Table =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    if let Some(unknown) = table.conclude.keys().find(|seen| !SEEN.contains(&seen.as_str())) {
        let known = SEEN.join(", ");
        return Err(format!(
            "{}: nothing is seen as {unknown:?}; there are {known}",
            file.display()
        ));
    }
    let limit = table.timeout.map_or(Duration::MAX, Duration::from_millis);
    let seen = look(host, port, limit).await;
    let word = table.conclude.get(seen);
    let word = word.ok_or_else(|| format!("the table says nothing of {seen}"))?;
    drop(writeln!(std::io::stdout().lock(), "{word}"));
    Ok(())
}

async fn look(host: &str, port: u16, limit: Duration) -> &'static str {
    let stream = match timeout(limit, TcpStream::connect((host, port))).await {
        Err(_) => return "connect-timeout",
        Ok(Err(error)) => {
            return if error.kind() == ErrorKind::ConnectionRefused {
                "connect-refused"
            } else if error.kind() == ErrorKind::TimedOut {
                "connect-timeout"
            } else {
                "connect-unreachable"
            };
        }
        Ok(Ok(stream)) => stream,
    };
    hear(stream, limit).await
}

/// Says hello, and looks at the first byte that comes back.
async fn hear(mut stream: TcpStream, limit: Duration) -> &'static str {
    drop(stream.write_all(b"hello\n").await);
    let mut first = [0];
    match timeout(limit, stream.read(&mut first)).await {
        Err(_) => "connected-then-silence",
        Ok(Ok(0) | Err(_)) => "connected-then-end",
        // An alert of TLS (RFC 8446, 5.1): it expected a handshake.
        Ok(Ok(_)) if first == [0x15] => "connected-then-tls-alert",
        Ok(Ok(_)) => "connected-then-answer",
    }
}

const SEEN: [&str; 7] = [
    "connect-refused",
    "connect-timeout",
    "connect-unreachable",
    "connected-then-end",
    "connected-then-silence",
    "connected-then-tls-alert",
    "connected-then-answer",
];

//! The club server of exercise 08: a door for each service, where its file says.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    #[serde(default)]
    door: Vec<Door>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Door {
    name: String,
    listen: SocketAddr,
}

/// Opens every door until the process is ended.
///
/// # Errors
/// In a sentence: what in the file cannot be done.
pub(crate) async fn open(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let plan: Plan =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut doors = Vec::new();
    for door in plan.door {
        let listener = TcpListener::bind(door.listen).await;
        let listener = listener.map_err(|error| format!("{}: {error}", door.listen))?;
        drop(writeln!(std::io::stdout(), "{} is open at {}", door.name, door.listen));
        doors.push(welcome(listener, door.name));
    }
    futures_util::future::join_all(doors).await;
    Ok(())
}

async fn welcome(listener: TcpListener, name: String) {
    let mut failures = 0_u32;
    while failures < MOST_FAILURES {
        let Ok((mut stream, _)) = listener.accept().await else {
            failures = failures.saturating_add(1);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        // A visitor that went away is no failure of the door.
        drop(stream.write_all(format!("this is {name}\n").as_bytes()).await);
        drop(stream.shutdown().await);
    }
}

const MOST_FAILURES: u32 = 1000;

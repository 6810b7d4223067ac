//! The scene of these tests: a service with a program behind it, and a look at who is still there.

use std::fs;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, sleep, timeout};

use crate::support::hall::PATIENCE;
use crate::support::{Set, Visitor};

/// A configuration whose service runs `command`. Its callers speak in lines unless `tables` say otherwise.
pub(super) fn run(set: &Set, command: &[&str], keys: &str, tables: &str) -> String {
    let frame =
        if tables.contains("[service.frame]") { "" } else { "[service.frame]\nkind = \"lines\"\n" };
    let service = format!(
        "[[service]]\nname = \"door\"\nlisten = \"127.0.0.1:0\"\nkind = \"run\"\ncommand = {command:?}\n{keys}\n\
         [[service.identity]]\npermit = [\"dns:alice.client.internal\"]\n{frame}{tables}\n"
    );
    set.tables("") + &service
}

/// The same with a script for the shell.
pub(super) fn script(set: &Set, script: &str, keys: &str, tables: &str) -> String {
    run(set, &["sh", "-c", script], keys, tables)
}

pub(super) fn alice(set: &Set) -> Visitor {
    Visitor::new(set, Some(&set.client("alice")))
}

/// The next line.
pub(super) async fn line(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut line = Vec::new();
    loop {
        match timeout(PATIENCE, stream.read_u8()).await.expect("a line in time").unwrap() {
            b'\n' => return String::from_utf8(line).unwrap(),
            byte => line.push(byte),
        }
    }
}

/// The numbers in the next line.
pub(super) async fn numbers(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u32> {
    line(stream).await.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

pub(super) async fn say(stream: &mut (impl AsyncWriteExt + Unpin), words: &str) {
    stream.write_all(words.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Waits until none of these processes is there, not even as a zombie.
pub(super) async fn gone(processes: &[u32]) {
    for process in processes {
        until(|| !Path::new(&format!("/proc/{process}")).exists(), &format!("{process} stays"))
            .await;
    }
}

/// Waits until none of these processes runs; whoever adopted it may take its time to notice.
pub(super) async fn dead(processes: &[u32]) {
    for process in processes {
        let state = || fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        until(
            || state().rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])),
            &format!("{process} runs on"),
        )
        .await;
    }
}

/// Nobody tells a test about processes that are not its own: it looks again and again.
pub(super) async fn until(is_so: impl Fn() -> bool, otherwise: &str) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{otherwise}"));
}

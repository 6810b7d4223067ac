//! An upstream that is down: one member at a time tries it, everybody else is told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{alice, answer_at_the_end, certificates, closed_port, door, listen};
use crate::cli::Guard;
use crate::support::{Hall, Set};

#[tokio::test]
async fn a_restart_is_waited_for_by_one_while_the_others_are_told_at_once() {
    let set = Set::new();
    let (socket, at) = closed_port();
    // The others must not have to wait for this deadline, which no test has the patience for.
    let config = door(&set, &at.to_string(), "connect_deadline = \"60s\"", "");
    let mut hall = Hall::of(&config);
    let to = hall.address("door");
    let alice = alice(&set);
    let first = tokio::spawn({
        let alice = alice.clone();
        async move { alice.say(to, b"abc").await }
    });
    hall.permitted().await;
    // The second may still have found it out by itself; the third is told.
    for number in [2, 3] {
        drop(alice.say(to, b"hi").await);
        let (code, event) = hall.ending().await;
        assert_eq!(code, "service.unreachable");
        let event = format!("{event:?}");
        let told = event.contains("down since 2") && event.contains("refused");
        assert!(told || number == 2, "{event}");
        let next = event.contains("next attempt in ") || event.contains("is under way");
        assert!(next || number == 2, "{event}");
    }
    let upstream = listen(socket);
    tokio::spawn(async move {
        loop {
            answer_at_the_end(upstream.accept().await.unwrap().0).await;
        }
    });
    assert_eq!(first.await.unwrap().unwrap(), b"cba", "it waited for the restart");
    assert_eq!(hall.verdict().await, "left");
    assert_eq!(alice.say(to, b"xyz").await.unwrap(), b"zyx", "and it is over for everybody");
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn one_member_at_a_time_tries_an_upstream_that_is_down() {
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("tls:{}", upstream.local_addr().unwrap());
    let table = certificates(&set, "");
    // It accepts, and never says a word of TLS: each attempt takes its whole deadline.
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            silent.push(upstream.accept().await.unwrap());
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut hall = Hall::of(&door(&set, &to, "connect_deadline = \"2s\"", &table));
    let at = hall.address("door");
    let alice = alice(&set);
    drop(alice.say(at, b"hi").await);
    assert_eq!(hall.verdict().await, "service.timeout");
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    let mut members = JoinSet::new();
    for _ in 0..MEMBERS {
        let alice = alice.clone();
        members.spawn(async move { drop(alice.say(at, b"hi").await) });
    }
    let mut told = 0;
    for _ in 0..MEMBERS {
        let code = hall.verdict().await;
        assert!(["service.unreachable", "service.timeout"].contains(&code), "{code}");
        told += usize::from(code == "service.unreachable");
    }
    members.join_all().await;
    // One tries, and one after it on a slow machine.
    assert!(told >= MEMBERS - 2, "{told} of {MEMBERS} were told at once");
    let attempts = attempts.load(Ordering::SeqCst);
    assert!(attempts <= 3, "{attempts} attempts");
}

/// Fewer than may come from one network at a time.
const MEMBERS: usize = 12;

#[tokio::test]
async fn a_check_knows_before_the_first_member_and_tells_each_change_once() {
    let set = Set::new();
    let (socket, at) = closed_port();
    let keys = "connect_deadline = \"60s\"\nhealth = \"1s\"";
    let mut guard = Guard::start(&set, &door(&set, &at.to_string(), keys, ""));
    let alice = alice(&set);
    // Without the check this first member would be the one that waits for a restart, a minute long.
    let heard = alice.say(guard.address(), b"hi").await.unwrap_or_default();
    assert_eq!(heard, b"");
    let upstream = listen(socket);
    for _ in 0..3 {
        let (mut check, _) = upstream.accept().await.unwrap();
        assert_eq!(check.read(&mut [0; 16]).await.unwrap(), 0, "a check says nothing");
    }
    tokio::spawn(async move { answer_at_the_end(upstream.accept().await.unwrap().0).await });
    let log = guard.stop();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("the upstream is down"), 1, "{log}");
    assert_eq!(lines("the upstream is up again"), 1, "{log}");
    assert_eq!(lines("code=service.unreachable"), 1, "{log}");
    assert!(log.contains("service=door") && log.contains("why=\"Connection refused"), "{log}");
}

//! The accept room: strangers and members do not share seats.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::visitor::hear;
use crate::support::{ALICE, Hall, Set, Visitor, prefixed};

fn hall(set: &Set, budgets: &str) -> Hall {
    Hall::of(&format!("[accept]\n{budgets}\n{}{ALICE}", set.tables("")))
}

#[tokio::test]
async fn idle_strangers_as_many_as_there_are_seats_keep_no_member_out() {
    let set = Set::new();
    let mut hall = hall(&set, "strangers = 4\nper_source = 4\nmembers = 2");
    let mut idle = Vec::new();
    for source in 1..=4 {
        let stranger = Visitor::new(&set, None).from(&format!("127.0.1.{source}"));
        idle.push(stranger.knock(hall.address("echo")).await.unwrap());
    }
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let mut session = alice.enter(hall.address("echo")).await.unwrap();
    session.write_all(&prefixed(b"hi")).await.unwrap();
    let mut echoed = [0; 6];
    session.read_exact(&mut echoed).await.unwrap();
    assert_eq!(echoed[..], prefixed(b"hi"));
    // The oldest made room for her.
    assert_eq!(hall.verdict().await, "accept.evicted");
    let mut first = idle.remove(0);
    assert_eq!(hear(&mut first).await.unwrap_or_default(), b"");

    // She sits among the members now: strangers that come later do not touch her.
    for source in 5..=9 {
        let stranger = Visitor::new(&set, None).from(&format!("127.0.1.{source}"));
        idle.push(stranger.knock(hall.address("echo")).await.unwrap());
    }
    assert_eq!(hall.verdict().await, "accept.evicted");
    session.write_all(&prefixed(b"ho")).await.unwrap();
    session.read_exact(&mut echoed).await.unwrap();
    assert_eq!(echoed[..], prefixed(b"ho"));
}

#[tokio::test]
async fn a_network_uses_up_only_its_own_share() {
    let set = Set::new();
    let mut hall = hall(&set, "strangers = 100\nper_source = 2\nmembers = 2");
    let other =
        Visitor::new(&set, None).from("127.0.2.9").knock(hall.address("echo")).await.unwrap();
    let greedy = Visitor::new(&set, None).from("127.0.2.1");
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(greedy.knock(hall.address("echo")).await.unwrap());
    }
    assert_eq!(hall.verdict().await, "accept.source-share");
    assert_eq!(hear(&mut idle[0]).await.unwrap_or_default(), b"");
    // The other network's stranger still sits, and may begin its handshake.
    let mut byte = [0; 1];
    let waiting = other.try_read(&mut byte).unwrap_err();
    assert_eq!(waiting.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn members_are_never_sent_away_for_a_newcomer() {
    let set = Set::new();
    let mut hall = hall(&set, "strangers = 4\nper_source = 4\nmembers = 1");
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let mut first = alice.enter(hall.address("echo")).await.unwrap();
    hall.permitted().await;
    let mut second = alice.enter(hall.address("echo")).await.unwrap();
    assert_eq!(hall.verdict().await, "accept.members-full");
    assert_eq!(hear(&mut second).await.unwrap(), b"", "a proper end");
    first.write_all(&prefixed(b"hi")).await.unwrap();
    first.shutdown().await.unwrap();
    assert_eq!(hear(&mut first).await.unwrap(), prefixed(b"hi"));
    assert_eq!(hall.verdict().await, "left");
    // Her seat is free again.
    let heard = alice.say(hall.address("echo"), &prefixed(b"ho")).await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", prefixed(b"ho")));
}

#[tokio::test]
async fn a_stranger_in_the_middle_of_its_handshake_is_told_that_the_server_drains() {
    let set = Set::new();
    let mut hall = hall(&set, "");
    let mut stranger = Visitor::new(&set, None).knock(hall.address("echo")).await.unwrap();
    stranger.write_all(&[22]).await.unwrap();
    // A second visitor has come and gone, so the first is inside by now.
    let nobody = Visitor::new(&set, None);
    drop(nobody.say(hall.address("echo"), b"").await);
    assert_eq!(hall.verdict().await, "handshake.no-certificate");
    hall.control.drain();
    assert_eq!(hall.verdict().await, "accept.draining");
    assert_eq!(hear(&mut stranger).await.unwrap_or_default(), b"");
    hall.running.await.unwrap().unwrap();
}

//! A stricter configuration on live traffic: it says what it would refuse, and has no say.

use std::path::PathBuf;

use doorward::audit::Event;
use tokio::io::AsyncWriteExt;

use crate::cli::{Guard, block_on};
use crate::support::visitor::hear;
use crate::support::{ALICE, Hall, Set, Visitor, prefixed};

/// A configuration that tries another one, which is this one after `change`.
fn trying(set: &Set, change: impl Fn(String) -> String) -> (String, PathBuf) {
    let text = set.tables("") + ALICE;
    let tried = set.write("stricter.toml", change(text.clone()).as_bytes());
    (format!("[server]\ndry_run = \"{}\"\n{text}", tried.display()), tried)
}

/// What would have been refused in one visit, which was let in and served all the same.
async fn doubts(set: &Set, hall: &mut Hall, words: &[u8]) -> Vec<&'static str> {
    let alice = Visitor::new(set, Some(&set.client("alice")));
    assert_eq!(alice.say(hall.address("echo"), words).await.unwrap(), words);
    let (mut codes, mut permitted) = (Vec::new(), false);
    loop {
        let event = hall.event().await;
        if let Event::WouldRefuse(visit, caller, refused) = &event {
            assert_eq!(caller.name().to_string(), "dns:alice.client.internal");
            assert!(permitted && visit.number > 0, "first it is let in");
            codes.push(refused.code());
        }
        permitted |= matches!(event, Event::Permitted(..));
        if matches!(event, Event::Left(..)) {
            return codes;
        }
    }
}

type Change = fn(String) -> String;

#[tokio::test]
async fn each_room_says_what_it_would_refuse_and_refuses_nothing() {
    let deny = |text: String| text.replace("[handshake]", "deny = [\"127.0.0.0/24\"]\n[handshake]");
    let bob = |text: String| text.replace("dns:alice", "dns:bob");
    let short = |text: String| text + "  [service.frame]\n  max = 2\n";
    let gone = |text: String| text.replace("\"echo\"\nlisten", "\"other\"\nlisten");
    let same = |text: String| text;
    let tries: [(Change, &[&str]); 5] = [
        (deny, &["address.denied"]),
        (bob, &["identity.not-permitted"]),
        (short, &["frame.too-long"]),
        (gone, &["service.removed"]),
        (same, &[]),
    ];
    for (change, expected) in tries {
        let set = Set::new();
        let mut hall = Hall::of(&trying(&set, change).0);
        assert_eq!(doubts(&set, &mut hall, &prefixed(b"hello")).await, expected);
        let status = hall.control.status().await.unwrap();
        let counted: Vec<_> = status.would_refuse.unwrap().into_keys().collect();
        assert_eq!(
            (counted, status.permitted),
            (expected.iter().map(ToString::to_string).collect(), 1)
        );
        assert!(status.refused.is_empty());
    }
}

#[tokio::test]
async fn another_authority_and_another_version_are_tried() {
    let (set, other) = (Set::new(), Set::new());
    let elsewhere = |text: String| {
        let path = |set: &Set, name: &str| set.path(name).display().to_string();
        ["trust.pem", "crl.pem"]
            .iter()
            .fold(text, |text, name| text.replace(&path(&set, name), &path(&other, name)))
    };
    let mut hall = Hall::of(&trying(&set, elsewhere).0);
    assert_eq!(doubts(&set, &mut hall, &prefixed(b"hi")).await, ["handshake.unknown-authority"]);

    let text = trying(&set, |text| text).0;
    let old = text.replace("[handshake]", "[handshake]\nversions = [\"1.2\", \"1.3\"]");
    let mut hall = Hall::of(&old);
    let versions = [&rustls::version::TLS12];
    let alice = Visitor::speaking(&set, Some(&set.client("alice")), &versions);
    alice.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap();
    hall.permitted().await;
    let Event::WouldRefuse(_, _, refused) = hall.event().await else { panic!("a doubt") };
    assert_eq!(refused.code(), "handshake.version");
}

#[tokio::test]
async fn a_laxer_policy_lets_nobody_in() {
    let set = Set::new();
    let lax = |text: String| text.replace("dns:alice", "dns:mallory");
    let mut hall = Hall::of(&trying(&set, lax).0);
    let mallory = Visitor::new(&set, Some(&set.client("mallory")));
    mallory.say(hall.address("echo"), b"").await.unwrap();
    assert_eq!(hall.verdict().await, "identity.not-permitted");
    assert!(hall.control.status().await.unwrap().would_refuse.unwrap().is_empty());
}

#[tokio::test]
async fn messages_are_tried_as_they_come_and_told_of_once() {
    let set = Set::new();
    let slow = |text: String| text + "  [service.frame]\n  rate = \"1/h\"\n";
    let mut hall = Hall::of(&trying(&set, slow).0);
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let mut session = alice.enter(hall.address("echo")).await.unwrap();
    crate::reload::alive(&mut session).await;
    crate::reload::alive(&mut session).await;
    hall.permitted().await;
    let Event::WouldRefuse(_, _, refused) = hall.event().await else { panic!("a doubt") };
    assert_eq!(refused.code(), "frame.rate");
    crate::reload::alive(&mut session).await;
    session.shutdown().await.unwrap();
    hear(&mut session).await.unwrap();
    assert_eq!(hall.verdict().await, "left");
}

#[test]
fn what_is_tried_is_read_anew_and_must_be_right() {
    let set = Set::new();
    let (config, tried) = trying(&set, |text| text);
    let log = set.path("log.d/log");
    std::fs::create_dir(log.parent().unwrap()).unwrap();
    let config = format!("[audit]\nto = \"file:{}\"\n{config}", log.display());
    let mut guard = Guard::start(&set, &config);
    let text = std::fs::read_to_string(&tried).unwrap();
    std::fs::write(&tried, text.replace("permit", "premit")).unwrap();
    guard.signal("HUP");
    let heard = guard.hear("kept: ");
    assert!(heard.contains("stricter.toml:") && heard.contains("config.unknown-key"), "{heard}");
    std::fs::write(&tried, text.replace("dns:alice", "dns:bob")).unwrap();
    guard.signal("HUP");
    guard.hear("reloaded: ");
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let heard = block_on(alice.say(guard.address(), &prefixed(b"hi"))).unwrap();
    assert_eq!(heard, prefixed(b"hi"));
    let said = guard.stop();
    assert!(said.contains("would refuse code=identity.not-permitted"), "{said}");
    let lines = crate::record::lines(&log);
    let line = lines.iter().find(|line| line["event"] == "would-refuse").unwrap();
    assert_eq!(line["code"], "identity.not-permitted");
    assert!(line["rule"].as_str().unwrap().contains("stricter.toml:"), "{line}");
}

//! The record: one event a verdict, with its code; nothing a peer says breaks a line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use doorward::audit::Event;
use doorward::pki::RawName;
use doorward::refusal::Refusal;

use crate::cli::Guard;
use crate::support::{ALICE, Hall, Set, Visitor, prefixed};

#[tokio::test]
async fn a_yes_names_the_rule_and_a_no_the_certificate() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let alice = set.client("alice");
    Visitor::new(&set, Some(&alice)).say(hall.address("echo"), &prefixed(b"hi")).await.unwrap();
    let Event::Permitted(visit, caller) = hall.event().await else { panic!("a permit first") };
    assert_eq!((visit.number, &*visit.service), (1, "echo"));
    assert_eq!(caller.name().to_string(), "dns:alice.client.internal");
    assert_eq!(caller.rule().to_string(), "hall.toml:17:13");
    let Event::Left(_, _, counted) = hall.event().await else { panic!("then an end") };
    assert_eq!((counted.frames_in, counted.bytes_in, counted.bytes_out), (1, 6, 6));

    set.revoke(5, &[&alice]);
    let mut hall = Hall::open(&set, ALICE);
    Visitor::new(&set, Some(&alice)).say(hall.address("echo"), b"").await.unwrap_err();
    let Event::Refused(_, refused, Some(shown)) = hall.event().await else { panic!("a refusal") };
    assert_eq!(refused.refusal(), Refusal::HandshakeRevoked);
    assert_eq!(shown.subject().as_str(), "CN=alice");
    assert_eq!(
        shown.serial().as_str().replace(':', ""),
        alice.serial().to_string().replace(':', "")
    );
    assert!(shown.pin().to_string().starts_with("sha256//"));
}

#[tokio::test]
async fn a_burst_is_summarised_and_nothing_is_lost() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    for _ in 0..30 {
        drop(Visitor::new(&set, None).say(hall.address("echo"), b"").await);
    }
    hall.control.drain();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    while counts.values().sum::<u64>() < 30 + 25 {
        let (kind, count) = match hall.event().await {
            Event::Refused(_, refused, _) => (refused.code(), 1),
            Event::More(refusal, source, count) => {
                assert_eq!(
                    (refusal, source.to_string().as_str()),
                    (Refusal::HandshakeNoCertificate, "127.0.0.1")
                );
                ("more", count)
            }
            other @ (Event::Permitted(..)
            | Event::Left(..)
            | Event::Cut(..)
            | Event::Reloaded { .. }
            | Event::WouldRefuse(..)
            | Event::Banned(..)
            | Event::Lifted(..)
            | Event::Expired(..)
            | Event::Kept(_)
            | Event::Rebound { .. }) => {
                panic!("{other:?}")
            }
        };
        *counts.entry(kind).or_default() += count;
    }
    // Every visit is an event; the log tells the first five one by one, and the rest as one line.
    assert_eq!(counts, BTreeMap::from([("handshake.no-certificate", 30), ("more", 25)]));
}

/// Lets hostile names knock at a real server, and gives back its log.
fn log_of_hostile_names(format: &str) -> Vec<String> {
    let set = Set::new();
    let hostile =
        "\x1b[31mforged\n2026-01-01T00:00:00Z  INFO permitted name=dns:mallory\u{2028}\u{202e}";
    let names = [
        set.sign(&set.draft("alice").common_name(hostile.as_bytes())),
        set.sign(&set.draft("alice").names(&[RawName::Uri(format!("a:{hostile}").into_bytes())])),
        set.draft("alice").common_name(hostile.as_bytes()).self_signed().unwrap(),
    ];
    let config = format!("[audit]\nformat = {format:?}\n{}{ALICE}", set.tables(""));
    let mut guard = Guard::start(&set, &config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for credential in &names {
            drop(Visitor::new(&set, Some(credential)).say(guard.address(), &prefixed(b"hi")).await);
        }
    });
    guard.stop().lines().map(str::to_owned).collect()
}

#[test]
fn a_hostile_name_stays_on_its_line_of_the_log() {
    let log = log_of_hostile_names("text");
    let refused: Vec<_> = log.iter().filter(|line| line.contains(" refused code=")).collect();
    assert_eq!(refused.len(), 3, "{log:#?}");
    for line in &refused {
        assert!(line.contains("\\u{1b}[31mforged\\u{a}2026"), "{line}");
        assert!(
            line.chars().all(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{202e}')),
            "{line}"
        );
    }
    assert!(!log.iter().any(|line| line.starts_with("2026-01-01T00:00:00Z")), "{log:#?}");
    assert_eq!(refused.iter().filter(|line| line.contains("code=identity.bad-name ")).count(), 2);
}

#[test]
fn the_log_in_json_is_one_object_a_line() {
    let log = log_of_hostile_names("json");
    let objects: Vec<serde_json::Value> = log
        .iter()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let codes: Vec<_> = objects
        .iter()
        .filter(|object| object["visit"].is_number())
        .filter_map(|object| object["code"].as_str())
        .collect();
    assert_eq!(codes, ["identity.bad-name", "identity.bad-name", "handshake.unknown-authority"]);
    assert!(
        objects.iter().all(|object| object["timestamp"].is_string() && object["level"].is_string())
    );
    let last = objects.iter().rfind(|object| object["visit"].is_number());
    let subject = last.unwrap()["subject"].as_str().unwrap();
    assert!(subject.contains("forged") && !subject.contains('\n'), "{subject}");
}

#[test]
fn nothing_is_written_to_standard_output_but_the_report() {
    let set = Set::new();
    let config = set.path("doorward.toml");
    std::fs::write(&config, set.tables("") + ALICE).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["serve", "--config"])
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let report: Vec<_> = lines.by_ref().take_while(|line| line != "ready").collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(report[0].starts_with("doorward "), "{report:?}");
    assert!(report.iter().any(|line| line.ends_with("open to this machine only")), "{report:?}");
    assert!(report.iter().any(|line| line.ends_with("dns:alice.client.internal")), "{report:?}");
    assert_eq!(lines.next(), None);
}

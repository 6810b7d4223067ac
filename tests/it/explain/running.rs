//! `explain` asks a running server: what happened, and how the same visitor would fare now.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::explained;
use crate::cli::{Guard, block_on, doorward, said};
use crate::support::set::days;
use crate::support::{ALICE, Set, Visitor, prefixed};

/// A server with an admin socket, and the file that it was started with.
fn running(set: &Set, more: &str) -> (Guard, String, PathBuf) {
    let socket = set.path("admin.sock").display().to_string();
    let admin = format!("[server]\nwatch = false\n[admin]\nsocket = {socket:?}\n");
    let config = format!("{}{admin}{more}{ALICE}", set.tables(""));
    (Guard::start(set, &config), config, set.path("doorward.toml"))
}

fn ban(set: &Set, words: &[&str]) {
    let config = set.path("doorward.toml");
    let words = [&["ban"], words, &["--config", config.to_str().unwrap()]].concat();
    assert_eq!(said(&doorward(set.path("").as_path(), &words)).0, 0, "{words:?}");
}

fn come(visitor: &Visitor, guard: &Guard) {
    // However it ends, the record says why.
    drop(block_on(visitor.say(guard.address(), &prefixed(b"hi"))));
}

fn explains(set: &Set, words: &[&str], expected: &[&str]) -> String {
    let (code, out, err) = explained(set, words);
    assert_eq!((code, err.as_str()), (0, ""), "{words:?}: {out}");
    for expected in expected {
        assert!(out.contains(expected), "{expected:?} in\n{out}");
    }
    out
}

#[test]
fn a_refusal_of_a_running_server_is_told_room_by_room() {
    let set = Set::new();
    let (guard, ..) = running(&set, "");
    let (code, _, err) = explained(&set, &["--last"]);
    assert_eq!((code, err.contains("no such refusal is remembered")), (1, true), "{err}");
    come(&Visitor::new(&set, Some(&set.client("mallory"))), &guard);
    let late = set.sign(&set.draft("alice").valid(days(-9), days(-1)));
    come(&Visitor::new(&set, Some(&late)).from("127.0.0.9"), &guard);

    explains(
        &set,
        &["--last"],
        &[
            "+ address    passed     127.0.0.9:",
            "was refused: handshake.expired\n    handshake.expired: A certificate",
            "remedy: Renew the certificate",
            ". handshake  not asked  the record holds no certificate",
            "+ identity   passed     dns:alice.client.internal is permitted",
            "nothing that could be asked would refuse it",
        ],
    );
    for words in [["--event", "1"], ["--last", "127.0.0.1"], ["--last", "mallory.client.internal"]]
    {
        let out = explains(
            &set,
            &words,
            &[
                "visit 1 at ",
                "x identity   refused    identity.not-permitted (dns:mallory.client.internal",
                ". frame      not asked  the visitor was gone by then",
                "was refused: identity.not-permitted\nnow: 127.0.0.1 to echo\n",
                "smallest change: add \"dns:mallory.client.internal\" to permit, at ",
                "doorward.toml:",
                "every other valid certificate for dns:mallory.client.internal",
            ],
        );
        assert_eq!(out.matches("remedy: Add the name").count(), 1, "{out}");
    }
    let (code, _, _) = explained(&set, &["--last", "198.51.100.1"]);
    assert_eq!(code, 1);
}

#[test]
fn the_same_visitor_is_walked_by_the_policy_of_now() {
    let set = Set::new();
    let (guard, config, file) = running(&set, "");
    let mallory = set.client("mallory");
    come(&Visitor::new(&set, Some(&mallory)), &guard);
    // What is not in force yet is told as well.
    let both = config.replace(
        "[\"dns:alice.client.internal\"]",
        "[\"dns:alice.client.internal\", \"dns:mallory.client.internal\"]",
    );
    fs::write(&file, &both).unwrap();
    explains(
        &set,
        &["--event", "1"],
        &[
            "was refused: identity.not-permitted\n    identity.not-permitted: ",
            "dns:mallory.client.internal is permitted",
            "nothing that could be asked would refuse it",
        ],
    );
    let nowhere = both.replace("\"127.0.0.0/8\"", "\"127.0.0.2\"");
    fs::write(&file, nowhere).unwrap();
    explains(
        &set,
        &["--event", "1"],
        &[
            "was refused: identity.not-permitted",
            "would be refused: address.not-listed",
            "add \"127.0.0.1/32\" to allow",
        ],
    );
    // A pin in a rule is compared with the pin in the record.
    let pin = Visitor::pin_of(&mallory);
    let pinned = config.replace("[\"dns:alice", &format!("[{pin:?}, \"dns:alice"));
    fs::write(&file, pinned).unwrap();
    explains(&set, &["--event", "1"], &[&format!("{pin} is permitted")]);
    // The certificate itself may be shown to it.
    fs::write(&file, &config).unwrap();
    let (chain, _) = set.write_credential("mallory", &mallory);
    set.revoke(2, &[&mallory]);
    let words = ["--event", "1", "--cert", chain.to_str().unwrap(), "--json"];
    let (code, out, _) = explained(&set, &words);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!(told["then"]["reasons"].as_array().unwrap().len(), 0, "{told:#}");
    assert_eq!(told["now"]["admitted"], false);
    let reasons = told["now"]["reasons"].as_array().unwrap();
    let codes: Vec<_> = reasons.iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["handshake.revoked", "identity.not-permitted"]);
    // A file that is refused leaves what happened.
    fs::write(&file, config.replace("permit", "permitt")).unwrap();
    let socket = set.path("admin.sock");
    let words = ["--event", "1", "--socket", socket.to_str().unwrap()];
    let (code, out, err) = explained(&set, &words);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("was refused: identity.not-permitted"), "{out}");
    assert!(err.contains("config.unknown-key") && !out.contains("now:"), "{err}{out}");
}

#[test]
fn a_ban_of_the_running_server_refuses_on_paper_and_every_one_has_to_end() {
    let set = Set::new();
    let (chain, _) = set.write_credential("alice", &set.client("alice"));
    let from = ["--from", "127.0.3.4", "--cert", chain.to_str().unwrap()];
    fs::write(set.path("doorward.toml"), set.tables("") + ALICE).unwrap();
    explains(&set, &from, &["not asked  bans are a running server's, and none was asked"]);

    let (guard, ..) = running(&set, "");
    explains(&set, &from, &["+ address    passed     no ban covers it"]);
    ban(&set, &["127.0.3.0/24", "--why", "enough"]);
    ban(&set, &["127.0.0.0/16"]);
    come(&Visitor::new(&set, Some(&set.client("alice"))).from("127.0.3.4"), &guard);
    let (code, out, _) = explained(&set, &from);
    assert_eq!(code, 1, "{out}");
    for (out, what) in [(out, "--from"), (explains(&set, &["--last"], &[]), "--last")] {
        for expected in [
            "x address    refused    address.banned (127.0.0.0/16: by hand)",
            "would be refused: address.banned",
            "end the ban with doorward ban 127.0.0.0/16 --lift and doorward ban 127.0.3.0/24 --lift",
            "this lets all of 127.0.0.0/16 knock, 65,535 other addresses, as far as the lists allow",
        ] {
            assert!(out.contains(expected), "{what}: {expected:?} in\n{out}");
        }
    }
    ban(&set, &["127.0.0.0/16", "--lift"]);
    let (code, out, _) = explained(&set, &from);
    assert_eq!((code, out.contains("(127.0.3.0/24: enough)")), (1, true), "{out}");
    ban(&set, &["127.0.3.0/24", "--lift"]);
    explains(&set, &from, &["would be let in"]);
    explains(
        &set,
        &["--last"],
        &["was refused: address.banned", "nothing that could be asked would refuse it"],
    );
    drop(guard);
    // A server that is gone is spoken of where it was asked for by name.
    explains(&set, &from, &["and none was asked"]);
    let socket = set.path("admin.sock");
    let words = [&from[..], &["--socket", socket.to_str().unwrap()]].concat();
    let (code, _, err) = explained(&set, &words);
    assert_eq!((code, err.is_empty()), (0, false));
}

#[test]
fn a_visitor_that_a_balancer_announced_is_walked_behind_it() {
    let set = Set::new();
    let table = "[service.balancers]\nfrom = [\"127.0.0.5\"]\n  [[service.identity]]";
    let (guard, config, file) = running(&set, "");
    let behind = config.replace("  [[service.identity]]", table);
    drop(guard);
    let guard = Guard::start(&set, &behind);
    let balancer = Visitor::new(&set, Some(&set.client("alice"))).from("127.0.0.5");
    block_on(async {
        use tokio::io::AsyncWriteExt;
        let mut stream = balancer.knock(guard.address()).await.unwrap();
        stream.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 9 8443\r\n").await.unwrap();
        balancer.shake_hands(stream, guard.address()).await.unwrap_err();
    });
    let expected = [
        "now: 192.0.2.7 via 127.0.0.5 to echo",
        "+ accept     passed     announced as 192.0.2.7",
        "x address    refused    address.not-listed",
        "no certificate was seen",
    ];
    explains(&set, &["--last"], &expected[..3]);
    let open = behind.replace("\"127.0.0.0/8\"", "\"192.0.2.0/24\"");
    fs::write(&file, open).unwrap();
    explains(&set, &["--last"], &[expected[0], expected[1], expected[3]]);
    // Without its balancer it is one more stranger who does not begin with TLS.
    fs::write(&file, config).unwrap();
    explains(&set, &["--last"], &["would be refused: handshake.not-tls"]);
}

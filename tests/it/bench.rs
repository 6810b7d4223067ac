//! `doorward bench` against the real server, and against nobody else's.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::Value;

use crate::cli::Guard;
use crate::support::{ALICE, Set};

fn bench(set: &Set, to: &str, more: &[&str]) -> Output {
    let (chain, key) = set.write_credential("alice", &set.client("alice"));
    Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["bench", "--to", to, "--seconds", "1", "--connections", "2", "--idle", "5"])
        .arg("--trust")
        .arg(set.path("trust.pem"))
        .arg("--certificate")
        .arg(chain)
        .arg("--key")
        .arg(key)
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn a_server_is_measured_from_every_side() {
    let set = Set::new();
    let tables = set.tables("").replace("\"127.0.0.0/8\", \"::1\"", "\"127.0.0.1\"");
    let tables = tables.replace("[handshake]", "kernel = \"all\"\n[handshake]");
    let fast = "[service.frame]\nrate = \"1000000/s\"\nburst = 1000000\n";
    let mut guard = Guard::start(&set, &format!("{tables}{ALICE}{fast}"));
    guard.ignore();
    let (to, pid) = (guard.address().to_string(), guard.id().to_string());
    let floods = ["--flood-from", "127.0.0.1", "--flood-from", "127.0.0.2", "--json"];
    let ended = bench(&set, &to, &[&["--pid", &pid], &floods[..]].concat());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let measures = report["measures"].as_array().unwrap();
    let shown: Vec<_> = measures
        .iter()
        .map(|one| format!("{} {}", one["what"].as_str().unwrap(), one["connections"]))
        .collect();
    assert_eq!(
        shown,
        [
            "handshake and echo 1",
            "handshake and echo 2",
            "handshake, no certificate 1",
            "handshake, no certificate 2",
            "echo of 32 bytes 1",
            "echo of 32 bytes 64",
            "bulk both ways 1",
            "bulk both ways 2",
            "idle connections 5",
            "flood from 127.0.0.1 64",
            "flood from 127.0.0.2 64",
        ]
    );
    let (refused, answered) = measures.split_last().unwrap();
    for one in answered {
        assert_eq!(one["failed"], 0, "{one}");
        assert!(one["own_cpu_percent"].is_u64(), "{one}");
        // A few connections take less time than the system counts in.
        let cpu = one["server_cpu_microseconds"].as_u64().unwrap();
        assert!(cpu > 0 || one["what"] == "idle connections", "{one}");
        if one["what"].as_str().unwrap().starts_with("bulk") {
            assert!(one["bytes_per_second"].as_u64().unwrap() > 0, "{one}");
            continue;
        }
        assert!(one["done"].as_u64().unwrap() > 0, "{one}");
        let times = &one["microseconds"];
        assert!(times["p50"].as_u64().unwrap() <= times["max"].as_u64().unwrap(), "{one}");
    }
    assert!(measures[8]["bytes_each"].is_u64());
    // Where the kernel may not filter, the server closes what it refuses.
    let filtered = guard.report().iter().any(|line| line.trim_start().starts_with("kernel "));
    let unanswered = refused["unanswered"].as_u64().unwrap();
    assert_eq!((unanswered > 0, refused["done"] == 0), (filtered, filtered), "{refused}");
    drop(guard.stop());
}

#[test]
fn in_front_of_an_own_backend_bytes_are_counted_each_way() {
    let set = Set::new();
    let backend = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let forward = format!("kind = \"forward\"\nto = \"{backend}\"");
    for (kind, flag) in [("raw", "raw"), ("length-prefixed", "length-prefixed")] {
        let service = ALICE.replace("kind = \"echo\"", &forward);
        let frame = format!("[service.frame]\nkind = \"{kind}\"\n");
        let rate = if kind == "raw" { "" } else { "rate = \"100000/s\"\nburst = 100000\n" };
        let mut guard = Guard::start(&set, &format!("{}{service}{frame}{rate}", set.tables("")));
        let more = ["--backend", &backend, "--frame", flag, "--only", "bulk", "--json"];
        let ended = bench(&set, &guard.address().to_string(), &more);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{said}");
        let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
        let measures = report["measures"].as_array().unwrap();
        let ways: Vec<_> = measures.iter().map(|one| one["what"].as_str().unwrap()).collect();
        let each = ["bulk up", "bulk down", "bulk both ways"];
        assert_eq!(ways, each.map(|way| [way, way]).concat());
        for one in measures {
            assert!(one["bytes_per_second"].as_u64().unwrap() > 100_000, "{one}");
            assert_eq!(one["failed"], 0, "{one}");
        }
        drop(guard.stop());
    }
}

#[test]
fn a_flood_stays_on_loopback_whoever_owns_the_server() {
    let set = Set::new();
    for (to, from) in [("127.0.0.1:1", "192.0.2.7"), ("192.0.2.1:8443", "127.0.0.1")] {
        let more = ["--flood-from", from, "--i-own-this-server"];
        let ended = bench(&set, to, &more);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains("a flood goes over loopback alone"), "{said}");
    }
}

#[test]
fn a_server_that_is_not_on_this_machine_is_left_alone() {
    let set = Set::new();
    let ended = bench(&set, "192.0.2.1:8443", &[]);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("192.0.2.1:8443 is not on this machine"), "{said}");
}

#[test]
fn a_client_that_is_turned_away_measures_nothing() {
    let set = Set::new();
    let bob = ALICE.replace("alice", "bob");
    let mut guard = Guard::start(&set, &format!("{}{bob}", set.tables("")));
    let ended = bench(&set, &guard.address().to_string(), &[]);
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.starts_with("doorward: the server did not send a message back: "), "{said}");
    drop(guard.stop());
}

//! `certs check`: a configuration and the certificates it names, and `certs verify --for`.

use std::fs;
use std::process::{Command, Stdio};

use super::{Desk, Ended};
use crate::cli::{Guard, doorward};

const SERVICES: &str = "[bind]\nports = [\"1-65535\"]\n[address]\nallow = [\"127.0.0.0/8\", \"::1\"]\n\
    [handshake]\ncertificate = \"certs/server/localhost/chain.pem\"\nkey = \"certs/server/localhost/key.pem\"\n\
    clients = \"certs/trust.pem\"\ncrl = \"certs/ca/crl.pem\"\n[[service]]\nname = \"echo\"\n\
    listen = \"127.0.0.1:8443\"\nkind = \"echo\"\n[[service.identity]]\npermit = [\"dns:alice.client.internal\"]\n";

/// A desk with a store and this configuration.
fn desk(config: &str) -> Desk {
    let desk = Desk::with_store();
    fs::write(desk.path("doorward.toml"), config).unwrap();
    desk
}

fn check(desk: &Desk, more: &[&str]) -> Ended {
    desk.certs(&[&["check", "--config", "doorward.toml"], more].concat())
}

/// The codes that it tells, in its order, and its exit code.
fn codes(desk: &Desk) -> (i32, Vec<String>) {
    let ended = check(desk, &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&ended.said).unwrap();
    let problems = told["problems"].as_array().unwrap();
    let codes = problems.iter().map(|problem| problem["code"].as_str().unwrap().to_owned());
    (ended.code, codes.collect())
}

#[test]
fn certificates_that_fit_their_configuration_have_nothing_told_of_them() {
    let desk = desk(SERVICES);
    assert_eq!(codes(&desk), (0, Vec::new()));
    let ended = check(&desk, &["--strict"]);
    assert_eq!((ended.code, ended.said.as_str()), (0, "doorward.toml: 0 errors, 0 warnings\n"));
}

#[test]
fn a_client_that_is_permitted_and_would_be_turned_away_is_an_error() {
    let desk = desk(SERVICES);
    desk.certs(&["revoke", "alice"]).fine();
    let ended = check(&desk, &[]);
    assert_eq!(ended.code, 3, "{}", ended.said);
    assert!(ended.said.contains("certs.client-refused"), "{}", ended.said);
    assert!(
        ended.said.contains("client/alice would not be let in by service echo: handshake.revoked")
    );
    // A client of another authority is as unknown to the server as anybody.
    let other = Desk::with_store();
    for file in ["chain.pem", "key.pem"] {
        let from = other.path("certs/client/alice").join(file);
        fs::copy(from, desk.path("certs/client/alice").join(file)).unwrap();
    }
    let ended = check(&desk, &[]);
    assert!(ended.said.contains("handshake.unknown-authority"), "{}", ended.said);
}

#[test]
fn revoke_shuts_a_running_server_to_the_client_and_ends_its_session() {
    let desk = desk(&SERVICES.replace("127.0.0.1:8443", "127.0.0.1:0"));
    let mut guard = Guard::start_in(&desk.path(""), "doorward.toml");
    let to = guard.address().to_string();
    let connect = |words: &[&str]| {
        let run = doorward(&desk.path(""), &[&["connect", "--to", &to], words].concat());
        (run.status.code().unwrap(), String::from_utf8(run.stdout).unwrap())
    };
    assert_eq!(connect(&["hello"]), (0, "hello\n".to_owned()));
    let mut session = Command::new(env!("CARGO_BIN_EXE_doorward"));
    session.current_dir(desk.path("")).args(["connect", "--to", &to]);
    let mut session = session.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    guard.hear("permitted visit=2");
    desk.certs(&["revoke", "alice", "--reason", "key-compromise"]).fine();
    // Nobody told it: it sees the new list, and its session ends by that.
    guard.hear("code=handshake.revoked visit=2");
    // Its input stays open until it has ended: that it ends is not its own doing.
    let input = session.stdin.take();
    assert!(!session.wait().unwrap().success());
    drop(input);
    assert_ne!(connect(&["hello"]).0, 0);
    assert!(guard.stop().contains("refused code=handshake.revoked visit=3"));
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let config = SERVICES.replace("127.0.0.1:8443", "127.0.0.2:8443").replace(
        "\"dns:alice.client.internal\"",
        "\"dns:alice.client.internal\", \"dns:bob.client.internal\"",
    );
    let desk = desk(&config);
    desk.certs(&["client", "carol"]).fine();
    fs::write(
        desk.path("doorward.toml"),
        config.replace("certs/server/localhost", "certs/server/app.test"),
    )
    .unwrap();
    desk.certs(&["server", "app.test"]).fine();
    let expected = ["certs.unnamed-listener", "certs.client-unused", "certs.name-unheld"];
    assert_eq!(codes(&desk), (0, expected.map(str::to_owned).to_vec()));
    let ended = check(&desk, &["--strict"]);
    assert_eq!(ended.code, 3);
    assert!(ended.said.contains("doorward.toml:12:10 certs.unnamed-listener"), "{}", ended.said);
    assert!(ended.said.contains("does not stand for 127.0.0.2, where service echo listens"));
    assert!(ended.said.contains("no client of the store has the name dns:bob.client.internal"));
}

#[test]
fn a_server_that_would_not_start_is_told_as_by_check() {
    let desk = desk(SERVICES);
    fs::copy(desk.path("certs/client/alice/key.pem"), desk.path("certs/server/localhost/key.pem"))
        .unwrap();
    assert_eq!(codes(&desk), (3, vec!["handshake.key-mismatch".to_owned()]));
    fs::remove_file(desk.path("doorward.toml")).unwrap();
    assert_eq!(codes(&desk), (3, vec!["config.unreadable".to_owned()]));
}

#[test]
fn without_a_store_the_servers_side_is_looked_at_alone() {
    let desk = desk(SERVICES);
    assert_eq!(check(&desk, &["--dir", "nowhere"]).code, 0);
}

#[test]
fn verify_foresees_what_others_would_say() {
    let desk = Desk::new();
    desk.certs(&["break", "missing-aki", "--dir", "zoo"]).fine();
    let verify = |whose: &str| {
        let files = ["verify", "zoo/missing-aki/chain.pem", "--trust", "zoo/missing-aki/trust.pem"];
        let rest = ["--as", "server", "--name", "localhost", "--for", whose];
        desk.certs(&[&files[..], &rest].concat())
    };
    for (whose, believed) in [
        ("doorward", true),
        ("rustls", true),
        ("node", true),
        ("openssl", true),
        ("python313", false),
        ("openssl-strict", false),
    ] {
        let ended = verify(whose);
        assert_eq!(ended.code == 0, believed, "{whose} {}", ended.said);
        assert_eq!(ended.said.contains("lint.missing-aki"), !believed, "{}", ended.said);
    }
    assert!(verify("python313").said.contains("(Python 3.13)"));
    assert!(
        verify("go").said.contains("believed as a server by Go, as far as its rules are known")
    );
}

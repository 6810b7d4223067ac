//! The judging verbs of `certs`, as typed: inspect, lint, verify, break and doctor.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use doorward::pki::zoo::Kind;
use doorward::pki::{RawName, development};
use serde_json::Value;

use crate::support::Set;

fn certs(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_doorward"))
        .arg("certs")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How `certs` ended, and whether its standard output holds the words.
fn ends(output: &Output, code: i32, words: &str) {
    let said = text(output);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}{told}");
    assert!(said.contains(words) || told.contains(words), "{said}{told}");
}

#[test]
fn a_file_is_explained_and_a_key_is_never_shown() {
    let set = Set::new();
    let all = ["chain.pem", "key.pem", "trust.pem", "crl.pem"]
        .map(|name| fs::read_to_string(set.path(name)).unwrap());
    set.write("all.pem", all.concat().as_bytes());
    let shown = certs(&["inspect", "all.pem"], &set.path(""));
    for words in [
        "1. A server's certificate\n   names        dns:localhost",
        "2. A private key (PKCS#8), which is not shown",
        "3. A root authority: O=Doorward",
        "4. A revocation list of O=Doorward",
        "89 days left",
        "vouch for names outside dns:localhost",
    ] {
        ends(&shown, 0, words);
    }
    let secret = all[1].lines().nth(1).unwrap();
    let shown_json = certs(&["inspect", "--json", "all.pem"], &set.path(""));
    assert!(!text(&shown).contains(secret) && !text(&shown_json).contains(secret));
    let items = json(&shown_json)["items"].clone();
    let kinds: Vec<_> = (0..4).map(|at| items[at]["kind"].clone()).collect();
    assert_eq!(kinds, ["certificate", "private-key", "certificate", "revocation-list"]);
    assert!(items[0]["pin"].as_str().unwrap().starts_with("sha256//"));
}

#[test]
fn a_terminal_is_not_steered_by_a_certificate() {
    let set = Set::new();
    let names = [RawName::Dns(b"a\n\x1b[2Jb".to_vec()), RawName::Uri(b"x:\x07".to_vec())];
    let draft = set.draft("alice").common_name(b"\x1b]0;owned\x07").names(&names);
    set.write("evil.pem", set.sign(&draft).chain_pem().as_bytes());
    for verb in [&["inspect", "evil.pem"][..], &["inspect", "--json", "evil.pem"]] {
        let shown = certs(verb, &set.path(""));
        assert!(!shown.stdout.contains(&0x1B) && !shown.stdout.contains(&7), "{}", text(&shown));
        ends(&shown, 0, "[2Jb");
    }
}

#[test]
fn lint_ends_with_0_1_and_says_who_refuses() {
    let set = Set::new();
    ends(&certs(&["lint", "--strict", "chain.pem"], &set.path("")), 0, "errors: 0, warnings: 0");
    let draft = set.draft("alice").without_authority_key_identifier();
    set.write("bad.pem", set.sign(&draft).chain_pem().as_bytes());
    let linted = certs(&["lint", "bad.pem"], &set.path(""));
    ends(&linted, 1, "lint.missing-aki");
    ends(&linted, 1, "Python 3.13");
    let linted = json(&certs(&["lint", "--json", "bad.pem"], &set.path("")));
    assert_eq!(linted["findings"][0]["code"], "lint.missing-aki");
    let draft = set.draft("alice").without_basic_constraints();
    set.write("unwise.pem", set.sign(&draft).chain_pem().as_bytes());
    ends(&certs(&["lint", "unwise.pem"], &set.path("")), 0, "lint.no-basic-constraints");
    ends(&certs(&["lint", "--strict", "unwise.pem"], &set.path("")), 1, "lint.missing-ski");
    ends(&certs(&["lint", "nothing.pem"], &set.path("")), 1, "handshake.unreadable");
}

#[test]
fn verify_ends_with_0_where_it_is_believed_and_1_where_not() {
    let set = Set::new();
    let verify = |more: &[&str]| {
        let usual = ["verify", "chain.pem", "--trust", "trust.pem", "--crl", "crl.pem", "--as"];
        certs(&[&usual, more].concat(), &set.path(""))
    };
    ends(
        &verify(&["server", "--name", "localhost", "--key", "key.pem"]),
        0,
        "believed as a server",
    );
    ends(&verify(&["server", "--name", "other.test"]), 1, "verify.wrong-name");
    ends(&verify(&["client"]), 1, "verify.wrong-role");
    ends(&verify(&["client", "--name", "localhost"]), 2, "nobody dials a client");
    let verdict = json(&verify(&["client", "--json"]));
    assert_eq!((&verdict["believed"], &verdict["by"]), (&false.into(), &"rustls".into()));
}

#[test]
fn break_makes_one_of_each_that_verify_refuses() {
    let dir = tempfile::tempdir().unwrap();
    ends(&certs(&["break", "--all", "--dir", "zoo"], dir.path()), 0, "zoo/expired");
    ends(&certs(&["break", "expired", "--dir", "zoo"], dir.path()), 1, "certs.exists");
    ends(&certs(&["break", "bored", "--dir", "zoo"], dir.path()), 2, "chain-reversed");
    for kind in Kind::ALL {
        let place = dir.path().join("zoo").join(kind.word());
        let readme = fs::read_to_string(place.join("README.md")).unwrap();
        let command = readme.lines().find(|line| line.contains("doorward certs")).unwrap();
        let arguments: Vec<_> = command.split_whitespace().skip(2).collect();
        let verified = certs(&arguments, &place);
        match kind.objection() {
            Some(objection) => ends(&verified, 1, objection.code()),
            None => ends(&verified, 0, "believed"),
        }
    }
}

#[test]
fn doctor_finds_the_exposed_key_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let made = development(&dir.path().join("certs")).unwrap();
    ends(&certs(&["doctor"], dir.path()), 0, "0 errors, 0 warnings");
    let key = made.store().layout().authority_key();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    ends(&certs(&["doctor"], dir.path()), 1, "chmod 600");
    let said = json(&certs(&["doctor", "--json", "--dir", "certs"], dir.path()));
    assert_eq!(said["problems"][0]["code"], "handshake.key-exposed");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o644);
    ends(&certs(&["doctor", "--dir", "none"], dir.path()), 1, "certs.no-authority");
}

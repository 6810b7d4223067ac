//! The verbs of `doorward certs`, run as an operator runs them.

mod check;
mod disk;
mod encrypted;
mod killed;
mod pkilint;
mod together;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use doorward::client::{Away, Client, ClientError, ClientFiles, Target, server_name};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Hall, has};

/// A directory in which somebody types commands.
struct Desk {
    home: TempDir,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    said: String,
    complained: String,
}

impl Desk {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// A desk with a store of the usual names.
    fn with_store() -> Self {
        let desk = Self::new();
        desk.certs(&["init"]).fine();
        desk
    }

    fn certs(&self, arguments: &[&str]) -> Ended {
        Ended::of(&mut self.command(arguments))
    }

    /// A verb that somebody is about to run.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command.arg("certs").args(arguments).current_dir(self.home.path());
        command.env_remove("DOORWARD_CA_PASSPHRASE");
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Every file with its bytes, and every link with where it leads.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(target) = fs::read_link(&path) {
                    found.insert(path, target.into_os_string().into_encoded_bytes());
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }

    /// A new server on the files of the store, which lets alice in.
    fn hall(&self, server: &str) -> Hall {
        let file = |name: &str| self.path("certs").join(name).display().to_string();
        let (chain, key) = (
            file(&format!("server/{server}/chain.pem")),
            file(&format!("server/{server}/key.pem")),
        );
        let (trust, crl) = (file("trust.pem"), file("ca/crl.pem"));
        Hall::of(&format!(
            "[bind]\nports = [\"1-65535\"]\n[address]\nallow = [\"127.0.0.0/8\"]\n[handshake]\n\
             certificate = {chain:?}\nkey = {key:?}\nclients = {trust:?}\ncrl = {crl:?}\n\
             [[service]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\"]\nkind = \"echo\"\n\
             [[service.identity]]\npermit = [\"dns:alice.client.internal\"]\n\
             [service.frame]\nkind = \"length-prefixed\"\n"
        ))
    }

    /// Says hello as a client of the store, and hears the answer.
    async fn hello(&self, hall: &Hall, client: &str, server: &str) -> Result<Vec<u8>, ClientError> {
        let file = |name: &str| self.path("certs").join(name);
        let files = ClientFiles {
            trust: file("trust.pem"),
            certificate: file(&format!("client/{client}/chain.pem")),
            key: file(&format!("client/{client}/key.pem")),
        };
        let target: Target = hall.address("echo").to_string().parse().unwrap();
        let client = Client::new(target, &files)?.expecting(server_name(server).unwrap());
        Ok(client.connect().await?.ask(b"hello").await?.payload().to_vec())
    }

    fn openssl(&self, arguments: &[&str]) -> Ended {
        Ended::of(Command::new("openssl").args(arguments).current_dir(self.home.path()))
    }
}

impl Ended {
    fn of(command: &mut Command) -> Self {
        let run = command.output().unwrap();
        Self {
            code: run.status.code().unwrap(),
            said: String::from_utf8(run.stdout).unwrap(),
            complained: String::from_utf8(run.stderr).unwrap(),
        }
    }

    /// What was said, where all went well and nothing was complained about.
    fn fine(self) -> String {
        assert_eq!((self.code, self.complained.as_str()), (0, ""), "{}", self.said);
        self.said
    }

    /// What was complained about, where the command failed with this fault's code.
    fn failed(self, code: &str) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.complained.starts_with(&format!("doorward: {code} ")), "{self:?}");
        self.complained
    }

    fn json(self) -> Value {
        serde_json::from_str(&self.fine()).unwrap()
    }
}

#[tokio::test]
async fn init_makes_a_set_that_a_server_and_a_client_can_use() {
    let desk = Desk::new();
    let said = desk.certs(&["init"]).fine();
    assert!(said.contains("server     certs/server/localhost for localhost, 127.0.0.1, ::1\n"));
    assert!(!said.contains("WRONG"), "{said}");
    for code in [
        "let-in",
        "handshake.no-certificate",
        "handshake.wrong-usage",
        "handshake.unknown-authority",
        "handshake.expired",
        "handshake.revoked",
        "client.wrong-name",
    ] {
        assert!(said.contains(&format!("  {code}\n")), "{said}");
    }
    let hall = desk.hall("localhost");
    assert_eq!(desk.hello(&hall, "alice", "127.0.0.1").await.unwrap(), b"hello");
}

#[test]
fn init_makes_what_it_is_asked_for() {
    let desk = Desk::new();
    let arguments = ["init", "app.example", "--client", "bob", "carol", "--key", "p384"];
    let made = desk.certs(&[&arguments[..], &["--days", "7", "--json"]].concat()).json();
    assert_eq!(made["proven"], true);
    assert_eq!(made["trials"].as_array().unwrap().len(), 8);
    assert_eq!(made["clients"].as_array().unwrap().len(), 2);
    let permitted = made["authority"]["may_vouch_for"].as_str().unwrap();
    assert_eq!(permitted, "localhost, test, internal, 127.0.0.0/8, ::1/128, app.example");
    assert!(desk.path("certs/server/app.example/key.pem").exists());
    assert!(desk.path("certs/client/carol/key.pem").exists());
}

#[test]
fn openssl_accepts_what_init_makes() {
    if !has("openssl") {
        return;
    }
    let desk = Desk::with_store();
    for (purpose, chain) in [
        ("sslserver", "certs/server/localhost/chain.pem"),
        ("sslclient", "certs/client/alice/chain.pem"),
    ] {
        let verified = desk.openssl(&[
            "verify",
            "-x509_strict",
            "-crl_check",
            "-CRLfile",
            "certs/ca/crl.pem",
            "-purpose",
            purpose,
            "-CAfile",
            "certs/trust.pem",
            chain,
        ]);
        assert_eq!(verified.fine(), format!("{chain}: OK\n"));
    }
}

#[test]
fn a_second_init_refuses_and_changes_nothing() {
    let desk = Desk::with_store();
    let before = desk.files();
    desk.certs(&["init", "other.test"]).failed("certs.exists");
    assert_eq!(desk.files(), before);
}

#[test]
fn a_discarded_authority_key_is_written_nowhere() {
    let desk = Desk::new();
    let said = desk.certs(&["init", "--ca-key", "discard"]).fine();
    assert!(said.contains("discarded"), "{said}");
    let keys = desk
        .files()
        .into_iter()
        .filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains("PRIVATE KEY"));
    let keys: Vec<_> = keys.map(|(path, _)| path).collect();
    assert_eq!(
        keys,
        [desk.path("certs/client/alice/key.pem"), desk.path("certs/server/localhost/key.pem")]
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let desk = Desk::new();
    fs::write(desk.path("taken"), "a file").unwrap();
    let complained = desk.certs(&["init", "--dir", "taken/certs"]).failed("certs.unwritable");
    assert!(complained.contains("taken/certs"), "{complained}");
}

#[test]
fn a_name_that_is_none_is_a_matter_of_usage() {
    let desk = Desk::new();
    for (arguments, reason) in [
        (&["init", "http://app.test"][..], "has a character other than"),
        (&["init", "--client", "alice.smith"], "has a character other than"),
        (&["init", "--key", "dsa"], "is no kind of key"),
        (&["init", "--permit", "10.1.2.3/8"], "names a host, not a network"),
        (&["init", "--permit", "app.test", "--unconstrained"], "cannot be used with"),
    ] {
        let ended = desk.certs(arguments);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.complained.contains(reason), "{ended:?}");
    }
    assert!(desk.files().is_empty());
    desk.certs(&["init", "--days", "200"]).failed("certs.bad-option");
    assert!(!desk.path("certs/trust.pem").exists());
}

#[tokio::test]
async fn whom_revoke_names_is_refused_by_the_next_server() {
    let desk = Desk::with_store();
    let before = desk.hall("localhost");
    desk.hello(&before, "alice", "localhost").await.unwrap();
    let said = desk.certs(&["revoke", "alice", "--reason", "key-compromise"]).fine();
    assert!(said.starts_with("revoked "), "{said}");
    let mut after = desk.hall("localhost");
    let refused = desk.hello(&after, "alice", "localhost").await.unwrap_err();
    let alert = Away::Alert(rustls::AlertDescription::CertificateRevoked);
    assert!(matches!(&refused, ClientError::TurnedAway(away) if *away == alert), "{refused}");
    assert_eq!(after.verdict().await, "handshake.revoked");
    let again = desk.certs(&["revoke", "alice"]).fine();
    assert!(again.starts_with("the client alice was revoked before\n"), "{again}");
    let listed = desk.certs(&["list", "--json"]).json();
    assert_eq!(listed[2]["state"], "revoked");
    assert_eq!(listed[2]["revoked"]["reason"], "key-compromise");
}

#[tokio::test]
async fn a_revoked_client_that_is_renewed_by_name_gets_in_again() {
    let desk = Desk::with_store();
    desk.certs(&["revoke", "alice"]).fine();
    let skipped = desk.certs(&["renew", "--all", "--json"]).json();
    assert_eq!(skipped["renewed"].as_array().unwrap().len(), 1, "the server alone");
    desk.certs(&["renew", "alice"]).fine();
    let hall = desk.hall("localhost");
    assert_eq!(desk.hello(&hall, "alice", "localhost").await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_server_that_is_issued_later_serves_under_its_name() {
    let desk = Desk::with_store();
    let said = desk.certs(&["server", "db.internal", "127.0.0.9"]).fine();
    let expected = "certs/server/db.internal: dns:db.internal, ip:127.0.0.9, until ";
    assert!(said.starts_with(expected), "{said}");
    let hall = desk.hall("db.internal");
    for name in ["db.internal", "127.0.0.9"] {
        assert_eq!(desk.hello(&hall, "alice", name).await.unwrap(), b"hello");
    }
    desk.certs(&["server", "db.internal"]).failed("certs.exists");
    desk.certs(&["server", "db.example"]).failed("certs.outside-constraints");
}

#[test]
fn a_client_carries_the_names_it_is_given() {
    let desk = Desk::with_store();
    let names = ["--san", "spiffe://example.test/reporting", "bob@example.test"];
    let made = desk.certs(&[&["client", "bob"], &names[..], &["--json"]].concat()).json();
    let expected = ["dns:bob.client.internal", "uri:spiffe://example.test/reporting"];
    assert_eq!(made["names"][0], expected[0]);
    assert_eq!(made["names"][1], expected[1]);
    assert_eq!(made["names"][2], "email:bob@example.test");
    let serial = made["serial"].as_str().unwrap();
    assert_eq!(desk.certs(&["list", "--json"]).json()[3]["serial"], serial);
    let two = ["client", "carol", "--san", "spiffe://a.test/b", "spiffe://a.test/c"];
    desk.certs(&two).failed("certs.bad-name");
    assert_eq!(desk.certs(&["client", "carol", "--san", "http://a.test"]).code, 2);
    desk.certs(&["client", "bob"]).failed("certs.exists");
}

#[test]
fn list_says_who_still_counts() {
    let desk = Desk::with_store();
    desk.certs(&["client", "bob"]).fine();
    desk.certs(&["revoke", "bob", "--reason", "superseded"]).fine();
    let said = desk.certs(&["list"]).fine();
    let lines: Vec<Vec<_>> =
        said.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert_eq!(lines[0][0], "authority");
    assert_eq!(lines[1][2..], ["valid", "dns:localhost", "ip:127.0.0.1", "ip:::1"]);
    assert_eq!(lines[2][2..], ["valid", "dns:alice.client.internal"]);
    assert_eq!(lines[3][2..], ["revoked", "(superseded)", "dns:bob.client.internal"]);
}

#[test]
fn crl_publishes_a_list_with_a_higher_number() {
    let desk = Desk::with_store();
    let number = || fs::read_to_string(desk.path("certs/ca/crlnumber")).unwrap();
    assert_eq!(number(), "1\n");
    desk.certs(&["crl"]).fine();
    assert_eq!(number(), "2\n");
    if has("openssl") {
        let read = ["crl", "-noout", "-crlnumber", "-in", "certs/ca/crl.pem"];
        assert!(desk.openssl(&read).said.contains("02"));
    }
}

#[tokio::test]
async fn what_is_renewed_is_new_and_keeps_the_old_beside_it() {
    let desk = Desk::with_store();
    let old = fs::read(desk.path("certs/server/localhost/chain.pem")).unwrap();
    let said = desk.certs(&["renew", "localhost"]).fine();
    assert!(said.starts_with("certs/server/localhost: renewed, until "), "{said}");
    let kept = fs::read(desk.path("certs/server/localhost/chain.pem.old")).unwrap();
    assert_eq!(kept, old);
    assert_ne!(fs::read(desk.path("certs/server/localhost/chain.pem")).unwrap(), old);
    let hall = desk.hall("localhost");
    assert_eq!(desk.hello(&hall, "alice", "localhost").await.unwrap(), b"hello");
}

#[test]
fn only_what_is_due_is_renewed() {
    let desk = Desk::with_store();
    desk.certs(&["client", "bob", "--days", "10"]).fine();
    assert_eq!(desk.certs(&["renew", "--due", "5d"]).fine(), "nothing was renewed\n");
    let renewed = desk.certs(&["renew", "--due", "30d", "--days", "60", "--json"]).json();
    assert_eq!(renewed["renewed"].as_array().unwrap().len(), 1);
    let place = desk.path("certs/client/bob").canonicalize().unwrap();
    assert_eq!(renewed["renewed"][0]["directory"], place.to_str().unwrap());
    assert_eq!(desk.certs(&["renew"]).code, 2);
    assert_eq!(desk.certs(&["renew", "bob", "--all"]).code, 2);
    desk.certs(&["renew", "nobody"]).failed("certs.unknown");
}

#[test]
fn who_cannot_outlive_the_authority_is_told_so() {
    let desk = Desk::new();
    desk.certs(&["init", "--ca-days", "20", "--days", "20"]).fine();
    let ended = desk.certs(&["renew", "--due", "30d"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.said.lines().count(), 2, "{ended:?}");
    assert!(ended.complained.contains("authority ends soon"), "{ended:?}");
}

#[test]
fn one_that_cannot_be_renewed_does_not_keep_the_others_from_it() {
    let desk = Desk::with_store();
    fs::remove_file(desk.path("certs/client/alice/key.pem")).unwrap();
    let ended = desk.certs(&["renew", "--all"]);
    assert_eq!(ended.code, 1);
    assert!(ended.complained.contains("certs/client/alice is not renewed"), "{ended:?}");
    assert!(ended.said.contains("certs/server/localhost: renewed"), "{ended:?}");
}

#[test]
fn needs_renewal_answers_by_exit_code() {
    let desk = Desk::new();
    desk.certs(&["init", "--days", "10"]).fine();
    let chain = "certs/server/localhost/chain.pem";
    assert_eq!(desk.certs(&["needs-renewal", chain]).code, 0);
    assert_eq!(desk.certs(&["needs-renewal", chain, "--expires-in", "9d"]).code, 1);
    assert_eq!(desk.certs(&["needs-renewal", chain, "--expires-in", "241h"]).code, 0);
    assert_eq!(desk.certs(&["needs-renewal", "certs/server/other/chain.pem"]).code, 2);
    assert_eq!(desk.certs(&["needs-renewal", "certs/server/localhost/key.pem"]).code, 2);
    assert_eq!(desk.certs(&["needs-renewal", chain, "--expires-in", "soon"]).code, 2);
    let help = desk.certs(&["needs-renewal", "--help"]).fine();
    assert!(help.contains("0 it is due, 1 it is not due, 2 it is missing"), "{help}");
}

#[test]
fn where_there_is_no_authority_every_verb_says_so() {
    let desk = Desk::new();
    for verb in [
        &["server", "app.test"][..],
        &["client", "bob"],
        &["list"],
        &["revoke", "alice"],
        &["crl"],
        &["renew", "--all"],
    ] {
        let complained = desk.certs(verb).failed("certs.no-authority");
        assert!(complained.contains("doorward certs init --dir certs"), "{complained}");
    }
    assert!(desk.files().is_empty());
    desk.certs(&["init", "--ca-key", "discard"]).fine();
    for verb in [&["server", "app.test"][..], &["revoke", "alice"], &["crl"]] {
        let complained = desk.certs(verb).failed("certs.no-authority");
        assert!(complained.contains("ca.key"), "{complained}");
    }
    assert_eq!(desk.certs(&["renew", "alice"]).code, 1);
}

#[test]
fn whom_nobody_knows_cannot_be_revoked() {
    let desk = Desk::with_store();
    for name in ["bob", "00ff", "no such name", "\u{1b}[31m"] {
        let complained = desk.certs(&["revoke", name]).failed("certs.unknown");
        assert!(!complained.contains('\u{1b}'), "{complained}");
    }
    assert_eq!(desk.certs(&["revoke", "alice", "--reason", "because"]).code, 2);
    assert_eq!(fs::read_to_string(desk.path("certs/ca/crlnumber")).unwrap(), "1\n");
}

#[tokio::test]
async fn a_key_made_by_openssl_gets_in_with_a_signed_request() {
    if !has("openssl") {
        return;
    }
    let desk = Desk::new();
    desk.certs(&["init", "--client", "bob"]).fine();
    fs::create_dir(desk.path("certs/client/alice")).unwrap();
    let (key, csr) = ("certs/client/alice/key.pem", "certs/client/alice/alice.csr");
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha256", "-noenc"];
    let names = ["-subj", "/CN=alice", "-addext", "keyUsage=critical,keyCertSign"];
    let files = ["-keyout", key, "-out", csr];
    let made = desk.openssl(&[&["req", "-new"], &curve[..], &names, &files].concat());
    assert_eq!(made.code, 0, "{made:?}");
    let out = ["--as", "client", "--out", "certs/client/alice/chain.pem"];
    let said = desk.certs(&[&["sign", csr], &out[..]].concat()).fine();
    let expected = "certs/client/alice/chain.pem: client dns:alice.client.internal, until ";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.ends_with("  not taken over: keyUsage\n"), "{said}");
    let hall = desk.hall("localhost");
    assert_eq!(desk.hello(&hall, "alice", "localhost").await.unwrap(), b"hello");
    desk.certs(&["revoke", "alice"]).fine();
    let mut hall = desk.hall("localhost");
    drop(desk.hello(&hall, "alice", "localhost").await);
    assert_eq!(hall.verdict().await, "handshake.revoked");
}

#[test]
fn a_request_that_asks_for_too_much_is_refused_and_leaves_nothing() {
    let desk = Desk::with_store();
    fs::write(desk.path("not.csr"), "-----BEGIN NOTHING-----\n").unwrap();
    let sign = |csr: &str| desk.certs(&["sign", csr, "--as", "server"]);
    sign("not.csr").failed("handshake.unreadable");
    sign("missing.csr").failed("handshake.unreadable");
    fs::write(desk.path("der.csr"), [0x30, 0x03, 0x02, 0x01, 0x00]).unwrap();
    sign("der.csr").failed("certs.bad-request");
    if has("openssl") {
        for (extension, code) in [
            ("basicConstraints=CA:TRUE", "certs.bad-request"),
            ("subjectAltName=DNS:app.example", "certs.outside-constraints"),
            ("subjectAltName=DNS:app test", "certs.bad-name"),
        ] {
            let made = desk.openssl(&[
                "req", "-new", "-newkey", "ed25519", "-noenc", "-keyout", "app.key", "-out",
                "app.csr", "-subj", "/CN=app", "-addext", extension,
            ]);
            assert_eq!(made.code, 0, "{made:?}");
            sign("app.csr").failed(code);
            assert!(!desk.path("app.chain.pem").exists());
        }
    }
    assert_eq!(desk.certs(&["list", "--json"]).json().as_array().unwrap().len(), 3);
    assert_eq!(desk.certs(&["sign", "app.csr"]).code, 2);
}

#[test]
fn a_bundle_opens_with_its_password_in_openssl() {
    let desk = Desk::with_store();
    fs::write(desk.path("password"), "correct horse\nsecond line\n").unwrap();
    let said = desk.certs(&["p12", "alice", "--password-file", "password"]).fine();
    assert_eq!(said, "certs/client/alice/id.p12\n");
    desk.certs(&["p12", "alice"]).failed("certs.exists");
    desk.certs(&["p12", "bob"]).failed("certs.unknown");
    fs::write(desk.path("password"), "\n").unwrap();
    let empty = ["p12", "alice", "--password-file", "password", "--out", "new.p12"];
    desk.certs(&empty).failed("certs.bad-option");
    let made = desk.certs(&["p12", "server/localhost", "--out", "server.p12", "--json"]).json();
    let made = format!("pass:{}", made["password"].as_str().unwrap());
    if !has("openssl") {
        return;
    }
    for (bundle, password) in
        [("certs/client/alice/id.p12", "pass:correct horse"), ("server.p12", &made)]
    {
        let opened = desk.openssl(&["pkcs12", "-in", bundle, "-noenc", "-passin", password]);
        assert_eq!(opened.code, 0, "{opened:?}");
        assert!(opened.said.contains("-----BEGIN PRIVATE KEY-----"));
    }
}

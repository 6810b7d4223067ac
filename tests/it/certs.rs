//! The verbs of `doorward certs`, run as an operator runs them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use doorward::client::{Client, ClientError};
use doorward::frame::{ByteOrder, FrameKind, LengthWidth};
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
        let run = Command::new(env!("CARGO_BIN_EXE_doorward"))
            .arg("certs")
            .args(arguments)
            .current_dir(self.home.path())
            .output()
            .unwrap();
        Ended {
            code: run.status.code().unwrap(),
            said: String::from_utf8(run.stdout).unwrap(),
            complained: String::from_utf8(run.stderr).unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Every file with its bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
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
        let (chain, key) = (
            file(&format!("client/{client}/chain.pem")),
            file(&format!("client/{client}/key.pem")),
        );
        let target = hall.address("echo").to_string();
        let client = Client::from_files(&file("trust.pem"), &chain, &key, &target).unwrap();
        let connection = client.expecting(server).unwrap().connect().await?;
        let kind = FrameKind::LengthPrefixed { width: LengthWidth::Four, order: ByteOrder::Big };
        let (mut sender, mut receiver) = connection.framed(kind).unwrap();
        // A server that refuses may end before the message is out; its reason comes with the reply.
        drop(sender.send(b"hello").await);
        Ok(receiver.receive(Duration::from_secs(50)).await?.unwrap().to_vec())
    }

    fn openssl(&self, arguments: &[&str]) -> Ended {
        let run =
            Command::new("openssl").args(arguments).current_dir(self.home.path()).output().unwrap();
        Ended {
            code: run.status.code().unwrap(),
            said: String::from_utf8(run.stdout).unwrap(),
            complained: String::from_utf8(run.stderr).unwrap(),
        }
    }
}

impl Ended {
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

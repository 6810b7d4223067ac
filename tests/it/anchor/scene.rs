//! A home, a root and a store of certificates, all to be thrown away.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ALICE, Hall};

/// A machine that is none: `home`, `root`, and `work` with a store in it.
pub(crate) struct Scene {
    directory: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) said: String,
    pub(crate) complained: String,
}

/// Every file with its mode and bytes, and every link with where it leads.
pub(crate) type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

impl Scene {
    /// A scene with the usual store.
    pub(crate) fn new() -> Self {
        Self::with_store(&[])
    }

    /// A scene whose store was made with these options.
    pub(crate) fn with_store(options: &[&str]) -> Self {
        let scene = Self { directory: tempfile::tempdir().unwrap() };
        // Programs take a path apart where they should not.
        for folder in ["home", "root", "it's work"] {
            fs::create_dir(scene.directory.path().join(folder)).unwrap();
        }
        scene.certs(&[&["init"], options].concat()).fine();
        scene
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.directory.path().join("it's work")
    }

    pub(crate) fn certs_file(&self, name: &str) -> PathBuf {
        self.work().join("certs").join(name)
    }

    /// A server on the files of the store, which lets alice in.
    pub(crate) fn hall(&self, frame: &str) -> Hall {
        let file = |name: &str| self.certs_file(name).display().to_string();
        let (chain, key) = (file("server/localhost/chain.pem"), file("server/localhost/key.pem"));
        let (trust, crl) = (file("trust.pem"), file("ca/crl.pem"));
        Hall::of(&format!(
            "[bind]\nports = [\"1-65535\"]\n[address]\nallow = [\"127.0.0.0/8\"]\n[handshake]\n\
             certificate = {chain:?}\nkey = {key:?}\nclients = {trust:?}\ncrl = {crl:?}\n\
             {ALICE}[service.frame]\n{frame}\n"
        ))
    }

    /// Writes the bundle of a client or server, and returns where it is.
    pub(crate) fn bundle(&self, name: &str, password: &str) -> PathBuf {
        let file = self.home().join("password");
        fs::write(&file, password).unwrap();
        let bundle = self.home().join(format!("{name}.p12"));
        let (file, out) = (file.to_str().unwrap(), bundle.to_str().unwrap());
        self.certs(&["p12", name, "--password-file", file, "--out", out]).fine();
        bundle
    }

    /// Makes a directory in the root.
    pub(crate) fn folder(&self, path: &str) -> PathBuf {
        let folder = self.root().join(path);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A program with nothing of this machine around it but the search path.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.home()).env("JAVA_HOME", "/opt/jdk").current_dir(self.work());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(program).args(arguments).output().unwrap())
    }

    pub(crate) fn certs(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_doorward"));
        Ended::of(&command.arg("certs").args(arguments).output().unwrap())
    }

    /// `certs trust VERB --root ROOT`: never without it, whatever the stores.
    pub(crate) fn trust(&self, verb: &str, arguments: &[&str]) -> Ended {
        let mut command = self.trusting(verb);
        Ended::of(&command.args(arguments).output().unwrap())
    }

    pub(crate) fn trusting(&self, verb: &str) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_doorward"));
        command.args(["certs", "trust", verb, "--root"]).arg(self.root());
        command
    }

    /// The standing of each trust store of a kind, and what is noted beside it.
    pub(crate) fn standings(&self, store: &str) -> Vec<(String, String)> {
        let ended = self.trust("status", &["--json", "--store", store]);
        let rows: Value = serde_json::from_str(&ended.said).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| (text(&row["standing"]), text(&row["note"]))).collect()
    }

    /// The standing of the one trust store of a kind.
    pub(crate) fn standing(&self, store: &str) -> String {
        let mut standings = self.standings(store);
        assert_eq!(standings.len(), 1, "{standings:?}");
        standings.remove(0).0
    }

    /// The name under which the authority is put into trust stores.
    pub(crate) fn label(&self) -> String {
        let rows = self.trust("status", &["--json", "--store", "system"]).said;
        let rows: Value = serde_json::from_str(&rows).unwrap();
        format!("doorward-{}", &rows[0]["sha256"].as_str().unwrap()[..16])
    }
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            said: String::from_utf8_lossy(&output.stdout).into_owned(),
            complained: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What was said, where all went well.
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.said
    }

    /// What was complained about, where it failed with this code.
    pub(crate) fn failed(self, code: &str) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.complained.contains(&format!("doorward: {code} ")), "{self:?}");
        self.complained
    }
}

/// All that is below a directory.
pub(crate) fn tree(directory: &Path) -> Tree {
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_symlink() {
                let target = fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
                found.insert(path, (metadata.mode(), target));
            } else if metadata.is_dir() {
                folders.push(path.clone());
                found.insert(path, (metadata.mode(), Vec::new()));
            } else if metadata.is_file() {
                let bytes = fs::read(&path).unwrap();
                found.insert(path, (metadata.mode(), bytes));
            }
        }
    }
    found
}

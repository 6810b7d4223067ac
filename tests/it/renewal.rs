//! A development server that renews its own certificate, while sessions go on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorward::handshake::provider;
use doorward::pki::keyfile::{read_chain, read_key};
use doorward::pki::{
    AuthorityKey, Draft, HostName, Passphrase, Plan, Reason, Serial, Store, Target,
};
use doorward::problem::{Fault, Problem};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::hall::server;
use crate::support::set::days;
use crate::support::{Hall, prefixed};

/// A development store, and a configuration that serves from it.
struct Site {
    home: TempDir,
    store: Store,
}

impl Site {
    fn new() -> Self {
        Self::of(|_| {})
    }

    fn of(change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan::new(HostName::loopback().to_vec(), vec!["alice".parse().unwrap()]);
        change(&mut plan);
        let home = tempfile::tempdir().unwrap();
        let store = Store::create(&home.path().join("certs"), &plan).unwrap();
        Self { home, store }
    }

    /// A site whose server's certificate was issued 87 days ago and ends in so many days.
    fn ending_in(left: i64) -> Self {
        let site = Self::new();
        let draft = Draft::server(&HostName::loopback()).unwrap().valid(days(-87), days(left));
        let old = site.store.authority().unwrap().sign(&draft).unwrap();
        fs::write(site.server("chain.pem"), old.chain_pem()).unwrap();
        fs::write(site.server("key.pem"), old.key_pem().as_bytes()).unwrap();
        let inventory = site.store.layout().inventory();
        let text = fs::read_to_string(&inventory).unwrap();
        let mut line: serde_json::Value =
            serde_json::from_str(text.lines().find(|line| line.contains("localhost")).unwrap())
                .unwrap();
        let rfc3339 = time::format_description::well_known::Rfc3339;
        line["serial"] = old.serial().to_string().into();
        line["sha256"] = old.sha256().into();
        line["not_before"] = old.not_before().format(&rfc3339).unwrap().into();
        line["not_after"] = old.not_after().format(&rfc3339).unwrap().into();
        fs::write(inventory, format!("{text}{line}\n")).unwrap();
        site
    }

    fn server(&self, name: &str) -> PathBuf {
        self.store.layout().server(&"localhost".parse().unwrap()).join(name)
    }

    fn serial(&self) -> Serial {
        Serial::of(&read_chain(&self.server("chain.pem")).unwrap()[0]).unwrap()
    }

    fn config(&self, scope: &str, certs: &str) -> String {
        let layout = self.store.layout();
        let text = |path: &Path| path.display().to_string();
        let (chain, key) = (text(&self.server("chain.pem")), text(&self.server("key.pem")));
        let (trust, crl) = (text(&layout.trust()), text(&layout.revocations()));
        let directory = text(layout.directory());
        format!(
            "[bind]\nscope = \"{scope}\"\nports = [\"1-65535\"]\n[address]\nallow = [\"127.0.0.0/8\"]\n\
             [handshake]\ncertificate = {chain:?}\nkey = {key:?}\nclients = {trust:?}\ncrl = {crl:?}\n\
             [certs]\ndirectory = {directory:?}\n{certs}\n\
             [[service]]\nname = \"echo\"\nlisten = \"127.0.0.1:0\"\nkind = \"echo\"\n\
             [[service.identity]]\npermit = \"dns:alice.client.internal\"\n"
        )
    }

    /// The one error with which a server does not start that should renew.
    fn refusal(&self, scope: &str, certs: &str) -> Problem {
        let config = self.config(scope, &format!("renew = true\n{certs}"));
        let problems = server(&config).map(|_| ()).unwrap_err();
        let is_error =
            |problem: &&Problem| problem.severity() == doorward::problem::Severity::Error;
        let place = problems.iter().filter(is_error).find(|problem| {
            problem.place().is_some_and(|place| place.to_string().starts_with("hall.toml:13:"))
        });
        place.unwrap_or_else(|| panic!("{problems:#?}")).clone()
    }

    /// A session of alice, and the serial number of the certificate she was shown.
    async fn enter(&self, hall: &Hall) -> (TlsStream<TcpStream>, Serial) {
        let layout = self.store.layout();
        let mut roots = RootCertStore::empty();
        roots.add(read_chain(&layout.trust()).unwrap().remove(0)).unwrap();
        let alice = layout.client(&"alice".parse().unwrap());
        let chain = read_chain(&alice.join("chain.pem")).unwrap();
        let key = read_key(&alice.join("key.pem")).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        let stream = TcpStream::connect(hall.address("echo")).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await.unwrap();
        alive(&mut stream).await;
        let shown = Serial::of(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap();
        (stream, shown)
    }
}

/// Says a word and hears it back: the session is alive.
async fn alive(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(&prefixed(b"hi")).await.unwrap();
    let mut heard = [0; 6];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard[..], prefixed(b"hi"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_renewed_while_a_session_goes_on() {
    let site = Site::ending_in(3);
    let old = site.serial();
    // The renewal waits for whoever changes the store, so that the first session is there before it.
    let held = fs::File::open(site.store.layout().directory().join(".lock")).unwrap();
    held.lock().unwrap();
    let mut hall = Hall::of(&site.config("localhost", "renew = true"));
    let (mut before, shown) = site.enter(&hall).await;
    assert_eq!(shown, old);
    drop(held);
    assert!(hall.reloaded().await.is_empty());
    let (_after, shown) = site.enter(&hall).await;
    assert_eq!(shown, site.serial());
    assert_ne!(shown, old);
    alive(&mut before).await;
    let filed = site.store.find_filed("localhost").unwrap();
    assert_eq!(filed.entry.issued.serial, shown);
    assert!(filed.entry.issued.not_after > days(80), "{filed:?}");
    assert!(site.server("key.pem.old").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_ended_is_renewed_before_the_start() {
    let site = Site::ending_in(-1);
    let refused = server(&site.config("localhost", "")).map(|_| ()).unwrap_err();
    assert!(refused.iter().any(|one| one.fault() == Fault::HandshakeCertificateExpires));
    let hall = Hall::of(&site.config("localhost", "renew = true"));
    let (_session, shown) = site.enter(&hall).await;
    assert_eq!(shown, site.serial());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_due_or_not_asked_for_stays() {
    for (site, certs) in [
        (Site::ending_in(40), "renew = true"),
        (Site::ending_in(3), "renew = false"),
        (Site::ending_in(3), "due = \"60d\""),
        (Site::ending_in(3), "renew = true\ndue = \"2d\""),
    ] {
        let old = site.serial();
        let hall = Hall::of(&site.config("localhost", certs));
        for _ in 0..2 {
            let (_session, shown) = site.enter(&hall).await;
            assert_eq!(shown, old, "{certs}");
        }
        hall.control.cut();
        hall.running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_could_not_renew_does_not_start() {
    let site = Site::new();
    let wide = site.refusal("all", "");
    assert_eq!(wide.fault(), Fault::HandshakeAuthorityKey, "{wide}");
    let short = site.refusal("localhost", "due = \"90d\"");
    assert_eq!(short.fault(), Fault::ConfigBadValue);
    assert!(short.message().contains("90d, and the certificate lives 90d"), "{short}");

    let key = site.store.layout().authority_key();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(site.refusal("localhost", "").fault(), Fault::HandshakeKeyExposed);
    fs::remove_file(&key).unwrap();
    assert_eq!(site.refusal("localhost", "").fault(), Fault::CertsNoAuthority);

    let words: Passphrase = "correct horse battery".parse().unwrap();
    let locked = Site::of(|plan| plan.authority_key = AuthorityKey::Encrypted(words));
    let refused = locked.refusal("localhost", "");
    assert_eq!(refused.fault(), Fault::CertsPassphraseMissing);
    assert!(refused.message().contains("encrypted"), "{refused}");
}

#[tokio::test]
async fn a_certificate_that_is_not_of_the_store_does_not_start_either() {
    let (site, other) = (Site::new(), Site::new());
    let directory = |path: &Path| format!("directory = \"{}\"", path.display());
    let here = directory(site.store.layout().directory());
    let there = directory(other.store.layout().directory());
    let config = site.config("localhost", "renew = true").replace(&here, &there);
    let problems = server(&config).map(|_| ()).unwrap_err();
    assert!(problems.iter().any(|one| one.fault() == Fault::CertsUnknown), "{problems:#?}");
    let none = directory(site.home.path());
    let config = site.config("localhost", "renew = true").replace(&here, &none);
    let problems = server(&config).map(|_| ()).unwrap_err();
    assert!(problems.iter().any(|one| one.fault() == Fault::CertsNoAuthority), "{problems:#?}");
    let host = Target::Server("localhost".parse().unwrap());
    site.store.revoke(&host, Reason::KeyCompromise).unwrap();
    assert_eq!(site.refusal("localhost", "").fault(), Fault::CertsInventoryMismatch);
}

//! Upstreams over mutual TLS: the server is always verified, and gets nothing before it is.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use doorward::handshake::provider;
use doorward::pki::{Credential, Draft, HostName, Options, Usage};
use doorward::problem::Severity;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::{alice, answer_at_the_end, certificates, door};
use crate::support::hall::server;
use crate::support::set::days;
use crate::support::{Hall, Set, prefixed};

/// A server that shows `credential` and wants a client's certificate of `set`. It answers everybody's
/// words backwards, and tells what each handshake came to: the names of the client, or an error.
async fn upstream(
    set: &Set,
    credential: &Credential,
    versions: &[&'static SupportedProtocolVersion],
) -> (SocketAddr, UnboundedReceiver<Result<Vec<u8>, String>>) {
    let mut roots = RootCertStore::empty();
    roots.add(set.authority.anchor().clone()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(credential.chain().to_vec(), credential.key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, handshakes) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            match acceptor.accept(stream).await {
                Ok(stream) => {
                    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
                    told.send(Ok(shown)).unwrap();
                    answer_at_the_end(stream).await;
                }
                Err(error) => told.send(Err(error.to_string())).unwrap(),
            }
        }
    });
    (address, handshakes)
}

fn loopback(set: &Set) -> Credential {
    set.authority.server(&HostName::loopback(), Options::default()).unwrap()
}

#[tokio::test]
async fn a_forward_over_tls_shows_its_certificate_and_keeps_half_closes() {
    let set = Set::new();
    let (at, mut handshakes) = upstream(&set, &loopback(&set), &[&version::TLS13]).await;
    let config = door(&set, &format!("tls:{at}"), "", &certificates(&set, ""));
    let mut hall = Hall::of(&config);
    let words: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let heard = alice(&set).say(hall.address("door"), &words).await.unwrap();
    let backwards: Vec<u8> = words.iter().rev().copied().collect();
    assert!(heard == backwards, "{} bytes came back", heard.len());
    assert_eq!(hall.verdict().await, "left");
    let shown = handshakes.recv().await.unwrap().unwrap();
    let own = fs::read_to_string(set.path("door.chain.pem")).unwrap();
    let own = pem::first(&own);
    assert_eq!(shown, own, "the certificate of the table, and nobody else's");
}

mod pem {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    pub(super) fn first(text: &str) -> Vec<u8> {
        CertificateDer::from_pem_slice(text.as_bytes()).unwrap().to_vec()
    }
}

#[tokio::test]
async fn one_doorward_can_stand_behind_another() {
    let set = Set::new();
    let inner = "[[service]]\nname = \"inner\"\nlisten = \"127.0.0.1:0\"\nkind = \"echo\"\n\
                 [[service.identity]]\npermit = [\"dns:door.client.internal\"]\n";
    let inner = Hall::open(&set, inner);
    let to = format!("tls:{}", inner.address("inner"));
    let mut hall = Hall::of(&door(&set, &to, "", &certificates(&set, "")));
    let heard = alice(&set).say(hall.address("door"), &prefixed(b"hi")).await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", prefixed(b"hi")));
}

#[tokio::test]
async fn the_expected_name_and_the_pin_can_be_written() {
    let set = Set::new();
    let names = ["db.internal".parse().unwrap()];
    let credential = set.authority.server(&names, Options::default()).unwrap();
    let pin = doorward::handshake::Presented::read(credential.certificate()).unwrap().pin();
    let (at, _handshakes) = upstream(&set, &credential, &[&version::TLS13]).await;
    let more = format!("name = \"db.internal\"\npin = \"pin:{pin}\"");
    let mut hall = Hall::of(&door(&set, &format!("tls:{at}"), "", &certificates(&set, &more)));
    let heard = alice(&set).say(hall.address("door"), b"abc").await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", b"cba".to_vec()));
}

/// One visit to an upstream that shows `credential`: what the record says, and what the upstream saw.
async fn visit(
    set: &Set,
    credential: &Credential,
    versions: &[&'static SupportedProtocolVersion],
    more: &str,
) -> (&'static str, String, Result<Vec<u8>, String>) {
    let (at, mut handshakes) = upstream(set, credential, versions).await;
    let mut hall = Hall::of(&door(set, &format!("tls:{at}"), "", &certificates(set, more)));
    let heard = alice(set).say(hall.address("door"), b"secret").await.unwrap_or_default();
    assert_eq!(heard, b"", "nobody answered");
    let (code, event) = hall.ending().await;
    (code, format!("{event:?}"), handshakes.recv().await.unwrap())
}

#[tokio::test]
async fn a_server_that_is_not_the_one_it_should_be_gets_nothing() {
    let set = Set::new();
    let stranger = Set::new();
    let hosts = HostName::loopback();
    let draft = || Draft::server(&hosts).unwrap();
    let elsewhere = [HostName::loopback()[0].clone()];
    let cases = [
        ("another authority", loopback(&stranger), "", "UnknownIssuer"),
        ("self-signed", draft().self_signed().unwrap(), "", ""),
        ("expired", set.sign(&draft().valid(days(-9), days(-1))), "", "expired"),
        ("not yet valid", set.sign(&draft().valid(days(1), days(9))), "", "not valid yet"),
        ("a client's", set.sign(&draft().extended_usages(&[Usage::Client])), "", ""),
        (
            "another name",
            set.authority.server(&elsewhere, Options::default()).unwrap(),
            "name = \"db.internal\"",
            "db.internal",
        ),
        (
            "another key",
            loopback(&set),
            "pin = \"pin:sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"",
            "not the pinned one",
        ),
    ];
    for (case, credential, more, why) in cases {
        let (code, event, seen) = visit(&set, &credential, &[&version::TLS13], more).await;
        assert_eq!(code, "service.untrusted", "{case}: {event}");
        assert!(event.contains(why), "{case}: {event}");
        assert!(seen.is_err(), "{case}: the handshake was not finished");
    }
}

#[tokio::test]
async fn tls_1_2_is_not_spoken_to_an_upstream() {
    let set = Set::new();
    let (code, event, seen) = visit(&set, &loopback(&set), &[&version::TLS12], "").await;
    assert_eq!(code, "service.untrusted", "{event}");
    assert!(seen.is_err());
}

#[tokio::test]
async fn an_upstream_without_tls_gets_no_word_of_the_visitor() {
    let set = Set::new();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("tls:{}", plain.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"+OK ready\r\n").await.unwrap();
        let mut heard = Vec::new();
        drop(stream.read_to_end(&mut heard).await);
        heard
    });
    let mut hall = Hall::of(&door(&set, &to, "", &certificates(&set, "")));
    drop(alice(&set).say(hall.address("door"), b"a secret word").await);
    assert_eq!(hall.verdict().await, "service.untrusted");
    let heard = heard.await.unwrap();
    assert!(!heard.windows(6).any(|part| part == b"secret"));
}

#[tokio::test]
async fn an_upstream_that_does_not_take_our_certificate_is_named() {
    let set = Set::new();
    let stranger = Set::new();
    // It shows what this set believes, and believes only what the other one issued.
    let (at, _handshakes) = upstream(&stranger, &loopback(&set), &[&version::TLS13]).await;
    let mut hall = Hall::of(&door(&set, &format!("tls:{at}"), "", &certificates(&set, "")));
    drop(alice(&set).say(hall.address("door"), b"hi").await);
    let (code, event) = hall.ending().await;
    // In TLS 1.3 a client learns this with its first read.
    assert_eq!(code, "service.failed");
    assert!(format!("{event:?}").contains("alert"), "{event:?}");
}

#[tokio::test]
async fn an_upstream_that_ends_without_close_notify_has_broken_off() {
    let set = Set::new();
    let credential = loopback(&set);
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(credential.chain().to_vec(), credential.key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("tls:{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        stream.read_u8().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"half an ans").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(stream.get_mut().0).await.unwrap();
    });
    let mut hall = Hall::of(&door(&set, &to, "", &certificates(&set, "")));
    let heard = alice(&set).say(hall.address("door"), b"?").await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("service.failed", b"half an ans".to_vec()));
}

/// The codes and places of what refuses the start, or is a warning of it.
fn start(config: &str) -> Vec<(String, u32)> {
    let problems = match server(config) {
        Ok(server) => server.warnings().to_vec(),
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.severity() == Severity::Error));
            problems
        }
    };
    problems
        .iter()
        .map(|problem| (problem.fault().to_string(), problem.place().unwrap().line()))
        .collect()
}

#[tokio::test]
async fn files_that_cannot_be_used_refuse_the_start_at_their_place() {
    let set = Set::new();
    let config = door(&set, "tls:127.0.0.1:9", "", &certificates(&set, ""));
    assert_eq!(start(&config), []);
    let line = |key: &str| {
        let rest = config.split("[service.upstream]").next().unwrap().lines().count();
        let keys = ["certificate", "key", "trust"].iter().position(|other| *other == key).unwrap();
        u32::try_from(rest + 2 + keys).unwrap()
    };
    let found = |code: &str, key: &str| vec![(code.to_owned(), line(key))];
    let (chain, key) = (set.path("door.chain.pem"), set.path("door.key.pem"));
    let good = fs::read(&chain).unwrap();

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(start(&config), found("handshake.key-exposed", "key"));
    fs::remove_file(&key).unwrap();
    assert_eq!(start(&config), found("handshake.unreadable", "key"));
    set.write("door.key.pem", set.client("door").key_pem().as_bytes());
    assert_eq!(start(&config), found("handshake.key-mismatch", "key"));

    let shown = |draft: Draft| {
        set.write_credential("door", &set.sign(&draft));
        start(&config)
    };
    let client = || set.draft("door");
    let fault = "service.upstream-certificate";
    assert_eq!(shown(client().valid(days(-9), days(-1))), found(fault, "certificate"));
    assert_eq!(shown(client().extended_usages(&[Usage::Server])), found(fault, "certificate"));
    assert_eq!(shown(client().valid(days(-9), days(3))), found(fault, "certificate"), "a warning");
    assert_eq!(shown(client()), []);

    set.write("door.chain.pem", &good[..40]);
    assert_eq!(start(&config), found("handshake.unreadable", "certificate"));
}

#[tokio::test]
async fn whom_an_upstream_is_believed_by_is_checked_like_any_authority() {
    let set = Set::new();
    let table = certificates(&set, "");
    let other = set.path("other.pem");
    let table =
        table.replace(&set.path("trust.pem").display().to_string(), other.to_str().unwrap());
    let config = door(&set, "tls:127.0.0.1:9", "", &table);
    assert_eq!(start(&config)[0].0, "handshake.unreadable", "it is not there");
    set.write("other.pem", loopback(&set).chain_pem().as_bytes());
    assert_eq!(
        start(&config)[0].0,
        "handshake.bad-anchor",
        "a server's certificate is no authority"
    );
    set.write("other.pem", set.authority.trust_pem().as_bytes());
    assert_eq!(start(&config), []);
}

//! The dialling side: what a client is told, as far as it can know, and what is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use doorward::client::{Client, Trouble};
use doorward::frame::{ByteOrder, FrameKind, LengthWidth};
use doorward::handshake::provider;
use doorward::pki::{Credential, Draft, HostName, Usage};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::set::days;
use crate::support::visitor::showing;
use crate::support::{Hall, Set};

const PREFIXED: FrameKind =
    FrameKind::LengthPrefixed { width: LengthWidth::Four, order: ByteOrder::Big };
const SOON: Duration = Duration::from_secs(20);

const SERVICES: &str = r#"
[[service]]
name = "echo"
listen = "127.0.0.1:0"
kind = "echo"
  [service.address]
  allow = ["127.0.0.1"]
  deny = ["127.0.0.66"]
  [[service.identity]]
  permit = ["dns:alice.client.internal"]

[[service]]
name = "closed"
listen = "127.0.0.1:0"
kind = "echo"
  [service.address]
  allow = ["192.0.2.0/24"]
  [[service.identity]]
  permit = ["dns:alice.client.internal"]
"#;

/// A client with this certificate.
fn client(set: &Set, credential: &Credential, to: &str) -> Client {
    let (chain, key) = set.write_credential("client", credential);
    Client::from_files(&set.path("trust.pem"), &chain, &key, to).unwrap()
}

/// How a client with this certificate fares at a service.
async fn fare(set: &Set, credential: &Credential, to: &str) -> Trouble {
    let client = client(set, credential, to);
    let connection = match client.connect().await {
        Ok(connection) => connection,
        Err(error) => return error.trouble(),
    };
    let (mut sender, mut receiver) = connection.framed(PREFIXED).unwrap();
    drop(sender.send(b"hi").await);
    receiver.receive(SOON).await.unwrap_err().trouble()
}

#[tokio::test]
async fn replies_come_in_order_and_half_closes_are_kept() {
    let set = Set::new();
    let hall = Hall::open(&set, SERVICES);
    let alice = client(&set, &set.client("alice"), &hall.address("echo").to_string());
    let (mut sender, mut receiver) = alice.connect().await.unwrap().framed(PREFIXED).unwrap();
    for word in ["one", "two", "three"] {
        sender.send(word.as_bytes()).await.unwrap();
    }
    sender.finish().await;
    for word in ["one", "two", "three"] {
        assert_eq!(receiver.receive(SOON).await.unwrap().unwrap(), word);
    }
    assert_eq!(receiver.receive(SOON).await.unwrap(), None);
}

#[tokio::test]
async fn a_client_is_told_which_room_turned_it_away_as_far_as_it_can_know() {
    let set = Set::new();
    let revoked = set.client("alice");
    set.revoke(3, &[&revoked]);
    let hall = Hall::open(&set, SERVICES);
    let echo = hall.address("echo").to_string();
    let draft = || set.draft("alice");
    for (credential, trouble) in [
        (set.client("mallory"), Trouble::TurnedAway),
        (revoked, Trouble::CertificateRevoked),
        (set.sign(&draft().valid(days(-9), days(-1))), Trouble::CertificateExpired),
        (draft().self_signed().unwrap(), Trouble::NotVouchedFor),
        (set.sign(&draft().extended_usages(&[Usage::Server])), Trouble::CertificateRejected),
    ] {
        assert_eq!(fare(&set, &credential, &echo).await, trouble);
    }
    let closed = hall.address("closed").to_string();
    assert_eq!(fare(&set, &set.client("alice"), &closed).await, Trouble::Reset);
}

/// A TLS server with this certificate that asks for none, and answers nothing.
async fn server(credential: &Credential) -> String {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(showing(credential.chain().to_vec(), credential.key()));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut heard = Vec::new();
                    drop(stream.read_to_end(&mut heard).await);
                }
            });
        }
    });
    at
}

#[tokio::test]
async fn a_server_that_cannot_be_believed_is_named_for_what_it_is() {
    let set = Set::new();
    let other = Set::new();
    let names = HostName::loopback();
    let draft = || Draft::server(&names).unwrap();
    let elsewhere = Draft::server(&["db.internal".parse().unwrap()]).unwrap();
    for (credential, trouble) in [
        (other.sign(&draft()), Trouble::UnknownAuthority),
        (set.sign(&elsewhere), Trouble::WrongName),
        (set.sign(&draft().valid(days(-9), days(-1))), Trouble::ServerExpired),
        (set.sign(&draft().valid(days(1), days(9))), Trouble::ServerExpired),
        (set.sign(&draft().extended_usages(&[Usage::Client])), Trouble::BadServer),
    ] {
        let at = server(&credential).await;
        assert_eq!(fare(&set, &set.client("alice"), &at).await, trouble);
    }
}

#[tokio::test]
async fn the_name_to_expect_can_be_another_than_the_one_dialled() {
    let set = Set::new();
    let credential = set.sign(&Draft::server(&["db.internal".parse().unwrap()]).unwrap());
    let at = server(&credential).await;
    let alice = client(&set, &set.client("alice"), &at).expecting("db.internal").unwrap();
    alice.connect().await.unwrap();
}

#[tokio::test]
async fn a_silent_service_runs_into_the_clients_patience() {
    let set = Set::new();
    let at = server(&set.sign(&Draft::server(&HostName::loopback()).unwrap())).await;
    let alice = client(&set, &set.client("alice"), &at);
    let (mut sender, mut receiver) = alice.connect().await.unwrap().framed(PREFIXED).unwrap();
    sender.send(b"hi").await.unwrap();
    let error = receiver.receive(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.trouble(), Trouble::ReplyTimeout);
}

/// A server that does this with every visitor, and counts them.
async fn rude(greeting: &'static [u8]) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicU32::new(0));
    let visitors = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            visitors.fetch_add(1, Ordering::Relaxed);
            drop(stream.write_all(greeting).await);
            if greeting.is_empty() {
                // With unread bytes in its buffer, a closed socket answers with a reset.
                drop(stream.read_u8().await);
            } else {
                drop(stream.read(&mut [0; 4096]).await);
            }
        }
    });
    (at, count)
}

#[tokio::test]
async fn a_fault_is_tried_again_and_a_decision_is_not() {
    let set = Set::new();
    let alice = set.client("alice");
    let (at, count) = rude(b"").await;
    let error = client(&set, &alice, &at).connect_with_retries(2).await.unwrap_err();
    assert_eq!((error.trouble(), count.load(Ordering::Relaxed)), (Trouble::Reset, 3));

    let (at, count) = rude(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let error = client(&set, &alice, &at).connect_with_retries(2).await.unwrap_err();
    assert_eq!((error.trouble(), count.load(Ordering::Relaxed)), (Trouble::NotTls, 1));

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = client(&set, &alice, &gone).connect_with_retries(1).await.unwrap_err();
    assert_eq!(error.trouble(), Trouble::Refused);
    assert!(error.to_string().starts_with("client.refused Nobody listens there. (127.0.0.1:"));
}

#[tokio::test]
async fn a_server_that_comes_up_late_is_reached_by_a_retry() {
    let set = Set::new();
    let credential = set.sign(&Draft::server(&HostName::loopback()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let alice = client(&set, &set.client("alice"), &at.to_string());
    let late = async {
        alice.connect().await.unwrap_err();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(showing(credential.chain().to_vec(), credential.key()));
        let listener = TcpListener::bind(at).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap()
    };
    let (_, connected) = tokio::join!(late, alice.connect_with_retries(20));
    connected.unwrap();
}

#[tokio::test]
async fn what_cannot_be_dialled_is_refused_before_it_is_tried() {
    let set = Set::new();
    let (chain, key) = set.write_credential("client", &set.client("alice"));
    for target in
        ["", "localhost", "localhost:", ":8443", "localhost:0", "::1:8443", "localhost:99999"]
    {
        let made = Client::from_files(&set.path("trust.pem"), &chain, &key, target);
        assert_eq!(made.unwrap_err().fault().code(), "config.bad-value", "{target}");
    }
    let swapped = Client::from_files(&set.path("trust.pem"), &chain, &set.path("key.pem"), "a:1");
    assert_eq!(swapped.unwrap_err().fault().code(), "handshake.unreadable");
}

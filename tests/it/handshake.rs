//! The handshake room, one situation a test: deadlines, versions, lists, chains, alerts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use doorward::handshake::provider;
use doorward::pki::{Authority, Credential, Draft, Key, Usage};
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::hall::PATIENCE;
use crate::support::set::days;
use crate::support::visitor::{alert, hear, showing};
use crate::support::{Hall, Set, Visitor, prefixed};

/// A hall whose deadlines are short enough to wait for.
fn hasty(set: &Set) -> String {
    let tables = set.tables("deadline = \"300ms\"");
    let frame = "[service.frame]\nidle = \"1s\"\nfirst = \"1s\"\n";
    format!("{tables}{ALICE}{frame}")
}

const ALICE: &str = r#"
[[service]]
name = "echo"
listen = ["127.0.0.1:0", "[::1]:0"]
kind = "echo"
  [[service.identity]]
  permit = ["dns:alice.client.internal"]
"#;

#[tokio::test]
async fn silence_after_connect_runs_into_the_deadline() {
    let set = Set::new();
    let mut hall = Hall::of(&hasty(&set));
    let mut silent = Visitor::new(&set, None).knock(hall.address("echo")).await.unwrap();
    assert_eq!(hall.verdict().await, "handshake.timeout");
    assert_eq!(hear(&mut silent).await.unwrap_or_default(), b"");
}

/// A `ClientHello` of a real client, taken from the wire.
async fn client_hello(set: &Set) -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let visitor = Visitor::new(set, None);
    let knocking = tokio::spawn(async move { visitor.enter(at).await.is_ok() });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = vec![0; 4096];
    let length = stream.read(&mut hello).await.unwrap();
    drop(stream);
    assert!(!knocking.await.unwrap());
    hello.truncate(length);
    hello
}

#[tokio::test]
async fn a_handshake_in_drips_runs_into_one_deadline_for_all_of_it() {
    let set = Set::new();
    let mut hall = Hall::of(&hasty(&set));
    let hello = client_hello(&set).await;
    let mut stream = Visitor::new(&set, None).knock(hall.address("echo")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let dripping = tokio::spawn(async move {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        for byte in hello.chunks(1) {
            pause.tick().await;
            if stream.write_all(byte).await.is_err() {
                break;
            }
        }
    });
    assert_eq!(hall.verdict().await, "handshake.timeout");
    dripping.abort();
}

#[tokio::test]
async fn a_client_hello_byte_by_byte_is_answered() {
    let set = Set::new();
    let hall = Hall::open(&set, ALICE);
    let hello = client_hello(&set).await;
    let mut stream = Visitor::new(&set, None).knock(hall.address("echo")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in hello.chunks(1) {
        stream.write_all(byte).await.unwrap();
    }
    let mut answer = [0; 3];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, [22, 3, 3], "a handshake record");
}

#[tokio::test]
async fn idle_and_first_message_have_their_own_deadlines() {
    let set = Set::new();
    let mut hall = Hall::of(&hasty(&set));
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let mut stream = alice.enter(hall.address("echo")).await.unwrap();
    assert_eq!(hall.verdict().await, "frame.first");
    assert_eq!(hear(&mut stream).await.unwrap(), prefixed(b"error frame.first"));

    let mut stream = alice.enter(hall.address("echo")).await.unwrap();
    stream.write_all(&prefixed(b"hi")).await.unwrap();
    assert_eq!(hall.verdict().await, "frame.idle");
    assert_eq!(
        hear(&mut stream).await.unwrap(),
        [prefixed(b"hi"), prefixed(b"error frame.idle")].concat()
    );
}

/// What somebody says who speaks no TLS, and how that ends.
async fn plain(words: &[u8]) -> &'static str {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let mut stream = Visitor::new(&set, None).knock(hall.address("echo")).await.unwrap();
    stream.write_all(words).await.unwrap();
    let verdict = hall.verdict().await;
    // The stranger is told by an alert at most, never in the clear.
    let heard = hear(&mut stream).await.unwrap_or_default();
    assert!(heard.is_empty() || heard[0] == 21, "{heard:?}");
    verdict
}

#[tokio::test]
async fn plain_http_is_not_tls() {
    assert_eq!(plain(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await, "handshake.not-tls");
}

#[tokio::test]
async fn an_ssh_banner_is_not_tls() {
    assert_eq!(plain(b"SSH-2.0-OpenSSH_9.2\r\n").await, "handshake.not-tls");
}

/// A minimal `ClientHello` of TLS 1.1 (RFC 4346 section 7.4.1.2): version 3.2, 32 random bytes, no
/// session, one cipher suite, no compression.
fn hello_of_tls11() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 0x2F, 1, 0]);
    let mut record = vec![22, 3, 1, 0, u8::try_from(body.len() + 4).unwrap(), 1, 0, 0];
    record.push(u8::try_from(body.len()).unwrap());
    record.extend(body);
    record
}

#[tokio::test]
async fn tls_1_1_is_too_old() {
    assert_eq!(plain(&hello_of_tls11()).await, "handshake.version");
}

#[tokio::test]
async fn a_broken_handshake_message_is_malformed() {
    assert_eq!(plain(&[22, 3, 3, 0, 5, 1, 0, 0, 1, 0xFF]).await, "handshake.malformed");
}

#[tokio::test]
async fn tls_1_2_is_refused_unless_it_is_allowed() {
    let set = Set::new();
    let alice = set.client("alice");
    let old = Visitor::speaking(&set, Some(&alice), &[&TLS12]);
    let mut hall = Hall::open(&set, ALICE);
    let refused = old.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.version");
    assert_eq!(alert(&refused), "ProtocolVersion");

    let mut hall = Hall::of(&(set.tables("versions = [\"1.2\", \"1.3\"]") + ALICE));
    let heard = old.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", prefixed(b"hi")));
    let nobody = Visitor::speaking(&set, None, &[&TLS12]);
    nobody.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.no-certificate");
}

#[tokio::test]
async fn an_expired_revocation_list_lets_nobody_in() {
    let set = Set::new();
    set.publish(&doorward::pki::RevocationList::new(7).valid(days(-9), days(-1)));
    let mut hall = Hall::open(&set, ALICE);
    assert!(hall.warnings.iter().any(|warning| warning.fault().code() == "handshake.stale-crl"));
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let refused = alice.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.crl-expired");
    assert!(!alert(&refused).is_empty());
}

#[tokio::test]
async fn an_issuer_without_a_revocation_list_is_refused() {
    let set = Set::unconstrained();
    let below = set.authority.intermediate(doorward::pki::KeyType::default(), 90).unwrap();
    let alice = below.client(&"alice".parse().unwrap(), doorward::pki::Options::default()).unwrap();
    let mut hall = Hall::open(&set, ALICE);
    let visitor = Visitor::new(&set, Some(&alice));
    visitor.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.no-crl");

    let mut hall = Hall::of(&(set.tables("# no crl") + ALICE));
    let heard = visitor.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", prefixed(b"hi")));
}

#[tokio::test]
async fn a_leaf_that_signs_certificates_vouches_for_nobody() {
    let set = Set::unconstrained();
    let pretender = Authority::pretender(set.sign(&set.draft("bob"))).unwrap();
    let (chain, key) = pretender.sign(&set.draft("alice")).unwrap().into_parts();
    let chain = [chain, vec![pretender.certificate().clone()]].concat();
    let mut hall = Hall::of(&(set.tables("# no crl") + ALICE));
    let (verdict, _) = forge(&set, &mut hall, forger(&set, chain, &key)).await;
    assert_eq!(verdict, "handshake.constraint");
}

#[tokio::test]
async fn an_authority_that_may_have_none_below_it_has_none() {
    let set = Set::new();
    let below = set.draft("below").claiming_to_be_an_authority().key_usage_of_an_authority();
    let below = Authority::pretender(set.sign(&below)).unwrap();
    let (chain, key) = below.sign(&set.draft("alice")).unwrap().into_parts();
    let chain = [chain, vec![below.certificate().clone()]].concat();
    let mut hall = Hall::of(&(set.tables("# no crl") + ALICE));
    let (verdict, _) = forge(&set, &mut hall, forger(&set, chain, &key)).await;
    assert_eq!(verdict, "handshake.constraint");
}

/// A visitor that shows this chain and signs with this key, whether or not they belong together.
fn forger(set: &Set, chain: Vec<CertificateDer<'static>>, key: &Key) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(set.authority.anchor().clone()).unwrap();
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(showing(chain, key.to_der()))
}

async fn forge(set: &Set, hall: &mut Hall, config: ClientConfig) -> (&'static str, String) {
    let visitor = Visitor::new(set, None).with(config);
    let error = visitor.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap_err();
    (hall.verdict().await, alert(&error))
}

#[tokio::test]
async fn a_certificate_without_its_key_proves_nothing() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let stolen = set.client("alice").chain().to_vec();
    let (_, own_key) = set.client("mallory").into_parts();
    let (verdict, _) = forge(&set, &mut hall, forger(&set, stolen, &own_key)).await;
    assert_eq!(verdict, "handshake.signature");
}

#[tokio::test]
async fn a_chain_is_bounded_in_number_and_size() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let (chain, key) = set.client("alice").into_parts();
    let long = [chain.clone(), vec![set.authority.anchor().clone(); 6]].concat();
    let (verdict, _) = forge(&set, &mut hall, forger(&set, long, &key)).await;
    assert_eq!(verdict, "handshake.oversized");

    let garbage = CertificateDer::from(vec![0x30; 20_000]);
    let (verdict, _) =
        forge(&set, &mut hall, forger(&set, [chain.clone(), vec![garbage]].concat(), &key)).await;
    assert_eq!(verdict, "handshake.oversized");

    let garbage = CertificateDer::from(vec![0x30; 200]);
    let (verdict, _) =
        forge(&set, &mut hall, forger(&set, [chain, vec![garbage]].concat(), &key)).await;
    assert_eq!(verdict, "handshake.bad-certificate");
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_server_says_so() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let elsewhere = Set::unconstrained();
    let stranger = Visitor::new(&elsewhere, None);
    stranger.enter(hall.address("echo")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.client-alert");
}

#[tokio::test]
async fn a_client_that_shares_no_key_exchange_is_told_apart() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let mut provider = (*provider()).clone();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::MLKEM768];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let visitor = Visitor::new(&set, None).with(config);
    visitor.enter(hall.address("echo")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.no-common");
}

#[tokio::test]
async fn the_hybrid_post_quantum_group_is_chosen_first() {
    let set = Set::new();
    let hall = Hall::open(&set, ALICE);
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let stream = alice.enter(hall.address("echo")).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn a_visitor_that_leaves_is_no_mystery() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    drop(Visitor::new(&set, None).knock(hall.address("echo")).await.unwrap());
    assert_eq!(hall.verdict().await, "handshake.closed");
}

#[tokio::test]
async fn mapped_twins_are_judged_by_their_ipv4_address() {
    let set = Set::new();
    let denied = ALICE.to_owned()
        + "[service.address]\nallow = [\"127.0.0.0/8\", \"::1\"]\ndeny = [\"127.0.0.66\"]\n";
    let mut hall = Hall::open(&set, &denied);
    let port = hall.address("echo").port();
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    for (from, ends) in [("::ffff:127.0.0.1", "left"), ("::ffff:127.0.0.66", "address.denied")] {
        let to = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), port);
        let heard = match alice.clone().from(from).enter_as(to, "127.0.0.1").await {
            Ok(mut stream) => {
                stream.write_all(&prefixed(b"hi")).await.unwrap();
                stream.shutdown().await.unwrap();
                hear(&mut stream).await.unwrap()
            }
            Err(_) => Vec::new(),
        };
        assert_eq!(hall.verdict().await, ends, "{from}");
        assert_eq!(heard.is_empty(), ends != "left");
    }
    // The IPv6 twin of the pair is a socket of its own, and takes no mapped visitor.
    let [_, v6] = hall.addresses("echo")[..] else { panic!("two listeners") };
    let heard = alice.say(v6, &prefixed(b"hi")).await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", prefixed(b"hi")));
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), v6.port());
    let refused = alice.from("::ffff:127.0.0.1").knock(to).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Comes twice, with whatever session the first visit left behind.
async fn resume_after_revocation(
    versions: &str,
    visitor_speaks: &'static rustls::SupportedProtocolVersion,
) {
    let set = Set::new();
    let alice = set.client("alice");
    let visitor = Visitor::speaking(&set, Some(&alice), &[visitor_speaks]);
    let config = |set: &Set| set.tables(versions) + ALICE;
    let mut hall = Hall::of(&config(&set));
    for _ in 0..2 {
        let mut stream = visitor.enter(hall.address("echo")).await.unwrap();
        stream.write_all(&prefixed(b"hi")).await.unwrap();
        stream.shutdown().await.unwrap();
        hear(&mut stream).await.unwrap();
        assert_eq!(hall.verdict().await, "left");
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full), "no session is ever resumed");
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
    set.revoke(9, &[&alice]);
    // The same port, so that the visitor would find its session again.
    let port = hall.address("echo").port();
    hall.control.cut();
    hall.running.await.unwrap().unwrap();
    let again = config(&set).replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    let mut hall = Hall::of(&again);
    visitor.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.revoked");
}

#[tokio::test]
async fn a_revoked_client_cannot_resume_with_tls_1_3() {
    resume_after_revocation("", &TLS13).await;
}

#[tokio::test]
async fn a_revoked_client_cannot_resume_with_tls_1_2() {
    resume_after_revocation("versions = [\"1.2\", \"1.3\"]", &TLS12).await;
}

#[tokio::test]
async fn a_refused_client_receives_its_alert() {
    let set = Set::new();
    let revoked = set.client("alice");
    set.revoke(2, &[&revoked]);
    let expired = set.sign(&set.draft("alice").valid(days(-9), days(-1)));
    let server = set.sign(&set.draft("alice").extended_usages(&[Usage::Server]));
    let unknown: Credential =
        Draft::client(&"alice".parse().unwrap()).unwrap().self_signed().unwrap();
    let mut hall = Hall::open(&set, ALICE);
    let mut seen = 0;
    for _ in 0..10 {
        for (credential, expected) in [
            (None, "CertificateRequired"),
            (Some(&revoked), "CertificateRevoked"),
            (Some(&expired), "CertificateExpired"),
            (Some(&unknown), "UnknownCA"),
            (Some(&server), "UnsupportedCertificate"),
        ] {
            let visitor = Visitor::new(&set, credential);
            let error = visitor
                .say(hall.address("echo"), &prefixed(&vec![b'x'; 200_000]))
                .await
                .unwrap_err();
            assert_eq!(alert(&error), expected);
            hall.verdict().await;
            seen += 1;
        }
    }
    assert_eq!(seen, 50);
}

#[tokio::test]
async fn a_member_without_permission_is_told_goodbye_properly() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let mallory = Visitor::new(&set, Some(&set.client("mallory")));
    let mut stream = mallory.enter(hall.address("echo")).await.unwrap();
    assert_eq!(hear(&mut stream).await.unwrap(), b"", "close_notify, and not a word");
    assert_eq!(hall.verdict().await, "identity.not-permitted");
}

#[tokio::test]
async fn a_refused_client_that_still_speaks_is_not_reset() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let nobody = Visitor::new(&set, None);
    for _ in 0..10 {
        let mut stream = nobody.enter(hall.address("echo")).await.unwrap();
        stream.write_all(&prefixed(b"one")).await.unwrap();
        assert_eq!(hall.verdict().await, "handshake.no-certificate");
        // Without the lingering close the second word meets a reset, and the alert is lost to the client.
        stream.write_all(&prefixed(b"two")).await.unwrap();
        stream.flush().await.unwrap();
        let error = hear(&mut stream).await.unwrap_err();
        assert_eq!(alert(&error), "CertificateRequired");
    }
}

//! The client: every way in which a server can be wrong, absent or unwilling has its own code.

mod scene;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use doorward::client::{Away, Client, ClientError, Connection, Deadlines, server_name};
use doorward::frame::FrameKind;
use doorward::handshake::{Pin, Presented};
use doorward::problem::Fault;
use doorward::refusal::Room;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, HandshakeKind};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use scene::{RsaOnly, Scene, Server, Visitor, acceptor, echo, named_authority, see_off};

async fn code_of_connecting(client: &Client) -> &'static str {
    in_time(client.connect()).await.unwrap_err().code()
}

async fn asking(client: &Client) -> Result<String, ClientError> {
    let mut connection = in_time(client.connect()).await?;
    ask(&mut connection, "hello").await
}

async fn ask(connection: &mut Connection, message: &str) -> Result<String, ClientError> {
    let reply = in_time(connection.ask(message.as_bytes())).await?;
    Ok(String::from_utf8(reply.payload().to_vec()).unwrap())
}

/// Only ends a test that would hang.
async fn in_time<T>(waited_for: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(50), waited_for).await.unwrap()
}

/// Deadlines that a test can wait for.
fn short() -> Deadlines {
    let moment = Duration::from_millis(200);
    Deadlines { connect: moment, handshake: moment, reply: moment }
}

#[tokio::test]
async fn messages_and_replies_go_both_ways_in_either_version() {
    let scene = Scene::new();
    for version in rustls::ALL_VERSIONS {
        let acceptor = acceptor(scene.server(), scene.verifier(), &[version]);
        let server = Server::tls(acceptor, echo).await;
        let mut connection = in_time(scene.client(&server.target()).connect()).await.unwrap();
        assert_eq!(connection.server(), server.address);
        for message in ["hello", "", "a longer message with a line feed\nin it"] {
            assert_eq!(ask(&mut connection, message).await.unwrap(), message);
        }
        in_time(connection.finish()).await.unwrap();
        assert_eq!(in_time(connection.reply()).await, Ok(None));
    }
}

#[tokio::test]
async fn every_kind_of_frame_is_spoken() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), echo).await;
    let said = [
        (FrameKind::Lines, "a line"),
        (FrameKind::JsonLines, "{\t\"a\": [1, 2]}"),
        (FrameKind::Raw, "bytes"),
    ];
    for (kind, message) in said {
        let client = scene.client(&server.target()).speaking(kind).unwrap();
        let mut connection = in_time(client.connect()).await.unwrap();
        assert_eq!(ask(&mut connection, message).await.unwrap(), message);
    }
}

#[tokio::test]
async fn no_session_is_resumed_though_the_server_offers_it() {
    let scene = Scene::new();
    let (kinds, mut seen) = mpsc::unbounded_channel();
    let server = Server::tls(scene.acceptor(), move |visitor: Visitor| {
        kinds.send(visitor.get_ref().1.handshake_kind()).unwrap();
        echo(visitor)
    })
    .await;
    let client = scene.client(&server.target());
    for _ in 0..2 {
        assert_eq!(asking(&client).await.unwrap(), "hello");
        assert_eq!(in_time(seen.recv()).await.unwrap(), Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let scene = Scene::new();
    let stranger =
        Scene { authority: named_authority("another"), directory: tempfile::tempdir().unwrap() };
    let server = Server::tls(stranger.acceptor(), echo).await;
    assert_eq!(
        code_of_connecting(&scene.client(&server.target())).await,
        "client.unknown-authority"
    );
}

#[tokio::test]
async fn an_authority_of_the_same_name_with_another_key_is_not_believed() {
    let (scene, namesake) = (Scene::new(), Scene::new());
    let server = Server::tls(namesake.acceptor(), echo).await;
    let error = in_time(scene.client(&server.target()).connect()).await.unwrap_err();
    assert_eq!(error.code(), "client.unknown-authority");
    assert!(error.sentence().contains("another key"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_believed() {
    let scene = Scene::new();
    let elsewhere = scene.leaf("elsewhere.test", ExtendedKeyUsagePurpose::ServerAuth, |_| {});
    let acceptor = acceptor(elsewhere, scene.verifier(), rustls::ALL_VERSIONS);
    let server = Server::tls(acceptor, echo).await;
    let client = scene.client(&server.target());
    let error = in_time(client.connect()).await.unwrap_err();
    assert_eq!(error.code(), "client.wrong-name");
    assert_eq!(
        error.sentence(),
        "The server's certificate is not for 127.0.0.1 but for elsewhere.test."
    );
    let expecting = client.expecting(server_name("elsewhere.test").unwrap());
    assert_eq!(asking(&expecting).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_server_with_another_key_than_the_pinned_ones_sees_no_certificate() {
    let scene = Scene::new();
    let (certificate, key) = scene.server();
    let pin = pin_of(&certificate);
    let (seen, mut shown) = mpsc::unbounded_channel();
    let acceptor = acceptor((certificate, key), scene.verifier(), rustls::ALL_VERSIONS);
    let server = Server::plain(move |stream, _| {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        async move {
            let refused = acceptor.accept(stream).await.map_err(|error| error.to_string());
            seen.send(refused.map(|_| ())).unwrap();
        }
    })
    .await;
    let client = scene.client(&server.target());
    let other = Pin::from_digest([7; 32]);
    let error = in_time(client.clone().pinned(vec![other]).connect()).await.unwrap_err();
    assert_eq!(error.code(), "client.wrong-pin");
    assert!(error.sentence().contains(&pin.to_string()), "{error}");
    let refused = in_time(shown.recv()).await.unwrap().unwrap_err();
    assert!(refused.contains("CertificateUnknown"), "{refused}");
    in_time(client.pinned(vec![other, pin]).connect()).await.unwrap();
    assert_eq!(in_time(shown.recv()).await.unwrap(), Ok(()));
}

/// As `openssl` would say it: the SHA-256 of the public key.
fn pin_of(certificate: &CertificateDer<'_>) -> Pin {
    let presented = Presented::read(certificate).unwrap();
    presented.pin()
}

#[tokio::test]
async fn a_pin_is_asked_for_besides_all_the_rest() {
    let (scene, namesake) = (Scene::new(), Scene::new());
    let (certificate, key) = namesake.server();
    let pin = pin_of(&certificate);
    let acceptor = acceptor((certificate, key), namesake.verifier(), rustls::ALL_VERSIONS);
    let server = Server::tls(acceptor, echo).await;
    let client = scene.client(&server.target()).pinned(vec![pin]);
    assert_eq!(code_of_connecting(&client).await, "client.unknown-authority");
}

#[tokio::test]
async fn a_server_is_believed_neither_before_nor_after_its_time() {
    let scene = Scene::new();
    let day = time::Duration::days(1);
    let now = OffsetDateTime::now_utc();
    for (from, until) in [(now - day * 2, now - day), (now + day, now + day * 2)] {
        let leaf =
            scene.server_with(|params| (params.not_before, params.not_after) = (from, until));
        let acceptor = acceptor(leaf, scene.verifier(), rustls::ALL_VERSIONS);
        let server = Server::tls(acceptor, echo).await;
        assert_eq!(
            code_of_connecting(&scene.client(&server.target())).await,
            "client.server-expired"
        );
    }
}

#[tokio::test]
async fn a_clients_certificate_does_not_make_a_server() {
    let scene = Scene::new();
    let leaf = scene.leaf("127.0.0.1", ExtendedKeyUsagePurpose::ClientAuth, |_| {});
    let acceptor = acceptor(leaf, scene.verifier(), rustls::ALL_VERSIONS);
    let server = Server::tls(acceptor, echo).await;
    assert_eq!(code_of_connecting(&scene.client(&server.target())).await, "client.bad-server");
}

#[tokio::test]
async fn a_server_that_misses_a_certificate_says_so_with_the_first_reply() {
    let scene = Scene::new();
    let verifier = Arc::new(RsaOnly(scene.verifier()));
    let acceptor = acceptor(scene.server(), verifier, &[&rustls::version::TLS13]);
    let server = Server::tls(acceptor, echo).await;
    let error = asking(&scene.client(&server.target())).await.unwrap_err();
    assert_eq!(error.code(), "client.turned-away");
    let alert = Away::Alert(AlertDescription::CertificateRequired);
    assert_eq!(error, ClientError::TurnedAway(alert));
    assert_eq!(error.room(), Some(Room::Handshake));
    assert!(error.sentence().contains("certificate_required"), "{error}");
}

#[tokio::test]
async fn a_server_that_trusts_another_authority_says_so_in_either_version() {
    let scene = Scene::new();
    let stranger =
        Scene { authority: named_authority("another"), directory: tempfile::tempdir().unwrap() };
    for version in rustls::ALL_VERSIONS {
        let acceptor = acceptor(scene.server(), stranger.verifier(), &[version]);
        let server = Server::tls(acceptor, echo).await;
        let error = asking(&scene.client(&server.target())).await.unwrap_err();
        assert_eq!(error.code(), "client.turned-away");
        assert_eq!(error, ClientError::TurnedAway(Away::Alert(AlertDescription::UnknownCA)));
    }
}

#[tokio::test]
async fn a_server_that_ends_the_session_without_a_reply_has_turned_the_client_away() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), see_off).await;
    let error = asking(&scene.client(&server.target())).await.unwrap_err();
    assert_eq!(error.code(), "client.turned-away");
    assert_eq!(error, ClientError::TurnedAway(Away::Unheard));
    assert_eq!(error.room(), Some(Room::Identity));
}

#[tokio::test]
async fn a_server_that_drops_the_connection_without_a_reply_has_turned_the_client_away() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), async |stream: Visitor| {
        stream.into_inner().0.set_zero_linger().unwrap();
    })
    .await;
    let error = asking(&scene.client(&server.target())).await.unwrap_err();
    assert_eq!(error.code(), "client.turned-away");
    assert_eq!(error, ClientError::TurnedAway(Away::Unheard));
}

#[tokio::test]
async fn the_last_word_of_a_server_is_heard_before_its_end() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), async |mut stream: Visitor| {
        let word = b"error frame.too-short";
        stream.read_exact(&mut [0; 4]).await.unwrap();
        stream.write_all(&[0, 0, 0, 21]).await.unwrap();
        stream.write_all(word).await.unwrap();
        see_off(stream).await;
    })
    .await;
    let mut connection = in_time(scene.client(&server.target()).connect()).await.unwrap();
    assert_eq!(ask(&mut connection, "").await.unwrap(), "error frame.too-short");
    let error = ask(&mut connection, "again").await.unwrap_err();
    assert_eq!(error.code(), "client.turned-away");
    assert_eq!(error, ClientError::TurnedAway(Away::Ended));
}

#[tokio::test]
async fn a_session_that_is_cut_without_close_notify_did_not_end() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), async |mut stream: Visitor| {
        stream.read_exact(&mut [0; 9]).await.unwrap();
        stream.write_all(b"\0\0\0\x05hello").await.unwrap();
        drop(stream.into_inner().0.shutdown().await);
    })
    .await;
    let mut connection = in_time(scene.client(&server.target()).connect()).await.unwrap();
    assert_eq!(ask(&mut connection, "hello").await.unwrap(), "hello");
    assert_eq!(in_time(connection.reply()).await.unwrap_err().code(), "client.reset");
    assert_eq!(in_time(connection.reply()).await, Ok(None), "there are no replies after an error");
}

#[tokio::test]
async fn a_server_that_speaks_plainly_does_not_speak_tls() {
    let scene = Scene::new();
    for said in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"220 mail.test ESMTP\r\n", b"-ERR\r\n"]
    {
        let server = Server::plain(move |mut stream, _| async move {
            stream.write_all(said).await.unwrap();
            drop(stream.read_to_end(&mut Vec::new()).await);
        })
        .await;
        assert_eq!(code_of_connecting(&scene.client(&server.target())).await, "client.not-tls");
    }
}

#[tokio::test]
async fn a_server_that_says_the_clients_own_words_back_does_not_speak_tls() {
    let scene = Scene::new();
    let server = Server::plain(async |mut stream: TcpStream, _| {
        let mut hello = vec![0; 100];
        stream.read_exact(&mut hello).await.unwrap();
        let mut rest = vec![0; 16 * 1024];
        let more = stream.read(&mut rest).await.unwrap();
        hello.extend_from_slice(rest.get(..more).unwrap());
        stream.write_all(&hello).await.unwrap();
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    assert_eq!(code_of_connecting(&scene.client(&server.target())).await, "client.not-tls");
}

#[tokio::test]
async fn a_server_that_shares_no_version_says_so() {
    let scene = Scene::new();
    let server = Server::plain(async |mut stream: TcpStream, _| {
        // A fatal protocol_version alert (RFC 8446 section 6).
        stream.write_all(&[21, 3, 3, 0, 2, 2, 70]).await.unwrap();
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let client = scene.client(&server.target());
    assert_eq!(in_time(client.connect_with_retries(3)).await.unwrap_err().code(), "client.version");
    assert_eq!(server.visits(), 1);
}

#[tokio::test]
async fn a_port_without_a_listener_is_refused() {
    let scene = Scene::new();
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = held.local_addr().unwrap().to_string();
    assert_eq!(code_of_connecting(&scene.client(&target)).await, "client.refused");
}

#[tokio::test]
async fn a_network_without_a_way_is_unreachable() {
    let scene = Scene::new();
    // RFC 919: the limited broadcast address is never the peer of a connection.
    let code = code_of_connecting(&scene.client("255.255.255.255:9").within(short())).await;
    assert_eq!(code, "client.unreachable");
}

#[tokio::test]
async fn a_name_of_nobody_has_no_address() {
    let scene = Scene::new();
    // RFC 6761 section 6.4: names in .invalid never exist.
    let client = scene.client("nobody.invalid:8443");
    assert_eq!(code_of_connecting(&client).await, "client.no-such-host");
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), echo).await;
    // Where localhost has an IPv6 address too, nobody listens there.
    let client = scene.client(&format!("localhost:{}", server.address.port()));
    assert_eq!(asking(&client).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for() {
    let scene = Scene::new();
    let server = Server::plain(async |mut stream: TcpStream, _| {
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let client = scene.client(&server.target()).within(short());
    let error = in_time(client.connect()).await.unwrap_err();
    assert_eq!(error.code(), "client.timeout");
    assert!(error.sentence().contains("handshake"), "{error}");
}

#[tokio::test]
async fn a_reply_that_does_not_come_is_not_waited_for() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), async |mut stream: Visitor| {
        // Half a reply is none.
        stream.write_all(b"\0\0\0\x05hel").await.unwrap();
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let deadlines = Deadlines { reply: short().reply, ..Deadlines::default() };
    let client = scene.client(&server.target()).within(deadlines);
    assert_eq!(asking(&client).await.unwrap_err().code(), "client.reply-timeout");
}

#[tokio::test]
async fn a_server_that_does_not_read_is_not_waited_for() {
    let scene = Scene::new();
    let (done, wait) = oneshot::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(Some(wait)));
    let server = Server::tls(scene.acceptor(), move |visitor: Visitor| {
        let wait = wait.lock().unwrap().take();
        async move {
            drop(wait.unwrap().await);
            drop(visitor);
        }
    })
    .await;
    let deadlines = Deadlines { reply: short().reply, ..Deadlines::default() };
    let connection = in_time(scene.client(&server.target()).within(deadlines).connect()).await;
    let (mut writer, _reader) = connection.unwrap().split();
    // More than the socket buffers of both sides hold.
    let error = in_time(writer.send(&vec![b'a'; 16 * 1024 * 1024])).await.unwrap_err();
    assert_eq!(error.code(), "client.timeout");
    drop(done);
}

#[tokio::test]
async fn a_malformed_reply_is_refused_before_it_is_kept() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), async |mut stream: Visitor| {
        stream.write_all(&[0xFF; 4]).await.unwrap();
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let error = asking(&scene.client(&server.target())).await.unwrap_err();
    assert_eq!(error.code(), "client.frame");
    assert!(error.sentence().contains("frame.too-long"), "{error}");
}

#[tokio::test]
async fn half_a_reply_at_the_end_is_truncated() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), async |mut stream: Visitor| {
        stream.write_all(b"\0\0\0\x05hel").await.unwrap();
        see_off(stream).await;
    })
    .await;
    let error = asking(&scene.client(&server.target())).await.unwrap_err();
    assert_eq!(error.code(), "client.frame");
    assert!(error.sentence().contains("frame.truncated"), "{error}");
}

#[tokio::test]
async fn a_message_that_fits_no_frame_is_not_sent() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), echo).await;
    let client = scene.client(&server.target()).speaking(FrameKind::Lines).unwrap();
    let mut connection = in_time(client.connect()).await.unwrap();
    let error = ask(&mut connection, "two\nlines").await.unwrap_err();
    assert_eq!(error.code(), "client.frame");
    assert_eq!(ask(&mut connection, "one line").await.unwrap(), "one line");
}

#[tokio::test]
async fn a_reset_before_tls_is_the_address_room_most_likely() {
    let scene = Scene::new();
    let server = Server::plain(async |stream: TcpStream, _| {
        stream.set_zero_linger().unwrap();
    })
    .await;
    let error = in_time(scene.client(&server.target()).connect()).await.unwrap_err();
    assert_eq!(error.code(), "client.reset");
    assert_eq!(error.room(), Some(Room::Address));
}

#[tokio::test]
async fn a_client_that_has_said_all_still_hears_the_reply() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), async |mut stream: Visitor| {
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        stream.write_all(&said).await.unwrap();
        see_off(stream).await;
    })
    .await;
    let connection = in_time(scene.client(&server.target()).connect()).await.unwrap();
    let (mut writer, mut reader) = connection.split();
    in_time(writer.send(b"the end")).await.unwrap();
    in_time(writer.finish()).await.unwrap();
    let reply = in_time(reader.reply()).await.unwrap().unwrap();
    assert_eq!(&reply.payload()[..], b"the end");
    assert!(reader.has_heard());
    assert_eq!(in_time(reader.reply()).await, Ok(None));
}

#[tokio::test]
async fn a_server_that_has_said_all_still_hears_the_client() {
    let scene = Scene::new();
    let (heard, hearing) = oneshot::channel();
    let heard = Arc::new(std::sync::Mutex::new(Some(heard)));
    let server = Server::tls(scene.acceptor(), move |mut stream: Visitor| {
        let heard = heard.lock().unwrap().take();
        async move {
            stream.shutdown().await.unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.unwrap();
            heard.unwrap().send(said).unwrap();
        }
    })
    .await;
    let connection = in_time(scene.client(&server.target()).connect()).await.unwrap();
    let (mut writer, mut reader) = connection.split();
    assert_eq!(in_time(reader.reply()).await, Ok(None));
    in_time(writer.send(b"still here")).await.unwrap();
    in_time(writer.finish()).await.unwrap();
    assert_eq!(in_time(hearing).await.unwrap(), b"\0\0\0\x0astill here");
}

#[tokio::test]
async fn sending_and_receiving_run_at_the_same_time() {
    let scene = Scene::new();
    let server = Server::tls(scene.acceptor(), echo).await;
    let connection = in_time(scene.client(&server.target()).connect()).await.unwrap();
    let (mut writer, mut reader) = connection.split();
    // Far more than the socket buffers hold: one direction alone would come to a halt.
    let (count, message) = (200, vec![b'a'; 100_000]);
    let sending = tokio::spawn(async move {
        for _ in 0..count {
            writer.send(&message).await.unwrap();
        }
        writer.finish().await.unwrap();
    });
    let mut replies = 0;
    while let Some(reply) = in_time(reader.reply()).await.unwrap() {
        assert_eq!(reply.payload().len(), 100_000);
        replies += 1;
    }
    in_time(sending).await.unwrap();
    assert_eq!(replies, count);
}

#[tokio::test]
async fn retries_go_on_until_the_server_is_there() {
    let scene = Scene::new();
    let acceptor = scene.acceptor();
    let server = Server::plain(move |stream, visit| {
        let acceptor = acceptor.clone();
        async move {
            if visit < 3 {
                stream.set_zero_linger().unwrap();
                return;
            }
            echo(acceptor.accept(stream).await.unwrap()).await;
        }
    })
    .await;
    let client = scene.client(&server.target());
    let mut connection = in_time(client.connect_with_retries(2)).await.unwrap();
    assert_eq!(ask(&mut connection, "hello").await.unwrap(), "hello");
    assert_eq!(server.visits(), 3);
}

#[tokio::test]
async fn retries_come_to_an_end() {
    let scene = Scene::new();
    let server = Server::plain(async |stream: TcpStream, _| {
        stream.set_zero_linger().unwrap();
    })
    .await;
    let client = scene.client(&server.target());
    let error = in_time(client.connect_with_retries(2)).await.unwrap_err();
    assert_eq!(error.code(), "client.reset");
    assert_eq!(server.visits(), 3);
}

#[tokio::test]
async fn retries_stop_at_a_decision_of_either_side() {
    let (scene, namesake) = (Scene::new(), Scene::new());
    let not_believed = Server::tls(namesake.acceptor(), echo).await;
    let client = scene.client(&not_believed.target());
    let error = in_time(client.connect_with_retries(5)).await.unwrap_err();
    assert_eq!(error.code(), "client.unknown-authority");
    assert_eq!(not_believed.visits(), 1);

    let acceptor = acceptor(scene.server(), namesake.verifier(), &[&rustls::version::TLS12]);
    let unwilling = Server::tls(acceptor, echo).await;
    let client = scene.client(&unwilling.target());
    let error = in_time(client.connect_with_retries(5)).await.unwrap_err();
    assert_eq!(error.code(), "client.turned-away");
    assert_eq!(unwilling.visits(), 1);
}

#[test]
fn files_that_cannot_be_used_are_named_before_anything_is_dialled() {
    let fault = |scene: &Scene| {
        let error = Client::new("127.0.0.1:1".parse().unwrap(), &scene.files()).unwrap_err();
        assert_eq!(error.code(), "client.files");
        let ClientError::Files(problem) = error else { panic!("{error}") };
        problem.fault()
    };
    let scene = Scene::new();
    scene.write("key.pem", "no key");
    assert_eq!(fault(&scene), Fault::HandshakeUnreadable);

    let (scene, other) = (Scene::new(), Scene::new());
    scene.write("key.pem", &fs::read_to_string(other.files().key).unwrap());
    assert_eq!(fault(&scene), Fault::HandshakeKeyMismatch);

    let scene = Scene::new();
    fs::remove_file(scene.files().trust).unwrap();
    assert_eq!(fault(&scene), Fault::HandshakeUnreadable);

    let scene = Scene::new();
    let exposed = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    fs::set_permissions(scene.files().key, exposed).unwrap();
    assert_eq!(fault(&scene), Fault::HandshakeKeyExposed);
}

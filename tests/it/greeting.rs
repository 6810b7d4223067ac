//! What some protocols say before TLS, and which protocol is spoken in it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use doorward::handshake::provider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::visitor::{alert, hear, showing};
use crate::support::{Hall, Set, Visitor, has, prefixed};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];
const CANCEL_REQUEST: [u8; 16] = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2];
const STARTUP: [u8; 14] = *b"\0\0\0\x0e\0\x03\0\0user\0\0";

fn echo(set: &Set, greeting: &str) -> String {
    let service =
        crate::support::ALICE.replace("kind = \"echo\"", &format!("kind = \"echo\"\n{greeting}"));
    format!("{}{service}", set.tables(""))
}

/// Alice, who offers these protocols inside TLS.
fn alice(set: &Set, alpn: &[&str]) -> Visitor {
    let mut roots = RootCertStore::empty();
    roots.add(set.authority.anchor().clone()).unwrap();
    let credential = set.client("alice");
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(showing(credential.chain().to_vec(), credential.key()));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Visitor::new(set, None).with(config)
}

/// Says these bytes, each answered with one; the connection after that.
async fn ask(to: SocketAddr, requests: &[(&[u8], u8)]) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    for (request, answer) in requests {
        stream.write_all(request).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), *answer);
    }
    stream
}

async fn talk(visitor: &Visitor, stream: TcpStream, to: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = visitor.shake_hands(stream, to).await?;
    stream.write_all(&prefixed(b"hi")).await?;
    stream.shutdown().await?;
    hear(&mut stream).await
}

#[tokio::test]
async fn a_protocol_that_is_not_spoken_is_refused_with_its_alert() {
    let set = Set::new();
    let mut hall = Hall::of(&echo(&set, "alpn = [\"doors\"]"));
    let to = hall.address("echo");
    for offered in [&["doors"][..], &["h2", "doors"], &[]] {
        let stream = TcpStream::connect(to).await.unwrap();
        assert_eq!(talk(&alice(&set, offered), stream, to).await.unwrap(), prefixed(b"hi"));
        assert_eq!(hall.verdict().await, "left");
    }
    let stream = TcpStream::connect(to).await.unwrap();
    let error = talk(&alice(&set, &["h2"]), stream, to).await.unwrap_err();
    assert_eq!(alert(&error), "NoApplicationProtocol");
    assert_eq!(hall.verdict().await, "handshake.no-protocol");
}

#[tokio::test]
async fn postgres_asks_first_or_names_its_protocol_at_once() {
    let set = Set::new();
    let mut hall = Hall::of(&echo(&set, "preamble = \"postgres\""));
    let to = hall.address("echo");
    let begins: [&[(&[u8], u8)]; 3] = [
        &[(&SSL_REQUEST, b'S')],
        &[(&GSSENC_REQUEST, b'N'), (&SSL_REQUEST, b'S')],
        &[(&GSSENC_REQUEST, b'N')],
    ];
    for requests in begins {
        let direct = requests.last().is_none_or(|(_, answer)| *answer == b'N');
        let visitor = alice(&set, if direct { &["postgresql"] } else { &[] });
        let stream = ask(to, requests).await;
        assert_eq!(talk(&visitor, stream, to).await.unwrap(), prefixed(b"hi"));
        assert_eq!(hall.verdict().await, "left");
    }
    let direct = ask(to, &[]).await;
    assert_eq!(talk(&alice(&set, &["postgresql"]), direct, to).await.unwrap(), prefixed(b"hi"));
    assert_eq!(hall.verdict().await, "left");
    let nameless = ask(to, &[]).await;
    // With TLS 1.3 the client thinks it is in before the server has looked.
    drop(talk(&alice(&set, &[]), nameless, to).await);
    assert_eq!(hall.verdict().await, "handshake.no-protocol");
}

#[tokio::test]
async fn postgres_without_tls_or_with_bytes_before_it_is_refused() {
    let set = Set::new();
    let mut hall = Hall::of(&echo(&set, "preamble = \"postgres\""));
    let to = hall.address("echo");
    let early = [&SSL_REQUEST[..], b"Q"].concat();
    let early_after_gss = [&GSSENC_REQUEST[..], &SSL_REQUEST].concat();
    let refused: [(&[u8], &str); 5] = [
        (&STARTUP, "handshake.not-tls"),
        (&CANCEL_REQUEST, "handshake.not-tls"),
        (b"GET / HTTP/1.1\r\n", "handshake.not-tls"),
        (&early, "handshake.early-bytes"),
        (&early_after_gss, "handshake.early-bytes"),
    ];
    for (bytes, code) in refused {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert_eq!(hall.verdict().await, code, "{}", bytes.escape_ascii());
        let mut heard = Vec::new();
        drop(stream.read_to_end(&mut heard).await);
        assert_eq!(heard, b"", "a stranger learns nothing");
    }
    let twice = ask(to, &[(&GSSENC_REQUEST, b'N')]).await;
    let mut twice = twice;
    twice.write_all(&GSSENC_REQUEST).await.unwrap();
    assert_eq!(hall.verdict().await, "handshake.not-tls");
    let mut slow = TcpStream::connect(to).await.unwrap();
    slow.write_all(&SSL_REQUEST[..4]).await.unwrap();
    slow.shutdown().await.unwrap();
    assert_eq!(hall.verdict().await, "handshake.closed");
}

#[tokio::test]
async fn silence_after_any_answer_runs_into_the_deadline_of_the_handshake() {
    let set = Set::new();
    let text = echo(&set, "preamble = \"postgres\"");
    let mut hall = Hall::of(&text.replace("[handshake]", "[handshake]\ndeadline = \"300ms\""));
    let to = hall.address("echo");
    let begins: [&[(&[u8], u8)]; 3] =
        [&[], &[(&GSSENC_REQUEST, b'N')], &[(&GSSENC_REQUEST, b'N'), (&SSL_REQUEST, b'S')]];
    for requests in begins {
        let mut silent = ask(to, requests).await;
        assert_eq!(hall.verdict().await, "handshake.timeout");
        drop(silent.read_to_end(&mut Vec::new()).await);
    }
    let mut slow = ask(to, &[]).await;
    slow.write_all(&SSL_REQUEST[..5]).await.unwrap();
    assert_eq!(hall.verdict().await, "handshake.timeout");
}

#[tokio::test]
async fn elsewhere_a_request_of_postgres_is_no_tls() {
    let set = Set::new();
    let mut hall = Hall::open(&set, crate::support::ALICE);
    let mut stream = TcpStream::connect(hall.address("echo")).await.unwrap();
    stream.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(hall.verdict().await, "handshake.not-tls");
}

/// Says what a PostgreSQL server says to a client that starts, asks nothing back, and reports the user.
async fn scripted_upstream(listener: TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let length = stream.read_u32().await.unwrap();
    let mut startup = vec![0; usize::try_from(length).unwrap() - 4];
    stream.read_exact(&mut startup).await.unwrap();
    let welcome = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    stream.write_all(welcome).await.unwrap();
    let mut query = [0; 5];
    stream.read_exact(&mut query).await.unwrap();
    stream.write_all(b"C\0\0\0\x0dSELECT 0\0Z\0\0\0\x05I").await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    String::from_utf8_lossy(&startup).replace('\0', " ")
}

/// A forward to a PostgreSQL server, for alice alone.
fn in_front_of(set: &Set, upstream: SocketAddr) -> Hall {
    let forward = format!("kind = \"forward\"\nto = \"{upstream}\"\npreamble = \"postgres\"");
    let service = crate::support::ALICE.replace("kind = \"echo\"", &forward);
    Hall::of(&format!("{}{service}", set.tables("")))
}

/// What psql says of this question, with the certificate of this client.
async fn psql(set: &Set, to: SocketAddr, client: &str, question: &'static str) -> Output {
    let (chain, key) = set.write_credential(client, &set.client(client));
    let file = |path: &Path| path.display().to_string();
    let words = format!(
        "host=127.0.0.1 port={} user=someone dbname=postgres sslmode=verify-full sslcert={} sslkey={} sslrootcert={}",
        to.port(),
        file(&chain),
        file(&key),
        file(&set.path("trust.pem"))
    );
    let asked = move || {
        let mut command = Command::new("psql");
        command.arg(words).args(["-XAtc", question]).env("HOME", "/nonexistent").output().unwrap()
    };
    tokio::task::spawn_blocking(asked).await.unwrap()
}

#[tokio::test]
async fn psql_verifies_the_server_and_gets_through_with_its_certificate_alone() {
    if !has("psql") {
        return;
    }
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut hall = in_front_of(&set, upstream.local_addr().unwrap());
    let to = hall.address("echo");
    let stranger = psql(&set, to, "mallory", "select 0").await;
    assert!(!stranger.status.success());
    assert_eq!(hall.verdict().await, "identity.not-permitted");
    let served = tokio::spawn(scripted_upstream(upstream));
    let output = psql(&set, to, "alice", "select 0").await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(served.await.unwrap().contains("user someone"));
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn a_real_postgresql_server_answers_through_the_door() {
    if !crate::postgres::is_there() {
        return;
    }
    let set = Set::new();
    let server = crate::postgres::Postgres::start();
    let mut hall = in_front_of(&set, server.at);
    let to = hall.address("echo");
    let question = "select repeat('door', 3), count(*) from generate_series(1, 100000)";
    let answer = loop {
        // It says that it is there a moment before it is ready.
        let output = psql(&set, to, "alice", question).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = hall.verdict().await;
        if output.status.success() {
            assert_eq!(code, "left");
            break String::from_utf8(output.stdout).unwrap();
        }
        assert!(code == "service.unreachable" || said.contains("starting up"), "{code}: {said}");
    };
    assert_eq!(answer, "doordoordoor|100000\n");
}

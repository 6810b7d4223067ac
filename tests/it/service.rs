//! The service room: echo, forward, and an own service behind the same gates.

use std::sync::Arc;

use doorward::identity::Caller;
use doorward::service::{Frames, Service, Serving};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;

use crate::support::visitor::hear;
use crate::support::{Hall, Set, Visitor, prefixed};

fn forward(set: &Set, to: &str, more: &str) -> String {
    let service = format!(
        "[[service]]\nname = \"door\"\nlisten = \"127.0.0.1:0\"\nkind = \"forward\"\nto = {to:?}\n{more}\n\
         [[service.identity]]\npermit = [\"dns:alice.client.internal\"]\n"
    );
    set.tables("") + &service
}

/// Hears everything, then answers with it backwards: only a half-close that is kept gets an answer.
async fn answer_at_the_end(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    heard.reverse();
    stream.write_all(&heard).await.unwrap();
    stream.shutdown().await.unwrap();
}

fn alice(set: &Set) -> Visitor {
    Visitor::new(set, Some(&set.client("alice")))
}

#[tokio::test]
async fn a_forward_keeps_half_closes_over_tcp() {
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    tokio::spawn(async move { answer_at_the_end(upstream.accept().await.unwrap().0).await });
    let mut hall = Hall::of(&forward(&set, &to, ""));
    let words: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let heard = alice(&set).say(hall.address("door"), &words).await.unwrap();
    let backwards: Vec<u8> = words.iter().rev().copied().collect();
    assert!(heard == backwards, "{} bytes came back", heard.len());
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn a_forward_reaches_a_unix_socket() {
    let set = Set::new();
    let path = set.path("app.sock");
    let upstream = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { answer_at_the_end(upstream.accept().await.unwrap().0).await });
    let to = format!("unix:{}", path.display());
    let mut hall = Hall::of(&forward(&set, &to, ""));
    let heard = alice(&set).say(hall.address("door"), b"abc").await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", b"cba".to_vec()));
}

#[tokio::test]
async fn a_forward_lets_no_bad_frame_through() {
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        let (mut stream, _) = upstream.accept().await.unwrap();
        stream.read_to_end(&mut heard).await.unwrap();
        heard
    });
    let frame = "[service.frame]\nkind = \"lines\"\nmax = 10";
    let mut hall = Hall::of(&forward(&set, &to, frame));
    let words = b"good\r\nmuch too long a line\n";
    let told = alice(&set).say(hall.address("door"), words).await.unwrap();
    assert_eq!(hall.verdict().await, "frame.too-long");
    assert_eq!(heard.await.unwrap(), b"good\r\n", "what passed goes on unchanged");
    assert_eq!(told, b"", "the upstream's protocol is not ours to speak in");
}

#[tokio::test]
async fn an_upstream_that_is_down_is_named() {
    let set = Set::new();
    let to = {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        gone.local_addr().unwrap().to_string()
    };
    let mut hall = Hall::of(&forward(&set, &to, "connect_deadline = \"300ms\""));
    let heard = alice(&set).say(hall.address("door"), b"hi").await.unwrap_or_default();
    let (code, event) = hall.ending().await;
    assert_eq!((code, heard), ("service.unreachable", Vec::new()));
    assert!(format!("{event:?}").contains(&to), "{event:?}");
}

#[tokio::test]
async fn an_upstream_that_does_not_accept_is_given_up() {
    let set = Set::new();
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let to = full.local_addr().unwrap().as_socket().unwrap();
    // More than its queue holds: the kernel answers no further SYN.
    let mut queued = Vec::new();
    for _ in 0..8 {
        queued.push(tokio::spawn(tokio::net::TcpStream::connect(to)));
    }
    let mut hall = Hall::of(&forward(&set, &to.to_string(), "connect_deadline = \"500ms\""));
    drop(alice(&set).say(hall.address("door"), b"hi").await);
    assert_eq!(hall.verdict().await, "service.timeout");
    for connecting in queued {
        connecting.abort();
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_ends_the_session_with_its_code() {
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    });
    let mut hall = Hall::of(&forward(&set, &to, ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    stream.write_all(b"hi").await.unwrap();
    assert_eq!(hall.verdict().await, "service.failed");
    assert_eq!(hear(&mut stream).await.unwrap(), b"", "close_notify all the same");
}

const OWN: &str = r#"
[[service]]
name = "own"
listen = "127.0.0.1:0"
kind = "echo"
  [[service.identity]]
  permit = ["dns:alice.client.internal"]
"#;

/// Answers with the caller's name, its rule, and what it said.
struct Greeter;

impl Service for Greeter {
    fn serve<'a>(&'a self, caller: &'a Caller, frames: &'a mut Frames) -> Serving<'a> {
        Box::pin(async move {
            while let Some(frame) = frames.next().await {
                let said = String::from_utf8_lossy(frame?.payload()).into_owned();
                if said == "fail" {
                    return Err("the greeter is tired\nof this".into());
                }
                let answer = format!("{} by {}: {said}", caller.name(), caller.rule());
                frames.send(answer.into()).await?;
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn an_own_service_is_told_who_calls_and_by_which_rule() {
    let set = Set::new();
    let mut hall = Hall::with_service(&(set.tables("") + OWN), "own", Greeter);
    let heard = alice(&set).say(hall.address("own"), &prefixed(b"hi")).await.unwrap();
    assert_eq!(hall.verdict().await, "left");
    let heard = String::from_utf8_lossy(&heard[4..]).into_owned();
    assert_eq!(heard, "dns:alice.client.internal by hall.toml:17:13: hi");
}

#[tokio::test]
async fn an_own_service_that_fails_is_recorded_on_one_line() {
    let set = Set::new();
    let mut hall = Hall::with_service(&(set.tables("") + OWN), "own", Greeter);
    drop(alice(&set).say(hall.address("own"), &prefixed(b"fail")).await);
    let (code, event) = hall.ending().await;
    assert_eq!(code, "service.failed");
    assert!(format!("{event:?}").contains("tired\\\\u{a}of this"), "{event:?}");
}

/// Waits for its own reasons, whatever the visitor says.
struct Stubborn(Arc<Notify>);

impl Service for Stubborn {
    fn serve<'a>(&'a self, _: &'a Caller, _: &'a mut Frames) -> Serving<'a> {
        Box::pin(async move {
            self.0.notified().await;
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_session_that_outlives_the_drain_is_cut() {
    let set = Set::new();
    let text = format!("[server]\ndrain = \"1s\"\n{}{OWN}", set.tables(""));
    let mut hall = Hall::with_service(&text, "own", Stubborn(Arc::default()));
    let mut stream = alice(&set).enter(hall.address("own")).await.unwrap();
    hall.permitted().await;
    hall.control.drain();
    assert_eq!(hall.verdict().await, "service.drained");
    assert_eq!(hear(&mut stream).await.unwrap(), b"");
    hall.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_answers_what_was_said_and_ends_idle_sessions_at_once() {
    let set = Set::new();
    let mut hall = Hall::of(&(set.tables("") + OWN));
    let mut stream = alice(&set).enter(hall.address("own")).await.unwrap();
    for _ in 0..3 {
        stream.write_all(&prefixed(b"hi")).await.unwrap();
    }
    let mut first = [0; 6];
    stream.read_exact(&mut first).await.unwrap();
    hall.control.drain();
    let heard = hear(&mut stream).await.unwrap();
    assert_eq!(heard, [prefixed(b"hi"), prefixed(b"hi")].concat());
    assert_eq!(hall.verdict().await, "left");
    hall.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_visitor_that_does_not_read_its_answers_gives_up_its_seat() {
    let set = Set::new();
    let mut hall = Hall::of(&(set.tables("") + OWN));
    let mut stream = alice(&set).enter(hall.address("own")).await.unwrap();
    hall.permitted().await;
    // From here on the clock runs by itself whenever nobody has anything to do.
    tokio::time::pause();
    let flood = tokio::spawn(async move {
        let frame = prefixed(&vec![b'x'; 60_000]);
        while stream.write_all(&frame).await.is_ok() {}
        stream
    });
    assert_eq!(hall.verdict().await, "service.stalled");
    flood.abort();
}

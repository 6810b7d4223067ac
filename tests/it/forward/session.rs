//! How long a session may last, and answers that are judged like messages.

use std::sync::Arc;

use doorward::identity::Caller;
use doorward::service::{Frames, Service, Serving};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpListener;

use super::{alice, door};
use crate::support::visitor::hear;
use crate::support::{ALICE, Hall, Set, Visitor};

/// Sends everything back at once, for as long as its one visitor sends.
async fn echo(upstream: TcpListener) {
    let (mut stream, _) = upstream.accept().await.unwrap();
    let mut heard = vec![0; 64 * 1024];
    while let Ok(read) = stream.read(&mut heard).await {
        if read == 0 || stream.write_all(&heard[..read]).await.is_err() {
            return;
        }
    }
}

/// Sends without end and reads without end, so that both directions are always ready.
async fn keep_busy(stream: impl AsyncReadExt + AsyncWriteExt + Send + 'static) {
    let (mut from, mut to) = split(stream);
    let words = vec![b'x'; 64 * 1024];
    let talking = tokio::spawn(async move { while to.write_all(&words).await.is_ok() {} });
    let mut scratch = vec![0; 64 * 1024];
    while from.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
    talking.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_session_ends_when_its_lifetime_does() {
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    tokio::spawn(echo(upstream));
    let mut hall = Hall::of(&door(&set, &to, "lifetime = \"1s\"", ""));
    let stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let busy = tokio::spawn(keep_busy(stream));
    assert_eq!(hall.verdict().await, "service.lifetime");
    busy.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_session_is_cut_when_its_certificate_is_revoked() {
    let set = Set::new();
    let credential = set.client("alice");
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    tokio::spawn(echo(upstream));
    let mut hall = Hall::of(&door(&set, &to, "", ""));
    let alice = Visitor::new(&set, Some(&credential));
    let stream = alice.enter(hall.address("door")).await.unwrap();
    let busy = tokio::spawn(keep_busy(stream));
    hall.permitted().await;
    set.revoke(2, &[&credential]);
    assert_eq!(hall.verdict().await, "handshake.revoked");
    busy.await.unwrap();
}

/// Has always something to do: each turn ends because its budget is used up.
struct Restless;

impl Service for Restless {
    fn serve<'a>(&'a self, _: &'a Caller, frames: &'a mut Frames) -> Serving<'a> {
        Box::pin(async move {
            while frames.tally().counted().frames_in == 0 {
                tokio::task::consume_budget().await;
            }
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_never_rests_outlives_neither_its_lifetime_nor_a_revocation() {
    let set = Set::new();
    let credential = set.client("alice");
    let alice = Visitor::new(&set, Some(&credential));
    for (lifetime, expected) in [("1s", "service.lifetime"), ("1h", "handshake.revoked")] {
        let kind = format!("kind = \"echo\"\nlifetime = \"{lifetime}\"");
        let text = set.tables("") + &ALICE.replace("kind = \"echo\"", &kind);
        let mut hall = Hall::with_service(&text, "echo", Restless);
        let mut stream = alice.enter(hall.address("echo")).await.unwrap();
        hall.permitted().await;
        if expected == "handshake.revoked" {
            set.revoke(2, &[&credential]);
        }
        assert_eq!(hall.verdict().await, expected);
        assert_eq!(hear(&mut stream).await.unwrap(), b"");
    }
}

#[tokio::test]
async fn a_lifetime_is_for_every_kind_of_service() {
    let set = Set::new();
    let service = ALICE.replace("kind = \"echo\"", "kind = \"echo\"\nlifetime = \"1s\"");
    let mut hall = Hall::open(&set, &service);
    let mut stream = alice(&set).enter(hall.address("echo")).await.unwrap();
    assert_eq!(hall.verdict().await, "service.lifetime");
    assert_eq!(hear(&mut stream).await.unwrap(), b"", "close_notify, and no word");
}

/// What a visitor hears of an upstream that says `answer` and ends, and how the record calls it.
async fn judged(frame: &str, answer: &[u8]) -> (&'static str, Vec<u8>, String) {
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    let answer: Arc<[u8]> = answer.into();
    tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        drop(stream.write_all(&answer).await);
        drop(stream.shutdown().await);
        drop(stream.read_to_end(&mut Vec::new()).await);
    });
    let mut hall = Hall::of(&door(&set, &to, "", &format!("[service.frame]\n{frame}")));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let heard = hear(&mut stream).await.unwrap();
    drop(stream.shutdown().await);
    let (code, event) = hall.ending().await;
    (code, heard, format!("{event:?}"))
}

#[tokio::test]
async fn an_answer_that_is_no_message_ends_the_session_and_is_not_passed_on() {
    let lines = "kind = \"lines\"\nmax = 20\nanswers = \"checked\"";
    let json = "kind = \"json-lines\"\ndepth = 3\nanswers = \"checked\"";
    let prefixed = "kind = \"length-prefixed\"\nwidth = 2\nmax = 20\nanswers = \"checked\"";
    let cases: [(&str, &[u8], &[u8], &str); 7] = [
        (lines, b"good\nb\x1b[31mad\nnever\n", b"good\n", "frame.control-character"),
        (lines, b"good\r\nthis is longer than twenty\n", b"good\r\n", "frame.too-long"),
        (lines, b"good\nb\xffad\n", b"good\n", "frame.not-utf8"),
        (lines, b"good\nhalf a line", b"good\n", "frame.truncated"),
        (json, b"{\"a\":1}\n[[[[1]]]]\n", b"{\"a\":1}\n", "frame.too-deep"),
        (json, b"[1]\n[1,]\n", b"[1]\n", "frame.bad-json"),
        (prefixed, b"\0\x02ok\xff\xff", b"\0\x02ok", "frame.too-long"),
    ];
    for (frame, answer, passed, why) in cases {
        let (code, heard, event) = judged(frame, answer).await;
        assert_eq!(code, "service.bad-answer", "{why}: {event}");
        assert!(event.contains(why), "{why}: {event}");
        assert_eq!(heard, passed, "{why}: what was good before it, and no last word");
    }
}

#[tokio::test]
async fn good_answers_pass_however_fast_they_come() {
    let frame = "kind = \"lines\"\nrate = \"1/m\"\nburst = 1\nanswers = \"checked\"";
    let answer = b"one line after the other\n".repeat(20_000);
    let (code, heard, event) = judged(frame, &answer).await;
    assert_eq!((code, heard.len()), ("left", answer.len()), "{event}");
}

#[tokio::test]
async fn answers_go_back_as_they_are_unless_the_frame_says_otherwise() {
    let answer = b"b\x1b[31mad\xff half a line";
    let (code, heard, event) = judged("kind = \"lines\"", answer).await;
    assert_eq!((code, heard), ("left", answer.to_vec()), "{event}");
}

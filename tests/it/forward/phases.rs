//! An upstream that is killed: in no phase of a session does anybody hang.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{alice, door};
use crate::support::visitor::hear;
use crate::support::{Hall, Set, has};

/// Ends a connection as a host does on which the process is gone: by a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// When the upstream's connection is reset.
#[derive(Clone, Copy, Debug)]
enum Phase {
    AtOnce,
    MidQuestion,
    MidAnswer,
    AfterTheQuestion,
    AfterItsOwnEnd,
}

async fn upstream_reset_in(phase: Phase, upstream: TcpListener) {
    let (mut stream, _) = upstream.accept().await.unwrap();
    match phase {
        Phase::AtOnce => {}
        Phase::MidQuestion => drop(stream.read_u8().await),
        Phase::MidAnswer => {
            stream.read_u8().await.unwrap();
            stream.write_all(b"half").await.unwrap();
        }
        Phase::AfterTheQuestion => drop(stream.read_to_end(&mut Vec::new()).await),
        Phase::AfterItsOwnEnd => {
            stream.read_u8().await.unwrap();
            stream.shutdown().await.unwrap();
            // What the visitor says to it now goes nowhere.
            stream.read_u8().await.unwrap();
        }
    }
    reset(stream);
}

#[tokio::test]
async fn a_reset_of_the_upstream_ends_the_session_in_every_phase() {
    let cases: [(Phase, &[&str]); 5] = [
        // The reset may overtake the news that the connection stands.
        (Phase::AtOnce, &["service.failed", "service.unreachable"]),
        (Phase::MidQuestion, &["service.failed"]),
        (Phase::MidAnswer, &["service.failed"]),
        (Phase::AfterTheQuestion, &["service.failed"]),
        // It had ended its side properly: nothing of its answer is missing.
        (Phase::AfterItsOwnEnd, &["left"]),
    ];
    let set = Set::new();
    for (phase, expected) in cases {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = upstream.local_addr().unwrap().to_string();
        tokio::spawn(upstream_reset_in(phase, upstream));
        let mut hall = Hall::of(&door(&set, &to, "", ""));
        let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
        if matches!(phase, Phase::AfterTheQuestion) {
            stream.write_all(b"a question").await.unwrap();
            stream.shutdown().await.unwrap();
        } else {
            let talking = async { while stream.write_all(b"a word").await.is_ok() {} };
            // The visitor never stops by itself: it is the session that ends.
            tokio::select! {
                () = talking => {
                    let code = hall.verdict().await;
                    assert!(expected.contains(&code), "{phase:?} {code}");
                }
                code = hall.verdict() => assert!(expected.contains(&code), "{phase:?} {code}"),
            }
            continue;
        }
        let code = hall.verdict().await;
        assert!(expected.contains(&code), "{phase:?} {code}");
        drop(hear(&mut stream).await);
    }
}

#[tokio::test]
async fn a_visitor_that_talks_on_to_a_dead_upstream_does_not_keep_its_session() {
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    // Without unread data the end of a process is a FIN, like a half-close.
    tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
    });
    let mut hall = Hall::of(&door(&set, &to, "", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    stream.write_all(b"word").await.unwrap();
    assert_eq!(hear(&mut stream).await.unwrap(), b"");
    let talking = async { while stream.write_all(b"word").await.is_ok() {} };
    tokio::select! {
        () = talking => assert_eq!(hall.verdict().await, "left"),
        code = hall.verdict() => assert_eq!(code, "left"),
    }
}

/// A real process that answers each line with a part of a line, and leaves it at that.
struct Process(Child);

impl Process {
    fn start() -> (Self, SocketAddr) {
        let program = "import socket, time\n\
            s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(8)\n\
            print(s.getsockname()[1], flush=True)\n\
            c, _ = s.accept()\n\
            while True:\n    if c.recv(1000) == b'': time.sleep(1000)\n    c.sendall(b'half an ans')\n";
        let mut child =
            Command::new("python3").args(["-c", program]).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        (Self(child), SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap())))
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_killed_process_hangs_nobody() {
    if !has("python3") {
        return;
    }
    let set = Set::new();
    // Before anybody connects: nobody listens there any more.
    let (mut process, at) = Process::start();
    let mut hall = Hall::of(&door(&set, &at.to_string(), "connect_deadline = \"300ms\"", ""));
    process.kill();
    drop(alice(&set).say(hall.address("door"), b"hi\n").await);
    assert_eq!(hall.verdict().await, "service.unreachable");

    // In the middle of an answer, and after the visitor has said all.
    for half_closed in [false, true] {
        let (mut process, at) = Process::start();
        let mut hall = Hall::of(&door(&set, &at.to_string(), "", ""));
        let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
        stream.write_all(b"a question\n").await.unwrap();
        let mut part = [0; 11];
        stream.read_exact(&mut part).await.unwrap();
        if half_closed {
            stream.shutdown().await.unwrap();
        }
        process.kill();
        assert_eq!(hear(&mut stream).await.unwrap(), b"", "half closed: {half_closed}");
        if !half_closed {
            stream.shutdown().await.unwrap();
        }
        assert_eq!(hall.verdict().await, "left");
    }
}

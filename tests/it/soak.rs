//! Much of the same: nothing is lost, and nothing is left behind. With `DOORWARD_SOAK` set the numbers are those of
//! a long night; without it they fit into the gate.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{block_in_place, yield_now};

use crate::cli::Guard;
use crate::reload::{alive, file};
use crate::support::hall::PATIENCE;
use crate::support::{ALICE, Hall, Set, Visitor, prefixed};

/// How often: `few` in the gate, `many` in a soak.
fn times(few: usize, many: usize) -> usize {
    if std::env::var_os("DOORWARD_SOAK").is_some() { many } else { few }
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_lose_no_reply() {
    let set = Set::new();
    let path = file(&set, "\"localhost\"", ALICE);
    let hall = Hall::of_file(&path);
    let at = hall.address("echo");
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let done = Arc::new(AtomicBool::new(false));
    let talkers: Vec<_> = (0..4)
        .map(|_| {
            let (alice, done) = (alice.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut replies = 0_u32;
                let mut long = alice.enter(at).await.unwrap();
                while !done.load(Ordering::Relaxed) {
                    alive(&mut long).await;
                    alive(&mut alice.enter(at).await.unwrap()).await;
                    replies += 2;
                }
                replies
            })
        })
        .collect();
    for _ in 0..times(200, 10_000) {
        hall.control.reload().await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for talker in talkers {
        assert!(talker.await.expect("no reply is lost") > 0);
    }
}

/// The ways in which a visit may go.
#[derive(Clone, Copy)]
enum Way {
    Proper,
    BrokenOff,
    InTheMiddle,
    Silent,
    WithoutCertificate,
    Garbage,
    UpstreamBreaks,
}

const WAYS: [Way; 7] = [
    Way::Proper,
    Way::BrokenOff,
    Way::InTheMiddle,
    Way::Silent,
    Way::WithoutCertificate,
    Way::Garbage,
    Way::UpstreamBreaks,
];

/// Whoever comes, and what they know.
struct Crowd {
    alice: Visitor,
    nobody: Visitor,
    echo: SocketAddr,
    behind: SocketAddr,
}

impl Crowd {
    /// One visit. How it ends for the visitor is said elsewhere; here it matters what stays in the server.
    async fn visit(&self, way: Way) {
        match way {
            Way::Proper => {
                let heard = self.alice.say(self.echo, &prefixed(b"hi")).await.unwrap();
                assert_eq!(heard, prefixed(b"hi"));
            }
            Way::BrokenOff => {
                let mut stream = self.alice.enter(self.echo).await.unwrap();
                alive(&mut stream).await;
                reset(stream.get_ref().0);
            }
            Way::InTheMiddle => {
                let mut stream = self.alice.enter(self.echo).await.unwrap();
                stream.write_all(&prefixed(b"half of it")[..6]).await.unwrap();
                reset(stream.get_ref().0);
            }
            Way::Silent => reset(&self.alice.knock(self.echo).await.unwrap()),
            Way::WithoutCertificate => {
                self.nobody.say(self.echo, b"").await.unwrap_err();
            }
            Way::Garbage => {
                let mut stream = self.alice.knock(self.echo).await.unwrap();
                stream.write_all(b"\x16\x03\x01nonsense").await.unwrap();
                drop(stream.read_to_end(&mut Vec::new()).await);
            }
            Way::UpstreamBreaks => {
                drop(self.alice.say(self.behind, &prefixed(b"hi")).await);
            }
        }
    }
}

/// Lets the connection end, when it is dropped, as if the process were gone.
fn reset(stream: &tokio::net::TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// How many descriptors a process has, and how much memory, in kibibytes.
fn used(id: u32) -> (usize, usize) {
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (descriptors, resident.split_whitespace().next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_that_end_in_any_way_leave_no_descriptor_and_no_memory_behind() {
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap();
    // It hears the first bytes, and is gone.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = upstream.accept().await {
            drop(stream.read(&mut [0; 4]).await);
            reset(&stream);
        }
    });
    let behind = ALICE.replace("\"echo\"", "\"behind\"").replacen(
        "kind = \"behind\"",
        &format!("kind = \"forward\"\nto = \"{to}\""),
        1,
    );
    fs::write(set.path("doorward.toml"), set.tables("") + ALICE + &behind).unwrap();
    // Its log goes to a file: nobody reads it here, and a full pipe would stop it.
    let mut command = Command::new("sh");
    command
        .current_dir(set.path(""))
        .args(["-c", "exec \"$0\" serve --config doorward.toml 2>log"]);
    let mut guard = Guard::run({
        command.arg(env!("CARGO_BIN_EXE_doorward"));
        command
    });
    let [echo, behind] = guard.addresses()[..] else { panic!("two listeners") };
    let crowd = Arc::new(Crowd {
        alice: Visitor::new(&set, Some(&set.client("alice"))),
        nobody: Visitor::new(&set, None),
        echo,
        behind,
    });
    come(&crowd, 700).await;
    let (descriptors, before) = settled(&guard, None).await;
    come(&crowd, times(2_100, 50_400)).await;
    let (_, after) = settled(&guard, Some(descriptors)).await;
    // What is kept of the last visits is bounded; a leak of as little as 100 bytes a visit would show in a soak.
    let most = before + 4096;
    assert!(after < most, "{before} KiB became {after} KiB");
    block_in_place(|| guard.stop());
}

/// So many visits of every kind, a few at once.
async fn come(crowd: &Arc<Crowd>, count: usize) {
    let crowds: Vec<_> = (0..AT_ONCE)
        .map(|first| {
            let crowd = Arc::clone(crowd);
            tokio::spawn(async move {
                for number in (first..count).step_by(AT_ONCE) {
                    crowd.visit(WAYS[number % WAYS.len()]).await;
                }
            })
        })
        .collect();
    for crowd in crowds {
        crowd.await.unwrap();
    }
}

/// Waits until everybody has left: as many descriptors as before, or as few as stay the same.
async fn settled(guard: &Guard, as_before: Option<usize>) -> (usize, usize) {
    let began = Instant::now();
    let mut least = used(guard.id());
    let mut same_since = Instant::now();
    while began.elapsed() < PATIENCE {
        let now = used(guard.id());
        match as_before {
            Some(before) if now.0 <= before => return now,
            None if now.0 < least.0 => (least, same_since) = (now, Instant::now()),
            // Ten times as long as a visitor's goodbye takes here.
            None if same_since.elapsed().as_secs() >= 2 => return now,
            Some(_) | None => {}
        }
        yield_now().await;
    }
    panic!("descriptors stay open: {} now, {as_before:?} before", used(guard.id()).0);
}

/// Fewer than a network's share of seats.
const AT_ONCE: usize = 8;

//! How programs end: by themselves, with their session, or by somebody else's hand.

use std::fs;
use std::process::Command;

use tokio::io::AsyncWriteExt;

use super::scene::{alice, gone, line, numbers, run, say, script};
use crate::support::visitor::hear;
use crate::support::{Hall, Set, has};

/// Ends a session in the middle by a message that is refused.
async fn misbehave(stream: &mut (impl AsyncWriteExt + Unpin), hall: &mut Hall) {
    say(stream, &"x".repeat(100_000)).await;
    assert_eq!(hall.verdict().await, "frame.too-long");
}

fn kill(process: u32, signal: &str) {
    let kill = format!("kill -s {signal} {process}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[tokio::test]
async fn the_record_says_how_a_program_ended() {
    let set = Set::new();
    for (command, seen) in [
        ("exit 3", "exit status: 3"),
        ("kill -s KILL $$", "signal: 9 (SIGKILL)"),
        ("kill -s TERM $$", "signal: 15 (SIGTERM)"),
        ("kill -s SEGV $$", "signal: 11 (SIGSEGV)"),
        ("kill -s PIPE $$", "exit status: 141"),
        ("echo 'out of order' >&2; exit 200", "exit status: 200"),
    ] {
        let mut hall = Hall::kept(&script(&set, command, "", ""));
        let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
        assert_eq!(hear(&mut stream).await.unwrap(), b"", "close_notify all the same");
        let (code, event) = hall.ending().await;
        assert_eq!(code, "service.failed", "{command}");
        assert!(format!("{event:?}").contains(seen), "{command}: {event:?}");
    }
}

#[tokio::test]
async fn a_program_whose_interpreter_is_missing_ends_as_in_a_shell() {
    let set = Set::new();
    let file = set.write("server", b"#!/nowhere/python\n");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut hall = Hall::kept(&run(&set, &[file.to_str().unwrap()], "", ""));
    drop(alice(&set).say(hall.address("door"), b"").await);
    let (code, event) = hall.ending().await;
    assert_eq!(code, "service.failed");
    assert!(format!("{event:?}").contains("exit status: 127"), "{event:?}");
}

#[tokio::test]
async fn a_program_that_ends_early_ends_the_session() {
    let set = Set::new();
    let mut hall = Hall::kept(&script(&set, "read -r line; echo \"$line\"", "", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    say(&mut stream, "one\n").await;
    assert_eq!(hear(&mut stream).await.unwrap(), b"one\n");
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn a_program_is_asked_before_it_is_killed() {
    let set = Set::new();
    let file = set.path("asked");
    let polite = format!(
        "trap 'echo yes > {}; exit' TERM; echo $$ $PPID; read -r x; sleep 1000 & wait",
        file.display()
    );
    let mut hall = Hall::kept(&script(&set, &polite, "grace = \"30s\"", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    misbehave(&mut stream, &mut hall).await;
    gone(&processes).await;
    assert_eq!(fs::read_to_string(file).unwrap(), "yes\n");
}

#[tokio::test]
async fn a_program_that_ignores_the_request_is_killed() {
    let set = Set::new();
    let stubborn = "trap '' TERM HUP INT; echo $$ $PPID; while :; do sleep 1; done";
    let mut hall = Hall::kept(&script(&set, stubborn, "grace = \"100ms\"", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    misbehave(&mut stream, &mut hall).await;
    gone(&processes).await;
}

#[tokio::test]
async fn a_program_that_stays_when_all_is_said_is_ended() {
    let set = Set::new();
    let lingering = "echo $$ $PPID; exec >&-; cat; trap '' TERM; sleep 1000";
    let mut hall = Hall::kept(&script(&set, lingering, "grace = \"100ms\"", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    stream.shutdown().await.unwrap();
    assert_eq!(hall.verdict().await, "left");
    gone(&processes).await;
}

#[tokio::test]
async fn a_stopped_server_takes_its_programs_along() {
    let set = Set::new();
    let mut hall = Hall::kept(&script(&set, "echo $$ $PPID; exec sleep 1000", "", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    hall.control.cut();
    assert_eq!(hall.verdict().await, "service.drained");
    gone(&processes).await;
}

#[tokio::test]
async fn a_revoked_caller_loses_its_program() {
    let set = Set::new();
    let credential = set.client("alice");
    let mut hall = Hall::kept(&script(&set, "echo $$ $PPID; exec sleep 1000", "", ""));
    let visitor = crate::support::Visitor::new(&set, Some(&credential));
    let mut stream = visitor.enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    set.revoke(2, &[&credential]);
    assert_eq!(hall.verdict().await, "handshake.revoked");
    gone(&processes).await;
}

#[tokio::test]
async fn nothing_of_a_program_outlives_it() {
    if !has("setsid") {
        return;
    }
    let set = Set::new();
    // A child, one in a session of its own, and one whose parent has left it.
    let brood = "sleep 1000 & a=$!; setsid sleep 1000 & b=$!; \
                 c=$( (setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1 </dev/null' &) ); \
                 trap '' TERM; echo $$ $PPID $a $b $c";
    for ending in ["exit 0", "read -r line; exit 0", "kill -s KILL $$", "sleep 1000"] {
        let text = script(&set, &format!("{brood}; {ending}"), "grace = \"50ms\"", "");
        let mut hall = Hall::kept(&text);
        let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
        let processes = numbers(&mut stream).await;
        assert_eq!(processes.len(), 5);
        drop(stream.write_all("x".repeat(100_000).as_bytes()).await);
        hall.verdict().await;
        gone(&processes).await;
    }
}

#[tokio::test]
async fn a_killed_program_or_keeper_ends_the_session() {
    let set = Set::new();
    for victim in [0, 1] {
        let script = script(&set, "sleep 1000 & echo $$ $PPID $!; wait", "", "");
        let mut hall = Hall::kept(&script);
        let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
        let processes = numbers(&mut stream).await;
        kill(processes[victim], "KILL");
        let (code, event) = hall.ending().await;
        assert_eq!(code, "service.failed");
        assert!(format!("{event:?}").contains("SIGKILL"), "{event:?}");
        super::scene::dead(&processes).await;
    }
}

#[tokio::test]
async fn a_program_in_a_session_of_its_own_does_not_outlive_its_keeper() {
    if !has("setsid") {
        return;
    }
    let set = Set::new();
    let mut hall = Hall::kept(&script(&set, "echo $$ $PPID; exec setsid sleep 1000", "", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    let name = || fs::read_to_string(format!("/proc/{}/comm", processes[0])).unwrap_or_default();
    super::scene::until(|| name() == "sleep\n", "the program does not begin").await;
    kill(processes[1], "KILL");
    assert_eq!(hall.verdict().await, "service.failed");
    super::scene::dead(&processes).await;
}

#[tokio::test]
async fn a_stopped_keeper_does_not_save_its_program() {
    let set = Set::new();
    let mut hall = Hall::kept(&script(
        &set,
        "trap '' TERM; echo $$ $PPID; sleep 1000",
        "grace = \"50ms\"",
        "",
    ));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    kill(processes[1], "STOP");
    misbehave(&mut stream, &mut hall).await;
    super::scene::dead(&processes).await;
}

#[tokio::test]
async fn so_many_programs_run_and_no_more() {
    let set = Set::new();
    let text = script(&set, "echo $$ $PPID; cat", "", "[service.limits]\nprograms = 1");
    let mut hall = Hall::kept(&text);
    let visitor = alice(&set);
    let mut first = visitor.enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut first).await;
    let mut second = visitor.enter(hall.address("door")).await.unwrap();
    assert_eq!(hear(&mut second).await.unwrap(), b"", "close_notify, and nothing else");
    let (code, event) = hall.ending().await;
    assert_eq!(code, "service.busy");
    assert!(format!("{event:?}").contains("1 programs run"), "{event:?}");
    first.shutdown().await.unwrap();
    assert_eq!(hall.verdict().await, "left");
    gone(&processes).await;
    // The seat is free as soon as the keeper is known to be gone, which is a moment later.
    loop {
        let heard = visitor.say(hall.address("door"), b"hi\n").await.unwrap();
        let code = hall.verdict().await;
        if code == "left" {
            assert!(heard.ends_with(b"hi\n"));
            break;
        }
        assert_eq!(code, "service.busy");
    }
}

#[tokio::test]
async fn a_hundred_sessions_leave_no_process() {
    let set = Set::new();
    let mut hall = Hall::kept(&script(&set, "echo $$ $PPID; cat", "", ""));
    let (at, visitor) = (hall.address("door"), alice(&set));
    let mut processes = Vec::new();
    for _ in 0..10 {
        let mut together = Vec::new();
        for _ in 0..10 {
            let visitor = visitor.clone();
            together.push(tokio::spawn(async move {
                let mut stream = visitor.enter(at).await.unwrap();
                let processes = numbers(&mut stream).await;
                say(&mut stream, "hi\n").await;
                assert_eq!(line(&mut stream).await, "hi");
                processes
            }));
        }
        for one in together {
            processes.extend(one.await.unwrap());
            hall.verdict().await;
        }
    }
    assert_eq!(processes.len(), 200);
    gone(&processes).await;
}

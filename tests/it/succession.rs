//! One server takes the place of another: with the real command, under load, and where it fails.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::{Guard, doorward, said};
use crate::reload::alive;
use crate::support::{Set, Visitor, has, skipped};

/// An address that no other test uses, and a port of it that is free.
fn free(ip: &str) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// A configuration with an admin socket and these listeners, in the set's directory.
fn write(set: &Set, admin: &str, listen: &[SocketAddr]) {
    let socket = set.path("admin.sock").display().to_string();
    let listen: Vec<_> = listen.iter().map(ToString::to_string).collect();
    let text = format!(
        "{}[server]\nwatch = false\n[admin]\nsocket = {socket:?}\n{admin}\n[[service]]\nname = \"echo\"\n\
         listen = {listen:?}\nkind = \"echo\"\n[[service.identity]]\npermit = [\"dns:alice.client.internal\"]\n",
        set.tables("")
    );
    fs::write(set.path("doorward.toml"), text).unwrap();
}

fn serve(set: &Set, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    command.args(["serve", "--config"]).arg(set.path("doorward.toml")).args(words);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn successors_take_over_under_load_and_no_connection_or_reply_is_lost() {
    let set = Set::new();
    let at = free("127.0.78.1");
    write(&set, "", &[at]);
    let mut guard = Guard::run(serve(&set, &[]));
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let done = Arc::new(AtomicBool::new(false));
    let talkers: Vec<_> = (0..4)
        .map(|_| {
            let (alice, done) = (alice.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut replies = 0_u32;
                while !done.load(Ordering::Relaxed) {
                    alive(&mut alice.enter_as(at, "127.0.0.1").await.unwrap()).await;
                    replies += 1;
                }
                replies
            })
        })
        .collect();
    let mut long = alice.enter_as(at, "127.0.0.1").await.unwrap();
    alive(&mut long).await;
    for _ in 0..3 {
        let next = Guard::run(serve(&set, &["--take-over"]));
        alive(&mut long).await;
        drop(long);
        let mut before = std::mem::replace(&mut guard, next);
        assert!(tokio::task::block_in_place(|| before.ended()));
        long = alice.enter_as(at, "127.0.0.1").await.unwrap();
        alive(&mut long).await;
    }
    done.store(true, Ordering::Relaxed);
    for talker in talkers {
        assert!(talker.await.expect("no reply is lost") > 0);
    }
    drop(long);
    let (code, ..) = ask(&set);
    assert_eq!(code, 0, "the admin socket is that of the last server");
    tokio::task::block_in_place(|| guard.stop());
}

/// What the server at the admin socket answers when it is asked for its state.
fn ask(set: &Set) -> (i32, String, String) {
    let config = set.path("doorward.toml");
    said(&doorward(&set.path(""), &["status", "--config", config.to_str().unwrap()]))
}

#[test]
fn a_successor_that_cannot_start_leaves_everything_as_it_was() {
    let set = Set::new();
    let (at, taken) = (free("127.0.78.2"), TcpListener::bind("127.0.78.2:0").unwrap());
    write(&set, "", &[at]);
    let mut guard = Guard::run(serve(&set, &[]));
    write(&set, "", &[at, taken.local_addr().unwrap()]);
    let (code, _, err) = said(&serve(&set, &["--take-over"]).output().unwrap());
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("bind.in-use"), "{err}");
    TcpStream::connect(at).unwrap();
    let (code, out, err) = ask(&set);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&at.to_string()), "{out}");
    let said = guard.stop();
    assert!(said.contains("the successor did not become ready"), "{said}");
}

#[test]
fn a_listener_that_the_successor_does_not_want_is_closed_with_its_predecessor() {
    let set = Set::new();
    let (kept, left, new) = (free("127.0.78.3"), free("127.0.78.4"), free("127.0.78.5"));
    write(&set, "", &[kept, left]);
    let mut before = Guard::run(serve(&set, &[]));
    write(&set, "", &[kept, new]);
    let mut after = Guard::run(serve(&set, &["--take-over"]));
    assert!(before.ended());
    assert_eq!(after.addresses(), [kept, new]);
    TcpStream::connect(kept).unwrap();
    TcpStream::connect(new).unwrap();
    TcpStream::connect(left).unwrap_err();
    after.stop();
}

#[test]
fn whoever_cannot_be_taken_over_is_named() {
    let set = Set::new();
    write(&set, "", &[free("127.0.78.6")]);
    let (code, _, err) = said(&serve(&set, &["--take-over"]).output().unwrap());
    assert_eq!(code, 3);
    assert!(err.contains("admin.no-server"), "{err}");
    let file = set.path("doorward.toml");
    let text = fs::read_to_string(&file).unwrap();
    let log = set.path("audit.jsonl").display().to_string();
    fs::write(&file, format!("{text}[audit]\nto = \"file:{log}\"\n")).unwrap();
    let (code, _, err) = said(&serve(&set, &["--take-over"]).output().unwrap());
    assert_eq!(code, 3);
    assert!(err.contains("admin.refused"), "{err}");
    fs::write(&file, &text).unwrap();
    let without: Vec<_> = text.lines().filter(|line| !line.contains("admin")).collect();
    fs::write(&file, without.join("\n").replace("socket", "#")).unwrap();
    let (code, _, err) = said(&serve(&set, &["--take-over"]).output().unwrap());
    assert_eq!(code, 3);
    assert!(err.contains("admin.no-socket"), "{err}");
}

#[test]
fn a_user_who_may_ask_for_the_status_may_not_have_the_sockets() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("this test acts as another user, which takes root");
    }
    if !has("setpriv") {
        return;
    }
    let set = Set::new();
    write(&set, "users = [65534]", &[free("127.0.78.7")]);
    let mut guard = Guard::run(serve(&set, &[]));
    for path in ["doorward.toml", ""] {
        fs::set_permissions(set.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let serve = serve(&set, &["--take-over"]);
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(serve.get_program())
        .args(serve.get_args())
        .output()
        .unwrap();
    let (code, _, err) = said(&output);
    assert_eq!(code, 3);
    assert!(err.contains("admin.refused") && err.contains("user 65534 may not ask"), "{err}");
    assert!(guard.stop().contains("user=65534"));
}

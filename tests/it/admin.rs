//! The admin socket: an operator and a running server, with the real command.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;

use crate::cli::{Guard, block_on, doorward, said};
use crate::support::visitor::hear;
use crate::support::{ALICE, Set, Visitor, has, prefixed, skipped};

/// A server with an admin socket in the set's directory.
fn guard(set: &Set, admin: &str) -> Guard {
    Guard::start(set, &configuration(set, admin))
}

fn configuration(set: &Set, admin: &str) -> String {
    let socket = set.path("admin.sock").display().to_string();
    format!(
        "{}[server]\nwatch = false\n[admin]\nsocket = {socket:?}\n{admin}\n{ALICE}",
        set.tables("")
    )
}

/// What the command answers about this server: exit code, standard output and error.
fn ask(set: &Set, words: &[&str]) -> (i32, String, String) {
    let config = set.path("doorward.toml");
    let words = [words, &["--config", config.to_str().unwrap()]].concat();
    said(&doorward(set.path("").as_path(), &words))
}

fn status(set: &Set) -> Value {
    let (code, out, err) = ask(set, &["status", "--json"]);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str::<Value>(&out).unwrap()["status"].clone()
}

#[test]
fn status_tells_what_is_open_who_is_in_what_ends_and_who_was_refused() {
    let set = Set::new();
    let mut guard = guard(&set, "");
    let at = guard.address();
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let stranger = Visitor::new(&set, Some(&set.client("mallory")));
    let (before, session) = block_on(async {
        assert_eq!(stranger.say(at, b"").await.unwrap(), b"");
        let mut session = alice.enter(at).await.unwrap();
        crate::reload::alive(&mut session).await;
        (status(&set), session)
    });
    assert_eq!(before["listeners"][0]["at"], at.to_string());
    assert_eq!(before["listeners"][0]["exposure"], format!("{at} open to this machine only"));
    assert_eq!(before["names"]["dns:alice.client.internal"], 1);
    assert_eq!((&before["members"]["taken"], &before["permitted"]), (&1.into(), &1.into()));
    assert_eq!(before["refused"]["identity.not-permitted"], 1);
    assert_eq!(before["last"][0]["names"][0], "dns:mallory.client.internal");
    assert_eq!(before["sessions"][0]["frames"], 1);
    assert_eq!(before["draining"], false);
    let endings: Vec<_> = before["endings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["what"].as_str().unwrap())
        .collect();
    assert_eq!(endings, ["server certificate", "authority", "revocation list"]);

    let (code, out, _) = ask(&set, &["status"]);
    assert_eq!(code, 0);
    for words in [
        &format!("bind       {at} open to this machine only"),
        "0 of 512 strangers, 1 of 4096 members",
        "days left: server certificate",
        "1 permitted, 1 refused",
        "identity.not-permitted from 127.0.0.1:",
        "as dns:mallory.client.internal",
    ] {
        assert!(out.contains(words), "{words:?} in\n{out}");
    }
    assert!(!out.lines().any(|line| line.chars().count() > 160), "{out}");
    drop(session);
    guard.stop();
    let gone = UnixStream::connect(set.path("admin.sock")).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::ConnectionRefused, "a leftover is all there may be");
    self::guard(&set, "").stop();
}

#[test]
fn reload_answers_when_the_new_state_counts_or_says_why_it_does_not() {
    let set = Set::new();
    let mut guard = guard(&set, "");
    let file = set.path("doorward.toml");
    let good = fs::read_to_string(&file).unwrap();
    assert_eq!(ask(&set, &["reload"]).0, 0);

    fs::write(&file, good.replace("permit", "premit")).unwrap();
    let (code, out, err) = ask(&set, &["reload"]);
    let (checked, complaint, _) = ask(&set, &["check"]);
    assert_eq!((code, out.as_str(), checked), (3, "", 3));
    assert!(
        err.contains("config.unknown-key") && complaint.starts_with(&err),
        "{err}\n{complaint}"
    );
    let reloads = &status(&set)["reloads"];
    assert_eq!(
        (&reloads["done"], &reloads["refused"], &reloads["stale"]),
        (&1.into(), &1.into(), &true.into())
    );

    fs::write(&file, good.replace("alice", "bob")).unwrap();
    assert_eq!(ask(&set, &["reload"]).0, 0);
    let bob = Visitor::new(&set, Some(&set.client("bob")));
    assert_eq!(block_on(bob.say(guard.address(), &prefixed(b"hi"))).unwrap(), prefixed(b"hi"));
    guard.stop();
}

#[test]
fn a_ban_cuts_its_sessions_keeps_newcomers_out_and_can_be_lifted() {
    let set = Set::new();
    let mut guard = guard(&set, "");
    let at = guard.address();
    let near = Visitor::new(&set, Some(&set.client("alice")));
    let far = near.clone().from("127.0.0.9");
    block_on(async {
        let mut banned = far.enter(at).await.unwrap();
        let mut unharmed = near.enter(at).await.unwrap();
        crate::reload::alive(&mut banned).await;
        crate::reload::alive(&mut unharmed).await;
        let (code, _, err) =
            ask(&set, &["ban", "127.0.0.8/31", "--for", "5m", "--why", "knocks\u{1b}[2J too much"]);
        assert_eq!(code, 0, "{err}");
        assert_eq!(hear(&mut banned).await.unwrap(), b"");
        crate::reload::alive(&mut unharmed).await;
        far.enter(at).await.unwrap_err();
    });
    let (_, list, _) = ask(&set, &["ban", "--list"]);
    assert!(list.contains("127.0.0.8/31") && list.contains("knocks\\u{1b}[2J too much"), "{list}");
    assert_eq!(status(&set)["refused"]["address.banned"], 2);

    let (code, _, err) = ask(&set, &["ban", "127.0.0.8", "--lift"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("address.not-banned"), "{err}");
    assert_eq!(ask(&set, &["ban", "127.0.0.8/31", "--lift"]).0, 0);
    assert_eq!(block_on(far.say(at, &prefixed(b"hi"))).unwrap(), prefixed(b"hi"));
    assert_eq!(ask(&set, &["ban", "--list"]).1, "nobody is banned\n");
    for wrong in [&["ban", "127.0.0.8/8"][..], &["ban", "127.0.0.8", "--for", "2y"], &["ban"]] {
        assert_eq!(ask(&set, wrong).0, 2, "{wrong:?}");
    }
    let said = guard.stop();
    assert!(
        said.contains("code=address.banned") && said.contains("banned network=127.0.0.8/31"),
        "{said}"
    );
}

#[test]
fn drain_lets_sessions_finish_and_ends_the_server() {
    let set = Set::new();
    let mut guard = guard(&set, "");
    let at = guard.address();
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    block_on(async {
        use tokio::io::AsyncWriteExt;
        let mut session = alice.enter(at).await.unwrap();
        crate::reload::alive(&mut session).await;
        // Half a message keeps the session from ending at once.
        session.write_all(&prefixed(b"hi")[..3]).await.unwrap();
        session.flush().await.unwrap();
        assert_eq!(ask(&set, &["drain"]).0, 0);
        session.write_all(&prefixed(b"hi")[3..]).await.unwrap();
        assert_eq!(hear(&mut session).await.unwrap(), prefixed(b"hi"));
    });
    assert!(guard.ended(), "by itself");
    let (code, _, err) = ask(&set, &["status"]);
    assert_eq!(code, 1);
    assert!(err.contains("admin.no-server") && err.contains("start doorward serve"), "{err}");
}

#[test]
fn only_root_the_server_and_named_users_are_answered() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("this test acts as other users, which takes root");
    }
    if !has("setpriv") {
        return;
    }
    let as_user = |set: &Set, user: &str| {
        let config = set.path("doorward.toml");
        let output = Command::new("setpriv")
            .args(["--reuid", user, "--regid", user, "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_doorward"))
            .args(["status", "--config", config.to_str().unwrap()])
            .output();
        said(&output.unwrap())
    };
    let set = Set::new();
    let open = |path: &str| {
        fs::set_permissions(set.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let mut guard = guard(&set, "users = [65534]");
    open("");
    open("doorward.toml");
    let (code, out, err) = as_user(&set, "65534");
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) = as_user(&set, "65533");
    assert_eq!(code, 1);
    assert!(err.contains("user 65533 may not ask"), "{err}");
    let said = guard.stop();
    assert!(said.contains("user=65533"), "{said}");
}

#[test]
fn what_is_no_question_is_refused_and_the_next_one_answered() {
    let set = Set::new();
    let mut guard = guard(&set, "");
    let endless = vec![b'x'; 100_000];
    for words in [&b"\n"[..], b"{}\n", b"{\"ask\":\"sesame\"}\n", &endless] {
        let mut stream = UnixStream::connect(set.path("admin.sock")).unwrap();
        // The server may have had enough before the end.
        drop(stream.write_all(words));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut heard = Vec::new();
        // What it did not read becomes a reset behind its answer.
        drop(stream.read_to_end(&mut heard));
        let heard = String::from_utf8(heard).unwrap();
        assert!(heard.starts_with("{\"refused\":[\"no question"), "{heard:?}");
    }
    assert_eq!(status(&set)["draining"], false);
    guard.stop();
}

#[test]
fn a_second_server_does_not_take_the_socket_of_the_first() {
    let set = Set::new();
    let mut first = guard(&set, "");
    let second = set.write("second.toml", configuration(&set, "").as_bytes());
    let output = doorward(set.path("").as_path(), &["serve", "--config", second.to_str().unwrap()]);
    let (code, _, err) = said(&output);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("bind.in-use") && err.contains("admin.sock"), "{err}");
    assert_eq!(status(&set)["draining"], false);
    first.stop();
}

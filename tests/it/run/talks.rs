//! What a program is given, and what becomes of its answers.

use std::fs;

use doorward::audit::Event;
use tokio::io::AsyncWriteExt;

use super::scene::{alice, dead, line, numbers, run, say, script, until};
use crate::support::visitor::hear;
use crate::support::{Hall, Set, has, prefixed};

#[tokio::test]
async fn a_program_reads_and_writes_every_kind_of_frame() {
    let set = Set::new();
    for (frame, words) in [
        ("kind = \"length-prefixed\"", prefixed(b"hi")),
        ("kind = \"length-prefixed\"\nwidth = 2\norder = \"little\"", b"\x02\0hi".to_vec()),
        ("kind = \"lines\"", b"one\r\ntwo\n".to_vec()),
        ("kind = \"json-lines\"", b"{\"a\":1}\n[]\n".to_vec()),
        ("kind = \"raw\"", (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect()),
    ] {
        let text = run(&set, &["cat"], "", &format!("[service.frame]\n{frame}"));
        let mut hall = Hall::kept(&text);
        let heard = alice(&set).say(hall.address("door"), &words).await.unwrap();
        assert_eq!((hall.verdict().await, heard == words), ("left", true), "{frame}");
    }
}

#[tokio::test]
async fn a_program_may_read_lines_where_callers_send_lengths() {
    let set = Set::new();
    let script = "while IFS= read -r line; do echo \"<$line>\"; done";
    let text = super::scene::script(&set, script, "streams = \"lines\"", "[service.frame]");
    let mut hall = Hall::kept(&text);
    let words = [prefixed(b"one"), prefixed(b" t\\wo ")].concat();
    let heard = alice(&set).say(hall.address("door"), &words).await.unwrap();
    assert_eq!(heard, [prefixed(b"<one>"), prefixed(b"< t\\wo >")].concat());
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn a_line_feed_is_not_smuggled_into_a_program_that_reads_lines() {
    let set = Set::new();
    let frame = "[service.frame]\ntext = \"any\"";
    let mut hall = Hall::kept(&run(&set, &["cat"], "streams = \"lines\"", frame));
    let words = [prefixed(b"good"), prefixed(b"one\ntwo")].concat();
    drop(alice(&set).say(hall.address("door"), &words).await);
    assert_eq!(hall.verdict().await, "frame.control-character");
}

#[tokio::test]
async fn a_program_knows_its_caller_and_nothing_of_the_server() {
    let set = Set::new();
    let keys = "environment = { OWN = \"a b;$(c)\" }";
    let mut hall = Hall::kept(&run(&set, &["env"], keys, ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let port = stream.get_ref().0.local_addr().unwrap().port();
    let heard = String::from_utf8(hear(&mut stream).await.unwrap()).unwrap();
    let Event::Left(visit, caller, _) = hall.ending().await.1 else { panic!("not left") };
    let mut heard: Vec<_> = heard.lines().collect();
    heard.sort_unstable();
    let expected = [
        "DOORWARD_ADDRESS=127.0.0.1".to_owned(),
        "DOORWARD_NAME=dns:alice.client.internal".to_owned(),
        format!("DOORWARD_PORT={port}"),
        format!("DOORWARD_RULE={}", caller.rule()),
        "DOORWARD_SERVICE=door".to_owned(),
        format!("DOORWARD_SESSION={}", visit.number),
        "LANG=C.UTF-8".to_owned(),
        "OWN=a b;$(c)".to_owned(),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
    ];
    assert_eq!(heard, expected);
    assert_eq!(caller.rule().file(), "hall.toml");
}

#[tokio::test]
async fn a_program_runs_in_its_directory_with_its_arguments_and_no_other_files() {
    let set = Set::new();
    let directory = tempfile::tempdir().unwrap();
    let directory = fs::canonicalize(directory.path()).unwrap();
    let keys = format!("directory = {directory:?}");
    let script = "pwd; echo \"$1\"; ls /proc/self/fd | tr '\\n' ' '; echo";
    let text = run(&set, &["sh", "-c", script, "sh", "two words; $HOME"], &keys, "");
    fs::create_dir_all(&directory).unwrap();
    // Something that whoever started the server left open, and that programs would inherit.
    let left_open = nix::unistd::dup(std::io::stdin()).unwrap();
    let mut hall = Hall::kept(&text);
    let heard = alice(&set).say(hall.address("door"), b"").await.unwrap();
    let heard = String::from_utf8(heard).unwrap();
    // The fourth is the directory that ls reads.
    let expected = format!("{}\ntwo words; $HOME\n0 1 2 3 \n", directory.display());
    assert_eq!((hall.verdict().await, heard), ("left", expected));
    fs::remove_dir(directory).unwrap();
    drop(left_open);
}

#[tokio::test]
async fn fifty_megabytes_go_through_without_being_kept() {
    let set = Set::new();
    let command = ["head", "-c", "50000000", "/dev/zero"];
    let mut hall = Hall::kept(&run(&set, &command, "", "[service.frame]\nkind = \"raw\""));
    let heard = alice(&set).say(hall.address("door"), b"").await.unwrap();
    assert_eq!((hall.verdict().await, heard.len()), ("left", 50_000_000));
}

#[tokio::test]
async fn a_broken_answer_ends_the_session_after_the_good_ones() {
    let set = Set::new();
    let lines = "[service.frame]\nkind = \"lines\"\nmax = 10";
    for (script, frame, good, why) in [
        ("echo good; echo much too long a line", lines, "good\n", "frame.too-long"),
        ("echo good; printf bad", lines, "good\n", "frame.truncated"),
        ("echo good; echo", lines, "good\n", "frame.too-short"),
        ("printf '\\377\\n'", lines, "", "frame.not-utf8"),
        ("printf 'a\\033[2J\\n'", lines, "", "frame.control-character"),
        ("yes | tr -d '\\n'", lines, "", "frame.too-long"),
        ("printf '\\377\\377\\377\\377'; cat", "[service.frame]", "", "frame.too-long"),
        ("echo '{'", "[service.frame]\nkind = \"json-lines\"", "", "frame.bad-json"),
    ] {
        let mut hall = Hall::kept(&super::scene::script(&set, script, "", frame));
        let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
        let heard = hear(&mut stream).await.unwrap();
        let (code, event) = hall.ending().await;
        assert_eq!((code, heard.as_slice()), ("service.bad-answer", good.as_bytes()), "{script}");
        assert!(format!("{event:?}").contains(why), "{event:?}");
    }
}

#[tokio::test]
async fn half_closes_are_kept_both_ways() {
    let set = Set::new();
    let file = set.path("heard");
    let backwards = script(&set, "sort -r", "", "");
    let mut hall = Hall::kept(&backwards);
    let heard = alice(&set).say(hall.address("door"), b"a\nb\n").await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", b"b\na\n".to_vec()));

    let deaf = format!("exec >&-; cat > {}", file.display());
    let mut hall = Hall::kept(&script(&set, &deaf, "", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    assert_eq!(hear(&mut stream).await.unwrap(), b"", "the program has nothing to say");
    say(&mut stream, "still\nhere\n").await;
    stream.shutdown().await.unwrap();
    assert_eq!(hall.verdict().await, "left");
    assert_eq!(fs::read_to_string(file).unwrap(), "still\nhere\n");
}

#[tokio::test]
async fn a_program_that_reads_no_more_may_still_answer() {
    let set = Set::new();
    let script = script(&set, "read -r first; exec <&-; echo \"$first\"; echo end", "", "");
    let mut hall = Hall::kept(&script);
    let words = b"word\n".repeat(100);
    let heard = alice(&set).say(hall.address("door"), &words).await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", b"word\nend\n".to_vec()));
}

#[tokio::test]
async fn a_program_that_reads_nothing_is_given_up() {
    let set = Set::new();
    let frame = "[service.frame]\nkind = \"raw\"";
    let mut hall = Hall::kept(&script(&set, "echo $$ $PPID; exec sleep 1000", "", frame));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    // From here on the clock runs by itself whenever nobody has anything to do.
    tokio::time::pause();
    let flood = tokio::spawn(async move {
        let words = vec![b'x'; 60_000];
        while stream.write_all(&words).await.is_ok() {}
        stream
    });
    let (code, event) = hall.ending().await;
    assert_eq!(code, "service.timeout");
    assert!(format!("{event:?}").contains("stopped reading"), "{event:?}");
    flood.abort();
    tokio::time::resume();
    super::scene::gone(&processes).await;
}

#[tokio::test]
async fn a_program_that_says_nothing_does_not_keep_a_visitor_for_ever() {
    let set = Set::new();
    let frame = "[service.frame]\nkind = \"lines\"\nidle = \"1s\"";
    let silent = "echo $$ $PPID; cat > /dev/null; exec sleep 1000";
    let mut hall = Hall::kept(&script(&set, silent, "grace = \"100ms\"", frame));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    say(&mut stream, "is anybody there\n").await;
    stream.shutdown().await.unwrap();
    assert_eq!(hall.verdict().await, "frame.idle");
    super::scene::gone(&processes).await;
}

#[tokio::test]
async fn a_drain_lets_a_program_finish_what_it_was_asked() {
    let set = Set::new();
    let script = script(&set, "while read -r line; do echo \"$line\"; done; echo done", "", "");
    let mut hall = Hall::kept(&script);
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    say(&mut stream, "hi\n").await;
    assert_eq!(line(&mut stream).await, "hi");
    hall.control.drain();
    assert_eq!(hear(&mut stream).await.unwrap(), b"done\n");
    assert_eq!(hall.verdict().await, "left");
    hall.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_python_program_serves_too() {
    if !has("python3") {
        return;
    }
    let set = Set::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/run/server.py");
    let mut hall = Hall::kept(&run(&set, &["python3", file], "", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    say(&mut stream, "hello\n").await;
    assert_eq!(line(&mut stream).await, "dns:alice.client.internal says hello");
    say(&mut stream, "bye\n").await;
    assert_eq!(hear(&mut stream).await.unwrap(), b"bye\n");
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn without_a_keeper_the_process_group_is_ended_all_the_same() {
    let set = Set::new();
    let script =
        script(&set, "trap '' TERM; sleep 1000 & echo $$ $!; wait", "grace = \"50ms\"", "");
    let mut hall = Hall::of(&script);
    assert!(hall.warnings.iter().any(|one| one.fault().code() == "service.unkept"));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let processes = numbers(&mut stream).await;
    say(&mut stream, &"x".repeat(100_000)).await;
    assert_eq!(hall.verdict().await, "frame.too-long");
    dead(&processes).await;
    let leader = format!("/proc/{}", processes[0]);
    until(|| !std::path::Path::new(&leader).exists(), "a zombie stays").await;
}

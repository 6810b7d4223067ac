//! What the keeper holds, and the real command around it.

use std::fs;
use std::path::Path;
use std::process::Command;

use doorward::config::Config;
use doorward::problem::Problem;
use doorward::server::{Server, check};
use doorward::service::run::Keeper;
use tokio::io::AsyncWriteExt;

use super::scene::{alice, dead, line, numbers, run, say, script};
use crate::cli::{Guard, doorward, said};
use crate::support::visitor::hear;
use crate::support::{Hall, Set, has};

#[tokio::test]
async fn a_program_has_the_limits_that_are_written() {
    let set = Set::new();
    let limits = "[service.limits]\nmemory = \"100MiB\"\ncpu = \"7s\"\nfiles = 33";
    let look =
        "ulimit -v; ulimit -t; ulimit -Ht; ulimit -n; ulimit -c; grep NoNewPrivs /proc/self/status";
    let mut hall = Hall::kept(&script(
        &set,
        look,
        "",
        &format!("[service.frame]\nkind = \"lines\"\nallow_control = [\"\\t\"]\n{limits}"),
    ));
    let heard = alice(&set).say(hall.address("door"), b"").await.unwrap();
    let heard = String::from_utf8(heard).unwrap();
    let expected = ["102400", "7", "8", "33", "0", "NoNewPrivs:\t1"];
    assert_eq!(heard.lines().collect::<Vec<_>>(), expected);
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn a_program_that_spins_is_ended_by_its_limit() {
    let set = Set::new();
    let text = script(&set, "while :; do :; done", "", "[service.limits]\ncpu = \"1s\"");
    let mut hall = Hall::kept(&text);
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    drop(hear(&mut stream).await);
    let (code, event) = hall.ending().await;
    assert_eq!(code, "service.failed");
    assert!(format!("{event:?}").contains("SIGXCPU"), "{event:?}");
}

#[tokio::test]
async fn a_program_that_wants_all_memory_does_not_get_it() {
    if !has("python3") {
        return;
    }
    let set = Set::new();
    let hungry = "x = bytearray(1 << 30); print('fed', flush=True)";
    for (memory, verdict) in [("256MiB", "service.failed"), ("4096MiB", "left")] {
        let limits = format!("[service.limits]\nmemory = {memory:?}");
        let mut hall = Hall::kept(&run(&set, &["python3", "-c", hungry], "", &limits));
        drop(alice(&set).say(hall.address("door"), b"").await);
        assert_eq!(hall.verdict().await, verdict, "{memory}");
    }
}

#[tokio::test]
async fn the_least_memory_still_starts_a_program() {
    let set = Set::new();
    let limits = "[service.limits]\nmemory = \"16MiB\"\nfiles = 8";
    let mut hall = Hall::kept(&run(&set, &["cat"], "", limits));
    let heard = alice(&set).say(hall.address("door"), b"hi\n").await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", b"hi\n".to_vec()));
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_no_program_behind() {
    let set = Set::new();
    let setsid = if has("setsid") { "setsid" } else { "" };
    let text = format!(
        "trap '' TERM HUP; {setsid} sleep 1000 & echo $$ $PPID $!; while :; do sleep 1; done"
    );
    let mut guard = Guard::start(&set, &script(&set, &text, "", ""));
    let mut streams = Vec::new();
    let mut processes = Vec::new();
    for _ in 0..3 {
        let mut stream = alice(&set).enter(guard.address()).await.unwrap();
        processes.extend(numbers(&mut stream).await);
        streams.push(stream);
    }
    assert_eq!(processes.len(), 9);
    guard.kill();
    dead(&processes).await;
}

#[tokio::test]
async fn the_log_has_what_a_program_says_escaped_and_not_too_much_of_it() {
    let set = Set::new();
    let noisy = "printf 'bad\\033[31m \"news\"\\n' >&2; yes flood | head -n 20000 >&2; echo done";
    let mut guard = Guard::start(&set, &script(&set, noisy, "", ""));
    let mut stream = alice(&set).enter(guard.address()).await.unwrap();
    assert_eq!(hear(&mut stream).await.unwrap(), b"done\n");
    let log = guard.stop();
    assert!(
        log.contains(r#"the program says visit=1 service=door said="bad\u{1b}[31m \"news\"""#),
        "{log}"
    );
    assert!(!log.contains('\u{1b}'));
    let told = log.lines().filter(|line| line.contains("said=flood")).count();
    assert!((1..1000).contains(&told), "{told} lines");
    assert!(log.contains("says more than is logged visit=1 service=door lines="), "{log}");
}

#[tokio::test]
async fn a_flood_of_errors_does_not_end_with_the_memory_or_the_session() {
    let set = Set::new();
    let flood = "(tr '\\0' x < /dev/zero >&2) & cat";
    let mut hall = Hall::kept(&script(&set, flood, "grace = \"100ms\"", ""));
    let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
    for _ in 0..3 {
        say(&mut stream, "hi\n").await;
        assert_eq!(line(&mut stream).await, "hi");
    }
    stream.shutdown().await.unwrap();
    assert_eq!(hall.verdict().await, "left");
}

#[test]
fn what_cannot_be_run_refuses_the_start() {
    let set = Set::new();
    let file = set.write("server.py", b"print(1)\n");
    let file = file.to_str().unwrap();
    for (command, keys, place, seen) in [
        (&["no-such-program-here"][..], "", "hall.toml:15:12", "not found in PATH"),
        (&["./no/such/file"], "", "hall.toml:15:12", "does not exist"),
        (&[file], "", "hall.toml:15:12", "no file that this user may run"),
        (&["/"], "", "hall.toml:15:12", "no file that this user may run"),
        (&["sh"], "directory = \"/no/such\"", "hall.toml:16:13", "no directory"),
    ] {
        let text = run(&set, command, keys, "");
        let (mut config, _) = Config::parse(&text, "hall.toml").unwrap();
        config.keep_programs(&Keeper::At(env!("CARGO_BIN_EXE_doorward").into()));
        let problems = of_services(&config);
        let shown = problems.iter().map(ToString::to_string).collect::<String>();
        assert_eq!(problems.len(), 1, "{shown}");
        assert!(shown.starts_with(&format!("{place} service.bad-command ")), "{shown}");
        assert!(shown.contains(seen), "{shown}");
        assert!(Server::open(&config).is_err());
    }
}

/// What check says of services. The sandbox has words of its own, which depend on who runs the test.
fn of_services(config: &Config) -> Vec<Problem> {
    let of_services = |problem: &Problem| problem.fault().code().starts_with("service.");
    check(config).into_iter().filter(of_services).collect()
}

#[test]
fn limits_that_nobody_holds_refuse_the_start() {
    let set = Set::new();
    let text = run(&set, &["cat"], "", "[service.limits]\nmemory = \"64MiB\"");
    let (mut config, _) = Config::parse(&text, "hall.toml").unwrap();
    for keeper in [Keeper::Absent, Keeper::At("/no/such/keeper".into())] {
        config.keep_programs(&keeper);
        let problems = Server::open(&config).map(|_| ()).unwrap_err();
        assert_eq!(problems[0].to_string().split(' ').nth(1), Some("service.unkept"));
    }
    config.keep_programs(&Keeper::At(env!("CARGO_BIN_EXE_doorward").into()));
    assert!(of_services(&config).is_empty());
}

#[test]
fn the_examples_serve_as_their_configuration_says() {
    if !has("python3") {
        return;
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(home.join("examples"), directory.path().join("examples")).unwrap();
    fs::create_dir(directory.path().join("config")).unwrap();
    let text = fs::read_to_string(home.join("config/run.toml")).unwrap();
    let text = text
        .replace("[::1]:8443", "[::1]:0")
        .replace(":8443\", \"", ":0\", \"")
        .replace("8444", "0");
    fs::write(directory.path().join("config/run.toml"), text).unwrap();
    let (code, _, err) = said(&doorward(directory.path(), &["certs", "init"]));
    assert_eq!(code, 0, "{err}");
    let mut guard = Guard::start_in(directory.path(), "config/run.toml");
    let limits = "service    at most 64 programs, each process with 256 MiB, 10s of processor time, 64 files";
    assert!(guard.report().iter().any(|line| line.trim() == limits), "{:#?}", guard.report());
    let addresses = guard.addresses();
    let [greeter, .., letters] = addresses.as_slice() else { panic!("{addresses:?}") };
    for (to, message, answer) in [
        (greeter, "hello", "dns:alice.client.internal says hello\n"),
        (letters, "hello", "hello has 5 letters\n"),
        (letters, "$(echo ha)", "$(echo ha) has 10 letters\n"),
    ] {
        let arguments = ["connect", "--to", &to.to_string(), message];
        let (code, out, err) = said(&doorward(directory.path(), &arguments));
        assert_eq!((code, out.as_str(), err.as_str()), (0, answer, ""));
    }
    let log = guard.stop();
    assert!(log.contains("said=\"session 1 is over\""), "{log}");
}

#[test]
fn a_keeper_is_nothing_to_type() {
    let help = Command::new(env!("CARGO_BIN_EXE_doorward")).arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("keep-program"));
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["keep-program"][..],
        &["keep-program", "become", "1", "x"],
        &["keep-program", "--help-me"],
    ] {
        let (code, out, err) = said(&doorward(directory.path(), arguments));
        assert_eq!((code, out.as_str()), (126, ""), "{err}");
    }
}

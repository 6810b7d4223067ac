//! The audit log: whole lines over kills, full disks and rotations, and a chain that shows what was changed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cli::{DOORWARD, Guard, block_on, doorward, said};
use crate::support::{ALICE, Set, Visitor, prefixed, skipped};

/// A configuration whose audit log is `audit/log` of the set.
fn configuration(set: &Set, audit: &str) -> String {
    let log = log(set);
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    format!("[audit]\nto = \"file:{}\"\n{audit}\n{}{ALICE}", log.display(), set.tables(""))
}

fn log(set: &Set) -> PathBuf {
    set.path("audit").join("log")
}

/// Every line, each of which must be whole.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn words<'l>(lines: &'l [Value], key: &str) -> Vec<&'l str> {
    lines.iter().filter_map(|line| line[key].as_str()).collect()
}

fn verify(files: &[&Path]) -> (i32, String, String) {
    let mut args = vec!["audit", "verify"];
    args.extend(files.iter().map(|file| file.to_str().unwrap()));
    said(&doorward(Path::new("."), &args))
}

/// Somebody without a certificate, and somebody with one.
fn visit(set: &Set, guard: &Guard) {
    block_on(async {
        drop(Visitor::new(set, None).say(guard.address(), b"").await);
        let alice = Visitor::new(set, Some(&set.client("alice")));
        assert_eq!(alice.say(guard.address(), &prefixed(b"hi")).await.unwrap(), prefixed(b"hi"));
    });
}

#[test]
fn every_verdict_is_a_line_with_what_the_schema_says() {
    let set = Set::new();
    let mut guard = Guard::start(&set, &configuration(&set, ""));
    visit(&set, &guard);
    guard.stop();
    let mut lines = lines(&log(&set));
    let numbers: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    // Which of both visitors is recorded first is chance.
    lines[1..4].sort_by_key(|line| line["event"] != "refused");
    assert_eq!(
        words(&lines, "event"),
        ["started", "refused", "permitted", "left", "stopped"],
        "{lines:#?}"
    );
    let keys =
        |line: &Value| -> Vec<String> { line.as_object().unwrap().keys().cloned().collect() };
    let common = ["event", "seq", "time", "v"];
    let expect = |line: &Value, more: &[&str]| {
        let mut expected = [&common[..], more].concat();
        expected.sort_unstable();
        assert_eq!(keys(line), expected);
    };
    let visit = ["visit", "service", "from", "port", "to"];
    let shown = ["subject", "names", "serial", "pin", "name", "rule"];
    expect(&lines[0], &["version", "process", "former"]);
    expect(&lines[1], &[&visit[..], &["code"]].concat());
    expect(&lines[2], &[&visit[..], &shown].concat());
    let counts = ["frames", "bytes_in", "bytes_out", "milliseconds"];
    expect(&lines[3], &[&visit[..], &shown, &counts].concat());
    expect(&lines[4], &[]);
    assert_eq!((&lines[0]["former"], &lines[0]["v"]), (&"none".into(), &1.into()));
    assert_eq!(lines[1]["code"], "handshake.no-certificate");
    assert_eq!(
        (&lines[2]["name"], &lines[2]["from"]),
        (&"dns:alice.client.internal".into(), &"127.0.0.1".into())
    );
    assert_eq!((&lines[3]["bytes_in"], &lines[3]["frames"]), (&6.into(), &1.into()));
    assert_eq!(fs::metadata(log(&set)).unwrap().permissions().mode() & 0o777, 0o600);
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md");
    let manual = fs::read_to_string(manual).unwrap();
    for key in lines.iter().flat_map(keys) {
        assert!(manual.contains(&format!("| `{key}` |")), "docs/audit.md has no row for {key}");
    }
}

#[test]
fn a_chain_goes_on_over_restart_rotation_and_both_and_shows_a_change() {
    let set = Set::new();
    let config = configuration(&set, "chain = true");
    let (now, old, older) = (log(&set), set.path("audit/log.1"), set.path("audit/log.2"));
    let mut guard = Guard::start(&set, &config);
    visit(&set, &guard);
    fs::rename(&now, &older).unwrap();
    guard.signal("HUP");
    guard.hear("reloaded: ");
    visit(&set, &guard);
    guard.stop();
    assert_eq!(words(&lines(&now), "event")[0], "reopened");

    let mut guard = Guard::start(&set, &config);
    visit(&set, &guard);
    guard.stop();
    assert_eq!(words(&lines(&now), "former"), ["stopped"]);
    // Taken away while nobody wrote.
    fs::rename(&now, &old).unwrap();
    Guard::start(&set, &config).stop();
    let (code, out, err) = verify(&[&older, &old, &now]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let count = lines(&older).len() + lines(&old).len() + lines(&now).len();
    assert!(out.starts_with(&format!("{count} lines follow")), "{out}");

    let (code, _, err) = verify(&[&older, &now]);
    assert!(
        code == 1 && err.starts_with(&format!("{}:1: it does not follow", now.display())),
        "{err}"
    );
    let text = fs::read_to_string(&old).unwrap();
    fs::write(&old, text.replacen("127.0.0.1", "127.0.0.2", 1)).unwrap();
    let (code, _, err) = verify(&[&older, &old, &now]);
    assert!(code == 1 && err.starts_with(&format!("{}:4: ", old.display())), "{err}");
    let (code, out, _) =
        said(&doorward(&set.path("audit"), &["audit", "verify", "--json", "log.1"]));
    let object: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &object["line"], &object["whole"]), (1, &4.into(), &false.into()));
}

#[test]
fn after_a_kill_every_line_is_whole_and_the_next_start_says_so() {
    let set = Set::new();
    let config = configuration(&set, "chain = true");
    for round in 0..3 {
        let mut guard = Guard::start(&set, &config);
        let at = guard.address();
        let alice = Visitor::new(&set, Some(&set.client("alice")));
        block_on(async {
            let mut visits = tokio::task::JoinSet::new();
            for number in 0..24 {
                let alice = alice.clone();
                visits.spawn(async move { drop(alice.say(at, &prefixed(b"hi")).await) });
                // Fewer at once than a network may have strangers.
                if number >= 8 {
                    visits.join_next().await.unwrap().unwrap();
                }
            }
            guard.kill();
        });
        let lines = lines(&log(&set));
        let numbers: Vec<_> =
            lines.iter().rev().map(|line| line["seq"].as_u64().unwrap()).collect();
        let run = numbers.split_inclusive(|number| *number == 1).next().unwrap();
        assert!(run.len() > 20 && run.iter().rev().copied().eq(1..=run[0]), "{run:?}");
        let former = words(&lines, "former");
        assert_eq!(former.len(), round + 1);
        assert!(former[1..].iter().all(|former| *former == "killed"), "{former:?}");
    }
    // As a kill in the middle of a write would leave it.
    let mut text = fs::read_to_string(log(&set)).unwrap();
    text.push_str("{\"v\":1,\"event\":\"permit");
    fs::write(log(&set), text).unwrap();
    let (code, _, err) = verify(&[&log(&set)]);
    assert!(code == 1 && err.contains("it is cut off"), "{err}");
    Guard::start(&set, &config).stop();
    let lines = lines(&log(&set));
    let mended = lines.iter().find(|line| line["event"] == "mended").unwrap();
    assert_eq!(mended["fragment"], "{\"v\":1,\"event\":\"permit");
    assert_eq!(verify(&[&log(&set)]).0, 0);
}

#[test]
fn a_full_disk_loses_lines_says_so_once_and_counts_them() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("only root can mount a small disk");
    }
    let set = Set::new();
    let config = configuration(&set, "chain = true");
    fs::write(set.path("doorward.toml"), &config).unwrap();
    // The mount is in a namespace of its own, and goes with the process.
    let script = "mount -t tmpfs -o size=64k none \"$2\" && exec \"$0\" serve --config \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, DOORWARD]);
    command.arg(set.path("doorward.toml")).arg(set.path("audit"));
    let mut guard = Guard::run(command);
    if guard.report().is_empty() {
        return skipped("this container may not mount");
    }
    let inside = PathBuf::from(format!("/proc/{}/root{}", guard.id(), log(&set).display()));
    let filler = inside.with_file_name("filler");
    visit(&set, &guard);
    // All but half a line of what is left.
    let left = 64 * 1024
        - 4096 * usize::try_from(fs::metadata(&inside).unwrap().len().div_ceil(4096)).unwrap();
    fs::write(&filler, vec![0; left]).unwrap();
    for _ in 0..12 {
        visit(&set, &guard);
    }
    guard.hear("the audit log cannot be written: events are lost");
    for _ in 0..3 {
        visit(&set, &guard);
    }
    // It may stand there for the moment in which it is written and taken back.
    let whole = || fs::read_to_string(&inside).unwrap().ends_with('\n');
    assert!((0..1000).any(|_| whole()), "half a line stands there");
    fs::remove_file(&filler).unwrap();
    visit(&set, &guard);
    visit(&set, &guard);
    let whole = |text: &String| {
        text.lines().filter(|line| line.contains("\"left\"")).count() > 1
            && text.contains("\"lost\"")
    };
    let mut looks = (0..100_000).map(|_| fs::read_to_string(&inside).unwrap());
    let text = looks.find(whole).expect("a line for what was lost");
    let copy = set.write("copy", text.as_bytes());
    let lines = lines(&copy);
    let mut expected = 1;
    for line in &lines {
        if line["event"] == "lost" {
            expected += line["count"].as_u64().unwrap();
        }
        assert_eq!(line["seq"], expected, "{lines:#?}");
        expected += 1;
    }
    assert!(words(&lines, "event").contains(&"lost"));
    assert_eq!(verify(&[&copy]).0, 0);
    let said = guard.stop();
    assert!(said.contains("the audit log is written again"), "{said}");
    assert!(!said.contains("cannot be written"), "once is enough: {said}");
}

#[test]
fn a_rotated_log_is_opened_anew_inside_the_sandbox_also_by_a_reload_that_is_refused() {
    let set = Set::new();
    let config = configuration(&set, "");
    let mut guard = Guard::start(&set, &config);
    fs::rename(log(&set), set.path("audit/log.1")).unwrap();
    fs::write(set.path("doorward.toml"), config.replace("permit", "premit")).unwrap();
    guard.signal("HUP");
    guard.hear("kept: ");
    let said = guard.stop();
    assert!(!said.contains("is not opened anew"), "{said}");
    let events = lines(&log(&set));
    assert_eq!(words(&events, "event"), ["reopened", "kept", "stopped"]);
    assert!(
        words(&events, "event").len() == 3
            && events[1]["problems"].to_string().contains("config.unknown-key")
    );
}

#[test]
fn a_log_that_cannot_be_written_refuses_the_start() {
    let set = Set::new();
    let config = configuration(&set, "");
    let mut guard = Guard::start(&set, &config);
    let refused = |config: &str, fault: &str| {
        let file = set.write("second.toml", config.as_bytes());
        let (code, _, err) =
            said(&doorward(Path::new("."), &["serve", "--config", file.to_str().unwrap()]));
        assert!(code == 3 && err.contains(fault), "{err}");
    };
    refused(&config, "audit.locked");
    refused(&config.replace("audit/log", "nowhere/log"), "audit.unwritable");
    refused(&config.replace("audit/log", "audit"), "audit.unwritable");
    guard.stop();
    let beside = config.replace("audit/log", "log");
    let said = Guard::start(&set, &beside).stop();
    assert!(said.contains("audit.beside-key warning: "), "{said}");
}

#[test]
fn on_standard_output_there_is_the_audit_log_and_nothing_else() {
    let set = Set::new();
    let config = format!("[audit]\nto = \"stdout\"\n{}{ALICE}", set.tables(""));
    let file = set.write("doorward.toml", config.as_bytes());
    let mut child = Command::new(DOORWARD)
        .args(["serve", "--config"])
        .arg(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.into_iter().any(|line| line == "ready"));
    let kill = format!("kill -s TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(words(&lines, "event"), ["started", "stopped"]);
}

#[test]
fn the_problems_of_a_start_are_json_where_the_log_is() {
    let set = Set::new();
    let config = format!("[audit]\nformat = \"json\"\n{}{ALICE}", set.tables(""));
    for wrong in [config.replace("permit", "premit"), config.replace("key.pem", "no.pem")] {
        let file = set.write("doorward.toml", wrong.as_bytes());
        let (code, _, err) =
            said(&doorward(Path::new("."), &["serve", "--config", file.to_str().unwrap()]));
        let lines: Vec<Value> =
            err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(code, 3);
        assert!(lines[0]["code"].is_string() && lines[0]["remedy"].is_string(), "{err}");
        let last = lines.last().unwrap()["message"].as_str().unwrap();
        assert!(last.starts_with("doorward does not start: "), "{err}");
    }
}

/// Starts systemd's own journal in a namespace whose `/run` is empty; its lines are read back with journalctl.
#[test]
fn a_real_journal_takes_the_lines_and_finds_them_by_code() {
    let journald = ["/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-journald"];
    let Some(journald) = journald.into_iter().find(|path| Path::new(path).exists()) else {
        return skipped("systemd-journald is not installed");
    };
    if !nix::unistd::geteuid().is_root() || !crate::support::has("journalctl") {
        return skipped("only root can start a journal of its own");
    }
    let set = Set::new();
    let config = format!("[audit]\nto = \"journald\"\n{}{ALICE}", set.tables(""));
    let file = set.write("doorward.toml", config.as_bytes());
    let script = "set -e; mount -t tmpfs none /run; mkdir -p /run/systemd/journal /run/log/journal; \
        ls /etc/machine-id >/dev/null 2>&1 || { echo none >&2; exit 9; }; \
        \"$2\" >/dev/null 2>&1 & \
        for _ in $(seq 200); do test -S /run/systemd/journal/socket && break; sleep 0.05; done; \
        exec \"$0\" serve --config \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, DOORWARD]);
    command.arg(file).arg(journald);
    let mut guard = Guard::run(command);
    if guard.report().is_empty() {
        return skipped("no journal can be started in a namespace here");
    }
    visit(&set, &guard);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", guard.id())).unwrap();
    let inside = children.split_whitespace().next().unwrap().to_owned();
    let read = || {
        Command::new("nsenter")
            .args([
                "--mount",
                "--target",
                &inside,
                "journalctl",
                "-D",
                "/run/log/journal",
                "-o",
                "json",
            ])
            .arg("DOORWARD_CODE=handshake.no-certificate")
            .output()
            .unwrap()
    };
    let found = (0..200).find_map(|_| {
        let output = read();
        let line = String::from_utf8(output.stdout).unwrap().lines().next().map(str::to_owned);
        if line.is_none() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        line
    });
    let entry: Value = serde_json::from_str(&found.expect("the journal has the line")).unwrap();
    assert_eq!(entry["MESSAGE"], "refused handshake.no-certificate from 127.0.0.1");
    assert_eq!((&entry["PRIORITY"], &entry["DOORWARD_SERVICE"]), (&"4".into(), &"echo".into()));
    guard.kill();
}

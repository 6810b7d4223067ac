//! The sandbox against a real kernel: what is given up is gone, and what is needed still works.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use doorward::pki::{HostName, Options};
use doorward::place::Place;
use doorward::problem::Fault;
use doorward::sandbox::{Effort, Ports, SandboxSettings, foresee};

use crate::cli::{Guard, block_on, doorward, said};
use crate::support::{ALICE, Set, Visitor, prefixed, skipped};

fn settings(effort: Effort) -> SandboxSettings {
    let place = Place::in_code("test");
    SandboxSettings { effort, place, user: None, group: None, write: Vec::new() }
}

/// The fields of a process or thread, as proc(5) has them.
pub(crate) fn status(path: &str, field: &str) -> String {
    let text = fs::read_to_string(format!("{path}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap().trim().to_owned()
}

fn is_root() -> bool {
    let root = status("/proc/self", "Uid").starts_with('0');
    if !root {
        skipped("only root can become another user");
    }
    root
}

/// Whether the kernel has all of Landlock that is asked for.
fn is_whole() -> bool {
    let gaps = foresee(&settings(Effort::Best));
    let gap = gaps.iter().find(|problem| problem.fault() == Fault::SandboxGap);
    if let Some(gap) = gap {
        skipped(gap.message());
    }
    gap.is_none()
}

#[test]
fn every_thread_of_a_served_process_is_inside() {
    let set = Set::new();
    let guard = Guard::start(&set, &(set.tables("") + ALICE));
    let threads = fs::read_dir(format!("/proc/{}/task", guard.id())).unwrap();
    let threads: Vec<_> =
        threads.map(|thread| thread.unwrap().path().display().to_string()).collect();
    assert!(threads.len() > 1, "the runtime has threads: {threads:?}");
    for thread in threads {
        assert_eq!(status(&thread, "NoNewPrivs"), "1");
        assert_eq!(status(&thread, "Seccomp"), "2");
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(status(&thread, set), "0000000000000000", "{set}");
        }
    }
    let lines: Vec<_> =
        guard.report().iter().filter_map(|line| line.strip_prefix("  sandbox ")).collect();
    assert!(lines[0].contains("no-new-privileges, no capabilities, Landlock "), "{lines:?}");
    assert!(lines[0].ends_with(" system calls denied"), "{lines:?}");
}

#[test]
fn a_sandbox_that_is_switched_off_says_so_at_every_start() {
    let set = Set::new();
    let config = format!("{}[sandbox]\nenable = false\n{ALICE}", set.tables(""));
    let mut guard = Guard::start(&set, &config);
    assert_eq!(status(&format!("/proc/{}", guard.id()), "Seccomp"), "0");
    assert!(guard.report().contains(&"  sandbox    off".to_owned()), "{:?}", guard.report());
    let err = guard.stop();
    assert!(err.contains("sandbox.off warning: "), "{err}");
}

/// Renews the server's certificate, and waits until it is in force or refused.
fn renew(set: &Set, guard: &mut Guard) -> String {
    let renewed = set.authority.server(&HostName::loopback(), Options::default()).unwrap();
    set.write("chain.pem", renewed.chain_pem().as_bytes());
    set.write("key.pem", renewed.key_pem().as_bytes());
    guard.hear("in force")
}

#[test]
fn a_renewed_certificate_is_read_inside() {
    let set = Set::new();
    let mut guard = Guard::start(&set, &(set.tables("") + ALICE));
    let log = renew(&set, &mut guard);
    assert!(log.contains("reloaded: "), "{log}");
}

#[test]
fn a_file_that_becomes_a_link_to_elsewhere_is_not_read() {
    if !is_whole() {
        return;
    }
    for (sandbox, verdict) in
        [("", "kept: "), ("[sandbox]\nenable = false\n", "reloaded: the new state")]
    {
        let set = Set::new();
        let elsewhere = tempfile::tempdir().unwrap();
        let mut guard = Guard::start(&set, &format!("{}{sandbox}{ALICE}", set.tables("")));
        let outside = elsewhere.path().join("trust.pem");
        fs::write(&outside, set.authority.trust_pem()).unwrap();
        symlink(&outside, set.path("link")).unwrap();
        fs::rename(set.path("link"), set.path("trust.pem")).unwrap();
        let log = guard.hear("in force");
        assert!(log.contains(verdict), "{log}");
        assert_eq!(log.contains("may not be read by this user"), sandbox.is_empty(), "{log}");
    }
}

#[test]
fn a_name_of_the_hosts_file_is_found_and_its_port_reached_inside() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = upstream.local_addr().unwrap().port();
    let set = Set::new();
    let forward =
        ALICE.replace("\"echo\"\n  [[", &format!("\"forward\"\nto = \"localhost:{port}\"\n  [["));
    let mut guard = Guard::start(&set, &(set.tables("") + &forward));
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut visit, _) = upstream.accept().unwrap();
        let mut asked = Vec::new();
        visit.read_to_end(&mut asked).unwrap();
        visit.write_all(&asked).unwrap();
    });
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let heard = block_on(alice.say(guard.address(), b"hello"));
    assert_eq!(heard.unwrap(), b"hello", "{}", guard.stop());
    answering.join().unwrap();
}

#[test]
fn few_ports_of_the_bind_policy_are_all_that_the_sandbox_leaves() {
    let set = Set::new();
    let text = set.tables("").replace("1-65535", "40000-40099\", \"32768-32800");
    let config = text + &ALICE.replace("127.0.0.1:0", "127.0.0.1:40007");
    let file = set.write("few.toml", config.as_bytes());
    let (config, _) = doorward::config::Config::read(&file).unwrap();
    let Ports::Only(ports) = doorward::server::needs(&config).bind else { panic!("no list") };
    assert_eq!(ports.len(), 133);
    assert!(ports.contains(&40_007) && !ports.contains(&0));
}

/// Gives everything of the set to the user nobody, and says in which group it is.
fn give_to_nobody(set: &Set) -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let nobody: Vec<_> =
        passwd.lines().find(|line| line.starts_with("nobody:")).unwrap().split(':').collect();
    let (uid, gid) = (nobody[2].parse().unwrap(), nobody[3].parse().unwrap());
    let directory = set.path("");
    for file in fs::read_dir(&directory).unwrap() {
        chown(file.unwrap().path(), Some(uid), Some(gid)).unwrap();
    }
    chown(directory, Some(uid), Some(gid)).unwrap();
    (uid, gid)
}

#[test]
fn a_process_that_root_started_becomes_its_user_for_good() {
    if !is_root() {
        return;
    }
    let set = Set::new();
    let config = format!("{}[sandbox]\nuser = \"nobody\"\n{ALICE}", set.tables(""));
    set.write("doorward.toml", b"");
    let (uid, gid) = give_to_nobody(&set);
    let mut guard = Guard::start(&set, &config);
    let process = format!("/proc/{}", guard.id());
    let fourfold =
        |id: u32| [id.to_string(), id.to_string(), id.to_string(), id.to_string()].join("\t");
    assert_eq!(status(&process, "Uid"), fourfold(uid));
    assert_eq!(status(&process, "Gid"), fourfold(gid));
    assert_eq!(status(&process, "Groups"), gid.to_string());
    assert_eq!(status(&process, "CapBnd"), "0000000000000000");
    let line = format!("user nobody ({uid})");
    assert!(guard.report().iter().any(|text| text.contains(&line)), "{:?}", guard.report());
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    assert_eq!(block_on(alice.say(guard.address(), &prefixed(b"hi"))).unwrap(), prefixed(b"hi"));
    let err = guard.stop();
    assert!(!err.contains("sandbox.root") && !err.contains("sandbox.file-lost"), "{err}");
}

#[test]
fn a_file_that_the_new_user_cannot_read_is_told_at_the_start() {
    if !is_root() {
        return;
    }
    let set = Set::new();
    set.write("doorward.toml", b"");
    give_to_nobody(&set);
    chown(set.path("key.pem"), Some(0), Some(0)).unwrap();
    let config = format!("{}[sandbox]\nuser = \"nobody\"\n{ALICE}", set.tables(""));
    let err = Guard::start(&set, &config).stop();
    let lost: Vec<_> = err.lines().filter(|line| line.contains("sandbox.file-lost")).collect();
    assert!(lost.len() == 1 && lost[0].contains("key.pem cannot be read any more"), "{err}");
}

/// How `check` and `serve` refuse or warn about this `[sandbox]` table: exit codes and words.
fn verdicts(set: &Set, table: &str) -> [(i32, String); 2] {
    let text = format!("{}[sandbox]\n{table}\n{}", set.tables(""), ALICE);
    let config = set.write("refused.toml", text.as_bytes());
    let config = config.to_str().unwrap();
    ["check", "serve"].map(|verb| {
        let (code, out, err) = said(&doorward(Path::new("."), &[verb, "--config", config]));
        (code, out + &err)
    })
}

#[test]
fn a_user_or_path_that_cannot_be_had_refuses_the_start_and_check_says_so_before() {
    let set = Set::new();
    for (code, words) in verdicts(&set, "write = \"/nonexistent/log\"") {
        assert_eq!(code, 3, "{words}");
        assert!(words.contains("sandbox.bad-path /nonexistent/log cannot be opened"), "{words}");
    }
    if !is_root() {
        return;
    }
    for (user, why) in
        [("nobody-of-this-name", "cannot be found"), ("root", "is root or in its group")]
    {
        for (code, words) in verdicts(&set, &format!("user = {user:?}")) {
            assert_eq!(code, 3, "{words}");
            assert!(words.contains("sandbox.bad-user") && words.contains(why), "{words}");
        }
    }
    let config = set.write("root.toml", (set.tables("") + ALICE).as_bytes());
    let check = ["check", "--config", config.to_str().unwrap()];
    let (code, words, _) = said(&doorward(Path::new("."), &check));
    assert!(code == 0 && words.contains("sandbox.root warning: "), "{words}");
}

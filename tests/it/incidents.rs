//! What went wrong in servers of this kind, reproduced against this one. `docs/incidents.md` has the list, with the
//! test for each.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorward::config::Config;
use doorward::pki::Authority;
use doorward::problem::Problem;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt;

use crate::cli::Guard;
use crate::reload::{alive, file};
use crate::support::hall::server;
use crate::support::set::days;
use crate::support::visitor::hear;
use crate::support::{ALICE, Hall, Set, Visitor, has, prefixed, skipped};

fn codes(problems: &[Problem]) -> BTreeSet<&'static str> {
    problems.iter().map(|problem| problem.fault().code()).collect()
}

/// The codes for which a configuration does not start.
fn refused(text: &str) -> BTreeSet<&'static str> {
    match server(text) {
        Ok(_) => panic!("this starts:\n{text}"),
        Err(problems) => codes(&problems),
    }
}

#[test]
fn half_configured_mutual_tls_cannot_be_written() {
    let set = Set::new();
    let whole = set.tables("") + ALICE;
    server(&whole).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let without = |key: &str| {
        let lines = whole.lines().filter(|line| !line.trim().starts_with(key));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert!(refused(&without("clients")).contains("config.missing-key"));
    assert!(refused(&without("permit")).contains("config.missing-key"));
    for (key, value) in
        [("verify", "false"), ("require_certificate", "false"), ("optional", "true")]
    {
        let text = whole.replace("[handshake]", &format!("[handshake]\n{key} = {value}"));
        assert!(refused(&text).contains("config.unknown-key"), "{key}");
    }
    // An authority file with nobody in it trusts nobody; it does not switch the question off.
    for content in ["", "# trust me\n", "-----BEGIN CERTIFICATE-----\n"] {
        set.write("trust.pem", content.as_bytes());
        let found = refused(&whole);
        assert!(found.iter().any(|code| code.starts_with("handshake.")), "{content:?} {found:?}");
    }
    fs::remove_file(set.path("trust.pem")).unwrap();
    assert_eq!(refused(&whole), ["handshake.unreadable"].into());
}

#[tokio::test]
async fn who_lost_its_permission_cannot_come_back_by_an_old_session() {
    for (versions, speaks) in [("", &TLS13), ("versions = [\"1.2\", \"1.3\"]", &TLS12)] {
        resume_without_permission(versions, speaks).await;
    }
}

async fn resume_without_permission(versions: &str, speaks: &'static SupportedProtocolVersion) {
    let set = Set::new();
    let path = set.write("doorward.toml", (set.tables(versions) + ALICE).as_bytes());
    let mut hall = Hall::of_file(&path);
    // It keeps whatever sessions it is offered.
    let alice = Visitor::speaking(&set, Some(&set.client("alice")), &[speaks]);
    let at = hall.address("echo");
    assert_eq!(alice.say(at, &prefixed(b"hi")).await.unwrap(), prefixed(b"hi"));
    assert_eq!(hall.verdict().await, "left");
    let text = fs::read_to_string(&path).unwrap().replace("alice", "bob");
    set.write("doorward.toml", text.as_bytes());
    hall.reload().await.unwrap();
    assert_eq!(alice.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap(), b"");
    assert_eq!(hall.verdict().await, "identity.not-permitted");
}

#[tokio::test]
async fn the_operator_hears_of_a_revocation_list_that_ends_before_it_locks_everybody_out() {
    let set = Set::new();
    let list = doorward::pki::RevocationList::new(2).until(days(3));
    set.publish(&list);
    let hall = Hall::open(&set, ALICE);
    assert!(codes(&hall.warnings).contains("handshake.stale-crl"), "{:?}", hall.warnings);
}

#[test]
fn a_deny_that_misses_the_other_family_is_told() {
    let set = Set::new();
    let text = (set.tables("") + ALICE)
        .replace(
            "allow = [\"127.0.0.0/8\", \"::1\"]",
            "allow = [\"0.0.0.0/0\", \"::/0\"]\ndeny = [\"127.0.0.0/8\"]",
        )
        .replace("listen = \"127.0.0.1:0\"", "listen = [\"127.0.0.1:0\", \"[::1]:0\"]");
    let (_, warnings) = Config::parse(&text, "hall.toml").unwrap();
    assert!(codes(&warnings).contains("address.one-family"), "{warnings:?}");
    let mapped = text.replace("deny = [\"127.0.0.0/8\"]", "deny = [\"::ffff:127.0.0.0/104\"]");
    assert!(refused(&mapped).contains("address.mapped"));
    let sloppy = text.replace("deny = [\"127.0.0.0/8\"]", "deny = [\"127.9.9.9/8\"]");
    assert!(refused(&sloppy).contains("address.host-bits"));
}

#[tokio::test]
async fn no_second_process_of_the_same_user_shares_the_port() {
    let set = Set::new();
    let hall = Hall::open(&set, ALICE);
    let at = hall.address("echo");
    let thief = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    thief.set_reuse_address(true).unwrap();
    #[cfg(unix)]
    thief.set_reuse_port(true).unwrap();
    let refused = thief.bind(&at.into()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_and_its_key_that_change_between_two_reads_never_become_a_pair() {
    let set = Set::new();
    let path = file(&set, "\"localhost\"", ALICE);
    let hall = Hall::of_file(&path);
    let at = hall.address("echo");
    let done = Arc::new(AtomicBool::new(false));
    let swapping = std::thread::spawn({
        let (done, chain, key) = (Arc::clone(&done), set.path("chain.pem"), set.path("key.pem"));
        let pairs = [server_pair(&set.authority), server_pair(&set.authority)];
        move || {
            let mut swaps = 0_usize;
            while !done.load(Ordering::Relaxed) {
                let (new_chain, new_key) = &pairs[swaps % 2];
                replace(&chain, new_chain);
                replace(&key, new_key);
                swaps += 1;
            }
            swaps
        }
    });
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let (mut taken, mut kept) = (0, 0);
    while taken == 0 || kept + taken < 60 {
        match hall.control.reload().await {
            Ok(_) => taken += 1,
            Err(problems) => {
                assert_eq!(codes(&problems), ["handshake.key-mismatch"].into(), "{problems:?}");
                kept += 1;
            }
        }
        // Whatever came of it, the server shows a certificate whose key it has.
        alive(&mut alice.enter(at).await.unwrap()).await;
    }
    done.store(true, Ordering::Relaxed);
    assert!(swapping.join().unwrap() > 0);
}

fn server_pair(authority: &Authority) -> (String, String) {
    let names = ["localhost", "127.0.0.1", "::1"].map(|name| name.parse().unwrap());
    let credential = authority.server(&names, doorward::pki::Options::default()).unwrap();
    (credential.chain_pem(), credential.key_pem().to_string())
}

/// As a careful tool does: one file after the other, each at once.
fn replace(path: &Path, content: &str) {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, content).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::rename(&fresh, path).unwrap();
}

#[tokio::test]
async fn what_was_answered_before_the_server_is_killed_has_arrived_and_its_successor_starts_at_once()
 {
    let set = Set::new();
    let free = std::net::TcpListener::bind("127.0.79.1:0").unwrap().local_addr().unwrap();
    let text = (set.tables("") + ALICE).replace("127.0.0.1:0", &free.to_string());
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    for _ in 0..3 {
        let mut guard = tokio::task::spawn_blocking({
            let (text, path) = (text.clone(), set.path("doorward.toml"));
            move || {
                fs::write(&path, text).unwrap();
                Guard::start_in(path.parent().unwrap(), "doorward.toml")
            }
        })
        .await
        .unwrap();
        let silent = alice.knock(free).await.unwrap();
        let mut session = alice.enter_as(free, "127.0.0.1").await.unwrap();
        alive(&mut session).await;
        session.write_all(&prefixed(b"more")).await.unwrap();
        guard.kill();
        // Neither hangs: the other end is gone, whatever phase it was in.
        drop(hear(&mut session).await);
        let mut silent = silent;
        drop(hear(&mut silent).await);
    }
}

#[test]
fn every_incident_of_the_list_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/incidents.md")).unwrap();
    let mut sources = String::new();
    gather(&root.join("src"), &mut sources);
    gather(&root.join("tests/it"), &mut sources);
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| What"));
    let mut count = 0;
    for row in rows {
        let tests: Vec<_> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test in {row}");
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "{test} is no test");
        }
        count += 1;
    }
    assert!(count > 25, "{count} rows");
}

fn gather(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, into);
        } else {
            into.push_str(&fs::read_to_string(path).unwrap_or_default());
        }
    }
}

/// The test that starts itself again in a place of its own.
#[cfg(target_os = "linux")]
const TEST: &str = "incidents::a_reload_on_a_full_disk_reads_what_is_there_and_serves_on";

#[cfg(target_os = "linux")]
#[test]
fn a_reload_on_a_full_disk_reads_what_is_there_and_serves_on() {
    // Reading takes no room: nothing that a reload does writes to the disk.
    if !nix::unistd::geteuid().is_root() {
        return skipped("a full disk is a small file system, and mounting one takes root");
    }
    if !["unshare", "mount"].into_iter().all(has) {
        return;
    }
    if std::env::var_os("DOORWARD_ON_A_SMALL_DISK").is_none() {
        let directory = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o size=1m none {0:?} && TMPDIR={0:?} DOORWARD_ON_A_SMALL_DISK=1 exec {1:?} --exact {TEST}",
            directory.path(),
            std::env::current_exe().unwrap(),
        );
        let output = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    crate::cli::block_on(async {
        let set = Set::new();
        let path = file(&set, "\"localhost\"", ALICE);
        let mut hall = Hall::of_file(&path);
        fill(&set.path("filler"));
        hall.reload().await.unwrap();
        let alice = Visitor::new(&set, Some(&set.client("alice")));
        alive(&mut alice.enter(hall.address("echo")).await.unwrap()).await;
    });
}

#[cfg(target_os = "linux")]
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

//! `kill -9` at any moment: the store is the old one or the new one, and never something between.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use doorward::pki::keyfile::{read_chain, read_crls, read_key};
use doorward::pki::{Options, Serial, Store};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::Desk;
use crate::support::skipped;

/// How a verb met its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Finished,
}

/// Runs a verb with no umask at all, and kills it after a while.
fn killed_after(desk: &Desk, wait: Duration, arguments: &[&str]) -> End {
    let mut child = Command::new("sh")
        .args(["-c", "umask 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_doorward"), "certs"])
        .args(arguments)
        .current_dir(desk.home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while started.elapsed() < wait {
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap();
    if child.wait().unwrap().success() { End::Finished } else { End::Killed }
}

/// Kills a verb before it does the `number`th call of a kind to the system.
fn killed_at(desk: &Desk, call: &str, number: usize, arguments: &[&str]) -> End {
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let run = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject])
        .args(["sh", "-c", "umask 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_doorward"), "certs"])
        .args(arguments)
        .current_dir(desk.home.path())
        .output()
        .unwrap();
    if run.status.success() { End::Finished } else { End::Killed }
}

/// Whether strace can kill here, or why not.
fn no_strace() -> Option<&'static str> {
    let trial = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=exit_group:signal=KILL", "true"];
    match Command::new("strace").args(trial).output() {
        Err(_) => Some("strace is not installed"),
        Ok(run) if run.status.success() => Some("strace kills nobody here"),
        Ok(run) if run.status.code().is_some_and(|code| code != 137) => {
            Some("strace may not trace here")
        }
        Ok(_) => None,
    }
}

/// The calls by which a process changes a store.
const CALLS: [&str; 10] = [
    "mkdir",
    "fchmod",
    "chmod",
    "write",
    "fsync",
    "link,linkat",
    "rename",
    "renameat2",
    "unlink,unlinkat",
    "ftruncate",
];

/// Watches every key below a directory until it is told to stop, and keeps those that others could read.
fn watch(directory: &Path, stop: &AtomicBool, exposed: &Mutex<BTreeSet<PathBuf>>) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
        let mut folders = vec![directory.to_owned()];
        while let Some(folder) = folders.pop() {
            // What was put aside may be gone by now.
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                if metadata.is_dir() {
                    folders.push(path);
                } else if path.file_name().unwrap().to_string_lossy().contains("key")
                    && metadata.permissions().mode() & 0o077 != 0
                {
                    exposed.lock().unwrap().insert(path);
                }
            }
        }
    }
}

/// Runs something while somebody watches the keys.
fn watched(desk: &Desk, run: impl FnOnce()) {
    let (stop, exposed) = (AtomicBool::new(false), Mutex::default());
    let certs = desk.path("certs");
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&certs, &stop, &exposed));
        // Stops the watch also where something goes wrong.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        stop.store(true, Ordering::Relaxed);
        watching.join().unwrap();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(*exposed.lock().unwrap(), BTreeSet::new(), "keys that others could read");
}

/// How long a verb takes here and now.
fn usual(desk: &Desk, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    desk.certs(arguments).fine();
    started.elapsed()
}

/// Growing waits from nothing to somewhat more than a verb takes.
fn waits(count: u32, usual: Duration) -> impl Iterator<Item = (u32, Duration)> {
    (0..count).map(move |number| (number, usual * 5 / 4 * number / count))
}

/// Every call that changes something, from the first of its kind to the last one made.
fn at_every_call(mut kill: impl FnMut(&str, usize) -> End) -> usize {
    let mut kills = 0;
    for call in CALLS {
        // No verb makes as many calls of one kind.
        for number in 1..60 {
            if kill(call, number) == End::Finished {
                break;
            }
            kills += 1;
        }
    }
    kills
}

/// Issues again what a killed process was about to issue, unless it had.
fn again(desk: &Desk, name: &str) {
    let ended = desk.certs(&["client", name]);
    if ended.code != 0 {
        ended.failed("certs.exists");
    }
    let place = desk.path("certs/client").join(name);
    assert!(
        read_chain(&place.join("chain.pem")).is_ok() && read_key(&place.join("key.pem")).is_ok()
    );
}

#[test]
fn who_is_killed_while_issuing_leaves_all_of_it_or_nothing() {
    let desk = Desk::with_store();
    let usual = usual(&desk, &["client", "bob"]);
    let mut ends = Vec::new();
    watched(&desk, || {
        for (number, wait) in waits(60, usual) {
            let name = format!("c-{number}");
            ends.push(killed_after(&desk, wait, &["client", &name]));
            desk.is_whole();
            if number % 6 == 0 {
                again(&desk, &name);
                desk.is_whole();
            }
        }
    });
    assert!(ends.contains(&End::Killed) && ends.len() == 60, "{ends:?}");
}

#[test]
fn who_is_killed_at_any_call_while_issuing_leaves_all_of_it_or_nothing() {
    if let Some(why) = no_strace() {
        return skipped(why);
    }
    let desk = Desk::with_store();
    watched(&desk, || {
        let kills = at_every_call(|call, number| {
            let name = format!("c-{}-{number}", call.split(',').next().unwrap());
            let end = killed_at(&desk, call, number, &["client", &name]);
            desk.is_whole();
            again(&desk, &name);
            end
        });
        assert!(kills > 15, "{kills}");
    });
    desk.is_whole();
}

/// The serial number of a client's certificate, and whether the pair before it is whole where it is there.
fn serial(desk: &Desk, name: &str) -> String {
    let place = desk.path("certs/client").join(name);
    let old = [place.join("chain.pem.old"), place.join("key.pem.old")];
    if old.iter().any(|path| path.exists()) {
        let (chain, key) = (read_chain(&old[0]).unwrap(), read_key(&old[1]).unwrap());
        let provider = doorward::handshake::provider();
        rustls::sign::CertifiedKey::from_der(chain, key, &provider).unwrap();
    }
    let chain = read_chain(&place.join("chain.pem")).unwrap();
    Serial::of(&chain[0]).unwrap().to_string()
}

#[test]
fn who_is_killed_while_renewing_leaves_the_old_pair_or_the_new_one() {
    let desk = Desk::with_store();
    let usual = usual(&desk, &["renew", "alice"]);
    watched(&desk, || {
        for (_, wait) in waits(60, usual) {
            let before = serial(&desk, "alice");
            let end = killed_after(&desk, wait, &["renew", "alice"]);
            desk.is_whole();
            assert!(end == End::Killed || serial(&desk, "alice") != before);
        }
    });
    let before = serial(&desk, "alice");
    desk.certs(&["renew", "alice"]).fine();
    assert_ne!(serial(&desk, "alice"), before);
}

#[test]
fn who_is_killed_at_any_call_while_renewing_leaves_the_old_pair_or_the_new_one() {
    if let Some(why) = no_strace() {
        return skipped(why);
    }
    let desk = Desk::with_store();
    watched(&desk, || {
        let kills = at_every_call(|call, number| {
            let before = serial(&desk, "alice");
            let end = killed_at(&desk, call, number, &["renew", "alice"]);
            desk.is_whole();
            let after = serial(&desk, "alice");
            assert!(end == End::Killed || after != before, "{call} {number}");
            desk.certs(&["renew", "alice"]).fine();
            assert_ne!(serial(&desk, "alice"), after, "{call} {number}");
            end
        });
        assert!(kills > 20, "{kills}");
    });
    desk.is_whole();
}

/// The serial numbers on the published list, and those that the inventory calls revoked.
fn revoked(desk: &Desk) -> (BTreeSet<Serial>, BTreeSet<Serial>) {
    let lists = read_crls(&desk.path("certs/ca/crl.pem")).unwrap();
    let (_, list) = CertificateRevocationList::from_der(&lists[0]).unwrap();
    let published = list.iter_revoked_certificates();
    let published = published.map(|entry| entry.raw_serial_as_string().parse().unwrap()).collect();
    let store = Store::open(&desk.path("certs")).unwrap();
    let entries = store.list().unwrap().into_iter().filter(|entry| entry.revoked.is_some());
    (published, entries.map(|entry| entry.issued.serial).collect())
}

/// That what is published was recorded, and that revoking once more ends with both.
fn revoke_again(desk: &Desk, name: &str) {
    desk.is_whole();
    let (published, recorded) = revoked(desk);
    assert!(published.is_subset(&recorded));
    desk.certs(&["revoke", name]).fine();
    let (published, recorded) = revoked(desk);
    assert_eq!(published, recorded);
    assert_eq!(desk.certs(&["doctor"]).code, 0);
}

/// Clients to revoke, made in this process because that is quick.
fn with_clients(desk: &Desk, count: usize) {
    let store = Store::open(&desk.path("certs")).unwrap();
    for number in 0..count {
        store.issue_client(&format!("c-{number}").parse().unwrap(), Options::default()).unwrap();
    }
}

#[test]
fn who_is_killed_while_revoking_leaves_a_list_that_is_whole() {
    let desk = Desk::with_store();
    with_clients(&desk, 60);
    let usual = usual(&desk, &["revoke", "alice"]);
    let mut before = revoked(&desk);
    for (number, wait) in waits(60, usual) {
        let name = format!("c-{number}");
        killed_after(&desk, wait, &["revoke", &name]);
        desk.is_whole();
        let after = revoked(&desk);
        assert!(after.0.is_subset(&after.1) && before.0.is_subset(&after.0), "{after:?}");
        before = after;
    }
    revoke_again(&desk, "c-0");
}

#[test]
fn who_is_killed_at_any_call_while_revoking_leaves_a_list_that_is_whole() {
    if let Some(why) = no_strace() {
        return skipped(why);
    }
    let desk = Desk::with_store();
    with_clients(&desk, 90);
    let mut next = 0;
    let kills = at_every_call(|call, number| {
        let name = format!("c-{next}");
        next += 1;
        let end = killed_at(&desk, call, number, &["revoke", &name]);
        revoke_again(&desk, &name);
        end
    });
    assert!(kills > 10, "{kills}");
}

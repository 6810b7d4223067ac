//! A disk that is full, read-only, locked, or prepared by somebody who means harm.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::{Desk, Ended};
use crate::support::skipped;

fn chmod(desk: &Desk, name: &str, mode: u32) {
    fs::set_permissions(desk.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// A sentence and a remedy, and nothing else.
fn is_short(complained: &str) {
    assert_eq!(complained.lines().count(), 2, "{complained}");
    assert!(complained.lines().nth(1).unwrap().starts_with("    "), "{complained}");
}

#[test]
fn a_planted_link_is_never_written_through() {
    let desk = Desk::with_store();
    fs::write(desk.path("victim"), "theirs").unwrap();
    fs::create_dir(desk.path("elsewhere")).unwrap();
    symlink(desk.path("elsewhere"), desk.path("certs/client/bob")).unwrap();
    symlink(desk.path("nowhere"), desk.path("certs/server/app.test")).unwrap();
    symlink(desk.path("victim"), desk.path("alice.p12")).unwrap();
    symlink(desk.path("victim"), desk.path("certs/client/alice/id.p12")).unwrap();
    let before = desk.files();
    for verb in [
        &["client", "bob"][..],
        &["server", "app.test"],
        &["p12", "alice"],
        &["p12", "alice", "--out", "alice.p12"],
    ] {
        is_short(&desk.certs(verb).failed("certs.symlink"));
        assert_eq!(desk.files(), before, "{verb:?}");
    }
    fs::remove_file(desk.path("certs/client/alice/id.p12")).unwrap();
    for name in ["ca/crl.pem", "ca/crlnumber", "ca/inventory.jsonl", ".lock", "ca/private/ca.key"] {
        let path = desk.path("certs").join(name);
        fs::rename(&path, desk.path("moved")).unwrap();
        symlink(desk.path("moved"), &path).unwrap();
        let before = desk.files();
        is_short(&desk.certs(&["revoke", "alice"]).failed("certs.symlink"));
        assert_eq!(desk.files(), before, "{name}");
        fs::rename(desk.path("moved"), &path).unwrap();
    }
    for name in ["key.pem", "chain.pem"] {
        let path = desk.path("certs/client/alice").join(name);
        fs::rename(&path, desk.path("moved")).unwrap();
        symlink(desk.path("moved"), &path).unwrap();
        let before = desk.files();
        let ended = desk.certs(&["renew", "alice"]);
        assert!(ended.code == 1 && ended.complained.contains("certs.symlink"), "{ended:?}");
        assert_eq!(desk.files(), before, "{name}");
        fs::rename(desk.path("moved"), &path).unwrap();
    }
    assert_eq!(fs::read_to_string(desk.path("victim")).unwrap(), "theirs");
    desk.certs(&["revoke", "alice"]).fine();
}

#[test]
fn init_goes_through_no_planted_link() {
    for name in ["ca", "client", "server", "trust.pem", ".lock", ".making"] {
        let desk = Desk::new();
        fs::create_dir(desk.path("certs")).unwrap();
        symlink(desk.path("elsewhere"), desk.path("certs").join(name)).unwrap();
        is_short(&desk.certs(&["init"]).failed("certs.symlink"));
        assert!(!desk.path("elsewhere").exists(), "{name}");
        assert!(!desk.path("certs/ca/private").exists(), "{name}");
    }
}

#[test]
fn a_key_that_is_there_already_is_neither_used_nor_written_into() {
    let desk = Desk::with_store();
    fs::create_dir(desk.path("certs/client/bob")).unwrap();
    fs::write(desk.path("certs/client/bob/key.pem"), "").unwrap();
    chmod(&desk, "certs/client/bob/key.pem", 0o644);
    fs::write(desk.path("alice.p12"), "").unwrap();
    chmod(&desk, "alice.p12", 0o644);
    let before = desk.files();
    is_short(&desk.certs(&["client", "bob"]).failed("certs.exists"));
    is_short(&desk.certs(&["p12", "alice", "--out", "alice.p12"]).failed("certs.exists"));
    assert_eq!(desk.files(), before);
    // A key others could read is not carried on into a new pair, nor does it sign anything.
    chmod(&desk, "certs/client/alice/key.pem", 0o644);
    let ended = desk.certs(&["renew", "alice"]);
    assert!(ended.code == 1 && ended.complained.contains("handshake.key-exposed"), "{ended:?}");
    chmod(&desk, "certs/ca/private/ca.key", 0o640);
    for verb in [&["client", "carol"][..], &["revoke", "alice"], &["crl"]] {
        is_short(&desk.certs(verb).failed("handshake.key-exposed"));
    }
    assert_eq!(desk.files(), before);
    let found = desk.certs(&["doctor"]);
    assert!(found.code == 1 && found.said.contains("chmod 600"), "{found:?}");
}

#[test]
fn a_store_that_another_process_is_changing_is_left_alone() {
    let desk = Desk::with_store();
    let before = desk.files();
    let held = fs::OpenOptions::new().write(true).open(desk.path("certs/.lock")).unwrap();
    held.lock().unwrap();
    let verbs: [&[&str]; 4] =
        [&["client", "bob"], &["server", "app.test"], &["revoke", "alice"], &["init"]];
    for child in verbs.map(|verb| desk.start(verb)) {
        let run = child.wait_with_output().unwrap();
        let complained = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(1), "{complained}");
        assert!(complained.starts_with("doorward: certs.locked "), "{complained}");
        is_short(&complained);
    }
    assert_eq!(desk.files(), before);
    drop(held);
    desk.certs(&["client", "bob"]).fine();
}

/// Runs a script as root of namespaces of its own, in which it may mount what it likes.
fn in_namespaces(desk: &Desk, script: &str) -> Option<String> {
    let unshare = |script: &str| {
        Command::new("unshare").args(["-rm", "sh", "-c", script]).current_dir(&desk.home).output()
    };
    let why = match unshare("mkdir -p trial && mount -t tmpfs trial trial") {
        Err(_) => "unshare (util-linux) is not installed",
        Ok(trial) if !trial.status.success() => "no namespace with mounts may be made here",
        Ok(_) => {
            let script = format!("doorward={}\n{script}", env!("CARGO_BIN_EXE_doorward"));
            let run = unshare(&script).unwrap();
            let said = String::from_utf8(run.stdout).unwrap();
            let complained = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "{said}{complained}");
            return Some(said);
        }
    };
    skipped(why);
    None
}

/// Every verb that writes, on a disk with 0 to 11 free pages: `VERB FREE CODE same|changed`, then what was said.
const FULL: &str = r#"
set -eu
mkdir full
mount -t tmpfs -o size=512k,mode=700 full full
state() { (cd full && find certs | sort && find certs -type f | sort | xargs sha256sum); }
for verb in "client bob" "renew alice" "revoke alice" "crl" "sign carol.csr --as client --out full/certs/carol.pem"; do
  for free in 0 1 2 3 4 5 6 7 8 9 10 11 24; do
    rm -rf full/certs && cp -a certs full/certs
    state > before
    dd if=/dev/zero of=full/filler bs=4k 2>/dev/null || true
    truncate -s "-$((free * 4096))" full/filler
    code=0
    "$doorward" certs $verb --dir full/certs > out 2> err || code=$?
    rm full/filler
    state > after
    if cmp -s before after; then same=same; else same=changed; fi
    echo "CASE ${verb%% *} $free $code $same"
    cat err
  done
done
"#;

#[test]
fn a_full_disk_is_named_and_nothing_changes() {
    let desk = Desk::with_store();
    super::encrypted::write_request(&desk);
    let Some(said) = in_namespaces(&desk, FULL) else { return };
    let (mut refused, mut done) = (0, 0);
    for case in said.split("CASE ").skip(1) {
        let (first, complained) = case.split_once('\n').unwrap();
        let words: Vec<_> = first.split(' ').collect();
        if words[2] == "0" {
            assert_eq!((words[3], complained), ("changed", ""), "{case}");
            done += 1;
            continue;
        }
        assert_eq!((words[2], words[3]), ("1", "same"), "{case}");
        assert!(
            complained.contains("certs.unwritable ") && complained.contains("No space left"),
            "{case}"
        );
        is_short(complained);
        refused += 1;
    }
    assert_eq!(refused + done, 5 * 13, "{said}");
    assert!(refused >= 10 && done >= 5, "{refused} refused, {done} done");
}

const READ_ONLY: &str = r#"
mount --bind certs certs && mount -o remount,bind,ro certs
for verb in "client bob" "renew alice" "revoke alice" "crl" "p12 alice" "list"; do
  code=0
  "$doorward" certs $verb > out 2> err || code=$?
  echo "CASE ${verb%% *} $code"
  cat err
done
"#;

#[test]
fn a_read_only_store_is_named_and_can_still_be_listed() {
    let desk = Desk::with_store();
    let Some(said) = in_namespaces(&desk, READ_ONLY) else { return };
    let cases: Vec<_> = said.split("CASE ").skip(1).collect();
    assert_eq!(cases.len(), 6, "{said}");
    for case in cases {
        let (first, complained) = case.split_once('\n').unwrap();
        if first.starts_with("list ") {
            assert_eq!((first, complained), ("list 0", ""));
            continue;
        }
        assert!(first.ends_with(" 1"), "{case}");
        assert!(
            complained.contains("certs.unwritable ") && complained.contains("/certs/"),
            "{case}"
        );
        is_short(complained);
    }
    desk.is_whole();
}

#[test]
fn a_store_of_another_user_is_named() {
    let desk = Desk::with_store();
    chmod(&desk, "certs/client", 0o500);
    let ended: Ended = desk.certs(&["client", "bob"]);
    if ended.code == 0 {
        return skipped("root writes wherever it likes");
    }
    is_short(&ended.failed("certs.unwritable"));
    chmod(&desk, "certs/client", 0o700);
    desk.is_whole();
}

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use super::*;
use crate::pki::{Authority, Draft, Plan, Reason, Store, Target, development};
use crate::problem::Severity;
use time::Duration;

fn codes(directory: &Path, later: Duration) -> Vec<&'static str> {
    let now = OffsetDateTime::now_utc().saturating_add(later);
    let problems = examine(directory, now).unwrap();
    problems.iter().map(|problem| problem.fault().code()).collect()
}

fn now(directory: &Path) -> Vec<&'static str> {
    codes(directory, Duration::ZERO)
}

#[test]
fn a_fresh_store_is_well() {
    let dir = tempfile::tempdir().unwrap();
    development(dir.path()).unwrap();
    assert_eq!(now(dir.path()), [""; 0]);
    let empty = tempfile::tempdir().unwrap();
    let problem = examine(empty.path(), OffsetDateTime::now_utc()).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsNoAuthority);
}

#[test]
fn a_key_that_others_can_read_is_found_wherever_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let development = development(dir.path()).unwrap();
    let layout = development.store().layout();
    let stray = dir.path().join("client/backup.txt");
    fs::write(&stray, Authority::ephemeral().unwrap().key().to_pem()).unwrap();
    fs::set_permissions(&stray, fs::Permissions::from_mode(0o644)).unwrap();
    let own = layout.authority_key();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o640)).unwrap();
    let problems = examine(dir.path(), OffsetDateTime::now_utc()).unwrap();
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(now(dir.path()), ["handshake.key-exposed"; 2], "{said:?}");
    assert!(said.iter().any(|said| said.contains("mode 640") && said.contains("chmod 600")));
}

#[test]
fn a_link_is_found_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    development(dir.path()).unwrap();
    fs::write(elsewhere.path().join("x"), "-----BEGIN PRIVATE KEY-----").unwrap();
    symlink(elsewhere.path(), dir.path().join("client/eve")).unwrap();
    assert_eq!(now(dir.path()), ["certs.symlink"]);
}

#[test]
fn what_ends_is_announced_before_it_does() {
    let dir = tempfile::tempdir().unwrap();
    development(dir.path()).unwrap();
    let problems = |days| {
        let now = OffsetDateTime::now_utc() + Duration::days(days);
        let problems = examine(dir.path(), now).unwrap();
        let count = |fault, severity| {
            let same =
                |problem: &&Problem| problem.fault() == fault && problem.severity() == severity;
            problems.iter().filter(same).count()
        };
        let leaves = Fault::CertsExpires;
        [
            count(leaves, Severity::Warning),
            count(leaves, Severity::Error),
            count(Fault::HandshakeStaleCrl, Severity::Warning),
            count(Fault::HandshakeStaleCrl, Severity::Error),
            count(Fault::CertsAuthorityExpired, Severity::Error),
        ]
    };
    assert_eq!(problems(1)[..2], [0, 0]);
    assert_eq!(problems(80)[..2], [2, 0], "a server and a client");
    assert_eq!(problems(95)[..2], [0, 2]);
    assert_eq!(problems(780)[..2], [1, 2], "the authority too");
    assert_eq!(problems(900)[4], 1);
    let stale = (1..120).find(|days| problems(*days)[3] == 1).unwrap();
    assert_eq!(problems(stale - 3)[2..4], [1, 0], "the list is announced before day {stale}");
}

#[test]
fn an_authority_for_more_than_development_should_not_lie_beside_servers() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan::new(vec!["app.example.com".parse().unwrap()], Vec::new());
    let store = Store::create(dir.path(), &plan).unwrap();
    assert_eq!(now(dir.path()), ["handshake.authority-key"]);
    fs::remove_file(store.layout().authority_key()).unwrap();
    assert_eq!(now(dir.path()), [""; 0]);
}

#[test]
fn what_the_inventory_does_not_know_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let development = development(dir.path()).unwrap();
    let store = development.store();
    let draft = Draft::client(&"alice".parse().unwrap()).unwrap();
    let stranger = store.authority().unwrap().sign(&draft).unwrap();
    let place = store.layout().client(&"alice".parse().unwrap());
    fs::write(place.join("chain.pem"), stranger.chain_pem()).unwrap();
    assert_eq!(now(dir.path()), ["certs.inventory-mismatch", "certs.key-mismatch"]);
    fs::write(store.layout().inventory(), "nonsense\n").unwrap();
    assert_eq!(now(dir.path()), ["certs.unreadable"]);
}

#[test]
fn who_is_revoked_has_to_be_on_the_list_and_out_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let development = development(dir.path()).unwrap();
    let store = development.store();
    let before = fs::read(store.layout().revocations()).unwrap();
    let alice = Target::Client("alice".parse().unwrap());
    store.revoke(&alice, Reason::KeyCompromise).unwrap();
    assert_eq!(now(dir.path()), ["certs.inventory-mismatch"], "it is still in the store");
    fs::write(store.layout().revocations(), before).unwrap();
    assert_eq!(now(dir.path()), ["certs.inventory-mismatch"; 2], "and not on the list");
}

#[test]
fn a_key_that_git_knows_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let development = development(dir.path()).unwrap();
    let git =
        |arguments: &[&str]| Command::new("git").arg("-C").arg(dir.path()).args(arguments).output();
    if git(&["init", "-q"]).is_err() {
        println!("skipped: git is not installed");
        return;
    }
    assert_eq!(now(dir.path()), [""; 0], "not added");
    let key = development.store().layout().authority_key();
    let added = git(&["add", "-f", key.to_str().unwrap(), "trust.pem"]).unwrap();
    assert!(added.status.success(), "{added:?}");
    assert_eq!(now(dir.path()), ["certs.key-tracked"], "and the public file is fine");
}

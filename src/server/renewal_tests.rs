use super::*;
use crate::pki::{HostName, Plan, RevocationList, Serial};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A store of which everything lives ten days, and a look that finds that too short by two minutes.
fn site(authority_days: u32) -> (tempfile::TempDir, Renewal) {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = Plan::new(HostName::loopback().to_vec(), Vec::new());
    plan.authority.days = authority_days;
    plan.leaf.days = 10;
    Store::create(dir.path(), &plan).unwrap();
    let renewal = Renewal {
        directory: dir.path().to_owned(),
        certificate: dir.path().join("server/localhost/chain.pem"),
        due: time::Duration::days(10).saturating_sub(time::Duration::minutes(2)),
        place: Place::in_code("test"),
    };
    (dir, renewal)
}

fn serial(renewal: &Renewal) -> Serial {
    renewal.find().unwrap().1.entry.issued.serial
}

#[test]
fn what_is_due_is_renewed_and_what_is_not_stays() {
    let (_dir, renewal) = site(20);
    let old = serial(&renewal);
    let later = Renewal { due: time::Duration::days(9), ..renewal.clone() };
    assert_eq!(later.look().unwrap(), None);
    assert_eq!(serial(&renewal), old);
    let renewed = renewal.look().unwrap().unwrap();
    assert_eq!(serial(&renewal), renewed.serial);
    assert_ne!(renewed.serial, old);
}

#[test]
fn a_revocation_list_is_published_anew_in_its_last_third() {
    let (_dir, renewal) = site(20);
    let store = Store::open(&renewal.directory).unwrap();
    let path = store.layout().revocations();
    assert!(!renewal.publish().unwrap());
    let now = OffsetDateTime::now_utc();
    let days = time::Duration::days;
    let signed = |ends| {
        let list = RevocationList::new(7).valid(now - days(20), now + ends);
        list.sign_pem(&store.authority().unwrap()).unwrap()
    };
    fs::write(&path, signed(days(11)).as_bytes()).unwrap();
    assert!(!renewal.publish().unwrap());
    for left in [days(9), days(-1)] {
        fs::write(&path, signed(left).as_bytes()).unwrap();
        assert!(renewal.publish().unwrap());
        let (_, ends) = store.revocations_last().unwrap();
        assert!(ends > (now + days(25)).unix_timestamp());
    }
}

#[test]
fn what_could_not_live_longer_is_not_renewed_again_and_again() {
    let (_dir, renewal) = site(10);
    let old = serial(&renewal);
    assert_eq!(renewal.look().unwrap_err().fault(), Fault::CertsExpires);
    assert_eq!(serial(&renewal), old);
}

#[test]
fn a_link_to_the_certificate_is_as_good_as_its_path() {
    let (dir, renewal) = site(20);
    let link = dir.path().join("link.pem");
    std::os::unix::fs::symlink(&renewal.certificate, &link).unwrap();
    assert!(Renewal { certificate: link, ..renewal }.look().unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again() {
    let (dir, renewal) = site(20);
    let old = serial(&renewal);
    let key = dir.path().join("ca/private/ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let closing = Closing::default();
    let running = tokio::spawn(renewal.clone().run(closing.clone()));
    sleep(Duration::from_secs(30)).await;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(serial(&renewal), old, "the first try failed");
    // The first wait is 60 seconds and at the most as much again; then somebody has to write.
    for _ in 0..600 {
        if serial(&renewal) != old {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_ne!(serial(&renewal), old);
    closing.drain.cancel();
    running.await.unwrap();
}

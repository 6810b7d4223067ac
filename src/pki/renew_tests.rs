use super::*;
use crate::pki::plan::Plan;
use crate::pki::testing::handshake;
use crate::pki::{KeyType, Reason, Target};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

fn made(dir: &Path, key: KeyType) -> Store {
    let alice: ClientIdentity = "alice".parse().unwrap();
    let alice = alice
        .with_spiffe("spiffe://example.test/reporting".parse().unwrap())
        .with_email("alice@example.test".parse().unwrap());
    let mut plan = Plan::new(HostName::loopback().to_vec(), vec![alice]);
    plan.leaf = Options { key, days: 7 };
    Store::create(dir, &plan).unwrap()
}

fn filed(store: &Store, name: &str) -> Filed {
    let mut filed = store.filed().unwrap().into_iter();
    filed.find(|filed| filed.place.ends_with(name)).unwrap()
}

fn read(place: &Path, old: &str) -> Credential {
    let chain = keyfile::read_chain(&place.join(format!("chain.pem{old}"))).unwrap();
    let key = keyfile::read_key(&place.join(format!("key.pem{old}"))).unwrap();
    let key = Key::from_der(&key).unwrap();
    let public = x509_parser::parse_x509_certificate(&chain[0]).unwrap().1;
    assert_eq!(public.public_key().subject_public_key.data, key.public_bits(), "a matching pair");
    Credential::new(chain[0].clone(), Vec::new(), key).unwrap()
}

#[test]
fn renewing_keeps_names_kind_and_length_and_changes_key_and_serial() {
    for key in [KeyType::P256, KeyType::Ed25519] {
        let dir = tempfile::tempdir().unwrap();
        let store = made(dir.path(), key);
        for name in ["localhost", "alice"] {
            let before = filed(&store, name);
            let renewed = store.renew(&before, None).unwrap();
            let after = filed(&store, name);
            assert_eq!(after.entry.issued.names, before.entry.issued.names);
            assert_eq!(after.entry.issued.role, before.entry.issued.role);
            assert_eq!(after.entry.issued.serial, renewed.serial);
            assert_ne!(renewed.serial, before.entry.issued.serial);
            assert_eq!(length_in_days(&after.entry.issued), 7);
            let (new, old) = (read(&after.place, ""), read(&after.place, ".old"));
            assert_eq!(old.serial(), &before.entry.issued.serial);
            assert_eq!(Key::from_der(&new.key()).unwrap().kind(), key);
            assert_ne!(new.key().secret_der(), old.key().secret_der());
        }
        let anchor = keyfile::read_chain(&store.layout().trust()).unwrap().remove(0);
        let server = read(&filed(&store, "localhost").place, "");
        let client = read(&filed(&store, "alice").place, "");
        assert_eq!(handshake(&anchor, &server, &client, "localhost"), Ok(()));
    }
}

#[test]
fn renewing_twice_keeps_the_last_pair_its_modes_and_other_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path(), KeyType::P256);
    let place = filed(&store, "alice").place;
    fs::write(place.join("notes"), "ours").unwrap();
    let first = store.renew(&filed(&store, "alice"), None).unwrap();
    store.renew(&filed(&store, "alice"), Some(30)).unwrap();
    assert_eq!(read(&place, ".old").serial(), &first.serial);
    assert_eq!(length_in_days(&filed(&store, "alice").entry.issued), 30);
    let mut found: Vec<_> = fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .filter(|(name, _)| name != "notes")
        .collect();
    found.sort();
    let expected = [
        ("chain.pem", 0o644),
        ("chain.pem.old", 0o644),
        ("key.pem", 0o600),
        ("key.pem.old", 0o600),
    ];
    assert_eq!(found, expected.map(|(name, mode)| (name.to_owned(), mode)));
    assert_eq!(fs::read_to_string(place.join("notes")).unwrap(), "ours");
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o700);
    let left = fs::read_dir(place.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "nothing is left aside");
}

#[test]
fn where_directories_cannot_be_exchanged_files_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path(), KeyType::P256);
    let before = filed(&store, "alice");
    // A directory cannot have a second name, so the pair changes file by file.
    fs::create_dir(before.place.join("folder")).unwrap();
    let renewed = store.renew(&before, None).unwrap();
    assert_eq!(read(&before.place, "").serial(), &renewed.serial);
    assert_eq!(read(&before.place, ".old").serial(), &before.entry.issued.serial);
    assert!(before.place.join("folder").is_dir());
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn chain_and_key_change_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path(), KeyType::P256);
    let place = filed(&store, "alice").place;
    let before = fs::metadata(&place).unwrap().ino();
    store.renew(&filed(&store, "alice"), None).unwrap();
    // Another directory is in the place, so there was no moment with one file of each.
    assert_ne!(fs::metadata(&place).unwrap().ino(), before);
}

#[test]
fn a_failed_renewal_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path(), KeyType::P256);
    let before = filed(&store, "alice");
    let bytes = || [CHAIN, KEY].map(|name| fs::read(before.place.join(name)).unwrap());
    let pair = bytes();
    assert_eq!(store.renew(&before, Some(826)).unwrap_err().fault(), Fault::CertsBadOption);
    fs::set_permissions(before.place.join(KEY), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(store.renew(&before, None).unwrap_err().fault(), Fault::HandshakeKeyExposed);
    assert_eq!(bytes(), pair);
    assert_eq!(filed(&store, "alice"), before);
}

#[test]
fn a_word_means_a_client_a_server_or_a_serial_number_and_never_two_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path(), KeyType::P256);
    let find = |word: &str| Target::find(word, &store.list().unwrap());
    assert_eq!(find("alice").unwrap(), Target::Client("alice".parse().unwrap()));
    assert_eq!(find("localhost").unwrap(), Target::Server("localhost".parse().unwrap()));
    let serial = store.list().unwrap()[1].issued.serial.clone();
    assert_eq!(find(&serial.to_string()).unwrap(), Target::Serial(serial));
    for word in ["bob", "server/alice", "client/localhost", "127.0.0.1", "", "a\nb", "client/"] {
        assert_eq!(find(word).unwrap_err().fault(), Fault::CertsUnknown, "{word:?}");
    }
    let root = store.list().unwrap()[0].issued.serial.to_string();
    assert_eq!(find(&root).unwrap_err().fault(), Fault::CertsUnknown);
    store.issue_client(&"localhost".parse().unwrap(), Options::default()).unwrap();
    assert_eq!(find("localhost").unwrap_err().fault(), Fault::CertsBadName);
    assert_eq!(find("server/localhost").unwrap(), Target::Server("localhost".parse().unwrap()));
    let revoked = store.revoke(&find("server/localhost").unwrap(), Reason::Superseded).unwrap();
    assert_eq!(revoked.len(), 1);
}

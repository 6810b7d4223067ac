use super::*;
use crate::pki::layout::PIECES;
use crate::pki::testing::handshake;
use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt as _, symlink};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Every file and directory below, with its mode.
fn tree(dir: &Path) -> BTreeSet<(String, u32)> {
    let mut found = BTreeSet::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            found.insert((path.strip_prefix(dir).unwrap().display().to_string(), mode(&path)));
            if path.is_dir() {
                todo.push(path);
            }
        }
    }
    found
}

fn made(dir: &Path) -> Store {
    let Development::Made(store) = development(dir).unwrap() else {
        panic!("there was one already")
    };
    store
}

fn alice() -> Target {
    Target::Client("alice".parse().unwrap())
}

/// The credential of a directory of the store, read as a service would.
fn read(place: &Path) -> Credential {
    let mut chain = keyfile::read_chain(&place.join("chain.pem")).unwrap().into_iter();
    let key = keyfile::read_key(&place.join("key.pem")).unwrap();
    Credential::new(chain.next().unwrap(), chain.collect(), Key::from_der(&key).unwrap()).unwrap()
}

fn published(store: &Store) -> (u64, usize) {
    let lists = keyfile::read_crls(&store.layout().revocations()).unwrap();
    let number = crate::pki::revoke::number(&lists[0]).unwrap();
    let (_, list) = x509_parser::parse_x509_crl(&lists[0]).unwrap();
    (number, list.iter_revoked_certificates().count())
}

#[test]
fn development_makes_everything_with_its_modes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let expected = [
        (".gitignore", 0o644),
        (".lock", 0o600),
        ("ca", 0o700),
        ("ca/ca.crt", 0o644),
        ("ca/crl.pem", 0o644),
        ("ca/crlnumber", 0o644),
        ("ca/inventory.jsonl", 0o600),
        ("ca/private", 0o700),
        ("ca/private/ca.key", 0o600),
        ("client", 0o700),
        ("client/alice", 0o700),
        ("client/alice/chain.pem", 0o644),
        ("client/alice/key.pem", 0o600),
        ("server", 0o700),
        ("server/localhost", 0o700),
        ("server/localhost/chain.pem", 0o644),
        ("server/localhost/key.pem", 0o600),
        ("trust.pem", 0o644),
    ];
    assert_eq!(tree(dir.path()), expected.map(|(name, mode)| (name.to_owned(), mode)).into());
}

#[test]
fn what_development_makes_shakes_hands() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    let layout = store.layout();
    let server = read(&layout.server(&"localhost".parse().unwrap()));
    let client = read(&layout.client(&"alice".parse().unwrap()));
    let trust = keyfile::read_chain(&layout.trust()).unwrap();
    assert_eq!(trust.len(), 1);
    assert_eq!(handshake(&trust[0], &server, &client, "127.0.0.1"), Ok(()));
    assert_eq!(published(&store), (1, 0));
    let roles: Vec<_> = store.list().unwrap().iter().map(|entry| entry.issued.role).collect();
    assert_eq!(roles, [Role::Authority, Role::Server, Role::Client]);
}

#[test]
fn development_finds_what_is_there_and_keeps_the_committed_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("README.md"), "ours").unwrap();
    fs::write(dir.path().join(".gitignore"), "ours").unwrap();
    made(dir.path());
    let before = fs::read(dir.path().join("trust.pem")).unwrap();
    assert!(matches!(development(dir.path()).unwrap(), Development::Found(_)));
    assert_eq!(fs::read(dir.path().join("trust.pem")).unwrap(), before);
    for name in ["README.md", ".gitignore"] {
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "ours");
    }
    let again = Store::create(dir.path(), &Plan::development().unwrap()).unwrap_err();
    assert_eq!(again.fault(), Fault::CertsExists);
}

/// Puts a finished store back to where it was after `moved` of its four parts had been moved.
fn interrupted(moved: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    let making = store.layout().making();
    fs::create_dir(making.directory()).unwrap();
    for piece in PIECES.into_iter().skip(moved) {
        fs::rename(dir.path().join(piece), making.directory().join(piece)).unwrap();
    }
    making.mark_made().unwrap();
    dir
}

#[test]
fn who_is_killed_while_moving_leaves_a_store_that_the_next_start_finishes() {
    for moved in 0..=4 {
        let dir = interrupted(moved);
        let counts = dir.path().join("trust.pem").exists();
        assert_eq!(counts, moved == 4, "no service starts without it, so it comes last");
        let store = if moved % 2 == 0 {
            Store::open(dir.path()).unwrap()
        } else {
            development(dir.path()).unwrap().store().clone()
        };
        assert!(!dir.path().join(".making").exists());
        assert_eq!(store.list().unwrap().len(), 3, "the same store, not a new one");
        let authority = store.authority().unwrap();
        let trust = keyfile::read_chain(&store.layout().trust()).unwrap();
        assert_eq!(&trust[0], authority.certificate());
    }
}

#[test]
fn who_is_killed_before_everything_is_written_leaves_nothing_that_counts() {
    let dir = interrupted(0);
    let making = dir.path().join(".making");
    let old = fs::read(making.join("trust.pem")).unwrap();
    fs::remove_file(making.join("made")).unwrap();
    fs::remove_file(making.join("ca/crl.pem")).unwrap();
    assert_eq!(Store::open(dir.path()).unwrap_err().fault(), Fault::CertsNoAuthority);
    let store = made(dir.path());
    assert_ne!(fs::read(store.layout().trust()).unwrap(), old);
    assert!(!making.exists());
}

#[test]
fn a_failure_half_way_leaves_nothing_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = Plan::development().unwrap();
    plan.servers.push(vec!["example.com".parse().unwrap()]);
    assert_eq!(
        Store::create(dir.path(), &plan).unwrap_err().fault(),
        Fault::CertsOutsideConstraints
    );
    assert_eq!(tree(dir.path()), [(".lock".to_owned(), 0o600)].into());
}

#[test]
fn a_store_without_its_trust_is_not_built_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    fs::remove_file(store.layout().trust()).unwrap();
    let key = fs::read(store.layout().authority_key()).unwrap();
    assert_eq!(development(dir.path()).unwrap_err().fault(), Fault::CertsExists);
    assert_eq!(fs::read(store.layout().authority_key()).unwrap(), key);
}

#[test]
fn planted_links_are_refused_before_anything_is_written() {
    for name in ["ca", "server", "client", "trust.pem", ".lock", ".making"] {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), dir.path().join(name)).unwrap();
        assert_eq!(development(dir.path()).unwrap_err().fault(), Fault::CertsSymlink, "{name}");
        assert!(tree(elsewhere.path()).is_empty(), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), store.layout().client(&"bob".parse().unwrap())).unwrap();
    let problem = store.issue_client(&"bob".parse().unwrap(), Options::default()).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsSymlink);
    assert!(tree(elsewhere.path()).is_empty());
}

#[test]
fn an_issued_name_is_not_issued_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    let key = store.layout().client(&"alice".parse().unwrap()).join("key.pem");
    let before = fs::read(&key).unwrap();
    let problem = store.issue_client(&"alice".parse().unwrap(), Options::default()).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsExists);
    assert_eq!(fs::read(&key).unwrap(), before);
    assert_eq!(store.list().unwrap().len(), 3);
}

#[test]
fn an_authority_key_that_others_may_read_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    let key = store.layout().authority_key();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let problem = store.issue_client(&"bob".parse().unwrap(), Options::default()).unwrap_err();
    assert_eq!(problem.fault(), Fault::HandshakeKeyExposed);
    fs::remove_file(&key).unwrap();
    assert_eq!(store.authority().unwrap_err().fault(), Fault::CertsNoAuthority);
}

#[test]
fn many_may_issue_and_revoke_at_once() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = dir.path();
            scope.spawn(move || {
                let store = Store::open(path).unwrap();
                let name = format!("client-{number}");
                store.issue_client(&name.parse().unwrap(), Options::default()).unwrap();
                let target = Target::Client(name.parse().unwrap());
                assert_eq!(store.revoke(&target, Reason::Superseded).unwrap().len(), 1);
            });
        }
    });
    let store = Store::open(dir.path()).unwrap();
    let entries = store.list().unwrap();
    let serials: BTreeSet<_> = entries.iter().map(|entry| entry.issued.serial.clone()).collect();
    assert_eq!((entries.len(), serials.len()), (11, 11));
    assert_eq!(entries.iter().filter(|entry| entry.revoked.is_some()).count(), 8);
    assert_eq!(published(&store), (9, 8));
}

#[test]
fn only_one_of_many_makes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::thread::scope(|scope| {
        let start = || matches!(development(dir.path()).unwrap(), Development::Made(_));
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).filter(|made| *made).count()
    });
    assert_eq!(made, 1);
}

#[test]
fn revoking_publishes_a_list_with_a_higher_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    let revoked = store.revoke(&alice(), Reason::KeyCompromise).unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(published(&store), (2, 1));
    assert!(
        store.revoke(&alice(), Reason::Superseded).unwrap().is_empty(),
        "it was revoked before"
    );
    assert_eq!(published(&store), (3, 1));
    let entry = store.list().unwrap().pop().unwrap();
    assert_eq!(entry.revoked.unwrap().reason, Reason::KeyCompromise, "the first reason stays");
    let server = store.list().unwrap()[1].issued.serial.clone();
    assert_eq!(
        store.revoke(&Target::Serial(server.clone()), Reason::Superseded).unwrap(),
        [server]
    );
    assert_eq!(published(&store), (4, 2));
    assert_eq!(mode(&store.layout().revocations()), 0o644);
}

#[test]
fn what_was_never_issued_and_the_authority_itself_are_not_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    let authority = store.list().unwrap()[0].issued.serial.clone();
    let nobody = Target::Client("nobody".parse().unwrap());
    for target in [nobody, Target::Serial(authority), Target::Serial("ab".parse().unwrap())] {
        assert_eq!(
            store.revoke(&target, Reason::Unspecified).unwrap_err().fault(),
            Fault::CertsUnknown
        );
    }
    assert_eq!(published(&store), (1, 0));
}

#[test]
fn the_number_never_goes_back_and_a_damaged_list_does_not_stop_revoking() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    fs::write(store.layout().revocation_number(), "41\n").unwrap();
    store.publish_revocations().unwrap();
    assert_eq!(published(&store).0, 42);
    fs::write(store.layout().revocation_number(), "7\n").unwrap();
    store.publish_revocations().unwrap();
    assert_eq!(published(&store).0, 43, "the published list knows better");
    fs::write(store.layout().revocations(), "rubbish").unwrap();
    store.revoke(&alice(), Reason::KeyCompromise).unwrap();
    assert_eq!(published(&store), (44, 1));
    fs::write(store.layout().revocation_number(), "many\n").unwrap();
    assert_eq!(store.publish_revocations().unwrap_err().fault(), Fault::CertsUnreadable);
}

#[test]
fn a_damaged_inventory_is_not_guessed_at() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    let path = store.layout().inventory();
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"event\":\"iss")).unwrap();
    assert_eq!(store.list().unwrap().len(), 3, "an unfinished line was never promised");
    for damage in [
        "nonsense\n",
        "{\"event\":\"revoked\",\"serial\":\"ab\",\"reason\":\"superseded\",\"at\":\"2026-01-01T00:00:00Z\"}\n",
    ] {
        fs::write(&path, format!("{whole}{damage}")).unwrap();
        let problem = store.list().unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsUnreadable);
        assert!(problem.message().contains("line 4"), "{problem}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(store.list().unwrap_err().fault(), Fault::CertsUnreadable);
}

#[test]
fn what_a_killed_process_had_put_aside_is_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(dir.path());
    let random = "0123456789abcdef".repeat(2);
    let aside = dir.path().join(format!("client/.bob.new-{random}"));
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("key.pem"), "secret").unwrap();
    let kept = dir.path().join("client/.bob.new-notes");
    fs::write(&kept, "mine").unwrap();
    store.issue_client(&"bob".parse().unwrap(), Options::default()).unwrap();
    assert!(!aside.exists() && kept.exists());
}

#[test]
fn a_directory_without_a_store_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("none")] {
        assert_eq!(Store::open(&path).unwrap_err().fault(), Fault::CertsNoAuthority);
    }
    assert!(tree(dir.path()).is_empty());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let problem = development(Path::new("/proc/doorward")).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsUnwritable);
    assert!(problem.message().starts_with("/proc/doorward "), "{problem}");
}

#[test]
fn a_plan_permits_what_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = ["app.example.com", "*.example.org", "192.0.2.7", "localhost"]
        .map(|name| name.parse().unwrap());
    let store = Store::create(dir.path(), &Plan::new(hosts.to_vec(), Vec::new())).unwrap();
    let constraints = store.authority().unwrap().constraints().to_string();
    assert!(
        constraints.ends_with("::1/128, app.example.com, example.org, 192.0.2.7/32"),
        "{constraints}"
    );
    assert!(store.layout().server(&hosts[0]).join("key.pem").exists());
}

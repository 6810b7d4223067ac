use super::*;
use std::os::unix::fs::{PermissionsExt as _, symlink};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn a_file_has_its_mode_and_its_bytes_and_leaves_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    for (name, secrecy, bits) in
        [("key", Secrecy::Private, 0o600), ("chain", Secrecy::Public, 0o644)]
    {
        let path = dir.path().join(name);
        create(&path, b"bytes", secrecy).unwrap();
        assert_eq!(mode(&path), bits);
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
    }
    assert_eq!(entries(dir.path()), 2);
}

#[test]
fn an_existing_file_is_never_written_over_or_into() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    fs::write(&path, b"mine").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let problem = create(&path, b"secret", Secrecy::Private).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsExists);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(entries(dir.path()), 1);
}

#[test]
fn a_file_that_is_replaced_on_purpose_gets_the_right_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    fs::write(&path, b"old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut reader = File::open(&path).unwrap();
    prepare(&path, b"secret", Secrecy::Private).unwrap().take_place().unwrap();
    assert_eq!(mode(&path), 0o600);
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "old", "who had the exposed file open sees nothing of the new one");
}

type Attempt = fn(&Path) -> Result<(), Problem>;

#[test]
fn a_planted_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    let link = dir.path().join("key");
    symlink(&target, &link).unwrap();
    let attempts: [Attempt; 4] = [
        |path| create(path, b"secret", Secrecy::Private),
        |path| prepare(path, b"secret", Secrecy::Private).and_then(Aside::take_place),
        |path| append(path, "secret\n"),
        |path| directory(path),
    ];
    for dangling in [true, false] {
        for attempt in attempts {
            assert_eq!(attempt(&link).unwrap_err().fault(), Fault::CertsSymlink);
        }
        if dangling {
            assert!(!target.exists());
            fs::write(&target, b"theirs").unwrap();
        }
    }
    assert_eq!(fs::read(&target).unwrap(), b"theirs");
}

#[test]
fn a_linked_lock_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    symlink(dir.path().join("target"), dir.path().join(".lock")).unwrap();
    assert_eq!(Lock::take(dir.path()).unwrap_err().fault(), Fault::CertsSymlink);
    assert!(!dir.path().join("target").exists());
}

#[test]
fn a_directory_is_for_its_owner_alone_also_when_it_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca");
    directory(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    directory(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert_eq!(directory(&file).unwrap_err().fault(), Fault::CertsExists);
}

#[test]
fn the_directory_of_a_store_is_written_by_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    assert_eq!(mode(&store_directory(&path).unwrap()), 0o700);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o775)).unwrap();
    assert_eq!(mode(&store_directory(&path).unwrap()), 0o755);
}

#[test]
fn a_line_that_was_cut_off_is_removed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    append(&path, "one\n").unwrap();
    assert_eq!(mode(&path), 0o600);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"tw").unwrap();
    append(&path, "two\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
}

#[test]
fn what_is_published_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    directory(&from).unwrap();
    directory(&to).unwrap();
    assert_eq!(publish(&from, &to).unwrap_err().fault(), Fault::CertsExists);
    assert!(from.exists());
    fs::remove_dir(&to).unwrap();
    publish(&from, &to).unwrap();
    assert!(to.exists() && !from.exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let problem = create(Path::new("/proc/doorward/key"), b"", Secrecy::Private).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsUnwritable);
    assert!(problem.message().contains("/proc/doorward/key"), "{problem}");
}

#[test]
fn one_holds_the_lock_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let held = Lock::take(dir.path()).unwrap();
    let file = File::open(dir.path().join(".lock")).unwrap();
    assert!(matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    drop(held);
    assert!(file.try_lock().is_ok());
}

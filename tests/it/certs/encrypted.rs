//! An authority whose key is encrypted: every verb that signs asks for the passphrase, and takes no other.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::{Desk, Ended};
use crate::support::{has, skipped};

const WORDS: &str = "correct horse battery";
const VARIABLE: &str = "DOORWARD_CA_PASSPHRASE";

/// A desk with a store that the words in the file `words` open.
fn locked() -> Desk {
    let desk = Desk::new();
    write(&desk, "words", &format!("{WORDS}\n"), 0o600);
    let init = ["init", "--ca-key", "encrypted", "--passphrase-file", "words"];
    let said = desk.certs(&init).fine();
    assert!(said.contains("its key    certs/ca/private/ca.key, encrypted, "), "{said}");
    assert!(!said.contains("WRONG"), "{said}");
    desk
}

fn write(desk: &Desk, name: &str, text: &str, mode: u32) {
    fs::write(desk.path(name), text).unwrap();
    fs::set_permissions(desk.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

fn with_variable(desk: &Desk, words: &str, arguments: &[&str]) -> Ended {
    Ended::of(desk.command(arguments).env(VARIABLE, words))
}

/// Every verb that signs, once.
const SIGNING: [&[&str]; 6] = [
    &["server", "app.test"],
    &["client", "bob"],
    &["renew", "alice"],
    &["sign", "carol.csr", "--as", "client"],
    &["revoke", "bob"],
    &["crl"],
];

pub(super) fn write_request(desk: &Desk) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wish = rcgen::CertificateParams::default();
    wish.distinguished_name.push(rcgen::DnType::CommonName, "carol");
    let request = wish.serialize_request(&key).unwrap();
    fs::write(desk.path("carol.csr"), request.pem().unwrap()).unwrap();
}

#[test]
fn every_verb_that_signs_works_with_the_passphrase_from_a_file_or_the_environment() {
    for from_file in [true, false] {
        let desk = locked();
        write_request(&desk);
        for verb in SIGNING {
            if from_file {
                desk.certs(&[verb, &["--passphrase-file", "words"]].concat()).fine();
            } else {
                with_variable(&desk, WORDS, verb).fine();
            }
        }
        assert_eq!(desk.certs(&["list", "--json"]).json().as_array().unwrap().len(), 7);
    }
}

#[test]
fn without_the_right_passphrase_nothing_is_signed_and_nothing_changes() {
    let desk = locked();
    write_request(&desk);
    desk.certs(&["client", "bob", "--passphrase-file", "words"]).fine();
    write(&desk, "wrong", "correct horse batterz\n", 0o600);
    write(&desk, "open", WORDS, 0o644);
    write(&desk, "empty", "\n", 0o600);
    let before = desk.files();
    for verb in SIGNING {
        let with = |file| desk.certs(&[verb, &["--passphrase-file", file]].concat());
        let complained = with("wrong").failed("certs.wrong-passphrase");
        assert_eq!(complained.lines().count(), 2, "a sentence and a remedy: {complained}");
        with("open").failed("certs.passphrase-exposed");
        with("empty").failed("certs.bad-option");
        with("missing").failed("handshake.unreadable");
        let complained = desk.certs(verb).failed("certs.passphrase-missing");
        assert!(complained.contains("--passphrase-file"), "{complained}");
        with_variable(&desk, "correct horse", verb).failed("certs.wrong-passphrase");
        with_variable(&desk, "", verb).failed("certs.bad-option");
        assert_eq!(desk.files(), before, "{verb:?}");
    }
    for verb in [&["list"][..], &["doctor"], &["p12", "alice"]] {
        assert_eq!(desk.certs(verb).code, 0, "{verb:?} signs nothing");
    }
}

#[test]
fn the_passphrase_is_no_argument_and_no_file_holds_it() {
    let desk = locked();
    assert_eq!(desk.certs(&["client", "bob", "--passphrase", WORDS]).code, 2);
    for (path, bytes) in desk.files() {
        let holds = bytes.windows(WORDS.len()).any(|window| window == WORDS.as_bytes());
        assert_eq!(holds, path == desk.path("words"), "{path:?}");
    }
    if has("openssl") {
        let key = ["pkey", "-in", "certs/ca/private/ca.key", "-noout", "-passin"];
        desk.openssl(&[&key[..], &["file:words"]].concat()).fine();
        assert_ne!(desk.openssl(&[&key[..], &["pass:other"]].concat()).code, 0);
    }
}

#[test]
fn an_authority_whose_key_openssl_encrypted_signs_too() {
    if !has("openssl") {
        return;
    }
    let desk = Desk::with_store();
    let key = desk.path("certs/ca/private/ca.key");
    for way in [&[][..], &["-scrypt"]] {
        let out = desk.path("new.key");
        let fixed =
            ["pkcs8", "-topk8", "-in", key.to_str().unwrap(), "-out", out.to_str().unwrap()];
        let made = desk.openssl(
            &[&fixed[..], &["-passin", "pass:long enough", "-passout", "pass:long enough"], way]
                .concat(),
        );
        assert_eq!(made.code, 0, "{made:?}");
        fs::rename(&out, &key).unwrap();
        with_variable(&desk, "long enough", &["crl"]).fine();
    }
}

#[test]
fn a_new_key_is_not_encrypted_with_what_is_no_passphrase() {
    let desk = Desk::new();
    write(&desk, "short", "seven77\n", 0o600);
    write(&desk, "open", WORDS, 0o640);
    let init = ["init", "--ca-key", "encrypted"];
    let with = |file| desk.certs(&[&init[..], &["--passphrase-file", file]].concat());
    with("short").failed("certs.bad-option");
    with("open").failed("certs.passphrase-exposed");
    desk.certs(&init).failed("certs.passphrase-missing");
    let plain = ["init", "--passphrase-file", "open"];
    desk.certs(&plain).failed("certs.bad-option");
    assert!(!desk.path("certs/ca").exists());
}

/// Answers what a verb asks at a terminal of its own, and gives back what was on the screen.
fn typed(desk: &Desk, arguments: &str, answers: &[&str]) -> (bool, String) {
    let command = format!("tty > tty; {} certs {arguments}", env!("CARGO_BIN_EXE_doorward"));
    let mut script = Command::new("script")
        .args(["-q", "-e", "-c", &command, "/dev/null"])
        .current_dir(desk.home.path())
        .env_remove(VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keyboard, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let mut seen = String::new();
    let mut answers = answers.iter();
    let mut bytes = [0; 1024];
    loop {
        let length = screen.read(&mut bytes).unwrap();
        if length == 0 {
            break;
        }
        let new = String::from_utf8_lossy(&bytes[..length]).into_owned();
        seen.push_str(&new);
        if ["authority: ", "once more: "].iter().any(|question| seen.ends_with(question)) {
            wait_until_it_is_not_shown(desk);
            keyboard.write_all(format!("{}\r", answers.next().unwrap()).as_bytes()).unwrap();
        }
    }
    (script.wait().unwrap().success(), seen)
}

/// Waits until the terminal shows nothing of what is typed, which is after the question.
fn wait_until_it_is_not_shown(desk: &Desk) {
    let terminal = fs::read_to_string(desk.path("tty")).unwrap();
    for _ in 0..10_000 {
        let state = Command::new("stty").args(["-F", terminal.trim(), "-a"]).output().unwrap();
        if String::from_utf8_lossy(&state.stdout).contains(" -echo ") {
            return;
        }
    }
    panic!("the terminal shows what is typed");
}

#[test]
fn a_person_is_asked_twice_for_a_new_one_and_once_later_and_sees_nothing_of_it() {
    if !cfg!(target_os = "linux") {
        return skipped("script takes a command on Linux only");
    }
    if !has("script") {
        return;
    }
    let desk = Desk::new();
    let init = "init --ca-key encrypted";
    let (made, screen) = typed(&desk, init, &[WORDS, "something else"]);
    assert!(!made && screen.contains("certs.bad-option"), "{screen}");
    assert!(!desk.path("certs/ca").exists());
    let (made, screen) = typed(&desk, init, &[WORDS, WORDS]);
    assert!(made && !screen.contains("horse"), "{screen}");
    let (made, screen) = typed(&desk, "client bob", &["something else"]);
    assert!(!made && screen.contains("certs.wrong-passphrase"), "{screen}");
    assert!(!desk.path("certs/client/bob").exists());
    let (made, screen) = typed(&desk, "client bob", &[WORDS]);
    assert!(made && !screen.contains("horse"), "{screen}");
}

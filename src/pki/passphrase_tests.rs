use super::*;
use crate::pki::testing::Tools;
use crate::pki::{AuthorityKey, HostName, Key, KeyType, Options, Plan, Reason, Store, Target};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

fn words() -> Passphrase {
    "correct horse battery".parse().unwrap()
}

fn encrypted(dir: &Path) -> Store {
    let plan = Plan::new(HostName::loopback().to_vec(), vec!["alice".parse().unwrap()]);
    let plan = Plan { authority_key: AuthorityKey::Encrypted(words()), ..plan };
    Store::create(dir, &plan).unwrap()
}

fn write(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn openssl(dir: &Path, arguments: &[&str]) -> Option<String> {
    let run = Command::new("openssl").args(arguments).current_dir(dir).output().unwrap();
    run.status.success().then(|| String::from_utf8(run.stdout).unwrap())
}

#[test]
fn a_store_with_an_encrypted_key_signs_once_it_is_unlocked() {
    let dir = tempfile::tempdir().unwrap();
    encrypted(dir.path());
    let locked = Store::open(dir.path()).unwrap();
    assert!(locked.needs_passphrase().unwrap());
    let bob = "bob".parse().unwrap();
    let refused = locked.issue_client(&bob, Options::default()).unwrap_err();
    assert_eq!(refused.fault(), Fault::CertsPassphraseMissing);
    for wrong in ["correct horse batterz", "x"] {
        let refused = locked.clone().unlock(&wrong.parse().unwrap()).unwrap_err();
        assert_eq!(refused.fault(), Fault::CertsWrongPassphrase);
    }
    let store = locked.unlock(&words()).unwrap();
    assert!(!store.needs_passphrase().unwrap());
    store.issue_client(&bob, Options::default()).unwrap();
    store.renew(&store.find_filed("alice").unwrap(), None).unwrap();
    store.revoke(&Target::Client("bob".parse().unwrap()), Reason::Superseded).unwrap();
    store.publish_revocations().unwrap();
    assert!(!format!("{store:?}").contains("horse"));
}

#[test]
fn the_key_is_nowhere_in_the_clear_and_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = encrypted(dir.path());
    let path = store.layout().authority_key();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Store::open(dir.path()).unwrap().unlock(&words()).unwrap_err();
    assert_eq!(refused.fault(), Fault::HandshakeKeyExposed);
}

#[test]
fn openssl_reads_what_we_encrypt_and_we_read_what_openssl_does() {
    if Tools::find("openssl").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for kind in [KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa3072] {
        let key = Key::generate(kind).unwrap();
        let pem = key.to_encrypted_pem(&words()).unwrap();
        write(dir.path(), "ours.pem", &pem, 0o600);
        let pass = ["-passin", "pass:correct horse battery"];
        let clear = openssl(dir.path(), &[&["pkey", "-in", "ours.pem"], &pass[..]].concat());
        assert_eq!(clear.unwrap(), *key.to_pem(), "{kind}");
        let wrong = ["pkey", "-in", "ours.pem", "-passin", "pass:wrong"];
        assert_eq!(openssl(dir.path(), &wrong), None);
        write(dir.path(), "clear.pem", &key.to_pem(), 0o600);
        for way in [
            &[][..],
            &["-scrypt"],
            &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"],
            &["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512", "-iter", "100000"],
        ] {
            let fixed = ["pkcs8", "-topk8", "-in", "clear.pem", "-out", "theirs.pem"];
            let pass = ["-passout", "pass:correct horse battery"];
            openssl(dir.path(), &[&fixed[..], &pass, way].concat()).unwrap();
            let path = dir.path().join("theirs.pem");
            assert!(keyfile::is_encrypted(&path).unwrap());
            let read = keyfile::read_encrypted_key(&path, &words()).unwrap();
            assert_eq!(Key::from_der(&read).unwrap().public_bits(), key.public_bits(), "{way:?}");
            let wrong = keyfile::read_encrypted_key(&path, &"other".parse().unwrap());
            assert_eq!(wrong.unwrap_err().fault(), Fault::CertsWrongPassphrase);
        }
        let old = ["-v1", "PBE-SHA1-3DES", "-passout", "pass:correct horse battery"];
        let fixed = ["pkcs8", "-topk8", "-in", "clear.pem", "-out", "theirs.pem"];
        if openssl(dir.path(), &[&fixed[..], &old].concat()).is_some() {
            let read = keyfile::read_encrypted_key(&dir.path().join("theirs.pem"), &words());
            assert_eq!(read.unwrap_err().fault(), Fault::HandshakeUnreadable);
        }
    }
}

#[test]
fn a_wrong_passphrase_is_never_taken_for_a_damaged_file() {
    // One in some 256 ends in bytes that look like the right padding.
    let dir = tempfile::tempdir().unwrap();
    let key = Key::generate(KeyType::P256).unwrap();
    let sealed = crate::pki::pbes2::Sealed::by_pbkdf2(
        Zeroizing::new(key.to_der()).secret_der().to_vec(),
        b"right",
        std::num::NonZeroU32::MIN,
    );
    let pem = crate::pki::pem::encode(keyfile::ENCRYPTED, &sealed.unwrap().to_der());
    let path = write(dir.path(), "key.pem", &pem, 0o600);
    for number in 0..1500 {
        let wrong = format!("wrong {number}").parse().unwrap();
        let refused = keyfile::read_encrypted_key(&path, &wrong).unwrap_err();
        assert_eq!(refused.fault(), Fault::CertsWrongPassphrase);
    }
    assert!(keyfile::read_encrypted_key(&path, &"right".parse().unwrap()).is_ok());
}

#[test]
fn damage_is_said_to_be_damage() {
    let dir = tempfile::tempdir().unwrap();
    let pem = Key::generate(KeyType::P256).unwrap().to_encrypted_pem(&words()).unwrap();
    let two = format!("{}{}", *pem, *pem);
    let half = pem.get(..200).unwrap();
    let empty =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for text in [two.as_str(), half, empty, "-----BEGIN NOTHING-----\n", "nothing"] {
        let path = write(dir.path(), "key.pem", text, 0o600);
        let refused = keyfile::read_encrypted_key(&path, &words()).unwrap_err();
        assert_eq!(refused.fault(), Fault::HandshakeUnreadable, "{text}");
    }
}

#[test]
fn a_file_of_a_passphrase_is_its_first_line_and_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["correct horse battery", "correct horse battery\r\nmore\n"] {
        let path = write(dir.path(), "words", text, 0o600);
        assert_eq!(Passphrase::read(&path).unwrap(), words());
    }
    for mode in [0o640, 0o604, 0o666] {
        let path = write(dir.path(), "words", "correct horse battery", mode);
        let refused = Passphrase::read(&path).unwrap_err();
        assert_eq!(refused.fault(), Fault::CertsPassphraseExposed);
        assert_eq!(refused.remedy(), format!("chmod 600 {}", path.display()));
    }
    for (text, fault) in [
        ("", Fault::HandshakeUnreadable),
        ("\n", Fault::CertsBadOption),
        ("a\tb", Fault::CertsBadOption),
    ] {
        let path = write(dir.path(), "words", text, 0o600);
        assert_eq!(Passphrase::read(&path).unwrap_err().fault(), fault, "{text:?}");
    }
    let missing = Passphrase::read(&dir.path().join("none")).unwrap_err();
    assert_eq!(missing.fault(), Fault::HandshakeUnreadable);
}

#[test]
fn a_short_passphrase_opens_but_encrypts_nothing_new() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan::new(HostName::loopback().to_vec(), Vec::new());
    let short = AuthorityKey::Encrypted("seven77".parse().unwrap());
    let refused = Store::create(dir.path(), &Plan { authority_key: short, ..plan }).unwrap_err();
    assert_eq!(refused.fault(), Fault::CertsBadOption);
    assert!(!dir.path().join("ca").exists() && !dir.path().join(".making").exists());
    assert!("x".repeat(1025).parse::<Passphrase>().is_err());
    assert_eq!(format!("{:?}", words()), "Passphrase(…)");
}

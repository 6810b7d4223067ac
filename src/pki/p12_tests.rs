use super::*;
use crate::pki::testing::Tools;
use crate::pki::{ClientIdentity, HostName, KeyType, Plan};
use std::fs;
use std::process::Command;

fn store(dir: &Path, key: KeyType) -> Store {
    let alice: ClientIdentity = "alice".parse().unwrap();
    let mut plan = Plan::new(HostName::loopback().to_vec(), vec![alice]);
    plan.leaf.key = key;
    Store::create(dir, &plan).unwrap()
}

/// What `openssl pkcs12` makes of a bundle without any option for old files.
fn opened(bundle: &Path, password: &str, options: &[&str]) -> Option<String> {
    let run = Command::new("openssl")
        .args(["pkcs12", "-noenc", "-passin", &format!("pass:{password}"), "-in"])
        .arg(bundle)
        .args(options)
        .output()
        .unwrap();
    run.status
        .success()
        .then(|| [run.stdout, run.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat())
}

#[test]
fn openssl_reads_key_certificate_and_authority_with_the_password_only() {
    if Tools::find("openssl").is_none() {
        return;
    }
    // The openssl of today's distributions cannot read ML-DSA keys, bundled or not.
    for key in [KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa3072] {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), key);
        let filed = store.find_filed("alice").unwrap();
        // One character before, at and after the ends of the blocks that the MAC is keyed by.
        let lengths: &[usize] = if key == KeyType::P256 { &[1, 30, 31, 32, 128] } else { &[12] };
        for length in lengths {
            let password = &"a \"~9".repeat(26)[..*length];
            let to = dir.path().join("bundle");
            let to = store.export(&filed, &password.parse().unwrap(), Some(&to)).unwrap();
            let read = opened(&to, password, &["-info"]).unwrap();
            assert_eq!(read.matches("BEGIN CERTIFICATE").count(), 2, "{read}");
            assert!(read.contains("friendlyName: alice"), "{read}");
            assert!(read.contains("MAC: sha256, Iteration 100000"), "{read}");
            assert_eq!(
                read.matches("PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256")
                    .count(),
                2
            );
            let read = opened(&to, password, &["-nocerts"]).unwrap();
            let pem = read.split_inclusive("-----BEGIN PRIVATE KEY-----").nth(1).unwrap();
            let own = filed.key().unwrap().to_pem();
            assert_eq!(
                pem.split_once("-----END").unwrap().0.trim(),
                own.lines().filter(|line| !line.starts_with("---")).collect::<Vec<_>>().join("\n")
            );
            assert_eq!(opened(&to, "wrong", &[]), None);
            fs::remove_file(to).unwrap();
        }
    }
}

#[test]
fn java_reads_what_is_written() {
    if Command::new("keytool").arg("-help").output().is_err() {
        println!("skipped: keytool is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), KeyType::P256);
    let filed = store.find_filed("alice").unwrap();
    let bundle = store.export(&filed, &"some words".parse().unwrap(), None).unwrap();
    let run = Command::new("keytool")
        .args(["-list", "-storetype", "PKCS12", "-storepass", "some words", "-keystore"])
        .arg(&bundle)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("alice, ") && said.contains("PrivateKeyEntry"),
        "{said}"
    );
}

#[test]
fn a_bundle_is_for_its_owner_alone_and_written_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), KeyType::P256);
    let filed = store.find_filed("alice").unwrap();
    let password = Password::random().unwrap();
    let bundle = store.export(&filed, &password, None).unwrap();
    assert_eq!(bundle, filed.place.join("id.p12"));
    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600);
    let again = store.export(&filed, &password, None).unwrap_err();
    assert_eq!(again.fault(), Fault::CertsExists);
    store.renew(&filed, None).unwrap();
    assert!(!bundle.exists() && filed.place.join("id.p12.old").exists());
    let anew = store.find_filed("alice").unwrap();
    assert!(store.export(&anew, &password, None).is_ok());
}

#[test]
fn a_password_is_printable_ascii_and_is_never_shown() {
    for text in ["", "grün", "tab\t", "line\n", &"x".repeat(129)] {
        let problem = text.parse::<Password>().unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsBadOption, "{text:?}");
    }
    assert_eq!(format!("{:?}", "secret".parse::<Password>().unwrap()), "Password(…)");
    let (one, other) = (Password::random().unwrap(), Password::random().unwrap());
    assert_eq!(one.as_str().len(), 24);
    assert_ne!(one.as_str(), other.as_str());
}

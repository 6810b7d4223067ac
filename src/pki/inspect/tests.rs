use super::*;
use crate::pki::{
    Authority, Credential, Draft, HostName, KeyType, Options, RawName, Reason, Revocation,
    RevocationList,
};
use time::Duration;

fn shown(document: &Document) -> String {
    let reports = inspect(document, OffsetDateTime::now_utc());
    reports.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn certificate(credential: &Credential) -> CertificateReport {
    let mut reports = inspect(&Document::of_chain(credential.chain()), OffsetDateTime::now_utc());
    let Some(Report::Certificate(report)) = reports.pop() else { panic!("no certificate") };
    *report
}

#[test]
fn a_server_reads_like_an_explanation() {
    let authority = Authority::ephemeral().unwrap();
    let server = authority.server(&HostName::loopback(), Options::default()).unwrap();
    let report = certificate(&server);
    assert_eq!(report.role, "server");
    assert_eq!(report.names, ["dns:localhost", "ip:127.0.0.1", "ip:::1"]);
    assert_eq!(report.valid.days_left, 89);
    assert_eq!(report.key, "P-256 (128 bits of strength)");
    assert_eq!(report.signature, "ECDSA with SHA-256");
    assert_eq!(report.serial, server.serial().to_string());
    assert_eq!(report.sha256, server.sha256());
    assert_eq!(report.may_not, ["stand for a client", "vouch for anybody: it is no authority"]);
    assert_eq!(report.odd, []);
    let text = report.to_string();
    for line in ["vouched by   O=Doorward", ", 89 days left", "pin          sha256//"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn the_pin_is_the_one_a_handshake_notes() {
    let authority = Authority::ephemeral().unwrap();
    let client = authority.client(&"alice".parse().unwrap(), Options::default()).unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(client.certificate()).unwrap();
    let digest = digest(&SHA256, parsed.public_key().raw);
    assert_eq!(certificate(&client).pin, format!("sha256//{}", STANDARD.encode(digest)));
}

#[test]
fn an_authority_says_what_it_may_not_do() {
    let authority = Authority::ephemeral().unwrap();
    let text = shown(&Document::of_chain(&[authority.certificate().clone()]));
    assert!(text.starts_with("A root authority: O=Doorward, CN=Doorward authority"), "{text}");
    for line in [
        "vouched by   itself",
        "vouch for another authority",
        "vouch for names outside dns:localhost, dns:test, dns:internal, ip:127.0.0.0/8, ip:::1/128",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn every_kind_of_key_is_named() {
    let authority = Authority::ephemeral().unwrap();
    let words = KeyType::ALL.map(|key| {
        let options = Options { key, ..Options::default() };
        certificate(&authority.client(&"alice".parse().unwrap(), options).unwrap()).key
    });
    assert_eq!(
        words,
        [
            "P-256 (128 bits of strength)",
            "P-384 (192 bits of strength)",
            "Ed25519 (128 bits of strength)",
            "RSA with 3072 bits",
            "ML-DSA-65 (post-quantum, NIST category 3)",
        ]
    );
}

#[test]
fn what_a_stranger_wrote_stays_on_its_line() {
    let authority = Authority::ephemeral().unwrap();
    let draft = Draft::client(&"alice".parse().unwrap())
        .unwrap()
        .common_name(b"al\nice\x1b[31m")
        .names(&[RawName::Dns(b"a\nb\x1b[0m".to_vec()), RawName::Uri(b"x:\x07".to_vec())]);
    let credential = authority.sign(&draft).unwrap();
    let document = Document::of_chain(credential.chain());
    let reports = inspect(&document, OffsetDateTime::now_utc());
    let json = serde_json::to_string(&reports).unwrap();
    let text = shown(&document);
    for control in ['\u{1b}', '\u{7}'] {
        assert!(!text.contains(control) && !json.contains(control), "{text}");
    }
    assert!(text.contains("dns:a\\u{a}b\\u{1b}[0m"), "{text}");
    assert!(text.lines().all(|line| !line.starts_with("ice") && !line.starts_with('b')), "{text}");
}

#[test]
fn what_is_odd_is_said() {
    let authority = Authority::ephemeral().unwrap();
    let now = OffsetDateTime::now_utc();
    let draft = Draft::server(&HostName::loopback())
        .unwrap()
        .valid(now - Duration::days(9), now - Duration::hours(73));
    let report = certificate(&authority.sign(&draft).unwrap());
    let codes: Vec<_> = report.odd.iter().map(|odd| odd.code).collect();
    assert_eq!(codes, ["lint.expired"]);
    assert!(report.to_string().contains(", ended 3 days ago"), "{report}");
}

#[test]
fn a_revocation_list_names_who_is_on_it() {
    let authority = Authority::ephemeral().unwrap();
    let client = authority.client(&"alice".parse().unwrap(), Options::default()).unwrap();
    let now = OffsetDateTime::now_utc();
    let entry = Revocation::new(client.serial().clone(), Reason::KeyCompromise, now);
    let list = RevocationList::new(7).revoking(entry).sign(&authority).unwrap();
    let text = shown(&Item::RevocationList(list).into());
    assert!(text.starts_with("A revocation list of O=Doorward"), "{text}");
    assert!(text.contains(": 1 certificate\n   number       7\n"), "{text}");
    assert!(text.contains(&format!("{} since", client.serial())), "{text}");
}

#[test]
fn a_private_key_is_named_and_not_shown() {
    let authority = Authority::ephemeral().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.pem");
    let key = authority.key().to_pem();
    std::fs::write(&path, [key.as_str(), &authority.chain_pem()].concat()).unwrap();
    let document = Document::read(&path).unwrap();
    let text = format!("{}{document:?}", shown(&document));
    assert!(text.contains("A private key (PKCS#8), which is not shown"), "{text}");
    let secret = key.lines().nth(1).unwrap();
    assert!(!text.contains(secret));
    std::fs::write(&path, authority.key().to_der().secret_der()).unwrap();
    assert!(shown(&Document::read(&path).unwrap()).starts_with("A private key (DER)"));
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let authority = Authority::ephemeral().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let pem = authority.chain_pem();
    std::fs::write(&path, authority.certificate()).unwrap();
    assert_eq!(Document::read(&path).unwrap().items().len(), 1, "DER");
    std::fs::write(&path, pem.repeat(3)).unwrap();
    assert_eq!(Document::read(&path).unwrap().certificates().len(), 3);
    let bad = [
        pem.as_bytes()[..pem.len() - 20].to_vec(),
        b"hello".to_vec(),
        pem.replacen("MII", "MIA", 1).into_bytes(),
        pem.replace("CERTIFICATE", "SOMETHING").into_bytes(),
    ];
    for content in bad {
        std::fs::write(&path, content).unwrap();
        let fault = Document::read(&path).unwrap_err().fault();
        assert_eq!(fault, crate::problem::Fault::HandshakeUnreadable);
    }
}

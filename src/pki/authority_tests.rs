use super::*;
use crate::pki::testing::{Tools, handshake};
use crate::pki::{RawName, Usage};
use time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

fn local(ca: &Authority) -> Credential {
    ca.server(&HostName::loopback(), Options::default()).unwrap()
}

fn alice(ca: &Authority) -> Credential {
    ca.client(&"alice".parse().unwrap(), Options::default()).unwrap()
}

#[test]
fn a_server_and_a_client_of_one_authority_shake_hands() {
    for key in KeyType::ALL {
        let ca =
            Authority::create(&AuthorityOptions { key, ..AuthorityOptions::default() }).unwrap();
        let options = Options { key, ..Options::default() };
        let server = ca.server(&HostName::loopback(), options).unwrap();
        let client = ca.client(&"alice".parse().unwrap(), options).unwrap();
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(handshake(ca.anchor(), &server, &client, name), Ok(()), "{key} {name}");
        }
    }
}

#[test]
fn a_server_certificate_does_not_serve_as_a_client() {
    let ca = Authority::ephemeral().unwrap();
    let refused = handshake(ca.anchor(), &local(&ca), &local(&ca), "localhost").unwrap_err();
    assert!(
        refused.contains("ExtendedKeyUsage") || refused.contains("InvalidPurpose"),
        "{refused}"
    );
}

#[test]
fn a_client_certificate_does_not_serve_as_a_server() {
    let ca = Authority::ephemeral().unwrap();
    let refused =
        handshake(ca.anchor(), &alice(&ca), &alice(&ca), "alice.client.internal").unwrap_err();
    assert!(
        refused.contains("ExtendedKeyUsage") || refused.contains("InvalidPurpose"),
        "{refused}"
    );
}

#[test]
fn a_chain_over_an_intermediate_shakes_hands_and_leaves_the_root_out() {
    let options = AuthorityOptions { depth: Depth::OneIntermediate, ..AuthorityOptions::default() };
    let root = Authority::create(&options).unwrap();
    let ca = root.intermediate(KeyType::P256, 365).unwrap();
    let (server, client) = (local(&ca), alice(&ca));
    assert_eq!(server.chain().len(), 2);
    assert_eq!(ca.anchor(), root.certificate());
    assert_eq!(handshake(root.anchor(), &server, &client, "localhost"), Ok(()));
    let outside = ca.server(&["example.com".parse().unwrap()], Options::default()).unwrap_err();
    assert_eq!(outside.fault(), Fault::CertsOutsideConstraints);
}

#[test]
fn an_authority_for_leaves_only_makes_no_intermediate() {
    let problem = Authority::ephemeral().unwrap().intermediate(KeyType::P256, 90).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsOutsideConstraints);
}

#[test]
fn a_name_outside_the_constraints_is_not_issued_and_is_named() {
    let ca = Authority::ephemeral().unwrap();
    for name in ["example.com", "10.0.0.1", "2001:db8::1", "mylocalhost", "*.example.com"] {
        let names = ["app.test".parse().unwrap(), name.parse().unwrap()];
        let problem = ca.server(&names, Options::default()).unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsOutsideConstraints);
        assert!(
            problem.message().starts_with(&format!("the authority may not vouch for {name}, only"))
        );
    }
    assert!(ca.server(&["*.app.test".parse().unwrap()], Options::default()).is_ok());
}

#[test]
fn an_authority_with_a_foreign_key_is_not_loaded() {
    let ca = Authority::ephemeral().unwrap();
    let other = Key::generate(KeyType::P256).unwrap();
    let problem = Authority::load(vec![ca.certificate().clone()], other).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsKeyMismatch);
}

#[test]
fn a_leaf_is_no_authority_and_neither_is_nothing() {
    let ca = Authority::ephemeral().unwrap();
    let (chain, key) = alice(&ca).into_parts();
    assert_eq!(Authority::load(chain, key).unwrap_err().fault(), Fault::CertsNotAuthority);
    let key = Key::generate(KeyType::P256).unwrap();
    assert_eq!(Authority::load(Vec::new(), key).unwrap_err().fault(), Fault::CertsNotAuthority);
}

#[test]
fn an_authority_whose_key_may_not_sign_certificates_is_not_loaded() {
    let draft = Draft::client(&"alice".parse().unwrap()).unwrap().claiming_to_be_an_authority();
    let (chain, key) = draft.self_signed().unwrap().into_parts();
    assert_eq!(Authority::load(chain, key).unwrap_err().fault(), Fault::CertsNotAuthority);
}

#[test]
fn an_expired_or_future_authority_is_not_loaded() {
    let now = OffsetDateTime::now_utc();
    let day = Duration::DAY;
    for (from, until) in [(now - day * 2, now - day), (now + day, now + day * 2)] {
        let draft = Draft::client(&"alice".parse().unwrap()).unwrap().claiming_to_be_an_authority();
        let draft = draft.key_usage_of_an_authority().valid(from, until);
        let (chain, key) = draft.self_signed().unwrap().into_parts();
        assert_eq!(Authority::load(chain, key).unwrap_err().fault(), Fault::CertsAuthorityExpired);
    }
}

#[test]
fn two_authorities_never_share_a_name() {
    let subject = |ca: &Authority| {
        X509Certificate::from_der(ca.certificate()).unwrap().1.subject().to_string()
    };
    assert_ne!(
        subject(&Authority::ephemeral().unwrap()),
        subject(&Authority::ephemeral().unwrap())
    );
}

#[test]
fn a_draft_without_a_change_is_what_the_authority_would_issue() {
    let ca = Authority::ephemeral().unwrap();
    let client = ca.sign(&Draft::client(&"alice".parse().unwrap()).unwrap()).unwrap();
    let server = ca.sign(&Draft::server(&HostName::loopback()).unwrap()).unwrap();
    assert_eq!(handshake(ca.anchor(), &server, &client, "localhost"), Ok(()));
}

#[test]
fn a_draft_with_one_defect_is_refused_for_that_defect() {
    let ca = Authority::ephemeral().unwrap();
    let server = local(&ca);
    let now = OffsetDateTime::now_utc();
    let day = Duration::DAY;
    let draft = || Draft::client(&"alice".parse().unwrap()).unwrap();
    for (draft, refusal) in [
        (draft().valid(now - day * 2, now - day), "Expired"),
        (draft().valid(now + day, now + day * 2), "NotValidYet"),
        (draft().extended_usages(&[Usage::Server]), "InvalidPurpose"),
        (draft().extended_usages(&[Usage::CodeSigning]), "InvalidPurpose"),
        (draft().claiming_to_be_an_authority(), "CaUsedAsEndEntity"),
        (draft().with_unknown_critical_extension(), "UnsupportedCriticalExtension"),
        (draft().names(&[RawName::Dns(b"alice.example.com".to_vec())]), "NameConstraint"),
    ] {
        let refused =
            handshake(ca.anchor(), &server, &ca.sign(&draft).unwrap(), "localhost").unwrap_err();
        assert!(refused.contains(refusal), "{refused} is not {refusal}");
    }
    let own = draft().self_signed().unwrap();
    assert!(
        handshake(ca.anchor(), &server, &own, "localhost").unwrap_err().contains("UnknownIssuer")
    );
}

#[test]
fn a_leaf_that_pretends_to_be_an_authority_signs_a_chain_that_is_refused() {
    let ca = Authority::ephemeral().unwrap();
    let pretender = Authority::pretender(alice(&ca)).unwrap();
    let mallory = pretender.sign(&Draft::client(&"mallory".parse().unwrap()).unwrap()).unwrap();
    let refused = handshake(ca.anchor(), &local(&ca), &mallory, "localhost").unwrap_err();
    assert!(
        refused.contains("UnknownIssuer") || refused.contains("EndEntityUsedAsCa"),
        "{refused}"
    );
}

#[test]
fn a_draft_holds_any_bytes_and_is_still_signed_right() {
    let ca = Authority::ephemeral().unwrap();
    let server = local(&ca);
    let long = vec![b'a'; 30_000];
    for bytes in [&b"a\nb\x1b[31m"[..], b"\xff\xfe", b"\0", b"", &long] {
        let draft = Draft::client(&"alice".parse().unwrap()).unwrap().common_name(bytes);
        let client = ca.sign(&draft).unwrap();
        let (_, parsed) = X509Certificate::from_der(client.certificate()).unwrap();
        let name = parsed.subject().iter_common_name().next().unwrap();
        assert_eq!(name.attr_value().data, bytes);
        if bytes.len() < 1000 {
            assert_eq!(handshake(ca.anchor(), &server, &client, "localhost"), Ok(()));
        }
    }
    let names = [
        RawName::Uri(b"a\x00b".to_vec()),
        RawName::Email(vec![0xFF; 300]),
        RawName::Ip(vec![1, 2, 3]),
    ];
    let draft = Draft::client(&"alice".parse().unwrap()).unwrap().names(&names);
    let der = ca.sign(&draft).unwrap();
    let ip = [0x87, 3, 1, 2, 3];
    assert!(der.certificate().windows(ip.len()).any(|window| window == ip));
}

#[test]
fn an_ephemeral_authority_leaves_nothing_secret_in_debug() {
    let ca = Authority::ephemeral().unwrap();
    let shown = format!("{ca:?} {:?}", alice(&ca));
    assert!(shown.starts_with("Authority { key: Key(p256, …)"), "{shown}");
    assert!(!shown.contains("PRIVATE"));
}

#[test]
fn openssl_takes_both_roles_strictly() {
    let Some(tools) = Tools::find("openssl") else { return };
    for key in [KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa3072] {
        let options =
            AuthorityOptions { key, depth: Depth::OneIntermediate, ..AuthorityOptions::default() };
        let root = Authority::create(&options).unwrap();
        let ca = root.intermediate(key, 365).unwrap();
        for issuer in [&root, &ca] {
            let leaf = Options { key, ..Options::default() };
            let server = issuer.server(&HostName::loopback(), leaf).unwrap();
            let client = issuer.client(&"alice".parse().unwrap(), leaf).unwrap();
            for (credential, right, wrong) in
                [(&server, "sslserver", "sslclient"), (&client, "sslclient", "sslserver")]
            {
                assert!(tools.verify(root.anchor(), credential, right), "{key} {right}");
                assert!(!tools.verify(root.anchor(), credential, wrong), "{key} {wrong}");
            }
            assert_eq!(
                tools.public_key_of_key(&client),
                tools.public_key_of_certificate(&client),
                "{key}"
            );
        }
    }
}

#[test]
fn openssl_does_not_take_a_name_outside_the_constraints() {
    let Some(tools) = Tools::find("openssl") else { return };
    let ca = Authority::ephemeral().unwrap();
    let draft = Draft::server(&HostName::loopback())
        .unwrap()
        .names(&[RawName::Dns(b"example.com".to_vec())]);
    assert!(!tools.verify(ca.anchor(), &ca.sign(&draft).unwrap(), "sslserver"));
}

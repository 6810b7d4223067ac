use std::collections::BTreeSet;
use std::process::Command;

use rcgen::SigningKey as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use time::Duration;

use super::handmade::{self, Handmade};
use super::*;
use crate::pki::draft::tag_length_value;
use crate::pki::key::{Key, KeyType};
use crate::pki::testing::Tools;
use crate::pki::{
    Authority, AuthorityOptions, Constraints, Depth, HostName, Options, Reason, Revocation,
    RevocationList, pem,
};

/// A root and a leaf without a flaw, of which one part is about to be exchanged.
struct Scene {
    root: Handmade,
    leaf: Handmade,
    keys: [Key; 2],
}

impl Scene {
    fn new() -> Self {
        let keys = [(); 2].map(|()| Key::generate(KeyType::P256).unwrap());
        Self { root: Handmade::root(&keys[0]), leaf: Handmade::server(&keys[1]), keys }
    }

    fn client() -> Self {
        let scene = Self::new();
        Self { leaf: Handmade::client(&scene.keys[1]), ..scene }
    }

    fn root(&self) -> CertificateDer<'static> {
        self.root.signed_by(&self.keys[0])
    }

    fn leaf(&self) -> CertificateDer<'static> {
        self.leaf.signed_by(&self.keys[0])
    }

    /// Everything that is wrong with either.
    fn lints(&self) -> BTreeSet<Lint> {
        let mut lints = BTreeSet::new();
        for certificate in [self.root(), self.leaf()] {
            lints.extend(found(&Document::of_chain(&[certificate])));
        }
        lints
    }

    /// What webpki says of the leaf.
    fn rustls(&self) -> bool {
        let (root, leaf) = (self.root(), self.leaf());
        let Ok(anchor) = webpki::anchor_from_trusted_cert(&root) else { return false };
        let Ok(leaf) = webpki::EndEntityCert::try_from(&leaf) else { return false };
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
        let server = leaf.verify_for_usage(
            algorithms,
            std::slice::from_ref(&anchor),
            &[],
            UnixTime::now(),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        );
        server.is_ok()
    }

    /// What `openssl verify` says of the leaf; strictly, as Python 3.13 does, or not.
    fn openssl(&self, arguments: &[&str]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let (root, leaf) = (dir.path().join("root.pem"), dir.path().join("leaf.pem"));
        std::fs::write(&root, pem::certificates([&self.root()])).unwrap();
        std::fs::write(&leaf, pem::certificates([&self.leaf()])).unwrap();
        let run = Command::new("openssl")
            .arg("verify")
            .args(arguments)
            .arg("-CAfile")
            .args([&root, &leaf])
            .output()
            .unwrap();
        run.status.success()
    }
}

fn found(document: &Document) -> BTreeSet<Lint> {
    lint(document, OffsetDateTime::now_utc()).iter().map(Finding::lint).collect()
}

/// The certificate that shows this lint; nothing where it is about something else.
#[expect(clippy::too_many_lines, reason = "it is a table: a line for each lint")]
#[expect(clippy::arithmetic_side_effects, reason = "dates of today do not overflow")]
fn scene(lint: Lint) -> Option<Scene> {
    use Lint as L;
    use handmade::*;
    let mut it = Scene::new();
    let (root, leaf) = (&mut it.root, &mut it.leaf);
    match lint {
        L::Version => {
            leaf.version = None;
            leaf.subject = name("app");
        }
        L::SerialNotPositive => leaf.serial = vec![0x80; 16],
        L::SerialTooLong => leaf.serial = vec![0x40; 21],
        L::SerialShort => leaf.serial = vec![1],
        L::DatesReversed => leaf.until = leaf.from - Duration::DAY,
        L::Expired => {
            leaf.from -= Duration::days(20);
            leaf.until = leaf.from + Duration::days(10);
        }
        L::NotYetValid => leaf.from += Duration::days(2),
        L::ValidityLong => leaf.until = leaf.from + Duration::days(300),
        L::ValidityTooLong => {
            leaf.until = leaf.from + Duration::days(900);
            root.until = leaf.until;
        }
        L::WeakSignature => leaf.algorithm = vec![42, 134, 72, 206, 61, 4, 1],
        L::WeakKey => leaf.key = rsa_1024(),
        L::UnsupportedKey => {
            let secp256k1 = tag_length_value(6, &[43, 129, 4, 0, 10]);
            leaf.key = key_info(EC, &secp256k1, &secp256k1_point());
        }
        L::UnknownCritical => leaf.set(&[42, 3, 4], true, &[5, 0]),
        L::DuplicateExtension => leaf.extensions.push(leaf.extensions[2].clone()),
        L::UnreadableExtension => leaf.set(SKI, false, &[0x30, 1]),
        L::MissingAki => leaf.remove(AKI),
        L::AuthorityMissingSki => root.remove(SKI),
        L::MissingSki => leaf.remove(SKI),
        L::KeyIdentifierCritical => leaf.critical(AKI, true),
        L::EmptyIssuer | L::AuthorityNameless => {
            root.subject = sequence(&[]);
            root.issuer = sequence(&[]);
            leaf.issuer = sequence(&[]);
            leaf.subject = name("app");
            leaf.critical(SAN, false);
        }
        L::MissingSan => {
            leaf.remove(SAN);
            leaf.subject = name("app");
        }
        L::ClientWithoutSan => {
            it = Scene::client();
            it.leaf.remove(SAN);
        }
        L::SanCritical => leaf.subject = name("app"),
        L::SanNotCritical => leaf.critical(SAN, false),
        L::BadName => {
            leaf.set(SAN, true, &sequence(&[&dns("app.test"), &tag_length_value(0x81, b"nobody")]));
        }
        L::CommonNameNotInSan => {
            leaf.subject = name("other.test");
            leaf.critical(SAN, false);
        }
        L::AuthorityNotCritical => root.critical(BASIC, false),
        L::NoBasicConstraints => leaf.remove(BASIC),
        L::SignWithoutAuthority => leaf.set(KEY_USAGE, true, &[3, 2, 2, 0x84]),
        L::AuthorityNoKeyUsage => root.remove(KEY_USAGE),
        L::AuthorityNoCertSign => root.set(KEY_USAGE, true, &[3, 2, 1, 0x02]),
        L::AuthorityNoCrlSign => root.set(KEY_USAGE, true, &[3, 2, 2, 0x04]),
        L::KeyUsageNotCritical => leaf.critical(KEY_USAGE, false),
        L::PathLengthOnLeaf => leaf.set(BASIC, true, &[0x30, 3, 2, 1, 0]),
        L::NoPathLength => root.set(BASIC, true, &[0x30, 3, 1, 1, 0xFF]),
        L::Unconstrained => root.remove(CONSTRAINTS),
        L::ConstraintsNotCritical => root.critical(CONSTRAINTS, false),
        L::ConstraintsOneKind => root.set(CONSTRAINTS, true, &permitted(&[dns("test")])),
        L::ConstraintsLeadingDot => {
            root.set(CONSTRAINTS, true, &permitted(&[dns(".test"), loopback_net()]));
        }
        L::ConstraintsEmpty => root.set(CONSTRAINTS, true, &[0x30, 0]),
        L::ConstraintsOnLeaf => leaf.set(CONSTRAINTS, true, &permitted(&[dns("test")])),
        L::UsageOnRoot => root.set(EXTENDED, false, &usages(&[1])),
        L::NoExtendedUsage => leaf.remove(EXTENDED),
        L::BothRoles => leaf.set(EXTENDED, false, &usages(&[1, 2])),
        L::AnyUsage => leaf.set(EXTENDED, false, &sequence(&[&[6, 4, 85, 29, 37, 0]])),
        L::EnciphermentOnSigner => leaf.set(KEY_USAGE, true, &[3, 2, 5, 0xA0]),
        L::NoDigitalSignature => leaf.set(KEY_USAGE, true, &[3, 2, 3, 0x08]),
        L::SelfSignedLeaf => leaf.subject = leaf.issuer.clone(),
        L::ChainOrder
        | L::RootInChain
        | L::OutlivesIssuer
        | L::CrlVersion
        | L::CrlNoNumber
        | L::CrlNoAki
        | L::CrlNoNextUpdate
        | L::CrlStale
        | L::CrlEmptyList
        | L::RequestSignature
        | L::RequestAuthority
        | L::RequestNoNames => return None,
    }
    Some(it)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rule is that there are none")]
/// What comes with a flaw because there is no way to have the one without the other.
fn companions(lint: Lint) -> &'static [Lint] {
    match lint {
        Lint::Version => &[
            Lint::MissingAki,
            Lint::MissingSki,
            Lint::MissingSan,
            Lint::NoBasicConstraints,
            Lint::NoExtendedUsage,
        ],
        Lint::UnreadableExtension => &[Lint::MissingSki],
        Lint::EmptyIssuer => &[Lint::AuthorityNameless],
        Lint::AuthorityNameless => &[Lint::EmptyIssuer],
        Lint::SelfSignedLeaf => &[Lint::SanCritical],
        _ => &[],
    }
}

#[test]
fn what_has_no_flaw_has_no_finding() {
    for scene in [Scene::new(), Scene::client()] {
        assert_eq!(scene.lints(), BTreeSet::new());
        if Tools::find("openssl").is_some() {
            assert!(scene.openssl(&["-x509_strict"]));
        }
    }
    assert!(Scene::new().rustls());
}

#[test]
fn one_flaw_is_one_finding() {
    let mut shown = 0;
    for lint in Lint::ALL.iter().copied() {
        let Some(scene) = scene(lint) else { continue };
        let expected = companions(lint).iter().copied().chain([lint]).collect();
        assert_eq!(scene.lints(), expected, "{}", lint.code());
        shown += 1;
    }
    assert_eq!(
        shown,
        Lint::ALL.len() - 12,
        "the other twelve are about chains, lists and requests"
    );
}

#[test]
fn rustls_refuses_what_it_is_said_to_refuse() {
    // A leaf's key is looked at when it signs a handshake; the rest depends on the name or the role.
    let elsewhere = [Lint::WeakKey, Lint::UnsupportedKey, Lint::MissingSan, Lint::ClientWithoutSan];
    let mut wrong = Vec::new();
    for lint in Lint::ALL.iter().copied().filter(|lint| !elsewhere.contains(lint)) {
        let Some(scene) = scene(lint) else { continue };
        let by = lint.refused_by();
        let said = by.contains(&Verifier::Rustls) || by.contains(&Verifier::Everyone);
        if scene.rustls() == said {
            wrong.push(lint);
        }
    }
    assert_eq!(wrong, []);
}

#[test]
fn a_strict_openssl_refuses_what_it_is_said_to_refuse() {
    if Tools::find("openssl").is_none() {
        return;
    }
    // Its sample names SHA-1, but no signature of that kind can be made here to be refused.
    let elsewhere = [Lint::MissingSan, Lint::WeakSignature];
    let mut wrong = Vec::new();
    for lint in Lint::ALL.iter().copied().filter(|lint| !elsewhere.contains(lint)) {
        let Some(scene) = scene(lint) else { continue };
        let by = lint.refused_by();
        let said = by.contains(&Verifier::OpenSslStrict) || by.contains(&Verifier::Everyone);
        if scene.openssl(&["-x509_strict"]) == said {
            wrong.push(lint);
        }
    }
    assert_eq!(wrong, []);
}

#[test]
fn everything_this_authority_makes_is_clean() {
    for key in KeyType::ALL {
        for depth in [Depth::LeavesOnly, Depth::OneIntermediate] {
            let options = AuthorityOptions { key, depth, ..AuthorityOptions::default() };
            let authority = Authority::create(&options).unwrap();
            assert_clean(&authority, key);
            if depth == Depth::OneIntermediate {
                assert_clean(&authority.intermediate(key, 200).unwrap(), key);
            }
        }
    }
}

fn assert_clean(authority: &Authority, key: KeyType) {
    let options = Options { key, ..Options::default() };
    let server = authority.server(&HostName::loopback(), options).unwrap();
    let client = authority.client(&"alice".parse().unwrap(), options).unwrap();
    let list = RevocationList::new(7);
    let now = OffsetDateTime::now_utc();
    let serial = client.serial().clone();
    let full = list.clone().revoking(Revocation::new(serial, Reason::KeyCompromise, now));
    for document in [
        Document::of_chain(server.chain()),
        Document::of_chain(client.chain()),
        Document::of_chain(&[authority.certificate().clone()]),
        Document::of_chain(&[authority.anchor().clone()]),
        Item::RevocationList(list.sign(authority).unwrap()).into(),
        Item::RevocationList(full.sign(authority).unwrap()).into(),
    ] {
        assert_eq!(found(&document), BTreeSet::new(), "{key} {document:?}");
    }
}

#[test]
fn an_unconstrained_root_is_a_warning() {
    let options =
        AuthorityOptions { constraints: Constraints::unconstrained(), ..Default::default() };
    let root = Authority::create(&options).unwrap();
    let found = found(&Document::of_chain(&[root.certificate().clone()]));
    assert_eq!(found, [Lint::Unconstrained].into());
}

#[test]
fn a_chain_is_judged_as_one() {
    let scene = Scene::new();
    let (root, leaf) = (scene.root(), scene.leaf());
    let lints = |chain: &[CertificateDer<'static>]| found(&Document::of_chain(chain));
    assert_eq!(lints(&[leaf.clone(), root.clone()]), [Lint::RootInChain].into());
    assert_eq!(lints(&[root.clone(), leaf.clone()]), [Lint::ChainOrder].into());
    assert_eq!(lints(&[root.clone(), root.clone()]), [].into(), "a bundle of anchors");
    let mut short = Scene::new();
    short.root.until = short.leaf.until - Duration::DAY;
    let chain = [short.leaf(), short.root()];
    assert_eq!(lints(&chain), [Lint::RootInChain, Lint::OutlivesIssuer].into());
}

/// A revocation list of these parts between the issuer and the extensions.
fn list(version: &[u8], after_issuer: &[&[u8]], extensions: &[&[u8]]) -> Document {
    use handmade::{ECDSA_SHA256, name, sequence};
    let key = Key::generate(KeyType::P256).unwrap();
    let algorithm = sequence(&[&tag_length_value(6, ECDSA_SHA256)]);
    let extensions = match extensions {
        [] => Vec::new(),
        some => tag_length_value(0xA0, &sequence(some)),
    };
    let tbs = sequence(&[
        version,
        &algorithm,
        &name("Handmade root"),
        &after_issuer.concat(),
        &extensions,
    ]);
    let signature = [&[0], key.sign(&tbs).unwrap().as_slice()].concat();
    let der = sequence(&[&tbs, &algorithm, &tag_length_value(3, &signature)]);
    Item::RevocationList(der.into()).into()
}

#[test]
fn a_revocation_list_is_judged() {
    use handmade::{sequence, utc};
    let now = OffsetDateTime::now_utc();
    let (before, after) = (utc(now - Duration::DAY), utc(now + Duration::DAY));
    let number = sequence(&[&[6, 3, 85, 29, 20], &tag_length_value(4, &[2, 1, 9])]);
    let identifier = sequence(&[&tag_length_value(0x80, &[1; 20])]);
    let aki = sequence(&[&[6, 3, 85, 29, 35], &tag_length_value(4, &identifier)]);
    let (both, v2): ([&[u8]; 2], &[u8]) = ([&number, &aki], &[2, 1, 1]);
    let cases: [(Document, &[Lint]); 8] = [
        (list(v2, &[&before, &after], &both), &[]),
        (list(&[], &[&before, &after], &[]), &[Lint::CrlVersion]),
        (list(v2, &[&before, &after], &[&aki]), &[Lint::CrlNoNumber]),
        (list(v2, &[&before, &after], &[&number]), &[Lint::CrlNoAki]),
        (list(v2, &[&before], &both), &[Lint::CrlNoNextUpdate]),
        (list(v2, &[&before, &before], &both), &[Lint::CrlStale]),
        (list(v2, &[&before, &after, &[0x30, 0]], &both), &[Lint::CrlEmptyList]),
        (list(&[], &[&before, &after, &[0x30, 0]], &[]), &[Lint::CrlVersion, Lint::CrlEmptyList]),
    ];
    for (document, lints) in cases {
        assert_eq!(found(&document), lints.iter().copied().collect(), "{lints:?}");
    }
}

#[test]
fn a_request_is_judged() {
    for kind in KeyType::ALL {
        let key = Key::generate(kind).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["app.test".to_owned()]).unwrap();
        let request = |params: &rcgen::CertificateParams| {
            found(&Item::Request(params.serialize_request(&key).unwrap().der().clone()).into())
        };
        assert_eq!(request(&params), [].into(), "{kind}");
        let signed = params.serialize_request(&key).unwrap().der().to_vec();
        let mut forged = signed.clone();
        let name = forged.windows(8).position(|window| window == b"app.test").unwrap();
        forged[name] = b'b';
        let forged = Item::Request(forged.into()).into();
        assert_eq!(found(&forged), [Lint::RequestSignature].into(), "{kind}");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        assert_eq!(request(&params), [Lint::RequestAuthority].into(), "{kind}");
        let nameless = rcgen::CertificateParams::default();
        assert_eq!(request(&nameless), [Lint::RequestNoNames].into(), "{kind}");
    }
}

#[test]
fn a_finding_says_what_is_wrong_what_to_do_and_who_refuses() {
    let finding = Finding { lint: Lint::MissingAki, item: 2 };
    assert_eq!(
        finding.to_string(),
        "2: lint.missing-aki It does not say which key signed it: no authority key identifier.\n    \
         Issue it again with an authority key identifier. Refused by openssl -x509_strict, Python 3.13."
    );
    let codes: BTreeSet<_> = Lint::ALL.iter().map(|lint| lint.code()).collect();
    assert_eq!(codes.len(), Lint::ALL.len());
    assert!(codes.iter().all(|code| code.starts_with("lint.")));
}

/// A public RSA key of 1024 bits; nobody has its private one.
fn rsa_1024() -> Vec<u8> {
    let modulus = [&[0, 0xC5][..], &[0x5A; 126], &[0x5B]].concat();
    let key = handmade::sequence(&[&tag_length_value(2, &modulus), &[2, 3, 1, 0, 1]]);
    handmade::key_info(&[42, 134, 72, 134, 247, 13, 1, 1, 1], &[5, 0], &key)
}

/// The generator of secp256k1 (SEC 2 section 2.4.1), which is a point on it.
fn secp256k1_point() -> Vec<u8> {
    let hex = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
               483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
    let digits: Vec<u8> = hex
        .bytes()
        .map(|digit| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

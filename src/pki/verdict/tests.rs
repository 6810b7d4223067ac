use super::*;
use crate::pki::lint::Verifier;
use crate::pki::{
    Authority, Credential, Draft, Key, KeyType, Options, Reason, Revocation, RevocationList, Usage,
};
use time::Duration;

struct Scene {
    authority: Authority,
    trust: Vec<CertificateDer<'static>>,
}

impl Scene {
    fn new() -> Self {
        let authority = Authority::ephemeral().unwrap();
        Self { trust: vec![authority.anchor().clone()], authority }
    }

    fn alice(&self) -> Credential {
        self.authority.client(&"alice".parse().unwrap(), Options::default()).unwrap()
    }

    fn local(&self) -> Credential {
        self.authority.server(&HostName::loopback(), Options::default()).unwrap()
    }

    fn question(&self, purpose: Purpose) -> Question<'_> {
        let now = OffsetDateTime::now_utc();
        Question { purpose, trust: &self.trust, lists: &[], key: None, now }
    }
}

fn code(verdict: Result<(), Objected>) -> &'static str {
    verdict.map_or_else(|objected| objected.objection().code(), |()| "fine")
}

#[test]
fn a_good_certificate_is_good_for_its_role_and_name_alone() {
    let scene = Scene::new();
    let (server, client) = (scene.local(), scene.alice());
    let named = |name: &str| Purpose::Server(Some(name.parse().unwrap()));
    let cases = [
        (&server, Purpose::Server(None), "fine"),
        (&server, named("localhost"), "fine"),
        (&server, named("127.0.0.1"), "fine"),
        (&server, named("other.test"), "verify.wrong-name"),
        (&server, Purpose::Client, "verify.wrong-role"),
        (&client, Purpose::Client, "fine"),
        (&client, Purpose::Server(None), "verify.wrong-role"),
    ];
    for (credential, purpose, expected) in cases {
        let question = scene.question(purpose.clone());
        assert_eq!(code(question.judge(credential.chain())), expected, "{purpose:?}");
    }
}

#[test]
fn what_webpki_lets_through_is_asked_by_us() {
    let scene = Scene::new();
    let client = || Draft::client(&"alice".parse().unwrap()).unwrap();
    for (draft, expected) in [
        (client().extended_usages(&[]), "verify.wrong-role"),
        (client().key_usage_of_encipherment(), "verify.key-usage"),
    ] {
        let credential = scene.authority.sign(&draft).unwrap();
        let objected = scene.question(Purpose::Client).judge(credential.chain()).unwrap_err();
        assert_eq!(objected.objection().code(), expected);
        assert_eq!(objected.by(), Verifier::Doorward);
    }
    let both = client().extended_usages(&[Usage::Server, Usage::Client]);
    let both = scene.authority.sign(&both).unwrap();
    assert_eq!(code(scene.question(Purpose::Client).judge(both.chain())), "fine");
}

#[test]
fn an_expired_authority_vouches_for_nobody() {
    let scene = Scene::new();
    let alice = scene.alice();
    let mut question = scene.question(Purpose::Client);
    question.now += Duration::days(900);
    assert_eq!(code(question.judge(alice.chain())), "verify.bad-anchor");
    let mut question = scene.question(Purpose::Client);
    question.trust = std::slice::from_ref(alice.certificate());
    assert_eq!(code(question.judge(alice.chain())), "verify.bad-anchor");
    let stranger = Scene::new();
    assert_eq!(
        code(stranger.question(Purpose::Client).judge(alice.chain())),
        "verify.unknown-authority"
    );
    assert_eq!(code(scene.question(Purpose::Client).judge(&[])), "verify.malformed");
}

#[test]
fn a_revocation_list_counts_for_the_issuer_it_speaks_for_and_while_it_is_fresh() {
    let scene = Scene::new();
    let (alice, bob) = (scene.alice(), scene.alice());
    let now = OffsetDateTime::now_utc();
    let revoked = Revocation::new(alice.serial().clone(), Reason::KeyCompromise, now);
    let own = [RevocationList::new(1).revoking(revoked).sign(&scene.authority).unwrap()];
    let foreign = [RevocationList::new(1).sign(&Scene::new().authority).unwrap()];
    let verdict = |lists: &[CertificateRevocationListDer<'static>], later, chain| {
        let now = now + later;
        code(Question { lists, now, ..scene.question(Purpose::Client) }.judge(chain))
    };
    assert_eq!(verdict(&own, Duration::ZERO, alice.chain()), "verify.revoked");
    assert_eq!(verdict(&own, Duration::ZERO, bob.chain()), "fine");
    assert_eq!(verdict(&foreign, Duration::ZERO, bob.chain()), "verify.no-list");
    assert_eq!(verdict(&own, Duration::days(80), bob.chain()), "verify.list-expired");
}

#[test]
fn the_key_has_to_be_the_one_of_the_certificate() {
    let scene = Scene::new();
    for kind in KeyType::ALL {
        let options = Options { key: kind, ..Options::default() };
        let own = scene.authority.client(&"alice".parse().unwrap(), options).unwrap();
        let other = Key::generate(kind).unwrap();
        for (key, expected) in [(own.key(), "fine"), (other.to_der(), "verify.key-mismatch")] {
            let question = Question { key: Some(&key), ..scene.question(Purpose::Client) };
            assert_eq!(code(question.judge(own.chain())), expected, "{kind}");
        }
    }
}

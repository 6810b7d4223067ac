//! Whom the handshake room believes: anchors fit to vouch, one verified revocation list an issuer, pinned keys.

use std::time::Duration;

use doorward::handshake::{Handshake, HandshakeSettings, Hints, Loaded, Presented, Versions};
use doorward::pki::{
    Authority, AuthorityOptions, Credential, Options, Reason, Revocation, RevocationList,
};
use doorward::place::{Place, Written};
use doorward::problem::{Problem, Severity};
use rustls::pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;

use crate::support::hall::server;
use crate::support::set::days;
use crate::support::{ALICE, Hall, Set, Visitor, prefixed};

/// The codes of all errors that keep a server with this configuration from starting.
fn errors(text: &str) -> Vec<&'static str> {
    let Err(problems) = server(text) else { return Vec::new() };
    let errors = problems.iter().filter(|problem| problem.severity() == Severity::Error);
    errors.map(|problem| problem.fault().code()).collect()
}

fn settings(set: &Set) -> HandshakeSettings {
    let file = |name: &str| Written::new(set.path(name), Place::in_code("test"));
    HandshakeSettings {
        certificate: file("chain.pem"),
        key: file("key.pem"),
        clients: file("trust.pem"),
        crl: Vec::new(),
        versions: Versions::Tls13Only,
        deadline: Duration::from_secs(5),
        hints: Hints::Hidden,
    }
}

fn in_days(count: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + count * 24 * 3600))
}

fn codes(problems: &[Problem]) -> Vec<&'static str> {
    problems.iter().map(|problem| problem.fault().code()).collect()
}

#[test]
fn a_certificate_that_is_no_authority_cannot_vouch() {
    let set = Set::new();
    let leaf = set.client("alice").chain_pem();
    set.write("trust.pem", (set.authority.trust_pem() + &leaf).as_bytes());
    assert_eq!(errors(&(set.tables("# no crl") + ALICE)), ["handshake.bad-anchor"]);
    set.write("trust.pem", leaf.as_bytes());
    assert!(errors(&(set.tables("") + ALICE)).contains(&"handshake.bad-anchor"));
    // Of the two things that make an authority, each alone is not enough.
    let halves = [
        set.draft("alice").key_usage_of_an_authority(),
        set.draft("alice").claiming_to_be_an_authority(),
    ];
    for half in halves {
        let half = half.self_signed().unwrap().chain_pem();
        set.write("trust.pem", (set.authority.trust_pem() + &half).as_bytes());
        assert_eq!(errors(&(set.tables("# no crl") + ALICE)), ["handshake.bad-anchor"]);
    }
    set.write("trust.pem", b"");
    assert!(errors(&(set.tables("") + ALICE)).contains(&"handshake.unreadable"));
}

#[test]
fn an_authority_ends_when_it_says_so_without_a_restart() {
    let set = Set::new();
    let brief =
        Authority::create(&AuthorityOptions { days: 1, ..AuthorityOptions::default() }).unwrap();
    set.write("trust.pem", (set.authority.trust_pem() + &brief.trust_pem()).as_bytes());
    // Its client's certificate says that it outlives its authority, which webpki would believe.
    let outliving = brief.sign(&set.draft("alice").valid(days(-1), days(30))).unwrap();
    let lasting = set.client("alice");
    let Loaded { handshake, warnings } = Handshake::load(&settings(&set), UnixTime::now()).unwrap();
    assert_eq!(codes(&warnings), Vec::<&str>::new());
    handshake.judge_again(outliving.chain(), UnixTime::now()).unwrap();
    let refused = handshake.judge_again(outliving.chain(), in_days(2)).unwrap_err();
    assert_eq!(refused.code(), "handshake.unknown-authority");
    handshake.judge_again(lasting.chain(), in_days(2)).unwrap();
    let refused = handshake.judge_again(lasting.chain(), in_days(2000)).unwrap_err();
    assert_eq!(refused.code(), "handshake.unknown-authority");

    // A start after its end leaves it out, and says so.
    let Loaded { handshake, warnings } = Handshake::load(&settings(&set), in_days(2)).unwrap();
    assert_eq!(codes(&warnings), ["handshake.bad-anchor"]);
    let refused = handshake.judge_again(outliving.chain(), UnixTime::now()).unwrap_err();
    assert_eq!(refused.code(), "handshake.unknown-authority");
}

#[tokio::test]
async fn the_newest_list_of_an_issuer_counts_in_whatever_order_they_stand() {
    let set = Set::new();
    let alice = set.client("alice");
    let older = RevocationList::new(7).sign_pem(&set.authority).unwrap();
    let now = OffsetDateTime::now_utc();
    let revocation = Revocation::new(alice.serial().clone(), Reason::KeyCompromise, now);
    // Number 256 has two bytes: numbers are compared as numbers.
    let newer = RevocationList::new(256).revoking(revocation).sign_pem(&set.authority).unwrap();
    let older = set.write("older.pem", older.as_bytes());
    let newer = set.write("newer.pem", newer.as_bytes());
    for (first, second) in [(&older, &newer), (&newer, &older)] {
        let crl = format!(
            "crl = [{:?}, {:?}]",
            first.display().to_string(),
            second.display().to_string()
        );
        let mut hall = Hall::of(&(set.tables(&crl) + ALICE));
        assert!(codes(&hall.warnings).contains(&"handshake.bad-crl"), "{:?}", hall.warnings);
        let visitor = Visitor::new(&set, Some(&alice));
        visitor.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap_err();
        assert_eq!(hall.verdict().await, "handshake.revoked");
    }
}

#[test]
fn a_list_whose_signature_is_wrong_refuses_the_start() {
    let set = Set::new();
    let list = RevocationList::new(2).sign(&set.authority).unwrap();
    set.write("crl.pem", &list);
    assert_eq!(errors(&(set.tables("") + ALICE)), Vec::<&str>::new(), "DER is read as well");
    let mut forged = list.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    set.write("crl.pem", &forged);
    assert_eq!(errors(&(set.tables("") + ALICE)), ["handshake.bad-crl"]);
}

#[tokio::test]
async fn a_pinned_key_is_permitted_whatever_its_names_and_no_other_is() {
    let set = Set::new();
    let pinned = set.client("mallory");
    let pin = Presented::read(&pinned.chain()[0]).unwrap().pin();
    let service = ALICE.replace("dns:alice.client.internal", &format!("pin:{pin}"));
    let mut hall = Hall::open(&set, &service);
    let heard = Visitor::new(&set, Some(&pinned)).say(hall.address("echo"), &prefixed(b"hi")).await;
    assert_eq!((hall.verdict().await, heard.unwrap()), ("left", prefixed(b"hi")));
    let other = set.client("mallory");
    drop(Visitor::new(&set, Some(&other)).say(hall.address("echo"), &prefixed(b"hi")).await);
    assert_eq!(hall.verdict().await, "identity.not-permitted");
    // A pin comes in addition to a trusted chain, never in its place.
    let untrusted = Set::new();
    let mut hall = Hall::open(&untrusted, &service);
    let visitor = Visitor::new(&untrusted, Some(&pinned));
    visitor.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.unknown-authority");
}

#[test]
fn the_authoritys_key_beside_a_server_for_others_refuses_the_start() {
    let set = Set::new();
    std::fs::create_dir_all(set.path("ca/private")).unwrap();
    set.write("ca/private/ca.key", b"any");
    let local = set.tables("") + ALICE;
    let warnings = server(&local).unwrap().warnings().to_vec();
    assert_eq!(codes(&warnings), ["handshake.authority-key"]);
    let wider = local.replace("[bind]\n", "[bind]\nscope = [\"127.0.0.0/8\"]\n");
    assert_eq!(errors(&wider), ["handshake.authority-key"]);
}

/// Chains of every kind at every time: a handshake that has seen them all before says what a fresh one says.
#[test]
fn a_chain_that_was_verified_before_is_judged_as_if_it_were_new() {
    let set = Set::new();
    let second =
        Authority::create(&AuthorityOptions { days: 2, ..AuthorityOptions::default() }).unwrap();
    let (alice, short) = (set.client("alice"), Options { days: 3, ..Options::default() });
    let short = set.authority.client(&"bob".parse().unwrap(), short).unwrap();
    // It outlives its authority, which ours never does.
    let below = second.sign(&set.draft("carol")).unwrap();
    let trust = set.authority.trust_pem() + &second.trust_pem();
    set.write("trust.pem", trust.as_bytes());
    let published = |number: u64, revoked: &[&Credential]| {
        let ends = days(10);
        let list = revoked.iter().fold(RevocationList::new(number).until(ends), |list, one| {
            let now = OffsetDateTime::now_utc();
            list.revoking(Revocation::new(one.serial().clone(), Reason::KeyCompromise, now))
        });
        let others = RevocationList::new(number).until(ends).sign_pem(&second).unwrap();
        set.write(
            "crl.pem",
            [list.sign_pem(&set.authority).unwrap().as_bytes(), others.as_bytes()]
                .concat()
                .as_slice(),
        );
    };
    let load = || {
        let crl = vec![Written::new(set.path("crl.pem"), Place::in_code("test"))];
        let settings = HandshakeSettings { crl, ..settings(&set) };
        Handshake::load(&settings, UnixTime::now()).unwrap().handshake
    };
    let chains: Vec<_> = [&alice, &short, &below].map(|one| one.chain().to_vec()).into();
    let judged = |room: &Handshake, chain: &[CertificateDer<'static>], hours: i64| {
        let now = UnixTime::now().as_secs().checked_add_signed(hours * 3600).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        room.judge_again(chain, now).map_err(|refused| refused.code())
    };
    published(2, &[]);
    let warm = load();
    let hours = [0, 70, 73, 100, -24, 1, 238, 242, 300, 0, 500, 2400, -10, 90_000, 2];
    let mut seen = std::collections::BTreeSet::new();
    for hours in hours {
        for chain in &chains {
            let (before, fresh) = (judged(&warm, chain, hours), judged(&load(), chain, hours));
            assert_eq!(before, fresh, "after {hours} hours");
            seen.insert(fresh);
        }
    }
    assert!(seen.len() > 3, "{seen:?}");
    published(3, &[&alice]);
    assert_eq!(judged(&load(), &chains[0], 0), Err("handshake.revoked"));
}

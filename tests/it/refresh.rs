//! Fresh files while the server runs: what is revoked is out at once, and a bad file changes nothing.

use doorward::audit::Event;
use doorward::pki::{HostName, Options, RevocationList};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::visitor::hear;
use crate::support::{ALICE, Hall, Set, Visitor, prefixed};

/// Says a word and hears it back: the session is alive.
async fn alive(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    stream.write_all(&prefixed(b"hi")).await.unwrap();
    let mut heard = [0; 6];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard[..], prefixed(b"hi"));
}

#[tokio::test]
async fn a_revoked_client_is_cut_and_kept_out_while_others_go_on() {
    let set = Set::new();
    let (lost, good) = (set.client("alice"), set.client("alice"));
    let mut hall = Hall::open(&set, ALICE);
    let (thief, owner) = (Visitor::new(&set, Some(&lost)), Visitor::new(&set, Some(&good)));
    let mut cut = thief.enter(hall.address("echo")).await.unwrap();
    hall.permitted().await;
    let mut unharmed = owner.enter(hall.address("echo")).await.unwrap();
    hall.permitted().await;
    alive(&mut cut).await;

    set.revoke(2, &[&lost]);
    assert_eq!(hall.verdict().await, "handshake.revoked");
    assert_eq!(hear(&mut cut).await.unwrap(), b"", "close_notify");
    alive(&mut unharmed).await;

    thief.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap_err();
    let (code, event) = hall.ending().await;
    assert_eq!(code, "handshake.revoked");
    assert!(matches!(event, Event::Refused(..)), "{event:?}");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_until_it_is_mended() {
    let set = Set::new();
    let alice = set.client("alice");
    let mut hall = Hall::open(&set, ALICE);
    let visitor = Visitor::new(&set, Some(&alice));
    let mut session = visitor.enter(hall.address("echo")).await.unwrap();
    hall.permitted().await;
    // A list of another authority with the same name, then half a list.
    let forged = RevocationList::new(9).sign_pem(&Set::new().authority).unwrap();
    let torn = &forged.as_bytes()[..40];
    for (bad, fault) in [(forged.as_bytes(), "handshake.bad-crl"), (torn, "handshake.unreadable")] {
        set.write("crl.pem", bad);
        assert_eq!(hall.refreshed().await, [fault]);
        alive(&mut session).await;
        let heard = visitor.say(hall.address("echo"), &prefixed(b"ho")).await.unwrap();
        assert_eq!((hall.verdict().await, heard), ("left", prefixed(b"ho")));
    }
    set.revoke(10, &[&alice]);
    assert_eq!(hall.verdict().await, "handshake.revoked");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let set = Set::new();
    let visitor = Visitor::new(&set, Some(&set.client("alice")));
    let mut hall = Hall::open(&set, ALICE);
    let mut before = visitor.enter(hall.address("echo")).await.unwrap();
    hall.permitted().await;
    let renewed = set.authority.server(&HostName::loopback(), Options::default()).unwrap();
    // Between the two writes the pair does not match; nobody is ever shown such a pair.
    set.write("chain.pem", renewed.chain_pem().as_bytes());
    assert_eq!(hall.refreshed().await, ["handshake.key-mismatch"]);
    alive(&mut visitor.enter(hall.address("echo")).await.unwrap()).await;
    set.write("key.pem", renewed.key_pem().as_bytes());
    assert!(hall.refreshed().await.is_empty());
    let mut after = visitor.enter(hall.address("echo")).await.unwrap();
    alive(&mut after).await;
    assert_eq!(after.get_ref().1.peer_certificates().unwrap()[0], renewed.chain()[0]);
    alive(&mut before).await;
}

#[tokio::test]
async fn an_authority_that_is_trusted_no_more_takes_its_clients_along() {
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let visitor = Visitor::new(&set, Some(&set.client("alice")));
    let mut session = visitor.enter(hall.address("echo")).await.unwrap();
    hall.permitted().await;
    let successor = Set::new();
    set.write("crl.pem", RevocationList::new(1).sign_pem(&successor.authority).unwrap().as_bytes());
    set.write("trust.pem", successor.authority.trust_pem().as_bytes());
    assert_eq!(hall.verdict().await, "handshake.unknown-authority");
    assert_eq!(hear(&mut session).await.unwrap(), b"");
}

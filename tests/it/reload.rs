//! A new state while the server runs: who passes no longer is out at once, and a bad state changes nothing.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use doorward::audit::Event;
use doorward::config::Config;
use doorward::identity::Caller;
use doorward::pki::{HostName, Options, RevocationList};
use doorward::problem::Problem;
use doorward::service::{Frames, Service, Serving};
use futures_util::{SinkExt, StreamExt};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::set::days;
use crate::support::visitor::hear;
use crate::support::{ALICE, Hall, Set, Visitor, prefixed};

/// Says a word and hears it back: the session is alive.
pub(crate) async fn alive(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
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
        assert_eq!(hall.reloaded().await, [fault]);
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
    assert_eq!(hall.reloaded().await, ["handshake.key-mismatch"]);
    alive(&mut visitor.enter(hall.address("echo")).await.unwrap()).await;
    set.write("key.pem", renewed.key_pem().as_bytes());
    assert!(hall.reloaded().await.is_empty());
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

/// The tables of a configuration that lets several addresses of loopback be listened on.
pub(crate) fn file(set: &Set, scope: &str, services: &str) -> PathBuf {
    let tables = set.tables("").replace("[bind]\n", &format!("[bind]\nscope = {scope}\n"));
    set.write("doorward.toml", format!("{tables}\n{services}").as_bytes())
}

/// An echo service with this name and these listeners, for these names.
fn echo(name: &str, listen: &[SocketAddr], permit: &[&str]) -> String {
    let listen: Vec<_> = listen.iter().map(ToString::to_string).collect();
    let permit: Vec<_> = permit.iter().map(|name| format!("dns:{name}.client.internal")).collect();
    format!(
        "[[service]]\nname = {name:?}\nlisten = {listen:?}\nkind = \"echo\"\n\
         [[service.identity]]\npermit = {permit:?}\n"
    )
}

fn any(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 0)
}

#[tokio::test]
async fn who_is_taken_out_of_a_rule_or_a_list_is_cut_while_others_go_on() {
    let set = Set::new();
    let list = set.write("list", b"127.0.0.0/8\n");
    let both = echo("echo", &[any("127.0.0.1")], &["alice", "bob"]);
    let from_list = format!("{both}[service.address]\nfiles = [{list:?}]\n");
    file(&set, "\"localhost\"", &from_list);
    let mut hall = Hall::of_file(&set.path("doorward.toml"));
    let at = hall.address("echo");
    let (alice, bob) = (set.client("alice"), set.client("bob"));
    let (alice, bob) = (Visitor::new(&set, Some(&alice)), Visitor::new(&set, Some(&bob)));
    let mut far = alice.clone().from("127.0.0.2").enter(at).await.unwrap();
    hall.permitted().await;
    let mut near = alice.enter(at).await.unwrap();
    hall.permitted().await;
    let mut other = bob.enter(at).await.unwrap();
    hall.permitted().await;

    set.write("list", b"127.0.0.1\n");
    assert_eq!(hall.verdict().await, "address.not-listed", "the watched list");
    assert_eq!(hear(&mut far).await.unwrap(), b"");
    alive(&mut near).await;

    let only_alice = echo("echo", &[any("127.0.0.1")], &["alice"]);
    file(&set, "\"localhost\"", &format!("{only_alice}[service.address]\nfiles = [{list:?}]\n"));
    assert_eq!(hall.verdict().await, "identity.not-permitted", "the watched configuration");
    assert_eq!(hear(&mut other).await.unwrap(), b"");
    alive(&mut near).await;
    assert_eq!(bob.say(at, b"").await.unwrap(), b"");
    assert_eq!(hall.verdict().await, "identity.not-permitted");
}

#[tokio::test]
async fn listeners_come_move_and_go_and_their_sessions_stay() {
    let set = Set::new();
    let scope = "[\"127.0.0.0/8\"]";
    file(&set, scope, &echo("one", &[any("127.0.0.1"), any("127.0.0.2")], &["alice"]));
    let mut hall = Hall::of_file(&set.path("doorward.toml"));
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let [first, second] = hall.addresses("one")[..] else { panic!("two listeners") };
    let mut through_first = alice.enter(first).await.unwrap();
    hall.permitted().await;
    let mut through_second = alice.enter_as(second, "localhost").await.unwrap();
    hall.permitted().await;

    // The first goes, the second leads to another service, a third is new.
    let moved = [echo("one", &[any("127.0.0.3")], &["alice"]), echo("two", &[second], &["bob"])];
    file(&set, scope, &moved.concat());
    hall.reload().await.unwrap();
    let third = hall.address("one");
    assert_eq!(third.ip(), any("127.0.0.3").ip());
    alive(&mut through_first).await;
    alive(&mut through_second).await;
    assert_eq!(alice.knock(first).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let mut refused = alice.enter_as(second, "localhost").await.unwrap();
    assert_eq!(hear(&mut refused).await.unwrap(), b"");
    let (code, event) = hall.ending().await;
    let Event::Refused(visit, ..) = event else { panic!("{event:?}") };
    assert_eq!((code, &*visit.service), ("identity.not-permitted", "two"));
    let mut through_third = alice.enter_as(third, "localhost").await.unwrap();
    alive(&mut through_third).await;

    // The service itself goes.
    file(&set, scope, &echo("two", &[second], &["bob"]));
    hall.reload().await.unwrap();
    for _ in 0..3 {
        assert_eq!(hall.verdict().await, "service.removed");
    }
    assert_eq!(hear(&mut through_first).await.unwrap(), b"");
}

#[tokio::test]
async fn a_wider_socket_steps_aside_for_a_narrower_one_and_comes_back_if_that_fails() {
    let set = Set::new();
    let all = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
    file(&set, "\"all\"", &echo("echo", &[any("0.0.0.0")], &["alice"]));
    let mut hall = Hall::of_file(&set.path("doorward.toml"));
    let port = hall.address("echo").port();
    // Known by its port from now on, as an operator would write it.
    file(&set, "\"all\"", &echo("echo", &[all("0.0.0.0", port)], &["alice"]));
    drop(hall.reload().await);
    let alice = Visitor::new(&set, Some(&set.client("alice")));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let narrow = [all("127.0.0.1", port), taken.local_addr().unwrap()];
    file(&set, "\"localhost\"", &echo("echo", &narrow, &["alice"]));
    assert_eq!(hall.reload().await.unwrap_err(), ["bind.in-use"]);
    alive(&mut alice.enter(all("127.0.0.1", port)).await.unwrap()).await;
    alice.knock(all("127.0.0.2", port)).await.expect("the wide socket is back");

    drop(taken);
    file(&set, "\"localhost\"", &echo("echo", &narrow[..1], &["alice"]));
    hall.reload().await.unwrap();
    alive(&mut alice.enter(all("127.0.0.1", port)).await.unwrap()).await;
    let refused = alice.knock(all("127.0.0.2", port)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_narrower_bind_policy_cuts_the_sessions_outside_it() {
    let set = Set::new();
    let listen = [any("127.0.0.1"), any("127.0.0.2")];
    file(&set, "[\"127.0.0.0/8\"]", &echo("echo", &listen, &["alice"]));
    let mut hall = Hall::of_file(&set.path("doorward.toml"));
    let [inside, outside] = hall.addresses("echo")[..] else { panic!("two listeners") };
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let mut stays = alice.enter(inside).await.unwrap();
    hall.permitted().await;
    let mut goes = alice.enter_as(outside, "localhost").await.unwrap();
    hall.permitted().await;
    file(&set, "[\"127.0.0.1\"]", &echo("echo", &listen[..1], &["alice"]));
    hall.reload().await.unwrap();
    assert_eq!(hall.verdict().await, "accept.out-of-scope");
    assert_eq!(hear(&mut goes).await.unwrap(), b"");
    alive(&mut stays).await;
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_the_words_of_check_and_changes_nothing() {
    let set = Set::new();
    let path = file(&set, "\"localhost\"", &echo("echo", &[any("127.0.0.1")], &["alice"]));
    let mut hall = Hall::of_file(&path);
    let at = hall.address("echo");
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let mut session = alice.enter(at).await.unwrap();
    hall.permitted().await;
    let bad = [
        echo("echo", &[any("127.0.0.1")], &["alice"]).replace("permit", "premit"),
        echo("echo", &[any("192.0.2.1")], &["alice"]),
        "[[service]".to_owned(),
    ];
    for services in bad {
        file(&set, "\"localhost\"", &services);
        let words =
            |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let check = match Config::read(&path) {
            Ok((config, _)) => doorward::server::check(&config),
            Err(problems) => problems,
        };
        let told = hall.control.reload().await.unwrap_err();
        assert_eq!(words(told), words(check));
        alive(&mut session).await;
        alive(&mut alice.enter(at).await.unwrap()).await;
    }
    file(&set, "\"localhost\"", &echo("echo", &[any("127.0.0.1")], &["alice"]));
    hall.reload().await.unwrap();
    alive(&mut session).await;
    assert_eq!(hall.address("echo"), at);
}

#[tokio::test]
async fn the_new_budgets_count_and_nobody_who_sits_has_to_go() {
    let set = Set::new();
    let budget = |members| format!("[accept]\nmembers = {members}\n{ALICE}");
    let path = file(&set, "\"localhost\"", &budget(1));
    let mut hall = Hall::of_file(&path);
    let at = hall.address("echo");
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let mut first = alice.enter(at).await.unwrap();
    alive(&mut first).await;
    assert_eq!(alice.say(at, b"").await.unwrap(), b"");
    assert_eq!(hall.verdict().await, "accept.members-full");
    file(&set, "\"localhost\"", &budget(2));
    hall.reload().await.unwrap();
    let mut second = alice.enter(at).await.unwrap();
    alive(&mut second).await;
    file(&set, "\"localhost\"", &budget(1));
    hall.reload().await.unwrap();
    alive(&mut first).await;
    alive(&mut second).await;
    assert_eq!(alice.say(at, b"").await.unwrap(), b"");
    assert_eq!(hall.verdict().await, "accept.members-full");
}

#[tokio::test]
async fn unwatched_files_count_when_a_reload_is_asked_for() {
    let set = Set::new();
    let alice = set.client("alice");
    let path = file(&set, "\"localhost\"", &format!("[server]\nwatch = false\n{ALICE}"));
    let mut hall = Hall::of_file(&path);
    let visitor = Visitor::new(&set, Some(&alice));
    let mut session = visitor.enter(hall.address("echo")).await.unwrap();
    hall.permitted().await;
    set.revoke(2, &[&alice]);
    // Longer than the watching would have taken.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    alive(&mut session).await;
    hall.control.reload().await.unwrap();
    assert_eq!(hall.verdict().await, "handshake.revoked");
}

#[tokio::test]
async fn an_own_service_stays_behind_its_door_over_a_reload() {
    struct Shout;
    impl Service for Shout {
        fn serve<'a>(&'a self, _: &'a Caller, frames: &'a mut Frames) -> Serving<'a> {
            Box::pin(async move {
                while let Some(frame) = frames.next().await {
                    frames.send(frame?.payload().to_ascii_uppercase().into()).await?;
                }
                Ok(())
            })
        }
    }
    let set = Set::new();
    let text = format!("{}{ALICE}", set.tables(""));
    let mut hall = Hall::with_service(&text, "echo", Shout);
    let visitor = Visitor::new(&set, Some(&set.client("alice")));
    hall.control.reload().await.unwrap();
    let heard = visitor.say(hall.address("echo"), &prefixed(b"hi")).await.unwrap();
    assert_eq!((hall.verdict().await, heard), ("left", prefixed(b"HI")));
}

#[tokio::test]
async fn a_session_ends_with_its_certificate() {
    let set = Set::new();
    let ends = OffsetDateTime::now_utc() + time::Duration::seconds(3);
    let short = set.sign(&set.draft("alice").valid(days(-1), ends));
    let mut hall = Hall::open(&set, ALICE);
    let mut session = Visitor::new(&set, Some(&short)).enter(hall.address("echo")).await.unwrap();
    alive(&mut session).await;
    assert_eq!(hall.verdict().await, "handshake.expired");
    assert_eq!(hear(&mut session).await.unwrap(), b"");
}

#[tokio::test]
async fn a_server_that_stops_takes_no_new_state() {
    let set = Set::new();
    let hall = Hall::open(&set, ALICE);
    hall.control.drain();
    hall.running.await.unwrap().unwrap();
    let problems = hall.control.reload().await.unwrap_err();
    assert_eq!(problems[0].fault().code(), "server.stopping");
}

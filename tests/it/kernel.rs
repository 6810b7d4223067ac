//! The kernel's filter: whom the list keeps out gets no answer, and the list that counts is the one of now.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use doorward::address::{Ban, BannedBy};
use doorward::peer::PeerText;
use futures_util::poll;
use socket2::{SockFilter, SockRef};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::cli::Guard;
use crate::support::{ALICE, Hall, Set, Visitor, prefixed, skipped};
use crate::systemd::{activated, inherited, say};

/// A configuration whose address table is `address`, in a file that may be changed.
fn file(set: &Set, address: &str, services: &str) -> PathBuf {
    let tables = set.tables("").replace("allow = [\"127.0.0.0/8\", \"::1\"]", address);
    set.write("doorward.toml", format!("{tables}[server]\nwatch = false\n{services}").as_bytes())
}

fn listed(networks: &[&str]) -> String {
    format!("allow = {networks:?}\nkernel = \"all\"")
}

/// Whether the kernel lets this user filter at all; some ask for a privilege.
fn may_filter(hall: &Hall) -> bool {
    let refused = |warning: &doorward::problem::Problem| warning.fault().code() == "address.kernel";
    if hall.warnings.iter().any(refused) {
        skipped("this user may not filter on this kernel; a privilege that does");
        return false;
    }
    true
}

async fn filtered(hall: &Hall) -> Vec<bool> {
    let status = hall.control.status().await.unwrap();
    status.listeners.iter().map(|listener| listener.filtered).collect()
}

/// Whoever got no answer so far.
type Knocking = Pin<Box<dyn Future<Output = std::io::Result<TcpStream>>>>;

/// A connection that is begun. On loopback the answer is there when the call returns, if there is any.
async fn knocking(visitor: &Visitor, to: SocketAddr) -> Knocking {
    let visitor = visitor.clone();
    let mut knocking: Knocking = Box::pin(async move { visitor.knock(to).await });
    assert!(poll!(&mut knocking).is_pending());
    knocking
}

/// Somebody who may come in does so; then whoever else was answered knows it too.
async fn passes(hall: &mut Hall, visitor: &Visitor, to: SocketAddr) {
    visitor.say(to, &prefixed(b"hi")).await.unwrap();
    assert_eq!(hall.verdict().await, "left", "nobody else was seen");
}

#[tokio::test]
async fn an_unlisted_address_gets_no_answer_until_a_reload_lists_it() {
    let set = Set::new();
    let config = file(&set, &listed(&["127.0.0.1"]), ALICE);
    let mut hall = Hall::of_file(&config);
    if !may_filter(&hall) {
        return;
    }
    assert_eq!(filtered(&hall).await, [true]);
    let one = Visitor::new(&set, Some(&set.client("alice")));
    let two = one.clone().from("127.0.0.2");
    let door = hall.address("echo");
    let mut unanswered = knocking(&two, door).await;
    passes(&mut hall, &one, door).await;
    assert!(poll!(&mut unanswered).is_pending(), "the kernel let it in");

    file(&set, &listed(&["127.0.0.2"]), ALICE);
    hall.reload().await.unwrap();
    drop(unanswered.await.expect("the kernel tries again, and is answered"));
    assert_eq!(hall.verdict().await, "handshake.closed");
    let mut unanswered = knocking(&one, door).await;
    passes(&mut hall, &two, door).await;
    assert!(poll!(&mut unanswered).is_pending());
}

#[tokio::test]
async fn an_ipv6_address_is_filtered_by_its_own_list() {
    let set = Set::new();
    let services = ALICE.replace("127.0.0.1:0", "[::1]:0");
    let config = file(&set, &listed(&["127.0.0.0/8", "2001:db8::/32"]), &services);
    let mut hall = Hall::of_file(&config);
    if !may_filter(&hall) {
        return;
    }
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let door = hall.address("echo");
    let mut unanswered = knocking(&alice, door).await;
    file(&set, &listed(&["::1", "2001:db8::/32"]), &services);
    assert!(poll!(&mut unanswered).is_pending());
    hall.reload().await.unwrap();
    passes(&mut hall, &alice, door).await;
}

#[tokio::test]
async fn a_ban_reaches_the_kernel_and_so_does_its_end() {
    let set = Set::new();
    let config = file(&set, &listed(&["127.0.0.0/8"]), ALICE);
    let mut hall = Hall::of_file(&config);
    if !may_filter(&hall) {
        return;
    }
    let one = Visitor::new(&set, Some(&set.client("alice")));
    let two = one.clone().from("127.0.0.2");
    let door = hall.address("echo");
    passes(&mut hall, &two, door).await;
    let mut session = two.enter(door).await.unwrap();
    hall.permitted().await;

    let until = SystemTime::now() + Duration::from_secs(3600);
    let network = "127.0.0.2/32".parse().unwrap();
    hall.control
        .ban(network, Ban { until, why: PeerText::new(b"x"), by: BannedBy::Operator })
        .await
        .unwrap();
    assert_eq!(hall.verdict().await, "address.banned", "the session that was there");
    drop(session.shutdown().await);
    let mut unanswered = knocking(&two, door).await;
    passes(&mut hall, &one, door).await;
    assert!(poll!(&mut unanswered).is_pending());
    hall.control.lift(network).await.unwrap();
    passes(&mut hall, &two, door).await;

    let until = SystemTime::now() + Duration::from_millis(100);
    hall.control
        .ban(network, Ban { until, why: PeerText::new(b"x"), by: BannedBy::Operator })
        .await
        .unwrap();
    two.say(door, &prefixed(b"hi")).await.expect("answered once the ban is over");
}

#[tokio::test]
async fn a_balancer_may_connect_although_no_list_names_it() {
    let set = Set::new();
    let services = format!("{ALICE}[service.balancers]\nfrom = [\"127.0.0.2\"]\n");
    let mut hall = Hall::of_file(&file(&set, &listed(&["10.9.0.0/16"]), &services));
    if !may_filter(&hall) {
        return;
    }
    let door = hall.address("echo");
    let stranger = Visitor::new(&set, None);
    let mut unanswered = knocking(&stranger, door).await;
    for (behind, code) in [("10.8.0.1", "address.not-listed"), ("10.9.0.1", "handshake.closed")] {
        let mut stream = stranger.clone().from("127.0.0.2").knock(door).await.unwrap();
        let header = format!("PROXY TCP4 {behind} 10.1.1.1 5 6\r\n");
        stream.write_all(header.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(hall.verdict().await, code);
    }
    assert!(poll!(&mut unanswered).is_pending());
}

#[tokio::test]
async fn on_loopback_a_refusal_keeps_its_name_unless_asked_otherwise() {
    let set = Set::new();
    let mut hall = Hall::of_file(&file(&set, "allow = [\"127.0.0.1\"]", ALICE));
    assert_eq!(filtered(&hall).await, [false]);
    let two = Visitor::new(&set, None).from("127.0.0.2");
    drop(two.knock(hall.address("echo")).await.unwrap());
    assert_eq!(hall.verdict().await, "address.not-listed");
}

#[tokio::test]
async fn a_list_that_no_program_holds_leaves_no_old_filter_behind() {
    let set = Set::new();
    let config = file(&set, &listed(&["127.0.0.1"]), ALICE);
    let mut hall = Hall::of_file(&config);
    if !may_filter(&hall) {
        return;
    }
    let networks: Vec<_> = (0..3000).map(|n| format!("10.{}.{}.2", n / 250, n % 250)).collect();
    let long: Vec<_> = networks.iter().map(String::as_str).chain(["127.0.0.2"]).collect();
    file(&set, &listed(&long), ALICE);
    let warnings = hall.control.reload().await.unwrap();
    let codes: Vec<_> = warnings.iter().map(|warning| warning.fault().code()).collect();
    assert_eq!(codes, ["address.kernel"]);
    assert!(warnings[0].message().contains("4096 instructions"), "{}", warnings[0]);
    assert_eq!(filtered(&hall).await, [false]);
    let door = hall.address("echo");
    let one = Visitor::new(&set, Some(&set.client("alice")));
    passes(&mut hall, &one.clone().from("127.0.0.2"), door).await;
    drop(one.knock(door).await.unwrap());
    assert_eq!(hall.verdict().await, "address.not-listed", "the server alone judges");

    file(&set, &listed(&["127.0.0.1"]), ALICE);
    hall.reload().await.unwrap();
    assert_eq!(filtered(&hall).await, [true]);
    file(&set, "allow = [\"127.0.0.1\"]\nkernel = \"off\"", ALICE);
    hall.reload().await.unwrap();
    assert_eq!(filtered(&hall).await, [false]);
}

/// Lets nobody in; what another process may have left on a socket.
fn nobody(socket: &TcpListener) -> bool {
    SockRef::from(socket).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).is_ok()
}

#[tokio::test]
async fn a_successor_that_never_came_leaves_none_of_its_filters_behind() {
    let set = Set::new();
    let config = file(&set, &listed(&["127.0.0.0/8"]), ALICE);
    let mut hall = Hall::of_file(&config);
    if !may_filter(&hall) {
        return;
    }
    let one = Visitor::new(&set, Some(&set.client("alice")));
    let door = hall.address("echo");
    let lent = hall.control.sockets().await.unwrap();
    assert!(nobody(&lent.sockets[0]));
    let until = SystemTime::now() + Duration::from_secs(3600);
    let ban = Ban { until, why: PeerText::new(b"x"), by: BannedBy::Operator };
    hall.control.ban("127.0.0.2/32".parse().unwrap(), ban).await.unwrap();
    let unanswered = knocking(&one, door).await;
    drop(lent);
    drop(unanswered.await.expect("its own filter is back, and the kernel tries again"));
    assert_eq!(hall.verdict().await, "handshake.closed");
    let banned = knocking(&one.clone().from("127.0.0.2"), door).await;
    passes(&mut hall, &one, door).await;
    drop(banned);
}

#[test]
fn a_socket_that_is_handed_over_keeps_no_filter_of_before() {
    let set = Set::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if !nobody(&listener) {
        return skipped("this user may not filter on this kernel");
    }
    let at = listener.local_addr().unwrap();
    let mut guard = Guard::run(activated(listener, "3<&0", "web", &inherited(&set)));
    assert_eq!(say(&set, at, b"hi"), prefixed(b"hi"));
    guard.stop();
}

#[test]
fn the_start_says_where_nobody_else_is_answered() {
    let set = Set::new();
    let config = std::fs::read_to_string(file(&set, &listed(&["127.0.0.1"]), ALICE)).unwrap();
    let mut guard = Guard::start(&set, &config);
    let line = format!("  kernel     drops everybody else at {}, unrecorded", guard.address());
    let said = guard.report().contains(&line);
    let report = guard.report().to_vec();
    let err = guard.stop();
    assert!(said || err.contains("address.kernel warning: "), "{report:?} {err}");
}

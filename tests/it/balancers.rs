//! The PROXY protocol: listed balancers say where a visitor comes from, and nobody else can.

use std::net::SocketAddr;
use std::process::{Child, Command};

use doorward::audit::Event;
use doorward::pki::Credential;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::{Guard, block_on};
use crate::support::visitor::hear;
use crate::support::{Hall, Set, Visitor, has, prefixed};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// An echo for alice from two networks, behind balancers on 127.0.0.5, who may be strangers only two at once.
fn behind_a_balancer(set: &Set, more: &str) -> String {
    let tables = set.tables("").replace("[\"127.0.0.0/8\"", "[\"192.0.2.0/24\", \"127.0.0.6\"");
    format!(
        "{tables}{more}\n[[service]]\nname = \"echo\"\nlisten = \"127.0.0.1:0\"\nkind = \"echo\"\n\
         [service.balancers]\nfrom = [\"127.0.0.5\"]\ndeadline = \"1s\"\n\
         [[service.identity]]\npermit = [\"dns:alice.client.internal\"]\nfrom = [\"192.0.2.0/25\", \"127.0.0.6\"]\n"
    )
}

fn v1(from: &str) -> Vec<u8> {
    format!("PROXY TCP4 {from} 127.0.0.1 12345 8443\r\n").into_bytes()
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn alice(set: &Set, from: &str) -> Visitor {
    Visitor::new(set, Some(&set.client("alice"))).from(from)
}

/// Says these bytes before TLS, then talks.
async fn talk(visitor: &Visitor, to: SocketAddr, header: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = visitor.knock(to).await?;
    stream.write_all(header).await?;
    let mut stream = visitor.shake_hands(stream, to).await?;
    stream.write_all(&prefixed(b"hi")).await?;
    stream.shutdown().await?;
    hear(&mut stream).await
}

#[tokio::test]
async fn a_balancer_announces_the_visitor_and_every_gate_judges_what_it_says() {
    let set = Set::new();
    let mut hall = Hall::of(&behind_a_balancer(&set, ""));
    let to = hall.address("echo");
    let balancer = alice(&set, "127.0.0.5");
    let binary = v2(0x21, 0x11, &[192, 0, 2, 7, 127, 0, 0, 1, 0x30, 0x39, 0x20, 0xfb]);
    for header in [&v1("192.0.2.7")[..], &binary] {
        assert_eq!(talk(&balancer, to, header).await.unwrap(), prefixed(b"hi"));
        let (code, event) = hall.ending().await;
        let Event::Left(visit, caller, _) = event else { panic!("{event:?}") };
        assert_eq!((code, visit.peer.to_string()), ("left", "192.0.2.7:12345".to_owned()));
        assert_eq!(visit.via.unwrap().ip().to_string(), "127.0.0.5");
        assert_eq!(caller.peer(), visit.peer);
    }
    talk(&balancer, to, &v1("198.51.100.1")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "address.not-listed");
    assert_eq!(talk(&balancer, to, &v1("192.0.2.200")).await.unwrap(), b"");
    assert_eq!(hall.verdict().await, "identity.wrong-network");
    // The balancer's own address is judged only as a balancer's.
    talk(&balancer, to, &v1("127.0.0.5")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "address.not-listed");
}

#[tokio::test]
async fn nobody_else_can_choose_its_address() {
    let set = Set::new();
    let mut hall = Hall::of(&behind_a_balancer(&set, ""));
    let to = hall.address("echo");
    let liar = alice(&set, "127.0.0.6");
    talk(&liar, to, &v1("192.0.2.7")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.not-tls");
    assert_eq!(talk(&liar, to, b"").await.unwrap(), prefixed(b"hi"), "as itself it may");
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn without_its_table_no_header_is_understood() {
    let set = Set::new();
    let mut hall = Hall::open(&set, crate::support::ALICE);
    let visitor = Visitor::new(&set, Some(&set.client("alice")));
    talk(&visitor, hall.address("echo"), &v1("127.0.0.1")).await.unwrap_err();
    assert_eq!(hall.verdict().await, "handshake.not-tls");
}

#[tokio::test]
async fn a_header_that_is_wrong_in_any_way_is_refused_by_name() {
    let set = Set::new();
    let mut hall = Hall::of(&behind_a_balancer(&set, ""));
    let to = hall.address("echo");
    let balancer = alice(&set, "127.0.0.5");
    let too_long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
    let udp = v2(0x21, 0x12, &[192, 0, 2, 7, 127, 0, 0, 1, 1, 1, 1, 1]);
    for (header, code) in [
        (&b""[..], "accept.proxy-missing"),
        (b"PROXY TCP4 192.0.2.7 x\r\n", "accept.proxy-malformed"),
        (&endless, "accept.proxy-too-long"),
        (&too_long, "accept.proxy-too-long"),
        (&udp, "accept.proxy-not-tcp"),
        (b"PROXY UNKNOWN\r\n", "accept.proxy-not-tcp"),
        (&v2(0x20, 0, &[]), "accept.proxy-local"),
        (&v1("0.0.0.0"), "accept.proxy-lying"),
        (&v1("255.255.255.255"), "accept.proxy-lying"),
    ] {
        talk(&balancer, to, header).await.unwrap_err();
        assert_eq!(hall.verdict().await, code, "{}", header.escape_ascii());
    }
    let mut late = balancer.knock(to).await.unwrap();
    late.write_all(b"PROXY TCP4").await.unwrap();
    assert_eq!(hall.verdict().await, "accept.proxy-late");
    late.read_to_end(&mut Vec::new()).await.ok();
}

#[tokio::test]
async fn a_header_that_arrives_byte_by_byte_is_the_same_header() {
    let set = Set::new();
    let mut hall = Hall::of(&behind_a_balancer(&set, ""));
    let (to, balancer) = (hall.address("echo"), alice(&set, "127.0.0.5"));
    let mut stream = balancer.knock(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in v1("192.0.2.7") {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut stream = balancer.shake_hands(stream, to).await.unwrap();
    stream.write_all(&prefixed(b"hi")).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(hear(&mut stream).await.unwrap(), prefixed(b"hi"));
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn a_network_behind_a_balancer_uses_up_only_its_own_share() {
    let set = Set::new();
    let mut hall = Hall::of(&behind_a_balancer(&set, "[accept]\nstrangers = 20\nper_source = 2"));
    let (to, balancer) = (hall.address("echo"), alice(&set, "127.0.0.5"));
    let sit = async |from: &str| -> TcpStream {
        let mut stream = balancer.knock(to).await.unwrap();
        stream.write_all(&v1(from)).await.unwrap();
        stream
    };
    let _first = sit("192.0.2.1").await;
    let _second = sit("192.0.2.1").await;
    let _other = sit("192.0.2.2").await;
    let _third = sit("192.0.2.1").await;
    let (code, event) = hall.ending().await;
    let Event::Refused(visit, ..) = event else { panic!("{event:?}") };
    assert_eq!(
        (code, visit.peer.ip().to_string()),
        ("accept.source-share", "192.0.2.1".to_owned())
    );
    // More than a share of connections that have announced nobody yet: none is sent away for it.
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(balancer.knock(to).await.unwrap());
    }
    assert_eq!(talk(&balancer, to, &v1("192.0.2.9")).await.unwrap(), prefixed(b"hi"));
    assert_eq!(hall.verdict().await, "left");
}

#[tokio::test]
async fn a_balancer_may_be_one_address_of_a_network_of_ipv6() {
    let set = Set::new();
    let text = behind_a_balancer(&set, "[accept]\nstrangers = 20\nper_source = 2")
        .replace("\"127.0.0.5\"", "\"::1\"")
        .replace("\"127.0.0.1:0\"", "\"[::1]:0\"")
        .replace("\"192.0.2.0/24\"", "\"2001:db8::/32\"")
        .replace("\"192.0.2.0/25\"", "\"2001:db8::/32\"");
    let mut hall = Hall::of(&text);
    let to = hall.address("echo");
    let balancer = Visitor::new(&set, Some(&set.client("alice")));
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(balancer.knock(to).await.unwrap());
    }
    let header = b"PROXY TCP6 2001:db8::7 ::1 12345 8443\r\n";
    assert_eq!(talk(&balancer, to, header).await.unwrap(), prefixed(b"hi"));
    assert_eq!(hall.verdict().await, "left", "nobody had to make room");
}

#[tokio::test]
async fn a_health_check_is_counted_and_not_remembered() {
    let set = Set::new();
    let mut hall = Hall::of(&behind_a_balancer(&set, ""));
    let (to, balancer) = (hall.address("echo"), alice(&set, "127.0.0.5"));
    for header in [&v2(0x20, 0, &[])[..], &v2(0x20, 0, &[]), b"PROXY UNKNOWN\r\n"] {
        talk(&balancer, to, header).await.unwrap_err();
        hall.verdict().await;
    }
    let status = hall.control.status().await.unwrap();
    assert_eq!(status.refused["accept.proxy-local"], 2);
    let last: Vec<_> = status.last.iter().map(|refusal| refusal.code.as_str()).collect();
    assert_eq!(last, ["accept.proxy-not-tcp"]);
}

#[test]
fn a_health_check_is_not_written_where_nobody_asked_for_details() {
    let set = Set::new();
    let mut guard = Guard::start(&set, &behind_a_balancer(&set, ""));
    let (to, balancer) = (guard.address(), alice(&set, "127.0.0.5"));
    block_on(async {
        for header in [&v2(0x20, 0, &[])[..], &v2(0x20, 0, &[]), b"PROXY UNKNOWN\r\n"] {
            talk(&balancer, to, header).await.unwrap_err();
        }
    });
    guard.hear("accept.proxy-not-tcp");
    let log = guard.stop();
    assert!(!log.contains("accept.proxy-local"), "{log}");
}

#[tokio::test]
async fn a_balancer_that_is_listed_no_more_takes_its_sessions_along() {
    let set = Set::new();
    let text = behind_a_balancer(&set, "");
    let path = set.write("doorward.toml", text.as_bytes());
    let mut hall = Hall::of_file(&path);
    let (to, balancer) = (hall.address("echo"), alice(&set, "127.0.0.5"));
    let mut stream = balancer.knock(to).await.unwrap();
    stream.write_all(&v1("192.0.2.7")).await.unwrap();
    let mut session = balancer.shake_hands(stream, to).await.unwrap();
    hall.permitted().await;
    set.write(
        "doorward.toml",
        text.replace("from = [\"127.0.0.5\"]", "from = [\"127.0.0.4\"]").as_bytes(),
    );
    hall.reload().await.unwrap();
    assert_eq!(hall.verdict().await, "accept.proxy-unlisted");
    assert_eq!(hear(&mut session).await.unwrap(), b"");
}

/// A real haproxy that ends with the test.
struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Haproxy {
    /// A frontend on a free port whose server is `behind`, reached from 127.0.0.5 with these words.
    fn start(set: &Set, behind: SocketAddr, words: &str) -> (Self, SocketAddr) {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             frontend f\n bind {free}\n default_backend b\n\
             backend b\n server s {behind} source 127.0.0.5 {words}\n"
        );
        let file = set.write("haproxy.cfg", config.as_bytes());
        (Self(Command::new("haproxy").args(["-db", "-f"]).arg(file).spawn().unwrap()), free)
    }
}

/// A hall whose visitors come from 127.0.0.7 through a balancer.
fn behind_haproxy(set: &Set) -> Hall {
    let text = behind_a_balancer(set, "").replace("\"192.0.2.0/25\"", "\"127.0.0.7\"");
    Hall::of(&text.replace("\"192.0.2.0/24\"", "\"127.0.0.7\""))
}

#[tokio::test]
async fn haproxy_in_front_announces_its_clients_in_both_versions() {
    if !has_haproxy() {
        return;
    }
    let set = Set::new();
    let mut hall = behind_haproxy(&set);
    let alice: Credential = set.client("alice");
    for send in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl,cert-cn",
    ] {
        let (_haproxy, front) = Haproxy::start(&set, hall.address("echo"), send);
        let visitor = Visitor::new(&set, Some(&alice)).from("127.0.0.7");
        while visitor.knock(front).await.is_err() {
            tokio::task::yield_now().await;
        }
        // That knock was passed on too, with nobody behind it.
        let heard = visitor.say(front, &prefixed(b"hi")).await.unwrap();
        assert_eq!(heard, prefixed(b"hi"), "{send}");
        loop {
            let (code, event) = hall.ending().await;
            if let Event::Left(visit, ..) = event {
                assert_eq!(visit.peer.ip().to_string(), "127.0.0.7");
                break;
            }
            // It tries the server before it sends anybody there, and may hang up before or after its header.
            assert!(["handshake.closed", "accept.proxy-missing"].contains(&code), "{event:?}");
        }
    }
}

#[tokio::test]
async fn haproxy_that_looks_after_its_server_finds_it_up_and_is_never_let_in() {
    if !has_haproxy() {
        return;
    }
    let set = Set::new();
    let mut hall = behind_haproxy(&set);
    let words = "send-proxy-v2 proxy-v2-options crc32c check inter 50ms fall 1 rise 1";
    let (_haproxy, front) = Haproxy::start(&set, hall.address("echo"), words);
    // It takes a server for down at the first bad answer, and would pass nobody on to it then.
    for _ in 0..5 {
        assert_eq!(hall.verdict().await, "accept.proxy-local");
    }
    let visitor = Visitor::new(&set, Some(&set.client("alice"))).from("127.0.0.7");
    assert_eq!(visitor.say(front, &prefixed(b"hi")).await.unwrap(), prefixed(b"hi"));
    loop {
        match hall.verdict().await {
            "accept.proxy-local" => {}
            code => break assert_eq!(code, "left"),
        }
    }
}

fn has_haproxy() -> bool {
    let there = Command::new("haproxy").arg("-v").output().is_ok();
    there || has("haproxy")
}

//! The kernel, on a host of its own, says what the gate says: every verdict is a packet that was sent.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::Duration;
use std::{fs, io};

use doorward::bind::Interfaces;
use doorward::config::Config;
use doorward::firewall::{Dialect, Policy};
use futures_util::future::{BoxFuture, join_all};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::{address, doors, host_of, written};
use crate::bind::on_a_host_of_its_own;
use crate::cli::block_on;
use crate::explain::chance::Dice;
use crate::explain::peer;
use crate::support::hall::PATIENCE;
use crate::support::{Set, has, skipped};

const KNOCKS: usize = 10_000;
/// Far fewer than a second of knocks: after that the kernel knocks again by itself.
const AT_ONCE: usize = 250;

/// One who knocks: from where, where, and whether the gate lets it.
pub(super) struct Knock {
    pub(super) from: IpAddr,
    pub(super) to: SocketAddr,
    pub(super) may: bool,
}

#[test]
fn the_kernel_drops_what_the_gate_would_refuse_and_nothing_else() {
    if !has("nft")
        || !on_a_host_of_its_own(
            "firewall::kernel::the_kernel_drops_what_the_gate_would_refuse_and_nothing_else",
        )
    {
        return;
    }
    let set = Set::new();
    let (config, text) = written(&set, Dialect::Nftables);
    nft(&text);
    // Twice is as good as once.
    nft(&text);
    every_knock_fares_as_the_gate_says(&config, KNOCKS);
    nft(&Policy::of(&config, &Interfaces::default()).remove(Dialect::Nftables));
    let left = Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn the_kernel_says_the_same_by_the_chains_for_iptables() {
    // Others keep their rules where nft does not count them.
    let version = Command::new("iptables").arg("-V").output();
    let on_nftables = |said: Vec<u8>| String::from_utf8_lossy(&said).contains("nf_tables");
    if !version.is_ok_and(|said| on_nftables(said.stdout)) {
        skipped("iptables on nftables is not installed");
        return;
    }
    if !has("nft")
        || !on_a_host_of_its_own(
            "firewall::kernel::the_kernel_says_the_same_by_the_chains_for_iptables",
        )
    {
        return;
    }
    let set = Set::new();
    let (config, text) = written(&set, Dialect::Iptables);
    for text in [&text, &text] {
        assert!(Command::new("sh").args(["-c", text]).status().unwrap().success(), "{text}");
    }
    every_knock_fares_as_the_gate_says(&config, KNOCKS / 5);
    let remove = Policy::of(&config, &Interfaces::default()).remove(Dialect::Iptables);
    assert!(Command::new("sh").args(["-ec", &remove]).status().unwrap().success(), "{remove}");
    let left = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    assert!(!left.contains("DOORWARD"), "{left}");
}

fn every_knock_fares_as_the_gate_says(config: &Config, count: usize) {
    be_everybody();
    let knocks = knocks(config, 3, count);
    let allowed = knocks.iter().filter(|knock| knock.may).count();
    assert!(allowed > count / 3 && allowed < count / 3 * 2, "{allowed} of {count} are allowed");
    block_on(async {
        open(config);
        for knocks in knocks.chunks(AT_ONCE) {
            everybody_fares_as_the_gate_says(knocks).await;
        }
        // Other ports of the host are none of our business.
        open_to_all(9);
        let refused = knocks.iter().filter(|knock| !knock.may).take(50);
        let other = refused.map(|knock| come(knock.from, SocketAddr::new(knock.to.ip(), 9)));
        join_all(other).await.into_iter().for_each(|came| drop(came.unwrap()));
    });
}

/// So many who knock, of whom a packet can really come.
pub(super) fn knocks(config: &Config, seed: u64, count: usize) -> Vec<Knock> {
    let mut dice = Dice::new(seed);
    let knocks = std::iter::from_fn(|| Some(knock(config, &mut dice)));
    knocks.filter(|knock| is_somebody(knock.from)).take(count).collect()
}

fn knock(config: &Config, dice: &mut Dice) -> Knock {
    let (at, gate) = *dice.one_of(&doors(config));
    let from = address(dice, at.is_ipv4());
    let may = gate.judge(peer(from)).is_ok();
    Knock { from, to: SocketAddr::new(host_of(at), at.port()), may }
}

/// Whoever may come comes in, and the others' packets are dropped: all of them are counted, none comes in.
async fn everybody_fares_as_the_gate_says(knocks: &[Knock]) {
    let before = dropped();
    let (refused, allowed): (Vec<_>, Vec<_>) = knocks.iter().partition(|knock| !knock.may);
    let mut waiting: Vec<_> = refused.into_iter().map(Waiting::of).collect();
    assert_eq!(came(&mut waiting), Vec::<String>::new());
    let expected = before + u64::try_from(waiting.len()).unwrap();
    let counted = async {
        // One turn at least, so that an answer that did come is seen.
        sleep(Duration::from_millis(1)).await;
        while dropped() < expected {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, counted).await.expect("every packet is dropped");
    assert_eq!(came(&mut waiting), Vec::<String>::new());
    drop(waiting);
    let allowed = allowed.into_iter().map(|knock| come(knock.from, knock.to));
    join_all(allowed).await.into_iter().for_each(|came| drop(came.unwrap()));
}

/// Somebody who has knocked and waits.
pub(super) struct Waiting<'k> {
    pub(super) knock: &'k Knock,
    coming: BoxFuture<'static, io::Result<TcpStream>>,
}

impl<'k> Waiting<'k> {
    pub(super) fn of(knock: &'k Knock) -> Self {
        Self { knock, coming: Box::pin(come(knock.from, knock.to)) }
    }

    /// How it fared so far, if somehow.
    pub(super) fn looks(&mut self) -> Poll<io::Result<TcpStream>> {
        self.coming.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}

/// Those who are not waiting any more, though they should be.
fn came(waiting: &mut [Waiting<'_>]) -> Vec<String> {
    let came = waiting.iter_mut().filter_map(|one| match one.looks() {
        Poll::Pending => None,
        Poll::Ready(how) => Some(format!("{} at {}: {how:?}", one.knock.from, one.knock.to)),
    });
    came.collect()
}

pub(super) async fn come(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    timeout(PATIENCE, socket.connect(to)).await.unwrap_or_else(|late| Err(late.into()))
}

/// How many packets the rules have dropped.
fn dropped() -> u64 {
    let listed = Command::new("nft").args(["-j", "list", "ruleset"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let rules = listed["nftables"].as_array().unwrap().iter();
    let rules = rules.filter_map(|object| object["rule"]["expr"].as_array());
    let drops = |rule: &&Vec<Value>| rule.iter().any(|one| one.get("drop").is_some());
    let statements = rules.filter(drops).flatten();
    statements.filter_map(|statement| statement["counter"]["packets"].as_u64()).sum()
}

/// Lets this host have every address there is.
pub(super) fn be_everybody() {
    for command in ["route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"] {
        assert!(
            Command::new("ip").args(command.split(' ')).status().unwrap().success(),
            "{command}"
        );
    }
    fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1").unwrap();
}

/// Opens every door of the configuration, without a gate behind it.
pub(super) fn open(config: &Config) {
    let interfaces = Interfaces::of_this_host().unwrap();
    for (at, _) in doors(config) {
        let listener = config.bind.open(at, &interfaces).unwrap();
        take_in(TcpListener::from_std(listener).unwrap());
    }
}

fn open_to_all(port: u16) {
    for host in ["0.0.0.0", "::"] {
        let at = SocketAddr::new(host.parse().unwrap(), port);
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
        if at.is_ipv6() {
            socket.set_only_v6(true).unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        socket.bind(&at.into()).unwrap();
        socket.listen(1024).unwrap();
        take_in(TcpListener::from_std(socket.into()).unwrap());
    }
}

fn take_in(listener: TcpListener) {
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
}

/// No packet carries these as its source, or no host can take them (RFC 6890).
fn is_somebody(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_broadcast() && ip.octets()[0] != 0 && ip.octets()[0] < 224,
        // A link-local one means nothing without its interface.
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unicast_link_local(),
    }
}

pub(super) fn nft(text: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{text}");
}

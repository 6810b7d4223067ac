//! The bind room against a real kernel, in a network of its own: no root, nothing of the host touched.

#![cfg(target_os = "linux")]

use std::env;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use doorward::bind::{BindPolicy, Interfaces, Listen, PortRange, Scope, ScopeRule};
use doorward::place::{Place, Written};
use doorward::problem::{Fault, Problem};

/// Set in the child that this binary starts of itself inside the namespace.
const INSIDE: &str = "DOORWARD_TEST_INSIDE";

/// Whether the scene may be played here. Outside, it starts this binary again for the one test, with a
/// user and a network namespace of its own, and says what came of it.
fn on_a_host_of_its_own(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        for command in HOST {
            let arguments = command.split(' ');
            assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {command}");
        }
        return true;
    }
    if let Some(tool) = missing() {
        crate::support::skipped(tool);
        return false;
    }
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let complaint = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}{complaint}");
    assert!(said.contains("1 passed"), "the child found no test {test}: {said}");
    false
}

/// Two ends of one cable, both with the same link-local address, as two networks may well have.
const HOST: [&str; 8] = [
    "link set lo up",
    "link add d0 type veth peer name d1",
    "link set d0 up",
    "link set d1 up",
    "addr add 10.20.0.5/24 dev d0",
    "addr add 10.20.0.6/24 dev d0 label d0:1",
    "-6 addr add fe80::1/64 dev d0 nodad",
    "-6 addr add fe80::1/64 dev d1 nodad",
];

fn missing() -> Option<&'static str> {
    if Command::new("ip").arg("-V").output().is_err() {
        return Some("ip (iproute2) is not installed");
    }
    let tried = "ip link add d0 type veth peer name d1 && ip -6 addr add fe80::1/64 dev d0 nodad";
    let trial = ["--user", "--map-root-user", "--net", "sh", "-c", tried];
    match Command::new("unshare").args(trial).output() {
        Err(_) => Some("unshare (util-linux) is not installed"),
        Ok(done) if !done.status.success() => {
            Some("this kernel gives no user a network of its own")
        }
        Ok(_) => None,
    }
}

fn policy(scope: Scope) -> BindPolicy {
    let place = Place::in_code("test");
    let ports = Written::new(PortRange::parse("1-65535").unwrap(), place.clone());
    BindPolicy::new(Written::new(scope, place), vec![ports])
}

fn only(rule: &str) -> BindPolicy {
    let rule = Written::new(ScopeRule::parse(rule).unwrap(), Place::in_code("test"));
    policy(Scope::Only(vec![rule]))
}

fn open(policy: &BindPolicy, listen: &str) -> Result<TcpListener, Problem> {
    let interfaces = Interfaces::of_this_host().unwrap();
    let addresses = Listen::parse(listen)?.resolve(&interfaces)?;
    policy.open(addresses[0], &interfaces)
}

/// What the kernel says to a visitor who knocks at `ip` with the port of the listener.
fn knock(listener: &TcpListener, ip: &str) -> Result<(), ErrorKind> {
    let port = listener.local_addr().unwrap().port();
    let door = SocketAddr::new(ip.parse().unwrap(), port);
    TcpStream::connect(door).map(drop).map_err(|error| error.kind())
}

#[test]
fn the_kernel_refuses_a_visitor_on_any_address_outside_the_scope() {
    if !on_a_host_of_its_own("bind::the_kernel_refuses_a_visitor_on_any_address_outside_the_scope")
    {
        return;
    }
    let local = open(&policy(Scope::Localhost), "127.0.0.1:0").unwrap();
    assert_eq!(knock(&local, "127.0.0.1"), Ok(()));
    for ip in ["10.20.0.5", "10.20.0.6", "127.0.0.2", "::1"] {
        assert_eq!(knock(&local, ip), Err(ErrorKind::ConnectionRefused), "{ip}");
    }
    let refused = open(&policy(Scope::Localhost), "10.20.0.5:0").unwrap_err();
    assert_eq!(refused.fault(), Fault::BindOutsideScope);

    for rule in ["d0", "10.20.0.0/24", "10.20.0.5"] {
        let wide = open(&only(rule), "10.20.0.5:0").unwrap();
        assert_eq!(knock(&wide, "10.20.0.5"), Ok(()), "{rule}");
        assert_eq!(knock(&wide, "127.0.0.1"), Err(ErrorKind::ConnectionRefused), "{rule}");
    }
}

#[test]
fn an_interface_in_scope_lends_its_link_local_address_to_no_other() {
    if !on_a_host_of_its_own("bind::an_interface_in_scope_lends_its_link_local_address_to_no_other")
    {
        return;
    }
    open(&only("d0"), "[fe80::1%d0]:0").unwrap();
    let refused = open(&only("d0"), "[fe80::1%d1]:0").unwrap_err();
    assert_eq!(refused.fault(), Fault::BindOutsideScope, "{refused}");
}

#[test]
fn an_address_with_a_label_belongs_to_its_interface() {
    if !on_a_host_of_its_own("bind::an_address_with_a_label_belongs_to_its_interface") {
        return;
    }
    let interfaces = Interfaces::of_this_host().unwrap();
    assert_eq!(interfaces.interface_of("10.20.0.6".parse().unwrap()), Some("d0"));
    open(&only("d0"), "10.20.0.6:0").unwrap();
}

use std::net::{IpAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use super::*;
use crate::place::Place;

fn place(line: u32) -> Place {
    Place::new("test.toml".into(), line, 1)
}

fn policy(scope: Scope, ports: &[&str]) -> BindPolicy {
    let ports = ports.iter().map(|text| Written::new(PortRange::parse(text).unwrap(), place(3)));
    BindPolicy::new(Written::new(scope, place(2)), ports.collect())
}

fn only(rules: &[&str]) -> Scope {
    let rules = rules.iter().map(|text| Written::new(ScopeRule::parse(text).unwrap(), place(2)));
    Scope::Only(rules.collect())
}

fn host() -> Interfaces {
    let address = |name: &str, ip: &str| (name.to_owned(), ip.parse().unwrap());
    Interfaces::new([
        address("lo", "127.0.0.1"),
        address("lo", "::1"),
        address("eth0", "10.20.0.5"),
        address("eth0", "2001:db8::5"),
    ])
}

fn verdict(policy: &BindPolicy, address: &str) -> String {
    match policy.judge(address.parse().unwrap(), &host()) {
        Ok(()) => "ok".to_owned(),
        Err(problem) => problem.fault().code().to_owned(),
    }
}

#[test]
fn localhost_is_loopback_and_nothing_else() {
    let policy = policy(Scope::Localhost, &["1-65535"]);
    for address in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        assert_eq!(verdict(&policy, address), "ok", "{address}");
    }
    for address in
        ["0.0.0.0:80", "[::]:80", "10.20.0.5:80", "[2001:db8::5]:80", "[::ffff:0.0.0.0]:80"]
    {
        assert_eq!(verdict(&policy, address), "bind.outside-scope", "{address}");
    }
}

#[test]
fn a_list_of_networks_never_covers_the_wildcard() {
    let policy = policy(only(&["0.0.0.0/1", "::/1"]), &["1-65535"]);
    assert_eq!(verdict(&policy, "10.20.0.5:80"), "ok");
    assert_eq!(verdict(&policy, "0.0.0.0:80"), "bind.outside-scope");
    assert_eq!(verdict(&policy, "[::]:80"), "bind.outside-scope");
}

#[test]
fn an_interface_covers_the_addresses_it_has_now() {
    let policy = policy(only(&["eth0"]), &["1-65535"]);
    assert_eq!(verdict(&policy, "10.20.0.5:80"), "ok");
    assert_eq!(verdict(&policy, "[2001:db8::5]:80"), "ok");
    assert_eq!(verdict(&policy, "10.20.0.6:80"), "bind.outside-scope");
    assert_eq!(verdict(&policy, "127.0.0.1:80"), "bind.outside-scope");
}

#[test]
fn a_port_outside_the_ranges_names_the_rule_and_the_change() {
    let policy = policy(Scope::Localhost, &["1024-2000", "8443"]);
    assert_eq!(verdict(&policy, "127.0.0.1:8443"), "ok");
    assert_eq!(verdict(&policy, "127.0.0.1:0"), "ok");
    let problem = policy.judge("127.0.0.1:80".parse().unwrap(), &host()).unwrap_err();
    assert_eq!(
        problem.to_string(),
        "bind.port-not-allowed port 80 of 127.0.0.1:80 is outside ports = [1024-2000, 8443] (test.toml:3:1)\n    \
         listen on a port inside, or add \"80\" to ports of [bind]"
    );
}

#[test]
fn a_listener_outside_names_the_rule_and_the_change() {
    let policy = policy(Scope::Localhost, &["1024-65535"]);
    let problem = policy.judge("10.20.0.5:8443".parse().unwrap(), &host()).unwrap_err();
    assert_eq!(
        problem.to_string(),
        "bind.outside-scope 10.20.0.5:8443 is outside scope = \"localhost\" (test.toml:2:1)\n    \
         listen on 127.0.0.1:8443, or write scope = [\"10.20.0.5\"] or [\"eth0\"]"
    );
}

#[test]
fn what_is_no_listener_says_what_one_is() {
    for (text, remedy) in [
        ("localhost:8443", "write [\"127.0.0.1:8443\", \"[::1]:8443\"]"),
        (
            ":8443",
            "write \"127.0.0.1:8443\"; for every network \"0.0.0.0:8443\" and scope = \"all\"",
        ),
        ("*:80", "write \"127.0.0.1:80\"; for every network \"0.0.0.0:80\" and scope = \"all\""),
        ("127.0.0.1", "write \"127.0.0.1:8443\""),
        ("::1", "write \"[::1]:8443\""),
        ("::1:8443", "write \"[::1]:8443\""),
        ("2001:db8::7:8443x", "write \"127.0.0.1:8443\" or \"[::1]:8443\""),
        (
            "eth0:8443",
            "write the address, or { interface = \"eth0\", port = 8443 } for an interface",
        ),
        ("[::ffff:10.1.2.3]:80", "write \"10.1.2.3:80\""),
        ("127.0.0.1:99999", "write \"127.0.0.1:8443\" or \"[::1]:8443\""),
    ] {
        let problem = Listen::parse(text).unwrap_err();
        assert_eq!((problem.fault(), problem.remedy()), (Fault::BindBadListen, remedy), "{text}");
    }
}

#[test]
fn an_interface_is_resolved_to_every_address_it_has() {
    let listen = Listen::Interface { name: "eth0".to_owned(), port: 80 };
    let addresses: Vec<_> =
        listen.resolve(&host()).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.20.0.5:80", "[2001:db8::5]:80"]);
    let typo = Listen::Interface { name: "eht0".to_owned(), port: 80 };
    assert_eq!(typo.resolve(&host()).unwrap_err().remedy(), "did you mean \"eth0\"?");
}

#[test]
fn what_is_no_scope_or_port_range_is_refused() {
    for text in ["", "all", "localhost", "a b", "eth*", "0.0.0.0/0", "::/0"] {
        assert_eq!(ScopeRule::parse(text).unwrap_err().fault(), Fault::BindBadScope, "{text}");
    }
    assert_eq!(ScopeRule::parse("10.1.2.3/8").unwrap_err().fault(), Fault::AddressHostBits);
    for text in ["", "0", "1-0", "70000", "80-", "-80", "+80", "http", "1024-1023"] {
        assert_eq!(PortRange::parse(text).unwrap_err().fault(), Fault::BindBadPorts, "{text}");
    }
}

fn any_port() -> BindPolicy {
    policy(Scope::Localhost, &["1-65535"])
}

fn this_host() -> Interfaces {
    Interfaces::of_this_host().unwrap()
}

fn open(address: &str) -> Result<TcpListener, Problem> {
    any_port().open(address.parse().unwrap(), &this_host())
}

#[test]
fn an_open_socket_is_where_the_policy_allows_it() {
    for address in ["127.0.0.1:0", "127.0.0.2:0"] {
        let listener = open(address).unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
    }
}

#[test]
fn the_port_the_system_chose_is_judged_after_the_bind() {
    let policy = policy(Scope::Localhost, &["1-2"]);
    let problem = policy.open("127.0.0.1:0".parse().unwrap(), &this_host()).unwrap_err();
    assert_eq!(problem.fault(), Fault::BindMoved);
}

#[test]
fn both_families_share_a_port_on_two_sockets() {
    let v4 = open("127.0.0.1:0").unwrap();
    let port = v4.local_addr().unwrap().port();
    match open(&format!("[::1]:{port}")) {
        Ok(v6) => assert_eq!(v6.local_addr().unwrap().port(), port),
        Err(problem) => println!("skipped: IPv6 is not on this machine ({problem})"),
    }
}

#[test]
fn a_port_in_use_names_the_process_that_holds_it() {
    let held = open("127.0.0.1:0").unwrap();
    let problem = open(&held.local_addr().unwrap().to_string()).unwrap_err();
    assert_eq!(problem.fault(), Fault::BindInUse);
    if cfg!(target_os = "linux") {
        let pid = format!("(pid {})", std::process::id());
        assert!(problem.message().ends_with(&pid), "{}", problem.message());
    }
}

/// As programs on Java hold every IPv4 address; and as a wildcard is refused by one address held.
#[cfg(target_os = "linux")]
#[test]
fn whoever_holds_the_port_is_named_however_it_holds_it() {
    let me = format!("(pid {})", std::process::id());
    let everywhere = policy(Scope::All, &["1-65535"]);
    for (held, wanted) in [
        ("[::ffff:127.0.0.1]:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("127.0.0.1:0", "0.0.0.0"),
    ] {
        let Ok(held) = TcpListener::bind(held) else {
            println!("skipped: IPv6 is not on this machine");
            continue;
        };
        let wanted = SocketAddr::new(wanted.parse().unwrap(), held.local_addr().unwrap().port());
        let problem = everywhere.open(wanted, &this_host()).unwrap_err();
        assert_eq!(problem.fault(), Fault::BindInUse);
        assert!(problem.message().ends_with(&me), "{wanted}: {problem}");
    }
}

#[test]
fn an_address_of_another_host_is_told_from_one_in_use() {
    let policy = policy(only(&["192.0.2.0/24"]), &["1-65535"]);
    let problem = policy.open("192.0.2.1:0".parse().unwrap(), &this_host()).unwrap_err();
    assert_eq!(problem.fault(), Fault::BindNoSuchAddress);
}

#[cfg(unix)]
#[test]
fn no_other_process_can_join_the_port() {
    let held = open("127.0.0.1:0").unwrap();
    let thief = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    thief.set_reuse_address(true).unwrap();
    thief.set_reuse_port(true).unwrap();
    let stolen = thief.bind(&held.local_addr().unwrap().into());
    assert_eq!(stolen.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[cfg(unix)]
#[test]
fn a_shared_socket_that_was_handed_over_is_refused() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let problem = any_port().inspect(&socket.into(), &this_host()).unwrap_err();
    assert_eq!(problem.fault(), Fault::BindMoved);
}

#[test]
fn a_wildcard_socket_that_was_handed_over_is_refused() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let problem = any_port().inspect(&listener, &this_host()).unwrap_err();
    assert_eq!(problem.fault(), Fault::BindMoved);
}

#[test]
fn a_socket_of_both_families_that_was_handed_over_is_refused() {
    let everywhere = policy(Scope::All, &["1-65535"]);
    let Ok(listener) = TcpListener::bind("[::]:0") else {
        println!("skipped: IPv6 is not on this machine");
        return;
    };
    let problem = everywhere.inspect(&listener, &this_host()).unwrap_err();
    assert!(problem.message().ends_with("takes IPv4 visitors too"), "{problem}");
}

/// Bound but not listening, another process of the same user could listen first and take the visitors.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_was_handed_over_without_listening_is_refused() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let problem = any_port().inspect(&socket.into(), &this_host()).unwrap_err();
    assert_eq!(problem.fault(), Fault::BindMoved);
    assert!(problem.message().ends_with("does not listen"), "{problem}");
}

#[test]
fn a_link_local_address_belongs_to_the_interface_of_its_zone() {
    let address = |name: &str| (name.to_owned(), "fe80::1".parse().unwrap());
    let host = Interfaces::new([address("eth0"), address("eth1")]);
    let at = |text: &str| Listen::parse(text).unwrap().resolve(&host).unwrap()[0];
    let policy = policy(only(&["eth0"]), &["1-65535"]);
    assert_eq!(policy.judge(at("[fe80::1%eth0]:80"), &host), Ok(()));
    let problem = policy.judge(at("[fe80::1%eth1]:80"), &host).unwrap_err();
    assert_eq!(problem.fault(), Fault::BindOutsideScope);
    assert!(problem.remedy().ends_with("or write scope = [\"eth1\"]"), "{problem}");
    let unzoned = policy.judge("[fe80::1]:80".parse().unwrap(), &host).unwrap_err();
    assert_eq!(unzoned.fault(), Fault::BindOutsideScope);
}

#[test]
fn a_zone_stands_behind_a_link_local_address_alone() {
    for (text, remedy) in [
        ("[::1%lo]:80", "write \"[::1]:80\""),
        ("[::ffff:10.1.2.3%eth0]:80", "write \"10.1.2.3:80\""),
        ("[::%eth0]:80", "write \"[::]:80\""),
    ] {
        let problem = Listen::parse(text).unwrap_err();
        assert_eq!((problem.fault(), problem.remedy()), (Fault::BindBadListen, remedy), "{text}");
    }
}

#[test]
fn the_report_says_who_can_reach_a_socket() {
    let report = |address: &str| any_port().exposure(address.parse().unwrap(), &host());
    assert_eq!(report("127.0.0.1:80"), "127.0.0.1:80 open to this machine only");
    assert_eq!(report("10.20.0.5:80"), "10.20.0.5:80 open to whoever reaches eth0");
    assert!(report("0.0.0.0:80").contains("EVERY network"));
    let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
    assert_eq!(host().interface_of(elsewhere), None);
}

//! The bind room against a real kernel, in a network of its own: no root, nothing of the host touched.

#![cfg(target_os = "linux")]

use std::env;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use doorward::bind::{BindPolicy, Interfaces, Listen, PortRange, Scope, ScopeRule};
use doorward::place::{Place, Written};
use doorward::problem::{Fault, Problem};
use tokio::io::AsyncWriteExt;

use crate::cli::{Guard, doorward, said};
use crate::support::{ALICE, Hall, Set, Visitor};

/// Set in the child that this binary starts of itself inside the namespace.
const INSIDE: &str = "DOORWARD_TEST_INSIDE";

/// Whether the scene may be played here. Outside, it starts this binary again for the one test, with a
/// user and a network namespace of its own, and says what came of it.
pub(crate) fn on_a_host_of_its_own(test: &str) -> bool {
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

pub(crate) fn missing() -> Option<&'static str> {
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

/// A whole configuration under this scope, with this listener, that lets the host's own addresses in.
fn configuration(set: &Set, scope: &str, listen: &str) -> String {
    let text = set.tables("").replace("[bind]\n", &format!("[bind]\nscope = {scope}\n"));
    let text = text.replace("\"127.0.0.0/8\"", "\"127.0.0.0/8\", \"10.20.0.0/24\"");
    text + &ALICE.replace("\"127.0.0.1:0\"", listen)
}

/// What `doorward connect` gets for a word at this address: its exit code, the reply, the complaint.
fn connect(set: &Set, to: SocketAddr) -> (i32, String, String) {
    let (chain, key) = set.write_credential("alice", &set.client("alice"));
    let [trust, chain, key] =
        [set.path("trust.pem"), chain, key].map(|path| path.display().to_string());
    let to = to.to_string();
    let files = ["--trust", &trust, "--certificate", &chain, "--key", &key];
    let rest = ["--to", &to, "--server-name", "localhost", "--retries", "0", "hello"];
    said(&doorward(Path::new("."), &[&["connect"], &files[..], &rest].concat()))
}

/// How `doorward serve` refuses this configuration: its exit code, and the line of the problem with the
/// line of the remedy.
fn refusal(set: &Set, config: &str) -> (i32, String) {
    let file = set.write("refused.toml", config.as_bytes());
    let (code, out, err) =
        said(&doorward(Path::new("."), &["serve", "--config", file.to_str().unwrap()]));
    assert_eq!(out, "", "no door is announced");
    (code, err.replace(file.to_str().unwrap(), "FILE"))
}

/// The line of a configuration that begins so, counted from one.
fn line_of(config: &str, begins: &str) -> usize {
    config.lines().position(|line| line.starts_with(begins)).unwrap() + 1
}

#[test]
fn the_command_is_reached_on_the_interface_it_listens_on_and_nowhere_else() {
    if !on_a_host_of_its_own(
        "bind::the_command_is_reached_on_the_interface_it_listens_on_and_nowhere_else",
    ) {
        return;
    }
    let set = Set::new();
    let local = Guard::start(&set, &configuration(&set, "\"localhost\"", "\"127.0.0.1:0\""));
    let door = local.address();
    assert_eq!(connect(&set, door), (0, "hello\n".to_owned(), String::new()));
    let elsewhere = SocketAddr::new("10.20.0.5".parse().unwrap(), door.port());
    let (code, _, err) = connect(&set, elsewhere);
    assert!(code == 1 && err.contains("refused"), "{code} {err}");

    let wide = configuration(&set, "[\"10.20.0.0/24\"]", "{ interface = \"d0\", port = 0 }");
    // An interface is all its addresses: one outside the scope refuses the start, and is named.
    let (code, err) = refusal(&set, &wide);
    assert!(code == 3 && err.contains("bind.outside-scope [fe80::1%"), "{code} {err}");
    let flush = ["-6", "addr", "flush", "dev", "d0"];
    assert!(Command::new("ip").args(flush).status().unwrap().success());
    let wide = Guard::start(&set, &wide);
    let door = wide.address();
    assert_eq!(door.ip().to_string(), "10.20.0.5");
    assert_eq!(connect(&set, door), (0, "hello\n".to_owned(), String::new()));
    let elsewhere = SocketAddr::new("127.0.0.1".parse().unwrap(), door.port());
    let (code, _, err) = connect(&set, elsewhere);
    assert!(code == 1 && err.contains("refused"), "{code} {err}");
}

#[test]
fn a_listener_outside_the_policy_is_refused_with_its_line_the_rule_and_the_change() {
    let set = Set::new();
    let config = configuration(&set, "\"localhost\"", "\"192.0.2.7:8443\"");
    let (listen, scope) = (line_of(&config, "listen"), line_of(&config, "scope"));
    let expected = format!(
        "FILE:{listen}:10 bind.outside-scope 192.0.2.7:8443 is outside scope = \"localhost\" (FILE:{scope}:9)\n    \
         listen on 127.0.0.1:8443, or write scope = [\"192.0.2.7\"]\n"
    );
    let (code, err) = refusal(&set, &config);
    assert_eq!(code, 3);
    assert!(err.contains(&expected), "{err} instead of {expected}");

    let config =
        configuration(&set, "\"localhost\"", "\"127.0.0.1:999\"").replace("1-65535", "1024-65535");
    let (listen, ports) = (line_of(&config, "listen"), line_of(&config, "ports"));
    let expected = format!(
        "FILE:{listen}:10 bind.port-not-allowed port 999 of 127.0.0.1:999 is outside ports = [1024-65535] (FILE:{ports}:10)\n    \
         listen on a port inside, or add \"999\" to ports of [bind]\n"
    );
    let (code, err) = refusal(&set, &config);
    assert_eq!(code, 3);
    assert!(err.contains(&expected), "{err} instead of {expected}");
}

#[test]
fn a_port_in_use_is_exit_code_four_and_names_the_process() {
    let set = Set::new();
    let first = Guard::start(&set, &configuration(&set, "\"localhost\"", "\"127.0.0.1:0\""));
    let door = first.address();
    let (code, err) = refusal(&set, &configuration(&set, "\"localhost\"", &format!("\"{door}\"")));
    let holder = format!("bind.in-use {door} is in use by doorward (pid {})", first.id());
    assert_eq!(code, 4);
    assert!(err.contains(&holder), "{err} instead of {holder}");
}

#[test]
fn a_door_that_is_open_to_every_network_says_so_at_the_start() {
    // Such a door is opened where no network is.
    if !on_a_host_of_its_own("bind::a_door_that_is_open_to_every_network_says_so_at_the_start") {
        return;
    }
    let set = Set::new();
    let mut guard = Guard::start(&set, &configuration(&set, "\"all\"", "\"0.0.0.0:0\""));
    let door = guard.address();
    let exposure = format!("{door} open to EVERY network of this host (scope = \"all\")");
    assert!(guard.report().iter().any(|line| line.ends_with(&exposure)), "{:?}", guard.report());
    let err = guard.stop();
    assert!(err.contains("bind.open-to-all warning: "), "{err}");
}

#[test]
fn an_address_that_disappears_takes_its_socket_and_sessions_along_and_may_come_back() {
    let name =
        "bind::an_address_that_disappears_takes_its_socket_and_sessions_along_and_may_come_back";
    if !on_a_host_of_its_own(name) {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let set = Set::new();
        let ip = |command: &str| {
            assert!(Command::new("ip").args(command.split(' ')).status().unwrap().success());
        };
        // IPv4 alone: an address of the other family is not to be had while the kernel looks for twins.
        ip("-6 addr flush dev d0");
        let tables = set.tables("").replace("[bind]\n", "[bind]\nscope = [\"d0\"]\n");
        let tables = tables.replace("\"127.0.0.0/8\"", "\"10.0.0.0/8\"");
        let listen = "listen = { interface = \"d0\", port = 9443 }";
        let mut hall =
            Hall::of(&format!("{tables}{}", ALICE.replace("listen = \"127.0.0.1:0\"", listen)));
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 9443);
        let alice = Visitor::new(&set, Some(&set.client("alice")));
        let mut session = alice.enter_as(at("10.20.0.6"), "localhost").await.unwrap();
        hall.permitted().await;

        ip("addr del 10.20.0.6/24 dev d0");
        assert_eq!(hall.verdict().await, "accept.out-of-scope");
        assert_eq!(hall.rebound().await, ([].into(), ["10.20.0.6:9443".to_owned()].into()));
        session.get_ref().0.set_zero_linger().unwrap();
        drop(session.shutdown().await);
        ip("addr add 10.20.0.6/24 dev d0");
        assert_eq!(hall.rebound().await, (["10.20.0.6:9443".to_owned()].into(), [].into()));
        alice.enter_as(at("10.20.0.6"), "localhost").await.unwrap();
        hall.permitted().await;

        // The whole interface goes, and the listener waits for it.
        ip("link del d0");
        let (opened, closed) = hall.rebound().await;
        assert_eq!((opened.len(), closed.len()), (0, 2), "{closed:?}");
        hall.control.reload().await.expect("a listener that waits refuses no new state");
        ip("link add d0 type veth peer name d1");
        ip("link set d0 up");
        ip("link set d1 up");
        ip("addr add 10.20.0.9/24 dev d0");
        loop {
            if hall.rebound().await.0.contains(&"10.20.0.9:9443".to_owned()) {
                break;
            }
        }
        alice.enter_as(at("10.20.0.9"), "localhost").await.unwrap();
        hall.permitted().await;
    });
}

/// A second host: a network of its own, at the other end of the cable. It goes with the test.
struct Neighbour(std::process::Child);

impl Neighbour {
    /// Has these addresses, each with its network.
    fn with(addresses: &[&str]) -> Self {
        use std::io::{BufRead, BufReader};
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo here; exec sleep 600"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let neighbour = Self(child);
        let id = neighbour.0.id().to_string();
        assert!(
            Command::new("ip")
                .args(["link", "set", "d1", "netns", &id])
                .status()
                .unwrap()
                .success()
        );
        for address in addresses {
            neighbour.run("ip", &["addr", "add", address, "dev", "d1"]);
        }
        neighbour.run("ip", &["link", "set", "d1", "up"]);
        neighbour
    }

    fn run(&self, program: &str, words: &[&str]) {
        let output = self.try_to(program, words);
        assert!(output.status.success(), "{program} {words:?} {output:?}");
    }

    fn try_to(&self, program: &str, words: &[&str]) -> std::process::Output {
        let id = self.0.id().to_string();
        Command::new("nsenter").args(["-t", &id, "-n", program]).args(words).output().unwrap()
    }

    /// What `doorward connect` says from there.
    fn connect(&self, directory: &Path, to: &str) -> String {
        let name = ["client/alice/chain.pem", "client/alice/key.pem", "trust.pem"];
        let [chain, key, trust] =
            name.map(|name| directory.join("certs").join(name).display().to_string());
        let output = self.try_to(
            env!("CARGO_BIN_EXE_doorward"),
            &[
                "connect",
                "--to",
                to,
                "--server-name",
                "localhost",
                "--certificate",
                &chain,
                "--key",
                &key,
                "--trust",
                &trust,
                "hello",
            ],
        );
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What the host with the service needs, in `etc`: under a wide scope the authority's key may not lie beside it.
fn without_the_authority(directory: &Path) {
    let etc = directory.join("etc");
    std::fs::create_dir(&etc).unwrap();
    for file in
        ["server/localhost/chain.pem", "server/localhost/key.pem", "trust.pem", "ca/crl.pem"]
    {
        let from = directory.join("certs").join(file);
        std::fs::copy(&from, etc.join(from.file_name().unwrap())).unwrap();
    }
}

#[test]
fn on_a_local_network_the_shipped_configuration_lets_in_whom_it_says() {
    if !on_a_host_of_its_own(
        "bind::on_a_local_network_the_shipped_configuration_lets_in_whom_it_says",
    ) {
        return;
    }
    Command::new("ip").args(["-6", "addr", "flush", "dev", "d0"]).status().unwrap();
    let route = ["route", "add", "10.20.0.0/16", "dev", "d0"];
    assert!(Command::new("ip").args(route).status().unwrap().success());
    // One address in the network that may come in by name, one that may not, and the one that is kept out.
    let neighbour = Neighbour::with(&["10.20.0.9/16", "10.20.7.9/16", "10.20.0.66/16"]);
    let directory = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/lan.toml");
    let text = std::fs::read_to_string(shipped).unwrap();
    // The kind is an echo here, because what is behind the door is not what this is about.
    let text = text
        .replace("eth0", "d0")
        .replace("/etc/doorward", "etc")
        .replace("kind = \"forward\"\nto = \"127.0.0.1:8080\"", "kind = \"echo\"");
    std::fs::write(directory.path().join("doorward.toml"), text).unwrap();
    doorward::pki::development(&directory.path().join("certs")).unwrap();
    without_the_authority(directory.path());
    let mut guard = crate::cli::serve_with(directory.path(), &["--config", "doorward.toml"]);
    let report = guard.report().join("\n");
    assert!(report.contains("10.20.0.5:8443 open to whoever reaches d0"), "{report}");

    let from = |source: &str| {
        // The kernel chooses the source by the route.
        neighbour.run("ip", &["route", "replace", "10.20.0.5/32", "dev", "d1", "src", source]);
        neighbour.connect(directory.path(), "10.20.0.5:8443")
    };
    assert_eq!(from("10.20.0.9"), "hello\n");
    let elsewhere = from("10.20.7.9");
    assert!(!elsewhere.contains("hello\n"), "{elsewhere}");
    let denied = from("10.20.0.66");
    assert!(!denied.contains("hello\n"), "{denied}");
    let filtered = is_filtered(&guard);
    let said = guard.stop();
    assert!(said.contains("identity.wrong-network"), "{said}");
    assert_eq!(said.contains("address.denied"), !filtered, "{said}");
}

#[test]
fn a_wildcard_listener_on_two_networks_lets_in_only_the_listed_one() {
    if !on_a_host_of_its_own(
        "bind::a_wildcard_listener_on_two_networks_lets_in_only_the_listed_one",
    ) {
        return;
    }
    let neighbour = Neighbour::with(&["10.20.0.9/24", "10.30.0.9/24"]);
    assert!(
        Command::new("ip")
            .args(["addr", "add", "10.30.0.5/24", "dev", "d0"])
            .status()
            .unwrap()
            .success()
    );
    let directory = tempfile::tempdir().unwrap();
    doorward::pki::development(&directory.path().join("certs")).unwrap();
    let text = "[bind]\nscope = \"all\"\n[address]\nallow = [\"10.20.0.0/24\"]\n\
         [handshake]\ncertificate = \"etc/chain.pem\"\nkey = \"etc/key.pem\"\n\
         clients = \"etc/trust.pem\"\ncrl = \"etc/crl.pem\"\n\
         [[service]]\nname = \"echo\"\nlisten = \"0.0.0.0:8443\"\nkind = \"echo\"\n\
         [[service.identity]]\npermit = [\"dns:alice.client.internal\"]\n";
    without_the_authority(directory.path());
    std::fs::write(directory.path().join("doorward.toml"), text).unwrap();
    let mut guard = crate::cli::serve_with(directory.path(), &["--config", "doorward.toml"]);
    assert_eq!(neighbour.connect(directory.path(), "10.20.0.5:8443"), "hello\n");
    let stranger = neighbour.connect(directory.path(), "10.30.0.5:8443");
    assert!(!stranger.contains("hello\n"), "{stranger}");
    let filtered = is_filtered(&guard);
    assert_eq!(guard.stop().contains("code=address.not-listed"), !filtered);
}

/// Whether the kernel drops whoever is not listed, before there is anything to record.
fn is_filtered(guard: &Guard) -> bool {
    guard.report().iter().any(|line| line.trim_start().starts_with("kernel "))
}

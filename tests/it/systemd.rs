//! systemd, played by the test: it hands over sockets, listens for news, and reads the units.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use doorward::systemd::Systemd;
use socket2::{Domain, Socket, Type};

use crate::cli::{DOORWARD, Guard, block_on, fresh_clone, said, serve_in};
use crate::sandbox::status;
use crate::support::{ALICE, Set, Visitor, prefixed, skipped};

/// A service manager that listens for news.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        // An end to waiting where nothing comes.
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, path, _directory: directory }
    }

    /// The lines of the next message.
    fn hears(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        str::from_utf8(&message[..length]).unwrap().lines().map(str::to_owned).collect()
    }
}

/// A shell that becomes `doorward serve` with descriptors from 3 on: as `opened` says, which may use the
/// socket that is its standard input. They go by `names`.
pub(crate) fn activated(
    socket: impl Into<OwnedFd>,
    opened: &str,
    names: &str,
    config: &Path,
) -> Command {
    let count = names.split(':').count();
    let script = format!(
        "export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES='{names}'; \
         exec \"$0\" serve --config \"$1\" {opened} </dev/null"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, DOORWARD]).arg(config).stdin(Stdio::from(socket.into()));
    command
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A configuration whose echo service listens on what is handed over as `web`.
pub(crate) fn inherited(set: &Set) -> PathBuf {
    let text = set.tables("") + &ALICE.replace("127.0.0.1:0", "systemd:web");
    set.write("doorward.toml", text.as_bytes())
}

pub(crate) fn say(set: &Set, to: SocketAddr, word: &[u8]) -> Vec<u8> {
    let alice = Visitor::new(set, Some(&set.client("alice")));
    block_on(alice.say(to, &prefixed(word))).unwrap()
}

#[test]
fn systemd_hears_when_the_service_is_ready_alive_and_stopping() {
    let (set, manager) = (Set::new(), Manager::new());
    let config = set.write("doorward.toml", (set.tables("") + ALICE).as_bytes());
    let mut command = Command::new(DOORWARD);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "200000");
    command.args(["serve", "--config"]).arg(config);
    let mut guard = Guard::run(command);
    let status_line = format!("STATUS=guarding echo at {}", guard.address());
    assert_eq!(manager.hears(), ["READY=1".to_owned(), status_line]);
    for _ in 0..3 {
        assert_eq!(manager.hears(), ["WATCHDOG=1"]);
    }
    guard.signal("TERM");
    let mut heard = manager.hears();
    while heard == ["WATCHDOG=1"] {
        heard = manager.hears();
    }
    assert_eq!(heard, ["STOPPING=1"]);
    assert!(guard.ended());
}

#[test]
fn ready_is_not_said_before_the_sandbox_holds() {
    let (set, manager) = (Set::new(), Manager::new());
    let config = set.write("doorward.toml", (set.tables("") + ALICE).as_bytes());
    let mut child = Command::new(DOORWARD)
        .env("NOTIFY_SOCKET", &manager.path)
        .args(["serve", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let first = manager.hears();
    let state = status(&format!("/proc/{}", child.id()), "Seccomp");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((first[0].as_str(), state.as_str()), ("READY=1", "2"));
}

#[test]
fn a_reload_is_told_with_its_time_and_ends_with_ready() {
    const INSIDE: &str = "DOORWARD_TEST_NOTIFIES";
    const NAME: &str = "systemd::a_reload_is_told_with_its_time_and_ends_with_ready";
    if env::var_os(INSIDE).is_some() {
        let systemd = Systemd::of_this_process();
        systemd.reloading();
        systemd.ready("two services\nREADY=0");
        return;
    }
    let manager = Manager::new();
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(INSIDE, "1")
        .env("NOTIFY_SOCKET", &manager.path)
        .output()
        .unwrap();
    assert!(child.status.success());
    let reloading = manager.hears();
    assert_eq!(reloading[0], "RELOADING=1");
    let now = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(now.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.hears(), ["READY=1", "STATUS=two services READY=0"]);
}

#[test]
fn a_socket_that_is_handed_over_is_served() {
    let (set, socket) = (Set::new(), listener());
    let at = socket.local_addr().unwrap();
    let guard = Guard::run(activated(socket, "3<&0", "web", &inherited(&set)));
    assert_eq!(guard.address(), at);
    assert_eq!(say(&set, at, b"hi"), prefixed(b"hi"));
}

#[test]
fn who_comes_during_a_restart_is_served_by_the_next_process() {
    let (set, socket) = (Set::new(), listener());
    let at = socket.local_addr().unwrap();
    let config = inherited(&set);
    let started = || Guard::run(activated(socket.try_clone().unwrap(), "3<&0", "web", &config));
    let mut first = started();
    assert_eq!(say(&set, at, b"one"), prefixed(b"one"));
    first.stop();
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let waiting = std::thread::spawn(move || block_on(alice.say(at, &prefixed(b"two"))));
    let _second = started();
    assert_eq!(waiting.join().unwrap().unwrap(), prefixed(b"two"));
}

#[test]
fn a_descriptor_that_nobody_names_is_closed_and_told() {
    let (set, socket) = (Set::new(), listener());
    let config = inherited(&set);
    let mut guard = Guard::run(activated(socket, "3<&0 4</dev/zero", "web:spare", &config));
    let open = fs::read_dir(format!("/proc/{}/fd", guard.id())).unwrap();
    for descriptor in open {
        let target = fs::read_link(descriptor.unwrap().path()).unwrap_or_default();
        assert_ne!(target, Path::new("/dev/zero"));
    }
    let err = guard.stop();
    let told = "bind.inherited warning: a descriptor was handed over as \"spare\", which no listener names; \
                it was closed";
    assert!(err.contains(told), "{err}");
}

/// How a start with this socket as `web` is refused.
fn refused(socket: impl Into<OwnedFd>, opened: &str, config: &Path) -> String {
    let mut command = activated(socket, opened, "web", config);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    if !first.is_empty() {
        // It serves, which would go on for ever.
        child.kill().unwrap();
    }
    let (code, _, err) = said(&child.wait_with_output().unwrap());
    assert_eq!((code, first.as_str()), (3, ""), "{err}");
    err
}

#[test]
fn a_socket_that_is_handed_over_is_held_against_the_bind_policy() {
    let set = Set::new();
    let config = inherited(&set);
    let shared = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    shared.set_reuse_port(true).unwrap();
    shared.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    shared.listen(1).unwrap();
    let err = refused(shared, "3<&0", &config);
    assert!(err.contains("bind.moved") && err.contains("share its port"), "{err}");

    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    silent.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let err = refused(silent, "3<&0", &config);
    assert!(err.contains("bind.moved") && err.contains("does not listen"), "{err}");

    let err = refused(UdpSocket::bind("127.0.0.1:0").unwrap(), "3<&0", &config);
    assert!(err.contains("bind.inherited \"web\" is no TCP socket"), "{err}");

    let text = fs::read_to_string(&config).unwrap();
    let few = set.write("few.toml", text.replace("1-65535", "1-9").as_bytes());
    let err = refused(listener(), "3<&0", &few);
    assert!(err.contains("bind.port-not-allowed") && err.contains("few.toml:"), "{err}");

    let only = text.replace("[bind]\n", "[bind]\nscope = [\"127.0.0.9\"]\n");
    let elsewhere = set.write("scope.toml", only.as_bytes());
    let err = refused(listener(), "3<&0", &elsewhere);
    assert!(err.contains("bind.outside-scope"), "{err}");
}

#[test]
fn a_socket_that_is_missing_or_meant_twice_refuses_the_start() {
    let set = Set::new();
    let config = inherited(&set);
    let output = Command::new(DOORWARD).args(["serve", "--config"]).arg(&config).output().unwrap();
    let (code, _, err) = said(&output);
    assert_eq!(code, 3);
    assert!(
        err.contains("bind.inherited no socket was handed over under the name \"web\""),
        "{err}"
    );
    // Whether it will be there, only systemd knows.
    let output = Command::new(DOORWARD).args(["check", "--config"]).arg(&config).output().unwrap();
    let (code, out, _) = said(&output);
    assert_eq!(code, 0, "{out}");

    let socket = listener();
    let at = socket.local_addr().unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let twice = text.replace("\"systemd:web\"", &format!("[\"systemd:web\", \"{at}\"]"));
    let twice = set.write("twice.toml", twice.as_bytes());
    let err = refused(socket, "3<&0", &twice);
    assert!(err.contains("bind.duplicate") && err.contains("is handed over as \"web\""), "{err}");
}

#[test]
fn descriptors_that_were_meant_for_another_process_are_left_alone() {
    let set = Set::new();
    let script =
        "LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" serve --config \"$1\" 3<&0";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, DOORWARD])
        .arg(inherited(&set))
        .stdin(Stdio::from(OwnedFd::from(listener())));
    let (code, _, err) = said(&command.output().unwrap());
    assert_eq!(code, 3);
    assert!(err.contains("no socket was handed over"), "{err}");
}

#[test]
fn systemd_socket_activate_starts_it_at_the_first_visitor() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        return skipped("systemd-socket-activate is not installed");
    }
    let set = Set::new();
    let config = inherited(&set);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = Command::new("systemd-socket-activate")
        .args(["--fdname=web", "-l", &free.to_string(), DOORWARD, "serve", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    let heard = block_on(async {
        loop {
            match alice.say(free, &prefixed(b"hi")).await {
                // It does not listen yet.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    assert_eq!(child.try_wait().unwrap(), None, "it ended");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                said => break said,
            }
        }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(heard.unwrap(), prefixed(b"hi"));
}

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/systemd");

#[test]
fn the_shipped_unit_leaves_little_open() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skipped("systemd-analyze is not installed");
    }
    let unit = format!("{UNITS}/doorward.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=15", &unit])
        .output()
        .unwrap();
    let (code, out, err) = said(&output);
    if err.contains("unrecognized option") || err.contains("Unknown option") {
        return skipped("systemd-analyze of this version does not judge files");
    }
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("Overall exposure level for doorward.service: 1."), "{out}");
    assert!(!err.contains("Unknown") && !err.contains("ignoring"), "{err}");
}

#[test]
fn the_shipped_configuration_starts_on_the_sockets_of_the_shipped_unit() {
    let unit = fs::read_to_string(format!("{UNITS}/doorward.socket")).unwrap();
    let name = unit.lines().find_map(|line| line.strip_prefix("FileDescriptorName=")).unwrap();
    let directory = fresh_clone();
    serve_in(directory.path()).stop();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/systemd.toml");
    let text = fs::read_to_string(shipped).unwrap();
    let socket = listener();
    let port = socket.local_addr().unwrap().port().to_string();
    // The port is the test's; this kernel may lack a part of what the file requires.
    let text = text.replace("\"8443\"", &format!("\"{port}\"")).replace("require = true", "");
    let config = directory.path().join("config/systemd.toml");
    fs::write(&config, text).unwrap();
    let mut command = activated(socket, "3<&0", name, &config);
    command.current_dir(directory.path());
    let guard = Guard::run(command);
    assert_eq!(guard.address().port().to_string(), port);
    assert!(
        guard.report().contains(&"service redis: forward to unix:/run/redis/redis.sock".to_owned())
    );
}

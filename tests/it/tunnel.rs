//! The tunnel: who may call, who the server must be, and what happens to the bytes in between.

mod config;
mod scene;

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use doorward::audit::Event;
use doorward::handshake::Presented;
use doorward::tunnel::Denial;

use crate::cli::Guard;
use crate::support::{Hall, Set};
use scene::{
    Caller, RAW, Running, can_be_others, command, heard_by, listener, public, refused, set, unix,
};

fn hall(set: &Set) -> Hall {
    Hall::open(set, RAW)
}

/// An address at which nobody listens for as long as this lives.
fn nobody() -> (socket2::Socket, SocketAddr) {
    use socket2::{Domain, Socket, Type};
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let at = held.local_addr().unwrap().as_socket().unwrap();
    (held, at)
}

#[test]
fn bytes_go_both_ways_over_tcp_and_unix_through_the_real_commands() {
    let set = set();
    let mut server = Guard::start(&set, &(set.tables("") + RAW));
    let (_directory, path) = public();
    for listen in ["127.0.0.1:0", "[::1]:0", &unix(&path)] {
        let mut tunnel = Running::start(&set, listen, server.address(), &[]);
        let mut caller = tunnel.call();
        caller.echo("PING\r\n");
        // More than all buffers on the way hold; the end of one side is not the end of the other.
        let words: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
        let (mut saying, said) = (caller.again(), words.clone());
        let saying = std::thread::spawn(move || {
            saying.say(&said);
            saying.end();
        });
        assert!(caller.rest().unwrap() == words);
        saying.join().unwrap();
        let left = tunnel.logged(&["left", "sent=1200006", "received=1200006"]);
        assert!(left.contains("tunnel=tunnel"), "{left}");
        tunnel.signal("TERM");
        assert_eq!(tunnel.ended().0, Some(0));
    }
    assert!(!path.exists(), "the socket goes with the tunnel");
    let log = server.stop();
    assert_eq!(log.matches(" left ").count(), 3, "{log}");
}

#[test]
fn the_start_says_what_is_open_to_whom_and_where_it_leads() {
    let (set, (_held, to)) = (set(), nobody());
    let tunnel = Running::start(&set, "127.0.0.1:0", to, &["--server-name", "db.internal"]);
    let report = tunnel.report.join("\n");
    let own = nix::unistd::geteuid();
    for words in [
        format!("tunnel tunnel: to {to}"),
        "open to this machine only".to_owned(),
        format!("(uid {own}), who runs this, and nobody else"),
        format!("db.internal, vouched for by {}", set.path("trust.pem").display()),
        "dns:alice.client.internal".to_owned(),
        "64 callers, connected within 5s, idle 600s".to_owned(),
    ] {
        assert!(report.contains(&words), "{words:?} in {report}");
    }
    let mut wide = Running::start(&set, "127.0.0.1:0", to, &["--allow-any-user"]);
    assert!(wide.report.join("\n").contains("EVERY user of this machine"), "{:?}", wide.report);
    wide.logged(&["tunnel.any-user warning:"]);
    wide.signal("INT");
    assert_eq!(wide.ended().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_the_right_one_hears_nothing_of_the_caller() {
    let (set, stranger) = (set(), Set::new());
    let mut hall = hall(&set);
    let other = doorward::handshake::Pin::from_digest([7; 32]).to_string();
    let trust = stranger.path("trust.pem").display().to_string();
    for (args, code) in [
        (["--server-name", "elsewhere.internal"], "client.wrong-name"),
        (["--pin", other.as_str()], "client.wrong-pin"),
    ] {
        let tunnel = Running::start(&set, "127.0.0.1:0", hall.address("echo"), &args);
        let mut caller = tunnel.call();
        caller.say(b"secret");
        assert!(caller.is_closed(), "{code}");
        tunnel.logged(&["refused", &format!("code={code}")]);
        assert_eq!(hall.verdict().await, "handshake.client-alert", "{code}");
    }
    let mut wrong = command(&set, "127.0.0.1:0", &hall.address("echo").to_string(), &[]);
    let args: Vec<_> = wrong.get_args().map(std::ffi::OsStr::to_owned).collect();
    let own = set.path("trust.pem");
    let args =
        args.into_iter().map(|arg| if arg == own.as_os_str() { trust.clone().into() } else { arg });
    wrong = Command::new(scene::DOORWARD);
    wrong.args(args);
    let tunnel = Running::run(wrong);
    let mut caller = tunnel.call();
    caller.say(b"secret");
    assert!(caller.is_closed());
    tunnel.logged(&["refused", "code=client.unknown-authority"]);
    assert_eq!(hall.verdict().await, "handshake.client-alert");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_pin_lets_the_caller_through() {
    let set = set();
    let hall = hall(&set);
    let chain = doorward::pki::keyfile::read_chain(&set.path("chain.pem")).unwrap();
    let pin = Presented::read(&chain[0]).unwrap().pin().to_string();
    let other = doorward::handshake::Pin::from_digest([7; 32]).to_string();
    let pins = ["--pin", &other, "--pin", &pin];
    let tunnel = Running::start(&set, "127.0.0.1:0", hall.address("echo"), &pins);
    assert!(tunnel.report.join("\n").contains("with one of 2 pinned keys"), "{:?}", tunnel.report);
    tunnel.call().echo("hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_refused_on_tcp_and_unix() {
    if !can_be_others() {
        return;
    }
    let set = set();
    let hall = hall(&set);
    let (_directory, path) = public();
    for (listen, mode) in [("127.0.0.1:0", "0600"), (&unix(&path), "0666")] {
        let tunnel = Running::start(&set, listen, hall.address("echo"), &["--mode", mode]);
        assert_eq!(heard_by(65534, 65534, &tunnel.at()), "", "{listen}");
        let line = tunnel.logged(&["refused", "code=tunnel.not-permitted"]);
        assert!(line.contains("uid 65534"), "{line}");
        tunnel.call().echo("hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_listed_may_call_and_the_own_user_only_if_it_is_listed_too() {
    if !can_be_others() {
        return;
    }
    let set = set();
    let hall = hall(&set);
    let (_directory, path) = public();
    for listen in ["127.0.0.1:0", &unix(&path)] {
        for rule in [["--allow-user", "65534"], ["--allow-group", "65534"]] {
            let more = [&rule[..], &["--mode", "0666"]].concat();
            let tunnel = Running::start(&set, listen, hall.address("echo"), &more);
            assert_eq!(heard_by(65534, 65534, &tunnel.at()), "hello", "{listen} {rule:?}");
            assert!(tunnel.call().is_closed(), "{listen} {rule:?}");
            tunnel.logged(&["code=tunnel.not-permitted", "uid 0"]);
        }
        // The group of the process counts where the system tells it.
        let more = ["--allow-group", "4242", "--mode", "0666"];
        let tunnel = Running::start(&set, listen, hall.address("echo"), &more);
        let told = if listen.starts_with("unix:") { "hello" } else { "" };
        assert_eq!(heard_by(65534, 4242, &tunnel.at()), told, "{listen}");
        drop(tunnel);
        let more = ["--allow-any-user", "--mode", "0666"];
        let tunnel = Running::start(&set, listen, hall.address("echo"), &more);
        assert_eq!(heard_by(4711, 4711, &tunnel.at()), "hello", "{listen}");
        tunnel.call().echo("hello");
    }
}

#[test]
fn a_caller_that_is_gone_before_it_is_asked_for_is_unknown() {
    let (set, (_held, to)) = (set(), nobody());
    let tunnel = Running::start(&set, "127.0.0.1:0", to, &[]);
    // While the tunnel does not run, the caller comes and goes.
    tunnel.signal("STOP");
    drop(tunnel.call());
    tunnel.signal("CONT");
    tunnel.logged(&["refused", "code=tunnel.unknown-caller"]);
    // Where every user may call, nobody needs to be known.
    let tunnel = Running::start(&set, "127.0.0.1:0", to, &["--allow-any-user"]);
    tunnel.signal("STOP");
    drop(tunnel.call());
    tunnel.signal("CONT");
    tunnel.logged(&["refused", "code=client.refused"]);
}

#[test]
fn nobody_can_join_the_port_of_a_tunnel() {
    use socket2::{Domain, Socket, Type};
    let (set, (_held, to)) = (set(), nobody());
    let tunnel = Running::start(&set, "127.0.0.1:0", to, &[]);
    for at in [tunnel.address(), SocketAddr::from(([0, 0, 0, 0], tunnel.address().port()))] {
        let thief = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        thief.set_reuse_address(true).unwrap();
        thief.set_reuse_port(true).unwrap();
        let stolen = thief.bind(&at.into()).and_then(|()| thief.listen(1));
        assert_eq!(stolen.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    }
    let again = command(&set, &tunnel.at(), &to.to_string(), &[]);
    let (code, said) = refused(again);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("bind.in-use") && said.contains("doorward"), "{said}");
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let (set, (_held, to)) = (set(), nobody());
    let (directory, path) = public();
    let listen = unix(&path);
    let start = || Running::start(&set, &listen, to, &[]);
    let mut first = start();
    // Its process ends without a word, and its socket stays.
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert!(path.exists());
    let second = start();
    let again = || refused(command(&set, &listen, &to.to_string(), &[]));
    let (code, said) = again();
    assert!(code == 4 && said.contains("bind.in-use"), "{said}");
    drop(second.call());
    drop(second);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let (code, said) = again();
    assert!(code == 3 && said.contains("bind.socket-path"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    let everybody = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777);
    fs::set_permissions(directory.path(), everybody).unwrap();
    let (code, said) = again();
    assert!(code == 3 && said.contains("bind.socket-path"), "{said}");
    assert!(!path.exists());
}

#[test]
fn a_socket_of_another_user_is_not_replaced() {
    if !can_be_others() {
        return;
    }
    let (set, (_held, to)) = (set(), nobody());
    let (_directory, path) = public();
    drop(UnixListener::bind(&path).unwrap());
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    let (code, said) = refused(command(&set, &unix(&path), &to.to_string(), &[]));
    assert!(code == 3 && said.contains("bind.socket-path"), "{said}");
    assert!(path.exists());
    let theirs = path.with_file_name("theirs");
    fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(65534), None).unwrap();
    let (code, said) = refused(command(&set, &unix(&theirs.join("a.sock")), &to.to_string(), &[]));
    assert!(code == 3 && said.contains("belongs to another user"), "{said}");
}

#[test]
fn sessions_finish_after_the_signal_and_nothing_acknowledged_is_lost() {
    let set = set();
    let server = Guard::start(&set, &(set.tables("") + RAW));
    let (_directory, path) = public();
    let mut tunnel = Running::start(&set, &unix(&path), server.address(), &[]);
    let mut caller = tunnel.call();
    caller.echo("first");
    tunnel.signal("TERM");
    tunnel.logged(&["stopping: "]);
    // Draining: nobody new, but the session goes on in both directions until it ends by itself.
    while path.exists() {
        std::thread::yield_now();
    }
    assert!(Caller::try_to(&tunnel.at()).is_err());
    for round in 0..200 {
        caller.echo(&format!("round {round} {}", "x".repeat(10_000)));
    }
    caller.end();
    assert_eq!(caller.rest().unwrap(), b"");
    let (code, log) = tunnel.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(" left "), "{log}");
}

#[test]
fn the_second_signal_cuts_and_the_caller_is_not_told_that_all_was_said() {
    let set = set();
    let server = Guard::start(&set, &(set.tables("") + RAW));
    let mut tunnel = Running::start(&set, "127.0.0.1:0", server.address(), &[]);
    let mut caller = tunnel.call();
    caller.echo("first");
    tunnel.signal("TERM");
    tunnel.logged(&["stopping: "]);
    tunnel.signal("TERM");
    assert_eq!(caller.rest().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let (code, log) = tunnel.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("code=tunnel.drained"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixty_fifth_caller_is_one_too_many_until_another_leaves() {
    let set = set();
    let hall = hall(&set);
    let tunnel = Running::start(&set, "127.0.0.1:0", hall.address("echo"), &[]);
    let mut callers: Vec<_> = (0..64)
        .map(|_| {
            let mut caller = tunnel.call();
            caller.echo("here");
            caller
        })
        .collect();
    assert!(tunnel.call().is_closed());
    tunnel.logged(&["refused", "code=tunnel.full"]);
    for caller in &mut callers {
        caller.echo("still here");
    }
    let mut leaving = callers.pop().unwrap();
    leaving.end();
    leaving.rest().unwrap();
    tunnel.logged(&[" left "]);
    tunnel.call().echo("now");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_are_not_permitted_take_no_seat() {
    if !can_be_others() {
        return;
    }
    let set = set();
    let hall = hall(&set);
    let tunnel = Running::start(&set, "127.0.0.1:0", hall.address("echo"), &["--max", "1"]);
    let mut caller = tunnel.call();
    caller.echo("here");
    assert_eq!(heard_by(65534, 65534, &tunnel.at()), "");
    tunnel.logged(&["code=tunnel.not-permitted"]);
    caller.echo("still here");
}

#[test]
fn a_remote_that_is_down_is_told_at_once_and_found_again_when_it_is_back() {
    let set = set();
    let (held, to) = nobody();
    let tunnel = Running::start(&set, "127.0.0.1:0", to, &[]);
    assert!(tunnel.call().is_closed());
    tunnel.logged(&["refused", "code=client.refused"]);
    drop(held);
    let text = (set.tables("") + RAW).replace("127.0.0.1:0", &to.to_string());
    let mut server = Guard::start(&set, &text);
    // The wait after the failure is short; a caller that comes too early is closed.
    let echoed = |caller: &mut Caller| {
        caller.say(b"hi");
        caller.end();
        caller.rest().is_ok_and(|heard| heard == b"hi")
    };
    while !echoed(&mut tunnel.call()) {
        std::thread::yield_now();
    }
    // A server that is restarted is found again, too.
    server.stop();
    assert!(tunnel.call().is_closed());
    let _server = Guard::start(&set, &text);
    while !echoed(&mut tunnel.call()) {
        std::thread::yield_now();
    }
}

#[test]
fn a_caller_with_retries_waits_until_the_remote_is_back() {
    let set = set();
    let (held, to) = nobody();
    let tunnel = Running::start(&set, "127.0.0.1:0", to, &["--retries", "1000"]);
    let mut caller = tunnel.call();
    caller.say(b"patience");
    drop(held);
    let text = (set.tables("") + RAW).replace("127.0.0.1:0", &to.to_string());
    let _server = Guard::start(&set, &text);
    caller.end();
    assert_eq!(caller.rest().unwrap(), b"patience");
}

#[test]
fn a_remote_that_fails_is_not_hammered() {
    let set = set();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let dialled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dialled);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    let tunnel = Running::start(&set, "127.0.0.1:0", to, &["--max", "200"]);
    let began = std::time::Instant::now();
    for _ in 0..300 {
        assert!(tunnel.call().is_closed());
    }
    let waits = usize::try_from(began.elapsed().as_millis() / 100).unwrap();
    let dialled = dialled.load(Ordering::SeqCst);
    assert!(dialled <= 1 + waits, "{dialled} dials in {:?}", began.elapsed());
    tunnel.logged(&["refused", "code=client.reset"]);
    tunnel.logged(&["refused", "code=tunnel.backing-off", "after client.reset"]);
    // 300 refusals are not 300 lines.
    let more = tunnel.logged(&["refused more of the same", "tunnel.backing-off", "count="]);
    assert!(more.contains("tunnel=tunnel"), "{more}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_may_not_use_the_service_is_told_in_the_log() {
    let set = set();
    set.write_credential("alice", &set.client("mallory"));
    let mut hall = hall(&set);
    let tunnel = Running::start(&set, "127.0.0.1:0", hall.address("echo"), &[]);
    assert!(tunnel.call().is_closed());
    tunnel.logged(&["cut", "code=client.turned-away"]);
    assert_eq!(hall.verdict().await, "identity.not-permitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_counts_for_the_next_caller_and_a_broken_one_does_not() {
    let set = set();
    let permitted = r#"permit = ["dns:alice.client.internal", "dns:bob.client.internal"]"#;
    let services = RAW.replace(r#"permit = ["dns:alice.client.internal"]"#, permitted);
    let mut hall = Hall::open(&set, &services);
    let tunnel = Running::start(&set, "127.0.0.1:0", hall.address("echo"), &[]);
    assert_eq!(name_of_next(&tunnel, &mut hall).await, "dns:alice.client.internal");
    let bob = set.client("bob");
    // Half of the pair: the old one serves on, loudly.
    set.write("alice.key.pem", bob.key_pem().as_bytes());
    assert_eq!(name_of_next(&tunnel, &mut hall).await, "dns:alice.client.internal");
    tunnel.logged(&["kept: ", "code=client.files", "handshake.key-mismatch"]);
    set.write("alice.chain.pem", bob.chain_pem().as_bytes());
    assert_eq!(name_of_next(&tunnel, &mut hall).await, "dns:bob.client.internal");
    tunnel.logged(&["refreshed: "]);
}

async fn name_of_next(tunnel: &Running, hall: &mut Hall) -> String {
    let mut caller = tunnel.call();
    caller.echo("hello");
    caller.end();
    caller.rest().unwrap();
    loop {
        if let Event::Permitted(_, caller) = hall.event().await {
            return caller.name().to_string();
        }
    }
}

#[test]
fn a_session_in_which_nobody_says_anything_ends_properly_on_both_sides() {
    let set = set();
    let (to, server) = listener(&set);
    let tunnel = Running::start(&set, "127.0.0.1:0", to, &["--idle", "1s"]);
    let mut caller = tunnel.call();
    caller.say(b"hello");
    assert_eq!(caller.rest().unwrap(), b"x");
    tunnel.logged(&["cut", "code=tunnel.idle"]);
    assert_eq!(server.join().unwrap().unwrap(), b"hello");
}

#[test]
fn a_caller_that_breaks_off_is_not_passed_on_as_a_proper_end() {
    let set = set();
    let (to, server) = listener(&set);
    let tunnel = Running::start(&set, "127.0.0.1:0", to, &[]);
    let Caller::Tcp(mut stream) = tunnel.call() else { panic!("no TCP") };
    stream.read_exact(&mut [0]).unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    tunnel.logged(&["cut", "code=tunnel.broken"]);
    let error = server.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_server_that_breaks_off_is_not_passed_on_as_a_proper_end() {
    let set = set();
    let mut server = Guard::start(&set, &(set.tables("") + RAW));
    let tunnel = Running::start(&set, "127.0.0.1:0", server.address(), &[]);
    let mut caller = tunnel.call();
    caller.echo("hello");
    server.kill();
    assert_eq!(caller.rest().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    tunnel.logged(&["cut", "code=client.reset"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tries_one_handshake_and_opens_nothing() {
    let set = set();
    let mut hall = hall(&set);
    let to = hall.address("echo").to_string();
    let check = |to: &str, more: &[&str]| {
        let more = [&["--check"], more].concat();
        refused(command(&set, "127.0.0.1:1024", to, &more))
    };
    let (code, said) = check(&to, &[]);
    assert!(code == 0 && said.contains("is believed and took the certificate"), "{said}");
    assert_eq!(hall.verdict().await, "left");
    let (code, said) = check(&to, &["--server-name", "elsewhere.internal"]);
    assert!(code == 1 && said.contains("client.wrong-name"), "{said}");
    set.write_credential("alice", &set.client("mallory"));
    let (code, said) = check(&to, &[]);
    assert!(code == 1 && said.contains("client.turned-away"), "{said}");
    let (_held, nowhere) = nobody();
    let (code, said) = check(&nowhere.to_string(), &[]);
    assert!(code == 1 && said.contains("client.refused"), "{said}");
}

#[test]
fn a_listener_for_other_machines_is_a_choice_that_must_be_spelled_out() {
    let (set, (_held, to)) = (set(), nobody());
    let to = to.to_string();
    let start = |more: &[&str]| refused(command(&set, "0.0.0.0:0", &to, more));
    let (code, said) = start(&["--allow-from", "127.0.0.2"]);
    assert!(code == 3 && said.contains("bind.outside-scope"), "{said}");
    for more in [&["--scope", "all"][..], &["--scope", "all", "--allow-user", "0"]] {
        let (code, said) = start(more);
        assert!(code == 3 && said.contains("tunnel.callers"), "{said}");
    }
    let more = ["--scope", "all", "--allow-from", "127.0.0.2"];
    let tunnel = Running::start(&set, "0.0.0.0:0", to.parse().unwrap(), &more);
    let report = tunnel.report.join("\n");
    assert!(report.contains("open to EVERY network of this host"), "{report}");
    assert!(report.contains("whoever comes from 127.0.0.2/32"), "{report}");
    let at = SocketAddr::from(([127, 0, 0, 1], tunnel.address().port()));
    let mut refused = TcpStream::connect(at).map(Caller::Tcp).unwrap();
    assert!(refused.is_closed());
    tunnel.logged(&["refused", "code=address.not-listed"]);
    let mut allowed = from("127.0.0.2", at);
    assert!(allowed.is_closed());
    tunnel.logged(&["refused", "code=client.refused", "127.0.0.2"]);
}

/// A caller from another address of this machine.
fn from(ip: &str, to: SocketAddr) -> Caller {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(ip.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Caller::Tcp(socket.into())
}

#[test]
fn a_start_that_cannot_work_is_refused_with_its_reason() {
    let (set, (_held, to)) = (set(), nobody());
    let to = to.to_string();
    let (code, said) = refused(command(&set, "127.0.0.1:0", &to, &["--allow-user", "no-such"]));
    assert!(code == 3 && said.contains("tunnel.bad-caller"), "{said}");
    let (code, said) = refused(command(&set, "127.0.0.1:0", &to, &["--max", "65536"]));
    let limited = said.contains("accept.descriptors");
    // Where the machine allows very many open files, the tunnel starts and is no refusal.
    assert!((code == 3) == limited, "{said}");
    for (option, value) in
        [("--idle", "5"), ("--mode", "0477"), ("--pin", "sha256:00"), ("--max", "0")]
    {
        let (code, said) = refused(command(&set, "127.0.0.1:0", &to, &[option, value]));
        assert!(code == 2 && said.contains(option), "{said}");
    }
    fs::remove_file(set.path("alice.key.pem")).unwrap();
    let (code, said) = refused(command(&set, "127.0.0.1:0", &to, &[]));
    assert!(code == 3 && said.contains("handshake.unreadable"), "{said}");
}

#[test]
fn every_code_of_the_tunnel_is_explained_documented_and_met_in_a_test() {
    let manual = fs::read_to_string("docs/tunnel.md").unwrap();
    let rows: Vec<_> = manual.lines().filter(|line| line.starts_with("| `tunnel.")).collect();
    let expected: Vec<_> = Denial::ALL
        .iter()
        .map(|denial| format!("| `{denial}` | {} | {} |", denial.sentence(), denial.remedy()))
        .collect();
    assert_eq!(rows, expected);
    let tests =
        [include_str!("tunnel.rs"), include_str!("../../src/tunnel/relay_tests.rs")].concat();
    for denial in Denial::ALL {
        let (code, said) = {
            let mut explain = Command::new(scene::DOORWARD);
            explain.args(["explain", denial.code()]);
            refused(explain)
        };
        assert!(code == 0 && said.contains(denial.remedy()), "{said}");
        let met =
            tests.contains(&format!("code={denial}")) || tests.contains(&format!("\"{denial}\""));
        assert!(met, "no test meets {denial}");
    }
}

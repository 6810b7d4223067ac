//! The command, as somebody at a terminal or a script meets it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use crate::support::{ALICE, Set, Visitor, prefixed};

pub(crate) const DOORWARD: &str = env!("CARGO_BIN_EXE_doorward");

/// A `doorward serve` that is ready. It ends with the test.
pub(crate) struct Guard {
    child: Child,
    stderr: Option<BufReader<ChildStderr>>,
    report: Vec<String>,
}

impl Guard {
    /// Starts the real command with this configuration, and waits until it is ready.
    pub(crate) fn start(set: &Set, config: &str) -> Self {
        let file = set.path("doorward.toml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(DOORWARD);
        command.args(["serve", "--config"]).arg(file);
        Self::run(command)
    }

    /// Runs a command that becomes `doorward serve`, and waits until it is ready.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
        let report: Vec<_> = lines.take_while(|line| line != "ready").collect();
        Self { child, stderr: None, report }
    }

    /// The same, in a directory and with a file that stand already.
    pub(crate) fn start_in(directory: &Path, config: &str) -> Self {
        let mut command = Command::new(DOORWARD);
        command.current_dir(directory).args(["serve", "--config", config]);
        Self::run(command)
    }

    /// The first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// All listeners.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let binds = self.report.iter().filter_map(|line| line.trim().strip_prefix("bind "));
        binds.map(|bind| bind.split_whitespace().next().unwrap().parse().unwrap()).collect()
    }

    /// Ends it as no operator should: without a chance to do anything.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        self.child.wait().unwrap();
    }

    /// The lines on standard output before `ready`.
    pub(crate) fn report(&self) -> &[String] {
        &self.report
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        // Every shell has its own kill; not every machine has the program.
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for a line on standard error that holds these words, and gives back all it has heard since.
    pub(crate) fn hear(&mut self, words: &str) -> String {
        let stderr =
            self.stderr.get_or_insert_with(|| BufReader::new(self.child.stderr.take().unwrap()));
        let mut heard = String::new();
        loop {
            let before = heard.len();
            assert!(stderr.read_line(&mut heard).unwrap() > 0, "it never said {words:?}: {heard}");
            if heard[before..].contains(words) {
                return heard;
            }
        }
    }

    /// Reads what it says on standard error, and forgets it: more than a pipe holds would stop it.
    pub(crate) fn ignore(&mut self) {
        let mut stderr = self.child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    }

    /// Waits until it ends by itself, and says whether that was in order.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    /// Stops it as an operator would, and gives back what it said on standard error.
    pub(crate) fn stop(&mut self) -> String {
        self.signal("TERM");
        let mut said = String::new();
        match (&mut self.stderr, self.child.stderr.take()) {
            (Some(stderr), _) => stderr.read_to_string(&mut said).unwrap(),
            (None, Some(mut stderr)) => stderr.read_to_string(&mut said).unwrap(),
            (None, None) => 0,
        };
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Only the process this test started; one that has ended already is no error.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs the real command to its end.
pub(crate) fn doorward(directory: &Path, args: &[&str]) -> Output {
    Command::new(DOORWARD).current_dir(directory).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Its exit code, standard output and standard error.
pub(crate) fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A directory like a fresh clone, but for the port, which the system chooses.
pub(crate) fn fresh_clone() -> tempfile::TempDir {
    fresh_clone_at("127.0.0.1", 0)
}

/// The same, with its first listener at this address and port.
fn fresh_clone_at(host: &str, port: u16) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/doorward.toml");
    fs::create_dir(directory.path().join("config")).unwrap();
    configure(directory.path(), &reference, host, port);
    directory
}

/// Copies a configuration, moved to another address.
fn configure(directory: &Path, from: &Path, host: &str, port: u16) {
    let text = fs::read_to_string(from).unwrap();
    assert!(text.contains("127.0.0.1:8443"), "{}", from.display());
    let text = text.replace("127.0.0.1:8443", &format!("{host}:{port}")).replace("8443", "0");
    let text = text.replace("8444", "0");
    fs::write(directory.join("config/doorward.toml"), text).unwrap();
}

pub(crate) fn serve_in(directory: &Path) -> Guard {
    serve_with(directory, &[])
}

pub(crate) fn serve_with(directory: &Path, words: &[&str]) -> Guard {
    run_verb(directory, "serve", words)
}

/// A verb that says `ready` and goes on.
pub(crate) fn run_verb(directory: &Path, verb: &str, words: &[&str]) -> Guard {
    let mut command = Command::new(DOORWARD);
    command.current_dir(directory).arg(verb).args(words);
    Guard::run(command)
}

#[test]
fn the_first_start_makes_what_it_needs_and_the_printed_lines_work() {
    let directory = fresh_clone();
    let mut guard = serve_in(directory.path());
    let to = guard.address().to_string();
    assert!(guard.report[0].starts_with("first start: certs/ now holds"), "{:?}", guard.report);
    let (code, out, err) =
        said(&doorward(directory.path(), &["connect", "--to", &to, "hello", "again"]));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "hello\nagain\n", ""));

    let openssl = guard.report.iter().find(|line| line.contains("openssl s_client")).unwrap();
    if crate::support::has("openssl") {
        let pasted = openssl.replace("127.0.0.1:8443", &to);
        let pasted = Command::new("sh")
            .current_dir(directory.path())
            .args(["-c", &pasted])
            .output()
            .unwrap();
        assert_eq!(pasted.stdout, prefixed(b"hello"));
    }
    let log = guard.stop();
    assert!(log.contains("permitted") && log.contains("rule=config/doorward.toml:"), "{log}");

    // The second start finds everything, and makes nothing.
    let guard = serve_in(directory.path());
    assert!(guard.report[0].starts_with("doorward "), "{:?}", guard.report);
}

#[test]
fn a_lost_file_refuses_the_start_and_nothing_is_made_in_its_place() {
    let directory = fresh_clone();
    serve_in(directory.path()).stop();
    let crl = directory.path().join("certs/ca/crl.pem");
    fs::remove_file(&crl).unwrap();
    let (code, _, err) = said(&doorward(directory.path(), &["serve"]));
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("handshake.unreadable") && err.contains("certs/ca/crl.pem"), "{err}");
    assert!(!crl.exists());
}

#[test]
fn a_key_that_others_can_read_refuses_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let set = Set::new();
    fs::set_permissions(set.path("key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let config = set.write("doorward.toml", (set.tables("") + ALICE).as_bytes());
    let config = config.to_str().unwrap();
    for verb in ["serve", "check"] {
        let (code, out, err) = said(&doorward(Path::new("."), &[verb, "--config", config]));
        assert_eq!(code, 3);
        assert!(format!("{out}{err}").contains("handshake.key-exposed"), "{out}{err}");
    }
}

#[test]
fn check_says_what_serve_would_say_and_opens_nothing() {
    let set = Set::new();
    let text = set.tables("") + &ALICE.replace("127.0.0.1:0", "10.9.8.7:1");
    let config = set.write("doorward.toml", text.as_bytes());
    let config = config.to_str().unwrap();
    let (code, out, _) = said(&doorward(Path::new("."), &["check", "--config", config]));
    assert_eq!(code, 3);
    let (served, _, err) = said(&doorward(Path::new("."), &["serve", "--config", config]));
    assert_eq!(served, 3);
    let problems = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with(config)).map(str::to_owned).take(1).collect()
    };
    assert_eq!(problems(&out), problems(&err));
    assert!(out.contains("bind.outside-scope"), "{out}");

    let (code, out, _) = said(&doorward(Path::new("."), &["check", "--json", "--config", config]));
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &object["refused"]), (3, &serde_json::Value::Bool(true)));
    assert_eq!(object["problems"][0]["code"], "bind.outside-scope");
}

#[test]
fn a_wrong_command_line_is_exit_code_two() {
    for args in [&["conect"][..], &["serve", "--confg", "x"], &["connect", "--key", "x"], &[]] {
        let (code, out, err) = said(&doorward(Path::new("."), args));
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains("Usage"), "{err}");
    }
    let (code, out, _) = said(&doorward(Path::new("."), &["--help"]));
    assert!(code == 0 && out.contains("Exit codes:"), "{out}");
}

#[test]
fn every_code_is_explained_and_a_typo_finds_its_neighbour() {
    let here = Path::new(".");
    let (_, all, _) = said(&doorward(here, &["explain"]));
    for refusal in doorward::refusal::Refusal::ALL {
        let (code, out, _) = said(&doorward(here, &["explain", refusal.code()]));
        assert!(code == 0 && out.contains(refusal.remedy()) && all.contains(&out), "{out}");
        assert!(out.contains(refusal.sentence()) && out.contains("\n    example: "), "{out}");
    }
    let (code, out, err) = said(&doorward(here, &["explain", "handshake.expird"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("did you mean handshake.expired?"), "{err}");
    let (_, out, _) = said(&doorward(here, &["explain", "--json", "bind.in-use"]));
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(object["code"], "bind.in-use");
}

#[test]
fn a_missing_configuration_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, err) = said(&doorward(directory.path(), &["serve"]));
    assert_eq!(code, 3);
    assert!(err.starts_with("config/doorward.toml config.unreadable "), "{err}");
    assert!(!directory.path().join("certs").exists(), "nothing is made without a configuration");
}

#[test]
fn every_configuration_that_is_shipped_starts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 6, "{files:?}");
    for file in files {
        // These listen on what is handed over, and on an interface: see the tests of systemd and bind.
        if file.ends_with("systemd.toml") || file.ends_with("lan.toml") {
            continue;
        }
        if file.ends_with("run.toml") && !crate::support::has("python3") {
            continue;
        }
        let directory = fresh_clone();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        std::os::unix::fs::symlink(examples, directory.path().join("examples")).unwrap();
        configure(directory.path(), &file, "127.0.0.1", 0);
        serve_in(directory.path()).stop();
    }
}

#[test]
fn the_example_of_an_own_service_greets_by_name() {
    // The example says nothing of its port, so it gets one on an address that no other test uses.
    let free = std::net::TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap();
    let directory = fresh_clone_at("127.0.77.1", free.port());
    serve_in(directory.path()).stop();
    let example = Path::new(DOORWARD).parent().unwrap().join("examples/embed");
    if !example.exists() {
        crate::support::skipped("examples/embed is not built: plain cargo test builds it");
        return;
    }
    let mut child = Command::new(example).current_dir(directory.path()).spawn().unwrap();
    let to = free.to_string();
    let connect =
        ["connect", "--to", &to, "--server-name", "127.0.0.1", "--retries", "20", "hello"];
    let (code, out, err) = said(&doorward(directory.path(), &connect));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((code, out.as_str()), (0, "dns:alice.client.internal, you said hello\n"), "{err}");
}

#[test]
fn who_is_told_that_it_is_ready_may_end_it_at_once() {
    let set = Set::new();
    for _ in 0..20 {
        let said = Guard::start(&set, &(set.tables("") + ALICE)).stop();
        assert!(said.contains("stopping: "), "{said}");
    }
}

#[test]
fn a_hangup_reads_the_files_anew_and_says_how_that_went() {
    let set = Set::new();
    let unwatched = format!("{}[server]\nwatch = false\n{ALICE}", set.tables(""));
    let mut guard = Guard::start(&set, &unwatched);
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    fs::write(set.path("doorward.toml"), unwatched.replace("permit", "premit")).unwrap();
    guard.signal("HUP");
    guard.hear("kept: the new state is refused");
    let heard = block_on(alice.say(guard.address(), &prefixed(b"hi"))).unwrap();
    assert_eq!(heard, prefixed(b"hi"));
    fs::write(set.path("doorward.toml"), unwatched.replace("alice", "bob")).unwrap();
    guard.signal("HUP");
    guard.hear("reloaded: the new state is in force");
    assert_eq!(block_on(alice.say(guard.address(), &prefixed(b"hi"))).unwrap(), b"");
    assert!(guard.stop().contains("identity.not-permitted"));
}

#[test]
fn the_second_signal_ends_a_session_at_once() {
    let set = Set::new();
    let config = format!(
        "[server]\ndrain = \"1h\"\n{}{ALICE}  [service.frame]\n  kind = \"raw\"\n",
        set.tables("")
    );
    let mut guard = Guard::start(&set, &config);
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    block_on(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = alice.enter(guard.address()).await.unwrap();
        stream.write_all(b"hi").await.unwrap();
        let mut echoed = [0; 2];
        stream.read_exact(&mut echoed).await.unwrap();
        guard.signal("TERM");
        let mut err = BufReader::new(guard.child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("stopping") {
            line.clear();
            assert!(err.read_line(&mut line).unwrap() > 0, "it stops in words");
        }
        // Draining: a session of raw bytes goes on.
        stream.write_all(b"ho").await.unwrap();
        stream.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"ho");
        guard.signal("INT");
        assert_eq!(stream.read(&mut echoed).await.unwrap(), 0);
        let mut rest = String::new();
        err.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("code=service.drained"), "{rest}");
    });
    assert!(guard.child.wait().unwrap().success());
}

/// The processor time a process has used, in clock ticks (proc(5)).
#[cfg(target_os = "linux")]
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn with_256_descriptors_and_400_clients_it_goes_on_accepting_and_stays_idle() {
    let set = Set::new();
    let config = set.write("doorward.toml", (set.tables("") + ALICE).as_bytes());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256; exec \"$0\" serve --config \"$1\"", DOORWARD]).arg(config);
    let mut guard = Guard::run(command);
    let to = guard.address();
    block_on(async {
        let mut silent = Vec::new();
        for client in 0..400_u32 {
            let from = format!("127.0.{}.{}", 3 + client / 250, 1 + client % 250);
            silent.push(Visitor::new(&set, None).from(&from).knock(to).await.unwrap());
        }
        let alice = Visitor::new(&set, Some(&set.client("alice")));
        assert_eq!(alice.say(to, &prefixed(b"hi")).await.unwrap(), prefixed(b"hi"));
        let before = ticks(guard.child.id());
        // The measure is processor time over wall time; there is no event to wait for in idleness.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let used = ticks(guard.child.id()) - before;
        assert!(used < 20, "{used} of 100 ticks were used while nobody said anything");
        assert_eq!(alice.say(to, &prefixed(b"ho")).await.unwrap(), prefixed(b"ho"));
    });
    let log = guard.stop();
    assert!(log.contains("accept.descriptors warning: 256 open files carry only"), "{log}");
    assert!(log.contains("code=accept.evicted"), "{log}");
}

//! The scene of the tunnel's tests: the real command, its log as it is written, and callers of every user.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use doorward::handshake::provider;
use doorward::pki::keyfile::{read_chain, read_key};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::support::Set;

pub(super) const DOORWARD: &str = env!("CARGO_BIN_EXE_doorward");
/// Far longer than anything here takes on a busy machine; it only ends a test that would hang.
pub(super) const PATIENCE: Duration = Duration::from_secs(50);
/// An echo of bytes as they come, for alice alone.
pub(super) const RAW: &str = r#"
[[service]]
name = "echo"
listen = "127.0.0.1:0"
kind = "echo"
  [[service.identity]]
  permit = ["dns:alice.client.internal"]
  [service.frame]
  kind = "raw"
"#;

/// A `doorward tunnel` that is ready. It ends with the test.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) report: Vec<String>,
    log: Receiver<String>,
}

impl Running {
    /// Starts a tunnel that listens there and leads to `to`, with the credential files called alice.
    pub(super) fn start(set: &Set, listen: &str, to: SocketAddr, more: &[&str]) -> Self {
        Self::run(command(set, listen, &to.to_string(), more))
    }

    pub(super) fn run(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let report: Vec<_> = lines.take_while(|line| line != "ready").collect();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (tell, log) = channel();
        std::thread::spawn(move || {
            errors.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line)));
        });
        Self { child, report, log }
    }

    /// Where the first listener is, as the report says it.
    pub(super) fn at(&self) -> String {
        let bind = self.report.iter().find_map(|line| line.trim().strip_prefix("bind "));
        let bind = bind.unwrap_or_else(|| panic!("{:?}", self.log.iter().collect::<Vec<_>>()));
        bind.split_whitespace().next().unwrap().to_owned()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.at().parse().unwrap()
    }

    /// A caller of this user.
    pub(super) fn call(&self) -> Caller {
        Caller::to(&self.at())
    }

    /// The next line of the log that holds all these words.
    pub(super) fn logged(&self, words: &[&str]) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {words:?}"));
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    pub(super) fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end: the exit code and the rest of its log.
    pub(super) fn ended(&mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.log.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only the process this test started; one that has ended already is no error.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The command for a tunnel with the files of the set.
pub(super) fn command(set: &Set, listen: &str, to: &str, more: &[&str]) -> Command {
    let mut command = Command::new(DOORWARD);
    command.args(["tunnel", "--listen", listen, "--to", to]);
    command.arg("--trust").arg(set.path("trust.pem"));
    command.arg("--certificate").arg(set.path("alice.chain.pem"));
    command.arg("--key").arg(set.path("alice.key.pem")).args(more);
    command
}

/// Runs a command that comes to an end by itself: its exit code, and what it says.
pub(super) fn refused(mut command: Command) -> (i32, String) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
        if line == "ready" {
            // It would run until somebody stops it.
            child.kill().unwrap();
        }
        said.push_str(&line);
    }
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code().unwrap_or(-1), said)
}

/// A set with alice's files.
pub(super) fn set() -> Set {
    let set = Set::new();
    set.write_credential("alice", &set.client("alice"));
    set
}

/// A directory that every user may enter, and in it the place of a socket.
pub(super) fn public() -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let path = directory.path().join("a.sock");
    (directory, path)
}

pub(super) fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// The plain side.
pub(super) enum Caller {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Caller {
    pub(super) fn to(at: &str) -> Self {
        Self::try_to(at).unwrap()
    }

    pub(super) fn try_to(at: &str) -> io::Result<Self> {
        let caller = match at.strip_prefix("unix:") {
            Some(path) => Caller::Unix(UnixStream::connect(path)?),
            None => Caller::Tcp(TcpStream::connect(at)?),
        };
        match &caller {
            Caller::Tcp(stream) => stream.set_read_timeout(Some(PATIENCE))?,
            Caller::Unix(stream) => stream.set_read_timeout(Some(PATIENCE))?,
        }
        Ok(caller)
    }

    pub(super) fn say(&mut self, words: &[u8]) {
        match self {
            Caller::Tcp(stream) => stream.write_all(words).unwrap(),
            Caller::Unix(stream) => stream.write_all(words).unwrap(),
        }
    }

    /// The same connection, for another thread.
    pub(super) fn again(&self) -> Self {
        match self {
            Caller::Tcp(stream) => Caller::Tcp(stream.try_clone().unwrap()),
            Caller::Unix(stream) => Caller::Unix(stream.try_clone().unwrap()),
        }
    }

    /// Says something and hears it again.
    pub(super) fn echo(&mut self, words: &str) {
        self.say(words.as_bytes());
        let mut heard = vec![0; words.len()];
        match self {
            Caller::Tcp(stream) => stream.read_exact(&mut heard).unwrap(),
            Caller::Unix(stream) => stream.read_exact(&mut heard).unwrap(),
        }
        assert_eq!(heard, words.as_bytes());
    }

    /// Ends its own side, if the other is still there to be told.
    pub(super) fn end(&mut self) {
        match self {
            Caller::Tcp(stream) => drop(stream.shutdown(Shutdown::Write)),
            Caller::Unix(stream) => drop(stream.shutdown(Shutdown::Write)),
        }
    }

    /// Everything until the other side ends.
    pub(super) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut heard = Vec::new();
        match self {
            Caller::Tcp(stream) => stream.read_to_end(&mut heard)?,
            Caller::Unix(stream) => stream.read_to_end(&mut heard)?,
        };
        Ok(heard)
    }

    /// Whether the tunnel closed the connection, properly or not, and said nothing.
    pub(super) fn is_closed(&mut self) -> bool {
        match self.rest() {
            Ok(heard) => heard.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// A server that answers its one visitor with a letter, and gives back what it hears until the end; an
/// end without `close_notify` is an error.
pub(super) fn listener(set: &Set) -> (SocketAddr, JoinHandle<io::Result<Vec<u8>>>) {
    let mut roots = RootCertStore::empty();
    roots.add(set.authority.anchor().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            read_chain(&set.path("chain.pem")).unwrap(),
            read_key(&set.path("key.pem")).unwrap(),
        )
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (socket, _) = listener.accept()?;
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        stream.write_all(b"x")?;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).map(|_| heard)
    });
    (at, serving)
}

/// Calls as another user and group of this machine, says hello, and gives back what is heard.
///
/// Perl is part of the base of most systems, and every user may run it.
pub(super) fn heard_by(user: u32, group: u32, at: &str) -> String {
    let peer = match at.strip_prefix("unix:") {
        Some(path) => format!("IO::Socket::UNIX->new(Peer => '{path}')"),
        None => format!("IO::Socket::INET->new(PeerAddr => '{at}')"),
    };
    let program = format!(
        "use IO::Socket; use IO::Socket::UNIX; $SIG{{PIPE}} = 'IGNORE'; \
         my $s = {peer} or die \"no connection: $!\"; \
         syswrite $s, 'hello'; my $n = sysread $s, my $heard, 5; print $heard if $n;"
    );
    let mut command = Command::new("perl");
    command.args(["-e", &program]).current_dir("/").uid(user).gid(group);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether calls of other users can be made here; says by name that the test is skipped where not.
pub(super) fn can_be_others() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        crate::support::skipped("only root can call as another user");
    }
    is_root && crate::support::has("perl")
}

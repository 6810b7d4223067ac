//! A real PostgreSQL server for the tests that want one.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::{has, skipped};

/// Whether it can be had here; says by name what is missing.
pub(crate) fn is_there() -> bool {
    for program in ["initdb", "postgres"] {
        if find(program).is_none() {
            skipped(&format!("{program} (postgresql) is not installed"));
            return false;
        }
    }
    ["psql", "setpriv"].into_iter().all(has)
}

/// The program of the server: Debian keeps them apart, a directory a version.
fn find(program: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok();
    let mut found: Vec<_> = versions
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin").join(program))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists())
    })
}

/// A real PostgreSQL server on a free port and a unix socket, that ends with the test.
pub(crate) struct Postgres {
    child: Child,
    pub(crate) at: SocketAddr,
    directory: TempDir,
}

impl Postgres {
    /// One that asks for no password: who gets as far as to it may come in.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        if is_root() {
            std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = directory.path().join("data");
        let mut initdb = as_nobody("initdb");
        initdb.args(["-A", "trust", "-U", "someone", "--no-sync", "-D"]).arg(&data);
        let made = initdb.current_dir(directory.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut postgres = as_nobody("postgres");
        let socket = format!("unix_socket_directories={}", directory.path().display());
        postgres.arg("-D").arg(&data).args(["-c", "fsync=off", "-c", &socket]);
        postgres.args(["-h", "127.0.0.1", "-p", &at.port().to_string()]);
        postgres.current_dir(directory.path()).stderr(Stdio::null());
        Self { child: postgres.spawn().unwrap(), at, directory }
    }

    /// Its unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join(format!(".s.PGSQL.{}", self.at.port()))
    }

    /// Waits until it takes questions.
    pub(crate) fn ready(&self) {
        let port = self.at.port().to_string();
        let asked =
            ["-h", "127.0.0.1", "-p", &port, "-U", "someone", "-d", "postgres", "-c", "select 1"];
        while !Command::new("psql").args(asked).output().unwrap().status.success() {
            std::thread::yield_now();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At SIGINT it takes its children along, which a kill would leave behind.
        let stop = format!("kill -s INT {}", self.child.id());
        drop(Command::new("sh").args(["-c", &stop]).status());
        drop(self.child.wait());
    }
}

/// PostgreSQL does not run as root.
fn as_nobody(program: &str) -> Command {
    let program = find(program).unwrap_or_else(|| program.into());
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program);
    command
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

const NOBODY: u32 = 65_534;

//! The configurations that are shipped, each in front of the real thing.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use doorward::pki::development;
use tempfile::TempDir;

use crate::cli::{Guard, serve_with};
use crate::postgres::{self, Postgres};
use crate::support::has;

/// A directory with certificates, and a configuration as shipped but for its addresses.
fn shipped(name: &str, replaced: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    let mut text = fs::read_to_string(from).unwrap();
    for (written, here) in replaced {
        assert!(text.contains(written), "{name} does not say {written}");
        text = text.replace(written, here);
    }
    fs::write(directory.path().join("doorward.toml"), text).unwrap();
    development(&directory.path().join("certs")).unwrap();
    directory
}

const LISTEN: &str = "listen = [\"127.0.0.1:8443\", \"[::1]:8443\"]";
const ANY_PORT: &str = "listen = \"127.0.0.1:0\"";

fn guard(directory: &TempDir) -> Guard {
    serve_with(directory.path(), &["--config", "doorward.toml"])
}

/// A real server that ends with the test.
struct Redis {
    child: Child,
    at: SocketAddr,
}

impl Redis {
    fn start(directory: &Path) -> Self {
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &at.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
        let child = redis.current_dir(directory).stdout(Stdio::null()).spawn().unwrap();
        while TcpStream::connect(at).is_err() {
            std::thread::yield_now();
        }
        Self { child, at }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What `redis-cli` says, asked to set and get a value.
fn redis_cli(directory: &Path, words: &[&str]) -> String {
    let mut said = String::new();
    for command in [&["set", "door", "ward"][..], &["get", "door"]] {
        let output = Command::new("redis-cli")
            .args(words)
            .args(command)
            .current_dir(directory)
            .output()
            .unwrap();
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&output.stderr);
    }
    said
}

#[test]
fn redis_answers_a_client_with_tls_and_one_behind_a_tunnel() {
    if !["redis-server", "redis-cli"].into_iter().all(has) {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let redis = Redis::start(files.path());
    let at = redis.at.to_string();
    let directory = shipped("redis.toml", &[("127.0.0.1:6379", &at), (LISTEN, ANY_PORT)]);
    let mut guard = guard(&directory);
    let door = guard.address().port().to_string();
    let tls = ["--tls", "-h", "127.0.0.1", "-p", &door, "--cacert", "certs/trust.pem"];
    let own = ["--cert", "certs/client/alice/chain.pem", "--key", "certs/client/alice/key.pem"];
    assert_eq!(redis_cli(directory.path(), &[&tls[..], &own].concat()), "OK\nward\n");
    let stranger = redis_cli(directory.path(), &tls);
    assert!(!stranger.contains("ward"), "{stranger}");

    let to = format!("127.0.0.1:{door}");
    let tunnel = tunnel(directory.path(), &to);
    let port = tunnel.address().port().to_string();
    assert_eq!(redis_cli(directory.path(), &["-p", &port]), "OK\nward\n");
    drop(tunnel);
    assert!(guard.stop().contains("code=handshake.no-certificate"));
}

/// A tunnel to a guarded service, with the certificate of alice.
fn tunnel(directory: &Path, to: &str) -> Guard {
    let words = [
        "--listen",
        "127.0.0.1:0",
        "--to",
        to,
        "--certificate",
        "certs/client/alice/chain.pem",
        "--key",
        "certs/client/alice/key.pem",
        "--trust",
        "certs/trust.pem",
    ];
    crate::cli::run_verb(directory, "tunnel", &words)
}

#[test]
fn postgres_answers_psql_by_its_certificate_over_a_unix_socket() {
    if !postgres::is_there() {
        return;
    }
    let server = Postgres::start();
    let socket = format!("unix:{}", server.socket().display());
    let written = "unix:/run/postgresql/.s.PGSQL.5432";
    let directory = shipped("postgres.toml", &[(written, &socket), (LISTEN, ANY_PORT)]);
    server.ready();
    let mut guard = guard(&directory);
    let psql = |credential: &str| {
        let file = |name: &str| directory.path().join("certs").join(name).display().to_string();
        let own = format!("client/{credential}");
        let words = format!(
            "host=127.0.0.1 port={} user=someone dbname=postgres sslmode=verify-full sslrootcert={} \
             sslcert={} sslkey={}",
            guard.address().port(),
            file("trust.pem"),
            file(&format!("{own}/chain.pem")),
            file(&format!("{own}/key.pem")),
        );
        let mut psql = Command::new("psql");
        psql.arg(words).args(["-Atc", "select repeat('door', 2)"]).env("HOME", "/nonexistent");
        psql.output().unwrap()
    };
    let answer = psql("alice");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "doordoor\n", "{answer:?}");
    assert!(!psql("nobody").status.success());
    assert!(guard.stop().contains("permitted"));
}

#[test]
fn every_task_of_the_documents_names_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    let mut pages: Vec<PathBuf> = fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    pages.push(root.join("README.md"));
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            links += 1;
            let there = page.parent().unwrap().join(path).exists();
            assert!(there, "{} names {path}, which is not there", page.display());
        }
    }
    assert!(links > 20, "{links} links in {} pages", pages.len());
}

//! Real programs against a real server, with nothing set but the variables.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use doorward::handshake::provider;
use doorward::pki::keyfile::{read_chain, read_key};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::scene::{Ended, Scene};
use crate::support::{has, skipped};

/// A web server with the certificate of the store, which asks for no client's. It ends with the tests.
fn web(scene: &Scene) -> String {
    let chain = read_chain(&scene.certs_file("server/localhost/chain.pem")).unwrap();
    let key = read_key(&scene.certs_file("server/localhost/key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || answer(StreamOwned::new(tls, stream)));
        }
    });
    address
}

/// One request, one answer. Whoever does not trust the server leaves before it.
fn answer(mut stream: StreamOwned<ServerConnection, TcpStream>) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).ok()?;
    let body = match request.split(' ').nth(1)?.split('?').next()? {
        "/repository/info/refs" => "0123456789012345678901234567890123456789\trefs/heads/hello\n",
        "/repository/HEAD" => "ref: refs/heads/hello\n",
        _ => "hello from the store\n",
    };
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + body).as_bytes()).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

/// What `certs trust env` prints, as a shell gets it.
fn variables(scene: &Scene) -> String {
    scene.certs(&["trust", "env"]).fine()
}

/// Runs a program in a shell that took these lines over, with `$1` for the server's address.
fn after(scene: &Scene, lines: &str, script: &str, address: &str, more: &[&str]) -> Ended {
    let mut shell = scene.command("sh");
    shell
        .env("LINES_TO_SET", lines)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    shell.env_remove("JAVA_HOME");
    let script = format!("eval \"$LINES_TO_SET\"\n{script}");
    Ended::of(&shell.args(["-c", &script, "sh", address]).args(more).output().unwrap())
}

/// Trusted with the variables; refused without them, and with those of another store.
fn trusts_what_it_is_told(script: &str, more: &[&str]) {
    let (scene, other) = (Scene::new(), Scene::new());
    let address = web(&scene);
    let heard = after(&scene, &variables(&scene), script, &address, more);
    assert!(heard.code == 0 && heard.said.contains("hello"), "{heard:?}");
    for lines in [String::new(), variables(&other)] {
        let heard = after(&scene, &lines, script, &address, more);
        assert!(heard.code != 0 && !heard.said.contains("hello"), "{heard:?}");
    }
}

/// The interpreter itself: a shim in its place looks for its own files below the home.
fn python() -> Option<String> {
    if !has("python3") {
        return None;
    }
    let run = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    Some(String::from_utf8(run.unwrap().stdout).unwrap().trim().to_owned())
}

#[test]
fn openssl_trusts_what_it_is_told() {
    if has("openssl") {
        trusts_what_it_is_told(
            r"printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -quiet -connect $1 -verify_return_error -verify_ip 127.0.0.1",
            &[],
        );
    }
}

#[test]
fn curl_trusts_what_it_is_told() {
    if has("curl") {
        trusts_what_it_is_told("curl --silent --show-error --max-time 60 https://$1/", &[]);
    }
}

#[test]
fn node_trusts_what_it_is_told() {
    if has("node") {
        let script = r#"node -e 'fetch("https://" + process.argv[1]).then(a => a.text()).then(console.log, e => { console.error(e); process.exit(1) })' $1"#;
        trusts_what_it_is_told(script, &[]);
    }
}

#[test]
fn python_trusts_what_it_is_told() {
    let Some(python) = python() else { return };
    let script = r#""$2" -c 'import sys, urllib.request; print(urllib.request.urlopen("https://" + sys.argv[1]).read().decode())' $1"#;
    trusts_what_it_is_told(script, &[&python]);
}

#[test]
fn requests_of_python_trusts_what_it_is_told() {
    let Some(python) = python() else { return };
    if !Command::new(&python).args(["-c", "import requests"]).output().unwrap().status.success() {
        skipped("requests, a library of python3, is not installed");
        return;
    }
    let script =
        r#""$2" -c 'import sys, requests; print(requests.get("https://" + sys.argv[1]).text)' $1"#;
    trusts_what_it_is_told(script, &[&python]);
    // Its own variable is enough where nothing else is read.
    let only = r#"unset SSL_CERT_FILE CURL_CA_BUNDLE; "$2" -c 'import sys, requests; print(requests.get("https://" + sys.argv[1]).text)' $1"#;
    trusts_what_it_is_told(only, &[&python]);
}

#[test]
fn git_trusts_what_it_is_told() {
    if has("git") {
        trusts_what_it_is_told("git ls-remote https://$1/repository", &[]);
    }
}

#[test]
fn java_trusts_what_it_is_told() {
    // A runtime without a compiler runs no source.
    if !has("java") || !has("javac") {
        return;
    }
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/anchor/Fetch.java");
    trusts_what_it_is_told(r#"java "$2" https://$1/"#, &[program]);
}

#[test]
fn fish_takes_the_lines_over() {
    if has("fish") {
        takes_over("fish", "fish", "doorward-lines | source; env");
    }
}

#[test]
fn powershell_takes_the_lines_over() {
    if has("pwsh") {
        takes_over("pwsh", "powershell", "doorward-lines | Out-String | Invoke-Expression; env");
    }
}

/// Whether the environment of a shell holds every value afterwards.
fn takes_over(program: &str, shell: &str, script: &str) {
    let scene = Scene::new();
    let lines = scene.work().join("lines");
    std::fs::write(&lines, scene.certs(&["trust", "env", "--shell", shell]).fine()).unwrap();
    let script = script.replace("doorward-lines", "cat lines");
    let heard = scene.run(program, &["-c", &script]).fine();
    let json: Value =
        serde_json::from_str(&scene.certs(&["trust", "env", "--json"]).fine()).unwrap();
    for variable in json["variables"].as_array().unwrap() {
        let line = format!(
            "{}={}",
            variable["name"].as_str().unwrap(),
            variable["value"].as_str().unwrap()
        );
        assert!(heard.lines().any(|heard| heard == line), "{line}: {heard}");
    }
}

#[test]
fn the_lines_and_the_json_say_the_same_and_what_replaces_is_said() {
    let scene = Scene::new();
    takes_over("sh", "sh", "eval \"$(doorward-lines)\"; env");
    // Careless, but common. The comments are lost, and nothing else.
    takes_over("sh", "sh", "eval $(doorward-lines); env");
    let lines = variables(&scene);
    let json: Value =
        serde_json::from_str(&scene.certs(&["trust", "env", "--json"]).fine()).unwrap();
    let variables = json["variables"].as_array().unwrap();
    assert_eq!(variables.len(), 6);
    for variable in variables {
        let (name, effect) =
            (variable["name"].as_str().unwrap(), variable["effect"].as_str().unwrap());
        let comment = lines.lines().find(|line| line.starts_with(&format!("# {name} "))).unwrap();
        assert_eq!(comment.contains("REPLACES"), effect == "replaces", "{comment}");
        assert_eq!(effect == "adds", name == "NODE_EXTRA_CA_CERTS");
    }
    let complaint = scene.certs(&["trust", "env", "--shell", "tcsh"]);
    assert_eq!(complaint.code, 2, "{complaint:?}");
}

#[test]
fn the_trust_store_of_java_follows_the_trust_file() {
    let scene = Scene::new();
    let read = || std::fs::read(scene.certs_file("trust.p12")).unwrap();
    variables(&scene);
    let first = read();
    variables(&scene);
    assert_eq!(read(), first);
    let other = Scene::new();
    let both = [&scene, &other]
        .map(|scene| std::fs::read_to_string(scene.certs_file("trust.pem")).unwrap());
    std::fs::write(scene.certs_file("trust.pem"), both.concat()).unwrap();
    variables(&scene);
    assert!(read().len() > first.len() * 3 / 2);
}

//! Clients that nobody here wrote: openssl, Python, Node and GnuTLS make the round trip, or are told why not.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use doorward::pki::Credential;

use crate::support::{ALICE, Hall, Set, has, prefixed};

/// A program, the flag that makes it run a script, and the script.
struct Scripted(&'static str, &'static str, &'static str);

const PYTHON: Scripted = Scripted(
    "python3",
    "-c",
    r#"
import socket, ssl, struct, sys
port, trust, *own = sys.argv[1:]
context = ssl.create_default_context(cafile=trust)
context.verify_flags |= ssl.VERIFY_X509_STRICT
if own:
    context.load_cert_chain(*own)
try:
    with socket.create_connection(("127.0.0.1", int(port))) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            tls.sendall(struct.pack(">I", 5) + b"hello")
            heard = b""
            while len(heard) < 9 and (part := tls.recv(99)):
                heard += part
            print("heard", heard[4:].decode(), tls.version())
            tls.unwrap()
except ssl.SSLError as error:
    print("refused", error.reason)
"#,
);

const NODE: Scripted = Scripted(
    "node",
    "-e",
    r#"
const tls = require("tls"), fs = require("fs");
const [port, trust, chain, key] = process.argv.slice(1);
const own = chain ? { cert: fs.readFileSync(chain), key: fs.readFileSync(key) } : {};
const socket = tls.connect({ host: "127.0.0.1", servername: "localhost", port, ca: fs.readFileSync(trust), ...own });
socket.on("secureConnect", () => socket.write(Buffer.concat([Buffer.from([0, 0, 0, 5]), Buffer.from("hello")])));
let heard = Buffer.alloc(0);
socket.on("data", (part) => {
  heard = Buffer.concat([heard, part]);
  if (heard.length === 9) { console.log("heard", heard.subarray(4).toString(), socket.getProtocol()); socket.end(); }
});
socket.on("error", (error) => console.log("refused", error.code));
"#,
);

/// The files of a client: the trust file, and the chain and key of a credential where there is one.
fn files(set: &Set, credential: Option<&Credential>) -> (PathBuf, Vec<PathBuf>) {
    let own = credential.map(|credential| set.write_credential("peer", credential));
    (set.path("trust.pem"), own.map(|(chain, key)| vec![chain, key]).unwrap_or_default())
}

/// Runs a client while the hall is served.
async fn run(mut command: Command, input: &'static [u8]) -> Output {
    let running = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).unwrap();
        // Kept open: some clients leave as soon as their input ends, before the answer is there.
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        output
    });
    running.await.unwrap()
}

/// What a scripted client prints.
async fn script(scripted: &Scripted, hall: &Hall, set: &Set, own: Option<&Credential>) -> String {
    let Scripted(program, flag, script) = scripted;
    let (trust, own) = files(set, own);
    let port = hall.address("echo").port().to_string();
    let mut command = Command::new(program);
    command.args([flag, script]).arg(port).arg(trust).args(own);
    let output = run(command, b"").await;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert_eq!(said(&output.stderr), "");
    said(&output.stdout)
}

#[tokio::test]
async fn a_strict_python_makes_the_round_trip() {
    if !has("python3") {
        return;
    }
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let alice = set.client("alice");
    let heard = script(&PYTHON, &hall, &set, Some(&alice)).await;
    assert_eq!((hall.verdict().await, heard.as_str()), ("left", "heard hello TLSv1.3"));
    let told = script(&PYTHON, &hall, &set, None).await;
    assert_eq!(hall.verdict().await, "handshake.no-certificate");
    assert_eq!(told, "refused TLSV13_ALERT_CERTIFICATE_REQUIRED");
}

#[tokio::test]
async fn node_makes_the_round_trip() {
    if !has("node") {
        return;
    }
    let set = Set::new();
    let mut hall = Hall::open(&set, ALICE);
    let alice = set.client("alice");
    let heard = script(&NODE, &hall, &set, Some(&alice)).await;
    assert_eq!((hall.verdict().await, heard.as_str()), ("left", "heard hello TLSv1.3"));
    let told = script(&NODE, &hall, &set, None).await;
    assert_eq!(hall.verdict().await, "handshake.no-certificate");
    assert_eq!(told, "refused ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED");
}

/// `openssl s_client`, which leaves after five bytes of answer have come.
async fn openssl(
    hall: &Hall,
    set: &Set,
    own: Option<&Credential>,
    more: &[&str],
) -> (Vec<u8>, String) {
    let (trust, own) = files(set, own);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-x509_strict"]);
    command
        .args(["-connect", &hall.address("echo").to_string()])
        .arg("-CAfile")
        .arg(trust)
        .args(more);
    for (flag, file) in ["-cert", "-key"].iter().zip(own) {
        command.arg(flag).arg(file);
    }
    let output = run(command, b"\0\0\0\x05hello").await;
    (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn openssl_makes_the_round_trip() {
    if !has("openssl") {
        return;
    }
    let set = Set::new();
    let text = set.tables("") + ALICE + "  [service.frame]\n  idle = \"1s\"\n";
    let mut hall = Hall::of(&text);
    // It stays until the server ends the session, which says so in a last frame.
    let (heard, told) = openssl(&hall, &set, Some(&set.client("alice")), &[]).await;
    assert_eq!(hall.verdict().await, "frame.idle");
    assert_eq!(heard, [prefixed(b"hello"), prefixed(b"error frame.idle")].concat(), "{told}");
}

#[tokio::test]
async fn openssl_is_told_why_it_is_refused() {
    if !has("openssl") {
        return;
    }
    let set = Set::new();
    let revoked = set.client("alice");
    set.revoke(4, &[&revoked]);
    let mut hall = Hall::open(&set, ALICE);
    let other = Set::new().client("alice");
    for (own, code, alert) in [
        (None, "handshake.no-certificate", "alert certificate required"),
        (Some(&revoked), "handshake.revoked", "alert certificate revoked"),
        (Some(&other), "handshake.unknown-authority", "alert unknown ca"),
    ] {
        let (heard, told) = openssl(&hall, &set, own, &[]).await;
        assert_eq!((hall.verdict().await, heard.as_slice()), (code, &b""[..]));
        assert!(told.contains(alert), "{told}");
    }
    let (_, told) = openssl(&hall, &set, Some(&set.client("alice")), &["-tls1_2"]).await;
    assert_eq!(hall.verdict().await, "handshake.version");
    assert!(told.contains("alert protocol version"), "{told}");
}

#[tokio::test]
async fn openssl_is_given_no_session_to_come_back_with() {
    if !has("openssl") {
        return;
    }
    let set = Set::new();
    let text = set.tables("versions = [\"1.2\", \"1.3\"]")
        + ALICE
        + "  [service.frame]\n  idle = \"1s\"\n";
    let mut hall = Hall::of(&text);
    for version in ["-tls1_3", "-tls1_2"] {
        let file = set.path("session.pem");
        let out = ["-sess_out", file.to_str().unwrap(), version];
        openssl(&hall, &set, Some(&set.client("alice")), &out).await;
        assert_eq!(hall.verdict().await, "frame.idle");
        // Neither a ticket nor a session ID: either would be written there, and come back with -sess_in.
        assert!(!file.exists(), "{version}: {:?}", std::fs::read_to_string(&file));
    }
}

#[tokio::test]
async fn openssl_that_comes_back_is_a_stranger_each_time() {
    if !has("openssl") {
        return;
    }
    let set = Set::new();
    let text = set.tables("versions = [\"1.2\", \"1.3\"]")
        + ALICE
        + "  [service.frame]\n  first = \"1s\"\n";
    let mut hall = Hall::of(&text);
    let (trust, own) = files(&set, Some(&set.client("alice")));
    for version in ["-tls1_3", "-tls1_2"] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-reconnect", "-ign_eof", version]);
        command.args(["-connect", &hall.address("echo").to_string()]);
        command.arg("-CAfile").arg(&trust).arg("-cert").arg(&own[0]).arg("-key").arg(&own[1]);
        let output = run(command, b"").await;
        for ended in ["left", "left", "left", "left", "left", "frame.first"] {
            assert_eq!(hall.verdict().await, ended, "{version}");
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let count = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
        // Once, and five times again.
        assert_eq!((count("New, "), count("Reused, ")), (6, 0), "{version}: {said}");
    }
}

#[tokio::test]
async fn gnutls_makes_the_round_trip() {
    if !has("gnutls-cli") {
        return;
    }
    let set = Set::new();
    let text = set.tables("") + ALICE + "  [service.frame]\n  kind = \"lines\"\n  idle = \"1s\"\n";
    let mut hall = Hall::of(&text);
    let (trust, own) = files(&set, Some(&set.client("alice")));
    let port = hall.address("echo").port().to_string();
    let mut command = Command::new("gnutls-cli");
    command.args(["--port", &port, "--logfile=/dev/null"]).arg("--x509cafile").arg(trust);
    for (flag, file) in ["--x509certfile", "--x509keyfile"].iter().zip(own) {
        command.arg(flag).arg(file);
    }
    command.arg("127.0.0.1");
    let output = run(command, b"hello\n").await;
    assert_eq!(hall.verdict().await, "frame.idle");
    let heard = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(heard.contains("hello\nerror frame.idle\n"), "{heard}");
}

//! NSS, the library of Firefox: it verifies what `certs init` makes, and shakes hands as client and as server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};

use doorward::pki::keyfile::{read_chain, read_key};
use doorward::pki::{Draft, Store};
use rustls::ClientConfig;

use crate::anchor::scene::{Ended, Scene};
use crate::support::{Set, Visitor, has};

/// A scene with a database that trusts its authority, and holds alice's and the server's keys.
fn scene() -> Scene {
    let scene = Scene::new();
    database(&scene, "own", &scene);
    for name in ["alice", "localhost"] {
        let bundle = scene.bundle(name, "a password");
        let file = scene.home().join("password");
        let (bundle, file) = (bundle.to_str().unwrap(), file.to_str().unwrap());
        scene
            .run("pk12util", &["-d", &at(&scene, "own"), "-K", "", "-i", bundle, "-w", file])
            .fine();
    }
    scene
}

fn at(scene: &Scene, name: &str) -> String {
    format!("sql:{}", scene.home().join(name).display())
}

/// A database without keys that trusts an authority.
fn database(scene: &Scene, name: &str, whom: &Scene) {
    fs::create_dir(scene.home().join(name)).unwrap();
    let place = at(scene, name);
    scene.run("certutil", &["-N", "-d", &place, "--empty-password"]).fine();
    let trust = whom.certs_file("trust.pem");
    let add = ["-A", "-d", &place, "-t", "CT,,", "-n", "authority", "-i", trust.to_str().unwrap()];
    scene.run("certutil", &add).fine();
}

#[test]
fn nss_accepts_each_certificate_for_its_role_alone() {
    if !has("certutil") {
        return;
    }
    let scene = scene();
    for (name, usage, accepted) in [
        ("localhost", "V", true),
        ("localhost", "C", false),
        ("alice", "C", true),
        ("alice", "V", false),
    ] {
        let verify = ["-V", "-e", "-d", &at(&scene, "own"), "-n", name, "-u", usage];
        let told = scene.run("certutil", &verify);
        assert_eq!(told.code == 0, accepted, "{name} {usage}: {told:?}");
        let words = format!("{}{}", told.said, told.complained);
        let expected =
            if accepted { "certificate is valid" } else { "Certificate type not approved" };
        assert!(words.contains(expected), "{name} {usage}: {words}");
    }
}

#[test]
fn nss_holds_the_authority_to_its_names() {
    if !has("certutil") {
        return;
    }
    let scene = scene();
    let authority = Store::open(&scene.certs_file("")).unwrap().authority().unwrap();
    let draft = Draft::server(&["example.com".parse().unwrap()]).unwrap();
    let outside = authority.sign(&draft).unwrap();
    let file = scene.home().join("outside.pem");
    fs::write(&file, outside.chain_pem()).unwrap();
    let place = at(&scene, "own");
    let add = ["-A", "-d", &place, "-t", ",,", "-n", "outside", "-i", file.to_str().unwrap()];
    scene.run("certutil", &add).fine();
    let told = scene.run("certutil", &["-V", "-e", "-d", &place, "-n", "outside", "-u", "V"]);
    assert!(told.said.contains("not permitted to issue a certificate with this name"), "{told:?}");
}

/// `tstclnt` says hello with a database, and as a client of it if it has one.
async fn tstclnt(scene: &Scene, to: SocketAddr, name: &str, database: &str) -> Ended {
    let request = scene.home().join("request");
    fs::write(&request, "hello\n").unwrap();
    let mut command = scene.command("tstclnt");
    command.args(["-4", "-h", name, "-p", &to.port().to_string(), "-d", &at(scene, database)]);
    command.args(["-V", "tls1.3:", "-A"]).arg(request);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    Ended::of(&run.await.unwrap())
}

#[tokio::test]
async fn nss_makes_the_round_trip_as_a_client() {
    if !has("tstclnt") {
        return;
    }
    let scene = scene();
    database(&scene, "nobody", &scene);
    let mut hall = scene.hall("kind = \"lines\"\nidle = \"1s\"");
    let door = hall.address("echo");
    let heard = tstclnt(&scene, door, "localhost", "own").await;
    assert_eq!(
        (hall.verdict().await, heard.said.as_str()),
        ("frame.idle", "hello\nerror frame.idle\n"),
        "{heard:?}"
    );
    let told = tstclnt(&scene, door, "localhost", "nobody").await;
    assert_eq!(hall.verdict().await, "handshake.no-certificate");
    assert!(told.complained.contains("SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT"), "{told:?}");
}

#[tokio::test]
async fn nss_refuses_a_server_it_does_not_trust() {
    if !has("tstclnt") {
        return;
    }
    let scene = scene();
    database(&scene, "other", &Scene::new());
    let mut hall = scene.hall("kind = \"lines\"");
    let told = tstclnt(&scene, hall.address("echo"), "localhost", "other").await;
    assert_eq!(hall.verdict().await, "handshake.client-alert");
    assert!(told.complained.contains("SEC_ERROR_UNKNOWN_ISSUER"), "{told:?}");
    assert!(!told.said.contains("hello"), "{told:?}");
}

/// An NSS server, which ends with the test.
struct Selfserv {
    child: Child,
    address: SocketAddr,
}

impl Selfserv {
    fn start(scene: &Scene) -> Self {
        // It takes no port 0: the kernel's choice is given back, and nobody else is handed it so soon.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = scene.command("selfserv");
        command.args([
            "-d",
            &at(scene, "own"),
            "-n",
            "localhost",
            "-p",
            &address.port().to_string(),
        ]);
        // A certificate is asked for and needed, at the first handshake.
        command.args(["-rr", "-V", "tls1.3:", "-v"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let complaints = BufReader::new(child.stderr.as_mut().unwrap());
        let ready = complaints
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("About to call accept"));
        assert!(ready, "selfserv did not start");
        Self { child, address }
    }
}

impl Drop for Selfserv {
    fn drop(&mut self) {
        // Only the process this test started; one that has ended already is no error.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A visitor of an NSS server, with the files of a scene as a client would have them.
fn visitor(scene: &Scene, directory: &str) -> Visitor {
    let file = |name: &str| scene.certs_file(&format!("{directory}/{name}"));
    let mut roots = rustls::RootCertStore::empty();
    for authority in read_chain(&scene.certs_file("trust.pem")).unwrap() {
        roots.add(authority).unwrap();
    }
    let config = ClientConfig::builder_with_provider(doorward::handshake::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            read_chain(&file("chain.pem")).unwrap(),
            read_key(&file("key.pem")).unwrap(),
        )
        .unwrap();
    Visitor::new(&Set::new(), None).with(config)
}

#[tokio::test]
async fn nss_makes_the_round_trip_as_a_server() {
    if !has("selfserv") {
        return;
    }
    let scene = scene();
    let server = Selfserv::start(&scene);
    let stop = b"GET /stop HTTP/1.0\r\n\r\n";
    let refused = visitor(&scene, "server/localhost").say(server.address, stop).await;
    assert!(refused.is_err(), "{:?}", String::from_utf8(refused.unwrap()));
    let heard = visitor(&scene, "client/alice").say(server.address, stop).await;
    let heard = String::from_utf8(heard.unwrap()).unwrap();
    assert!(heard.contains("GET /stop"), "{heard}");
}

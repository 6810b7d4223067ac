//! The probe: a server that is right holds against every attack, and each weakness is found by its own row.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use doorward::config::Config;
use doorward::pki::{Options, Reason, Store, Target, development};
use doorward::probe::{Aim, Attack, Probe, Report, Verdict};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Guard, block_on, doorward, said};
use plain::{Names, Plain, Verify};

mod plain;

/// A store with a permitted client, one for another desk, and one that is revoked; and a place for a socket.
struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = development(&directory.path().join("certs")).unwrap().store().clone();
        for name in ["bob", "zoe"] {
            store.issue_client(&name.parse().unwrap(), Options::default()).unwrap();
        }
        let zoe = Target::Client("zoe".parse().unwrap());
        assert_eq!(store.revoke(&zoe, Reason::Unspecified).unwrap().len(), 1);
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The strict configuration.
    fn strict(&self) -> String {
        let file = |name: &str| self.path(name).display().to_string();
        format!(
            "[server]\nwatch = false\n[bind]\nports = [\"1-65535\"]\n[accept]\nper_source = 16\n\
             [address]\nallow = [\"127.0.0.0/16\"]\ndeny = [\"127.0.0.66\"]\n\
             [handshake]\ncertificate = {:?}\nkey = {:?}\nclients = {:?}\ncrl = {:?}\n\
             deadline = \"1s\"\nversions = [\"1.3\"]\n[admin]\nsocket = {:?}\n{ECHO}",
            file("certs/server/localhost/chain.pem"),
            file("certs/server/localhost/key.pem"),
            file("certs/trust.pem"),
            file("certs/ca/crl.pem"),
            file("admin.sock"),
        )
    }

    /// Starts the real command with this configuration.
    fn serve(&self, text: &str) -> Guard {
        let file = self.path("serve.toml");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command.args(["serve", "--config"]).arg(file).env("DOORWARD_LOG", "error");
        Guard::run(command)
    }

    /// What the command says of the server of this configuration.
    fn probe(&self, text: &str, words: &[&str]) -> (i32, String, String) {
        let file = self.path("probe.toml");
        fs::write(&file, text).unwrap();
        let words = [&["probe", "--config", file.to_str().unwrap()], words].concat();
        said(&doorward(self.directory.path(), &words))
    }

    /// What the library says of it.
    async fn report(&self, text: &str, aim: Aim) -> Report {
        let (config, _) = Config::parse(text, "probe.toml").unwrap();
        let aim = Aim { directory: Some(self.path("certs")), ..aim };
        Probe::aim(&config, &aim).unwrap().run(|_| ()).await
    }
}

/// The words of the attacks with this verdict.
fn rows(report: &Report, verdict: Verdict) -> Vec<&'static str> {
    let rows = report.rows.iter().filter(|row| row.verdict == verdict);
    rows.map(|row| row.attack.word()).collect()
}

/// What did not go as it should, a line each.
fn bad(report: &Report) -> String {
    let bad = report.rows.iter().filter(|row| row.verdict != Verdict::Held);
    let line = |row: &doorward::probe::Row| {
        format!("{} {} instead of {}: {}\n", row.attack, row.got, row.expected, row.note)
    };
    format!("{:?}\n{}", report.honest_failure, bad.map(line).collect::<String>())
}

fn aim(only: &[Attack]) -> Aim {
    Aim { only: only.to_vec(), ..Aim::default() }
}

const ECHO: &str = r#"
[[service]]
name = "echo"
listen = "127.0.0.1:0"
kind = "echo"
  [[service.identity]]
  permit = ["dns:alice.client.internal"]
  [[service.identity]]
  permit = ["dns:bob.client.internal"]
  from = ["127.0.0.3"]
  [service.frame]
  kind = "length-prefixed"
  min = 1
  max = "64KiB"
  text = "utf-8"
  rate = "200/s"
  first = "1s"
"#;

/// What is of another kind than the service above: lines of JSON, a URI, a protocol, TLS 1.2.
const JSON: &str = r#"
[[service]]
name = "json"
listen = "127.0.0.1:0"
kind = "echo"
alpn = ["own"]
  [[service.identity]]
  permit = ["uri:spiffe://example.test/reporting"]
  [service.frame]
  kind = "json-lines"
  first = "1s"
  burst = 50000
"#;

#[test]
fn a_server_that_is_right_holds_against_every_attack() {
    let scene = Scene::new();
    let text = scene.strict();
    let mut guard = scene.serve(&text);
    let junit = scene.path("report.xml");
    let (code, out, err) = scene.probe(&text, &["--json", "--junit", junit.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let with = |verdict: &str| -> Vec<&str> {
        let rows = rows.iter().filter(|row| row["verdict"] == verdict);
        rows.map(|row| row["attack"].as_str().unwrap()).collect()
    };
    let mut untried =
        vec!["other-protocol", "resumption-tls-1-2", "name-in-capitals", "bad-json", "too-deep"];
    if !nix::unistd::geteuid().is_root() {
        untried.push("admin-by-other");
    }
    assert_eq!(with("could-not-try"), untried);
    assert_eq!(with("held").len(), Attack::ALL.len() - untried.len());
    assert!(with("held").len() >= 50, "{}", with("held").len());
    assert_eq!((&report["witness"], &report["honest_failure"]), (&true.into(), &Value::Null));
    assert!(report["honest"].as_u64().unwrap() >= 9);
    // Whoever was refused for the usual reason was seen to be by the server itself.
    let expired = rows.iter().find(|row| row["attack"] == "expired").unwrap();
    assert_eq!(expired["got"], "handshake.expired");
    let xml = fs::read_to_string(junit).unwrap();
    assert_eq!(xml.matches("<testcase ").count(), Attack::ALL.len() + 1);
    assert_eq!(xml.matches("<skipped ").count(), untried.len());
    guard.stop();
}

#[tokio::test]
async fn what_one_service_cannot_try_another_can() {
    let scene = Scene::new();
    let strict = scene.strict().replace("versions = [\"1.3\"]", "versions = [\"1.2\", \"1.3\"]");
    let text = strict.replace(ECHO, JSON);
    let _guard = scene.serve(&text);
    let report = scene.report(&text, Aim::default()).await;
    assert!(report.all_held(), "{}", bad(&report));
    let held = rows(&report, Verdict::Held);
    for word in [
        "rate-burst",
        "other-protocol",
        "resumption-tls-1-2",
        "name-in-capitals",
        "bad-json",
        "too-deep",
    ] {
        assert!(held.contains(&word), "{}", bad(&report));
    }
}

#[tokio::test]
async fn a_service_that_speaks_before_tls_is_attacked_behind_that() {
    let scene = Scene::new();
    let preamble = "kind = \"echo\"\npreamble = \"postgres\"";
    let text = scene.strict().replace("kind = \"echo\"", preamble);
    let _guard = scene.serve(&text);
    let report = scene.report(&text, Aim::default()).await;
    assert!(report.all_held(), "{}", bad(&report));
    assert_eq!(
        rows(&report, Verdict::CouldNotTry),
        ["resumption-tls-1-2", "name-in-capitals", "bad-json", "too-deep", "admin-by-other"]
    );
}

#[tokio::test]
async fn behind_a_balancer_an_attacker_comes_from_elsewhere() {
    let scene = Scene::new();
    let listed = "kind = \"echo\"\n[service.balancers]\nfrom = [\"127.0.0.1\"]";
    let text = scene.strict().replace("kind = \"echo\"", listed);
    let _guard = scene.serve(&text);
    let report = scene.report(&text, Aim::default()).await;
    assert!(report.all_held(), "{}", bad(&report));
    let header = report.rows.iter().find(|row| row.attack == Attack::ProxyHeader).unwrap();
    assert_eq!(header.got, "handshake.not-tls");
}

#[tokio::test]
async fn without_an_admin_socket_a_refusal_is_known_by_sight() {
    let scene = Scene::new();
    let text = scene.strict();
    let (before, after) = text.split_once("[admin]").unwrap();
    let text = format!("{before}{}", after.split_once('\n').unwrap().1.split_once('\n').unwrap().1);
    let guard = scene.serve(&text);
    let aim = Aim { to: Some(guard.address()), ..aim(&[]) };
    let report = scene.report(&text, aim).await;
    assert!(report.all_held() && !report.witness, "{}", bad(&report));
    let row = |attack| report.rows.iter().find(|row| row.attack == attack).unwrap();
    assert_eq!(row(Attack::Expired).got, "alert CertificateExpired");
    assert_eq!(row(Attack::Expired).note, "refused; which room cannot be told without [admin]");
    assert_eq!(row(Attack::WrongName).got, "closed");
    // A member is told the code of its message by the server itself.
    assert_eq!((&*row(Attack::TooLong).got, &*row(Attack::TooLong).note), ("frame.too-long", ""));
    assert_eq!(row(Attack::AdminByOther).note, "the configuration has no admin socket");
}

#[tokio::test]
async fn a_forward_is_attacked_up_to_the_identity_room() {
    let scene = Scene::new();
    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("kind = \"forward\"\nto = \"{}\"", upstream.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = upstream.accept().await {
            held.push(stream);
        }
    });
    let text = scene.strict().replace("kind = \"echo\"", &to);
    let text = format!("{}\n", text.split_once("  [service.frame]").unwrap().0);
    let _guard = scene.serve(&text);
    let report = scene.report(&text, Aim::default()).await;
    assert!(report.all_held(), "{}", bad(&report));
    for row in report.rows.iter().filter(|row| row.room == "frame") {
        assert_eq!(row.note, "the service has raw bytes, and no messages");
    }
    let early = report.rows.iter().filter(|row| row.room != "frame" && row.room != "admin");
    let untried = early.filter(|row| row.verdict == Verdict::CouldNotTry);
    let untried: Vec<_> = untried.map(|row| row.attack.word()).collect();
    assert_eq!(untried, ["other-protocol", "resumption-tls-1-2", "name-in-capitals"]);
}

#[tokio::test]
async fn without_the_key_of_the_authority_its_certificates_could_not_be_tried() {
    let scene = Scene::new();
    let text = scene.strict();
    let _guard = scene.serve(&text);
    fs::remove_file(scene.path("certs/ca/private/ca.key")).unwrap();
    let report = scene.report(&text, Aim::default()).await;
    assert!(report.all_held(), "{}", bad(&report));
    let row = |attack| report.rows.iter().find(|row| row.attack == attack).unwrap();
    assert_eq!(row(Attack::Expired).verdict, Verdict::CouldNotTry);
    assert!(row(Attack::Expired).note.starts_with("the authority's key is not here"));
    assert_eq!(row(Attack::StolenCertificate).verdict, Verdict::Held);
    assert_eq!(row(Attack::OtherAuthority).verdict, Verdict::Held);
}

/// What is changed in the strict configuration, and the attacks that must be found to get through then.
type Weakness = (&'static [(&'static str, &'static str)], &'static [&'static str]);

const WEAKNESSES: &[Weakness] = &[
    (
        &[("127.0.0.0/16", "127.0.0.0/8"), ("deny = [\"127.0.0.66\"]", "")],
        &["unlisted-source", "denied-source", "mapped-twin"],
    ),
    (&[("deny = [\"127.0.0.66\"]", "")], &["denied-source"]),
    // Stopped in the right room, but by a rule that the configuration does not have.
    (
        &[
            ("127.0.0.0/16", "127.0.0.0/8"),
            ("[\"127.0.0.66\"]", "[\"127.0.0.66\", \"127.99.0.0/16\"]"),
        ],
        &["unlisted-source"],
    ),
    (&[("deadline = \"1s\"", "deadline = \"60s\"")], &["silence", "drips"]),
    (&[("per_source = 16", "per_source = 512")], &["idle-strangers"]),
    (&[("[\"1.3\"]", "[\"1.2\", \"1.3\"]")], &["tls-1-2"]),
    (&[("crl = ", "# crl = ")], &["revoked"]),
    (&[("[\"dns:alice", "[\"dns:doorward-probe.client.internal\", \"dns:alice")], &["wrong-name"]),
    (&[("[\"dns:alice", "[\"dns:xalice.client.internal\", \"dns:alice")], &["name-prefix"]),
    (&[("[\"dns:alice", "[\"dns:alice.client.internal.test\", \"dns:alice")], &["name-suffix"]),
    (&[("[\"dns:alice", "[\"cn:alice.client.internal\", \"dns:alice")], &["common-name-only"]),
    (
        &[("[\"dns:alice", "[\"uri:dns:alice.client.internal\", \"dns:alice")],
        &["name-of-other-type"],
    ),
    (&[("from = [\"127.0.0.3\"]", "")], &["wrong-network"]),
    (&[("max = \"64KiB\"", "max = \"1MiB\"")], &["too-long"]),
    (&[("min = 1", "min = 0")], &["too-short"]),
    (&[("text = \"utf-8\"", "text = \"any\"")], &["no-text", "control-character"]),
    (
        &[("text = \"utf-8\"", "text = \"utf-8\"\n  allow_control = [\"\\u001B\"]")],
        &["control-character"],
    ),
    (&[("rate = \"200/s\"", "rate = \"1000000/s\"")], &["rate-burst"]),
    (&[("first = \"1s\"", "first = \"60s\"")], &["silent-member"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_weakness_of_a_running_server_is_found_by_its_own_rows_alone() {
    let mut found = 0;
    for few in WEAKNESSES.chunks(6) {
        let tried: Vec<_> = few.iter().map(|weakness| tokio::spawn(find(weakness))).collect();
        for one in tried {
            one.await.unwrap();
            found += 1;
        }
    }
    assert_eq!(found, 19);
}

async fn find((changes, rows_found): &Weakness) {
    let scene = Scene::new();
    let strict = scene.strict();
    let weak = changes.iter().fold(strict.clone(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let _guard = scene.serve(&weak);
    let report = scene.report(&strict, Aim::default()).await;
    assert_eq!(report.honest_failure, None, "{changes:?}");
    assert_eq!(rows(&report, Verdict::NotHeld), *rows_found, "{changes:?} {}", bad(&report));
}

/// The attacks that a server of a few lines can hold against as well, if it is written right.
const PLAIN: &[Attack] = &[
    Attack::PortTheft,
    Attack::PlainText,
    Attack::NoCertificate,
    Attack::SelfSigned,
    Attack::OtherAuthority,
    Attack::Expired,
    Attack::NotYetValid,
    Attack::Revoked,
    Attack::ServerCertificate,
    Attack::CodeSigning,
    Attack::StolenCertificate,
    Attack::Tickets,
    Attack::Resumption,
    Attack::EarlyData,
    Attack::WrongName,
    Attack::CommonNameOnly,
    Attack::NamePrefix,
    Attack::NameSuffix,
    Attack::NameOfOtherType,
    Attack::ZeroInName,
];

/// What gets through to a server that is no doorward, and only looks like this one from outside.
async fn through(weaken: impl FnOnce(&mut Plain)) -> Vec<&'static str> {
    let scene = Scene::new();
    let mut server = Plain::right(&scene.path("certs"));
    weaken(&mut server);
    let at = server.run();
    let text = scene.strict().replace("127.0.0.1:0", &at.to_string());
    let report = scene.report(&text, aim(PLAIN)).await;
    assert_eq!(
        (report.rows.len(), &report.honest_failure),
        (PLAIN.len(), &None),
        "{}",
        bad(&report)
    );
    assert_eq!(rows(&report, Verdict::CouldNotTry), [""; 0]);
    rows(&report, Verdict::NotHeld)
}

#[tokio::test]
async fn nothing_gets_through_to_a_plain_server_that_is_right() {
    assert_eq!(through(|_| ()).await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_asks_for_no_certificate_is_found() {
    let through = through(|server| server.verify = Verify::Nothing).await;
    let everybody: Vec<_> = PLAIN.iter().map(|attack| attack.word()).collect();
    let held = ["port-theft", "plain-text", "tickets", "resumption", "early-data"];
    let everybody: Vec<_> = everybody.into_iter().filter(|word| !held.contains(word)).collect();
    assert_eq!(through, everybody);
}

#[tokio::test]
async fn a_server_that_takes_a_certificate_but_needs_none_is_found() {
    let through = through(|server| server.verify = Verify::IfShown).await;
    assert_eq!(through, ["no-certificate"]);
}

#[tokio::test]
async fn a_server_that_does_not_look_at_the_usage_is_found() {
    let through = through(|server| server.verify = Verify::AnyUsage).await;
    assert_eq!(through, ["code-signing"]);
}

#[tokio::test]
async fn a_server_that_does_not_look_at_revocation_is_found() {
    assert_eq!(through(|server| server.verify = Verify::Revoked).await, ["revoked"]);
}

#[tokio::test]
async fn a_server_that_permits_every_name_is_found() {
    let through = through(|server| server.names = Names::All).await;
    let names =
        ["wrong-name", "common-name-only", "name-prefix", "name-suffix", "name-of-other-type"];
    assert_eq!(through, names);
}

#[tokio::test]
async fn a_server_that_looks_for_a_part_of_the_name_is_found() {
    let through = through(|server| server.names = Names::Holding).await;
    assert_eq!(through, ["common-name-only", "name-prefix", "name-suffix", "name-of-other-type"]);
}

#[tokio::test]
async fn a_server_that_resumes_sessions_is_found() {
    assert_eq!(through(|server| server.tickets = true).await, ["tickets", "resumption"]);
    let early = through(|server| (server.tickets, server.early) = (true, true)).await;
    assert_eq!(early, ["tickets", "resumption", "early-data"]);
}

#[tokio::test]
async fn a_port_that_another_process_can_have_is_found() {
    assert_eq!(through(|server| server.shared = true).await, ["port-theft"]);
}

#[tokio::test]
async fn a_server_that_locks_its_clients_out_in_between_has_proven_nothing() {
    let scene = Scene::new();
    let mut server = Plain::right(&scene.path("certs"));
    server.visits = 6;
    let at = server.run();
    let text = scene.strict().replace("127.0.0.1:0", &at.to_string());
    let report = scene.report(&text, aim(PLAIN)).await;
    assert!(report.honest_failure.is_some() && !report.all_held());
    assert!(report.honest >= 1 && !report.rows.is_empty());
}

#[test]
fn a_server_that_refuses_everybody_has_proven_nothing() {
    let scene = Scene::new();
    let text = scene.strict();
    let _guard = scene.serve(&text.replace("alice", "nobody"));
    let (code, out, _) = scene.probe(&text, &[]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("0 held, 0 not held") && out.contains("nothing is proven"), "{out}");
    assert!(out.contains("identity.not-permitted"), "{out}");
}

#[test]
fn only_a_server_with_the_certificate_of_the_configuration_is_attacked() {
    let (scene, other) = (Scene::new(), Scene::new());
    let guard = other.serve(&other.strict());
    let text = scene.strict().replace("127.0.0.1:0", &guard.address().to_string());
    let (code, out, _) = scene.probe(&text, &[]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("0 held, 0 not held") && out.contains("nothing is proven"), "{out}");
    assert!(out.contains("ApplicationVerificationFailure"), "{out}");
}

#[test]
fn no_address_but_an_own_one_is_attacked() {
    let scene = Scene::new();
    let text = scene.strict();
    let _guard = scene.serve(&text);
    for foreign in ["192.0.2.1:8443", "127.0.0.2:8443", "[::1]:8443", "[::ffff:127.0.0.1]:1"] {
        let (code, out, err) = scene.probe(&text, &["--to", foreign]);
        assert_eq!((code, out.as_str()), (2, ""), "{foreign}: {err}");
        assert!(err.contains("probe.not-own"), "{foreign}: {err}");
    }
    // What the configuration listens on is not enough: it must be this machine's.
    let elsewhere = text
        .replace("127.0.0.1:0", "192.0.2.1:8443")
        .replace("[bind]\n", "[bind]\nscope = \"all\"\n");
    let (code, out, err) = scene.probe(&elsewhere, &[]);
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    assert!(err.contains("probe.not-own") && err.contains("no address of this machine"), "{err}");
    let (code, _, err) = scene.probe(&elsewhere, &["--to", "192.0.2.1:8443"]);
    assert_eq!(code, 2);
    assert!(err.contains("probe.not-own"), "{err}");
    // Nor is a port of ours that the configuration does not name.
    let other = text.replace("127.0.0.1:0", "127.0.0.1:8443");
    let (code, _, err) = scene.probe(&other, &["--to", "127.0.0.1:22"]);
    assert_eq!(code, 2);
    assert!(err.contains("probe.not-own"), "{err}");
}

#[test]
fn attacks_can_be_listed_and_chosen() {
    let scene = Scene::new();
    let text = scene.strict();
    let _guard = scene.serve(&text);
    let (code, out, _) = scene.probe(&text, &["--list"]);
    assert_eq!((code, out.lines().count()), (0, Attack::ALL.len()));
    let (code, out, _) = scene.probe(&text, &["--only", "expired", "no-certificate"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("2 held, 0 not held, 0 could not be tried"), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 130), "{out}");
    let (code, _, err) = scene.probe(&text, &["--only", "expird"]);
    assert!(code == 2 && err.contains("did you mean expired?"), "{err}");
    let (code, _, err) = scene.probe(&text, &["--service", "other"]);
    assert!(code == 2 && err.contains("it has echo"), "{err}");
    let (code, _, err) = scene.probe("[[service]]\n", &[]);
    assert!(code == 3 && err.contains("config.missing-key"), "{err}");
}

#[test]
fn a_probe_needs_an_honest_client() {
    let scene = Scene::new();
    let text = scene.strict();
    let _guard = scene.serve(&text);
    let place = |name: &str| scene.path(&format!("certs/client/{name}")).display().to_string();
    let [bob, alice] = ["bob", "alice"].map(place);
    let named = |client: &str| {
        let (cert, key) = (format!("{client}/chain.pem"), format!("{client}/key.pem"));
        scene.probe(&text, &["--only", "expired", "--cert", &cert, "--key", &key])
    };
    assert_eq!(named(&alice).0, 0);
    // Bob may come from his own desk, which is an address of this machine too.
    assert_eq!(named(&bob).0, 0);
    let zoe = place("zoe");
    let (code, _, err) = named(&zoe);
    assert!(code == 2 && err.contains("probe.no-client"), "{err}");
    fs::remove_dir_all(scene.path("certs/client")).unwrap();
    // The authority mints one where the store has none.
    assert_eq!(scene.probe(&text, &["--only", "expired"]).0, 0);
    fs::remove_dir_all(scene.path("certs/ca/private")).unwrap();
    let (code, _, err) = scene.probe(&text, &["--only", "expired"]);
    assert!(code == 3 && err.contains("probe.no-client"), "{err}");
    assert!(Store::open(&scene.path("certs")).is_ok());
}

#[test]
fn a_probe_writes_nothing_into_the_store() {
    let scene = Scene::new();
    let text = scene.strict();
    let _guard = scene.serve(&text);
    let listing = || {
        let mut found = Vec::new();
        let mut folders = vec![scene.path("certs")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path: PathBuf = entry.path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.push((path.clone(), content(&path)));
            }
        }
        found.sort();
        found
    };
    let before = listing();
    assert!(before.len() > 10, "{before:?}");
    assert_eq!(scene.probe(&text, &["--only", "expired", "many-names", "revoked"]).0, 0);
    assert_eq!(listing(), before);
}

fn content(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

#[test]
fn a_server_that_is_not_there_is_no_success() {
    let scene = Scene::new();
    // Bound and never listening: nobody else gets the port, and nobody answers.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = held.local_addr().unwrap();
    drop(held);
    let text = scene.strict().replace("127.0.0.1:0", &at.to_string());
    let (code, out, _) = block_on(async { scene.probe(&text, &[]) });
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("no connection from 127.0.0.1"), "{out}");
}

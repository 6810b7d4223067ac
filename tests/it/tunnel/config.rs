//! The file of the tunnels: its corpus, its manual page, and two tunnels in one process.
//!
//! `tests/config/tunnel/NAME.toml` must be refused with the problems in `NAME.problems`, or read with the
//! warnings in `NAME.warnings`. `DOORWARD_BLESS=1` writes both anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use doorward::config::{LogFormat, TunnelConfig};
use doorward::problem::{Fault, Problem, Severity};
use doorward::tunnel::Callers;

use super::scene::{Caller, DOORWARD, Running, public, set, unix};
use super::{hall, nobody};

#[test]
fn every_file_of_the_corpus_has_the_problems_or_warnings_it_must_have() {
    let mut files: Vec<_> = fs::read_dir("tests/config/tunnel")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    let mut seen = String::new();
    for file in &files {
        let (end, problems) = match TunnelConfig::read(file) {
            Ok((_, warnings)) => ("warnings", warnings),
            Err(problems) => ("problems", problems),
        };
        let refused = problems.iter().any(|one| one.severity() == Severity::Error);
        assert_eq!(refused, end == "problems", "{}", file.display());
        let shown = shown(&problems);
        seen.push_str(&shown);
        expect(&file.with_extension(end), &shown);
    }
    assert_eq!(files.len(), 10, "files in the corpus");
    for fault in FAULTS {
        assert!(seen.contains(&format!(" {fault} ")), "no file shows {fault}");
    }
}

#[test]
fn the_manual_names_every_key_and_its_example_is_read() {
    let manual = fs::read_to_string("docs/tunnel.md").unwrap();
    let example = manual.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let (config, warnings) =
        TunnelConfig::parse(example, "docs/tunnel.md").map_err(|all| shown(&all)).unwrap();
    assert_eq!((config.tunnels.len(), shown(&warnings).as_str()), (2, ""));
    let asked = "[[tunnel]]\nxxxxxxxxxxxxxxxxxxxxxxx = 1\n";
    let problems = TunnelConfig::parse(asked, "x").map(|_| ()).unwrap_err();
    let unknown = problems.iter().find(|one| one.fault() == Fault::ConfigUnknownKey).unwrap();
    let (_, keys) = unknown.remedy().rsplit_once(" takes ").unwrap();
    let keys: Vec<_> =
        keys.split([',', ' ']).filter(|word| !word.is_empty() && *word != "and").collect();
    assert_eq!(keys.len(), 17, "{keys:?}");
    for key in keys {
        let written = manual
            .lines()
            .any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} = ")));
        assert!(written, "docs/tunnel.md does not show {key}");
    }
}

#[test]
fn what_is_written_is_what_the_tunnels_hold() {
    let (config, _) = TunnelConfig::read(Path::new("tests/config/tunnel/everything.toml")).unwrap();
    assert_eq!((config.drain, config.log), (Duration::from_secs(7), LogFormat::Json));
    let [one, two] = &config.tunnels[..] else { panic!("{} tunnels", config.tunnels.len()) };
    let listen: Vec<_> = one.listen.iter().map(|listen| listen.value.to_string()).collect();
    assert_eq!(listen, ["127.0.0.1:6379", "[::1]:6379", "unix:/run/redis.sock"]);
    let Callers::Users(gate) = &one.callers else { panic!("no users") };
    let rules: Vec<_> =
        gate.rules().iter().map(|rule| format!("{} {}", rule.value, rule.place)).collect();
    let at = "tests/config/tunnel/everything.toml";
    assert_eq!(
        rules,
        [
            format!("user root (uid 0) {at}:15:15"),
            format!("user 4711 {at}:15:23"),
            format!("group 4712 {at}:16:15"),
        ]
    );
    let to = &one.destination;
    assert_eq!((&*one.name, to.to.to_string()), ("redis", "db.internal:8443".to_owned()));
    assert_eq!(to.server_name.as_ref().unwrap().to_str(), "redis.internal");
    assert_eq!((to.pins.len(), to.retries, one.mode, one.max), (2, 3, 0o660, 7));
    assert_eq!(to.files.key, Path::new("c.pem"));
    assert_eq!(
        (to.deadlines.connect, one.idle),
        (Duration::from_secs(9), Duration::from_secs(3600))
    );
    let Callers::Networks(gate) = &two.callers else { panic!("no networks") };
    assert_eq!(gate.rules().next().unwrap().network.to_string(), "10.20.0.0/16");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tunnels_run_in_one_process_and_log_in_json() {
    let set = set();
    let hall = hall(&set);
    let (_directory, path) = public();
    let (_held, nowhere) = nobody();
    let file = |name: &str| set.path(name).display().to_string();
    let (trust, chain, key) = (file("trust.pem"), file("alice.chain.pem"), file("alice.key.pem"));
    let mut text = String::from("[audit]\nformat = \"json\"\n");
    for (name, listen, to) in
        [("good", "127.0.0.1:0".to_owned(), hall.address("echo")), ("gone", unix(&path), nowhere)]
    {
        write!(
            text,
            "[[tunnel]]\nname = {name:?}\nlisten = {listen:?}\nto = \"{to}\"\n\
             trust = {trust:?}\ncertificate = {chain:?}\nkey = {key:?}\n"
        )
        .unwrap();
    }
    let config = set.write("tunnel.toml", text.as_bytes());
    let mut command = Command::new(DOORWARD);
    command.args(["tunnel", "-c"]).arg(&config);
    let tunnels = Running::run(command);
    tunnels.call().echo("hello");
    assert!(Caller::to(&unix(&path)).is_closed());
    let line = tunnels.logged(&["client.refused"]);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["code"], &event["tunnel"]), (&"client.refused".into(), &"gone".into()));
    assert!(event["from"].as_str().unwrap().starts_with("uid "), "{event}");
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        writeln!(text, "{problem}").unwrap();
        text
    })
}

fn expect(path: &Path, shown: &str) {
    if std::env::var_os("DOORWARD_BLESS").is_some() {
        match shown {
            "" => drop(fs::remove_file(path)),
            text => fs::write(path, text).unwrap(),
        }
    }
    assert_eq!(shown, fs::read_to_string(path).unwrap_or_default(), "{}", path.display());
}

/// Every fault that only the file of the tunnels can have.
const FAULTS: [Fault; 10] = [
    Fault::BindBadListen,
    Fault::BindDuplicate,
    Fault::BindOutsideScope,
    Fault::TunnelNone,
    Fault::TunnelBadName,
    Fault::TunnelBadTarget,
    Fault::TunnelBadPin,
    Fault::TunnelBadCaller,
    Fault::TunnelCallers,
    Fault::TunnelAnyUser,
];

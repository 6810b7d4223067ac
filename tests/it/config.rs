//! The configuration: a corpus of files, the annotated reference, and text that means harm.
//!
//! `tests/config/invalid/NAME.toml` must be refused with exactly the problems in `NAME.problems`;
//! `tests/config/valid/NAME.toml` must be read with exactly the warnings in `NAME.warnings`, or
//! none where there is no such file. `DOORWARD_BLESS=1 cargo test --test it config` writes both
//! kinds anew from what the program says now: read the difference before you commit it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a helper of a test did not find is a failure of the test"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doorward::address::{AddressGate, NetworkRule};
use doorward::config::{Config, LogFormat, Renewal, ServiceKind};
use doorward::frame::{Answers, ByteOrder, FrameKind, FramePolicy, LengthWidth, Rate, Text};
use doorward::handshake::{Hints, Pin, Versions};
use doorward::place::Place;
use doorward::problem::{Fault, Problem, Severity};
use doorward::sandbox::{Effort, SandboxSettings};
use doorward::service::run::{Keeper, Limits, Streams};
use doorward::service::{Announce, Upstream};
use proptest::prelude::*;

#[test]
fn every_invalid_configuration_is_refused_with_its_problems() {
    let files = corpus("tests/config/invalid");
    for file in &files {
        let problems = Config::read(file).map(|_| ()).expect_err(&file.display().to_string());
        assert!(problems.iter().any(|one| one.severity() == Severity::Error), "{file:?}");
        expect(&file.with_extension("problems"), &shown(&problems));
    }
    assert_eq!(files.len(), 163, "files in the corpus");
}

#[test]
fn every_valid_configuration_is_read_with_its_warnings() {
    let files = corpus("tests/config/valid");
    for file in &files {
        let warnings = match Config::read(file) {
            Ok((_, warnings)) => warnings,
            Err(problems) => panic!("{file:?}\n{}", shown(&problems)),
        };
        assert!(warnings.iter().all(|one| one.severity() == Severity::Warning), "{file:?}");
        expect(&file.with_extension("warnings"), &shown(&warnings));
    }
    assert_eq!(files.len(), 34, "files in the corpus");
}

#[test]
fn the_corpus_shows_every_fault_of_a_configuration() {
    let mut seen = String::new();
    for kind in ["tests/config/invalid", "tests/config/valid"] {
        for file in corpus(kind) {
            let (Ok((_, problems)) | Err(problems)) = Config::read(&file);
            seen.push_str(&shown(&problems));
        }
    }
    for fault in FAULTS {
        assert!(seen.contains(&format!(" {fault} ")), "no file shows {fault}");
    }
}

#[test]
fn the_reference_is_read_without_a_warning() {
    let (config, warnings) = Config::read(Path::new(REFERENCE)).map_err(|all| shown(&all)).unwrap();
    assert_eq!(shown(&warnings), "");
    assert_eq!(config.services.len(), 1);
    assert_eq!(&*config.services[0].name, "echo");
}

#[test]
fn the_reference_writes_the_defaults_and_nothing_else() {
    let text = fs::read_to_string(REFERENCE).unwrap();
    let reference = Config::parse(&text, "x").unwrap().0;
    let bare = Config::parse(BARE, "x").unwrap().0;
    assert_eq!(defaults(&reference), defaults(&bare));
}

#[test]
fn the_reference_names_every_key() {
    let text = fs::read_to_string(REFERENCE).unwrap();
    let mut named = 0;
    for (table, header) in TABLES {
        for key in known_keys(table) {
            let in_table = text.split(header).nth(1).unwrap_or_else(|| panic!("no {header}"));
            let written = in_table.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line.starts_with(&format!("{key} ")) || line.contains(&format!(".{key}]"))
            });
            let written = written || text.contains(&format!("[{key}]"));
            assert!(written, "{header} does not mention {key}");
            named += 1;
        }
    }
    assert_eq!(named, 102, "keys of all tables");
}

#[test]
fn what_is_written_is_what_the_rooms_hold() {
    let config = Config::parse(EVERYTHING, "x.toml").map_err(|all| shown(&all)).unwrap().0;
    let Config { bind, accept, handshake, services, drain, log, source, admin, certs, .. } =
        &config;
    assert_eq!(bind.scope().value.to_string(), "scope = [\"10.20.0.0/16\"]");
    let budgets = [accept.strangers, accept.per_source, accept.members];
    assert_eq!(budgets.map(usize::from), [5, 4, 6]);
    let files = [&handshake.certificate, &handshake.key, &handshake.clients];
    assert_eq!(files.map(|file| file.value.to_str().unwrap()), ["a.pem", "b.pem", "c.pem"]);
    let crl: Vec<_> = handshake.crl.iter().map(|file| file.value.to_str().unwrap()).collect();
    assert_eq!(crl, ["d.pem", "e.pem"]);
    assert_eq!(handshake.versions, Versions::Tls12And13);
    assert_eq!(handshake.hints, Hints::Published);
    assert_eq!((handshake.deadline, *drain), (Duration::from_secs(7), Duration::from_millis(8)));
    assert_eq!(*log, LogFormat::Json);
    let admin = admin.as_ref().unwrap();
    assert_eq!((admin.socket.value.to_str().unwrap(), &admin.users[..]), ("e.sock", &[0, 12][..]));
    assert_eq!((source.file.as_deref(), source.watch), (None, false));
    assert_eq!(source.lists, [Path::new("tests/config/lists/offices")]);
    assert_eq!(certs.directory.value, Path::new("dev"));
    let place = Place::new("x.toml".into(), 32, 9);
    let due = Duration::from_secs(12 * 3600);
    assert_eq!(certs.renewal, Renewal::WhenDue { due, place });
    let sandbox = &config.sandbox;
    assert_eq!((sandbox.effort, sandbox.place.line()), (Effort::Whole, 34));
    let account = [&sandbox.user, &sandbox.group].map(|name| name.as_ref().unwrap().value.as_str());
    assert_eq!((account, sandbox.write[0].value.to_str()), (["doorward", "door"], Some("logs")));
    let [service, forward, _] = &services[..] else { panic!("{} services", services.len()) };
    assert_eq!((&*service.name, service.place.to_string()), ("one", "x.toml:40:1".to_owned()));
    let listen: Vec<_> = service.listen.iter().map(|listen| listen.value.to_string()).collect();
    assert_eq!(listen, ["10.20.0.1:9000", "lo port 9001"]);
    assert_eq!(
        rules(&service.address),
        [
            "10.0.0.0/8 Allow x.toml:46:13",
            "10.1.0.0/16 Allow tests/config/lists/offices:2:1",
            "10.2.0.0/16 Allow tests/config/lists/offices:3:1",
            "10.9.0.0/16 Deny x.toml:47:11",
            "fd00:1::/32 Allow tests/config/lists/offices:5:1",
        ]
    );
    let [rule, other] = service.identity.rules() else { panic!("not two rules") };
    assert_eq!(rule.names()[0].value.to_string(), "dns:alice");
    assert_eq!(rule.names()[0].place.to_string(), "x.toml:51:14");
    assert_eq!(rule.from().unwrap()[0].to_string(), "10.5.0.0/16");
    assert_eq!(other.from(), None);
    assert!(matches!(service.kind, ServiceKind::Echo));
    assert_eq!(rules(&forward.address), ["127.0.0.0/8 Allow x.toml:6:10"]);
    let ServiceKind::Forward(to) = &forward.kind else { panic!("no forward") };
    assert_eq!(to.to.to_string(), "unix:/run/app.sock");
    assert_eq!(to.connect_deadline, Duration::from_secs(9));
    assert_eq!((to.health, to.proxy), (Some(Duration::from_secs(13)), Announce::V2));
    assert_eq!(forward.frame.kind(), FrameKind::Raw);
    let lifetimes = services.iter().map(|service| service.lifetime);
    assert_eq!(lifetimes.collect::<Vec<_>>(), [None, Some(Duration::from_secs(8 * 3600)), None]);
}

#[test]
fn what_is_written_of_an_upstream_is_what_is_dialled() {
    let config = Config::parse(EVERYTHING, "x.toml").map_err(|all| shown(&all)).unwrap().0;
    let ServiceKind::Forward(forward) = &config.services[2].kind else { panic!("no forward") };
    assert_eq!(forward.to.to_string(), "tls:10.0.0.5:8443");
    assert_eq!((forward.health, forward.proxy), (None, Announce::Nothing));
    let Upstream::Tls(_, dial) = &forward.to else { panic!("no TLS") };
    let files = [&dial.certificate, &dial.key, &dial.trust];
    assert_eq!(files.map(|file| file.value.to_str().unwrap()), ["f.pem", "g.pem", "h.pem"]);
    assert_eq!(dial.name.to_str(), "db.internal");
    assert_eq!(dial.pin, Some(Pin::from_digest([0; 32])));
    assert_eq!(config.services[2].frame.answers(), Answers::Checked);
}

#[test]
fn what_is_written_of_a_program_is_what_it_gets() {
    let file = Path::new("tests/config/valid/run.toml");
    let services = Config::read(file).map_err(|all| shown(&all)).unwrap().0.services;
    let runs: Vec<_> = services
        .iter()
        .filter_map(
            |service| if let ServiceKind::Run(run) = &service.kind { Some(run) } else { None },
        )
        .collect();
    let [full, bare, _] = runs.as_slice() else { panic!("{} programs", runs.len()) };
    assert_eq!((full.program.value.as_str(), full.program.place.line()), ("python3", 15));
    assert_eq!(full.arguments, ["server.py", ""]);
    assert_eq!(full.directory.as_ref().unwrap().value, Path::new("/srv"));
    let environment: Vec<_> = full.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(environment, ["HOME=/srv", "a_1="]);
    assert_eq!((full.streams, full.grace), (Streams::Lines, Duration::ZERO));
    let Limits { memory, cpu, files, programs } = full.limits;
    assert_eq!((memory, cpu.as_secs(), files, programs.get()), (64 << 30, 24 * 3600, 8, 1));
    assert_eq!(bare.streams, Streams::Frames);
    assert_eq!((bare.grace, bare.limits), (Duration::from_secs(2), Limits::default()));
    assert_eq!((&full.keeper, &bare.limited), (&Keeper::Absent, &None));
    assert!(matches!(services[0].frame.kind(), FrameKind::LengthPrefixed { .. }));
}

#[test]
fn what_is_written_of_a_frame_is_what_its_policy_holds() {
    let config = Config::parse(EVERYTHING, "x.toml").map_err(|all| shown(&all)).unwrap().0;
    let (width, order) = (LengthWidth::Two, ByteOrder::Little);
    let policy = FramePolicy::new(FrameKind::LengthPrefixed { width, order })
        .bounds(2, 1024)
        .and_then(|policy| policy.text(Text::Ascii))
        .and_then(|policy| policy.allow_control(['\t', '\u{1b}']))
        .unwrap()
        .at_rate(Some(Rate::parse("30/m").unwrap().with_burst(3)))
        .idle_after(Duration::from_secs(11))
        .first_within(Duration::from_secs(12));
    assert_eq!(*config.services[0].frame, policy);
}

#[test]
fn a_configuration_that_is_no_file_is_one_problem() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("doorward.toml");
    for (case, seen) in [("a directory", "no regular file"), ("nothing", "cannot be read")] {
        let path = if case == "nothing" { path.as_path() } else { directory.path() };
        assert_unreadable(path, seen);
    }
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_unreadable(&path, "longer than 1MiB");
    fs::write(&path, b"# one\n# \xff\n").unwrap();
    assert_unreadable(&path, "not UTF-8: see line 2");
}

proptest! {
    #[test]
    fn no_text_stops_the_reader(text in "\\PC*") {
        drop(Config::parse(&text, "x.toml"));
    }

    #[test]
    fn a_reference_with_a_wound_is_refused_or_whole(
        start in 0_usize..6000,
        length in 0_usize..40,
        graft in "[\\[\\]{}=\",.a-z0-9 \n#:/-]{0,12}",
    ) {
        let mut text: Vec<char> = fs::read_to_string(REFERENCE).unwrap().chars().collect();
        let start = start.min(text.len());
        let end = start.saturating_add(length).min(text.len());
        text.splice(start..end, graft.chars());
        let text: String = text.into_iter().collect();
        if let Err(problems) = Config::parse(&text, "x.toml") {
            prop_assert!(problems.iter().any(|one| one.severity() == Severity::Error));
            prop_assert!(problems.iter().all(|one| one.place().is_some()));
            prop_assert!(problems.is_sorted_by_key(Problem::place));
        }
    }
}

fn rules(gate: &AddressGate) -> Vec<String> {
    let rule = |rule: NetworkRule| format!("{} {:?} {}", rule.network, rule.effect, rule.place);
    gate.rules().map(rule).collect()
}

fn defaults(config: &Config) -> String {
    let Config { accept, handshake, services, drain, log, certs, sandbox, record, bans, .. } =
        config;
    let SandboxSettings { effort, place: _, user, group, write } = sandbox;
    let certs = (&certs.directory.value, &certs.renewal);
    let frame = &services[0].frame;
    let (versions, deadline, hints) = (handshake.versions, handshake.deadline, handshake.hints);
    format!(
        "{accept:?} {versions:?} {deadline:?} {hints:?} {frame:?} {drain:?} {log:?} {certs:?} {effort:?} {user:?} {group:?} {write:?} {record:?} {bans:?}"
    )
}

fn assert_unreadable(path: &Path, seen: &str) {
    let problems = Config::read(path).map(|_| ()).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].fault(), Fault::ConfigUnreadable);
    assert!(problems[0].message().contains(seen), "{}", problems[0]);
}

/// The keys a table says it knows when it is asked for one that it cannot know.
fn known_keys(table: &str) -> Vec<String> {
    let text = format!("{table}\nxxxxxxxxxxxxxxxxxxxxxxx = 1\n");
    let problems = Config::parse(&text, "x.toml").map(|_| ()).unwrap_err();
    let unknown = problems.iter().find(|one| one.fault() == Fault::ConfigUnknownKey).unwrap();
    let (_, keys) = unknown.remedy().rsplit_once(" takes ").unwrap();
    keys.split([',', ' '])
        .filter(|word| !word.is_empty() && *word != "and")
        .map(str::to_owned)
        .collect()
}

fn corpus(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
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
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(shown, expected, "{}", path.display());
}

const REFERENCE: &str = "config/doorward.toml";

/// What must be written; the rest is default.
const BARE: &str = r#"
[handshake]
certificate = "chain.pem"
key = "key.pem"
clients = "trust.pem"

[[service]]
name = "echo"
listen = "127.0.0.1:8443"
kind = "echo"
"#;

/// Every key with a value that is no default.
const EVERYTHING: &str = r#"[bind]
scope = ["10.20.0.0/16"]
ports = ["9000-9100"]

[address]
allow = ["127.0.0.0/8"]

[accept]
strangers = 5
per_source = 4
members = 6

[handshake]
certificate = "a.pem"
key = "b.pem"
clients = "c.pem"
crl = ["d.pem", "e.pem"]
deadline = "7s"
versions = ["1.2", "1.3"]
hints = true

[server]
drain = "8ms"
watch = false
[audit]
format = "json"
[admin]
socket = "e.sock"
users = ["root", 12]
[certs]
directory = "dev"
renew = true
due = "12h"
[sandbox]
require = true
user = "doorward"
group = "door"
write = "logs"
# one
[[service]]
name = "one"
listen = ["10.20.0.1:9000", { interface = "lo", port = 9001 }]
kind = "echo"

  [service.address]
  allow = [ "10.0.0.0/8"]
  deny = ["10.9.0.0/16"]
  files = "tests/config/lists/offices"

  [[service.identity]]
  permit = [ "dns:alice"]
  from = "10.5.0.0/16"

  [[service.identity]]
  permit = "email:bob@example.test"

  [service.frame]
  kind = "length-prefixed"
  width = 2
  order = "little"
  min = 2
  max = "1KiB"
  text = "ascii"
  allow_control = ["\t", "\u001b"]
  rate = "30/m"
  burst = 3
  idle = "11s"
  first = "12s"

[[service]]
name = "two"
listen = "10.20.0.1:9100"
kind = "forward"
to = "unix:/run/app.sock"
connect_deadline = "9s"
health = "13s"
proxy = "v2"
lifetime = "8h"

[[service]]
name = "three"
listen = "10.20.0.1:9099"
kind = "forward"
to = "tls:10.0.0.5:8443"

  [service.upstream]
  certificate = "f.pem"
  key = "g.pem"
  trust = "h.pem"
  name = "db.internal"
  pin = "pin:sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

  [service.frame]
  kind = "lines"
  answers = "checked"
"#;

/// Each table as it is opened, and as the reference opens it.
const TABLES: [(&str, &str); 18] = [
    ("", ""),
    ("[bind]", "\n[bind]"),
    ("[address]", "\n[address]"),
    ("[handshake]", "\n[handshake]"),
    ("[accept]", "\n[accept]"),
    ("[server]", "\n[server]"),
    ("[sandbox]", "\n[sandbox]"),
    ("[audit]", "\n[audit]"),
    ("[admin]", "\n[admin]"),
    ("[bans]", "\n[bans]"),
    ("[metrics]", "# [metrics]"),
    ("[certs]", "\n[certs]"),
    ("[[service]]", "\n[[service]]"),
    ("[[service]]\n[[service.identity]]", "[[service.identity]]"),
    ("[[service]]\n[service.balancers]", "[service.balancers]"),
    ("[[service]]\n[service.frame]", "[service.frame]"),
    (UPSTREAM, "[service.upstream]"),
    ("[[service]]\nkind = \"run\"\ncommand = \"x\"\n[service.limits]", "# [service.limits]"),
];

/// The table of a forward over TLS, which is asked for in such a service alone.
const UPSTREAM: &str = "[[service]]\nkind = 'forward'\nto = 'tls:db:1'\n[service.upstream]";

/// Every fault that reading a configuration can find.
const FAULTS: [Fault; 33] = [
    Fault::ConfigUnreadable,
    Fault::ConfigSyntax,
    Fault::ConfigUnknownKey,
    Fault::ConfigMissingKey,
    Fault::ConfigWrongType,
    Fault::ConfigBadValue,
    Fault::AdminBadUser,
    Fault::AcceptBadBalancer,
    Fault::BindBadScope,
    Fault::BindBadPorts,
    Fault::BindBadListen,
    Fault::BindDuplicate,
    Fault::BindOutsideScope,
    Fault::BindPortNotAllowed,
    Fault::BindOpenToAll,
    Fault::AddressBadNetwork,
    Fault::AddressHostBits,
    Fault::AddressLeadingZero,
    Fault::AddressMapped,
    Fault::AddressDuplicate,
    Fault::AddressListUnreadable,
    Fault::AddressNobody,
    Fault::AddressOneFamily,
    Fault::HandshakeNoRevocation,
    Fault::HandshakeOldVersion,
    Fault::IdentityBadName,
    Fault::IdentityDuplicate,
    Fault::IdentityNobody,
    Fault::IdentityCommonName,
    Fault::FrameBounds,
    Fault::ServiceBadName,
    Fault::ServiceBadUpstream,
    Fault::ServiceNone,
];

//! `explain`: the hallway on paper says what the server says, and what it proposes helps.

pub(crate) mod chance;
mod oracle;
mod running;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::{fs, io};

use doorward::paper::{Edit, Verdict, Walk};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::cli::{doorward, said};
use crate::support::set::days;
use crate::support::visitor::hear;
use crate::support::{ALICE, Hall, Set, Visitor};
use chance::Dice;
pub(crate) use oracle::peer;
use oracle::{Scene, Stranger};

/// How many visitors are walked on paper, and how many of them really come.
const ON_PAPER: usize = 5_000;
const IN_PERSON: usize = 500;

fn code(walk: &Walk) -> &'static str {
    walk.refused().map_or("left", |objection| objection.refused.code())
}

#[test]
fn five_thousand_visitors_fare_on_paper_as_an_independent_reading_of_the_rules_says() {
    let set = Set::new();
    let scene = Scene::new(&set);
    let mut dice = Dice::new(5);
    let mut seen = std::collections::BTreeMap::new();
    for number in 0..ON_PAPER {
        let stranger = scene.anybody(&mut dice);
        let walk = scene.walk(&stranger);
        let expected = scene.expected(&stranger);
        assert_eq!(code(&walk), expected, "visitor {number}: {stranger:?}");
        *seen.entry(expected).or_insert(0) += 1;
        it_stops_at_the_first_no(&walk);
    }
    assert!(seen.len() >= 26, "{} verdicts came up: {seen:?}", seen.len());
}

fn it_stops_at_the_first_no(walk: &Walk) {
    let mut steps = walk.steps().iter();
    let refused = steps.by_ref().find(|step| matches!(step.verdict, Verdict::Refused(_)));
    assert_eq!(refused.map(|step| step.room), walk.refused().map(|no| no.refused.refusal().room()));
    assert!(steps.all(|step| matches!(step.verdict, Verdict::NotAsked(_))));
}

#[tokio::test]
async fn visitors_who_really_come_fare_as_on_paper() {
    let set = Set::new();
    let scene = Scene::new(&set);
    let mut hall = Hall::of(scene.text());
    let mut dice = Dice::new(300);
    let mut seen = std::collections::BTreeMap::new();
    for (network, ban) in scene.bans.iter() {
        hall.control.ban(*network, ban.clone()).await.unwrap();
    }
    for number in 0..IN_PERSON {
        let stranger = scene.neighbour(&mut dice);
        // However it ends, the record says why.
        drop(come(&set, &scene, &stranger, hall.address(stranger.service)).await);
        let verdict = hall.verdict().await;
        assert_eq!(verdict, code(&scene.walk(&stranger)), "visitor {number}: {stranger:?}");
        *seen.entry(verdict).or_insert(0) += 1;
    }
    assert!(seen.len() >= 20, "{} verdicts came up: {seen:?}", seen.len());
}

/// Comes as the stranger would, with a header of its balancer if it has one.
async fn come(set: &Set, scene: &Scene, stranger: &Stranger, to: SocketAddr) -> io::Result<()> {
    let met = stranger.via.unwrap_or(stranger.from).to_string();
    let visitor = Visitor::new(set, scene.credential(stranger)).from(&met).offering(stranger.alpn);
    let mut stream = visitor.knock(to).await?;
    if stranger.via.is_some() {
        let (family, here) = match stranger.from {
            IpAddr::V4(_) => ("TCP4", "127.0.0.1"),
            IpAddr::V6(_) => ("TCP6", "::1"),
        };
        let header = format!("PROXY {family} {} {here} 9 8443\r\n", stranger.from);
        stream.write_all(header.as_bytes()).await?;
    }
    let mut stream = visitor.shake_hands(stream, to).await?;
    stream.write_all(&stranger.words).await?;
    stream.shutdown().await?;
    hear(&mut stream).await.map(drop)
}

#[test]
fn the_smallest_change_lets_the_visitor_on_and_nobody_it_does_not_name() {
    let set = Set::new();
    let scene = Scene::new(&set);
    let mut dice = Dice::new(7);
    let mut helped = std::collections::BTreeMap::new();
    for _ in 0..ON_PAPER {
        let stranger = scene.anybody(&mut dice);
        for objection in scene.walk(&stranger).objections() {
            let edit = &objection.change.edit;
            let kind = match edit {
                Edit::Allow(_) | Edit::NoDeny(_) | Edit::AllowNotDeny(_) => {
                    only_this_address_is_new(&scene, &stranger, edit, &mut dice);
                    "address"
                }
                Edit::Permit(..) | Edit::Rule(..) | Edit::From(..) => {
                    scene.is_permitted_after(&stranger, edit);
                    "identity"
                }
                Edit::Elsewhere(_) => "elsewhere",
            };
            *helped.entry(kind).or_insert(0) += 1;
        }
    }
    assert!(helped["address"] > 500 && helped["identity"] > 500, "{helped:?}");
}

fn only_this_address_is_new(scene: &Scene, stranger: &Stranger, edit: &Edit, dice: &mut Dice) {
    let gate = &scene.service(stranger.service).address;
    let after = edit.of_address(gate);
    let from = oracle::accept(stranger).unwrap().0;
    assert!(after.judge(peer(from)).is_ok(), "{edit} for {stranger:?}");
    for _ in 0..20 {
        let other = peer(dice.address());
        if other.ip() != from {
            let (before, after) = (gate.judge(other).is_ok(), after.judge(other).is_ok());
            assert_eq!(before, after, "{edit} changes {other}");
        }
    }
}

/// Writes a configuration with ALICE behind it and gives back what the command says of these words.
fn explained(set: &Set, words: &[&str]) -> (i32, String, String) {
    let config = set.path("doorward.toml");
    if !config.exists() {
        fs::write(&config, set.tables("") + ALICE).unwrap();
    }
    let words = [&["explain"], words, &["--config", config.to_str().unwrap()]].concat();
    said(&doorward(Path::new("."), &words))
}

#[test]
fn the_picture_names_file_line_and_rule_and_the_exit_code_is_the_verdict() {
    let set = Set::new();
    let (chain, _) = set.write_credential("alice", &set.client("alice"));
    let chain = chain.to_str().unwrap();
    let (code, out, err) = explained(&set, &["--from", "127.0.0.1", "--cert", chain]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for words in [
        "passed     127.0.0.0/8 is allowed",
        "doorward.toml:4:10",
        "would be let in to echo (echo)",
    ] {
        assert!(out.contains(words), "{words:?} in\n{out}");
    }

    let (code, out, _) = explained(&set, &["--from", "192.0.2.7", "--cert", chain]);
    assert_eq!(code, 1);
    for words in [
        "x address    refused    address.not-listed",
        ". handshake  not asked",
        "would be refused: address.not-listed",
        "smallest change: add \"192.0.2.7/32\" to allow, at ",
        "this also admits nobody else",
        "adding \"192.0.2.0/24\" instead also admits 255 other addresses",
    ] {
        assert!(out.contains(words), "{words:?} in\n{out}");
    }
    assert!(!out.contains("not enough"), "{out}");
}

#[test]
fn a_change_that_is_not_enough_is_said_to_be_so() {
    let set = Set::new();
    let expired = set.sign(&set.draft("bob").valid(days(-9), days(-1)));
    let (chain, _) = set.write_credential("bob", &expired);
    let words = set.write("words", b"\0\x10\0\0");
    let words = [
        "--from",
        "192.0.2.7",
        "--cert",
        chain.to_str().unwrap(),
        "--frame",
        words.to_str().unwrap(),
    ];
    let (code, out, _) = explained(&set, &[&words[..], &["--json"]].concat());
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["admitted"]), (1, &Value::Bool(false)));
    let codes: Vec<_> =
        told["reasons"].as_array().unwrap().iter().map(|no| no["code"].as_str().unwrap()).collect();
    assert_eq!(
        codes,
        ["address.not-listed", "handshake.expired", "identity.not-permitted", "frame.too-long"]
    );
    let change = &told["reasons"][2]["change"];
    assert_eq!(change["edit"], "add \"dns:bob.client.internal\" to permit");
    assert!(change["place"].as_str().unwrap().contains("doorward.toml:"), "{change}");
    let (_, out, _) = explained(&set, &words);
    assert!(out.contains("That change is not enough"), "{out}");
}

#[test]
fn a_visitor_behind_a_balancer_is_judged_by_what_the_balancer_says() {
    let set = Set::new();
    let (chain, _) = set.write_credential("alice", &set.client("alice"));
    let table = "  [service.balancers]\n  from = [\"127.0.0.5\"]\n";
    let service =
        ALICE.replace("  [[service.identity]]", &format!("{table}  [[service.identity]]"));
    let tables = set.tables("").replace("\"127.0.0.0/8\"", "\"192.0.2.0/24\", \"127.0.0.6\"");
    set.write("doorward.toml", (tables + &service).as_bytes());
    for (from, via, expected) in [
        ("192.0.2.7", Some("127.0.0.5"), (0, "let in to echo")),
        ("198.51.100.1", Some("127.0.0.5"), (1, "address.not-listed")),
        ("224.0.0.1", Some("127.0.0.5"), (1, "accept.proxy-lying")),
        ("127.0.0.5", None, (1, "accept.proxy-missing")),
        // As in the test of the balancers: somebody else's header is no TLS.
        ("192.0.2.7", Some("127.0.0.6"), (1, "handshake.not-tls")),
    ] {
        let mut words = vec!["--from", from, "--cert", chain.to_str().unwrap()];
        words.extend(via.iter().flat_map(|via| ["--via", via]));
        let (code, out, _) = explained(&set, &words);
        assert_eq!((code, out.contains(expected.1)), (expected.0, true), "{out}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_could_be() {
    let set = Set::new();
    let two = set.tables("") + ALICE + &ALICE.replace("\"echo\"\nlisten", "\"other\"\nlisten");
    set.write("doorward.toml", two.as_bytes());
    let (code, _, err) = explained(&set, &["--from", "127.0.0.1"]);
    assert_eq!(code, 2);
    assert!(err.contains("echo at 127.0.0.1:0, other at 127.0.0.1:0"), "{err}");
    let (code, out, _) = explained(&set, &["--from", "127.0.0.1", "--service", "other"]);
    assert_eq!((code, out.contains("handshake.no-certificate")), (1, true), "{out}");
    let (_, out, _) = explained(&set, &["--from", "192.0.2.7", "--service", "other"]);
    assert!(out.contains("also lets it knock at echo, because the list is the same"), "{out}");
    let (code, _, err) = explained(&set, &["--from", "127.0.0.1", "--service", "third"]);
    assert_eq!((code, err.contains("there is no such service")), (2, true), "{err}");
    fs::remove_file(set.path("crl.pem")).unwrap();
    let (code, _, err) = explained(&set, &["--from", "127.0.0.1", "--service", "echo"]);
    assert_eq!((code, err.contains("handshake.unreadable")), (3, true), "{err}");
}

#[test]
fn a_listener_names_its_service_as_it_is_written_or_by_an_address_that_it_has() {
    let set = Set::new();
    let named = |name: &str, listen: &str, kind: &str| {
        let service = ALICE.replace("\"echo\"\nlisten", &format!("\"{name}\"\nlisten"));
        let service = service.replace("kind = \"echo\"", kind);
        service.replace("\"127.0.0.1:0\"", listen)
    };
    let services = [
        named("handed-over", "\"systemd:front\"", "kind = \"echo\""),
        named("wide", "\"0.0.0.0:8444\"", "kind = \"forward\"\nto = \"127.0.0.1:9\""),
        named(
            "local",
            "{ interface = \"lo\", port = 8445 }",
            "kind = \"run\"\ncommand = [\"cat\"]",
        ),
    ];
    let tables = set.tables("").replace("[bind]\n", "[bind]\nscope = \"all\"\n");
    set.write("doorward.toml", (tables + &services.concat()).as_bytes());
    for (to, verdict) in [
        ("systemd:front", "let in to handed-over (echo)"),
        ("0.0.0.0:8444", "let in to wide (forward to 127.0.0.1:9)"),
        ("192.0.2.1:8444", "let in to wide (forward to 127.0.0.1:9)"),
        ("[::ffff:192.0.2.1]:8444", "let in to wide (forward to 127.0.0.1:9)"),
        ("lo port 8445", "let in to local (run /"),
        ("127.0.0.1:8445", "let in to local (run /"),
    ] {
        let (chain, _) = set.write_credential("alice", &set.client("alice"));
        let words = ["--from", "127.0.0.1", "--to", to, "--cert", chain.to_str().unwrap()];
        let (code, out, err) = explained(&set, &words);
        assert_eq!((code, err.as_str()), (0, ""), "{to}: {out}");
        assert!(out.contains(verdict), "{to}: {out}");
    }
    for to in ["systemd:back", "[::1]:8444", "192.0.2.1:8445", "192.0.2.1:8446"] {
        assert_eq!(explained(&set, &["--from", "127.0.0.1", "--to", to]).0, 2, "{to}");
    }
}

#[test]
fn what_is_spoken_inside_tls_is_asked_where_a_service_names_it() {
    let set = Set::new();
    let (chain, _) = set.write_credential("alice", &set.client("alice"));
    let service = ALICE.replace("kind = \"echo\"", "kind = \"echo\"\nalpn = [\"doors\"]");
    set.write("doorward.toml", (set.tables("") + &service).as_bytes());
    for (alpn, code, expected) in [
        (&[][..], 0, ". handshake  not asked  no protocol was given"),
        (&["--alpn", ""], 0, "+ handshake  passed     it offers no protocol, which may be"),
        (&["--alpn", "h2", "--alpn", "doors"], 0, "it offers one of doors"),
        (&["--alpn", "h2"], 1, "would be refused: handshake.no-protocol"),
    ] {
        let words = [&["--from", "127.0.0.1", "--cert", chain.to_str().unwrap()], alpn].concat();
        let (exit, out, _) = explained(&set, &words);
        assert_eq!((exit, out.contains(expected)), (code, true), "{alpn:?}: {out}");
    }
}

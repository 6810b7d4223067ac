//! Bans: who keeps being refused is kept out for a while, and nobody who shares its address with a member.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use doorward::audit::Event;
use serde_json::Value;

use crate::cli::{Guard, block_on, doorward, said};
use crate::support::{ALICE, Hall, Set, Visitor, prefixed};

/// Three refusals within a minute, and these settings.
fn configuration(set: &Set, bans: &str) -> String {
    fs::create_dir_all(set.path("state")).unwrap();
    let socket = set.path("admin.sock").display().to_string();
    format!("[bans]\nafter = 3\n{bans}\n[admin]\nsocket = {socket:?}\n{}{ALICE}", set.tables(""))
}

fn state(set: &Set) -> String {
    format!("state = \"{}\"", set.path("state/bans.json").display())
}

fn ask(set: &Set, args: &[&str]) -> (i32, String, String) {
    let config = set.path("doorward.toml");
    said(&doorward(Path::new("."), &[args, &["--config", config.to_str().unwrap()]].concat()))
}

fn bans(set: &Set) -> Vec<Value> {
    let (code, out, err) = ask(set, &["status", "--json"]);
    assert_eq!(code, 0, "{err}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    answer["status"]["bans"].as_array().unwrap().clone()
}

/// Visits without a certificate from this address, so often.
async fn annoy(set: &Set, to: SocketAddr, from: &str, times: usize) {
    for _ in 0..times {
        drop(Visitor::new(set, None).from(from).say(to, b"").await);
    }
}

/// Waits for a ban, and says whose.
async fn banned(hall: &mut Hall) -> String {
    loop {
        if let Event::Banned(network, ban) = hall.event().await {
            return format!("{network}: {}", ban.why);
        }
    }
}

#[tokio::test]
async fn who_is_refused_too_often_is_banned_and_nobody_else() {
    let set = Set::new();
    let mut hall = Hall::of(&configuration(&set, ""));
    let at = hall.address("echo");
    let alice = Visitor::new(&set, Some(&set.client("alice"))).from("127.0.0.7");
    annoy(&set, at, "127.0.0.8", 2).await;
    annoy(&set, at, "127.0.0.9", 3).await;
    assert_eq!(
        banned(&mut hall).await,
        "127.0.0.9/32: 3 refusals within 60s, the last handshake.no-certificate"
    );
    annoy(&set, at, "127.0.0.9", 1).await;
    let (code, Event::Refused(_, refused, _)) = hall.ending().await else { panic!("a refusal") };
    assert_eq!(code, "address.banned");
    assert!(refused.detail().starts_with("127.0.0.9/32: 3 refusals"), "{refused}");
    assert_eq!(alice.say(at, &prefixed(b"hi")).await.unwrap(), prefixed(b"hi"));
    annoy(&set, at, "127.0.0.8", 1).await;
    assert!(banned(&mut hall).await.starts_with("127.0.0.8/32: "));
}

#[tokio::test]
async fn strangers_cannot_have_a_member_banned_whose_address_they_share() {
    let set = Set::new();
    for (settings, shared) in [("", true), ("members = \"banned\"", false)] {
        let mut hall = Hall::of(&configuration(&set, settings));
        let at = hall.address("echo");
        let alice = Visitor::new(&set, Some(&set.client("alice"))).from("127.0.0.7");
        let mut session = alice.enter(at).await.unwrap();
        crate::reload::alive(&mut session).await;
        annoy(&set, at, "127.0.0.7", 9).await;
        annoy(&set, at, "127.0.0.9", 3).await;
        let first = banned(&mut hall).await;
        assert_eq!(first.starts_with("127.0.0.9/32"), shared, "{first}");
        if shared {
            crate::reload::alive(&mut session).await;
        } else {
            assert_eq!(hall.verdict().await, "address.banned", "the session is cut");
        }
    }
}

#[tokio::test]
async fn what_is_never_banned_is_not_and_the_ceiling_holds() {
    let set = Set::new();
    let mut hall = Hall::of(&configuration(&set, "never = [\"127.0.0.8\"]\nmost = 1"));
    let at = hall.address("echo");
    for from in ["127.0.0.8", "127.0.0.9", "127.0.0.10", "127.0.0.11"] {
        annoy(&set, at, from, 5).await;
    }
    assert!(banned(&mut hall).await.starts_with("127.0.0."));
    // By hand there is always room.
    let now = std::time::SystemTime::now();
    let ban = |why: &str| doorward::address::Ban {
        until: now + std::time::Duration::from_secs(60),
        why: why.into(),
        by: doorward::address::BannedBy::Operator,
    };
    hall.control.ban("10.0.0.0/8".parse().unwrap(), ban("x")).await.unwrap();
    assert_eq!(banned(&mut hall).await, "10.0.0.0/8: x");
    let list = hall.control.status().await.unwrap().bans;
    let by: Vec<_> = list.iter().map(|ban| ban.by.as_str()).collect();
    assert_eq!(by, ["operator", "refusals"], "{list:?}");
    assert_ne!(list[1].network, "127.0.0.8/32");
}

#[tokio::test]
async fn a_ban_ends_by_itself() {
    let set = Set::new();
    let mut hall = Hall::of(&configuration(&set, "for = \"1s\""));
    let at = hall.address("echo");
    annoy(&set, at, "127.0.0.9", 3).await;
    banned(&mut hall).await;
    while !matches!(hall.event().await, Event::Expired(..)) {}
    annoy(&set, at, "127.0.0.9", 1).await;
    assert_eq!(hall.verdict().await, "handshake.no-certificate");
}

#[tokio::test]
async fn a_reload_that_spares_a_network_lifts_its_ban() {
    let set = Set::new();
    let config = configuration(&set, "never = []");
    let file = set.write("doorward.toml", config.as_bytes());
    let mut hall = Hall::of_file(&file);
    annoy(&set, hall.address("echo"), "127.0.0.9", 3).await;
    banned(&mut hall).await;
    set.write("doorward.toml", config.replace("never = []", "never = [\"127.0.0.9\"]").as_bytes());
    hall.reload().await.unwrap();
    assert!(hall.control.status().await.unwrap().bans.is_empty());
}

#[test]
fn bans_outlive_a_kill_and_a_stop_inside_the_sandbox() {
    let set = Set::new();
    let config = configuration(&set, &state(&set));
    let file = set.path("state/bans.json");
    let mut guard = Guard::start(&set, &config);
    assert_eq!(ask(&set, &["ban", "10.0.0.0/8", "--for", "1h", "--why", "a\u{1b}b"]).0, 0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    block_on(annoy(&set, guard.address(), "127.0.0.9", 3));
    guard.hear("banned network=127.0.0.9/32");
    let kept = |_| fs::read_to_string(&file).unwrap().contains("127.0.0.9/32");
    assert!((0..100_000).any(kept), "it is kept as soon as it counts");
    guard.kill();

    let mut guard = Guard::start(&set, &config);
    let kept = bans(&set);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!((&kept[0]["why"], &kept[0]["by"]), (&"a\\u{1b}b".into(), &"operator".into()));
    assert_eq!((&kept[1]["network"], &kept[1]["by"]), (&"127.0.0.9/32".into(), &"refusals".into()));
    let nobody = Visitor::new(&set, Some(&set.client("alice"))).from("127.0.0.9");
    block_on(nobody.say(guard.address(), b"")).unwrap_err();
    assert_eq!(ask(&set, &["ban", "127.0.0.9", "--lift"]).0, 0);
    assert!(guard.stop().contains("code=address.banned"));
    let mut guard = Guard::start(&set, &config);
    assert_eq!(bans(&set).len(), 1);
    guard.stop();
    assert_eq!(fs::read_dir(set.path("state")).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn a_state_that_cannot_be_trusted_or_written_refuses_the_start() {
    let set = Set::new();
    let config = configuration(&set, &state(&set));
    let refused = |config: &str, fault: &str| {
        let file = set.write("doorward.toml", config.as_bytes());
        let output = doorward(Path::new("."), &["serve", "--config", file.to_str().unwrap()]);
        let (code, _, err) = said(&output);
        assert!(code == 3 && err.contains(fault) && err.contains("doorward.toml:"), "{err}");
    };
    refused(&config.replace("state/bans", "nowhere/bans"), "bans.unwritable");
    let file = set.write("state/bans.json", b"{\"v\":1,\"bans\":[");
    refused(&config, "bans.unreadable");
    fs::write(&file, "{\"v\":1,\"bans\":[]}").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    refused(&config, "bans.unreadable");
}

//! `firewall diff`: where the host's rules let more knock than the configuration, by words and by packets.

use std::net::IpAddr;
use std::process::Command;
use std::task::Poll;

use doorward::bind::Interfaces;
use doorward::config::Config;
use doorward::firewall::{Addresses, Dialect, Difference, Policy, Ruleset};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::kernel::{Waiting, be_everybody, come, knocks, nft, open};
use super::{config, text, written};
use crate::bind::on_a_host_of_its_own;
use crate::cli::{block_on, doorward, said};
use crate::support::{Set, has};

/// Rules of hosts, as people write them. None speaks of lo, where all packets of this test come from, and none drops
/// the answers, which come in there as well.
const HOSTS: [&str; 7] = [
    // Everything is open.
    "",
    // A host with a policy, for both families, through sets and ranges.
    "table inet host {
      set office { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.0-192.0.2.200, 198.51.100.7 }; }
      set site { type ipv6_addr; flags interval; elements = { 2001:db8::/32 }; }
      chain input { type filter hook input priority filter; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        tcp dport { 22, 8443-8444 } ip saddr @office counter accept
        ip6 saddr @site ip6 saddr != 2001:db8:1::/48 tcp dport >= 8443 accept
        udp dport 53 accept
      }; }",
    // Jumps, returns, and verdicts by address, port and both.
    "table inet host {
      map doors { type inet_service : verdict; elements = { 22 : drop, 8443 : jump nested, 8444 : goto wide }; }
      set both { type ipv4_addr . inet_service; flags interval; elements = { 10.1.0.0/16 . 8446, 10.0.0.0/16 . 8445-8446 }; }
      chain nested { ip saddr 10.1.2.0/24 return; ip saddr vmap { 10.1.0.0/16 : drop, 10.2.0.0/16 : continue }; ip saddr 10.0.0.0/8 accept; }
      chain wide { ip saddr 10.255.0.0/16 return; meta nfproto ipv4 accept; }
      chain input { type filter hook input priority filter; policy accept;
        tcp dport vmap @doors
        ip saddr . tcp dport @both drop
        meta l4proto { tcp, udp } th dport 8446 ip daddr 198.51.100.1 reject
        ip6 nexthdr tcp ip6 saddr { 2001:db8:1::/48, 2001:db8:1:1::7 } reject with tcp reset
      }; }",
    // Two chains have to agree, and one comes before both.
    "table ip raw { chain pre { type filter hook prerouting priority raw; ip saddr 10.1.0.0/24 drop; }; }
     table inet one { chain input { type filter hook input priority -5; policy accept; ip saddr 10.0.0.0/9 accept; ip saddr 10.0.0.0/8 drop; }; }
     table ip two { chain input { type filter hook input priority 5; policy accept; ip saddr 10.1.2.0/24 drop; }; }",
    // Conditions that depend on more than the visitor.
    "table inet host { chain input { type filter hook input priority filter; policy drop;
        ct state established accept
        ip saddr 10.0.0.0/8 limit rate 1/day burst 1 packets accept
        ip saddr 10.1.0.0/16 accept
        ip6 saddr 2001:db8::/32 meta mark != 7 drop
        meta nfproto ipv6 accept
      }; }",
    // A port that is sent on to a door is a packet of its own.
    "table ip nat { chain pre { type nat hook prerouting priority dstnat; tcp dport 80 redirect to :8443; }; }
     table ip raw { chain pre { type filter hook prerouting priority raw; tcp dport 8443 drop; }; }
     table inet host { chain input { type filter hook input priority filter; policy accept; ip saddr 10.1.0.0/16 drop; }; }",
    // Addresses of the door itself, and a list of states.
    "table inet host { chain input { type filter hook input priority filter; policy drop;
        ct state established,related accept
        ct state != new drop
        ip daddr 192.0.2.0/24 tcp dport 8443 ip saddr 10.1.2.0/24 accept
        ip6 daddr { 2001:db8::1, 2001:db8::2 } tcp flags & (fin | syn | rst | ack) == syn accept
        tcp dport < 8444 drop
        meta protocol ip accept
      }; }",
];

#[test]
fn packets_fare_as_the_walk_through_the_rules_of_the_host_says() {
    let own = "firewall::diff::packets_fare_as_the_walk_through_the_rules_of_the_host_says";
    if !has("nft") || !on_a_host_of_its_own(own) {
        return;
    }
    let set = Set::new();
    let config = config(&set);
    be_everybody();
    let mut told = (0, 0, 0);
    block_on(async {
        open(&config);
        for (number, host) in HOSTS.iter().enumerate() {
            nft(&format!("flush ruleset\n{}\n", host.replace("};", "}\n")));
            let differences = differences(&config);
            let (wider, perhaps, narrower) = they_fare_so(&config, &differences, number).await;
            told = (told.0 + wider, told.1 + perhaps, told.2 + narrower);
        }
    });
    assert!(told.0 > 300 && told.1 > 30 && told.2 > 100, "{told:?}");
}

fn differences(config: &Config) -> Vec<Difference> {
    let listed = Command::new("nft").args(["-j", "list", "ruleset"]).output().unwrap();
    let ruleset = Ruleset::parse(&String::from_utf8(listed.stdout).unwrap()).unwrap();
    let differences = Policy::of(config, &Interfaces::default()).differences(&ruleset);
    assert_eq!(differences.len(), 6);
    differences
}

fn holds(addresses: &Addresses, ip: IpAddr) -> bool {
    addresses.networks.iter().any(|network| network.contains(&ip))
}

/// Whoever surely comes in, comes; whoever surely does not, never comes. How many of each kind there were.
async fn they_fare_so(
    config: &Config,
    differences: &[Difference],
    host: usize,
) -> (usize, usize, usize) {
    let knocks = knocks(config, 31, 600);
    let (mut in_, mut out) = (Vec::new(), Vec::new());
    let (mut wider, mut perhaps, mut narrower) = (0, 0, 0);
    for knock in knocks.iter().filter(|knock| !knock.from.is_loopback()) {
        let at = |one: &&Difference| {
            one.at.port() == knock.to.port() && one.at.is_ipv4() == knock.to.is_ipv4()
        };
        let difference = differences.iter().find(at).unwrap();
        let is = [&difference.wider, &difference.perhaps, &difference.narrower]
            .map(|addresses| holds(addresses, knock.from));
        match (knock.may, is) {
            (false, [true, false, false]) => {
                wider += 1;
                in_.push(knock);
            }
            (false, [false, true, false]) => perhaps += 1,
            (false, [false, false, false]) => out.push(knock),
            (true, [false, false, true]) => {
                narrower += 1;
                out.push(knock);
            }
            // Whether it may be dropped is not told.
            (true, [false, false, false]) => {}
            other => panic!("{} at {}: {other:?}", knock.from, knock.to),
        }
    }
    let mut waiting: Vec<_> = out.into_iter().map(Waiting::of).collect();
    let nobody_came = |waiting: &mut Vec<Waiting<'_>>| {
        waiting.retain_mut(|one| match one.looks() {
            Poll::Pending => true,
            Poll::Ready(Ok(_)) => {
                panic!("{} came to {} on host {host}", one.knock.from, one.knock.to)
            }
            // A rejection is no way in either.
            Poll::Ready(Err(_)) => false,
        });
    };
    nobody_came(&mut waiting);
    let came = join_all(in_.iter().map(|knock| come(knock.from, knock.to))).await;
    for (came, knock) in came.iter().zip(&in_) {
        assert!(came.is_ok(), "{} at {} on host {host}: {came:?}", knock.from, knock.to);
    }
    nobody_came(&mut waiting);
    (wider, perhaps, narrower)
}

#[test]
fn the_rules_of_the_policy_itself_are_neither_wider_nor_narrower() {
    let own = "firewall::diff::the_rules_of_the_policy_itself_are_neither_wider_nor_narrower";
    if !has("nft") || !on_a_host_of_its_own(own) {
        return;
    }
    let set = Set::new();
    let (_, rules) = written(&set, Dialect::Nftables);
    let file = set.write("wall.toml", text(&set).as_bytes());
    let words = ["firewall", "diff", "--config", file.to_str().unwrap()];
    let (code, out, err) = said(&doorward(set.path("").as_path(), &words));
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("closed at 0.0.0.0:8446"), "{out}");
    assert!(out.contains("not compared: 127.0.0.1:8447 of local: loopback only"), "{out}");
    nft(&rules);
    let (code, out, err) = said(&doorward(set.path("").as_path(), &words));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out.matches("the same as the configuration").count(), 6, "{out}");
}

/// One rule in the input chain of a table, with what stands around it.
fn host(policy: &str, rules: &[Value]) -> String {
    let chain = json!({ "chain": { "family": "inet", "table": "t", "name": "in", "type": "filter",
        "hook": "input", "prio": 0, "policy": policy } });
    let rule = |expr: &Value| json!({ "rule": { "family": "inet", "table": "t", "chain": "in", "expr": expr } });
    let objects: Vec<_> = std::iter::once(chain).chain(rules.iter().map(rule)).collect();
    json!({ "nftables": objects }).to_string()
}

fn matches(left: &Value, op: &str, right: &Value) -> Value {
    json!({ "match": { "op": op, "left": left, "right": right } })
}

/// The code and the words about the first door of a configuration where 10.0.0.0/8 may knock.
fn told(rules: &str) -> (i32, String) {
    let set = Set::new();
    let tables = set.tables("").replace("[bind]\n", "[bind]\nscope = \"all\"\n");
    let service = "[[service]]\nname = \"wall\"\nlisten = \"0.0.0.0:8443\"\nkind = \"echo\"\n\
                   [service.address]\nallow = [\"10.0.0.0/8\"]\n";
    let file = set.write("wall.toml", (tables + service).as_bytes());
    let rules = set.write("rules.json", rules.as_bytes());
    let (file, rules) = (file.to_str().unwrap(), rules.to_str().unwrap());
    let words = ["firewall", "diff", "--config", file, "--ruleset", rules];
    let (code, out, err) = said(&doorward(set.path("").as_path(), &words));
    (code, out + &err)
}

#[test]
fn what_is_wider_is_counted_and_what_may_be_is_said_to_be_so() {
    let accept = json!({ "accept": null });
    let saddr = json!({ "payload": { "protocol": "ip", "field": "saddr" } });
    let net = |addr: &str, len: u8| json!({ "prefix": { "addr": addr, "len": len } });
    let from = |net: &Value| matches(&saddr, "==", net);
    let rule = |statements: &[&Value]| json!(statements);
    let inside = rule(&[&from(&net("10.0.0.0", 8)), &accept]);
    assert_eq!(told(&host("drop", std::slice::from_ref(&inside))).0, 0);

    let beside = rule(&[&from(&net("192.0.2.0", 24)), &accept]);
    let (code, out) = told(&host("drop", &[inside.clone(), beside]));
    assert_eq!(code, 1);
    for words in ["wall at 0.0.0.0:8443 (", "wider: ", ": 256 addresses\n        192.0.2.0/24\n"] {
        assert!(out.contains(words), "{words:?} in {out}");
    }
    assert!(!out.contains("perhaps") && !out.contains("narrower"), "{out}");

    let interface =
        |name: &str| matches(&json!({ "meta": { "key": "iifname" } }), "==", &json!(name));
    // Whoever comes from elsewhere does not come over lo, and may come over any other.
    let (code, out) = told(&host("drop", &[inside.clone(), rule(&[&interface("lo"), &accept])]));
    assert_eq!((code, out.contains("the same as the configuration")), (0, true), "{out}");
    let (code, out) = told(&host("drop", &[inside.clone(), rule(&[&interface("wg0"), &accept])]));
    assert_eq!((code, out.contains("    perhaps wider: it depends on")), (1, true), "{out}");
    for (newer, verdict) in [("hash", "accept"), ("xt", "accept"), ("queue", "queue")] {
        let unknown = json!({ newer: { "type": "match", "name": "something" } });
        let (code, out) =
            told(&host("drop", &[inside.clone(), rule(&[&unknown, &json!({ verdict: null })])]));
        assert_eq!((code, out.contains("perhaps wider")), (1, true), "{newer}: {out}");
    }

    let half = rule(&[&from(&net("10.0.0.0", 9)), &accept]);
    let (code, out) = told(&host("drop", &[half]));
    assert_eq!(code, 0, "narrower is no risk");
    assert!(out.contains("narrower: the host drops who may knock: 8,388,608 addresses"), "{out}");
}

#[test]
fn what_is_dropped_at_its_port_may_still_be_sent_on_from_another() {
    let chain = |name: &str, kind: &str| {
        json!({ "chain": { "family": "ip", "table": "t", "name": name, "type": kind,
            "hook": "prerouting", "prio": -300 } })
    };
    let rule = |chain: &str, port: u16, verdict: &Value| {
        let port = matches(
            &json!({ "payload": { "protocol": "tcp", "field": "dport" } }),
            "==",
            &json!(port),
        );
        json!({ "rule": { "family": "ip", "table": "t", "chain": chain, "expr": [port, verdict] } })
    };
    let raw = [chain("raw", "filter"), rule("raw", 8443, &json!({ "drop": null }))];
    let (code, out) = told(&json!({ "nftables": raw }).to_string());
    assert_eq!((code, out.contains("narrower")), (0, true), "{out}");
    let redirect = json!({ "redirect": { "port": 8443 } });
    let sent_on = [&raw[..], &[chain("nat", "nat"), rule("nat", 80, &redirect)]].concat();
    let (code, out) = told(&json!({ "nftables": sent_on }).to_string());
    assert_eq!((code, out.contains("perhaps wider")), (1, true), "{out}");
}

#[test]
fn rules_that_lead_in_circles_or_are_none_end_too() {
    let jump = json!([{ "jump": { "target": "in" } }]);
    let twice = host("drop", &[jump.clone(), jump]);
    let (code, out) = told(&twice);
    assert_eq!((code, out.contains("perhaps wider")), (1, true), "{out}");
    for (text, words) in [
        ("x", "it is no JSON"),
        ("{}", "it is not what nft -j list ruleset prints"),
        ("{\"nftables\": [{\"rule\": {}}]}", "it has a rule without a name"),
    ] {
        let (code, out) = told(text);
        assert_eq!((code, out.contains(words)), (2, true), "{out}");
    }
}

//! `firewall`: the rules for the host say what the address gate says.

#[cfg(target_os = "linux")]
mod diff;
#[cfg(target_os = "linux")]
mod kernel;

use std::net::{IpAddr, SocketAddr};

use doorward::address::AddressGate;
use doorward::bind::Interfaces;
use doorward::config::Config;
use doorward::firewall::{Dialect, Policy};
use ipnet::IpNet;

use crate::cli::{doorward, said};
use crate::explain::chance::Dice;
use crate::support::Set;

/// Nested networks of both families, one service bound to addresses, one to everything, one local.
const SERVICES: &str = r#"
[[service]]
name = "nested"
listen = ["192.0.2.1:8443", "[2001:db8::1]:8443"]
kind = "echo"
[service.address]
allow = ["10.0.0.0/8", "10.1.2.0/24", "10.1.2.4/32", "192.0.2.0/25", "127.2.0.0/16", "2001:db8::/32", "2001:db8:1:1::/64"]
deny = ["10.1.0.0/16", "10.1.2.3", "10.1.2.4/32", "10.255.255.255", "2001:db8:1::/48", "2001:db8:1:1::7"]
[[service]]
name = "wide"
listen = ["0.0.0.0:8444", "[::]:8444"]
kind = "echo"
[service.address]
allow = ["0.0.0.0/0", "::/0"]
deny = ["10.0.0.0/8", "255.255.255.255", "2001:db8::/32"]
[[service]]
name = "open-to-all"
listen = "0.0.0.0:8445"
kind = "echo"
[service.address]
allow = ["0.0.0.0/0"]
[[service]]
name = "closed"
listen = "0.0.0.0:8446"
kind = "echo"
[service.address]
deny = ["10.0.0.0/8"]
[[service]]
name = "local"
listen = ["127.0.0.1:8447", "[::1]:8447", "systemd:front", { interface = "gone0", port = 8448 }]
kind = "echo"
"#;

fn text(set: &Set) -> String {
    let tables = set.tables("").replace("[bind]\n", "[bind]\nscope = \"all\"\n");
    tables + SERVICES
}

fn config(set: &Set) -> Config {
    Config::parse(&text(set), "wall.toml").unwrap_or_else(|no| panic!("{no:#?}")).0
}

fn written(set: &Set, dialect: Dialect) -> (Config, String) {
    let config = config(set);
    let text = Policy::of(&config, &Interfaces::default()).load(dialect);
    (config, text)
}

/// The listeners that the rules are about, with the gates behind them.
fn doors(config: &Config) -> Vec<(SocketAddr, &AddressGate)> {
    let mut doors = Vec::new();
    for service in config.services.iter().filter(|service| *service.name != *"local") {
        for listen in &service.listen {
            let at = listen.value.to_string().parse().unwrap();
            doors.push((at, &*service.address));
        }
    }
    assert_eq!(doors.len(), 6);
    doors
}

/// An address near the rules.
fn address(dice: &mut Dice, v4: bool) -> IpAddr {
    let last = *dice.one_of(&[0, 1, 3, 4, 5, 7, 127, 128, 255]);
    let middle = *dice.one_of(&[0, 1, 2, 255]);
    let random = dice.roll();
    if v4 {
        let [a, b, c, d, ..] = random.to_be_bytes();
        let near = [
            [10, middle, *dice.one_of(&[0, 1, 2, 3, 255]), last],
            [192, 0, 2, last],
            [127, 2, middle, last],
        ];
        return IpAddr::from(*dice.one_of(&[
            near[0],
            near[0],
            near[1],
            near[2],
            [a, b, c, d],
            [255, 255, 255, 255 - (last & 1)],
        ]));
    }
    let [a, b, c, d] = [random, random >> 16, random >> 32, random >> 48]
        .map(|part| u16::try_from(part & 0xFFFF).unwrap());
    let near = [0x2001, 0xdb8, u16::from(middle), u16::from(last), 0, 0, 0, u16::from(last)];
    let nearer = [0x2001, 0xdb8, 1, 1, 0, 0, 0, u16::from(last)];
    // No packet carries an IPv4-mapped source, and the bit keeps chance away from it.
    IpAddr::from(*dice.one_of(&[near, near, nearer, [a | 0x2000, b, c, d, d, c, b, a]]))
}

/// The address that a visitor of this listener writes on its packets.
fn host_of(at: SocketAddr) -> IpAddr {
    match at.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => [198, 51, 100, 1].into(),
        IpAddr::V6(_) => "2001:db8:9::1".parse().unwrap(),
    }
}

fn every_verdict_is_the_gates(config: &Config, passes: impl Fn(IpAddr, SocketAddr) -> bool) {
    let mut dice = Dice::new(11);
    let (mut allowed, mut refused) = (0, 0);
    let doors = doors(config);
    for _ in 0..10_000 {
        let (at, gate) = *dice.one_of(&doors);
        let from = address(&mut dice, at.is_ipv4());
        let may = gate.judge(crate::explain::peer(from)).is_ok();
        let to = SocketAddr::new(host_of(at), at.port());
        assert_eq!(passes(from, to), may, "{from} at {at}");
        *(if may { &mut allowed } else { &mut refused }) += 1;
        // Other ports of the host are none of our business.
        assert!(passes(from, SocketAddr::new(to.ip(), 22)));
    }
    assert!(allowed > 3_000 && refused > 3_000, "{allowed} allowed, {refused} refused");
}

/// Reads the table as nftables would, as far as such tables go.
struct Table {
    sets: Vec<(String, Vec<(IpAddr, IpAddr)>)>,
    rules: Vec<String>,
}

impl Table {
    fn read(text: &str) -> Self {
        let joined = text.replace(",\n\t\t\t", ", ");
        let mut table = Self { sets: Vec::new(), rules: Vec::new() };
        for line in joined.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("set ") {
                table.sets.push((name.trim_end_matches(" {").to_owned(), Vec::new()));
            } else if let Some(elements) = line.strip_prefix("elements = { ") {
                let elements = elements.trim_end_matches(" }").split(", ").map(span);
                table.sets.last_mut().unwrap().1.extend(elements);
            } else if line.ends_with("drop") {
                table.rules.push(line.to_owned());
            }
        }
        assert_eq!((table.sets.len(), table.rules.len()), (5, 5), "{text}");
        table
    }

    fn passes(&self, from: IpAddr, to: SocketAddr) -> bool {
        !self.rules.iter().any(|rule| self.drops(rule, from, to))
    }

    fn drops(&self, rule: &str, from: IpAddr, to: SocketAddr) -> bool {
        let family = if from.is_ipv4() { "ip" } else { "ip6" };
        let mut words = rule.split(' ');
        while let Some(word) = words.next() {
            let holds = match (word, words.next().unwrap_or_default()) {
                ("ip" | "ip6", "daddr") => words.next() == Some(&to.ip().to_string()),
                ("tcp", "dport") => words.next() == Some(&to.port().to_string()),
                ("ip" | "ip6", "saddr") => {
                    assert_eq!(words.next(), Some("!="));
                    let name = words.next().unwrap().trim_start_matches('@');
                    let set = &self.sets.iter().find(|(known, _)| known == name).unwrap().1;
                    word == family
                        && !set.iter().any(|(first, last)| *first <= from && from <= *last)
                }
                ("counter", "drop") => return true,
                other => panic!("{other:?} in {rule}"),
            };
            if !holds {
                return false;
            }
        }
        panic!("{rule} has no verdict");
    }
}

fn span(element: &str) -> (IpAddr, IpAddr) {
    if let Some((first, last)) = element.split_once('-') {
        return (first.parse().unwrap(), last.parse().unwrap());
    }
    match element.parse::<IpNet>() {
        Ok(network) => (network.network(), network.broadcast()),
        Err(_) => (element.parse().unwrap(), element.parse().unwrap()),
    }
}

#[test]
fn the_table_for_nftables_says_what_the_gate_says() {
    let set = Set::new();
    let (config, text) = written(&set, Dialect::Nftables);
    let table = Table::read(&text);
    every_verdict_is_the_gates(&config, |from, to| table.passes(from, to));
    assert!(text.contains("# No rule for 127.0.0.1:8447 of local: loopback only"), "{text}");
    assert!(text.contains("# No rule for systemd:front of local: it is handed over"), "{text}");
    assert!(text.contains("# No rule for gone0 port 8448 of local: its interface"), "{text}");
    assert!(text.contains("every address may knock, so it needs no rule"), "{text}");
    assert!(text.contains("# nested at 192.0.2.1:8443 (wall.toml:"), "{text}");
}

#[test]
fn the_chains_for_iptables_say_what_the_gate_says() {
    let set = Set::new();
    let (config, text) = written(&set, Dialect::Iptables);
    // The two families are separate tables of the kernel.
    let (v4, v6) = text.split_once("ip6tables-restore").unwrap();
    every_verdict_is_the_gates(&config, |from, to| {
        let text = if from.is_ipv4() { v4 } else { v6 };
        let mut target = first(text, "DOORWARD", from, to);
        while let Some(chain) = target.filter(|target| target.starts_with("DOORWARD-")) {
            target = first(text, chain, from, to);
        }
        target != Some("DROP")
    });
}

/// The target of the first rule of a chain that holds.
fn first<'t>(text: &'t str, chain: &str, from: IpAddr, to: SocketAddr) -> Option<&'t str> {
    let start = format!("-A {chain} ");
    let mut rules = text.lines().filter_map(|line| line.strip_prefix(&start));
    let rule = rules.find(|rule| {
        let words: Vec<_> = rule.split(' ').collect();
        words.windows(2).all(|pair| match pair {
            ["-s", network] => network.parse::<IpNet>().unwrap().contains(&from),
            ["-d", network] => network.parse::<IpNet>().unwrap().contains(&to.ip()),
            ["--dport", port] => *port == to.port().to_string(),
            _ => true,
        })
    });
    rule.and_then(|rule| rule.rsplit(' ').next())
}

#[test]
fn the_commands_for_ufw_say_what_the_gate_says() {
    let set = Set::new();
    let (config, text) = written(&set, Dialect::Ufw);
    let rules: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("ufw prepend ")?.split(' ').collect()))
        .collect();
    assert!(rules.len() > 30, "{text}");
    every_verdict_is_the_gates(&config, |from, to| {
        // What is put before all others last is asked first.
        let decided = rules.iter().rev().find(|rule| {
            let [_, "proto", "tcp", "from", source, "to", target, "port", port, ..] = rule[..]
            else {
                panic!("{rule:?}");
            };
            let (first, last) = span(target);
            span(source).0.is_ipv4() == from.is_ipv4()
                && span(source).0 <= from
                && from <= span(source).1
                && first <= to.ip()
                && to.ip() <= last
                && port == to.port().to_string()
        });
        decided.is_none_or(|rule| rule[0] == "allow")
    });
}

#[test]
fn the_commands_for_firewalld_say_what_the_gate_says() {
    let set = Set::new();
    let (config, text) = written(&set, Dialect::Firewalld);
    let rules: Vec<_> =
        text.lines().filter_map(|line| line.split_once("--add-rich-rule 'rule ")).collect();
    assert!(rules.len() > 30, "{text}");
    let holds = |rule: &str, from: IpAddr, to: SocketAddr| {
        let value = |key: &str| {
            rule.split(&format!("{key}=\"")).nth(1).and_then(|rest| rest.split('"').next())
        };
        let inside = |key: &str, ip: IpAddr| {
            value(key).is_none_or(|network| span(network).0 <= ip && ip <= span(network).1)
        };
        value("family") == Some(if from.is_ipv4() { "ipv4" } else { "ipv6" })
            && value("port port") == Some(&to.port().to_string())
            && inside("source address", from)
            && inside("destination address", to.ip())
    };
    every_verdict_is_the_gates(&config, |from, to| {
        let mut holding = rules.iter().filter(|(_, rule)| holds(rule, from, to));
        // The lower priority is asked first, and each door has one rule with the higher.
        let accepts = holding
            .clone()
            .any(|(_, rule)| rule.contains("priority=\"-10\"") && rule.ends_with("accept'"));
        accepts
            || !holding.any(|(_, rule)| rule.contains("priority=\"10\"") && rule.ends_with("drop'"))
    });
}

#[test]
fn balancers_are_let_through_because_they_knock_for_others() {
    let set = Set::new();
    let table = "[service.balancers]\nfrom = [\"10.0.0.5\", \"10.1.0.0/24\"]\n[service.address]\nallow = [\"10.0.0.0/8\"]";
    let text = text(&set).replacen(
        "[service.address]\nallow = [\"10.0.0.0/8\"",
        &table[..table.len() - 1],
        1,
    );
    let (config, _) = Config::parse(&text, "wall.toml").unwrap_or_else(|no| panic!("{no:#?}"));
    let text = Policy::of(&config, &Interfaces::default()).load(Dialect::Nftables);
    let table = Table::read(&text);
    let at: SocketAddr = "192.0.2.1:8443".parse().unwrap();
    for (from, passes) in
        [("10.1.0.7", true), ("10.1.1.7", false), ("10.0.0.5", true), ("10.1.2.3", false)]
    {
        assert_eq!(table.passes(from.parse().unwrap(), at), passes, "{from}");
    }
    assert!(text.contains("behind its balancers everybody is let through"), "{text}");
}

#[test]
fn the_command_prints_what_loads_and_what_removes() {
    let set = Set::new();
    let file = set.write("wall.toml", text(&set).as_bytes());
    let file = file.to_str().unwrap();
    for (words, expected) in [
        (&["nftables"][..], "table inet doorward {"),
        (&["nftables", "--remove"], "delete table inet doorward"),
        (&["iptables"], "iptables-restore --noflush"),
        (&["iptables", "--remove"], "ip6tables -X DOORWARD\n"),
        (&["ufw"], "ufw prepend deny proto tcp from 0.0.0.0/0 to 192.0.2.1 port 8443"),
        (&["ufw", "--remove"], "ufw --force delete deny proto tcp"),
        (&["firewalld"], "--new-policy doorward"),
        (&["firewalld", "--remove"], "--delete-policy doorward"),
    ] {
        let words = [&["firewall"], words, &["--config", file]].concat();
        let (code, out, err) = said(&doorward(set.path("").as_path(), &words));
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains(expected), "{words:?}: {out}");
    }
    let words = ["firewall", "nftables", "--config", "/nonexistent.toml"];
    assert_eq!(said(&doorward(set.path("").as_path(), &words)).0, 3);
}

//! The same rules, read a second time, slowly and without the gates.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use doorward::address::{Ban, BannedBy, Bans};
use doorward::config::{Config, ServiceConfig};
use doorward::handshake::{Handshake, Presented};
use doorward::paper::{self, Edit, Hallway, Shows, Walk};
use doorward::peer::{PeerAddr, PeerText};
use doorward::pki::{Authority, Credential, Options, RawName, Usage};
use rustls::pki_types::UnixTime;

use super::chance::Dice;
use crate::support::Set;
use crate::support::set::days;

/// A service: its name, its balancers, its networks (`+` allowed, `-` denied), its protocols in TLS, its rules,
/// and its messages.
struct Rules {
    name: &'static str,
    balancers: &'static [&'static str],
    networks: &'static [&'static str],
    alpn: &'static [&'static str],
    permits: &'static [(&'static [&'static str], Option<&'static [&'static str]>)],
    frame: Messages,
}

#[derive(Clone, Copy)]
enum Messages {
    /// A length of two bytes, at most 16, ASCII.
    Prefixed,
    /// Lines of 2 to 10 bytes, UTF-8.
    Lines,
    /// Lines of JSON of at most 40 bytes, nested at most two deep.
    Json,
    Raw,
}

/// Who is out, whatever the lists say.
const BANNED: [&str; 3] = ["127.0.3.0/24", "127.1.2.4/32", "2001:db8:1::7/128"];

const RULES: [Rules; 5] = [
    Rules {
        name: "nested",
        balancers: &[],
        alpn: &[],
        networks: &[
            "+127.0.0.0/8",
            "-127.1.0.0/16",
            "+127.1.2.0/24",
            "-127.1.2.3/32",
            "+127.1.2.4/32",
            "-127.1.2.4/32",
            "+::/0",
            "-2001:db8::/32",
            "+2001:db8:1::/48",
        ],
        permits: &[
            (&["dns:alice.client.internal"], None),
            (
                &["dns:bob.client.internal", "uri:spiffe://example.test/reporting"],
                Some(&["127.0.0.0/9", "::1/128"]),
            ),
        ],
        frame: Messages::Prefixed,
    },
    Rules {
        name: "narrow",
        balancers: &[],
        alpn: &[],
        networks: &["+127.0.0.0/15", "-127.0.0.0/17", "+127.0.0.1/32", "+fd00::/56"],
        permits: &[
            (&["dns:bob.client.internal"], Some(&["127.1.0.0/16"])),
            (
                &["dns:alice.client.internal", "dns:bob.client.internal"],
                Some(&["127.0.0.1/32", "fd00::/64"]),
            ),
        ],
        frame: Messages::Lines,
    },
    Rules {
        name: "trusting",
        balancers: &[],
        alpn: &["doors", "h2"],
        networks: &["+0.0.0.0/0", "+::/0"],
        permits: &[(&["cn:nobody in particular", "dns:carol.client.internal"], None)],
        frame: Messages::Raw,
    },
    Rules {
        name: "behind",
        balancers: &["127.2.0.0/15"],
        networks: &["+127.0.0.0/9", "+10.0.0.0/8", "-127.0.1.0/24", "+2001:db8::/32", "+fd00::/8"],
        alpn: &["doors"],
        permits: &[(&["dns:alice.client.internal", "cn:bob"], None)],
        frame: Messages::Json,
    },
    Rules {
        name: "closed",
        balancers: &[],
        networks: &["+127.0.0.0/8"],
        alpn: &[],
        permits: &[],
        frame: Messages::Lines,
    },
];

/// Somebody with a certificate, or without.
struct Card {
    credential: Option<Credential>,
    /// What the handshake says.
    handshake: Option<&'static str>,
    names: &'static [&'static str],
    has_a_bad_name: bool,
}

pub(super) struct Scene {
    text: String,
    config: Config,
    handshake: Handshake,
    pub(super) bans: Bans,
    cards: Vec<Card>,
}

#[derive(Debug)]
pub(super) struct Stranger {
    pub(super) service: &'static str,
    pub(super) from: IpAddr,
    /// The machine that announces it.
    pub(super) via: Option<IpAddr>,
    pub(super) alpn: &'static [&'static str],
    card: usize,
    pub(super) words: Vec<u8>,
}

impl Scene {
    pub(super) fn new(set: &Set) -> Self {
        let cards = cards(set);
        let text = set.tables("") + &RULES.iter().map(table).collect::<String>();
        let (config, _) = Config::parse(&text, "scene.toml").unwrap_or_else(|no| panic!("{no:#?}"));
        let handshake = Handshake::load(&config.handshake, UnixTime::now()).unwrap().handshake;
        let mut bans = Bans::default();
        for network in BANNED {
            let until = SystemTime::now() + Duration::from_secs(3600);
            assert!(bans.add(
                network.parse().unwrap(),
                Ban { until, why: PeerText::from("test"), by: BannedBy::Operator }
            ));
        }
        Self { text, config, handshake, bans, cards }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn service(&self, name: &str) -> &ServiceConfig {
        self.config.services.iter().find(|service| *service.name == *name).unwrap()
    }

    pub(super) fn credential(&self, stranger: &Stranger) -> Option<&Credential> {
        self.cards[stranger.card].credential.as_ref()
    }

    pub(super) fn anybody(&self, dice: &mut Dice) -> Stranger {
        let from = dice.address();
        let stranger = self.neighbour(dice);
        let via = stranger.via.map(|via| if dice.below(4) == 0 { dice.address() } else { via });
        Stranger { from, via, ..stranger }
    }

    /// Somebody who can really come: from this machine, or announced by it.
    pub(super) fn neighbour(&self, dice: &mut Dice) -> Stranger {
        let rules = dice.one_of(&RULES);
        // Half of them have a certificate that is good for something, or nobody would get far.
        let cards = if dice.below(2) == 0 { 4 } else { self.cards.len() };
        let card = dice.below(cards);
        let announced = dice.below(if rules.balancers.is_empty() { 12 } else { 2 }) == 0;
        let (from, via) = if announced {
            let odd = [IpAddr::from([0; 4]), [224, 0, 0, 9].into(), [255; 4].into()];
            let from = if dice.below(10) == 0 { *dice.one_of(&odd) } else { dice.address() };
            (from, Some(IpAddr::from(dice.loopback())))
        } else {
            (IpAddr::from(dice.loopback()), None)
        };
        let offers: [&[&str]; 5] = [&[], &["doors"], &["doors"], &["h2"], &["http/1.1", "doors"]];
        let alpn = dice.one_of(&offers);
        Stranger { service: rules.name, from, via, alpn, card, words: words(dice) }
    }

    pub(super) fn walk(&self, stranger: &Stranger) -> Walk {
        let hallway = Hallway {
            service: self.service(stranger.service),
            services: &self.config.services,
            settings: &self.config.handshake,
            handshake: &self.handshake,
            bans: Some(&self.bans),
        };
        let chain = self.credential(stranger).map(|shown| shown.chain().to_vec());
        let visitor = paper::Visitor {
            from: peer(stranger.from),
            via: stranger.via.map(peer),
            alpn: Some(stranger.alpn.iter().map(|name| (*name).to_owned()).collect()),
            shows: Shows::Chain(chain.unwrap_or_default()),
            words: Some(stranger.words.clone()),
        };
        hallway.walk(&visitor, UnixTime::now())
    }

    /// The verdict by the rules as they are written above.
    pub(super) fn expected(&self, stranger: &Stranger) -> &'static str {
        let rules = rules(stranger);
        let card = &self.cards[stranger.card];
        let (from, unheard) = match accept(stranger) {
            Ok(accepted) => accepted,
            Err(code) => return code,
        };
        let banned = BANNED.iter().any(|network| holds(network, from).is_some());
        let stranger_to_tls = rules.alpn.iter().all(|name| !stranger.alpn.contains(name));
        let no_protocol = !rules.alpn.is_empty() && !stranger.alpn.is_empty() && stranger_to_tls;
        banned
            .then_some("address.banned")
            .or_else(|| address(rules, from))
            .or(unheard.then_some("handshake.not-tls"))
            .or(no_protocol.then_some("handshake.no-protocol"))
            .or(card.handshake)
            .or_else(|| identity(rules, card, from))
            .or_else(|| frame(rules.frame, &stranger.words))
            .unwrap_or("left")
    }

    pub(super) fn is_permitted_after(&self, stranger: &Stranger, edit: &Edit) {
        let gate = edit.of_identity(&self.service(stranger.service).identity);
        let shown = self.credential(stranger).unwrap();
        let presented = Presented::read(&shown.chain()[0]).unwrap();
        let from = accept(stranger).unwrap().0;
        let judged = gate.judge(&presented, peer(from));
        assert!(judged.is_ok(), "{edit} for {stranger:?}: {judged:?}");
    }
}

fn rules(stranger: &Stranger) -> &'static Rules {
    RULES.iter().find(|rules| rules.name == stranger.service).unwrap()
}

/// Where it comes from, and whether it says so to somebody who does not listen.
pub(super) fn accept(stranger: &Stranger) -> Result<(IpAddr, bool), &'static str> {
    let met = stranger.via.unwrap_or(stranger.from).to_canonical();
    let balancers = rules(stranger).balancers;
    if !balancers.iter().any(|network| holds(network, met).is_some()) {
        return Ok((met, stranger.via.is_some()));
    }
    let from = stranger.from.to_canonical();
    let nobody = ["0.0.0.0/32", "224.0.0.0/4", "255.255.255.255/32", "::/128", "ff00::/8"];
    match stranger.via {
        None => Err("accept.proxy-missing"),
        Some(_) if nobody.iter().any(|network| holds(network, from).is_some()) => {
            Err("accept.proxy-lying")
        }
        Some(_) => Ok((from, false)),
    }
}

pub(crate) fn peer(from: IpAddr) -> PeerAddr {
    PeerAddr::new(SocketAddr::new(from, 9))
}

fn table(rules: &Rules) -> String {
    let list = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
    };
    let marked =
        |mark| list(&mut rules.networks.iter().filter_map(|network| network.strip_prefix(mark)));
    let (allow, deny) = (marked('+'), marked('-'));
    let rule = |(names, from): &(&[&str], Option<&[&str]>)| {
        let from = from.map_or_else(String::new, |from| {
            format!("from = [{}]\n", list(&mut from.iter().copied()))
        });
        format!("[[service.identity]]\npermit = [{}]\n{from}", list(&mut names.iter().copied()))
    };
    let rules_text: String = rules.permits.iter().map(rule).collect();
    let frame = match rules.frame {
        Messages::Prefixed => {
            "kind = \"length-prefixed\"\nwidth = 2\nmax = \"16B\"\ntext = \"ascii\""
        }
        Messages::Lines => "kind = \"lines\"\nmin = \"2B\"\nmax = \"10B\"",
        Messages::Json => "kind = \"json-lines\"\nmax = \"40B\"\ndepth = 2",
        Messages::Raw => "kind = \"raw\"",
    };
    let quoted = |names: &[&str]| list(&mut names.iter().copied());
    let balancers = match quoted(rules.balancers) {
        none if none.is_empty() => none,
        some => format!("[service.balancers]\nfrom = [{some}]\n"),
    };
    let alpn = quoted(rules.alpn);
    format!(
        "[[service]]\nname = {:?}\nlisten = \"127.0.0.1:0\"\nkind = \"echo\"\nalpn = [{alpn}]\n{balancers}[service.address]\nallow = [{allow}]\n\
         deny = [{deny}]\n{rules_text}[service.frame]\n{frame}\n",
        rules.name
    )
}

/// Good ones first.
fn cards(set: &Set) -> Vec<Card> {
    let dns = |name: &str| RawName::Dns(name.as_bytes().to_vec());
    let uri = |name: &str| RawName::Uri(name.as_bytes().to_vec());
    let named = |names: &[RawName]| set.sign(&set.draft("alice").names(names));
    let revoked = set.client("alice");
    set.revoke(2, &[&revoked]);
    let other = Authority::ephemeral().unwrap();
    let other = other.client(&"alice".parse().unwrap(), Options::default()).unwrap();
    let plain = set.draft("alice").names(&[]).common_name(b"nobody in particular");
    let reporting = uri("spiffe://example.test/reporting");
    let two = [reporting.clone(), uri("spiffe://example.test/b")];
    let good = |credential, names| Card {
        credential: Some(credential),
        handshake: None,
        names,
        has_a_bad_name: false,
    };
    let bad = |credential, code| Card { handshake: Some(code), ..good(credential, ALICE) };
    vec![
        good(set.client("alice"), ALICE),
        good(set.client("bob"), &["dns:bob.client.internal", "cn:bob"]),
        good(set.sign(&plain), &["cn:nobody in particular"]),
        good(named(&[reporting]), &["uri:spiffe://example.test/reporting", "cn:alice"]),
        good(set.client("mallory"), &["dns:mallory.client.internal", "cn:mallory"]),
        good(
            named(&two),
            &["uri:spiffe://example.test/b", "uri:spiffe://example.test/reporting", "cn:alice"],
        ),
        good(
            named(&[dns("dave.internal"), dns("ALICE.client.internal")]),
            &["dns:dave.internal", "dns:alice.client.internal", "cn:alice"],
        ),
        Card {
            has_a_bad_name: true,
            ..good(named(&[dns("alice.client.internal"), uri("a:alice\0.evil")]), ALICE)
        },
        Card {
            credential: None,
            handshake: Some("handshake.no-certificate"),
            names: &[],
            has_a_bad_name: false,
        },
        bad(set.sign(&set.draft("alice").valid(days(-9), days(-1))), "handshake.expired"),
        bad(set.sign(&set.draft("alice").valid(days(1), days(9))), "handshake.not-yet-valid"),
        bad(revoked, "handshake.revoked"),
        bad(
            set.sign(&set.draft("alice").extended_usages(&[Usage::Server])),
            "handshake.wrong-usage",
        ),
        bad(set.sign(&set.draft("alice").key_usage_of_encipherment()), "handshake.key-usage"),
        bad(other, "handshake.unknown-authority"),
        bad(named(&[dns("alice.example.com")]), "handshake.constraint"),
    ]
}

const ALICE: &[&str] = &["dns:alice.client.internal", "cn:alice"];

fn words(dice: &mut Dice) -> Vec<u8> {
    let whole: [&[u8]; 4] = [b"\0\x02hi", b"hello\n", b"ok\r\nagain\n", b"\0\x03abc\0\x01z"];
    if dice.below(2) == 0 {
        return dice.one_of(&whole).to_vec();
    }
    if dice.below(3) == 0 {
        let json: [&[u8]; 9] = [
            b"{\"a\": [1]}\n",
            b"[]\n",
            b"\"]\"\n",
            b"[[[]]]\n",
            b"{\"a\": }\n",
            b"12\r\n",
            b"\xff\n",
            b"\"0123456789012345678901234567890123456789\"\n",
            b"{\"a\"",
        ];
        return (0..=dice.below(3)).flat_map(|_| dice.one_of(&json).to_vec()).collect();
    }
    let length = dice.below(24);
    (0..length).map(|_| *dice.one_of(b"\0\0\x01\x02\x03aabbcc\n\n\r\xc3\xa9\x7f")).collect()
}

/// All bits of an address and its length, IPv4 as such.
fn bits(ip: IpAddr) -> (u128, u32) {
    match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    }
}

fn holds(network: &str, ip: IpAddr) -> Option<u32> {
    let (address, prefix) = network.split_once('/').unwrap();
    let prefix: u32 = prefix.parse().unwrap();
    let ((network, width), (ip, own)) = (bits(address.parse().unwrap()), bits(ip));
    let same =
        |shift: u32| network.checked_shr(shift).unwrap_or(0) == ip.checked_shr(shift).unwrap_or(0);
    (width == own && same(width - prefix)).then_some(prefix)
}

fn address(rules: &Rules, from: IpAddr) -> Option<&'static str> {
    let covering = rules.networks.iter().filter_map(|rule| {
        let (mark, network) = rule.split_at(1);
        Some((holds(network, from)?, mark == "-"))
    });
    // The longest prefix, and a deny before an allow.
    match covering.max() {
        None => Some("address.not-listed"),
        Some((_, true)) => Some("address.denied"),
        Some((_, false)) => None,
    }
}

fn identity(rules: &Rules, card: &Card, from: IpAddr) -> Option<&'static str> {
    if card.has_a_bad_name {
        return Some("identity.bad-name");
    }
    let uris = card.names.iter().filter(|name| name.starts_with("uri:")).count();
    let counts =
        |name: &str| card.names.contains(&name) && !(name.starts_with("uri:spiffe:") && uris > 1);
    let mut named =
        rules.permits.iter().filter(|(names, _)| names.iter().any(|name| counts(name))).peekable();
    if named.peek().is_none() {
        let only_common = card.names.iter().all(|name| name.starts_with("cn:"));
        return Some(if only_common { "identity.no-name" } else { "identity.not-permitted" });
    }
    let here = |from_networks: Option<&[&str]>| {
        from_networks
            .is_none_or(|networks| networks.iter().any(|network| holds(network, from).is_some()))
    };
    (!named.any(|(_, networks)| here(*networks))).then_some("identity.wrong-network")
}

fn frame(messages: Messages, words: &[u8]) -> Option<&'static str> {
    match messages {
        Messages::Raw => None,
        Messages::Prefixed => prefixed(words),
        Messages::Lines => lines(words, 2, 10, |_| None),
        Messages::Json => lines(words, 1, 40, json),
    }
}

/// The brackets of these words are never in strings but once, where they close nothing.
fn json(line: &str) -> Option<&'static str> {
    let bare = line.replace("\"]\"", "");
    let mut deep = 0;
    for byte in bare.bytes() {
        deep += i32::from(matches!(byte, b'[' | b'{')) - i32::from(matches!(byte, b']' | b'}'));
        if deep > 2 {
            return Some("frame.too-deep");
        }
    }
    serde_json::from_str::<serde_json::Value>(line).is_err().then_some("frame.bad-json")
}

fn prefixed(mut words: &[u8]) -> Option<&'static str> {
    while !words.is_empty() {
        let [high, low, rest @ ..] = words else { return Some("frame.truncated") };
        let length = usize::from(*high) * 256 + usize::from(*low);
        match length {
            0 => return Some("frame.too-short"),
            1..=16 => {}
            _ => return Some("frame.too-long"),
        }
        if rest.len() < length {
            return Some("frame.truncated");
        }
        let message = &rest[..length];
        if message.iter().any(|byte| *byte > 127) {
            return Some("frame.not-ascii");
        }
        if message.iter().any(u8::is_ascii_control) {
            return Some("frame.control-character");
        }
        words = &rest[length..];
    }
    None
}

fn lines(
    words: &[u8],
    min: usize,
    max: usize,
    more: impl Fn(&str) -> Option<&'static str>,
) -> Option<&'static str> {
    let mut pieces: Vec<_> = words.split(|byte| *byte == b'\n').collect();
    let rest = pieces.pop().unwrap();
    for piece in pieces {
        let line = piece.strip_suffix(b"\r").unwrap_or(piece);
        if line.len() > max {
            return Some("frame.too-long");
        }
        if line.len() < min {
            return Some("frame.too-short");
        }
        let Ok(line) = std::str::from_utf8(line) else { return Some("frame.not-utf8") };
        if line.chars().any(char::is_control) {
            return Some("frame.control-character");
        }
        if let Some(code) = more(line) {
            return Some(code);
        }
    }
    match rest.len() {
        0 => None,
        // An ending that never came could have been a carriage return and a line feed.
        length if length <= max + 1 => Some("frame.truncated"),
        _ => Some("frame.too-long"),
    }
}

//! Who comes, and how it ends: each row is a real connection and the exact code, or the echoed bytes.

use doorward::pki::{Credential, RawName, Usage};

use crate::support::set::days;
use crate::support::{Hall, Set, Visitor, prefixed};

const SERVICES: &str = r#"
[[service]]
name = "echo"
listen = ["127.0.0.1:0", "[::1]:0"]
kind = "echo"
  [service.address]
  allow = ["127.0.0.0/8", "::1"]
  deny = ["127.0.0.66"]
  [[service.identity]]
  permit = ["dns:alice.client.internal", "uri:spiffe://example.test/reporting", "email:alice@example.test"]
  [[service.identity]]
  permit = ["dns:bob.client.internal"]
  from = ["127.0.0.3", "::1"]
  [service.frame]
  kind = "length-prefixed"
  min = 1

[[service]]
name = "narrow"
listen = "127.0.0.1:0"
kind = "echo"
  [service.address]
  allow = ["127.0.0.1"]
  [[service.identity]]
  permit = ["dns:alice.client.internal"]

[[service]]
name = "lines"
listen = "127.0.0.1:0"
kind = "echo"
  [[service.identity]]
  permit = ["dns:alice.client.internal"]
  [service.frame]
  kind = "lines"
  max = 100
  text = "ascii"
  rate = "5/s"
  burst = 5

[[service]]
name = "json"
listen = "127.0.0.1:0"
kind = "echo"
  [[service.identity]]
  permit = ["dns:alice.client.internal"]
  [service.frame]
  kind = "json-lines"
  max = "256KiB"

[[service]]
name = "common"
listen = "127.0.0.1:0"
kind = "echo"
  [[service.identity]]
  permit = ["cn:alice"]

[[service]]
name = "raw"
listen = "127.0.0.1:0"
kind = "echo"
  [[service.identity]]
  permit = ["dns:alice.client.internal"]
  [service.frame]
  kind = "raw"
"#;

/// One row of the table.
struct Row {
    who: &'static str,
    credential: Option<Credential>,
    from: &'static str,
    service: &'static str,
    says: Vec<u8>,
    hears: Option<Vec<u8>>,
    ends: &'static str,
}

impl Row {
    fn new(
        who: &'static str,
        credential: impl Into<Option<Credential>>,
        ends: &'static str,
    ) -> Self {
        let says = prefixed(b"hello");
        let hears = (ends == "left").then(|| says.clone());
        Self {
            who,
            credential: credential.into(),
            from: "127.0.0.1",
            service: "echo",
            says,
            hears,
            ends,
        }
    }

    fn from(self, from: &'static str) -> Self {
        Self { from, ..self }
    }

    fn to(self, service: &'static str) -> Self {
        Self { service, ..self }
    }

    fn saying(self, says: &[u8]) -> Self {
        let hears = (self.ends == "left").then(|| says.to_vec());
        Self { says: says.to_vec(), hears, ..self }
    }

    fn hearing(self, hears: &[u8]) -> Self {
        Self { hears: Some(hears.to_vec()), ..self }
    }

    /// Comes, and is held against what should happen; what happened otherwise.
    async fn come(self, set: &Set, hall: &mut Hall) -> Option<String> {
        let Self { who, credential, from, service, says, hears, ends } = self;
        let visitor = Visitor::new(set, credential.as_ref()).from(from);
        let heard = visitor.say(hall.address(service), &says).await;
        let (ended, event) = hall.ending().await;
        if ended != ends {
            return Some(format!("{who}: {ended} instead of {ends}: {event:?}"));
        }
        let heard = heard.unwrap_or_else(|error| format!("nothing: {error}").into_bytes());
        let expected = hears.filter(|expected| *expected != heard)?;
        let [heard, expected] = [heard, expected].map(|bytes| bytes.escape_ascii().to_string());
        Some(format!("{who}: heard {heard} instead of {expected}"))
    }
}

fn names(set: &Set, names: &[RawName]) -> Credential {
    set.sign(&set.draft("alice").names(names))
}

fn dns(name: &str) -> RawName {
    RawName::Dns(name.as_bytes().to_vec())
}

fn uri(name: &str) -> RawName {
    RawName::Uri(name.as_bytes().to_vec())
}

/// Certificates of every kind, each with at most one thing wrong.
#[rustfmt::skip] // One row a line.
fn certificates(set: &Set) -> Vec<Row> {
    let draft = || set.draft("alice");
    let other = Set::new();
    let revoked = set.client("alice");
    set.revoke(2, &[&revoked]);
    let claiming = draft().claiming_to_be_an_authority();
    vec![
        Row::new("alice", set.client("alice"), "left"),
        Row::new("nobody", None, "handshake.no-certificate"),
        Row::new("herself only", draft().self_signed().unwrap(), "handshake.unknown-authority"),
        Row::new("of an authority with the same name", other.client("alice"), "handshake.unknown-authority"),
        Row::new("yesterday's", set.sign(&draft().valid(days(-9), days(-1))), "handshake.expired"),
        Row::new("tomorrow's", set.sign(&draft().valid(days(1), days(9))), "handshake.not-yet-valid"),
        Row::new("a server", set.sign(&draft().extended_usages(&[Usage::Server])), "handshake.wrong-usage"),
        Row::new("for nothing said", set.sign(&draft().extended_usages(&[])), "handshake.wrong-usage"),
        Row::new("for anything", set.sign(&draft().extended_usages(&[Usage::Any])), "handshake.wrong-usage"),
        Row::new("signing code", set.sign(&draft().extended_usages(&[Usage::CodeSigning])), "handshake.wrong-usage"),
        Row::new("only enciphering", set.sign(&draft().key_usage_of_encipherment()), "handshake.key-usage"),
        Row::new("only signing certificates", set.sign(&draft().key_usage_of_an_authority()), "handshake.key-usage"),
        Row::new("of no key usage", set.sign(&draft().without_key_usage()), "left"),
        Row::new("an authority itself", set.sign(&claiming), "handshake.constraint"),
        Row::new("of critical mystery", set.sign(&draft().with_unknown_critical_extension()), "handshake.bad-certificate"),
        Row::new("revoked", revoked, "handshake.revoked"),
        Row::new("outside the constraints", names(set, &[dns("alice.example.com")]), "handshake.constraint"),
        Row::new("of 65 names", names(set, &vec![dns("a.internal"); 65]), "handshake.oversized"),
        Row::new("of a long name", names(set, &[uri(&"u:a".repeat(100))]), "handshake.oversized"),
        Row::new("of a 30 kB common name", set.sign(&draft().common_name(&vec![b'a'; 30_000])), "handshake.oversized"),
        Row::new("of a 300 B common name", set.sign(&draft().common_name(&[b'a'; 300])), "handshake.oversized"),
    ]
}

/// Names and networks: a valid certificate is no permission.
#[rustfmt::skip] // One row a line.
fn identities(set: &Set) -> Vec<Row> {
    let reporting = uri("spiffe://example.test/reporting");
    vec![
        Row::new("mallory", set.client("mallory"), "identity.not-permitted"),
        Row::new("bob from elsewhere", set.client("bob"), "identity.wrong-network"),
        Row::new("bob from his desk", set.client("bob"), "left").from("127.0.0.3"),
        Row::new("alice's suffix", names(set, &[dns("xalice.client.internal")]), "identity.not-permitted"),
        Row::new("alice's prefix", names(set, &[dns("alice.client.internal.test")]), "identity.not-permitted"),
        Row::new("alice in capitals", names(set, &[dns("ALICE.Client.Internal")]), "left"),
        Row::new("alice as a URI", names(set, &[uri("dns:alice.client.internal")]), "identity.not-permitted"),
        Row::new("alice and others", names(set, &[dns("b.test"), dns("alice.client.internal")]), "left"),
        Row::new("reporting", names(set, std::slice::from_ref(&reporting)), "left"),
        Row::new("reporting of two", names(set, &[reporting, uri("spiffe://example.test/b")]), "identity.not-permitted"),
        Row::new("reporting's path", names(set, &[uri("spiffe://example.test/reporting/")]), "identity.not-permitted"),
        Row::new("alice by mail", names(set, &[RawName::Email(b"alice@example.test".to_vec())]), "left"),
        Row::new("alice by common name alone", names(set, &[]), "identity.no-name"),
        Row::new("alice by trusted common name", names(set, &[]), "left").to("common"),
        Row::new("a name with a line feed", names(set, &[dns("alice.client.internal\nx")]), "handshake.bad-certificate"),
        Row::new("a name with a zero", names(set, &[uri("a:alice\0.evil")]), "identity.bad-name"),
        Row::new("a name of no text", names(set, &[RawName::Email(b"\xff\xfe".to_vec())]), "identity.bad-name"),
        Row::new("a common name with ESC", set.sign(&set.draft("alice").common_name(b"a\x1b[31m\n")), "identity.bad-name"),
        Row::new("an address nobody listed", set.client("alice"), "address.not-listed").from("127.0.0.9").to("narrow"),
        Row::new("a listed address", set.client("alice"), "left").to("narrow"),
        Row::new("denied inside allowed", set.client("alice"), "address.denied").from("127.0.0.66"),
        Row::new("beside the denied", set.client("alice"), "left").from("127.0.0.67"),
    ]
}

/// Messages: well formed, or cut with the code.
#[rustfmt::skip] // One row a line.
fn frames(set: &Set) -> Vec<Row> {
    let alice = || set.client("alice");
    let row = |who, ends, says: &[u8]| Row::new(who, alice(), ends).saying(says);
    let deep = "[".repeat(100_000) + "\n";
    let three = [prefixed(b"a"), prefixed(b"bc"), prefixed("dä".as_bytes())].concat();
    let told = |code: &str| prefixed(format!("error {code}").as_bytes());
    vec![
        row("three at once", "left", &three),
        row("nothing at all", "left", b""),
        row("4 GiB announced", "frame.too-long", &[0xFF; 4]).hearing(&told("frame.too-long")),
        row("one byte too long", "frame.too-long", &[0, 1, 0, 1]).hearing(&told("frame.too-long")),
        row("a zero length", "frame.too-short", &[0; 4]).hearing(&told("frame.too-short")),
        row("half a length", "frame.truncated", &[0, 0]),
        row("half a message", "frame.truncated", b"\0\0\0\x05hell"),
        row("a good one, then half a one", "frame.truncated", b"\0\0\0\x02hi\0\0\0\x05h")
            .hearing(&[prefixed(b"hi"), told("frame.truncated")].concat()),
        row("no UTF-8", "frame.not-utf8", &prefixed(b"a\xff")).hearing(&told("frame.not-utf8")),
        row("ESC in a message", "frame.control-character", &prefixed(b"a\x1b[31m")),
        row("C1 in a message", "frame.control-character", &prefixed("a\u{9b}".as_bytes())),
        row("two lines", "left", b"one\ntwo\n").to("lines"),
        row("a Windows line", "left", b"one\r\n").to("lines").hearing(b"one\n"),
        row("no ASCII", "frame.not-ascii", "ä\n".as_bytes()).to("lines").hearing(b"error frame.not-ascii\n"),
        row("an endless line", "frame.too-long", &[b'a'; 5000]).to("lines"),
        row("an unfinished line", "frame.truncated", b"one").to("lines"),
        row("an empty line", "frame.too-short", b"\n").to("lines"),
        row("too many lines", "frame.rate", &b"a\n".repeat(6)).to("lines")
            .hearing(b"a\na\na\na\na\nerror frame.rate\n"),
        row("JSON", "left", b"{\"a\": [1, 2]}\n[]\n").to("json"),
        row("JSON 100,000 deep", "frame.too-deep", deep.as_bytes()).to("json")
            .hearing(b"{\"error\":\"frame.too-deep\"}\n"),
        row("no JSON", "frame.bad-json", b"{'a': 1}\n").to("json"),
        row("two JSON values", "frame.bad-json", b"1 2\n").to("json"),
        row("raw bytes", "left", b"\x00\xff\x1b").to("raw"),
        row("many raw bytes", "left", &vec![7; 300_000]).to("raw"),
    ]
}

#[tokio::test]
async fn every_visitor_ends_as_the_table_says() {
    let set = Set::new();
    let certificates = certificates(&set);
    let mut hall = Hall::open(&set, SERVICES);
    let rows: Vec<_> =
        certificates.into_iter().chain(identities(&set)).chain(frames(&set)).collect();
    assert!(rows.len() >= 60, "the table has {} rows", rows.len());
    let mut otherwise = Vec::new();
    for row in rows {
        otherwise.extend(row.come(&set, &mut hall).await);
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
}

//! 10, reading their post: Ana's PIN passes through the router of a café, which keeps a copy of everything.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::lab::papers::Office;
use crate::lab::relay::{Relay, Segment, Way};
use crate::lab::seed::hex;
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

/// The learner's list of what the café still sees.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    /// Of `VISIBLE` and `HIDDEN`, those that the café can read.
    visible: Vec<String>,
}

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let secret = format!("PIN={} {}", stage.dice("pin").digits(8), stage.secret("pin"));
    let reply = format!("your balance is {}", stage.dice("balance").digits(9));
    let office = Office::new()?;
    let server = office.server(NAME)?;
    stage.give("ca.pem", office.trust_pem())?;
    stage.give("server.pem", server.chain_pem())?;
    stage.give("server-key.pem", server.key_pem())?;
    stage.give("pin.txt", format!("{secret}\n"))?;
    stage.give("reply.txt", format!("{reply}\n"))?;

    let port = stage.port("port")?;
    let home = SocketAddr::new(HERE, port);
    let bank = stage.serve("server", &[HERE], port).await?;
    let cafe = Relay::open(stage, HERE, stage.aim(home)?).await?;
    let at = cafe.address();
    let values = [("host", at.ip().to_string()), ("port", at.port().to_string())];
    let mut ana = stage.start("client", &values)?;
    ana.nothing_more();
    let ended = ana.ended(stage.patience(LONGEST)).await.is_some();
    let (answer, words) = (ana.said(), ana.last_words());
    let received = bank.says(stage.patience(ARRIVE), |said| said.contains(&secret)).await;
    let bank_words = bank.last_words();
    ana.kill().await;
    bank.kill().await;

    let record = cafe.record();
    let capture = stage.capture(record.clone());
    let copy = Post { record, secret: &secret };
    let mut findings = Findings { capture, ..Findings::new() };
    let honest = ended && answer.contains(&reply) && received;
    findings.honest = Part::of(
        honest,
        "the bank received the PIN, and Ana its answer",
        if received {
            format!("the bank received the PIN, but Ana printed no answer: {words}")
        } else {
            format!("the bank did not print the PIN that Ana sent: {words} {bank_words}")
        },
    );
    findings.walks.push(Walk::new("Ana", at, None).through(&ROOMS).ending(if honest {
        "has her answer"
    } else {
        "has no answer"
    }));
    copy.judge(&mut findings);
    if findings.gate.is_held() {
        visible(stage, &mut findings)?;
    }
    Ok(findings)
}

/// What passed through the café.
struct Post<'a> {
    record: Vec<Segment>,
    secret: &'a str,
}

impl Post<'_> {
    fn judge(&self, findings: &mut Findings) {
        let read = self.read();
        let all: usize = self.record.iter().map(|segment| segment.bytes.len()).sum();
        let both = self.is_tls(Way::ToServer) && self.is_tls(Way::ToClient);
        findings.attack = match read {
            Some(how) => Part::NotYet(format!("the café read the PIN {how}")),
            None => Part::Held(format!("{all} bytes passed, and the PIN is in none of them")),
        };
        match read {
            Some(how) => findings.saw(format!("The café's copy has {all} bytes; the PIN was there {how}.")),
            None => findings.saw(format!("The café's copy has {all} bytes; I looked for the PIN as it is, and in base64, hex, rot13, UTF-16 and reversed.")),
        }
        if read.is_none() {
            findings.gate = Part::of(
                both,
                "every connection is TLS in both directions",
                "what passed is no TLS: a cipher of one's own is no protection",
            );
            if !both {
                findings.saw("The first byte of a TLS connection is 0x16, and data is in records that begin 17 03 03.");
            }
        }
        let stopped = read.is_none().then_some((Gate::Handshake, "has no key"));
        let end = if read.is_some() { "reads the PIN" } else { "reads noise" };
        findings.walks.push(
            Walk::new("the café", "its router", stopped).through(&ROOMS).hostile().ending(end),
        );
        match read {
            Some(how) if how != AS_IT_IS => findings.looks_like("M10-ENCODING"),
            None if !both => findings.looks_like("M10-OWNCIPHER"),
            _ => {}
        }
    }

    /// In which form the secret passed, if in any that needs no key.
    fn read(&self) -> Option<&'static str> {
        let bytes: Vec<u8> =
            [Way::ToServer, Way::ToClient].into_iter().flat_map(|way| self.bytes(way)).collect();
        let holds = |form: &[u8]| {
            !form.is_empty() && bytes.windows(form.len()).any(|window| window == form)
        };
        let lower: Vec<u8> = bytes.to_ascii_lowercase();
        let secret = self.secret.as_bytes();
        let hex = hex(secret);
        let wide: Vec<u8> = self.secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let reversed: Vec<u8> = secret.iter().rev().copied().collect();
        let rotated: Vec<u8> = secret.iter().map(|byte| rot13(*byte)).collect();
        // Three ways in which base64 can begin, without the letters that depend on what stands beside it.
        let in_base64 = (0..3_usize).any(|shift| {
            let mut shifted = vec![b' '; shift];
            shifted.extend_from_slice(secret);
            let text = STANDARD.encode(&shifted);
            holds(text.get(4..text.len().saturating_sub(4)).unwrap_or_default().as_bytes())
        });
        match () {
            () if holds(secret) => Some(AS_IT_IS),
            () if in_base64 => Some("in base64"),
            () if lower.windows(hex.len()).any(|window| window == hex.as_bytes()) => {
                Some("in hexadecimal")
            }
            () if holds(&wide) => Some("in UTF-16"),
            () if holds(&reversed) => Some("backwards"),
            () if holds(&rotated) => Some("in rot13"),
            () => None,
        }
    }

    fn bytes(&self, way: Way) -> Vec<u8> {
        let segments = self.record.iter().filter(|segment| segment.way == way);
        segments.flat_map(|segment| segment.bytes.clone()).collect()
    }

    /// Whether every connection's bytes that way are TLS records from the first: a handshake, then data.
    fn is_tls(&self, way: Way) -> bool {
        let last = self.record.iter().map(|segment| segment.connection).max();
        let Some(last) = last else { return false };
        (0..=last).all(|connection| {
            let own =
                self.record.iter().filter(|one| one.way == way && one.connection == connection);
            let bytes: Vec<u8> = own.flat_map(|segment| segment.bytes.clone()).collect();
            bytes.is_empty() || are_records(&bytes)
        })
    }
}

/// RFC 8446, 5.1: a type, a version that begins with 3, a length; the first record is of the handshake.
fn are_records(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut first = true;
    while let [kind, 3, _, high, low, after @ ..] = rest {
        if !(0x14..=0x17).contains(kind) || (first && *kind != 0x16) {
            return false;
        }
        first = false;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(next) = after.get(length..) else { return true };
        rest = next;
    }
    !first && rest.is_empty()
}

fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'm' | b'A'..=b'M' => byte.wrapping_add(13),
        b'n'..=b'z' | b'N'..=b'Z' => byte.wrapping_sub(13),
        _ => byte,
    }
}

/// Judges the learner's list; the conversation itself is safe by now.
fn visible(stage: &Stage, findings: &mut Findings) -> Result<(), Stop> {
    let Answers { visible } = stage.read_toml("answers.toml")?;
    let known = |word: &String| VISIBLE.contains(&word.as_str()) || HIDDEN.contains(&word.as_str());
    if let Some(unknown) = visible.iter().find(|word| !known(word)) {
        return Err(Stop::yours(format!(
            "answers.toml: {unknown:?} is none of the things to choose from"
        )));
    }
    let has = |word: &&str| visible.iter().any(|own| own == word);
    let missed: Vec<_> = VISIBLE.iter().filter(|word| !has(word)).copied().collect();
    let wrong: Vec<_> = HIDDEN.iter().filter(|word| has(word)).copied().collect();
    if missed.is_empty() && wrong.is_empty() {
        return Ok(());
    }
    findings.gate = Part::NotYet(
        "the conversation is safe; your list of what the café still sees is not right".to_owned(),
    );
    if !missed.is_empty() {
        findings.saw(format!("The café also sees: {}.", missed.join(", ")));
    }
    if !wrong.is_empty() {
        findings.saw(format!("The café does not see: {}.", wrong.join(", ")));
    }
    if !missed.is_empty() {
        findings.looks_like("M10-NOTHINGSEEN");
    }
    Ok(())
}

const AS_IT_IS: &str = "as it is";
const VISIBLE: [&str; 5] = ["addresses", "ports", "sizes", "times", "server-name"];
const HIDDEN: [&str; 3] = ["pin", "answer", "client-certificate"];
const NAME: &str = "bank.school.test";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Handshake, Gate::Service];
const LONGEST: Duration = Duration::from_secs(3);
const ARRIVE: Duration = Duration::from_secs(1);

//! The bytes of one's own handshake, with what each of them means (RFC 8446, sections 4 and 5).

use serde::Serialize;

use crate::lab::relay::Way;
use crate::lab::seed::hex;

use super::Capture;

/// Some bytes with their meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Field {
    /// How deep it is nested: records, messages, fields, parts of fields.
    pub(super) depth: u8,
    pub(super) hex: String,
    pub(super) means: String,
}

/// What one side sent in a connection, read as TLS; nothing where it is none.
pub(super) fn fields(capture: &Capture, connection: usize, way: Way) -> Vec<Field> {
    let own = capture.segments.iter().filter(|one| one.way == way && one.connection == connection);
    let bytes: Vec<u8> = own.flat_map(|one| one.bytes.clone()).collect();
    let mut reader = Reader { rest: &bytes, fields: Vec::new() };
    if bytes.first() == Some(&0x16) {
        while !reader.rest.is_empty() && reader.fields.len() < MOST_FIELDS {
            if reader.record().is_none() {
                break;
            }
        }
    } else if !bytes.is_empty() {
        let plain = String::from_utf8_lossy(&bytes).into_owned();
        let means = format!(
            "plain text, for everybody to read: {}",
            doorward::peer::PeerText::escaped(plain.trim_end().as_bytes())
        );
        reader.say(0, &bytes, means);
    }
    reader.fields
}

struct Reader<'b> {
    rest: &'b [u8],
    fields: Vec<Field>,
}

impl<'b> Reader<'b> {
    /// A record: its kind, its version, its length, its content.
    fn record(&mut self) -> Option<()> {
        let (head, after) = self.rest.split_first_chunk::<5>()?;
        let [kind, _, _, high, low] = *head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let content = after.get(..length)?;
        let kind_word = match kind {
            0x14 => "change cipher spec (kept for old middleboxes, means nothing in TLS 1.3)",
            0x15 => "alert",
            0x16 => "handshake, readable by everybody on the way",
            0x17 => "application data: encrypted, readable by the two ends alone",
            _ => "no record of TLS",
        };
        self.say(0, head, format!("record: {kind_word}, {length} bytes"));
        match kind {
            0x16 => self.messages(content),
            0x15 => self.alert(content),
            _ => self.say(1, content, format!("{length} bytes")),
        }
        self.rest = after.get(length..)?;
        Some(())
    }

    fn alert(&mut self, content: &[u8]) {
        let means = match content {
            [2, code] => format!("fatal alert {code}: {}", alert_word(*code)),
            [1, code] => format!("warning {code}: {}", alert_word(*code)),
            _ => "an alert, encrypted".to_owned(),
        };
        self.say(1, content, means);
    }

    fn messages(&mut self, content: &'b [u8]) {
        let mut inner = Reader { rest: content, fields: Vec::new() };
        while !inner.rest.is_empty() {
            if inner.message().is_none() {
                let rest = inner.rest;
                inner.say(1, rest, "the rest of a message".to_owned());
                break;
            }
        }
        self.fields.append(&mut inner.fields);
    }

    fn message(&mut self) -> Option<()> {
        let head = self.take(4)?;
        let [kind, a, b, c] = *head.first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let word = match kind {
            1 => "ClientHello",
            2 => "ServerHello",
            _ => "another message",
        };
        self.say(1, head, format!("{word}, {length} bytes"));
        let body = self.take(length)?;
        let mut inner = Reader { rest: body, fields: Vec::new() };
        let read = match kind {
            1 => inner.hello(true),
            2 => inner.hello(false),
            _ => None,
        };
        if read.is_none() {
            let rest = inner.rest;
            inner.say(2, rest, format!("{} bytes", rest.len()));
        }
        self.fields.append(&mut inner.fields);
        Some(())
    }

    /// Both hellos begin alike; a client offers suites, a server picks one.
    fn hello(&mut self, client: bool) -> Option<()> {
        self.field(2, 2, "legacy version: 03 03 is TLS 1.2, said by everybody since; the true one is an extension")?;
        self.field(2, 32, "random: 32 bytes that make this handshake unlike any other")?;
        let count = usize::from(*self.rest.first()?);
        let whole = count.saturating_add(1);
        self.field(2, whole, &format!("session id, {count} bytes: kept for old middleboxes"))?;
        if client {
            let length = self.length()?;
            let suites = length.checked_div(2).unwrap_or(0);
            self.field(2, length.saturating_add(2), &format!("{suites} cipher suites it offers"))?;
            self.field(2, 2, "compression: none, the only kind that is left")?;
        } else {
            let suite = self.take(2)?;
            let means = format!("cipher suite: {}", suite_word(suite));
            self.say(2, suite, means);
            self.field(2, 1, "compression: none")?;
        }
        let length = self.length()?;
        self.field(2, 2, &format!("extensions, {length} bytes"))?;
        while !self.rest.is_empty() {
            self.extension(client)?;
        }
        Some(())
    }

    fn extension(&mut self, client: bool) -> Option<()> {
        let [a, b, c, d] = *self.rest.first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([c, d]));
        let whole = self.take(length.saturating_add(4))?;
        let body = whole.get(4..)?;
        let means = match u16::from_be_bytes([a, b]) {
            0 => {
                let name = body.get(5..).unwrap_or_default();
                let name = doorward::peer::PeerText::escaped(name);
                format!("server name, in the clear: {name}")
            }
            5 => "asks for a signed status of the certificate".to_owned(),
            10 => format!("groups for the key exchange: {}", groups(body.get(2..)?)),
            13 => "kinds of signature it can verify".to_owned(),
            16 => "application protocols it speaks".to_owned(),
            23 => "extended master secret (for TLS 1.2)".to_owned(),
            35 => "session ticket (for TLS 1.2)".to_owned(),
            43 if client => format!("the versions it really speaks: {}", versions(body.get(1..)?)),
            43 => format!("the version it really picked: {}", versions(body)),
            45 => "ways to use a session again".to_owned(),
            51 if client => format!("its halves of the key exchange: {}", shares(body.get(2..)?)),
            51 => {
                format!("its half of the key exchange: {}", group_word(*body.first_chunk::<2>()?))
            }
            number => format!("extension {number}"),
        };
        self.say(3, whole, means);
        Some(())
    }

    /// The two bytes that say how long the next thing is.
    fn length(&self) -> Option<usize> {
        self.rest.first_chunk::<2>().map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
    }

    fn field(&mut self, depth: u8, count: usize, means: &str) -> Option<()> {
        let bytes = self.take(count)?;
        self.say(depth, bytes, means.to_owned());
        Some(())
    }

    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn say(&mut self, depth: u8, bytes: &[u8], means: String) {
        let shown = bytes.get(..MOST_SHOWN).unwrap_or(bytes);
        let more = if bytes.len() > shown.len() { "…" } else { "" };
        self.fields.push(Field { depth, hex: hex(shown) + more, means });
    }
}

fn groups(list: &[u8]) -> String {
    let (pairs, _) = list.as_chunks::<2>();
    pairs.iter().copied().map(group_word).collect::<Vec<_>>().join(", ")
}

fn shares(list: &[u8]) -> String {
    let mut rest = list;
    let mut found = Vec::new();
    while let Some(([a, b, c, d], after)) = rest.split_first_chunk::<4>() {
        found.push(group_word([*a, *b]));
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        rest = after.get(length..).unwrap_or_default();
    }
    found.join(", ")
}

fn versions(list: &[u8]) -> String {
    let word = |pair: &[u8; 2]| match pair {
        [3, 4] => "TLS 1.3".to_owned(),
        [3, 3] => "TLS 1.2".to_owned(),
        [a, b] => format!("{a:02x}{b:02x}"),
    };
    list.as_chunks::<2>().0.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// The IANA registry of TLS supported groups.
fn group_word(group: [u8; 2]) -> String {
    match u16::from_be_bytes(group) {
        0x11ec => "X25519MLKEM768 (also safe from quantum computers)".to_owned(),
        0x001d => "X25519".to_owned(),
        0x0017 => "P-256".to_owned(),
        0x0018 => "P-384".to_owned(),
        0x0019 => "P-521".to_owned(),
        number => format!("group {number:#06x}"),
    }
}

/// The suites of RFC 8446, B.4.
fn suite_word(suite: &[u8]) -> String {
    match suite {
        [0x13, 1] => "TLS_AES_128_GCM_SHA256".to_owned(),
        [0x13, 2] => "TLS_AES_256_GCM_SHA384".to_owned(),
        [0x13, 3] => "TLS_CHACHA20_POLY1305_SHA256".to_owned(),
        other => hex(other),
    }
}

/// The alerts of RFC 8446, section 6, that an exercise can bring about.
fn alert_word(code: u8) -> &'static str {
    match code {
        0 => "close_notify",
        40 => "handshake_failure",
        42 => "bad_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        48 => "unknown_ca",
        70 => "protocol_version",
        116 => "certificate_required",
        _ => "see RFC 8446, section 6",
    }
}

/// Enough for a handshake and some data.
const MOST_FIELDS: usize = 200;
/// As many bytes of a field as are shown.
const MOST_SHOWN: usize = 48;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::lab::relay::Segment;

    fn read(bytes: &[u8]) -> Vec<Field> {
        let (client, server) = ("127.0.0.1:4".parse().unwrap(), "127.0.0.1:5".parse().unwrap());
        let at = SystemTime::now();
        let segment = Segment {
            connection: 0,
            client,
            server,
            way: Way::ToServer,
            at,
            bytes: bytes.to_vec(),
        };
        fields(&Capture { segments: vec![segment], secrets: String::new() }, 0, Way::ToServer)
    }

    #[test]
    fn every_byte_of_a_client_hello_has_a_meaning() {
        let mut hello = vec![3, 3];
        hello.extend([7; 32]);
        hello.push(0);
        hello.extend([0, 2, 0x13, 1, 1, 0]);
        let name = [0, 0, 0, 9, 0, 7, 0, 0, 4, b't', b'e', b's', b't'];
        hello.extend([0, 13]);
        hello.extend(name);
        let length = u8::try_from(hello.len()).unwrap();
        let mut bytes = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
        bytes.extend(&hello);
        let read = read(&bytes);
        let count: usize = read.iter().map(|field| field.hex.len() / 2).sum();
        assert_eq!(count, bytes.len());
        assert!(read.iter().any(|field| field.means.ends_with("in the clear: test")), "{read:?}");
    }

    #[test]
    fn anything_at_all_is_read_without_a_crash() {
        proptest::proptest!(|(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300))| {
            drop(read(&bytes));
            bytes.splice(0..0, [0x16, 3, 1, 0, 200, 1, 0, 0, 190]);
            drop(read(&bytes));
        });
    }

    #[test]
    fn plain_text_is_called_plain() {
        let read = read(b"PIN=1234\n");
        assert!(read[0].means.contains("for everybody to read: PIN=1234"), "{read:?}");
    }
}

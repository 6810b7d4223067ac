//! What an upstream is told of a caller, read by parsers that are not ours.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use doorward::audit::Event;
use doorward::handshake::Presented;
use doorward::pki::Draft;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{alice, certificates, closed_port, door, listen};
use crate::support::visitor::hear;
use crate::support::{Hall, Set, Visitor, has};

/// Reads a header of version 2 from standard input, by the text of the standard alone, and prints it.
const READER: &str = r"
import json, socket, struct, sys
def crc32c(data):
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
def tlvs(data):
    out = []
    while data:
        kind, size = struct.unpack('>BH', data[:3])
        assert len(data) >= 3 + size
        out.append((kind, data[3:3 + size]))
        data = data[3 + size:]
    return out
data = sys.stdin.buffer.read()
assert data[:12] == b'\r\n\r\n\x00\r\nQUIT\n'
command, family, size = data[12], data[13], struct.unpack('>H', data[14:16])[0]
header, rest = data[:16 + size], data[16 + size:]
kind, length = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}[family]
ends = header[16:]
source, target = ends[:length], ends[length:2 * length]
ports = struct.unpack('>HH', ends[2 * length:2 * length + 4])
shown = {'command': command, 'rest': rest.decode(), 'length': len(header),
    'from': [socket.inet_ntop(kind, source), ports[0]],
    'to': [socket.inet_ntop(kind, target), ports[1]]}
offset = 16 + 2 * length + 4
for kind, value in tlvs(header[offset:]):
    at = header.index(value, offset)
    if kind == 0x20:
        shown['client'], shown['verify'] = struct.unpack('>BI', value[:5])
        shown['ssl'] = {hex(k): v.decode() for k, v in tlvs(value[5:])}
    elif kind == 0x03:
        zeroed = header[:-4] + bytes(4)
        assert header[-4:] == value
        shown['crc'] = struct.unpack('>I', value)[0] == crc32c(zeroed)
    else:
        shown[hex(kind)] = value.decode()
print(json.dumps(shown))
";

fn read(header: &[u8]) -> Value {
    let mut child = Command::new("python3")
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(header).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{header:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything that comes on the next connection, which is then ended.
async fn next_words(upstream: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = upstream.accept().await.unwrap();
    let heard = hear(&mut stream).await.unwrap();
    stream.shutdown().await.unwrap();
    heard
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

async fn upstream() -> (TcpListener, String) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    (upstream, to)
}

/// Says `words` as that visitor; what the upstream heard, and the visit's number.
async fn said(
    hall: &mut Hall,
    upstream: &TcpListener,
    visitor: &Visitor,
    to: SocketAddr,
    words: &[u8],
) -> (Vec<u8>, SocketAddr, u64) {
    let mut stream = visitor.enter(to).await.unwrap();
    let from = stream.get_ref().0.local_addr().unwrap();
    stream.write_all(words).await.unwrap();
    stream.shutdown().await.unwrap();
    let heard = next_words(upstream).await;
    hear(&mut stream).await.unwrap();
    let (code, event) = hall.ending().await;
    assert_eq!(code, "left");
    let Event::Left(visit, ..) = event else { panic!("{event:?}") };
    (heard, from, visit.number)
}

#[tokio::test]
async fn version_2_tells_address_identity_and_the_number_in_the_record() {
    if !has("python3") {
        return;
    }
    let set = Set::new();
    let (upstream, to) = upstream().await;
    let mut hall = Hall::of(&door(&set, &to, "proxy = \"v2\"", ""));
    let credential = set.client("alice");
    let visitor = Visitor::new(&set, Some(&credential));
    let door = hall.address("door");
    // A visitor that talks like a proxy itself is heard after us, as what it is.
    let forged = b"PROXY TCP4 6.6.6.6 6.6.6.6 6 6\r\n";
    for number in [1, 2] {
        let (heard, from, visit) = said(&mut hall, &upstream, &visitor, door, forged).await;
        let presented = Presented::read(credential.certificate()).unwrap();
        let shown = read(&heard);
        let fingerprint = hex(presented.fingerprint());
        assert_eq!(visit, number);
        assert_eq!(
            shown,
            json!({
                "command": 0x21,
                "from": [from.ip().to_string(), from.port()],
                "to": [door.ip().to_string(), door.port()],
                "client": 7,
                "verify": 0,
                "ssl": {"0x21": "TLSv1.3", "0x22": "alice"},
                "0x5": visit.to_string(),
                "0xe0": "dns:alice.client.internal",
                "0xe1": fingerprint,
                "0xe2": "door",
                "crc": true,
                "rest": String::from_utf8_lossy(forged),
                "length": shown["length"],
            })
        );
        assert!(shown["length"].as_u64().unwrap() < 2048);
    }
}

#[tokio::test]
async fn a_certificate_without_a_common_name_has_none_in_the_header_and_the_longest_name_fits() {
    if !has("python3") {
        return;
    }
    let set = Set::unconstrained();
    let (upstream, to) = upstream().await;
    let long = format!("spiffe://example.test/{}", "x".repeat(233));
    let config = door(&set, &to, "proxy = \"v2\"", "")
        .replace("dns:alice.client.internal", &format!("uri:{long}"));
    let mut hall = Hall::of(&config);
    let draft: Draft = set.draft("alice");
    let credential = set.sign(
        &draft.names(&[doorward::pki::RawName::Uri(long.clone().into_bytes())]).common_name(b""),
    );
    let visitor = Visitor::new(&set, Some(&credential));
    let at = hall.address("door");
    let (heard, ..) = said(&mut hall, &upstream, &visitor, at, b"hi").await;
    let shown = read(&heard);
    assert_eq!(shown["0xe0"], format!("uri:{long}"));
    assert_eq!(shown["ssl"], json!({"0x21": "TLSv1.3"}));
    assert!(shown["length"].as_u64().unwrap() < 2048);
    assert_eq!(shown["rest"], "hi");
}

#[tokio::test]
async fn version_1_tells_both_addresses_and_ipv6_is_spelled_as_such() {
    let set = Set::new();
    let (upstream, to) = upstream().await;
    let config = door(&set, &to, "proxy = \"v1\"", "")
        .replace("\"127.0.0.1:0\"", "[\"127.0.0.1:0\", \"[::1]:0\"]");
    let mut hall = Hall::of(&config);
    let visitor = alice(&set);
    for (at, family) in hall.addresses("door").into_iter().zip(["TCP4", "TCP6"]) {
        let (heard, from, _) = said(&mut hall, &upstream, &visitor, at, b"hi").await;
        let (source, target) = (from.ip(), at.ip());
        let expected =
            format!("PROXY {family} {source} {target} {} {}\r\nhi", from.port(), at.port());
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }
}

#[tokio::test]
async fn the_header_goes_before_tls_and_a_check_says_that_it_is_nobodys() {
    let set = Set::new();
    let (socket, at) = closed_port();
    let table = certificates(&set, "");
    let upstream = listen(socket);
    let keys = "proxy = \"v2\"\nhealth = \"1h\"\nconnect_deadline = \"500ms\"";
    let mut hall = Hall::of(&door(&set, &format!("tls:{at}"), keys, &table));
    let first_bytes = async |stream: &mut TcpStream| {
        let mut begin = [0; 16];
        stream.read_exact(&mut begin).await.unwrap();
        let mut fields = vec![0; usize::from(u16::from_be_bytes([begin[14], begin[15]]))];
        stream.read_exact(&mut fields).await.unwrap();
        let mut record = [0; 3];
        stream.read_exact(&mut record).await.unwrap();
        (begin[12], record)
    };
    // A handshake record of TLS (RFC 8446 section 5.1) follows either.
    let (mut check, _) = upstream.accept().await.unwrap();
    assert_eq!(first_bytes(&mut check).await, (0x20, [22, 3, 1]), "LOCAL: a check of ours");
    drop(check);
    let visitor = alice(&set);
    let door = hall.address("door");
    let member = loop {
        // The check has found that nobody speaks TLS there, so the first members are told at once.
        let mut stream = visitor.enter(door).await.unwrap();
        tokio::select! {
            (member, _) = async { upstream.accept().await.unwrap() } => break (member, stream),
            _ = hear(&mut stream) => {}
        }
    };
    let (mut accepted, _visitor) = member;
    assert_eq!(first_bytes(&mut accepted).await, (0x21, [22, 3, 1]), "PROXY: a member");
    drop(accepted);
    hall.verdict().await;
}

/// A real haproxy that believes the header on a unix socket. It ends with the test.
struct Haproxy(Child);

impl Haproxy {
    fn start(set: &Set, socket: &Path) -> Self {
        let config = format!(
            "defaults\n  mode http\n  timeout client 30s\n  timeout connect 1s\n  timeout server 1s\n\
             frontend door\n  bind unix@{} accept-proxy\n  http-request return status 200 \
             content-type text/plain lf-string \
             \"%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_unique_id]\"\n",
            socket.display()
        );
        let file = set.write("haproxy.cfg", config.as_bytes());
        let mut command = Command::new("haproxy");
        Self(command.arg("-db").arg("-f").arg(file).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn haproxy_reads_both_versions() {
    if !has("haproxy") {
        return;
    }
    for (version, unique) in [("v1", false), ("v2", true)] {
        let set = Set::new();
        let socket = set.path("haproxy.sock");
        let to = format!("unix:{}", socket.display());
        let keys = format!("proxy = \"{version}\"\nconnect_deadline = \"20s\"");
        let mut hall = Hall::of(&door(&set, &to, &keys, ""));
        // The first member waits until it is there.
        let _haproxy = Haproxy::start(&set, &socket);
        let at = hall.address("door");
        let mut stream = alice(&set).enter(at).await.unwrap();
        let from = stream.get_ref().0.local_addr().unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let heard = String::from_utf8(hear(&mut stream).await.unwrap()).unwrap();
        stream.shutdown().await.unwrap();
        let Event::Left(visit, ..) = hall.ending().await.1 else { panic!("{heard}") };
        let number = if unique { visit.number.to_string() } else { String::new() };
        let expected = format!("{} {} {} {} {number}", from.ip(), from.port(), at.ip(), at.port());
        let (_, told) = heard.split_once("\r\n\r\n").unwrap_or_default();
        assert_eq!(told.trim_end(), expected.trim_end(), "{version}: {heard}");
    }
}

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;
use crate::pki::document::Document;
use crate::pki::lint::{self, Finding, Verifier};

/// An exhibit, and what the others say of it.
type Row = (Kind, &'static str, &'static str, &'static str, &'static str);

/// Every exhibit: what OpenSSL (as strict as it can be), Python (as 3.13 is by default), Node and GnuTLS say of it.
const TABLE: &[Row] = &[
    (
        Kind::Expired,
        "certificate has expired",
        "certificate has expired",
        "CERT_HAS_EXPIRED",
        "The certificate chain uses expired certificate.",
    ),
    (
        Kind::NotYetValid,
        "certificate is not yet valid",
        "certificate is not yet valid",
        "CERT_NOT_YET_VALID",
        "The certificate chain uses not yet valid certificate.",
    ),
    (
        Kind::WrongHost,
        "hostname mismatch",
        "Hostname mismatch, certificate is not valid for 'localhost'.",
        "ERR_TLS_CERT_ALTNAME_INVALID",
        "The name in the certificate does not match the expected.",
    ),
    (
        Kind::WrongRole,
        "unsuitable certificate purpose",
        "unsuitable certificate purpose",
        "INVALID_PURPOSE",
        "The certificate chain does not match the intended purpose.",
    ),
    (
        Kind::SelfSigned,
        "self-signed certificate",
        "self-signed certificate",
        "UNABLE_TO_GET_CRL",
        "The certificate issuer is unknown.",
    ),
    (
        Kind::UnknownAuthority,
        "unable to get local issuer certificate",
        "unable to get local issuer certificate",
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        "The certificate issuer is unknown.",
    ),
    (
        Kind::Revoked,
        "certificate revoked",
        "certificate revoked",
        "CERT_REVOKED",
        "The certificate chain is revoked.",
    ),
    (Kind::MissingSan, "fine", "fine", "fine", "fine"),
    (
        Kind::MissingAki,
        "Missing Authority Key Identifier",
        "Missing Authority Key Identifier",
        "fine",
        "fine",
    ),
    (
        Kind::ConstraintViolated,
        "permitted subtree violation",
        "permitted subtree violation",
        "UNSPECIFIED",
        "The certificate chain violates the signer's constraints.",
    ),
    (
        Kind::PathTooLong,
        "path length constraint exceeded",
        "path length constraint exceeded",
        "PATH_LENGTH_EXCEEDED",
        "The certificate chain violates the signer's constraints.",
    ),
    (Kind::WeakKey, "EE certificate key too weak", "load: EE_KEY_TOO_SMALL", "fine", "fine"),
    (
        Kind::MismatchedKey,
        "fine",
        "load: KEY_VALUES_MISMATCH",
        "load: ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        "fine",
    ),
    (
        Kind::ChainIncomplete,
        "unable to get local issuer certificate",
        "unable to get local issuer certificate",
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        "The certificate issuer is unknown.",
    ),
    (
        Kind::ChainReversed,
        "unsuitable certificate purpose",
        "load: KEY_VALUES_MISMATCH",
        "load: ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        "The certificate chain violates the signer's constraints.",
    ),
];

/// What `openssl verify` objects first, in its words.
fn openssl(place: &Path, host: &str) -> String {
    let run = Command::new("openssl")
        .current_dir(place)
        .args(["verify", "-x509_strict", "-purpose", "sslserver", "-auth_level", "2"])
        .args(["-verify_hostname", host, "-crl_check_all", "-CRLfile", "crl.pem"])
        .args(["-CAfile", "trust.pem", "-untrusted", "chain.pem", "chain.pem"])
        .output()
        .unwrap();
    if run.status.success() {
        return "fine".to_owned();
    }
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    let first = said.lines().find_map(|line| line.split_once("lookup: "));
    first.map_or(said.clone(), |(_, words)| words.to_owned())
}

/// What GnuTLS objects first, in its words, asked by its own tool.
fn gnutls(place: &Path, host: &str) -> String {
    let run = Command::new("certtool")
        .current_dir(place)
        .args(["--verify", "--load-ca-certificate", "trust.pem", "--load-crl", "crl.pem"])
        .args(["--infile", "chain.pem", "--verify-purpose", "1.3.6.1.5.5.7.3.1"])
        .args(["--verify-hostname", host])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let last = said.lines().rfind(|line| line.starts_with("Chain verification output: "));
    let Some((_, words)) = last.and_then(|line| line.split_once("NOT trusted. ")) else {
        assert!(run.status.success(), "{said}");
        return "fine".to_owned();
    };
    let first = words.find(". ").map_or(words, |end| &words[..=end]);
    first.trim().to_owned()
}

/// What a script says that shakes hands with itself over these files.
fn script(program: &str, script: &str, place: &Path, host: &str) -> String {
    let run = Command::new(program)
        .args([if program == "node" { "-e" } else { "-c" }, script])
        .arg(place)
        .arg(host)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8_lossy(&run.stdout).trim().to_owned()
}

const PYTHON: &str = r#"
import ssl, sys
place, host = sys.argv[1:3]
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
try:
    server.load_cert_chain(place + "/chain.pem", place + "/key.pem")
except ssl.SSLError as error:
    print("load:", error.reason)
    sys.exit()
client = ssl.create_default_context(cafile=place + "/trust.pem")
client.load_verify_locations(place + "/crl.pem")
client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_CHAIN
a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
sides = [client.wrap_bio(a, b, server_hostname=host), server.wrap_bio(b, a, server_side=True)]
try:
    for _ in range(8):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    print("fine")
except ssl.SSLCertVerificationError as error:
    print(error.verify_message)
"#;

const NODE: &str = r#"
const tls = require("tls"), fs = require("fs");
const [place, host] = process.argv.slice(1);
const file = (name) => fs.readFileSync(place + "/" + name);
const done = (words) => { console.log(words); process.exit(); };
let server;
try {
  server = tls.createServer({ cert: file("chain.pem"), key: file("key.pem") });
} catch (error) {
  done("load: " + error.code);
}
server.on("tlsClientError", () => {});
server.listen(0, "127.0.0.1", () => {
  const lists = file("crl.pem").toString().split(/(?<=-----END X509 CRL-----\n)/);
  const options = { port: server.address().port, host: "127.0.0.1", servername: host, ca: file("trust.pem"), crl: lists };
  const client = tls.connect(options, () => done("fine"));
  client.on("error", (error) => done(error.code));
});
"#;

fn is_there(program: &str) -> bool {
    version(program).is_some()
}

/// What a program says its version is, or a line that says that it is not there.
fn version(program: &str) -> Option<String> {
    let argument = if program == "openssl" { "version" } else { "--version" };
    let Ok(run) = Command::new(program).arg(argument).output() else {
        println!("skipped: {program} is not installed");
        return None;
    };
    Some(String::from_utf8_lossy(&run.stdout).into_owned())
}

/// The table holds the words of these versions; others have other words.
fn is_recorded(program: &str) -> bool {
    let recorded = ["OpenSSL 3.0", "Python 3.11", "v20.", "certtool 3.7"];
    let Some(version) = version(program) else { return false };
    let known = recorded.iter().any(|known| version.starts_with(known));
    if !known {
        println!("skipped: the table was not recorded with {version}");
    }
    known
}

fn words(host: &HostName) -> String {
    host.dns().unwrap().to_owned()
}

#[test]
fn every_exhibit_is_refused_for_its_one_defect_and_passes_without_it() {
    let now = OffsetDateTime::now_utc();
    for kind in Kind::ALL.iter().copied() {
        let broken = Exhibit::make(kind, Defect::Present).unwrap().judge(now).err();
        assert_eq!(broken.as_ref().map(Objected::objection), kind.objection(), "{kind}");
        // webpki never looks at an anchor's path length, nor at the size of a leaf's key.
        let ours = matches!(kind, Kind::PathTooLong | Kind::WeakKey);
        let by = if ours { Verifier::Doorward } else { Verifier::Rustls };
        assert!(broken.is_none_or(|objected| objected.by() == by), "{kind}");
        let mended = Exhibit::make(kind, Defect::Absent).unwrap().judge(now);
        assert_eq!(mended, Ok(()), "{kind}");
    }
}

#[test]
fn other_programs_say_of_each_exhibit_what_the_table_says() {
    let mut wrong = Vec::new();
    for (kind, by_openssl, by_python, by_node, by_gnutls) in TABLE {
        let dir = tempfile::tempdir().unwrap();
        let exhibit = Exhibit::make(*kind, Defect::Present).unwrap();
        let (place, host) = (exhibit.write(dir.path()).unwrap(), words(exhibit.host()));
        let mut compare = |who: &str, said: String, expected: &str| {
            if said != expected {
                wrong.push(format!("{kind} {who}: {said:?}, not {expected:?}"));
            }
        };
        if is_recorded("openssl") {
            compare("openssl", openssl(&place, &host), by_openssl);
        }
        if is_recorded("python3") {
            compare("python3", script("python3", PYTHON, &place, &host), by_python);
        }
        if is_recorded("node") {
            compare("node", script("node", NODE, &place, &host), by_node);
        }
        if is_recorded("certtool") {
            compare("certtool", gnutls(&place, &host), by_gnutls);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let kinds: Vec<_> = TABLE.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, Kind::ALL);
}

#[test]
fn what_is_foreseen_of_other_programs_is_what_they_say() {
    for (kind, by_openssl, by_python, by_node, by_gnutls) in TABLE {
        let broken = Exhibit::make(*kind, Defect::Present).unwrap();
        let said = [
            (Verifier::OpenSslStrict, by_openssl),
            (Verifier::Python313, by_python),
            (Verifier::Node, by_node),
            (Verifier::GnuTls, by_gnutls),
        ];
        for (verifier, said) in said {
            // What a server does not even load, a client never sees.
            if said.starts_with("load: ") {
                continue;
            }
            let foreseen = broken.foresee(verifier, OffsetDateTime::now_utc());
            assert_eq!(foreseen.is_ok(), *said == "fine", "{kind} {verifier:?} {foreseen:?}");
            assert!(foreseen.err().is_none_or(|refused| refused.by() == verifier), "{kind}");
        }
        let mended = Exhibit::make(*kind, Defect::Absent).unwrap();
        for verifier in [Verifier::Rustls, Verifier::OpenSsl, Verifier::Go, Verifier::Apple] {
            assert_eq!(mended.foresee(verifier, OffsetDateTime::now_utc()), Ok(()), "{kind}");
        }
    }
}

#[test]
fn other_programs_take_each_exhibit_without_its_defect() {
    for kind in Kind::ALL.iter().copied() {
        let dir = tempfile::tempdir().unwrap();
        let exhibit = Exhibit::make(kind, Defect::Absent).unwrap();
        let (place, host) = (exhibit.write(dir.path()).unwrap(), words(exhibit.host()));
        if is_there("openssl") {
            assert_eq!(openssl(&place, &host), "fine", "{kind}");
        }
        if is_there("python3") {
            assert_eq!(script("python3", PYTHON, &place, &host), "fine", "{kind}");
        }
        if is_there("node") {
            assert_eq!(script("node", NODE, &place, &host), "fine", "{kind}");
        }
        if is_there("certtool") {
            assert_eq!(gnutls(&place, &host), "fine", "{kind}");
        }
    }
}

#[test]
fn lint_sees_the_defects_that_are_in_the_certificate_alone() {
    for kind in Kind::ALL.iter().copied() {
        let codes = |defect| {
            let exhibit = Exhibit::make(kind, defect).unwrap();
            let document = Document::of_chain(exhibit.chain());
            let found = lint::lint(&document, OffsetDateTime::now_utc());
            found.iter().map(|finding: &Finding| finding.lint().code()).collect::<BTreeSet<_>>()
        };
        let expected: &[&str] = match kind {
            Kind::Expired => &["lint.expired"],
            Kind::NotYetValid => &["lint.not-yet-valid"],
            Kind::SelfSigned => &["lint.self-signed-leaf"],
            Kind::MissingSan => &["lint.missing-san"],
            Kind::MissingAki => &["lint.missing-aki"],
            Kind::WeakKey => &["lint.weak-key"],
            Kind::ChainReversed => &["lint.chain-order"],
            Kind::WrongHost
            | Kind::WrongRole
            | Kind::UnknownAuthority
            | Kind::Revoked
            | Kind::ConstraintViolated
            | Kind::PathTooLong
            | Kind::MismatchedKey
            | Kind::ChainIncomplete => &[],
        };
        assert_eq!(codes(Defect::Present), expected.iter().copied().collect(), "{kind}");
        assert_eq!(codes(Defect::Absent), BTreeSet::new(), "{kind}");
    }
}

#[test]
fn an_exhibit_is_written_once_and_its_key_is_the_owners() {
    let dir = tempfile::tempdir().unwrap();
    let exhibit = Exhibit::make(Kind::Expired, Defect::Present).unwrap();
    let place = exhibit.write(dir.path()).unwrap();
    let mode = std::fs::metadata(place.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let readme = std::fs::read_to_string(place.join("README.md")).unwrap();
    assert!(readme.contains("refused, verify.expired"), "{readme}");
    assert_eq!(exhibit.write(dir.path()).unwrap_err().fault(), Fault::CertsExists);
    assert!("bored".parse::<Kind>().unwrap_err().remedy().contains("chain-reversed"));
}

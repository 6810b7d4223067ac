use super::*;
use crate::pki::testing::{Tools, handshake};
use crate::pki::{Credential, Key, KeyType, Options};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};
use std::fs;
use std::process::Command;

/// A request as the library makes it, with the key it is for.
fn made(key: KeyType, change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, Key) {
    let key = Key::generate(key).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    change(&mut params);
    let request = params.serialize_request(&key).unwrap();
    (request.der().to_vec(), key)
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn asking(names: Vec<SanType>) -> Request {
    Request::parse(&made(KeyType::P256, |params| params.subject_alt_names = names).0).unwrap()
}

fn sign(request: &Request, role: Role) -> Result<Vec<CertificateDer<'static>>, Problem> {
    Authority::ephemeral().unwrap().sign_request(request, role, 90)
}

#[test]
fn what_is_signed_for_a_request_shakes_hands_with_any_key() {
    for kind in KeyType::ALL {
        let ca = Authority::ephemeral().unwrap();
        let (der, key) = made(kind, |params| {
            params.subject_alt_names =
                vec![dns("app.test"), "127.0.0.9".parse().map(SanType::IpAddress).unwrap()];
        });
        let chain = ca.sign_request(&Request::parse(&der).unwrap(), Role::Server, 90).unwrap();
        let server = Credential::new(chain[0].clone(), Vec::new(), key).unwrap();
        let (der, key) = made(kind, |params| {
            params.distinguished_name.push(DnType::CommonName, "alice");
            params.subject_alt_names = vec![uri("spiffe://example.test/a")];
        });
        let request = Request::parse(&der).unwrap();
        assert_eq!(
            request.identity().unwrap().typed_names(),
            ["dns:alice.client.internal", "uri:spiffe://example.test/a"]
        );
        let chain = ca.sign_request(&request, Role::Client, 90).unwrap();
        let client = Credential::new(chain[0].clone(), Vec::new(), key).unwrap();
        for name in ["app.test", "127.0.0.9"] {
            assert_eq!(handshake(ca.anchor(), &server, &client, name), Ok(()), "{kind} {name}");
        }
    }
}

/// What of a certificate is not its key, its names or its dates.
fn shape(certificate: &CertificateDer<'_>) -> Vec<(String, bool, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    let own = |oid: &str| ["2.5.29.14", "2.5.29.17", "2.5.29.35"].contains(&oid);
    let extensions = certificate.extensions().iter();
    extensions
        .map(|one| (one.oid.to_id_string(), one.critical, one.value.to_vec()))
        .map(|(oid, critical, value)| {
            let value = if own(&oid) { Vec::new() } else { value };
            (oid, critical, value)
        })
        .collect()
}

#[test]
fn nothing_but_names_is_taken_over() {
    let (der, _) = made(KeyType::P256, |params| {
        params.subject_alt_names = vec![dns("app.test")];
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::Any, ExtendedKeyUsagePurpose::CodeSigning];
        params.is_ca = IsCa::ExplicitNoCa;
        let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions = vec![unknown];
        params.distinguished_name.push(DnType::CommonName, "root\u{1b}[31m");
        params.distinguished_name.push(DnType::OrganizationName, "Somebody else");
    });
    let request = Request::parse(&der).unwrap();
    let mut left_out = request.left_out().to_vec();
    left_out.sort();
    assert_eq!(left_out, ["extendedKeyUsage", "extension 1.3.6.1.4.1.1", "keyUsage"]);
    let ca = Authority::ephemeral().unwrap();
    let signed = ca.sign_request(&request, Role::Server, 90).unwrap();
    let usual = ca.server(&["app.test".parse().unwrap()], Options::default()).unwrap();
    assert_eq!(shape(&signed[0]), shape(usual.certificate()));
    let (_, signed) = X509Certificate::from_der(&signed[0]).unwrap();
    assert_eq!(signed.subject().to_string(), "");
}

#[test]
fn a_request_to_be_an_authority_is_refused() {
    for is_ca in
        [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::Ca(BasicConstraints::Constrained(0))]
    {
        let (der, _) = made(KeyType::P256, |params| {
            params.subject_alt_names = vec![dns("app.test")];
            params.is_ca = is_ca;
        });
        let problem = Request::parse(&der).unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsBadRequest);
        assert!(problem.message().contains("to be an authority"), "{problem}");
    }
}

#[test]
fn names_that_are_not_of_the_role_are_refused() {
    let email = || SanType::Rfc822Name("a@b.test".try_into().unwrap());
    let ip = || SanType::IpAddress("10.0.0.1".parse().unwrap());
    for (names, role, fault) in [
        (vec![], Role::Server, Fault::CertsBadRequest),
        (vec![email()], Role::Server, Fault::CertsBadRequest),
        (vec![dns("app.test"), uri("spiffe://a.test/b")], Role::Server, Fault::CertsBadRequest),
        (vec![dns("a b")], Role::Server, Fault::CertsBadName),
        (vec![dns("app.test/8")], Role::Server, Fault::CertsBadName),
        (vec![dns("app.example")], Role::Server, Fault::CertsOutsideConstraints),
        (vec![dns("app.test"), ip()], Role::Server, Fault::CertsOutsideConstraints),
        (vec![dns("alice.client.internal")], Role::Authority, Fault::CertsBadRequest),
        (vec![], Role::Client, Fault::CertsBadRequest),
        (vec![uri("spiffe://a.test/b")], Role::Client, Fault::CertsBadRequest),
        (vec![dns("alice.test")], Role::Client, Fault::CertsBadRequest),
        (vec![dns("*.client.internal")], Role::Client, Fault::CertsBadName),
        (vec![dns("a.b.client.internal")], Role::Client, Fault::CertsBadName),
        (
            vec![dns("a.client.internal"), dns("b.client.internal")],
            Role::Client,
            Fault::CertsBadRequest,
        ),
        (vec![dns("a.client.internal"), ip()], Role::Client, Fault::CertsBadRequest),
        (
            vec![dns("a.client.internal"), uri("spiffe://a.test/b"), uri("spiffe://a.test/c")],
            Role::Client,
            Fault::CertsBadRequest,
        ),
        (vec![dns("a.client.internal"), uri("http://a.test")], Role::Client, Fault::CertsBadName),
    ] {
        let problem = sign(&asking(names), role).unwrap_err();
        assert_eq!(problem.fault(), fault, "{problem}");
    }
}

#[test]
fn a_common_name_beside_another_client_is_refused() {
    for (common_name, right) in [("alice", true), ("bob", false), ("alice.test", false)] {
        let (der, _) = made(KeyType::P256, |params| {
            params.distinguished_name.push(DnType::CommonName, common_name);
            params.subject_alt_names = vec![dns("alice.client.internal")];
        });
        let identity = Request::parse(&der).unwrap().identity();
        assert_eq!(identity.is_ok(), right, "{common_name}");
    }
}

#[test]
fn more_names_than_a_handshake_takes_are_refused() {
    let names = |count: usize| (0..count).map(|number| dns(&format!("n{number}.test"))).collect();
    let many: Vec<_> = names(MOST_NAMES);
    assert!(sign(&asking(many), Role::Server).is_ok());
    let many: Vec<_> = names(MOST_NAMES + 1);
    let (der, _) = made(KeyType::P256, |params| params.subject_alt_names = many);
    assert_eq!(Request::parse(&der).unwrap_err().fault(), Fault::CertsBadRequest);
}

#[test]
fn an_address_of_the_wrong_length_and_two_lists_of_names_are_refused() {
    let names =
        |content: &[u8]| CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_vec());
    // GeneralNames with an iPAddress of three bytes.
    let (der, _) = made(KeyType::P256, |params| {
        params.custom_extensions = vec![names(&[0x30, 5, 0x87, 3, 10, 0, 0])];
    });
    assert_eq!(
        sign(&Request::parse(&der).unwrap(), Role::Server).unwrap_err().fault(),
        Fault::CertsBadRequest
    );
    for content in [&[0x30, 4, 0x82, 2, b'a', b'b'][..], &[0x30, 200], &[0x82, 1, b'a']] {
        let (der, _) = made(KeyType::P256, |params| {
            params.subject_alt_names = vec![dns("app.test")];
            params.custom_extensions = vec![names(content)];
        });
        assert_eq!(
            Request::parse(&der).unwrap_err().fault(),
            Fault::CertsBadRequest,
            "{content:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_changed_bit_changes_neither_key_nor_names(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (mut der, key) = made(KeyType::Ed25519, |params| {
            params.subject_alt_names = vec![dns("app.test")];
        });
        let place = at.index(der.len());
        der[place] ^= 1 << bit;
        // The tags around what is signed are not signed, so a few such changes go unnoticed.
        if let Ok(request) = Request::parse(&der) {
            prop_assert_eq!(request.key.der_bytes(), key.public_bits());
            prop_assert_eq!(request.hosts().unwrap(), ["app.test".parse::<HostName>().unwrap()]);
            prop_assert!(request.left_out().is_empty() && request.common_name.is_none());
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Request::parse(&bytes).is_err());
    }

    #[test]
    fn any_name_is_signed_well_or_refused(text in "[ -~]{0,40}") {
        let (der, key) = made(KeyType::P256, |params| {
            params.subject_alt_names = vec![dns(&text)];
        });
        let ca = Authority::ephemeral().unwrap();
        let Ok(chain) = Request::parse(&der).and_then(|request| ca.sign_request(&request, Role::Server, 90)) else {
            return Ok(());
        };
        let host: HostName = text.parse().unwrap();
        prop_assert!(ca.constraints().permit(&host));
        let server = Credential::new(chain[0].clone(), Vec::new(), key).unwrap();
        let client = ca.client(&"alice".parse().unwrap(), Options::default()).unwrap();
        let name = host.to_string().replace('*', "any");
        prop_assert_eq!(handshake(ca.anchor(), &server, &client, &name), Ok(()));
    }
}

/// A request as `openssl req` makes it with these arguments, and its key.
fn by_openssl(key: &[&str], request: &[&str]) -> (Vec<u8>, Option<Key>) {
    let dir = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        let run = Command::new("openssl").args(arguments).current_dir(&dir).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    openssl(&[&["genpkey", "-out", "key.pem"], key].concat());
    openssl(
        &[&["req", "-new", "-key", "key.pem", "-out", "csr.der", "-outform", "DER"], request]
            .concat(),
    );
    fs::set_permissions(
        dir.path().join("key.pem"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let key = keyfile::read_key(&dir.path().join("key.pem")).ok();
    let key = key.and_then(|key| Key::from_der(&key).ok());
    (keyfile::read_request(&dir.path().join("csr.der")).unwrap().to_vec(), key)
}

const P384: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
const ALICE: [&str; 2] = ["-subj", "/CN=alice"];

#[test]
fn a_p384_key_that_signs_with_sha256_gets_a_certificate_for_its_own_key() {
    if Tools::find("openssl").is_none() {
        return;
    }
    for digest in ["-sha256", "-sha384"] {
        let (der, key) = by_openssl(&P384, &[&ALICE[..], &[digest]].concat());
        let ca = Authority::ephemeral().unwrap();
        let chain = ca.sign_request(&Request::parse(&der).unwrap(), Role::Client, 90).unwrap();
        let client = Credential::new(chain[0].clone(), Vec::new(), key.unwrap()).unwrap();
        let server = ca.server(&HostName::loopback(), Options::default()).unwrap();
        assert_eq!(handshake(ca.anchor(), &server, &client, "localhost"), Ok(()), "{digest}");
    }
}

#[test]
fn what_openssl_asks_for_is_signed_or_refused_by_name() {
    if Tools::find("openssl").is_none() {
        return;
    }
    let refused = |key: &[&str], request: &[&str]| {
        let (der, _) = by_openssl(key, &[&ALICE[..], request].concat());
        Request::parse(&der).map(|_| ()).unwrap_err().fault()
    };
    let small = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
    assert_eq!(refused(&small, &[]), Fault::CertsBadRequest);
    let rsa = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    assert_eq!(refused(&rsa, &["-sha1"]), Fault::CertsBadRequest);
    assert_eq!(
        refused(&P384, &["-addext", "basicConstraints=critical,CA:TRUE"]),
        Fault::CertsBadRequest
    );
    let (der, _) = by_openssl(
        &rsa,
        &[
            "-subj",
            "/C=XX/O=Somebody/CN=alice",
            "-addext",
            "subjectAltName=otherName:1.2.3.4;UTF8:x",
        ],
    );
    let request = Request::parse(&der).unwrap();
    for role in [Role::Server, Role::Client] {
        assert_eq!(sign(&request, role).unwrap_err().fault(), Fault::CertsBadRequest);
    }
}

#[test]
fn a_signed_request_is_in_the_inventory_and_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let plan = crate::pki::Plan::new(HostName::loopback().to_vec(), Vec::new());
    let store = Store::create(&dir.path().join("certs"), &plan).unwrap();
    let out = dir.path().join("app.chain.pem");
    let request = asking(vec![dns("app.test")]);
    let signed = store.sign(&request, Role::Server, 30, &out).unwrap();
    assert_eq!(signed.names, ["dns:app.test"]);
    let entry = store.list().unwrap().pop().unwrap();
    assert_eq!(entry.issued.serial, signed.serial);
    assert_eq!(keyfile::read_chain(&out).unwrap().len(), 1);
    let again = store.sign(&request, Role::Server, 30, &out).unwrap_err();
    assert_eq!(again.fault(), Fault::CertsExists);
    assert_eq!(store.list().unwrap().pop().unwrap(), entry);
}

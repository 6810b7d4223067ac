//! What holds for every certificate that is issued, whatever was asked for.

use std::sync::OnceLock;

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::pki::authority::{Authority, AuthorityOptions, Depth};
use crate::pki::credential::Credential;
use crate::pki::key::{Key, KeyType};
use crate::pki::name::{ClientIdentity, HostName};
use crate::pki::profile::{self, Constraints, Options, Role};
use crate::pki::request::Request;
use crate::pki::testing::handshake;
use crate::pki::verdict::{Objected, Purpose, Question};
use crate::problem::{Fault, Problem};

/// One key of a kind for the whole run, because making one takes a second for RSA.
fn key(kind: KeyType) -> Key {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| KeyType::ALL.map(|kind| Key::generate(kind).unwrap()).into());
    keys.iter().find(|key| key.kind() == kind).unwrap().again().unwrap()
}

/// An authority of a kind, at the top or below another one.
fn authority(kind: KeyType, depth: Depth) -> &'static Authority {
    static AUTHORITIES: OnceLock<Vec<(KeyType, Depth, Authority)>> = OnceLock::new();
    let all = AUTHORITIES.get_or_init(|| {
        let made = KeyType::ALL.into_iter().flat_map(|key| {
            let options = AuthorityOptions { key, ..AuthorityOptions::default() };
            let root = Authority::create(&options).unwrap();
            let depth = Depth::OneIntermediate;
            let above = Authority::create(&AuthorityOptions { depth, ..options }).unwrap();
            let below = above.intermediate(key, 400).unwrap();
            [(key, Depth::LeavesOnly, root), (key, depth, below)]
        });
        made.collect()
    });
    &all.iter().find(|(key, at, _)| *key == kind && *at == depth).unwrap().2
}

/// A server's or client's certificate, with a new key where making one is cheap.
fn issue(ca: &Authority, wanted: &Wanted, options: Options) -> Result<Credential, Problem> {
    if options.key != KeyType::Rsa3072 {
        return match wanted {
            Wanted::Server(names) => ca.server(names, options),
            Wanted::Client(identity) => ca.client(identity, options),
        };
    }
    let key = key(KeyType::Rsa3072);
    let validity = ca.validity(wanted.role(), options.days)?;
    let params = match wanted {
        Wanted::Server(names) => profile::server(names, validity)?,
        Wanted::Client(identity) => profile::client(identity, validity)?,
    };
    Credential::new(ca.certify(params, &key, wanted.role())?, ca.presented(), key)
}

#[derive(Clone, Debug)]
enum Wanted {
    Server(Vec<HostName>),
    Client(ClientIdentity),
}

impl Wanted {
    fn role(&self) -> Role {
        match self {
            Self::Server(_) => Role::Server,
            Self::Client(_) => Role::Client,
        }
    }
}

fn kind() -> impl Strategy<Value = KeyType> {
    prop::sample::select(KeyType::ALL.to_vec())
}

fn depth() -> impl Strategy<Value = Depth> {
    prop::sample::select(vec![Depth::LeavesOnly, Depth::OneIntermediate])
}

const LABEL: &str = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?";

/// A name inside the constraints of development.
fn host() -> impl Strategy<Value = HostName> {
    let dns = (prop::collection::vec(LABEL, 1..4), prop::sample::select(vec!["test", "internal"]));
    let dns = dns.prop_map(|(labels, top)| format!("{}.{top}", labels.join(".")));
    prop_oneof![
        4 => dns.clone(),
        1 => dns.prop_map(|name| format!("*.{name}")),
        1 => Just("localhost".to_owned()),
        1 => Just("::1".to_owned()),
        2 => any::<[u8; 3]>().prop_map(|[b, c, d]| format!("127.{b}.{c}.{d}")),
    ]
    .prop_map(|text| text.parse().unwrap())
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let email = (LABEL, LABEL).prop_map(|(who, at)| format!("{who}@{at}.test").parse().unwrap());
    let spiffe = (LABEL, LABEL).prop_map(|(at, id)| format!("spiffe://{at}/{id}").parse().unwrap());
    let emails = prop::collection::vec(email, 0..4);
    let client = (LABEL, prop::option::of(spiffe), emails).prop_map(|(name, spiffe, emails)| {
        let identity: ClientIdentity = name.parse().unwrap();
        let identity = spiffe.into_iter().fold(identity, ClientIdentity::with_spiffe);
        Wanted::Client(emails.into_iter().fold(identity, ClientIdentity::with_email))
    });
    prop_oneof![prop::collection::vec(host(), 1..8).prop_map(Wanted::Server), client]
}

/// What a verifier says that trusts this authority and has the private key at hand.
fn judged(ca: &Authority, credential: &Credential, purpose: Purpose) -> Result<(), Objected> {
    let (trust, key) = ([ca.anchor().clone()], credential.key());
    let now = OffsetDateTime::now_utc();
    Question { purpose, trust: &trust, lists: &[], key: Some(&key), now }.judge(credential.chain())
}

/// What somebody looks a server up by: a star stands for one label.
fn looked_up(host: &HostName) -> HostName {
    host.to_string().replace('*', "any").parse().unwrap()
}

/// That a certificate is good for its role and for nothing else, by our verdict and by real handshakes.
fn fits_its_role_alone(
    ca: &Authority,
    credential: &Credential,
    wanted: &Wanted,
) -> Result<(), TestCaseError> {
    let small = Options::default();
    match wanted {
        Wanted::Server(names) => {
            let client = ca.client(&"alice".parse().unwrap(), small).unwrap();
            for name in names.iter().map(looked_up) {
                let purpose = Purpose::Server(Some(name.clone()));
                prop_assert_eq!(judged(ca, credential, purpose), Ok(()));
                let shaken = handshake(ca.anchor(), credential, &client, &name.to_string());
                prop_assert_eq!(shaken, Ok(()));
            }
            let stranger = Purpose::Server(Some("nobody-asked-for-this.test".parse().unwrap()));
            prop_assert!(judged(ca, credential, stranger).is_err());
            prop_assert!(judged(ca, credential, Purpose::Client).is_err());
            let name = looked_up(&names[0]).to_string();
            prop_assert!(handshake(ca.anchor(), credential, credential, &name).is_err());
        }
        Wanted::Client(identity) => {
            let server = ca.server(&HostName::loopback(), small).unwrap();
            prop_assert_eq!(judged(ca, credential, Purpose::Client), Ok(()));
            prop_assert_eq!(handshake(ca.anchor(), &server, credential, "localhost"), Ok(()));
            let own: HostName = identity.name().dns().parse().unwrap();
            prop_assert!(judged(ca, credential, Purpose::Server(Some(own.clone()))).is_err());
            let name = own.to_string();
            prop_assert!(handshake(ca.anchor(), credential, credential, &name).is_err());
        }
    }
    Ok(())
}

/// The names of a certificate, with their types.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => format!("dns:{name}"),
        GeneralName::URI(uri) => format!("uri:{uri}"),
        GeneralName::RFC822Name(email) => format!("email:{email}"),
        GeneralName::IPAddress(bytes) => format!("ip:{bytes:?}"),
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => "another kind of name".to_owned(),
    };
    names.value.general_names.iter().map(text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_issued_is_good_for_its_role_alone(
        (ca_kind, depth, kind) in (kind(), depth(), kind()),
        wanted in wanted(),
        days in 1_u32..199,
    ) {
        let ca = authority(ca_kind, depth);
        let credential = issue(ca, &wanted, Options { key: kind, days }).unwrap();
        fits_its_role_alone(ca, &credential, &wanted)?;
        prop_assert!(credential.not_after() <= ca.not_after());
        if let Wanted::Client(identity) = &wanted {
            prop_assert_eq!(names(credential.certificate()), identity.typed_names());
        }
    }

    #[test]
    fn no_name_outside_the_constraints_is_issued(
        names in prop::collection::vec(host(), 0..4),
        outside in "[a-z]{1,12}\\.(com|example|testing|xtest|internals)",
        at in any::<prop::sample::Index>(),
    ) {
        let ca = authority(KeyType::P256, Depth::OneIntermediate);
        let outside: HostName = outside.parse().unwrap();
        prop_assert!(!Constraints::development().permit(&outside));
        let mut names = names;
        names.push(outside.clone());
        let first = at.index(names.len());
        names.rotate_left(first);
        let problem = ca.server(&names, Options::default()).unwrap_err();
        prop_assert_eq!(problem.fault(), Fault::CertsOutsideConstraints);
        prop_assert!(problem.message().contains(&outside.to_string()), "{}", problem);
    }
}

/// A request with whatever somebody may write into one.
#[derive(Clone, Debug)]
struct Wish {
    key: KeyType,
    names: Vec<SanType>,
    common_names: Vec<String>,
    authority: Option<BasicConstraints>,
    usages: bool,
    extensions: Vec<(Vec<u64>, bool, Vec<u8>)>,
    /// Where a bit is turned over after it was signed, if anywhere.
    wound: Option<(prop::sample::Index, u8)>,
}

impl Wish {
    fn made(&self) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in &self.common_names {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.subject_alt_names.clone_from(&self.names);
        params.is_ca = self.authority.map_or(IsCa::NoCa, IsCa::Ca);
        if self.usages {
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        }
        for (oid, critical, content) in &self.extensions {
            let mut extension = CustomExtension::from_oid_content(oid, content.clone());
            extension.set_criticality(*critical);
            params.custom_extensions.push(extension);
        }
        let mut der = params.serialize_request(&key(self.key)).unwrap().der().to_vec();
        if let Some((at, bit)) = &self.wound {
            let at = at.index(der.len());
            der[at] ^= 1 << (bit % 8);
        }
        der
    }
}

/// A name as somebody may ask for it: right, outside the constraints, or none at all.
fn name_asked() -> impl Strategy<Value = SanType> {
    let text = prop_oneof![
        4 => host().prop_map(|host| host.to_string()),
        2 => LABEL.prop_map(|label| format!("{label}.client.internal")),
        1 => Just("app.example".to_owned()),
        1 => "[ -~]{0,30}",
    ];
    let dns = text.clone().prop_map(|text| SanType::DnsName(text.try_into().unwrap()));
    let uri = prop_oneof!["spiffe://[a-z]{1,5}/[a-z]{1,5}", "[ -~]{0,30}"];
    let email = prop_oneof!["[a-z]{1,8}@[a-z]{1,8}\\.test", "[ -~]{0,30}"];
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(std::net::IpAddr::from),
        any::<[u8; 16]>().prop_map(std::net::IpAddr::from),
        any::<[u8; 3]>().prop_map(|[b, c, d]| std::net::IpAddr::from([127, b, c, d])),
    ];
    prop_oneof![
        6 => dns,
        1 => uri.prop_map(|uri| SanType::URI(uri.try_into().unwrap())),
        1 => email.prop_map(|email| SanType::Rfc822Name(email.try_into().unwrap())),
        2 => ip.prop_map(SanType::IpAddress),
    ]
}

/// Names and common names: as a server should ask, as a client should, or anyhow.
fn asked() -> impl Strategy<Value = (Vec<SanType>, Vec<String>)> {
    let dns = |text: String| SanType::DnsName(text.try_into().unwrap());
    let server = prop::collection::vec(host(), 1..5).prop_map(move |hosts| {
        let name =
            |host: HostName| host.ip().map_or_else(|| dns(host.to_string()), SanType::IpAddress);
        (hosts.into_iter().map(name).collect(), Vec::new())
    });
    let client = (LABEL, any::<bool>(), 0_usize..3).prop_map(move |(label, id, common_names)| {
        let name = dns(format!("{label}.client.internal"));
        let id = id.then(|| SanType::URI(format!("spiffe://{label}/x").try_into().unwrap()));
        (std::iter::once(name).chain(id).collect(), vec![label; common_names.min(1)])
    });
    let anyhow = prop::collection::vec(name_asked(), 0..5);
    let anyhow = (anyhow, prop::collection::vec(prop_oneof![LABEL, "\\PC{0,20}"], 0..3));
    prop_oneof![1 => server, 1 => client, 2 => anyhow]
}

fn wish() -> impl Strategy<Value = Wish> {
    let depth = any::<u8>().prop_map(BasicConstraints::Constrained);
    let depth = prop_oneof![Just(BasicConstraints::Unconstrained), depth];
    let authority = prop::option::weighted(0.1, depth);
    let oid = prop_oneof![
        4 => Just(vec![1, 3, 6, 1, 4, 1, 1]),
        4 => Just(vec![2, 5, 29, 37]),
        1 => Just(vec![2, 5, 29, 15]),
        1 => Just(vec![2, 5, 29, 17]),
        1 => Just(vec![2, 5, 29, 19]),
        1 => Just(vec![2, 5, 29, 30]),
    ];
    let content = prop_oneof![
        Just(vec![0x30, 3, 1, 1, 0xFF]),
        Just(vec![0x30, 0]),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    let extensions = prop::collection::vec((oid, any::<bool>(), content), 0..2);
    let wound = prop::option::weighted(0.1, (any::<prop::sample::Index>(), any::<u8>()));
    (kind(), asked(), authority, any::<bool>(), extensions, wound).prop_map(
        |(key, (names, common_names), authority, usages, extensions, wound)| Wish {
            key,
            names,
            common_names,
            authority,
            usages,
            extensions,
            wound,
        },
    )
}

/// Every extension that is not about the key or the names.
fn shape(certificate: &CertificateDer<'_>) -> Vec<(String, bool, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    let own = |oid: &str| ["2.5.29.14", "2.5.29.17", "2.5.29.35"].contains(&oid);
    let extensions = certificate.extensions().iter();
    let all = extensions.map(|one| (one.oid.to_id_string(), one.critical, one.value.to_vec()));
    all.map(|(oid, critical, value)| {
        let value = if own(&oid) { Vec::new() } else { value };
        (oid, critical, value)
    })
    .collect()
}

/// That a refusal says what is wrong and what to do, and repeats no byte that could move a cursor.
fn is_clear(problem: &Problem) -> Result<(), TestCaseError> {
    let known = [Fault::CertsBadRequest, Fault::CertsBadName, Fault::CertsOutsideConstraints];
    prop_assert!(known.contains(&problem.fault()), "{}", problem);
    prop_assert!(!problem.message().is_empty() && !problem.remedy().is_empty());
    let text = format!("{}{}", problem.message(), problem.remedy());
    prop_assert!(!text.contains(char::is_control), "{:?}", text);
    prop_assert!(text.len() < 2000, "{}", text.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    #[test]
    fn any_request_yields_a_right_certificate_or_a_clear_refusal(
        wish in wish(),
        role in prop::sample::select(vec![Role::Server, Role::Client]),
    ) {
        let ca = authority(KeyType::P256, Depth::LeavesOnly);
        let request = match Request::parse(&wish.made()) {
            Ok(request) => request,
            Err(problem) => return is_clear(&problem),
        };
        prop_assert!(wish.authority.is_none(), "an authority was asked for");
        let chain = match ca.sign_request(&request, role, 90) {
            Ok(chain) => chain,
            Err(problem) => return is_clear(&problem),
        };
        let credential = Credential::new(chain[0].clone(), ca.presented(), key(wish.key)).unwrap();
        let wanted = match role {
            Role::Client => Wanted::Client(request.identity().unwrap()),
            Role::Server | Role::Authority => Wanted::Server(request.hosts().unwrap()),
        };
        fits_its_role_alone(ca, &credential, &wanted)?;
        let usual = issue(ca, &wanted, Options::default()).unwrap();
        prop_assert_eq!(shape(credential.certificate()), shape(usual.certificate()));
        prop_assert_eq!(names(credential.certificate()), names(usual.certificate()));
    }
}

#[test]
fn a_client_has_no_more_names_than_a_handshake_accepts() {
    let ca = authority(KeyType::P256, Depth::LeavesOnly);
    let with = |emails: usize| {
        let emails = (0..emails).map(|number| format!("n{number}@a.test").parse().unwrap());
        emails.fold("alice".parse().unwrap(), ClientIdentity::with_email)
    };
    let most = profile::MOST_NAMES - 1;
    assert!(ca.client(&with(most), Options::default()).is_ok());
    let problem = ca.client(&with(most + 1), Options::default()).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsBadName);
}

use super::*;
use crate::pki::{Authority, AuthorityOptions, Depth, Draft};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

fn with<T>(der: &CertificateDer<'_>, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    look(&certificate)
}

fn identifiers(certificate: &X509Certificate<'_>) -> (Vec<u8>, Vec<u8>) {
    let mut found = (Vec::new(), Vec::new());
    for extension in certificate.extensions() {
        let parsed = extension.parsed_extension();
        if let ParsedExtension::SubjectKeyIdentifier(id) = parsed {
            assert!(!extension.critical);
            found.0 = id.0.to_vec();
        }
        if let ParsedExtension::AuthorityKeyIdentifier(id) = parsed {
            assert!(!extension.critical);
            found.1 = id.key_identifier.as_ref().unwrap().0.to_vec();
        }
    }
    found
}

fn hosts(names: &[&str]) -> Vec<HostName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A server and a client of one authority, with every kind of name.
fn pair() -> (Authority, CertificateDer<'static>, CertificateDer<'static>) {
    let ca = Authority::ephemeral().unwrap();
    let server = ca.server(&HostName::loopback(), Options::default()).unwrap();
    let alice: ClientIdentity = "alice".parse().unwrap();
    let alice = alice
        .with_spiffe("spiffe://example.test/alice".parse().unwrap())
        .with_email("alice@app.test".parse().unwrap());
    let client = ca.client(&alice, Options::default()).unwrap();
    (ca, server.certificate().clone(), client.certificate().clone())
}

#[test]
fn every_certificate_is_version_3_with_a_fresh_random_serial() {
    let ca = Authority::ephemeral().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..32 {
        let server = ca.server(&HostName::loopback(), Options::default()).unwrap();
        with(server.certificate(), |certificate| {
            assert_eq!(certificate.version(), X509Version::V3);
            let raw = certificate.raw_serial();
            assert_eq!(raw.len(), 16, "well over 64 bits, well under 20 bytes");
            assert!((0x40..0x80).contains(&raw[0]), "positive, and never shorter");
        });
        seen.insert(server.serial().clone());
    }
    assert_eq!(seen.len(), 32);
}

#[test]
fn the_same_key_gets_another_serial_each_time() {
    let key = Key::generate(KeyType::P256).unwrap();
    let validity = Validity::new(Role::Server, 90, OffsetDateTime::now_utc(), None).unwrap();
    let serial = || {
        let mut params = server(&HostName::loopback(), validity).unwrap();
        seal(&mut params, &key);
        params.serial_number.unwrap()
    };
    assert_ne!(serial(), serial());
}

#[test]
fn an_authority_is_critically_one_and_may_do_nothing_else() {
    let ca = Authority::ephemeral().unwrap();
    with(ca.certificate(), |certificate| {
        let basic = certificate.basic_constraints().unwrap().unwrap();
        assert!(basic.critical && basic.value.ca);
        assert_eq!(basic.value.path_len_constraint, Some(0));
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical);
        assert_eq!(usage.value.to_string(), "Key Cert Sign, CRL Sign");
        assert!(certificate.extended_key_usage().unwrap().is_none());
        assert!(certificate.subject_alternative_name().unwrap().is_none());
        let (own, issuer) = identifiers(certificate);
        assert_eq!(own, ca.key().identifier());
        assert_eq!(issuer, own);
        assert_eq!(certificate.subject(), certificate.issuer());
        assert_eq!(certificate.iter_extensions().count(), 5);
    });
}

#[test]
fn room_for_an_intermediate_is_a_path_length_of_one() {
    let options = AuthorityOptions { depth: Depth::OneIntermediate, ..AuthorityOptions::default() };
    let ca = Authority::create(&options).unwrap();
    let below = ca.intermediate(KeyType::P256, 90).unwrap();
    for (authority, length) in [(&ca, 1), (&below, 0)] {
        with(authority.certificate(), |certificate| {
            let basic = certificate.basic_constraints().unwrap().unwrap();
            assert_eq!(basic.value.path_len_constraint, Some(length));
        });
    }
}

#[test]
fn the_root_is_critically_constrained_in_dns_names_and_addresses() {
    let (ca, ..) = pair();
    with(ca.certificate(), |certificate| {
        let constraints = certificate.name_constraints().unwrap().unwrap();
        assert!(constraints.critical);
        assert!(constraints.value.excluded_subtrees.is_none());
        let permitted = constraints.value.permitted_subtrees.as_ref().unwrap();
        let bases: Vec<_> = permitted.iter().map(|subtree| &subtree.base).collect();
        let v4: &[u8] = &[127, 0, 0, 0, 255, 0, 0, 0];
        let v6 = [[0; 15].as_slice(), &[1], &[255; 16]].concat();
        let expected = [
            &GeneralName::DNSName("localhost"),
            &GeneralName::DNSName("test"),
            &GeneralName::DNSName("internal"),
            &GeneralName::IPAddress(v4),
            &GeneralName::IPAddress(&v6),
        ];
        assert_eq!(bases, expected);
    });
}

#[test]
fn what_the_caller_names_is_permitted_too_and_unconstrained_is_spelled_out() {
    let more = ["app.example.com", "192.0.2.0/24"].map(|text| text.parse().unwrap());
    let constraints = Constraints::development().permitting(more);
    assert!(
        constraints.to_string().ends_with("127.0.0.0/8, ::1/128, app.example.com, 192.0.2.0/24")
    );
    let ca = Authority::create(&AuthorityOptions {
        constraints: constraints.clone(),
        ..AuthorityOptions::default()
    });
    assert_eq!(ca.unwrap().constraints(), &constraints, "and read back from the certificate");
    let free = AuthorityOptions {
        constraints: Constraints::unconstrained(),
        ..AuthorityOptions::default()
    };
    with(Authority::create(&free).unwrap().certificate(), |certificate| {
        assert!(certificate.name_constraints().unwrap().is_none());
    });
}

#[test]
fn a_leaf_signs_handshakes_and_nothing_else_in_exactly_one_role() {
    let (_, server, client) = pair();
    for (leaf, is_server) in [(&server, true), (&client, false)] {
        with(leaf, |certificate| {
            let basic = certificate.basic_constraints().unwrap().unwrap();
            assert!(basic.critical && !basic.value.ca);
            assert_eq!(basic.value.path_len_constraint, None);
            let usage = certificate.key_usage().unwrap().unwrap();
            assert!(usage.critical);
            assert_eq!(usage.value.to_string(), "Digital Signature");
            let extended = certificate.extended_key_usage().unwrap().unwrap();
            assert!(!extended.critical);
            assert_eq!(
                (extended.value.server_auth, extended.value.client_auth),
                (is_server, !is_server)
            );
            assert!(!extended.value.any && extended.value.other.is_empty());
            assert_eq!(certificate.iter_extensions().count(), 6);
        });
    }
}

#[test]
fn an_rsa_leaf_has_no_key_encipherment_either() {
    let ca = Authority::ephemeral().unwrap();
    let options = Options { key: KeyType::Rsa3072, ..Options::default() };
    let server = ca.server(&HostName::loopback(), options).unwrap();
    with(server.certificate(), |certificate| {
        let usage = certificate.key_usage().unwrap().unwrap();
        assert_eq!(usage.value.to_string(), "Digital Signature");
    });
}

#[test]
fn key_identifiers_are_rfc_7093_method_1_and_name_the_issuer() {
    let (ca, server, client) = pair();
    for leaf in [&server, &client] {
        with(leaf, |certificate| {
            let bits = &certificate.public_key().subject_public_key.data;
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bits);
            let (own, issuer) = identifiers(certificate);
            assert_eq!(own, &digest.as_ref()[..20]);
            assert_eq!(issuer, ca.key().identifier());
            assert_eq!(
                certificate.issuer(),
                &X509Certificate::from_der(ca.certificate()).unwrap().1.subject
            );
        });
    }
}

#[test]
fn a_server_has_its_names_in_the_alternative_names_only() {
    let (_, server, _) = pair();
    with(&server, |certificate| {
        assert_eq!(certificate.subject().iter().count(), 0);
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert!(names.critical, "the subject is empty");
        let v6 = [[0; 15].as_slice(), &[1]].concat();
        assert_eq!(
            names.value.general_names,
            [
                GeneralName::DNSName("localhost"),
                GeneralName::IPAddress(&[127, 0, 0, 1]),
                GeneralName::IPAddress(&v6)
            ]
        );
    });
}

#[test]
fn a_client_has_its_name_as_common_name_and_as_alternative_name() {
    let (_, _, client) = pair();
    with(&client, |certificate| {
        assert_eq!(certificate.subject().to_string(), "CN=alice");
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert!(!names.critical, "the subject is not empty");
        assert_eq!(
            names.value.general_names,
            [
                GeneralName::DNSName("alice.client.internal"),
                GeneralName::URI("spiffe://example.test/alice"),
                GeneralName::RFC822Name("alice@app.test")
            ]
        );
    });
}

#[test]
fn ninety_days_began_five_minutes_ago_and_end_a_second_early() {
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    let late = now.replace_nanosecond(999_999_999).unwrap();
    let validity = Validity::new(Role::Server, 90, late, None).unwrap();
    assert_eq!(validity.not_before, now - Duration::minutes(5));
    assert_eq!(
        validity.not_after,
        now - Duration::minutes(5) + Duration::days(90) - Duration::SECOND
    );
}

#[test]
fn nothing_outlives_its_authority() {
    let options = AuthorityOptions { days: 1, ..AuthorityOptions::default() };
    let ca = Authority::create(&options).unwrap();
    let server = ca.server(&HostName::loopback(), Options::default()).unwrap();
    assert_eq!(server.not_after(), ca.not_after());
}

#[test]
fn a_lifetime_out_of_bounds_is_refused() {
    let now = OffsetDateTime::now_utc();
    for (role, days) in
        [(Role::Server, 200), (Role::Client, 826), (Role::Authority, 3651), (Role::Client, 0)]
    {
        let problem = Validity::new(role, days, now, None).unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsBadOption, "{role} {days}");
    }
}

#[test]
fn dates_before_2050_are_utc_time_and_later_ones_generalized_time() {
    let ca = Authority::ephemeral().unwrap();
    let start = OffsetDateTime::now_utc();
    let end = OffsetDateTime::from_unix_timestamp(2_556_143_999).unwrap();
    let alice = "alice".parse().unwrap();
    for (seconds, text) in [(0, &b"491231235959Z"[..]), (1_i64, b"20510101000000Z")] {
        let end = if seconds == 0 { end - Duration::days(365) } else { end + Duration::SECOND };
        let draft = Draft::client(&alice).unwrap().valid(start, end);
        let leaf = ca.sign(&draft).unwrap();
        let der = leaf.certificate();
        let tag = if seconds == 0 { 0x17 } else { 0x18 };
        let encoded = [&[tag, u8::try_from(text.len()).unwrap()], text].concat();
        assert!(der.windows(encoded.len()).any(|window| window == encoded), "{end}");
    }
}

#[test]
fn no_name_and_too_many_names_are_refused() {
    let ca = Authority::ephemeral().unwrap();
    let many: Vec<HostName> =
        (0..65).map(|number| format!("h{number}.test").parse().unwrap()).collect();
    for names in [&[][..], &many] {
        let problem = ca.server(names, Options::default()).unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsBadName);
    }
    assert!(ca.server(&many[..64], Options::default()).is_ok());
    let twice = ca.server(&hosts(&["a.test", "A.test"]), Options::default()).unwrap();
    with(twice.certificate(), |certificate| {
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
    });
}

#[test]
fn a_serial_is_read_as_tools_print_it() {
    let serial = Serial::random().unwrap();
    assert_eq!(serial.to_string().parse::<Serial>().unwrap(), serial);
    assert_eq!("00:AB:cd".parse::<Serial>().unwrap().to_string(), "abcd");
    for text in ["", "abc", "zz", "+1", "0x10", &"ab".repeat(21)] {
        assert!(text.parse::<Serial>().is_err(), "{text}");
    }
}

use super::*;
use crate::pki::testing::Tools;
use crate::pki::{AuthorityOptions, ClientIdentity, Draft, KeyType, Options};
use rustls::pki_types::UnixTime;
use webpki::{BorrowedCertRevocationList, CertRevocationList, KeyUsage, RevocationOptionsBuilder};
use x509_parser::extensions::ParsedExtension;
use x509_parser::x509::X509Version;

fn alice(ca: &Authority) -> crate::pki::Credential {
    ca.client(&"alice".parse().unwrap(), Options::default()).unwrap()
}

fn revoked(serial: &Serial, reason: Reason) -> Revocation {
    Revocation::new(serial.clone(), reason, OffsetDateTime::now_utc())
}

/// What the verifier of TLS connections says of a client under this list.
fn verdict(
    ca: &Authority,
    client: &crate::pki::Credential,
    list: &[u8],
) -> Result<(), webpki::Error> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let anchor = webpki::anchor_from_trusted_cert(ca.anchor()).unwrap();
    let list = BorrowedCertRevocationList::from_der(list)?;
    let list = CertRevocationList::from(list.to_owned()?);
    let lists = [&list];
    let options = RevocationOptionsBuilder::new(&lists).unwrap();
    let options = options.with_expiration_policy(webpki::ExpirationPolicy::Enforce).build();
    let leaf = webpki::EndEntityCert::try_from(client.certificate()).unwrap();
    let algorithms = provider.signature_verification_algorithms.all;
    let usage = KeyUsage::client_auth();
    leaf.verify_for_usage(algorithms, &[anchor], &[], UnixTime::now(), usage, Some(options), None)
        .map(|_| ())
}

#[test]
fn an_empty_list_has_no_list_of_revoked_certificates() {
    let ca = Authority::ephemeral().unwrap();
    let der = RevocationList::new(7).sign(&ca).unwrap();
    let (rest, list) = X509List::from_der(&der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(list.version(), Some(X509Version(1)), "which is how version 2 is written");
    assert_eq!(list.iter_revoked_certificates().count(), 0);
    // After the dates comes [0], the extensions, and not an empty sequence in between.
    let dates = list.next_update().unwrap();
    assert!(dates.timestamp() > 0);
    assert!(!der.windows(2).any(|bytes| bytes == [0x30, 0x00]));
    assert_eq!(number(&der), Some(7));
    assert!(verdict(&ca, &alice(&ca), &der).is_ok());
}

#[test]
fn a_list_names_the_key_of_its_authority() {
    let ca = Authority::ephemeral().unwrap();
    let der = RevocationList::new(1).sign(&ca).unwrap();
    let (_, list) = X509List::from_der(&der).unwrap();
    let identifiers: Vec<_> = list
        .extensions()
        .iter()
        .filter_map(|extension| {
            let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
                return None;
            };
            id.key_identifier.as_ref().map(|id| id.0.to_vec())
        })
        .collect();
    assert_eq!(identifiers, [ca.key().identifier()]);
}

#[test]
fn a_list_counts_for_thirty_days() {
    let ca = Authority::ephemeral().unwrap();
    let der = RevocationList::new(1).sign(&ca).unwrap();
    let (_, list) = X509List::from_der(&der).unwrap();
    let length = list.next_update().unwrap().timestamp() - list.last_update().timestamp();
    assert_eq!(length, 30 * 86_400 + 300);
}

#[test]
fn a_revoked_certificate_is_refused_and_another_is_not() {
    let ca = Authority::ephemeral().unwrap();
    let (first, second) = (alice(&ca), alice(&ca));
    let list = RevocationList::new(1).revoking(revoked(first.serial(), Reason::KeyCompromise));
    let der = list.sign(&ca).unwrap();
    assert_eq!(verdict(&ca, &first, &der), Err(webpki::Error::CertRevoked));
    assert_eq!(verdict(&ca, &second, &der), Ok(()));
    let (_, list) = X509List::from_der(&der).unwrap();
    let entry = list.iter_revoked_certificates().next().unwrap();
    assert_eq!(entry.reason_code().unwrap().1.0, 1);
}

#[test]
fn an_unspecified_reason_is_left_out() {
    let ca = Authority::ephemeral().unwrap();
    let list = RevocationList::new(1).revoking(revoked(alice(&ca).serial(), Reason::Unspecified));
    let der = list.sign(&ca).unwrap();
    let (_, list) = X509List::from_der(&der).unwrap();
    assert!(list.iter_revoked_certificates().next().unwrap().extensions().is_empty());
}

#[test]
fn a_list_past_its_end_is_refused() {
    let ca = Authority::ephemeral().unwrap();
    let now = OffsetDateTime::now_utc();
    let list = RevocationList::new(1).valid(now - Duration::DAY * 2, now - Duration::DAY);
    let refused = verdict(&ca, &alice(&ca), &list.sign(&ca).unwrap()).unwrap_err();
    assert!(matches!(refused, webpki::Error::CrlExpired { .. }), "{refused:?}");
}

#[test]
fn dates_the_wrong_way_round_are_refused() {
    let ca = Authority::ephemeral().unwrap();
    let now = OffsetDateTime::now_utc();
    let problem = RevocationList::new(1).valid(now, now - Duration::DAY).sign(&ca).unwrap_err();
    assert_eq!(problem.fault(), Fault::CertsCryptography);
}

#[test]
fn a_leaf_signs_no_list() {
    let ca = Authority::ephemeral().unwrap();
    let pretender = Authority::pretender(alice(&ca)).unwrap();
    assert!(RevocationList::new(1).sign(&pretender).is_err());
}

#[test]
fn a_list_of_another_authority_settles_nothing() {
    let (ca, other) = (Authority::ephemeral().unwrap(), Authority::ephemeral().unwrap());
    let der = RevocationList::new(1).sign(&other).unwrap();
    assert_eq!(verdict(&ca, &alice(&ca), &der), Err(webpki::Error::UnknownRevocationStatus));
}

#[test]
fn a_draft_with_a_serial_that_is_revoked_is_refused() {
    let ca = Authority::ephemeral().unwrap();
    let first = alice(&ca);
    let mallory: ClientIdentity = "mallory".parse().unwrap();
    let twin = ca.sign(&Draft::client(&mallory).unwrap().serial(first.serial())).unwrap();
    let list = RevocationList::new(1).revoking(revoked(first.serial(), Reason::Superseded));
    assert_eq!(verdict(&ca, &twin, &list.sign(&ca).unwrap()), Err(webpki::Error::CertRevoked));
}

#[test]
fn openssl_reads_number_reason_and_signature() {
    let Some(tools) = Tools::find("openssl") else { return };
    for key in [KeyType::P256, KeyType::Ed25519, KeyType::Rsa3072] {
        let ca =
            Authority::create(&AuthorityOptions { key, ..AuthorityOptions::default() }).unwrap();
        let list =
            RevocationList::new(300).revoking(revoked(alice(&ca).serial(), Reason::KeyCompromise));
        let text = list.sign_pem(&ca).unwrap();
        let shown =
            String::from_utf8(tools.read(&["crl", "-noout", "-text"], text.as_bytes())).unwrap();
        assert!(shown.contains("Version 2"));
        assert!(shown.contains("X509v3 CRL Number: \n                300"), "{shown}");
        assert!(shown.contains("Key Compromise"));
    }
}

#[test]
fn every_reason_has_a_word() {
    for reason in Reason::ALL {
        assert_eq!(reason.word().parse::<Reason>().unwrap(), reason);
        assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
    }
    assert_eq!("because".parse::<Reason>().unwrap_err().fault(), Fault::CertsBadOption);
}

//! A trust store for Java: PKCS#12 (RFC 7292) with certificates alone, neither encrypted nor sealed.
//!
//! A certificate is no secret, and a password that everybody knows seals nothing: as with PEM, what counts is
//! who may write the file. Without salts, the same certificates always give the same bytes.

use rustls::pki_types::CertificateDer;
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag, construct_der};

const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
const X509_CERTIFICATE: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113_549, 1, 9, 20];
/// Oracle's mark for a certificate that is trusted; without it Java takes it for part of some key's chain.
const TRUSTED_KEY_USAGE: &[u64] = &[2, 16, 840, 1, 113_894, 746_875, 1, 1];
const ANY_USAGE: &[u64] = &[2, 5, 29, 37, 0];

/// A trust store of these authorities, each with its name there.
pub(crate) fn encode(authorities: &[(String, CertificateDer<'static>)]) -> Vec<u8> {
    let bags = construct_der(|writer| {
        writer.write_sequence(|bags| {
            for (name, certificate) in authorities {
                write_bag(bags.next(), name, certificate);
            }
        });
    });
    let safe = construct_der(|writer| {
        writer.write_sequence(|safe| write_data(safe.next(), &bags));
    });
    construct_der(|writer| {
        writer.write_sequence(|whole| {
            whole.next().write_u8(3);
            write_data(whole.next(), &safe);
        });
    })
}

fn write_bag(writer: DERWriter<'_>, name: &str, certificate: &[u8]) {
    writer.write_sequence(|bag| {
        bag.next().write_oid(&oid(CERTIFICATE_BAG));
        bag.next().write_tagged(Tag::context(0), |writer| {
            writer.write_sequence(|content| {
                content.next().write_oid(&oid(X509_CERTIFICATE));
                content
                    .next()
                    .write_tagged(Tag::context(0), |writer| writer.write_bytes(certificate));
            });
        });
        bag.next().write_set_of(|attributes| {
            attributes.next().write_sequence(|attribute| {
                attribute.next().write_oid(&oid(FRIENDLY_NAME));
                attribute.next().write_set_of(|values| values.next().write_bmp_string(name));
            });
            attributes.next().write_sequence(|attribute| {
                attribute.next().write_oid(&oid(TRUSTED_KEY_USAGE));
                attribute.next().write_set_of(|values| values.next().write_oid(&oid(ANY_USAGE)));
            });
        });
    });
}

fn write_data(writer: DERWriter<'_>, bytes: &[u8]) {
    writer.write_sequence(|content| {
        content.next().write_oid(&oid(DATA));
        content.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(bytes));
    });
}

fn oid(numbers: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(numbers)
}

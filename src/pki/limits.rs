//! What an authority's certificate lets it do, read from the certificate itself.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::extensions::{GeneralSubtree, ParsedExtension};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::pki::key::Key;
use crate::pki::name::Subtree;
use crate::pki::profile::Constraints;
use crate::problem::{Fault, Problem};

/// The limits of an authority.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    signs_certificates: bool,
    public_bits: Vec<u8>,
    not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    /// How many authorities may stand between it and a leaf; nothing means any number.
    pub(crate) below: Option<u32>,
    pub(crate) constraints: Constraints,
    pub(crate) key_identifier: Vec<u8>,
}

impl Limits {
    /// Reads a certificate, and judges nothing yet.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, Problem> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| unfit("it cannot be parsed"))?;
        let basic = certificate
            .basic_constraints()
            .map_err(|_| unfit("its basic constraints are unreadable"))?;
        let usage = certificate.key_usage().map_err(|_| unfit("its key usage is unreadable"))?;
        let names = certificate
            .name_constraints()
            .map_err(|_| unfit("its name constraints are unreadable"))?;
        let permitted = names.as_ref().and_then(|names| names.value.permitted_subtrees.as_ref());
        let public_bits = certificate.public_key().subject_public_key.data.to_vec();
        let validity = certificate.validity();
        Ok(Self {
            signs_certificates: basic.as_ref().is_some_and(|basic| basic.value.ca)
                && usage.is_none_or(|usage| usage.value.key_cert_sign()),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            below: basic.and_then(|basic| basic.value.path_len_constraint),
            constraints: permitted.map_or_else(Constraints::unconstrained, |permitted| {
                Constraints::of(permitted.iter().filter_map(host_subtree).collect())
            }),
            key_identifier: subject_key_identifier(&certificate)
                .unwrap_or_else(|| crate::pki::key::identifier_of(&public_bits)),
            public_bits,
        })
    }

    /// Whether the certificate is an authority's, valid now, and belongs to the key.
    pub(crate) fn check(&self, key: &Key, now: OffsetDateTime) -> Result<(), Problem> {
        self.check_role()?;
        if self.public_bits != key.public_bits() {
            let message = "the private key does not belong to the authority's certificate";
            let remedy =
                "put back the key that was made with the certificate, or make a new authority";
            return Err(Problem::error(Fault::CertsKeyMismatch, message, remedy));
        }
        self.check_dates(now)
    }

    /// Whether the certificate is an authority's and valid now, wherever its key is.
    pub(crate) fn check_alone(&self, now: OffsetDateTime) -> Result<(), Problem> {
        self.check_role()?;
        self.check_dates(now)
    }

    fn check_role(&self) -> Result<(), Problem> {
        if self.signs_certificates {
            return Ok(());
        }
        Err(unfit("it lacks CA:TRUE in its basic constraints, or keyCertSign in its key usage"))
    }

    fn check_dates(&self, now: OffsetDateTime) -> Result<(), Problem> {
        if now >= self.not_before && now <= self.not_after {
            return Ok(());
        }
        let message =
            format!("the authority is valid from {} to {} only", self.not_before, self.not_after);
        let remedy = "make a new authority in another directory and hand out its trust.pem, or set the clock right";
        Err(Problem::error(Fault::CertsAuthorityExpired, message, remedy))
    }
}

/// The certificate cannot sign others, and why.
pub(crate) fn unfit(reason: &str) -> Problem {
    let message = format!("the certificate is not fit for an authority: {reason}");
    Problem::error(
        Fault::CertsNotAuthority,
        message,
        "use the certificate of an authority, such as ca/ca.crt of a store",
    )
}

fn subject_key_identifier(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| {
        if let ParsedExtension::SubjectKeyIdentifier(identifier) = extension.parsed_extension() {
            return Some(identifier.0.to_vec());
        }
        None
    })
}

/// A subtree that concerns hosts. The other kinds are judged by the verifier when something is issued.
fn host_subtree(subtree: &GeneralSubtree<'_>) -> Option<Subtree> {
    if let GeneralName::DNSName(name) = &subtree.base {
        let name = name.trim_start_matches('.');
        return Some(Subtree::Dns(name.to_ascii_lowercase()));
    }
    let GeneralName::IPAddress(bytes) = &subtree.base else { return None };
    // An address and its mask: 8 bytes for IPv4, 32 for IPv6 (RFC 5280 section 4.2.1.10).
    if let Ok(bytes) = <[u8; 8]>::try_from(*bytes) {
        let [a, b, c, d, mask @ ..] = bytes;
        let net = Ipv4Net::with_netmask(Ipv4Addr::new(a, b, c, d), Ipv4Addr::from(mask)).ok()?;
        return Some(Subtree::Net(IpNet::V4(net)));
    }
    let (address, mask) = bytes.split_first_chunk::<16>()?;
    let mask = <[u8; 16]>::try_from(mask).ok()?;
    let net = Ipv6Net::with_netmask(Ipv6Addr::from(*address), Ipv6Addr::from(mask)).ok()?;
    Some(Subtree::Net(IpNet::V6(net)))
}

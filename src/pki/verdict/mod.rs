//! The verdict on a chain: what rustls says of it, and what this program asks beyond that.

mod foreseen;
mod objection;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use webpki::{CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationOptions};
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub use foreseen::Foreseen;
pub use objection::{Objected, Objection};

use crate::pki::name::HostName;
use crate::pki::reading::{self, Claim, KeyKind};

/// Whether a chain would be believed, by whom, and for what.
#[derive(Debug)]
pub struct Question<'a> {
    /// What the certificate is shown for.
    pub purpose: Purpose,
    /// Whom the other side trusts.
    pub trust: &'a [CertificateDer<'static>],
    /// The revocation lists it has; with one, every issuer needs one.
    pub lists: &'a [CertificateRevocationListDer<'static>],
    /// The private key that goes with the chain, if it is to be judged as well.
    pub key: Option<&'a PrivateKeyDer<'static>>,
    /// The moment.
    pub now: OffsetDateTime,
}

/// What a certificate is shown for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It stands for a server, of this name if one is asked for.
    Server(Option<HostName>),
    /// It stands for a client.
    Client,
}

impl Question<'_> {
    /// Judges a chain, its own certificate first.
    ///
    /// # Errors
    /// The first objection, and whose it is.
    pub fn judge(&self, chain: &[CertificateDer<'static>]) -> Result<(), Objected> {
        let Some((leaf, above)) = chain.split_first() else {
            return Err(Objection::Malformed.ours("there is no certificate"));
        };
        let anchors = self.anchors()?;
        self.ask_webpki(leaf, above, &anchors)?;
        self.ask_ourselves(leaf, above)?;
        match self.key {
            Some(key) => ask_the_key(chain, key),
            None => Ok(()),
        }
    }

    /// The certificates of `trust` that may vouch for anybody now; webpki never looks at that.
    fn anchors(&self) -> Result<Vec<CertificateDer<'static>>, Objected> {
        let mut anchors = Vec::new();
        for der in self.trust {
            let anchor = parse(der)?;
            let validity = anchor.validity();
            let now = self.now.unix_timestamp();
            let may_sign = anchor.is_ca()
                && reading::key_usage(&anchor).is_none_or(|usage| usage.key_cert_sign());
            if !may_sign {
                return Err(Objection::BadAnchor.ours("a trusted certificate is no authority's"));
            }
            if (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now) {
                anchors.push(der.clone());
            }
        }
        if anchors.is_empty() {
            return Err(Objection::BadAnchor.ours("no trusted authority is valid now"));
        }
        Ok(anchors)
    }

    fn ask_webpki(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        anchors: &[CertificateDer<'static>],
    ) -> Result<(), Objected> {
        let trusted: Result<Vec<_>, _> =
            anchors.iter().map(webpki::anchor_from_trusted_cert).collect();
        let trusted = trusted.map_err(|error| Objection::of(&error))?;
        let lists: Result<Vec<_>, _> = self
            .lists
            .iter()
            .map(|der| OwnedCertRevocationList::from_der(der).map(CertRevocationList::Owned))
            .collect();
        let lists = lists.map_err(|error| Objection::BadList.theirs(&error.to_string()))?;
        let lists: Vec<_> = lists.iter().collect();
        let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|error| Objection::of(&error))?;
        let usage = match self.purpose {
            Purpose::Server(_) => webpki::KeyUsage::server_auth(),
            Purpose::Client => webpki::KeyUsage::client_auth(),
        };
        let seconds = u64::try_from(self.now.unix_timestamp()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let algorithms = default_provider().signature_verification_algorithms.all;
        let path = leaf
            .verify_for_usage(algorithms, &trusted, above, now, usage, revocation(&lists), None)
            .map_err(|error| Objection::of(&error))?;
        let anchor = trusted.iter().position(|anchor| anchor == path.anchor());
        let anchor = anchor.and_then(|at| anchors.get(at));
        bound_path(anchor, path.intermediate_certificates().count())?;
        let Purpose::Server(Some(name)) = &self.purpose else { return Ok(()) };
        let text =
            name.ip().map_or_else(|| name.dns().unwrap_or("").to_owned(), |ip| ip.to_string());
        let wanted = ServerName::try_from(text.as_str())
            .map_err(|_| Objection::WrongName.theirs("the name cannot be looked up"))?;
        leaf.verify_is_valid_for_subject_name(&wanted).map_err(|error| Objection::of(&error))
    }

    /// What webpki leaves out and this program asks (RFC 5280 sections 4.2.1.3, 4.2.1.12).
    fn ask_ourselves(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
    ) -> Result<(), Objected> {
        let parsed = parse(leaf)?;
        let says_client = matches!(Claim::of(&parsed), Claim::Client | Claim::Both);
        if self.purpose == Purpose::Client && !says_client {
            return Err(Objection::WrongRole.ours("it does not say that it is for clients"));
        }
        if reading::key_usage(&parsed).is_some_and(|usage| !usage.digital_signature()) {
            return Err(Objection::KeyUsage.ours("it lacks digitalSignature"));
        }
        let weak = |parsed: &X509Certificate<'_>| KeyKind::of(parsed.public_key()).is_weak();
        if weak(&parsed) {
            return Err(Objection::WeakKey.ours("its own key is weak"));
        }
        for der in above {
            let issuer = parse(der)?;
            if issuer.is_ca()
                && reading::key_usage(&issuer).is_some_and(|usage| !usage.key_cert_sign())
            {
                return Err(Objection::KeyUsage.ours("an authority in the chain lacks keyCertSign"));
            }
            if weak(&issuer) {
                return Err(Objection::WeakKey.ours("an authority's key is weak"));
            }
        }
        Ok(())
    }
}

/// webpki never looks at how many authorities an anchor may have below it (RFC 5280 section 4.2.1.9).
fn bound_path(anchor: Option<&CertificateDer<'_>>, between: usize) -> Result<(), Objected> {
    let Some(anchor) = anchor.map(parse).transpose()? else { return Ok(()) };
    let most = anchor.basic_constraints().ok().flatten();
    let most = most.and_then(|basic| basic.value.path_len_constraint);
    match most.map(usize::try_from) {
        Some(Ok(most)) if between > most => {
            Err(Objection::Constraint.ours("the root may not have so many authorities below it"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The whole chain, closed: an issuer without a list, or with one that is past, is refused.
fn revocation<'a>(lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let builder = webpki::RevocationOptionsBuilder::new(lists).ok()?;
    Some(builder.with_expiration_policy(ExpirationPolicy::Enforce).build())
}

fn ask_the_key(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), Objected> {
    CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &default_provider())
        .map(|_usable| ())
        .map_err(|error| Objection::KeyMismatch.theirs(&error.to_string()))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Objected> {
    X509Certificate::from_der(der)
        .map(|(_, parsed)| parsed)
        .map_err(|_| Objection::Malformed.ours("a certificate cannot be parsed"))
}

#[cfg(test)]
mod tests;

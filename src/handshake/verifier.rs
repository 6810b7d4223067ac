//! The verifier: what webpki checks, and what it does not look at.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::presented::{self, LONGEST_CERTIFICATE, Presented};
use super::remembered::{self, Remembered, Span};
use super::trust::DepthLimit;
use crate::refusal::{Refusal, Refused};

/// Verifies client certificates: bounds first, then webpki, then key usage.
///
/// webpki never looks at a trust anchor's dates, so there is one webpki verifier for each time span in
/// which the set of valid anchors is the same. An anchor ends when it says so, without a restart.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Ordered by time. Never empty.
    spans: Vec<AnchorSpan>,
    limits: Vec<DepthLimit>,
    last: Arc<dyn ClientCertVerifier>,
    /// When the first of the revocation lists ends.
    lists_end: Option<UnixTime>,
    remembered: Remembered,
}

/// Until when which anchors are valid.
#[derive(Debug)]
pub(super) struct AnchorSpan {
    pub(super) until: UnixTime,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
}

impl Verifier {
    /// A verifier for these spans; `last` answers what does not depend on time.
    pub(super) fn new(
        spans: Vec<AnchorSpan>,
        limits: Vec<DepthLimit>,
        last: Arc<dyn ClientCertVerifier>,
        lists_end: Option<UnixTime>,
    ) -> Self {
        Self { spans, limits, last, lists_end, remembered: Remembered::default() }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        bound_chain(chain).map_err(own)?;
        let presented = Presented::read(leaf).map_err(own)?;
        note(presented);
        let span = self.spans.iter().find(|span| now.as_secs() <= span.until.as_secs());
        let Some(span) = span else {
            let expired = Refusal::HandshakeUnknownAuthority;
            return Err(own(expired.because("every authority in clients has expired")));
        };
        let digest = remembered::digest(leaf, chain);
        if self.remembered.holds(&digest, now) {
            return Ok(ClientCertVerified::assertion());
        }
        let verified = span.verifier.verify_client_cert(leaf, chain, now)?;
        let chain_ends = self.check_the_rest(leaf, chain).map_err(own)?;
        let ends = [Some(span.until), self.lists_end].into_iter().flatten();
        let until = ends.fold(chain_ends, std::cmp::min);
        self.remembered.keep(digest, Span { from: now, until });
        Ok(verified)
    }

    /// What webpki leaves out, each certificate parsed once; and when the first of them ends.
    fn check_the_rest(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) -> Result<UnixTime, Refused> {
        let leaf = parse(leaf)?;
        let chain = chain.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        check_usage(&leaf, &chain)?;
        self.check_depth(&leaf, &chain)?;
        let end = |one: &X509Certificate<'_>| one.validity().not_after.timestamp();
        let first = chain.iter().map(end).fold(end(&leaf), i64::min);
        let seconds = u64::try_from(first).unwrap_or(0);
        Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }

    /// webpki never looks at how many authorities an anchor may have below it. It has verified that there
    /// is a path; this follows it by name, as webpki does.
    fn check_depth(
        &self,
        leaf: &X509Certificate<'_>,
        chain: &[X509Certificate<'_>],
    ) -> Result<(), Refused> {
        let mut issuer = leaf.issuer().as_raw();
        for between in 0..=u32::try_from(chain.len()).unwrap_or(u32::MAX) {
            let mut anchors = self.limits.iter().filter(|limit| limit.subject == issuer).peekable();
            if anchors.peek().is_some() {
                let fits = anchors.any(|limit| limit.below.is_none_or(|most| between <= most));
                let deep = || format!("{between} authorities below one that may have fewer");
                return fits
                    .then_some(())
                    .ok_or_else(|| Refusal::HandshakeConstraint.because(deep()));
            }
            let above = chain.iter().find(|certificate| certificate.subject().as_raw() == issuer);
            issuer = above.map_or(&[][..], |certificate| certificate.issuer().as_raw());
        }
        Err(Refusal::HandshakeConstraint.because("the path to an authority cannot be followed"))
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.last.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.last.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.last.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.last.supported_verify_schemes()
    }
}

/// Refuses a chain that is too large to be looked at.
pub(super) fn bound_chain(chain: &[CertificateDer<'_>]) -> Result<(), Refused> {
    if chain.len() >= LONGEST_CHAIN {
        let count = chain.len().saturating_add(1);
        return Err(Refusal::HandshakeOversized.because(format!("{count} certificates")));
    }
    match chain.iter().find(|certificate| certificate.len() > LONGEST_CERTIFICATE) {
        Some(large) => {
            Err(Refusal::HandshakeOversized
                .because(format!("a certificate of {} bytes", large.len())))
        }
        None => Ok(()),
    }
}

/// What webpki leaves out: a leaf must say that it is for clients and may sign; whoever issues
/// certificates must be allowed to; and nothing unreadable rides along (RFC 5280 sections 4.2.1.3, 4.2.1.12).
fn check_usage(leaf: &X509Certificate<'_>, chain: &[X509Certificate<'_>]) -> Result<(), Refused> {
    if !presented::is_for_clients(leaf) {
        return Err(Refusal::HandshakeWrongUsage.because("no extended key usage clientAuth"));
    }
    if let Some(usage) = key_usage(leaf)?
        && !usage.digital_signature()
    {
        return Err(
            Refusal::HandshakeKeyUsage.because("the client's certificate lacks digitalSignature")
        );
    }
    for issuer in chain {
        if let Some(usage) = key_usage(issuer)?
            && issuer.is_ca()
            && !usage.key_cert_sign()
        {
            return Err(
                Refusal::HandshakeKeyUsage.because("an authority in the chain lacks keyCertSign")
            );
        }
    }
    Ok(())
}

fn key_usage(
    certificate: &X509Certificate<'_>,
) -> Result<Option<x509_parser::extensions::KeyUsage>, Refused> {
    let malformed = |_| Refusal::HandshakeBadCertificate.because("the key usage cannot be parsed");
    let extension = certificate.key_usage().map_err(malformed)?;
    Ok(extension.map(|extension| *extension.value))
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Refused> {
    let malformed =
        |_| Refusal::HandshakeBadCertificate.because("the chain holds something unreadable");
    X509Certificate::from_der(certificate).map(|(_, parsed)| parsed).map_err(malformed)
}

/// Our own verdict in the words of rustls, so that it comes back whole and the client gets an alert.
pub(super) fn own(refused: Refused) -> Error {
    CertificateError::Other(OtherError(Arc::new(refused))).into()
}

tokio::task_local! {
    /// Where the verifier leaves the certificate it looked at. rustls gives a rejected one to nobody
    /// else, and the operator wants to know whose it was.
    static DESK: RefCell<Option<Presented>>;
}

/// Runs a handshake and gives back the certificate that was shown in it, believed or not.
pub(super) async fn noting<F: Future>(handshake: F) -> (F::Output, Option<Presented>) {
    DESK.scope(RefCell::new(None), async {
        let output = handshake.await;
        (output, DESK.with(RefCell::take))
    })
    .await
}

fn note(presented: Presented) {
    // Outside of `noting`, as in a test that calls the verifier by hand, nobody asks for it.
    drop(DESK.try_with(|desk| desk.replace(Some(presented))));
}

/// Leaf, up to four intermediates, and a root that need not be sent.
const LONGEST_CHAIN: usize = 6;

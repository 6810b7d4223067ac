//! The dialling side of a handshake: what we show, whom we believe, and no session used twice.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::load::{SOON, TLS13_ONLY, provider};
use super::presented::{Pin, Presented};
use super::reasons::date;
use super::trust::{self, Anchor};
use super::verifier::{bound_chain, own};
use crate::pki::keyfile::{read_chain, read_key};
use crate::place::Written;
use crate::problem::{Fault, Problem, Severity};

/// What is needed to dial a server over mutual TLS, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialSettings {
    /// The chain to show, the own certificate first.
    pub certificate: Written<PathBuf>,
    /// The private key of that certificate.
    pub key: Written<PathBuf>,
    /// The authorities that may vouch for the server.
    pub trust: Written<PathBuf>,
    /// The name that the server's certificate must hold.
    pub name: ServerName<'static>,
    /// The public key that the server's certificate must hold, in addition to all the rest.
    pub pin: Option<Pin>,
}

/// Ready to dial: every file read and checked. The server is always verified, TLS is 1.3, and no session
/// is resumed.
#[derive(Clone)]
pub struct Dialler {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Dialler {
    /// Reads and checks every file the settings name; with warnings.
    ///
    /// # Errors
    /// Every problem at once, each at its place: a file that is missing or half-readable, a key that
    /// others may read or that is not the certificate's, a certificate that is expired or not for
    /// clients, an authority that is none.
    pub fn load(
        settings: &DialSettings,
        now: UnixTime,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut problems = Vec::new();
        let verifier = believed(settings, now, &mut problems);
        let shown = shown(settings, now, &mut problems);
        let refused = problems.iter().any(|problem| problem.severity() == Severity::Error);
        let (Some(verifier), Some(shown), false) = (verifier, shown, refused) else {
            return Err(problems);
        };
        let unusable = |error: Error| {
            vec![unusable(&settings.certificate.value, &error).at(&settings.certificate.place)]
        };
        let config = config(Arc::new(verifier), shown, TLS13_ONLY).map_err(unusable)?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok((Self { connector, name: settings.name.clone() }, problems))
    }

    /// Performs the handshake on a connected stream. It has no deadline of its own.
    ///
    /// # Errors
    /// What rustls or the stream says; a [`rustls::Error`] inside where it is TLS that failed.
    pub async fn perform<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.connector.connect(self.name.clone(), stream).await
    }
}

/// It prints nothing of its keys.
impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialler").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A chain with its key, which must belong together. Problems name the files.
pub(crate) fn paired(
    certificate: &Path,
    chain: Vec<CertificateDer<'static>>,
    key: &Path,
    secret: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, Problem> {
    CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| {
        if !matches!(error, Error::InconsistentKeys(_)) {
            return unusable(certificate, &error);
        }
        Problem::error(
            Fault::HandshakeKeyMismatch,
            format!("{} is not the key of {}", key.display(), certificate.display()),
            "name the key that the certificate was made for",
        )
    })
}

/// TLS for dialling: shows `own`, believes `verifier` alone, never resumes a session.
pub(crate) fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    own: CertifiedKey,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What is said where a certificate that is to be shown cannot be used.
pub(crate) fn unusable(certificate: &Path, error: &Error) -> Problem {
    let what = format!("{} or its key cannot be used: {error}", certificate.display());
    let remedy = "use a certificate with an ECDSA, Ed25519 or RSA key";
    Problem::error(Fault::HandshakeUnreadable, what, remedy)
}

fn shown(
    settings: &DialSettings,
    now: UnixTime,
    problems: &mut Vec<Problem>,
) -> Option<CertifiedKey> {
    let Written { value: certificate, place } = &settings.certificate;
    let Written { value: key, place: key_place } = &settings.key;
    let chain = keep(read_chain(certificate).map_err(|problem| problem.at(place)), problems);
    let secret = keep(read_key(key).map_err(|problem| problem.at(key_place)), problems);
    let (chain, secret) = (chain?, secret?);
    problems.extend(flaw(chain.first()?, now).map(|problem| problem.at(place)));
    keep(paired(certificate, chain, key, secret).map_err(|problem| problem.at(key_place)), problems)
}

/// Why a server would not believe the certificate, or will not soon.
fn flaw(leaf: &CertificateDer<'_>, now: UnixTime) -> Option<Problem> {
    let fault = Fault::ServiceUpstreamCertificate;
    let renew = "renew the certificate that is shown to the upstream";
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let usage = parsed.extended_key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
        let remedy = "issue a client certificate: extended key usage clientAuth";
        return Some(Problem::error(fault, "the certificate is not for clients", remedy));
    }
    let until = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let Some(left) = until.checked_sub(now.as_secs()) else {
        let what = format!("the certificate ended on {}", date(until));
        return Some(Problem::error(fault, what, renew));
    };
    (left < SOON.as_secs())
        .then(|| Problem::warning(fault, format!("the certificate ends on {}", date(until)), renew))
}

fn believed(
    settings: &DialSettings,
    now: UnixTime,
    problems: &mut Vec<Problem>,
) -> Option<Believed> {
    let Written { value: path, place } = &settings.trust;
    let bundle = keep(read_chain(path).map_err(|problem| problem.at(place)), problems)?;
    let (anchors, unfit) = trust::anchors(bundle, now);
    problems.extend(unfit.into_iter().map(|problem| problem.at(place)));
    match spans(anchors) {
        Ok(spans) => Some(Believed { spans, pin: settings.pin }),
        Err(error) => {
            let remedy = "name only certificates of authorities";
            problems.push(Problem::error(Fault::HandshakeBadAnchor, error, remedy).at(place));
            None
        }
    }
}

/// One webpki verifier for each time span in which the same anchors are valid.
fn spans(mut anchors: Vec<Anchor>) -> Result<Vec<Span>, String> {
    anchors.sort_by_key(|anchor| anchor.until.as_secs());
    let mut spans = Vec::new();
    let mut rest = anchors.as_slice();
    while let Some((first, later)) = rest.split_first() {
        let mut roots = RootCertStore::empty();
        for anchor in rest {
            roots.add(anchor.certificate.clone()).map_err(|error| error.to_string())?;
        }
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = builder.build().map_err(|error| error.to_string())?;
        spans.push(Span { until: first.until, verifier });
        rest = later;
    }
    Ok(spans)
}

fn keep<T>(read: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    read.map_err(|problem| problems.push(problem)).ok()
}

/// Whom we believe to be the server: bounds first, then webpki, then the pin.
///
/// As for clients, an authority ends when it says so, which webpki never looks at.
#[derive(Debug)]
struct Believed {
    /// Ordered by time.
    spans: Vec<Span>,
    pin: Option<Pin>,
}

/// Until when which anchors are valid.
#[derive(Debug)]
struct Span {
    until: UnixTime,
    verifier: Arc<WebPkiServerVerifier>,
}

/// The chain is good, and the key another one.
#[derive(Debug, thiserror::Error)]
#[error("its public key is {0}, not the pinned one")]
struct WrongPin(Pin);

impl Believed {
    fn last(&self) -> Result<&WebPkiServerVerifier, Error> {
        let last = self.spans.last().map(|span| &*span.verifier);
        last.ok_or_else(|| Error::General("no authority".to_owned()))
    }
}

impl ServerCertVerifier for Believed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        bound_chain(intermediates).map_err(own)?;
        let presented = Presented::read(end_entity).map_err(own)?;
        let span = self.spans.iter().find(|span| now.as_secs() <= span.until.as_secs());
        let span = span.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let verified = span.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        match self.pin {
            Some(pin) if pin != presented.pin() => {
                let wrong = OtherError(Arc::new(WrongPin(presented.pin())));
                Err(Error::InvalidCertificate(CertificateError::Other(wrong)))
            }
            Some(_) | None => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.last()?.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.last()?.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.last().map(WebPkiServerVerifier::supported_verify_schemes).unwrap_or_default()
    }
}

//! From the files of `[handshake]` to a room that is ready, or every reason why not.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::reasons::date;
use super::trust::{self, Anchor};
use super::verifier::{AnchorSpan, Verifier};
use super::{
    Acceptor, Ending, Handshake, HandshakeSettings, Hints, Preamble, Validity, Versions, crl,
};
use crate::pki::keyfile::{read_chain, read_crls, read_key};
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem, Severity};

/// A room that is ready, and what its operator should still know.
#[derive(Debug)]
pub struct Loaded {
    /// The room.
    pub handshake: Handshake,
    /// Warnings, each at its place.
    pub warnings: Vec<Problem>,
}

impl Handshake {
    /// Reads and checks every file the settings name.
    ///
    /// # Errors
    /// Every problem at once, warnings among them. A file that is missing, half-readable, or readable
    /// by too many refuses; so does a certificate that clients would reject.
    pub fn load(settings: &HandshakeSettings, now: UnixTime) -> Result<Loaded, Vec<Problem>> {
        Self::prepare(settings, None, now)
    }

    /// The same room with these revocation lists in place of the files in `crl`, of which one must be named.
    pub(crate) fn load_with_lists(
        settings: &HandshakeSettings,
        lists: Vec<CertificateRevocationListDer<'static>>,
        now: UnixTime,
    ) -> Result<Loaded, Vec<Problem>> {
        let place = Place::in_code("a list in memory");
        let lists = lists.into_iter().map(|list| Written::new(list, place.clone())).collect();
        Self::prepare(settings, Some(lists), now)
    }

    fn prepare(
        settings: &HandshakeSettings,
        lists: Option<Lists>,
        now: UnixTime,
    ) -> Result<Loaded, Vec<Problem>> {
        let provider = provider();
        let mut problems = Vec::new();
        let own = own_key(settings, &provider, now, &mut problems);
        let verifier = verifier(settings, lists, &provider, now, &mut problems);
        let refused = problems.iter().any(|problem| problem.severity() == Severity::Error);
        let (Some((own, ends)), Some((verifier, mut endings)), false) = (own, verifier, refused)
        else {
            return Err(problems);
        };
        let of = Validity::ServerCertificate;
        endings.insert(
            0,
            Ending { of, name: settings.certificate.value.display().to_string(), at: ends },
        );
        let unusable = |error: rustls::Error| {
            let remedy = "this is a fault of the build, not of the configuration";
            vec![Problem::error(Fault::HandshakeBadCertificate, error.to_string(), remedy)]
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(settings.versions))
            .map_err(unusable)?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        // A resumed session would skip the verifier: no tickets, no store, for either version.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        let acceptor = Acceptor::new(config);
        let deadline = settings.deadline;
        let handshake = Handshake {
            acceptor,
            verifier,
            deadline,
            preamble: Preamble::None,
            endings: endings.into(),
        };
        Ok(Loaded { handshake, warnings: problems })
    }
}

/// The one crypto provider, aws-lc-rs, with the hybrid post-quantum group X25519MLKEM768 first.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn versions(versions: Versions) -> &'static [&'static SupportedProtocolVersion] {
    match versions {
        Versions::Tls13Only => TLS13_ONLY,
        Versions::Tls12And13 => TLS12_AND_13,
    }
}

/// The server's certificate with its key, and when it ends.
fn own_key(
    settings: &HandshakeSettings,
    provider: &CryptoProvider,
    now: UnixTime,
    problems: &mut Vec<Problem>,
) -> Option<(CertifiedKey, UnixTime)> {
    let Written { value: path, place } = &settings.certificate;
    let chain = keep(read_chain(path).map_err(|problem| problem.at(place)), problems);
    let key_place = &settings.key.place;
    let key =
        keep(read_key(&settings.key.value).map_err(|problem| problem.at(key_place)), problems);
    let (chain, key) = (chain?, key?);
    let expires = match own_certificate(&chain, now) {
        Ok((expires, warning)) => {
            problems.extend(warning.map(|warning| warning.at(place)));
            expires
        }
        Err(problem) => {
            problems.push(problem.at(place));
            return None;
        }
    };
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(own) => Some((own, expires)),
        Err(error) => {
            problems.push(unfit_key(&error).at(key_place));
            None
        }
    }
}

fn unfit_key(error: &rustls::Error) -> Problem {
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        return Problem::error(
            Fault::HandshakeKeyMismatch,
            "the private key does not belong to the first certificate of the chain",
            "name the key that was made with that certificate; the server's own certificate comes first",
        );
    }
    Problem::error(
        Fault::HandshakeUnreadable,
        format!("the private key cannot be used: {error}"),
        "use an ECDSA P-256 or P-384, Ed25519, or RSA key of at least 2,048 bits in PKCS#8",
    )
}

/// When the server's certificate ends, and whether that is soon.
fn own_certificate(
    chain: &[CertificateDer<'static>],
    now: UnixTime,
) -> Result<(UnixTime, Option<Problem>), Problem> {
    let bad = |why: &str| {
        let remedy =
            "issue a server certificate: extended key usage serverAuth, the host among its names";
        Problem::error(Fault::HandshakeBadCertificate, why, remedy)
    };
    let leaf = chain.first().ok_or_else(|| bad("the chain is empty"))?;
    let (_, leaf) = X509Certificate::from_der(leaf)
        .map_err(|_| bad("the server's certificate cannot be parsed"))?;
    if leaf.is_ca() {
        return Err(bad("the first certificate of the chain is an authority's, not the server's"));
    }
    if !is_for_servers(&leaf) {
        return Err(bad("the certificate is not for servers, so every client would reject it"));
    }
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let from = seconds(leaf.validity().not_before);
    let until = seconds(leaf.validity().not_after);
    let renew = "renew the server's certificate";
    if now.as_secs() < from {
        let message = format!("the server's certificate is not valid before {}", date(from));
        return Err(Problem::error(
            Fault::HandshakeCertificateExpires,
            message,
            "compare the clocks",
        ));
    }
    let Some(left) = until.checked_sub(now.as_secs()) else {
        let message = format!("the server's certificate ended on {}", date(until));
        return Err(Problem::error(Fault::HandshakeCertificateExpires, message, renew));
    };
    let warning = (left < SOON.as_secs()).then(|| {
        let message = format!("the server's certificate ends on {}", date(until));
        Problem::warning(Fault::HandshakeCertificateExpires, message, renew)
    });
    Ok((UnixTime::since_unix_epoch(Duration::from_secs(until)), warning))
}

/// A certificate without extended key usage is for anything; one with it must name serverAuth.
fn is_for_servers(leaf: &X509Certificate<'_>) -> bool {
    match leaf.extended_key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.server_auth || usage.value.any),
        Err(_) => false,
    }
}

fn verifier(
    settings: &HandshakeSettings,
    given: Option<Lists>,
    provider: &Arc<CryptoProvider>,
    now: UnixTime,
    problems: &mut Vec<Problem>,
) -> Option<(Arc<dyn ClientCertVerifier>, Vec<Ending>)> {
    let Written { value: path, place } = &settings.clients;
    let bundle = keep(read_chain(path).map_err(|problem| problem.at(place)), problems)?;
    let (anchors, unfit) = trust::anchors(bundle, now);
    problems.extend(unfit.into_iter().map(|problem| problem.at(place)));
    let lists = given.unwrap_or_else(|| lists(settings, problems));
    let mut endings: Vec<_> = anchors.iter().map(Anchor::ending).collect();
    let lists = if settings.crl.is_empty() {
        Vec::new()
    } else {
        let newest = crl::newest(lists, &anchors, provider, now);
        let crl_place = settings.crl.first().map_or(place, |crl| &crl.place);
        problems.extend(newest.problems.into_iter().map(|problem| problem.at(crl_place)));
        endings.extend(newest.endings);
        newest.lists
    };
    let crl_place = settings.crl.first().map_or(place, |crl| &crl.place);
    let explained = problems.iter().any(|problem| problem.severity() == Severity::Error);
    if !settings.crl.is_empty() && lists.is_empty() && !explained {
        // Without a list webpki would check no revocation at all.
        let remedy = "publish a list with the authority that is named in clients";
        let what = "crl is configured, but no list in it can be believed";
        problems.push(Problem::error(Fault::HandshakeBadCrl, what, remedy).at(crl_place));
    }
    let lists_end = endings.iter().filter(|ending| ending.of == Validity::RevocationList);
    let lists_end = lists_end.map(|ending| ending.at).min();
    match spans(anchors, (&lists, lists_end), settings, provider) {
        Ok(verifier) => verifier.map(|verifier| (verifier, endings)),
        Err(error) => {
            let remedy = "publish the lists again, and name only certificates of authorities";
            problems.push(Problem::error(Fault::HandshakeBadCrl, error, remedy).at(crl_place));
            None
        }
    }
}

type Lists = Vec<Written<CertificateRevocationListDer<'static>>>;

fn lists(settings: &HandshakeSettings, problems: &mut Vec<Problem>) -> Lists {
    let mut lists = Vec::new();
    for Written { value: path, place } in &settings.crl {
        let read = keep(read_crls(path).map_err(|problem| problem.at(place)), problems);
        lists.extend(read.into_iter().flatten().map(|list| Written::new(list, place.clone())));
    }
    lists
}

/// One webpki verifier for each time span in which the same anchors are valid.
fn spans(
    mut anchors: Vec<Anchor>,
    (lists, lists_end): (&[CertificateRevocationListDer<'static>], Option<UnixTime>),
    settings: &HandshakeSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    anchors.sort_by_key(|anchor| anchor.until.as_secs());
    let limits = anchors.iter().map(|anchor| anchor.limit.clone()).collect();
    let mut spans = Vec::new();
    let mut rest = anchors.as_slice();
    while let Some((first, later)) = rest.split_first() {
        let verifier = webpki_verifier(rest, lists, settings, provider)?;
        spans.push(AnchorSpan { until: first.until, verifier });
        rest = later;
    }
    let Some(widest) = spans.first().map(|span| Arc::clone(&span.verifier)) else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Verifier::new(spans, limits, widest, lists_end))))
}

fn webpki_verifier(
    anchors: &[Anchor],
    lists: &[CertificateRevocationListDer<'static>],
    settings: &HandshakeSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.certificate.clone()).map_err(|error| error.to_string())?;
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if settings.hints == Hints::Hidden {
        builder = builder.clear_root_hint_subjects();
    }
    if !settings.crl.is_empty() {
        builder = builder.with_crls(lists.iter().cloned()).enforce_revocation_expiration();
    }
    builder.build().map_err(|error| error.to_string())
}

fn keep<T>(read: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    read.map_err(|problem| problems.push(problem)).ok()
}

pub(super) static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&version::TLS13];
static TLS12_AND_13: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// As long as public authorities' shortest certificates last half their life.
pub(super) const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

//! 13, the certificate clinic: nine servers, eight complaints, and a strict client today, soon and later.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use doorward::handshake::provider;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::lab::clinic::{Clinic, Patient, School};
use crate::lab::host::{Host, Manners};
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let clinic: Clinic = match stage.read_toml("clinic.toml") {
        Ok(clinic) => clinic,
        Err(Stop::Yours(why)) => return Ok(Findings::not_started(&why)),
        Err(stop) => return Err(stop),
    };
    let school = School::new()?;
    let mut seen = Vec::new();
    for case in &CASES {
        let Some(now) = clinic.patient.iter().find(|one| one.name == case.name) else {
            return Ok(Findings::not_started(&format!("clinic.toml has no patient {}", case.name)));
        };
        let manners = Manners { papers: Some(school.shown(now)?), reply: b"well\n".to_vec() };
        let host = Host::open(stage, HERE, manners).await?;
        let mut visits = Vec::new();
        for days in [0, SOON, LATER] {
            visits.push(visit(stage, &host, &school, case.name, days).await?);
        }
        seen.push(Seen { case, now: now.clone(), visits });
    }
    Ok(judge(&seen))
}

/// A patient, and which field of its certificate is wrong.
struct Case {
    name: &'static str,
    cause: &'static str,
}

/// What a strict client found, each time: nothing wrong, or why it broke off.
struct Seen {
    case: &'static Case,
    now: Patient,
    visits: Vec<Result<(), String>>,
}

const CASES: [Case; 10] = [
    Case { name: "exams", cause: "issuer" },
    Case { name: "grades", cause: "issuer" },
    Case { name: "library", cause: "valid" },
    Case { name: "sports", cause: "valid" },
    Case { name: "notes", cause: "valid" },
    Case { name: "music", cause: "purpose" },
    Case { name: "canteen", cause: "names" },
    Case { name: "printer", cause: "chain" },
    Case { name: "lockers", cause: "key" },
    Case { name: "board", cause: "nothing" },
];

/// A strict client, so many days from today.
async fn visit(
    stage: &Stage,
    host: &Host,
    school: &School,
    name: &str,
    days: u64,
) -> Result<Result<(), String>, Stop> {
    let mut roots = RootCertStore::empty();
    roots.add(school.root().authority().certificate().clone()).map_err(Stop::machine)?;
    let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let strict = strict.build().map_err(Stop::machine)?;
    let ahead = Duration::from_secs(days.saturating_mul(24 * 60 * 60));
    let then = UnixTime::since_unix_epoch(
        Duration::from_secs(UnixTime::now().as_secs()).saturating_add(ahead),
    );
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Stop::machine)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(At { strict, then }))
        .with_no_client_auth();
    let target = stage.aim(host.address())?;
    let limit = stage.patience(ANSWER);
    let stream = target.connect(None, limit).await.map_err(Stop::machine)?;
    let name = ServerName::try_from(format!("{name}.school.test")).map_err(Stop::machine)?;
    let talk = async {
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(b"how are you\n").await?;
        stream.flush().await?;
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await
    };
    let came = timeout(limit, talk).await.map_err(Stop::machine)?;
    Ok(came.map(drop).map_err(|error| brief(&error.to_string())))
}

/// The complaint in a word or three, without the numbers behind it.
fn brief(error: &str) -> String {
    let error = error.strip_prefix("invalid peer certificate: ").unwrap_or(error);
    let known = [
        ("UnknownIssuer", "unknown issuer"),
        ("BadSignature", "bad signature"),
        ("certificate expired", "expired"),
        ("certificate not valid yet", "not valid yet"),
        ("certificate not valid for name", "not valid for this name"),
        ("certificate does not allow extended key usage", "invalid purpose"),
    ];
    let word = known.iter().find(|(long, _)| error.starts_with(long)).map(|(_, word)| *word);
    word.unwrap_or(error).to_owned()
}

/// As strict as any, at another time.
#[derive(Debug)]
struct At {
    strict: Arc<WebPkiServerVerifier>,
    then: UnixTime,
}

impl ServerCertVerifier for At {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.strict.verify_server_cert(leaf, others, name, ocsp, self.then)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

impl Seen {
    fn passes(&self, visit: usize) -> bool {
        self.visits.get(visit).is_some_and(Result::is_ok)
    }

    /// Healthy where the task says that it is to stay as it is.
    fn is_overtreated(&self) -> bool {
        let name = format!("{}.school.test", self.case.name);
        let names = self.now.names.iter().any(|own| *own != name);
        names || (self.case.cause != "valid" && self.now.valid != UNTOUCHED)
    }
}

fn judge(seen: &[Seen]) -> Findings {
    let mut findings = Findings::new();
    let ill = seen.iter().find(|one| !one.passes(0) || !one.passes(1));
    findings.honest = Part::of(
        ill.is_none(),
        "a strict client is served by all ten, today and in twenty days",
        ill.map_or_else(String::new, |one| {
            let when = if one.passes(0) { "in twenty days" } else { "today" };
            let visit = one.visits.get(usize::from(one.passes(0))).cloned();
            let why = visit.and_then(Result::err).unwrap_or_default();
            format!("{} is refused {when}: {why}", one.case.name)
        }),
    );
    let eternal = seen.iter().find(|one| one.passes(2));
    findings.attack = Part::of(
        eternal.is_none(),
        "a key that leaks today is of no use in a hundred days",
        eternal.map_or_else(String::new, |one| {
            format!(
                "Mallory, with the leaked key of {}, is believed in a hundred days",
                one.case.name
            )
        }),
    );
    if findings.attack.is_held() {
        let misjudged = seen.iter().find(|one| one.now.cause != one.case.cause);
        let overdone = seen.iter().find(|one| one.is_overtreated());
        findings.gate = Part::of(
            misjudged.is_none() && overdone.is_none(),
            "each cause is named, and nothing else was changed",
            match (misjudged, overdone) {
                (Some(one), _) if one.now.cause.is_empty() => {
                    format!("{} has no diagnosis", one.case.name)
                }
                (Some(one), _) => format!("the diagnosis of {} is wrong", one.case.name),
                (None, Some(one)) => format!("{} was given more than it needed", one.case.name),
                (None, None) => String::new(),
            },
        );
    }
    for one in seen {
        let why = one.visits.first().cloned().and_then(Result::err);
        let said = why.as_deref().unwrap_or("well");
        findings.saw(format!("{}, today: {said}.", one.case.name));
        let stopped = why.is_some().then_some((Gate::Handshake, said));
        let walk = Walk::new("Ana", HERE, stopped).through(&ROOMS);
        findings.walks.push(walk.ending(format!("visits {}, today", one.case.name)));
    }
    if let Some(one) = eternal.or_else(|| seen.first()) {
        let stopped = eternal.is_none().then_some((Gate::Handshake, "not believed"));
        let walk = Walk::new("Mallory", HERE, stopped).through(&ROOMS).hostile();
        findings.walks.push(walk.ending(format!("is {}, in a hundred days", one.case.name)));
    }
    if let Some(code) = recognised(seen) {
        findings.looks_like(code);
    }
    findings
}

fn recognised(seen: &[Seen]) -> Option<&'static str> {
    let of = |name: &str| seen.iter().find(|one| one.case.name == name);
    let treated = |name: &str| of(name).is_some_and(Seen::is_overtreated);
    let same_word = || {
        let mut causes =
            seen.iter().map(|one| one.now.cause.as_str()).filter(|it| *it != "nothing");
        let first = causes.next();
        first.is_some_and(|first| !first.is_empty() && causes.all(|cause| cause == first))
    };
    if seen.iter().any(|one| one.passes(2)) {
        Some("M13-CENTURY")
    } else if seen.iter().any(|one| one.passes(0) && !one.passes(1)) {
        Some("M13-TOO-SHORT")
    } else if of("exams")
        .is_some_and(|one| !one.passes(0) && of("board").is_some_and(|it| it.passes(0)))
    {
        Some("M13-SELF-MADE")
    } else if treated("board") {
        Some("M13-OPERATE-HEALTHY")
    } else if seen.iter().any(Seen::is_overtreated) {
        Some("M13-TOO-MUCH")
    } else if same_word() {
        Some("M13-SAME-WORD")
    } else {
        None
    }
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Handshake, Gate::Service];
/// As most patients have it, in days from today.
const UNTOUCHED: [i64; 2] = [-10, 50];
/// In days from today.
const SOON: u64 = 20;
const LATER: u64 = 100;
const ANSWER: Duration = Duration::from_secs(2);

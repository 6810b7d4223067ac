//! The lab's own client: a small program whose file can also express what no client should do.
//!
//! Learners repair it by editing that file; a program of their own may take its place.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorward::handshake::{Presented, provider};
use doorward::peer::PeerText;
use doorward::pki::keyfile::{read_chain, read_key};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, KeyLogFile, RootCertStore,
    SignatureScheme,
};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::guest::BelieveAnybody;

/// The file of the client.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Plan {
    /// The file whose text is sent.
    send: PathBuf,
    tls: Option<Tls>,
    /// What it does when the first try fails.
    #[serde(default)]
    when_refused: WhenRefused,
}

/// Without it, everything is sent as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Tls {
    verify: Verify,
    /// Who may vouch for the server.
    #[serde(default)]
    trust: Vec<PathBuf>,
    /// The name it means to reach.
    name: Option<String>,
    /// The certificate that it shows when it is asked.
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// How much of the server's certificate is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Verify {
    /// Nothing.
    Nothing,
    /// Who signed it.
    Chain,
    /// Who signed it, and for which name.
    ChainAndName,
    /// As `chain-and-name`, after the message was sent.
    AfterSending,
    /// Whether it is the one that came first.
    FirstSeen,
    /// Whether it is one of the files in `trust`.
    ThisCertificate,
    /// Whether the name occurs somewhere in the certificate's names.
    ChainAndPartOfName,
    /// Whether the name is the subject's common name.
    ChainAndCommonName,
    /// As `chain-and-name`, with a `*` that stands for any number of labels.
    ChainAndAnyDepth,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WhenRefused {
    #[default]
    Stop,
    TryWithoutVerification,
    TryWithoutTls,
}

/// Says what the file says to the server at this address, and prints the answer.
///
/// # Errors
/// In a sentence: what in the file cannot be done, or why there was no answer.
pub(crate) async fn talk(file: &Path, host: &str, port: u16) -> Result<(), String> {
    let text = read(file)?;
    let plan: Plan =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let words = read(&plan.send)?;
    let first = once(host, port, &words, plan.tls.as_ref()).await;
    let second = match (&first, plan.when_refused, &plan.tls) {
        (Ok(()), _, _) | (_, WhenRefused::Stop, _) | (_, _, None) => return first,
        (Err(_), WhenRefused::TryWithoutVerification, Some(tls)) => {
            Some(Tls { verify: Verify::Nothing, ..tls.clone() })
        }
        (Err(_), WhenRefused::TryWithoutTls, Some(_)) => None,
    };
    once(host, port, &words, second.as_ref()).await
}

async fn once(host: &str, port: u16, words: &str, tls: Option<&Tls>) -> Result<(), String> {
    let conversation = async {
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|error| format!("no connection to {host}:{port}: {error}"))?;
        let Some(tls) = tls else { return converse(stream, words).await };
        let late = tls.verify == Verify::AfterSending;
        let config = Arc::new(config(tls)?);
        let name = match &tls.name {
            Some(name) => ServerName::try_from(name.clone()).map_err(|error| error.to_string())?,
            None => ServerName::IpAddress(address(host)?.into()),
        };
        let connector = TlsConnector::from(config);
        let stream = connector.connect(name.clone(), stream).await;
        let stream = stream.map_err(|error| format!("the handshake failed: {error}"))?;
        if !late {
            return converse(stream, words).await;
        }
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        converse(stream, words).await?;
        let strict = verifier(&Tls { verify: Verify::ChainAndName, ..tls.clone() })?;
        let (leaf, others) = shown.split_first().ok_or("the server showed no certificate")?;
        let verdict = strict.verify_server_cert(leaf, others, &name, &[], UnixTime::now());
        verdict.map(drop).map_err(|error| format!("that was the wrong server: {error}"))
    };
    timeout(LONGEST, conversation).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

fn address(host: &str) -> Result<IpAddr, String> {
    host.parse().map_err(|_| format!("{host} is no address: write the name into [tls]"))
}

/// Sends, and prints the first answer.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    words: &str,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the conversation broke off: {error}");
    stream.write_all(words.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut buffer = vec![0; 4096];
    let count = stream.read(&mut buffer).await.map_err(failed)?;
    if count == 0 {
        return Err("the server hung up without an answer".to_owned());
    }
    let answer = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
    say(&PeerText::escaped(answer.trim_end().as_bytes()));
    drop(stream.shutdown().await);
    Ok(())
}

fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier(tls)?);
    let logged = |mut config: ClientConfig| {
        config.key_log = Arc::new(KeyLogFile::new());
        config
    };
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else {
        return Ok(logged(builder.with_no_client_auth()));
    };
    let chain = read_chain(certificate).map_err(|problem| problem.message().to_owned())?;
    let key = read_key(key).map_err(|problem| problem.message().to_owned())?;
    builder.with_client_auth_cert(chain, key).map(logged).map_err(|error| error.to_string())
}

fn verifier(tls: &Tls) -> Result<Arc<dyn ServerCertVerifier>, String> {
    Ok(match tls.verify {
        Verify::Nothing | Verify::AfterSending => Arc::new(BelieveAnybody),
        Verify::FirstSeen => Arc::new(FirstSeen::default()),
        Verify::ChainAndName => strict(tls)?,
        Verify::Chain => Arc::new(Loose { strict: strict(tls)?, names: Names::Any }),
        Verify::ChainAndPartOfName => Arc::new(Loose { strict: strict(tls)?, names: Names::Part }),
        Verify::ChainAndCommonName => {
            Arc::new(Loose { strict: strict(tls)?, names: Names::Common })
        }
        Verify::ChainAndAnyDepth => Arc::new(Loose { strict: strict(tls)?, names: Names::Deep }),
        Verify::ThisCertificate => {
            let mut known = Vec::new();
            for file in &tls.trust {
                known.extend(read_chain(file).map_err(|problem| problem.message().to_owned())?);
            }
            Arc::new(FirstSeen(Mutex::new(known)))
        }
    })
}

fn strict(tls: &Tls) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for file in &tls.trust {
        for certificate in read_chain(file).map_err(|problem| problem.message().to_owned())? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| format!("trust in [tls]: {error}"))
}

/// Which names satisfy a careless client.
#[derive(Clone, Copy, Debug)]
enum Names {
    Any,
    /// One that the wanted name occurs in.
    Part,
    /// The subject's common name.
    Common,
    /// One whose `*` stands for any number of labels.
    Deep,
}

impl Names {
    fn fit(self, leaf: &CertificateDer<'_>, wanted: &str) -> bool {
        let held = |is_it: &dyn Fn(&str) -> bool| {
            let presented = Presented::read(leaf);
            presented.is_ok_and(|read| read.names().iter().any(|name| is_it(&name.to_string())))
        };
        match self {
            Self::Any => true,
            Self::Part => {
                let wanted = wanted.as_bytes();
                leaf.windows(wanted.len().max(1)).any(|bytes| bytes == wanted)
            }
            Self::Common => held(&|name| name.strip_prefix("cn:") == Some(wanted)),
            Self::Deep => {
                held(&|name| name.strip_prefix("dns:*").is_some_and(|end| wanted.ends_with(end)))
            }
        }
    }
}

/// Looks at the chain, and is content with a wrong name.
#[derive(Debug)]
struct Loose {
    strict: Arc<WebPkiServerVerifier>,
    names: Names,
}

impl ServerCertVerifier for Loose {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.strict.verify_server_cert(leaf, others, name, ocsp, now);
        let Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) = &verdict
        else {
            return verdict;
        };
        if self.names.fit(leaf, &name.to_str()) {
            Ok(ServerCertVerified::assertion())
        } else {
            verdict
        }
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

/// Takes the certificates it knows; where it knows none, the first one it sees.
#[derive(Debug, Default)]
struct FirstSeen(Mutex<Vec<CertificateDer<'static>>>);

impl ServerCertVerifier for FirstSeen {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            known.push(leaf.clone().into_owned());
        }
        if known.contains(leaf) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        BelieveAnybody.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        BelieveAnybody.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        BelieveAnybody.supported_verify_schemes()
    }
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

fn say(line: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// A server on the same machine has answered by then.
const LONGEST: Duration = Duration::from_secs(3);

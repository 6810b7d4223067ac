//! A client of the check's own, honest or not. It always waits for an answer: in TLS 1.3 a client that is
//! refused sees its handshake succeed, and learns the truth only when it reads.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use doorward::handshake::provider;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::knock::Target;
use super::papers::Shown;

/// Who comes, and what with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guest {
    /// The address it comes from; whichever the system takes, without one.
    pub(crate) from: Option<IpAddr>,
    /// Whether it speaks TLS at all.
    pub(crate) tls: bool,
    /// The certificate it shows when it is asked.
    pub(crate) papers: Option<Shown>,
}

/// What came of a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// An answer.
    Answer(Vec<u8>),
    /// No connection, in words.
    NoWay(String),
    /// A connection that ended in the handshake or before any answer, in words.
    TurnedAway(String),
    /// A connection, and no answer in time.
    Nothing,
}

impl Met {
    /// The answer's text, where there is one.
    pub(crate) fn answer(&self) -> Option<String> {
        match self {
            Self::Answer(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::NoWay(_) | Self::TurnedAway(_) | Self::Nothing => None,
        }
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Self::Answer(bytes) => {
                format!("answered {:?}", String::from_utf8_lossy(bytes).trim_end())
            }
            Self::NoWay(why) => format!("no connection ({why})"),
            Self::TurnedAway(why) => format!("turned away ({why})"),
            Self::Nothing => "no answer".to_owned(),
        }
    }
}

impl Guest {
    /// Connects, says this, and waits for the first answer.
    pub(crate) async fn ask(&self, target: Target, words: &[u8], limit: Duration) -> Met {
        let stream = match target.connect(self.from, limit).await {
            Ok(stream) => stream,
            Err(error) => return Met::NoWay(error.to_string()),
        };
        let talk = async {
            if !self.tls {
                return converse(stream, words).await;
            }
            let connector = match self.connector() {
                Ok(connector) => connector,
                Err(error) => return Met::NoWay(error.to_string()),
            };
            let name = ServerName::IpAddress(target.address().ip().into());
            match connector.connect(name, stream).await {
                Ok(stream) => converse(stream, words).await,
                Err(error) => Met::TurnedAway(error.to_string()),
            }
        };
        timeout(limit, talk).await.unwrap_or(Met::Nothing)
    }

    /// It believes any server, since it is the server's gates that are tried.
    pub(crate) fn connector(&self) -> Result<TlsConnector, Error> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelieveAnybody));
        let mut config = match &self.papers {
            Some(papers) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(papers)))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, words: &[u8]) -> Met {
    // A server that refuses may have closed already; what it said is still to be read.
    drop(stream.write_all(words).await);
    drop(stream.flush().await);
    let mut buffer = vec![0; 4096];
    let met = match stream.read(&mut buffer).await {
        Ok(0) => Met::TurnedAway("the connection was closed".to_owned()),
        // To a visitor without TLS an alert record (RFC 8446, 5.1) is no answer.
        Ok(_) if buffer.starts_with(&[0x15, 3]) => Met::TurnedAway("an alert of TLS".to_owned()),
        Ok(count) => Met::Answer(buffer.get(..count).unwrap_or_default().to_vec()),
        Err(error) => Met::TurnedAway(error.to_string()),
    };
    drop(stream.shutdown().await);
    met
}

/// Takes every certificate; the handshake's own signatures are verified still.
#[derive(Debug)]
pub(crate) struct BelieveAnybody;

impl ServerCertVerifier for BelieveAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

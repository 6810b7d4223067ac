//! Coming to the door, with whatever certificate and from whatever address, and what is seen there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Probe;
use super::papers::Shown;
use crate::handshake::{Preamble, provider};

/// What an attacker sees of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Words of the service.
    Words(Vec<u8>),
    /// Nothing: the connection is open, and the server waits.
    Open,
    /// An alert of TLS.
    Alert(String),
    /// A proper end.
    Ended,
    /// An end that is none of TLS.
    Broken(String),
}

/// A visit, as the attacker saw it.
#[derive(Clone, Debug)]
pub(super) struct Met {
    /// The port it came from, by which the server's record knows it.
    pub(super) from: SocketAddr,
    pub(super) seen: Seen,
}

/// A connection on which this side believes that the handshake is done.
pub(super) struct Entered {
    pub(super) stream: Box<TlsStream<TcpStream>>,
    pub(super) from: SocketAddr,
}

impl Probe {
    /// A connection from this address of this machine.
    ///
    /// # Errors
    /// In words, where there is none: the attack cannot be made.
    pub(super) async fn knock(&self, from: IpAddr) -> Result<TcpStream, String> {
        connect(from, self.target)
            .await
            .map_err(|error| format!("no connection from {from}: {error}"))
    }

    /// The same, with what the service's visitors say before TLS.
    pub(super) async fn greeted(&self, from: IpAddr) -> Result<TcpStream, String> {
        let mut stream = self.knock(from).await?;
        match self.service.greeting.preamble {
            Preamble::None => {}
            Preamble::Postgres => {
                let request = async {
                    stream.write_all(&SSL_REQUEST).await?;
                    stream.read_u8().await
                };
                // Whoever is refused sees it in what follows.
                drop(timeout(PATIENCE, request).await);
            }
        }
        Ok(stream)
    }

    /// A client that shows this, and speaks as the service asks for.
    pub(super) fn tls(&self, shown: Option<&Shown>) -> Result<ClientConfig, String> {
        self.tls_of(&[&TLS13, &TLS12], shown)
    }

    /// The same, in these versions of TLS.
    pub(super) fn tls_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shown: Option<&Shown>,
    ) -> Result<ClientConfig, String> {
        self.tls_with(provider(), versions, shown)
    }

    /// The same, with another choice of algorithms.
    pub(super) fn tls_with(
        &self,
        provider: Arc<CryptoProvider>,
        versions: &[&'static SupportedProtocolVersion],
        shown: Option<&Shown>,
    ) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OwnServer(self.papers.expected.clone())));
        let mut config = match shown {
            Some(shown) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(shown)))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(4);
        let alpn = self.service.greeting.alpn.iter();
        config.alpn_protocols = alpn.map(|name| name.clone().into_bytes()).collect();
        Ok(config)
    }

    /// Goes through the handshake, as far as this side can tell.
    pub(super) async fn enter(
        &self,
        config: &Arc<ClientConfig>,
        from: IpAddr,
    ) -> Result<Result<Entered, Met>, String> {
        let stream = self.greeted(from).await?;
        self.shake_hands(config, stream).await
    }

    /// The same, on a connection that is there.
    pub(super) async fn shake_hands(
        &self,
        config: &Arc<ClientConfig>,
        stream: TcpStream,
    ) -> Result<Result<Entered, Met>, String> {
        let from = stream.local_addr().map_err(|error| error.to_string())?;
        let name = ServerName::from(self.target.ip());
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(match timeout(PATIENCE, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Entered { stream: Box::new(stream), from }),
            Ok(Err(error)) => Err(Met { from, seen: seen(&error) }),
            Err(_) => Err(Met { from, seen: Seen::Open }),
        })
    }

    /// Comes, says an honest word where the service answers with one, and tells what is seen.
    pub(super) async fn visit(&self, shown: Option<&Shown>, from: IpAddr) -> Result<Met, String> {
        self.visit_as(self.tls(shown)?, from).await
    }

    /// The same, with another TLS.
    pub(super) async fn visit_as(&self, config: ClientConfig, from: IpAddr) -> Result<Met, String> {
        match self.enter(&Arc::new(config), from).await? {
            Err(met) => Ok(met),
            Ok(mut entered) => {
                let seen = self.say(&mut entered, &self.hello()).await;
                Ok(Met { from: entered.from, seen })
            }
        }
    }

    /// Says something inside TLS, and hears what comes of it.
    pub(super) async fn say(&self, entered: &mut Entered, words: &[u8]) -> Seen {
        let stream = &mut entered.stream;
        // A server that refuses does not read: its answer says more than a write that failed.
        let saying = async {
            stream.write_all(words).await?;
            stream.flush().await
        };
        drop(timeout(PATIENCE, saying).await);
        hear_much(stream, words.len(), self.silence()).await
    }

    /// How long a server that says nothing may still have something to say.
    fn silence(&self) -> Duration {
        if self.is_echo() { PATIENCE } else { SILENCE }
    }
}

/// What is seen until the first words, the end, or a silence.
pub(super) async fn hear(stream: &mut (impl AsyncRead + Unpin), patience: Duration) -> Seen {
    let mut words = vec![0; HEARD_AT_ONCE];
    match timeout(patience, stream.read(&mut words)).await {
        Err(_) => Seen::Open,
        Ok(Ok(0)) => Seen::Ended,
        Ok(Ok(length)) => {
            words.truncate(length);
            Seen::Words(words)
        }
        Ok(Err(error)) => seen(&error),
    }
}

/// What is seen until so many words, the end, or a silence; the words of the service where there were any.
pub(super) async fn hear_much(
    stream: &mut (impl AsyncRead + Unpin),
    enough: usize,
    patience: Duration,
) -> Seen {
    let mut all = Vec::new();
    loop {
        match hear(stream, patience).await {
            Seen::Words(words) => all.extend(words),
            end if all.is_empty() => return end,
            Seen::Open | Seen::Alert(_) | Seen::Ended | Seen::Broken(_) => return Seen::Words(all),
        }
        if all.len() >= enough {
            return Seen::Words(all);
        }
    }
}

/// What an error of the stream looks like from outside.
fn seen(error: &io::Error) -> Seen {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => Seen::Alert(format!("{alert:?}")),
        Some(other) => Seen::Broken(other.to_string()),
        None => Seen::Broken(error.kind().to_string()),
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let (socket, to) = match (from, to) {
        (IpAddr::V4(_), _) => (TcpSocket::new_v4()?, to),
        // An IPv4-mapped address is a way to spell an IPv4 connection.
        (IpAddr::V6(from), SocketAddr::V4(to)) if from.to_ipv4_mapped().is_some() => {
            let mapped = SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port());
            (TcpSocket::new_v6()?, mapped)
        }
        (IpAddr::V6(_), _) => (TcpSocket::new_v6()?, to),
    };
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = timeout(PATIENCE, socket.connect(to)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Believes one server: the one that shows the certificate which the configuration names.
#[derive(Debug)]
struct OwnServer(CertificateDer<'static>);

impl ServerCertVerifier for OwnServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
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

/// `SSLRequest` (`PostgreSQL` 17 documentation, section 54.2.10).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Far longer than an answer takes on one machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A service that waits for its visitor says nothing; a refusal comes within milliseconds.
pub(super) const SILENCE: Duration = Duration::from_millis(700);
/// One TLS record (RFC 8446 section 5.1).
const HEARD_AT_ONCE: usize = 16 * 1024;

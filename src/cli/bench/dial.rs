//! How the server is reached: TLS as any client of it has it, at no more cost than that must have; or without any.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use doorward::accept::Socket;
use doorward::client::ClientFiles;
use doorward::pki::keyfile::{read_chain, read_key};
use doorward::problem::Problem;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, NamedGroup, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::Failure;

/// A connection to the server, encrypted or not.
pub(super) type Stream = Either<TlsStream<Socket>, TcpStream>;

/// The server, and how to come to it.
pub(super) struct Dial {
    pub(super) at: SocketAddr,
    way: Way,
}

enum Way {
    Plain,
    Tls { name: ServerName<'static>, known: Box<TlsConnector>, unknown: Box<TlsConnector> },
}

/// The key exchange that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Group {
    /// X25519 with ML-KEM-768, which a quantum computer does not break.
    Hybrid,
    /// X25519 alone.
    X25519,
}

impl Dial {
    /// To a server that speaks no TLS.
    pub(super) fn plain(at: SocketAddr) -> Self {
        Self { at, way: Way::Plain }
    }

    /// Reads the files.
    pub(super) fn new(
        at: SocketAddr,
        name: ServerName<'static>,
        files: &ClientFiles,
        group: Option<Group>,
    ) -> Result<Self, Failure> {
        let provider = Arc::new(provider(group));
        let mut roots = RootCertStore::empty();
        for anchor in read_chain(&files.trust)? {
            roots.add(anchor).map_err(Failure::Unusable)?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
                .build()
                .map_err(|error| Failure::Unusable(Error::General(error.to_string())))?;
        let verifier = Arc::new(Once { verifier, believed: OnceLock::new() });
        let builder = || {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
            let builder = builder.with_safe_default_protocol_versions();
            let verifier = Arc::clone(&verifier);
            builder
                .map(|builder| builder.dangerous().with_custom_certificate_verifier(verifier))
                .map_err(Failure::Unusable)
        };
        let (chain, key) = (read_chain(&files.certificate)?, read_key(&files.key)?);
        let known = builder()?.with_client_auth_cert(chain, key).map_err(Failure::Unusable)?;
        let unknown = builder()?.with_no_client_auth();
        let [known, unknown] = [known, unknown].map(|mut config| {
            // Only whole handshakes are measured.
            config.resumption = Resumption::disabled();
            Box::new(TlsConnector::from(Arc::new(config)))
        });
        Ok(Self { at, way: Way::Tls { name, known, unknown } })
    }

    /// A connection with the client's certificate.
    pub(super) async fn enter(&self) -> io::Result<Stream> {
        match &self.way {
            Way::Plain => within(DEADLINE, self.connect()).await.map(Either::Right),
            Way::Tls { name, known, .. } => self.shake_hands(name, known).await,
        }
    }

    /// A connection without one. In TLS 1.3 the server says what it thinks of that later.
    pub(super) async fn enter_unknown(&self) -> io::Result<Stream> {
        match &self.way {
            Way::Plain => within(DEADLINE, self.connect()).await.map(Either::Right),
            Way::Tls { name, unknown, .. } => self.shake_hands(name, unknown).await,
        }
    }

    async fn shake_hands(
        &self,
        name: &ServerName<'static>,
        connector: &TlsConnector,
    ) -> io::Result<Stream> {
        let entering = async {
            let tcp = self.connect().await?;
            connector.connect(name.clone(), Socket::new(tcp)).await
        };
        within(DEADLINE, entering).await.map(Either::Left)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect(self.at).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }
}

/// The outcome, or that there was none in time.
pub(super) async fn within<T>(
    deadline: Duration,
    doing: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(deadline, doing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn provider(group: Option<Group>) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let wanted = match group {
        None => return provider,
        Some(Group::Hybrid) => NamedGroup::X25519MLKEM768,
        Some(Group::X25519) => NamedGroup::X25519,
    };
    provider.kx_groups.retain(|group| group.name() == wanted);
    provider
}

/// Verifies the server's chain once, and believes that very certificate from then on. Its signature over
/// each handshake is verified each time.
#[derive(Debug)]
struct Once {
    verifier: Arc<WebPkiServerVerifier>,
    believed: OnceLock<CertificateDer<'static>>,
}

impl ServerCertVerifier for Once {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.believed.get() == Some(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        // Where another one was first, this one is verified each time.
        drop(self.believed.set(end_entity.clone().into_owned()));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// The files of a client cannot be read, or are none.
impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Files(Box::new(problem))
    }
}

/// Longer than any server that is of use takes, so that a stuck one ends the measurement.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

//! A server of a few lines, right or weak in one way: what a probe must find without anybody's record.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorward::handshake::{Name, Presented, provider};
use doorward::pki::keyfile::{read_chain, read_crls, read_key};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What is looked at in a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    Everything,
    Nothing,
    /// Everything, of whoever shows one.
    IfShown,
    /// Everything but what it is for.
    AnyUsage,
    /// Everything but whether it is revoked.
    Revoked,
}

/// Which names may use the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Alice,
    /// Any that holds hers.
    Holding,
    All,
}

pub(crate) struct Plain {
    certs: PathBuf,
    pub(crate) verify: Verify,
    pub(crate) names: Names,
    /// Whether sessions may be resumed.
    pub(crate) tickets: bool,
    /// Whether they may begin with data before the handshake is done.
    pub(crate) early: bool,
    /// Whether the port is shared with other processes.
    pub(crate) shared: bool,
    /// How many visits it lives for.
    pub(crate) visits: usize,
}

impl Plain {
    /// A server that is right, with the certificates of this store.
    pub(crate) fn right(certs: &Path) -> Self {
        Self {
            certs: certs.to_owned(),
            verify: Verify::Everything,
            names: Names::Alice,
            tickets: false,
            early: false,
            shared: false,
            visits: usize::MAX,
        }
    }

    /// Serves until the test ends.
    pub(crate) fn run(self) -> SocketAddr {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(self.shared).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(128).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        let at = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(self.config()));
        let (names, certified) = (self.names, self.verify);
        tokio::spawn(async move {
            for _ in 0..self.visits {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    if is_welcome(&stream, names, certified) {
                        drop(echo(&mut stream).await);
                    }
                    drop(stream.shutdown().await);
                });
            }
        });
        at
    }

    fn config(&self) -> ServerConfig {
        let file = |name: &str| self.certs.join(name);
        let mut roots = RootCertStore::empty();
        roots.add(read_chain(&file("trust.pem")).unwrap().remove(0)).unwrap();
        let crls = match self.verify {
            Verify::Revoked => Vec::new(),
            Verify::Everything | Verify::Nothing | Verify::IfShown | Verify::AnyUsage => {
                read_crls(&file("ca/crl.pem")).unwrap()
            }
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .with_crls(crls);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match self.verify {
            Verify::Nothing => builder.with_no_client_auth(),
            Verify::IfShown => {
                builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
            }
            Verify::AnyUsage => {
                builder.with_client_cert_verifier(Arc::new(AnyUsage(verifier.build().unwrap())))
            }
            Verify::Everything | Verify::Revoked => {
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = read_chain(&file("server/localhost/chain.pem")).unwrap();
        let key = read_key(&file("server/localhost/key.pem")).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        if !self.tickets {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        if self.early {
            config.max_early_data_size = 16 * 1024;
        }
        config
    }
}

fn is_welcome(stream: &TlsStream<TcpStream>, names: Names, verify: Verify) -> bool {
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let Some(shown) = shown else { return verify != Verify::Everything };
    let Ok(presented) = Presented::read(shown) else { return false };
    let holds = |name: &Name| name.to_string().contains(ALICE);
    match names {
        Names::All => true,
        Names::Holding => presented.names().iter().any(holds),
        // Zoe may come as well, so that only her revocation keeps her out.
        Names::Alice => [ALICE, "zoe.client.internal"]
            .iter()
            .any(|name| presented.names().contains(&Name::Dns((*name).to_owned()))),
    }
}

/// Messages with a length of four bytes, well formed or the end.
async fn echo(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    loop {
        let length = usize::try_from(stream.read_u32().await?).unwrap();
        if !(1..=65_536).contains(&length) {
            return Ok(());
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await?;
        stream.write_all(&u32::try_from(length).unwrap().to_be_bytes()).await?;
        stream.write_all(&message).await?;
        stream.flush().await?;
    }
}

/// Looks at everything, and forgives the usage.
#[derive(Debug)]
struct AnyUsage(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyUsage {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.0.verify_client_cert(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            )) => Ok(ClientCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

const ALICE: &str = "alice.client.internal";

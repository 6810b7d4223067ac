//! The scene of the client's tests: an authority, the client's files, and servers of every kind.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use doorward::client::{Client, ClientFiles};
use doorward::handshake::provider;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(super) type Visitor = TlsStream<TcpStream>;

/// An authority, and a directory with the files of a client that it vouches for.
pub(super) struct Scene {
    pub(super) authority: CertifiedIssuer<'static, KeyPair>,
    pub(super) directory: TempDir,
}

/// A key with its certificate.
pub(super) type Leaf = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Scene {
    pub(super) fn new() -> Self {
        let scene = Self { authority: authority(), directory: tempfile::tempdir().unwrap() };
        let (certificate, key) = scene.leaf("alice", ExtendedKeyUsagePurpose::ClientAuth, |_| {});
        scene.write("trust.pem", &scene.authority.pem());
        scene.write("chain.pem", &pem("CERTIFICATE", &certificate));
        scene.write("key.pem", &pem("PRIVATE KEY", key.secret_der()));
        scene
    }

    pub(super) fn leaf(
        &self,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// A server's certificate for 127.0.0.1 and localhost.
    pub(super) fn server(&self) -> Leaf {
        self.server_with(|_| {})
    }

    pub(super) fn server_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.leaf("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth, |params| {
            params.subject_alt_names.push(rcgen::SanType::DnsName("localhost".try_into().unwrap()));
            change(params);
        })
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    pub(super) fn files(&self) -> ClientFiles {
        let file = |name: &str| self.directory.path().join(name);
        ClientFiles {
            trust: file("trust.pem"),
            certificate: file("chain.pem"),
            key: file("key.pem"),
        }
    }

    pub(super) fn client(&self, target: &str) -> Client {
        Client::new(target.parse().unwrap(), &self.files()).unwrap()
    }

    /// Who the server lets in: clients of this authority.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap()
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        acceptor(self.server(), self.verifier(), rustls::ALL_VERSIONS)
    }
}

pub(super) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    named_authority("an authority")
}

pub(super) fn named_authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(super) fn acceptor(
    (certificate, key): Leaf,
    verifier: Arc<dyn ClientCertVerifier>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A server that speaks plain TCP with one visitor after another.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    visits: Arc<AtomicUsize>,
    running: JoinHandle<()>,
}

impl Server {
    pub(super) async fn plain<F, T>(mut talk: F) -> Self
    where
        F: FnMut(TcpStream, usize) -> T + Send + 'static,
        T: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&visits);
        let running = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let visit = counted.fetch_add(1, Ordering::SeqCst) + 1;
                talk(stream, visit).await;
            }
        });
        Self { address, visits, running }
    }

    /// A server that speaks TLS; a handshake that fails is over, after the client had time to read why.
    pub(super) async fn tls<F, T>(acceptor: TlsAcceptor, talk: F) -> Self
    where
        F: Fn(Visitor) -> T + Clone + Send + 'static,
        T: Future<Output = ()> + Send,
    {
        Self::plain(move |stream, _| {
            let (acceptor, talk) = (acceptor.clone(), talk.clone());
            async move {
                match acceptor.accept(stream).into_fallible().await {
                    Ok(stream) => talk(stream).await,
                    Err((_, mut stream)) => {
                        drop(stream.shutdown().await);
                        drop(stream.read_to_end(&mut Vec::new()).await);
                    }
                }
            }
        })
        .await
    }

    pub(super) fn target(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Sends everything back as it came, until the visitor ends its side.
pub(super) async fn echo(stream: Visitor) {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => to.write_all(buffer.get(..read).unwrap()).await.unwrap(),
        }
    }
    drop(to.shutdown().await);
}

/// Waits until the visitor is gone too, so that no reset overtakes what was said.
pub(super) async fn see_off(mut stream: Visitor) {
    drop(stream.shutdown().await);
    drop(stream.read_to_end(&mut Vec::new()).await);
}

/// Takes RSA signatures only, so that a client with an ECDSA key has nothing to show.
#[derive(Debug)]
pub(super) struct RsaOnly(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for RsaOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::RSA_PSS_SHA256]
    }
}

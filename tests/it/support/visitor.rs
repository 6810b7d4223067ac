//! Visitors: whoever connects, with whatever certificate, from whatever address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use doorward::handshake::{Presented, provider};
use doorward::pki::Credential;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Set;
use super::hall::PATIENCE;

/// Somebody at the door.
#[derive(Clone)]
pub(crate) struct Visitor {
    config: Arc<ClientConfig>,
    from: Option<IpAddr>,
}

impl Visitor {
    /// A visitor with this certificate, if any, that trusts the set's authority.
    pub(crate) fn new(set: &Set, credential: Option<&Credential>) -> Self {
        Self::speaking(set, credential, &[&version::TLS13])
    }

    /// The same, with these TLS versions.
    pub(crate) fn speaking(
        set: &Set,
        credential: Option<&Credential>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(set.authority.anchor().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match credential {
            Some(credential) => builder
                .with_client_cert_resolver(showing(credential.chain().to_vec(), credential.key())),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(16);
        Self { config: Arc::new(config), from: None }
    }

    /// The same visitor from another address of this machine.
    pub(crate) fn from(mut self, from: &str) -> Self {
        self.from = Some(from.parse().unwrap());
        self
    }

    /// The same visitor with another TLS configuration.
    pub(crate) fn with(self, config: ClientConfig) -> Self {
        Self { config: Arc::new(config), ..self }
    }

    /// The pin of a credential's key, as a rule writes it.
    pub(crate) fn pin_of(credential: &Credential) -> String {
        format!("pin:{}", Presented::read(&credential.chain()[0]).unwrap().pin())
    }

    /// The same visitor, who offers these protocols inside TLS.
    pub(crate) fn offering(mut self, alpn: &[&str]) -> Self {
        let names = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::make_mut(&mut self.config).alpn_protocols = names;
        self
    }

    /// A connection without TLS.
    pub(crate) async fn knock(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        socket.connect(to).await
    }

    /// A connection on which this side thinks that the handshake is done.
    pub(crate) async fn enter(&self, to: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        self.enter_as(to, &to.ip().to_string()).await
    }

    /// The same, where the server is known by another name than its address.
    pub(crate) async fn enter_as(
        &self,
        to: SocketAddr,
        name: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.knock(to).await?;
        self.shake_hands_as(stream, name).await
    }

    /// The handshake on a connection that is there already.
    pub(crate) async fn shake_hands(
        &self,
        stream: TcpStream,
        to: SocketAddr,
    ) -> io::Result<TlsStream<TcpStream>> {
        self.shake_hands_as(stream, &to.ip().to_string()).await
    }

    async fn shake_hands_as(
        &self,
        stream: TcpStream,
        name: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.config));
        timeout(PATIENCE, connector.connect(name, stream)).await.expect("a handshake in time")
    }

    /// Says something, ends its side, and hears everything until the server ends.
    pub(crate) async fn say(&self, to: SocketAddr, words: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.enter(to).await?;
        stream.write_all(words).await?;
        stream.shutdown().await?;
        hear(&mut stream).await
    }
}

/// Shows this chain and signs with this key, without asking whether they belong together or are any good.
pub(crate) fn showing(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Arc<SingleCertAndKey> {
    let key = provider().key_provider.load_private_key(key).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// Everything until the other side ends properly.
pub(crate) async fn hear(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("an end in time")?;
    Ok(heard)
}

/// The alert behind an error, as the TLS library names it.
pub(crate) fn alert(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => format!("{alert:?}"),
        _ => error.to_string(),
    }
}

/// A message with a 4-byte big-endian length before it.
pub(crate) fn prefixed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length, payload].concat()
}

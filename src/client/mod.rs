//! The dialling side: a framed connection to a guarded service, and errors a person can act on.

mod connection;
mod error;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::backoff::Backoff;
use crate::handshake::provider;
use crate::pki::keyfile::{read_chain, read_key};
use crate::problem::{Fault, Problem};

pub use connection::{Connection, Receiver, Sender};
pub(crate) use error::of_handshake;
pub use error::{ClientError, Trouble};

/// Somebody who can connect: a certificate with its key, whom it trusts, and where it wants to go.
///
/// TLS 1.3 with the hybrid post-quantum group first, 1.2 where the server knows no better; the server's
/// certificate is always verified, and no session is resumed.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    host: String,
    port: u16,
    server_name: ServerName<'static>,
}

impl Client {
    /// A client with the certificate of these files, for `HOST:PORT`.
    ///
    /// # Errors
    /// A [`Problem`] for a file that cannot be used, a key that does not fit, or a target that is none.
    pub fn from_files(
        trust: &Path,
        chain: &Path,
        key: &Path,
        target: &str,
    ) -> Result<Self, Problem> {
        let mut roots = RootCertStore::empty();
        for anchor in read_chain(trust)? {
            roots.add(anchor).map_err(|error| unusable(trust, &error))?;
        }
        let key_file = key;
        let (chain, key) = (read_chain(chain)?, read_key(key)?);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(trust, &error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(key_file, &error))?;
        config.resumption = Resumption::disabled();
        let (host, port) = split(target)?;
        let server_name = name(host)?;
        Ok(Self { config: Arc::new(config), host: host.to_owned(), port, server_name })
    }

    /// The same client, for a server whose certificate holds another name than the one dialled.
    ///
    /// # Errors
    /// A [`Problem`] where it is no name.
    pub fn expecting(mut self, server_name: &str) -> Result<Self, Problem> {
        self.server_name = name(server_name)?;
        Ok(self)
    }

    /// Connects, trying every address of the host in turn.
    ///
    /// In TLS 1.3 a server that refuses the client says so after this returned, with the first answer.
    ///
    /// # Errors
    /// [`ClientError`], the last one where several addresses were tried.
    pub async fn connect(&self) -> Result<Connection, ClientError> {
        let looking = timeout(CONNECT_DEADLINE, lookup_host((self.host.as_str(), self.port)));
        let no_such_host = || Trouble::NoSuchHost.at(&self.target());
        let addresses = looking.await.map_err(|_| no_such_host())?.map_err(|_| no_such_host())?;
        let mut last = no_such_host();
        for address in addresses.take(MOST_ADDRESSES) {
            match self.dial(address).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_decision() => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects, and tries again up to `retries` times while nobody can be reached.
    ///
    /// A decision, such as a certificate that is not believed, is never tried again: it would only be
    /// made again.
    ///
    /// # Errors
    /// As [`Client::connect`], the last one.
    pub async fn connect_with_retries(&self, retries: u32) -> Result<Connection, ClientError> {
        let mut backoff = Backoff::new(SHORTEST_WAIT, LONGEST_WAIT);
        let mut left = retries;
        loop {
            match self.connect().await {
                Err(error) if !error.is_decision() && left > 0 => {
                    left = left.saturating_sub(1);
                    sleep(backoff.next_wait()).await;
                }
                ended => return ended,
            }
        }
    }

    async fn dial(&self, address: SocketAddr) -> Result<Connection, ClientError> {
        let at = address.to_string();
        let stream = match timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(error::of_connect(&error).at(&at)),
            Err(_) => return Err(Trouble::Timeout.at(&at)),
        };
        // A small message that waits for company is slow; where the option cannot be had, it is slow.
        drop(stream.set_nodelay(true));
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let handshake = connector.connect(self.server_name.clone(), stream);
        match timeout(HANDSHAKE_DEADLINE, handshake).await {
            Ok(Ok(stream)) => Ok(Connection::new(Box::new(stream), at)),
            Ok(Err(error)) => Err(of_handshake(&error).at(&at)),
            Err(_) => Err(Trouble::HandshakeTimeout.at(&at)),
        }
    }

    fn target(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.target()).finish_non_exhaustive()
    }
}

fn split(target: &str) -> Result<(&str, u16), Problem> {
    let bad = || {
        let remedy = "write HOST:PORT, such as 127.0.0.1:8443, [::1]:8443 or db.internal:8443";
        Problem::error(Fault::ConfigBadValue, format!("{target:?} is no target"), remedy)
    };
    let (host, port) = target.rsplit_once(':').ok_or_else(bad)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let bracketed = bare.is_some();
    let host = bare.unwrap_or(host);
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(bad)?;
    if host.is_empty() || (host.contains(':') && !bracketed) {
        return Err(bad());
    }
    Ok((host, port))
}

fn name(text: &str) -> Result<ServerName<'static>, Problem> {
    ServerName::try_from(text.to_owned()).map_err(|_| {
        let remedy = "write the host name or address that the server's certificate holds";
        Problem::error(Fault::ConfigBadValue, format!("{text:?} is no server name"), remedy)
    })
}

fn unusable(file: &Path, error: &rustls::Error) -> Problem {
    let what = format!("{} cannot be used: {error}", file.display());
    let remedy = "name the certificate, its own key, and the authorities to trust";
    Problem::error(Fault::HandshakeUnreadable, what, remedy)
}

/// As long as three SYN are sent (RFC 6298: after 1 s and 2 s more).
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// As long as the server's own default.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// A name with more addresses is a load balancer, one of which is as good as another.
const MOST_ADDRESSES: usize = 8;
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

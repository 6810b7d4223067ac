//! The dialling side: a client that shows its certificate, checks the server's, and speaks in messages.

mod alert;
mod connection;
mod error;
mod pin;
mod reasons;
mod target;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::backoff::Backoff;
use crate::frame::{ByteOrder, FrameKind, FramePolicy, LengthWidth, Text};
use crate::handshake::{Pin, dialling_config, paired, provider, unusable};
use crate::pki::keyfile::{read_chain, read_key};
use crate::problem::{Fault, Problem};

use pin::Pinned;

pub use connection::{Connection, MessageWriter, ReplyReader};
pub use error::{Away, ClientError, Moment, Side, Step, Vouching};
pub(crate) use reasons::of_session;
pub use target::{BadTarget, Target, server_name};

/// The files a client dials with, all of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities that may vouch for the server.
    pub trust: PathBuf,
    /// The client's chain, its own certificate first.
    pub certificate: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
}

/// The stream of a server that was believed.
pub(crate) type Stream = Box<TlsStream<TcpStream>>;

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Looking up the name, and connecting to each of its addresses.
    pub connect: Duration,
    /// The whole handshake.
    pub handshake: Duration,
    /// Sending a message, and waiting for a reply.
    pub reply: Duration,
}

/// Dials one server. It verifies the server's certificate and name, always, and never resumes a session.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    verifier: Arc<WebPkiServerVerifier>,
    target: Target,
    server_name: ServerName<'static>,
    frame: Arc<FramePolicy>,
    deadlines: Deadlines,
}

impl Client {
    /// A client for the server at `target`, whose certificate must hold the target's host. It speaks in
    /// messages with a 4-byte big-endian length until [`Client::speaking`] says otherwise.
    ///
    /// # Errors
    /// [`ClientError::Files`] with the first file that cannot be used: missing, half-readable, a key that
    /// others may read, or one that does not belong to the certificate.
    pub fn new(target: Target, files: &ClientFiles) -> Result<Self, ClientError> {
        let server_name = target.server_name().clone();
        let (config, verifier) = tls_config(files).map_err(ClientError::Files)?;
        let connector = TlsConnector::from(Arc::new(config));
        let frame = Arc::new(replies(DEFAULT_KIND).map_err(ClientError::Files)?);
        let deadlines = Deadlines::default();
        Ok(Self { connector, verifier, target, server_name, frame, deadlines })
    }

    /// The same client, for a server whose certificate holds another name than the one dialled.
    #[must_use]
    pub fn expecting(mut self, server_name: ServerName<'static>) -> Self {
        self.server_name = server_name;
        self
    }

    /// The same client, for a server that has one of these keys as well. Without any, every key that the
    /// trust file vouches for passes.
    #[must_use]
    pub fn pinned(mut self, pins: Vec<Pin>) -> Self {
        if !pins.is_empty() {
            let mut config = ClientConfig::clone(self.connector.config());
            let verifier = Pinned::new(Arc::clone(&self.verifier), pins);
            config.dangerous().set_certificate_verifier(Arc::new(verifier));
            self.connector = TlsConnector::from(Arc::new(config));
        }
        self
    }

    /// The same client, speaking in messages of this kind.
    ///
    /// # Errors
    /// [`ClientError::Files`] where the widest bounds of the kind contradict each other; no kind's do.
    pub fn speaking(mut self, kind: FrameKind) -> Result<Self, ClientError> {
        self.frame = Arc::new(replies(kind).map_err(ClientError::Files)?);
        Ok(self)
    }

    /// The same client with other deadlines.
    #[must_use]
    pub fn within(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Connects, trying every address of the name in turn until one decides.
    ///
    /// In TLS 1.3 a server that turns the client away says so after this returned, with the first reply.
    ///
    /// # Errors
    /// The first decision, or the fault of the address that was got nearest to.
    pub async fn connect(&self) -> Result<Connection, ClientError> {
        let (stream, at) = self.reach().await?;
        Ok(Connection::new(stream, at, &self.frame, self.deadlines.reply))
    }

    /// The bare stream, for whoever speaks in bytes. Otherwise as [`Client::connect`].
    pub(crate) async fn reach(&self) -> Result<(Stream, SocketAddr), ClientError> {
        let mut nearest = None;
        for address in self.addresses().await? {
            match self.dial(address).await {
                Err(fault) if fault.is_worth_another_try() => {
                    let further = |other: &ClientError| fault.nearness() > other.nearness();
                    if nearest.as_ref().is_none_or(further) {
                        nearest = Some(fault);
                    }
                }
                decided => return decided,
            }
        }
        Err(nearest.unwrap_or_else(|| self.no_such_host()))
    }

    /// Connects, and tries up to `retries` times more where the server could not be reached.
    ///
    /// The waits grow from 0.1 s to 5 s and are jittered, so that many clients do not come back at once.
    /// A decision, such as an alert or a certificate that is not believed, is never asked for again.
    ///
    /// # Errors
    /// As [`Client::connect`], of the last try.
    pub async fn connect_with_retries(&self, retries: u32) -> Result<Connection, ClientError> {
        let mut backoff = Backoff::new(SHORTEST_WAIT, LONGEST_WAIT);
        for _ in 0..retries {
            match self.connect().await {
                Err(fault) if fault.is_worth_another_try() => sleep(backoff.next_wait()).await,
                decided => return decided,
            }
        }
        self.connect().await
    }

    async fn addresses(&self) -> Result<impl Iterator<Item = SocketAddr>, ClientError> {
        let lookup = lookup_host((self.target.host(), self.target.port()));
        match timeout(self.deadlines.connect, lookup).await {
            Ok(Ok(addresses)) => Ok(addresses.take(MOST_ADDRESSES)),
            Ok(Err(_)) => Err(self.no_such_host()),
            Err(_) => Err(ClientError::Timeout {
                at: self.target.to_string(),
                step: Step::LookUp,
                limit: self.deadlines.connect,
            }),
        }
    }

    async fn dial(&self, at: SocketAddr) -> Result<(Stream, SocketAddr), ClientError> {
        let late = |step, limit| move |_| ClientError::Timeout { at: at.to_string(), step, limit };
        let Deadlines { connect, handshake, .. } = self.deadlines;
        let connecting = timeout(connect, TcpStream::connect(at)).await;
        let stream = connecting
            .map_err(late(Step::Connect, connect))?
            .map_err(|error| reasons::of_connect(&error, at))?;
        // Messages are small and awaited: none may wait for company. Where that cannot be had, it is slow.
        drop(stream.set_nodelay(true));
        let shaking = self.connector.connect(self.server_name.clone(), stream);
        let stream = timeout(handshake, shaking)
            .await
            .map_err(late(Step::Handshake, handshake))?
            .map_err(|error| reasons::of_handshake(&error, at))?;
        Ok((Box::new(stream), at))
    }

    fn no_such_host(&self) -> ClientError {
        ClientError::NoSuchHost { host: self.target.host().to_owned() }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("target", &self.target)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// 5 s to connect (two more SYN after the first, RFC 6298), 5 s for the handshake (the server's own
/// default), 10 s for a reply.
impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(5),
            reply: Duration::from_secs(10),
        }
    }
}

fn tls_config(files: &ClientFiles) -> Result<(ClientConfig, Arc<WebPkiServerVerifier>), Problem> {
    let mut roots = RootCertStore::empty();
    for anchor in read_chain(&files.trust)? {
        roots.add(anchor).map_err(|error| unfit(&files.trust, &error))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let verifier = verifier.map_err(|error| unfit_trust(&files.trust, &error))?;
    let chain = read_chain(&files.certificate)?;
    let own = paired(&files.certificate, chain, &files.key, read_key(&files.key)?)?;
    let believed: Arc<dyn ServerCertVerifier> = verifier.clone();
    let config = dialling_config(believed, own, ALL_VERSIONS)
        .map_err(|error| unusable(&files.certificate, &error))?;
    Ok((config, verifier))
}

fn unfit(trust: &Path, error: &dyn fmt::Display) -> Problem {
    let what = format!("{}: a certificate cannot be an authority: {error}", trust.display());
    Problem::error(Fault::HandshakeBadAnchor, what, "name only certificates of authorities")
}

fn unfit_trust(trust: &Path, error: &VerifierBuilderError) -> Problem {
    let what = format!("{} cannot be used to judge a server: {error}", trust.display());
    Problem::error(
        Fault::HandshakeBadAnchor,
        what,
        "name the certificates of the server's authorities",
    )
}

/// What a service may reply: anything of the kind, up to the largest message there is.
fn replies(kind: FrameKind) -> Result<FramePolicy, Problem> {
    let largest = match kind {
        FrameKind::LengthPrefixed { width, .. } => width.longest().min(FramePolicy::LARGEST_MAX),
        FrameKind::Lines | FrameKind::JsonLines | FrameKind::Raw => FramePolicy::LARGEST_MAX,
    };
    let policy = FramePolicy::new(kind).bounds(0, largest)?;
    match kind {
        FrameKind::JsonLines => policy.depth(DEEPEST_JSON)?.allow_control(json_control()),
        FrameKind::LengthPrefixed { .. } | FrameKind::Lines | FrameKind::Raw => {
            policy.text(Text::Any)
        }
    }
}

/// Control characters are for the JSON parser to judge: a tab may stand between two values.
fn json_control() -> impl Iterator<Item = char> {
    ('\0'..='\u{9F}').filter(|character| character.is_control() && *character != '\n')
}

/// What the server's own default is.
const DEFAULT_KIND: FrameKind =
    FrameKind::LengthPrefixed { width: LengthWidth::Four, order: ByteOrder::Big };
/// The deepest that a frame policy can allow.
const DEEPEST_JSON: u16 = 127;
/// A name with more addresses is a balanced pool, one of which is as good as another; with a connect
/// deadline of 5 s each, nobody waits for more.
const MOST_ADDRESSES: usize = 8;
/// Long enough for a server to open its port again after a restart, short enough not to be noticed.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// A person at a terminal waits no longer without a word.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

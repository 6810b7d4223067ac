//! A server of the check's own: the honest one, or Mallory's. It keeps what every visitor said to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorward::handshake::provider;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::papers::Shown;
use super::stage::{Stage, Stop};

/// The server. It closes when it is dropped.
#[derive(Debug)]
pub(crate) struct Host {
    address: SocketAddr,
    visits: Arc<Visits>,
    task: AbortHandle,
}

/// One connection to it, as it stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visit {
    /// Whether the visitor spoke TLS.
    pub(crate) tls: bool,
    /// Why the handshake failed, where it did.
    pub(crate) broke_off: Option<String>,
    /// What it said, as the server read it.
    pub(crate) said: Vec<u8>,
    /// Whether it is over.
    pub(crate) over: bool,
}

#[derive(Debug)]
struct Visits {
    all: Mutex<Vec<Visit>>,
    changed: watch::Sender<usize>,
}

/// What it does with a visitor.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// What it shows in a handshake; without it, it takes everything as it comes. With it, a visitor that
    /// speaks no TLS is listened to all the same, and the visit says so.
    pub(crate) papers: Option<Shown>,
    /// What it answers to every line.
    pub(crate) reply: Vec<u8>,
}

impl Host {
    /// Opens at a port that the system picks, and tells the stage of it.
    ///
    /// # Errors
    /// [`Stop::Machine`] where no socket can be had.
    pub(crate) async fn open(stage: &Stage, ip: IpAddr, manners: Manners) -> Result<Self, Stop> {
        let listener = TcpListener::bind((ip, 0)).await.map_err(Stop::machine)?;
        let address = listener.local_addr().map_err(Stop::machine)?;
        stage.opened(address.port());
        let acceptor = manners.papers.clone().map(acceptor).transpose()?;
        let (changed, _) = watch::channel(0);
        let visits = Arc::new(Visits { all: Mutex::default(), changed });
        let inside = Arc::clone(&visits);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (visits, acceptor, reply) =
                    (Arc::clone(&inside), acceptor.clone(), manners.reply.clone());
                tokio::spawn(async move { visits.receive(stream, acceptor, &reply).await });
            }
        });
        Ok(Self { address, visits, task: task.abort_handle() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every visit so far.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        self.visits.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the visits satisfy `wanted`, no longer than `limit`.
    pub(crate) async fn until(&self, limit: Duration, wanted: impl Fn(&[Visit]) -> bool) -> bool {
        let mut changed = self.visits.changed.subscribe();
        let waiting = async {
            while !wanted(&self.visits()) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, waiting).await.is_ok()
    }

    /// Everything that all visitors said.
    pub(crate) fn said(&self) -> Vec<u8> {
        self.visits().into_iter().flat_map(|visit| visit.said).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Visits {
    async fn receive(&self, stream: TcpStream, acceptor: Option<TlsAcceptor>, reply: &[u8]) {
        let index = self.begin();
        // The first byte of a TLS record of a handshake (RFC 8446, 5.1) tells the two apart.
        let mut first = [0];
        let speaks_tls = matches!(stream.peek(&mut first).await, Ok(1)) && first == [0x16];
        match acceptor {
            Some(acceptor) if speaks_tls => {
                self.note(index, |visit| visit.tls = true);
                match acceptor.accept(stream).await {
                    Ok(stream) => self.converse(index, stream, reply).await,
                    Err(error) => {
                        self.note(index, |visit| visit.broke_off = Some(error.to_string()));
                    }
                }
            }
            _ => self.converse(index, stream, reply).await,
        }
        self.note(index, |visit| visit.over = true);
    }

    async fn converse(
        &self,
        index: usize,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        reply: &[u8],
    ) {
        let mut buffer = [0; 4096];
        let mut kept = 0_usize;
        loop {
            let count = match stream.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    // In TLS 1.3 a client refuses the server's certificate after the server is done.
                    self.note(index, |visit| visit.broke_off = Some(error.to_string()));
                    return;
                }
            };
            let said = buffer.get(..count).unwrap_or_default();
            kept = kept.saturating_add(count);
            if kept <= MOST_KEPT {
                self.note(index, |visit| visit.said.extend_from_slice(said));
            }
            for _ in said.split(|byte| *byte == b'\n').skip(1) {
                if stream.write_all(reply).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        }
        drop(stream.shutdown().await);
    }

    fn begin(&self) -> usize {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Visit::default());
        let index = all.len().saturating_sub(1);
        drop(all);
        self.tell();
        index
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut Visit)) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(index).map(change);
        drop(all);
        self.tell();
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// A server that asks for no certificate, shows this one, and gives no tickets.
pub(crate) fn acceptor(papers: Shown) -> Result<TlsAcceptor, Stop> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Stop::machine)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(papers)));
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// More than any learner's client has to say.
const MOST_KEPT: usize = 1024 * 1024;

//! The man in the middle who only listens: passes bytes on both ways, and keeps a copy of all of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::knock::Target;
use super::stage::{Stage, Stop};

/// The relay. It closes when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    record: Arc<Mutex<Vec<Segment>>>,
    task: AbortHandle,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// Some bytes that passed.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Which connection, from 0.
    pub(crate) connection: usize,
    /// The client's address and the server's, as on the wire.
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) way: Way,
    pub(crate) at: SystemTime,
    pub(crate) bytes: Vec<u8>,
}

impl Relay {
    /// Opens at a port that the system picks, and passes every connection on.
    ///
    /// # Errors
    /// [`Stop::Machine`] where no socket can be had.
    pub(crate) async fn open(stage: &Stage, ip: IpAddr, to: Target) -> Result<Self, Stop> {
        let listener = TcpListener::bind((ip, 0)).await.map_err(Stop::machine)?;
        let address = listener.local_addr().map_err(Stop::machine)?;
        stage.opened(address.port());
        let record = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&record);
        let limit = stage.patience(std::time::Duration::from_secs(1));
        let task = tokio::spawn(async move {
            let mut connection = 0_usize;
            while let Ok((client, from)) = listener.accept().await {
                let Ok(server) = to.connect(None, limit).await else { continue };
                let pair =
                    Pair { connection, client: from, server: address, record: Arc::clone(&kept) };
                connection = connection.saturating_add(1);
                tokio::spawn(pair.pass(client, server));
            }
        });
        Ok(Self { address, record, task: task.abort_handle() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that passed so far, in its order.
    pub(crate) fn record(&self) -> Vec<Segment> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection and its continuation.
struct Pair {
    connection: usize,
    client: SocketAddr,
    server: SocketAddr,
    record: Arc<Mutex<Vec<Segment>>>,
}

impl Pair {
    async fn pass(self, client: TcpStream, server: TcpStream) {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            self.copy(from_client, to_server, Way::ToServer),
            self.copy(from_server, to_client, Way::ToClient)
        );
    }

    /// Copies until the end, which is passed on too.
    async fn copy(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = buffer.get(..count).unwrap_or_default();
            self.keep(way, bytes);
            if to.write_all(bytes).await.is_err() {
                break;
            }
        }
        drop(to.shutdown().await);
    }

    fn keep(&self, way: Way, bytes: &[u8]) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        if record.len() < MOST_SEGMENTS {
            record.push(Segment {
                connection: self.connection,
                client: self.client,
                server: self.server,
                way,
                at: SystemTime::now(),
                bytes: bytes.to_vec(),
            });
        }
    }
}

/// More than any conversation of an exercise has.
const MOST_SEGMENTS: usize = 4096;

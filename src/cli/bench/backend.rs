//! What a measured proxy forwards to: a listener of this process that echoes, swallows or sends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::words::{Wish, Words};

/// Listens until it is dropped.
pub(super) struct Backend {
    swallowed: Arc<AtomicU64>,
    _listening: AbortOnDropHandle<()>,
}

impl Backend {
    /// Listens at the address.
    pub(super) async fn at(address: SocketAddr, words: Words) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let swallowed = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&swallowed);
        let listening = tokio::spawn(async move {
            // A listener that broke fails every measurement after it, and says so there.
            while let Ok((stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                // How a connection ends is for the client to see.
                tokio::spawn(async move { drop(serve(stream, words, &counter).await) });
            }
        });
        Ok(Self { swallowed, _listening: AbortOnDropHandle::new(listening) })
    }

    /// How many bytes have been swallowed so far.
    pub(super) fn swallowed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.swallowed)
    }
}

async fn serve(mut stream: TcpStream, words: Words, swallowed: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut wish = words.opening(Wish::Echo);
    let is_echo = wish.clone();
    stream.read_exact(&mut wish).await?;
    if wish == is_echo {
        return echo(stream).await;
    }
    if wish == words.opening(Wish::Sink) {
        let mut room = vec![0; ROOM];
        while let more @ 1.. = stream.read(&mut room).await? {
            count(swallowed, more);
        }
    }
    if wish == words.opening(Wish::Source) {
        let flood = words.flood();
        loop {
            stream.write_all(&flood).await?;
        }
    }
    Ok(())
}

/// Small at first: most connections say one small message.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut room = vec![0; SMALL_ROOM];
    loop {
        let read = stream.read(&mut room).await?;
        let Some(heard @ [_, ..]) = room.get(..read) else { return Ok(()) };
        stream.write_all(heard).await?;
        if read == SMALL_ROOM {
            room.resize(ROOM, 0);
        }
    }
}

pub(super) fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or(0), Ordering::Relaxed);
}

const SMALL_ROOM: usize = 1 << 10;
/// As much as is read at once, so that the server and not the system calls here are what takes time.
pub(super) const ROOM: usize = 256 << 10;

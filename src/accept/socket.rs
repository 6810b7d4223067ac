//! A visitor's connection, which is read ahead while it is in a rush.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// A connection whose reads are few while much arrives, and which holds nothing while little does.
///
/// TLS asks for 4 KiB at a time. A system call for each of them halves what one core can move; so once such a read
/// came back full, the next ones take what is there, up to 64 KiB, and the rest of it is in memory already.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    ahead: BytesMut,
    in_a_rush: bool,
}

impl Socket {
    /// The connection, as the door took it.
    #[must_use]
    pub fn new(tcp: TcpStream) -> Self {
        Self { tcp, ahead: BytesMut::new(), in_a_rush: false }
    }

    /// The connection below, to be asked for addresses and options.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    fn poll_directly(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = into.remaining();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, into))?;
        self.in_a_rush = room >= SMALLEST_RUSH && into.remaining() == 0;
        Poll::Ready(Ok(()))
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.ahead.reserve(AHEAD);
        let mut room = (&mut self.ahead).limit(AHEAD);
        let Poll::Ready(read) = poll_read_buf(Pin::new(&mut self.tcp), cx, &mut room)? else {
            // Nothing may come for long: until it does, nothing is held.
            self.ahead = BytesMut::new();
            return Poll::Pending;
        };
        self.in_a_rush = read >= SMALLEST_RUSH;
        self.take(into);
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, into: &mut ReadBuf<'_>) {
        let taken = self.ahead.split_to(self.ahead.len().min(into.remaining()));
        into.put_slice(&taken);
        if !self.ahead.has_remaining() && !self.in_a_rush {
            self.ahead = BytesMut::new();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.has_remaining() {
            this.take(into);
            return Poll::Ready(Ok(()));
        }
        if this.in_a_rush && into.remaining() < AHEAD {
            this.poll_ahead(cx, into)
        } else {
            this.poll_directly(cx, into)
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// What TLS asks for at a time (rustls 0.23). Whoever sent more than that at once sends more.
const SMALLEST_RUSH: usize = 4096;
/// Four TLS records: measured, 64 KiB move twice as much as 4 KiB, and more does little.
const AHEAD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (there, here) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Socket::new(here.unwrap().0), there.unwrap())
    }

    #[tokio::test]
    async fn every_byte_arrives_once_and_in_order_however_it_is_asked_for() {
        let (mut socket, mut there) = pair().await;
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
        let sending = tokio::spawn({
            let sent = sent.clone();
            async move {
                let mut rest = sent.as_slice();
                for size in [1, 4096, 5, 70_000, 100_000].into_iter().cycle() {
                    let (now, later) = rest.split_at(size.min(rest.len()));
                    there.write_all(now).await.unwrap();
                    rest = later;
                    if rest.is_empty() {
                        return;
                    }
                }
            }
        });
        let mut heard = Vec::new();
        for size in [4096, 4096, 4096, 1, 10_000, 200_000, 3].into_iter().cycle() {
            let mut room = vec![0; size];
            let read = socket.read(&mut room).await.unwrap();
            heard.extend_from_slice(&room[..read]);
            if read == 0 {
                break;
            }
        }
        sending.await.unwrap();
        assert!(heard == sent);
    }

    #[tokio::test]
    async fn whoever_waits_holds_nothing() {
        let (mut socket, mut there) = pair().await;
        there.write_all(&[7; 10_000]).await.unwrap();
        let mut room = [0; 4096];
        let mut left: usize = 10_000;
        let mut most_held = 0;
        while left > 0 {
            left -= socket.read(&mut room).await.unwrap();
            most_held = most_held.max(socket.ahead.capacity());
        }
        assert!(most_held > 0, "a rush is read ahead");
        assert!(futures_util::FutureExt::now_or_never(socket.read(&mut room)).is_none());
        assert_eq!(socket.ahead.capacity(), 0);
    }
}

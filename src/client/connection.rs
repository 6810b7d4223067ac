//! A framed connection, whole or in two halves.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::error::{self, ClientError, Trouble};
use crate::frame::{Decoder, FrameKind, FramePolicy, Text};
use crate::problem::Problem;

type Stream = Box<TlsStream<TcpStream>>;

/// A connection on which the server's certificate was accepted.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    address: String,
}

/// What goes to the server.
#[derive(Debug)]
pub struct Sender {
    half: WriteHalf<Stream>,
    policy: Arc<FramePolicy>,
    address: String,
}

/// What comes from the server.
#[derive(Debug)]
pub struct Receiver {
    half: ReadHalf<Stream>,
    buffer: BytesMut,
    decoder: Decoder,
    address: String,
    heard: bool,
}

impl Connection {
    pub(super) fn new(stream: Stream, address: String) -> Self {
        Self { stream, address }
    }

    /// Both directions, speaking in messages of this kind.
    ///
    /// # Errors
    /// None for the kinds there are; a kind whose bounds cannot be widened would be one.
    pub fn framed(self, kind: FrameKind) -> Result<(Sender, Receiver), Problem> {
        let policy = Arc::new(replies(kind)?);
        let (read, write) = split(self.stream);
        let address = self.address.clone();
        let sender = Sender { half: write, policy: Arc::clone(&policy), address };
        let decoder = Decoder::new(policy);
        let buffer = BytesMut::new();
        let receiver =
            Receiver { half: read, buffer, decoder, address: self.address, heard: false };
        Ok((sender, receiver))
    }
}

impl Sender {
    /// Sends a message.
    ///
    /// # Errors
    /// [`Trouble::BadMessage`] where it cannot be one of the kind; [`Trouble::TurnedAway`] where the
    /// server takes no more: the reason comes with the next reply that is asked for.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ClientError> {
        let mut wire = BytesMut::new();
        let bad = |refused: crate::refusal::Refused| {
            Trouble::BadMessage.at(&self.address).saying(refused.detail())
        };
        self.policy.encode(message, &mut wire).map_err(bad)?;
        let sending = async {
            self.half.write_all(&wire).await?;
            self.half.flush().await
        };
        match timeout(LONGEST_STALL, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error::of_read(&error).at(&self.address)),
            Err(_) => Err(Trouble::ReplyTimeout.at(&self.address)),
        }
    }

    /// Ends this side with `close_notify`; the server may still answer.
    pub async fn finish(&mut self) {
        // A server that is gone already needs no telling.
        drop(timeout(LONGEST_STALL, self.half.shutdown()).await);
    }
}

impl Receiver {
    /// The next reply; none where the server ended properly after one at least.
    ///
    /// # Errors
    /// [`Trouble::ReplyTimeout`], [`Trouble::BadReply`], and what the server's alert means. An end
    /// before the first reply is [`Trouble::TurnedAway`].
    pub async fn receive(&mut self, within: Duration) -> Result<Option<Bytes>, ClientError> {
        match timeout(within, self.next()).await {
            Ok(reply) => reply,
            Err(_) => Err(Trouble::ReplyTimeout.at(&self.address)),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let bad = |refused: crate::refusal::Refused| {
                Trouble::BadReply.at(&self.address).saying(refused.detail())
            };
            if let Some(frame) = self.decoder.decode(&mut self.buffer).map_err(bad)? {
                self.heard = true;
                return Ok(Some(frame.into_payload()));
            }
            let room = self.decoder.wanted(&self.buffer).clamp(1, READ_AT_ONCE);
            self.buffer.reserve(room);
            match self.half.read_buf(&mut (&mut self.buffer).limit(room)).await {
                Ok(0) if self.heard && self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(Trouble::TurnedAway.at(&self.address)),
                Ok(_) => {}
                Err(error) => return Err(error::of_read(&error).at(&self.address)),
            }
        }
    }
}

/// What a service may answer: anything of the kind, up to the largest message there is.
fn replies(kind: FrameKind) -> Result<FramePolicy, Problem> {
    let largest = match kind {
        FrameKind::LengthPrefixed { width, .. } => width.longest().min(FramePolicy::LARGEST_MAX),
        FrameKind::Lines | FrameKind::JsonLines | FrameKind::Raw => FramePolicy::LARGEST_MAX,
    };
    let policy = FramePolicy::new(kind).bounds(0, largest)?;
    match kind {
        FrameKind::JsonLines => policy.depth(127),
        FrameKind::LengthPrefixed { .. } | FrameKind::Lines | FrameKind::Raw => {
            policy.text(Text::Any)
        }
    }
}

/// One TLS record (RFC 8446 section 5.1).
const READ_AT_ONCE: usize = 16 * 1024;
/// A server that takes nothing for so long is stuck.
const LONGEST_STALL: Duration = Duration::from_secs(30);

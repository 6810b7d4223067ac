//! A connection in messages: whole, for one who asks and waits, or in two halves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use super::error::{Away, ClientError, Moment, Side, Step};
use super::{Stream, reasons};
use crate::frame::{Decoder, Frame, FramePolicy};

/// A connection to a server whose certificate was believed.
///
/// Whether the server believes the client is only known with the first reply.
#[derive(Debug)]
pub struct Connection {
    writer: MessageWriter,
    reader: ReplyReader,
}

/// What goes to the server.
#[derive(Debug)]
pub struct MessageWriter {
    half: WriteHalf<Stream>,
    policy: Arc<FramePolicy>,
    server: SocketAddr,
    limit: Duration,
}

/// What comes from the server.
#[derive(Debug)]
pub struct ReplyReader {
    half: ReadHalf<Stream>,
    buffer: BytesMut,
    decoder: Decoder,
    server: SocketAddr,
    limit: Duration,
    heard: Heard,
    ended: Ended,
}

/// Whether the server has said anything yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    NotYet,
    Ended,
}

impl Connection {
    pub(super) fn new(
        stream: Stream,
        server: SocketAddr,
        policy: &Arc<FramePolicy>,
        limit: Duration,
    ) -> Self {
        let (read, write) = split(stream);
        let policy = Arc::clone(policy);
        let reader = ReplyReader {
            half: read,
            buffer: BytesMut::new(),
            decoder: Decoder::new(Arc::clone(&policy)),
            server,
            limit,
            heard: Heard::Nothing,
            ended: Ended::NotYet,
        };
        Self { writer: MessageWriter { half: write, policy, server, limit }, reader }
    }

    /// Sends a message and waits for the reply to it.
    ///
    /// # Errors
    /// [`ClientError::TurnedAway`] where the server ends the session instead, and as
    /// [`MessageWriter::send`] and [`ReplyReader::reply`]. Where the server takes no more, what it says
    /// of that counts, and a last reply of it is a reply.
    pub async fn ask(&mut self, message: &[u8]) -> Result<Frame, ClientError> {
        let sent = self.writer.send(message).await;
        let stopped = match sent {
            Err(error @ (ClientError::Reset { .. } | ClientError::Timeout { .. })) => Some(error),
            Err(error) => return Err(error),
            Ok(()) => None,
        };
        let replied = self.reader.reply().await;
        match (replied, stopped) {
            (Ok(Some(reply)), _) => Ok(reply),
            (Ok(None), _) => Err(self.reader.turned_away()),
            (Err(ClientError::ReplyTimeout { .. }), Some(stopped)) => Err(stopped),
            (Err(error), _) => Err(error),
        }
    }

    /// Ends the client's side with `close_notify`. Replies may still come.
    ///
    /// # Errors
    /// As [`MessageWriter::finish`].
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        self.writer.finish().await
    }

    /// The next reply, as [`ReplyReader::reply`].
    ///
    /// # Errors
    /// As [`ReplyReader::reply`].
    pub async fn reply(&mut self) -> Result<Option<Frame>, ClientError> {
        self.reader.reply().await
    }

    /// Both halves, to send and receive at the same time.
    #[must_use]
    pub fn split(self) -> (MessageWriter, ReplyReader) {
        (self.writer, self.reader)
    }

    /// The address that answered.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.reader.server
    }
}

impl MessageWriter {
    /// Sends a message, within the deadline of a reply.
    ///
    /// # Errors
    /// [`ClientError::Frame`] where it cannot be a message of the kind; nothing was sent then.
    /// [`ClientError::Reset`] where the server takes no more: its reason is read from the replies.
    /// [`ClientError::Timeout`] where it does not read; part of the message is under way then.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ClientError> {
        let mut wire = BytesMut::new();
        let unfit = |refused| ClientError::Frame { side: Side::Message, refused };
        self.policy.encode(message, &mut wire).map_err(unfit)?;
        let sending = async {
            self.half.write_all(&wire).await?;
            self.half.flush().await
        };
        match timeout(self.limit, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => Err(self.stalled()),
        }
    }

    /// Ends the client's side with `close_notify`. The server may still reply.
    ///
    /// # Errors
    /// [`ClientError::Reset`] where the server is gone, [`ClientError::Timeout`] where it does not read.
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        match timeout(self.limit, self.half.shutdown()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => Err(self.stalled()),
        }
    }

    fn gone(&self) -> ClientError {
        ClientError::Reset { at: self.server, moment: Moment::InSession }
    }

    fn stalled(&self) -> ClientError {
        ClientError::Timeout { at: self.server.to_string(), step: Step::Send, limit: self.limit }
    }
}

impl ReplyReader {
    /// The next whole reply within the deadline; none where the server ended its side properly.
    ///
    /// # Errors
    /// [`ClientError::ReplyTimeout`]; otherwise as [`ReplyReader::wait`].
    pub async fn reply(&mut self) -> Result<Option<Frame>, ClientError> {
        let limit = self.limit;
        match timeout(limit, self.wait()).await {
            Ok(reply) => reply,
            Err(_) => Err(ClientError::ReplyTimeout { limit }),
        }
    }

    /// The next whole reply however long it takes, for a caller with a clock of its own; none where the
    /// server ended its side properly. A wait that is dropped loses nothing.
    ///
    /// # Errors
    /// [`ClientError::TurnedAway`] with the server's alert, or where the connection broke before any
    /// reply; [`ClientError::Reset`] where it broke later; [`ClientError::Frame`] for a reply that is not
    /// well formed. There are no replies after an error.
    pub async fn wait(&mut self) -> Result<Option<Frame>, ClientError> {
        if self.ended == Ended::Ended {
            return Ok(None);
        }
        let next = self.next().await;
        match &next {
            Ok(Some(_)) => self.heard = Heard::Something,
            Ok(None) | Err(_) => self.ended = Ended::Ended,
        }
        next
    }

    /// What it means that the server ended the session although a reply was due.
    #[must_use]
    pub fn turned_away(&self) -> ClientError {
        ClientError::TurnedAway(match self.heard {
            Heard::Nothing => Away::Unheard,
            Heard::Something => Away::Ended,
        })
    }

    /// Whether any reply came.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        self.heard == Heard::Something
    }

    async fn next(&mut self) -> Result<Option<Frame>, ClientError> {
        let malformed = |refused| ClientError::Frame { side: Side::Reply, refused };
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.buffer).map_err(malformed)? {
                return Ok(Some(frame));
            }
            let wanted = self.decoder.wanted(&self.buffer).clamp(1, READ_AT_ONCE);
            self.buffer.reserve(wanted);
            let mut room = (&mut self.buffer).limit(wanted);
            match self.half.read_buf(&mut room).await {
                Ok(0) => return self.decoder.finish(&mut self.buffer).map_err(malformed),
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    fn broken(&self, error: &std::io::Error) -> ClientError {
        match (reasons::of_session(error), self.heard) {
            (Some(reason), _) => reason,
            (None, Heard::Nothing) => self.turned_away(),
            (None, Heard::Something) => {
                ClientError::Reset { at: self.server, moment: Moment::InSession }
            }
        }
    }
}

/// One TLS record (RFC 8446 section 5.1).
const READ_AT_ONCE: usize = 16 * 1024;

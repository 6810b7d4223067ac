//! The relay: what the visitor says goes up, what the upstream answers comes down, half-closes kept.
//!
//! Each direction holds one read's worth of bytes and reads no more until they are written, so a side
//! that does not read makes the other side wait instead of filling memory.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};
use tokio::time::timeout;
use tokio_util::io::poll_read_buf;
use tokio_util::sync::CancellationToken;

use super::dial::{Line, said_in_tls};
use crate::frame::Decoder;
use crate::refusal::{Refusal, Refused};
use crate::service::{FrameReader, FrameWriter, Frames, give_back};

/// Relays a session until both sides have ended theirs, or one of them breaks.
pub(super) async fn relay(frames: &mut Frames, upstream: Line) -> Result<(), Refused> {
    let (from_upstream, to_upstream) = split(upstream);
    let ending = Ending::default();
    let idle = frames.idle();
    let judge = frames.judge_of_answers();
    let (reader, writer) = frames.halves();
    let down = Down { upstream: from_upstream, writer, judge, idle, ending: &ending };
    tokio::try_join!(up(reader, to_upstream, &ending), down.run())?;
    Ok(())
}

/// Which side has ended, for the other direction to know.
#[derive(Debug, Default)]
struct Ending {
    said_all: AtomicBool,
    /// Writing met a reset. The system tells of it once, and reading sees an end like any other.
    was_reset: AtomicBool,
    answered_all: CancellationToken,
}

/// Visitor to upstream, until the visitor ends its side; then the upstream is told so.
async fn up(
    reader: &mut FrameReader,
    mut upstream: impl AsyncWrite + Unpin,
    ending: &Ending,
) -> Result<(), Refused> {
    while let Some(frame) = reader.next().await {
        let frame = frame?;
        let written = timeout(LONGEST_STALL, async {
            upstream.write_all(frame.wire()).await?;
            upstream.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let was_reset = error.kind() == io::ErrorKind::ConnectionReset;
                ending.was_reset.store(was_reset, Ordering::Relaxed);
                return unheard(reader, ending).await;
            }
            Err(_) => return Err(Refusal::ServiceTimeout.because("the upstream stopped reading")),
        }
    }
    ending.said_all.store(true, Ordering::Relaxed);
    // An upstream that is gone already needs no telling.
    drop(timeout(LONGEST_STALL, upstream.shutdown()).await);
    Ok(())
}

/// The upstream takes no more: what it still answers goes on to the visitor, who may talk until then.
async fn unheard(reader: &mut FrameReader, ending: &Ending) -> Result<(), Refused> {
    let talking = async {
        while let Some(frame) = reader.next().await {
            frame?;
        }
        ending.said_all.store(true, Ordering::Relaxed);
        Ok(())
    };
    tokio::select! {
        biased;
        () = ending.answered_all.cancelled() => Ok(()),
        talked = talking => talked,
    }
}

/// Upstream to visitor, until the upstream ends its side; then the visitor is told so.
struct Down<'s, R> {
    upstream: R,
    writer: &'s mut FrameWriter,
    judge: Option<Decoder>,
    idle: Duration,
    ending: &'s Ending,
}

impl<R: AsyncRead + Unpin> Down<'_, R> {
    async fn run(mut self) -> Result<(), Refused> {
        let mut buffer = BytesMut::new();
        let mut room = SMALLEST_READ;
        loop {
            let wanted = self.judge.as_ref().map_or(room, |judge| judge.wanted(&buffer).min(room));
            match timeout(self.idle, read(&mut self.upstream, &mut buffer, wanted.max(1))).await {
                Ok(Ok(0)) => return self.finish(&mut buffer).await,
                Ok(Ok(read)) => {
                    self.pass(&mut buffer).await?;
                    room = next_room(room, read);
                }
                Ok(Err(error)) => return Err(broke_off(&error)),
                // While the visitor may still speak, its own idle deadline decides.
                Err(_) if !self.ending.said_all.load(Ordering::Relaxed) => {}
                Err(_) => return Err(Refusal::FrameIdle.because("neither side says anything")),
            }
        }
    }

    /// Passes on what came: all of it, or the answers in it that are whole and well formed.
    async fn pass(&mut self, buffer: &mut BytesMut) -> Result<(), Refused> {
        let Some(judge) = &mut self.judge else {
            let passed = self.writer.pass(buffer).await;
            buffer.clear();
            return passed;
        };
        let mut whole = BytesMut::new();
        let judged = loop {
            match judge.decode(buffer) {
                Ok(Some(answer)) => whole.extend_from_slice(answer.wire()),
                Ok(None) => break Ok(()),
                Err(refused) => break Err(bad_answer(&refused)),
            }
        };
        if !whole.is_empty() {
            self.writer.pass(&whole).await?;
        }
        judged
    }

    async fn finish(mut self, buffer: &mut BytesMut) -> Result<(), Refused> {
        if self.ending.was_reset.load(Ordering::Relaxed) {
            return Err(broke_off(&io::ErrorKind::ConnectionReset.into()));
        }
        if let Some(judge) = &mut self.judge {
            judge.finish(buffer).map_err(|refused| bad_answer(&refused))?;
        }
        self.ending.answered_all.cancel();
        self.writer.close().await
    }
}

/// Reads at most so much, and holds nothing while there is nothing.
async fn read<R>(from: &mut R, into: &mut BytesMut, most: usize) -> io::Result<usize>
where
    R: AsyncRead + Unpin,
{
    poll_fn(|cx| {
        into.reserve(most);
        let read = poll_read_buf(Pin::new(from), cx, &mut into.limit(most));
        if read.is_pending() {
            give_back(into);
        }
        read
    })
    .await
}

fn bad_answer(refused: &Refused) -> Refused {
    Refusal::ServiceBadAnswer.because(refused.to_string())
}

fn broke_off(error: &io::Error) -> Refused {
    let why = match said_in_tls(error) {
        Some(said) => format!("the upstream broke off: {said}"),
        None => format!("the upstream broke off: {}", error.kind()),
    };
    Refusal::ServiceFailed.because(why)
}

/// How much to read next: more after a read that was full, little again after a small one.
fn next_room(room: usize, read: usize) -> usize {
    if read >= room {
        room.saturating_mul(4).min(LARGEST_READ)
    } else if read <= SMALLEST_READ {
        SMALLEST_READ
    } else {
        room
    }
}

/// A session holds this much while it waits for an answer.
const SMALLEST_READ: usize = 4 * 1024;
/// Four TLS records: system calls a MiB decide how fast a bulk transfer is; beyond this, less and less.
const LARGEST_READ: usize = 64 * 1024;
/// An upstream that takes nothing for so long is stuck.
const LONGEST_STALL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rush_gets_room_and_gives_it_back() {
        let grown = next_room(next_room(SMALLEST_READ, SMALLEST_READ), 4 * SMALLEST_READ);
        assert_eq!(grown, LARGEST_READ);
        assert_eq!(next_room(LARGEST_READ, LARGEST_READ), LARGEST_READ);
        assert_eq!(next_room(LARGEST_READ, 20_000), LARGEST_READ);
        assert_eq!(next_room(LARGEST_READ, 100), SMALLEST_READ);
    }
}

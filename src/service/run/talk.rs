//! What is said between a visitor and a program, each way, with its framing and its deadlines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Streams;
use crate::frame::{Decoder, Frame, FrameKind, FramePolicy};
use crate::refusal::{Refusal, Refused};
use crate::service::{FrameReader, FrameWriter};

/// How the messages of a session look on a program's streams.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    visitor: Arc<FramePolicy>,
    program: Arc<FramePolicy>,
}

impl Dialect {
    /// The dialect of a program that stands behind `policy`.
    pub(super) fn new(streams: Streams, policy: &Arc<FramePolicy>) -> Self {
        let program = match (streams, policy.kind()) {
            (Streams::Lines, FrameKind::LengthPrefixed { .. }) => Arc::new(policy.in_lines()),
            (Streams::Frames | Streams::Lines, _) => Arc::clone(policy),
        };
        Self { visitor: Arc::clone(policy), program }
    }

    /// A message that passed one side's rules, as the other side reads it.
    fn put(&self, frame: &Frame, to: &FramePolicy, out: &mut BytesMut) -> Result<(), Refused> {
        if self.visitor.kind() == self.program.kind() {
            out.put_slice(frame.wire());
            return Ok(());
        }
        to.encode(frame.payload(), out)
    }

    /// Every whole answer in `read`, as the visitor reads it; the refusal of the first that is none.
    fn answers(
        &self,
        decoder: &mut Decoder,
        read: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<(), Refused> {
        while let Some(frame) = decoder.decode(read)? {
            self.put(&frame, &self.visitor, out)?;
        }
        Ok(())
    }
}

/// Visitor to program, until the visitor ends its side; then the program reads the end.
pub(super) async fn to_program(
    reader: &mut FrameReader,
    mut stdin: impl AsyncWrite + Unpin,
    dialect: &Dialect,
    said_all: &AtomicBool,
) -> Result<(), Refused> {
    let mut out = BytesMut::new();
    let mut listening = true;
    while let Some(frame) = reader.next().await {
        let frame = frame?;
        if !listening {
            continue;
        }
        out.clear();
        dialect.put(&frame, &dialect.program, &mut out)?;
        listening = write(&mut stdin, &out).await?;
    }
    said_all.store(true, Ordering::Relaxed);
    Ok(())
}

/// Writes as fast as the program reads; false where it has closed its side, which it may.
async fn write(stdin: &mut (impl AsyncWrite + Unpin), mut rest: &[u8]) -> Result<bool, Refused> {
    while !rest.is_empty() {
        match timeout(LONGEST_STALL, stdin.write(rest)).await {
            Ok(Ok(written)) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
            Ok(Ok(_) | Err(_)) => return Ok(false),
            Err(_) => return Err(Refusal::ServiceTimeout.because("the program stopped reading")),
        }
    }
    Ok(true)
}

/// Program to visitor, until the program ends its side; then the visitor is told so.
pub(super) async fn from_program(
    mut stdout: impl AsyncRead + Unpin,
    writer: &mut FrameWriter,
    dialect: &Dialect,
    idle: Duration,
    said_all: &AtomicBool,
) -> Result<(), Refused> {
    let mut decoder = Decoder::new(Arc::clone(&dialect.program));
    let (mut read, mut out) = (BytesMut::new(), BytesMut::new());
    loop {
        let wanted = decoder.wanted(&read).clamp(1, LARGEST_READ);
        read.reserve(wanted);
        let mut room = (&mut read).limit(wanted);
        match timeout(idle, stdout.read_buf(&mut room)).await {
            Ok(Ok(0)) => {
                // A whole message would have been taken out before: what is left is half of one.
                decoder.finish(&mut read).map_err(bad_answer)?;
                return writer.close().await;
            }
            Ok(Ok(_)) => {
                out.clear();
                let judged = dialect.answers(&mut decoder, &mut read, &mut out);
                if !out.is_empty() {
                    writer.pass(&out).await?;
                }
                judged.map_err(bad_answer)?;
            }
            Ok(Err(error)) => {
                let why = format!("the program broke off: {}", error.kind());
                return Err(Refusal::ServiceFailed.because(why));
            }
            // While the visitor may still speak, its own idle deadline decides.
            Err(_) if !said_all.load(Ordering::Relaxed) => {}
            Err(_) => return Err(Refusal::FrameIdle.because("neither side says anything")),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where map_err hands an error over")]
fn bad_answer(refused: Refused) -> Refused {
    Refusal::ServiceBadAnswer.because(refused.to_string())
}

/// A program that takes nothing for so long is stuck.
const LONGEST_STALL: Duration = Duration::from_secs(30);
/// One TLS record (RFC 8446 section 5.1).
const LARGEST_READ: usize = 16 * 1024;

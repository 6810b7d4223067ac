//! Frame rules that are only tried: the bytes that passed the gate in force are judged by them as well.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::sync::oneshot;

use crate::frame::{Decoder, Frame, FramePolicy, Pace};
use crate::refusal::Refused;

/// A second frame gate, which tells of the first message that it would refuse, and then has nothing to say.
pub(super) struct Doubt {
    decoder: Decoder,
    pace: Option<Pace>,
    buffer: BytesMut,
    tell: oneshot::Sender<Refused>,
}

impl Doubt {
    /// A gate at the beginning of a session, and where its doubt is heard.
    pub(super) fn new(
        policy: &Arc<FramePolicy>,
        now: Instant,
    ) -> (Self, oneshot::Receiver<Refused>) {
        let (tell, told) = oneshot::channel();
        let pace = policy.rate().map(|rate| Pace::new(rate, now));
        let decoder = Decoder::new(Arc::clone(policy));
        (Self { decoder, pace, buffer: BytesMut::new(), tell }, told)
    }

    /// Judges more bytes of the session; gives itself back unless it has told its doubt.
    ///
    /// What it keeps is less than the longest message of both gates: a longer one is refused by one of them.
    pub(super) fn judge(mut self, bytes: &[u8], now: Instant) -> Option<Self> {
        self.buffer.extend_from_slice(bytes);
        loop {
            let refused = match self.decoder.decode(&mut self.buffer) {
                Ok(None) => return Some(self),
                Ok(Some(_)) => self.pace.as_mut().and_then(|pace| pace.take(now).err()),
                Err(refused) => Some(refused),
            };
            if let Some(refused) = refused {
                return self.say(refused);
            }
        }
    }

    /// Judges what is left at the end of the session.
    pub(super) fn finish(mut self) {
        let finished: Result<Option<Frame>, Refused> = self.decoder.finish(&mut self.buffer);
        if let Err(refused) = finished {
            self.say(refused);
        }
    }

    fn say(self, refused: Refused) -> Option<Self> {
        // Whoever listened may have gone.
        drop(self.tell.send(refused));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ByteOrder, FrameKind, LengthWidth};

    fn doubt(policy: FramePolicy) -> (Doubt, oneshot::Receiver<Refused>) {
        Doubt::new(&Arc::new(policy), Instant::now())
    }

    #[test]
    fn other_kinds_are_tried_on_the_same_bytes() {
        let (mut lines, mut told) = doubt(FramePolicy::new(FrameKind::Lines));
        for bytes in [&b"o"[..], b"ne\ntw", b"o\n"] {
            lines = lines.judge(bytes, Instant::now()).unwrap();
        }
        assert!(told.try_recv().is_err());
        assert!(lines.judge(b"\x01\n", Instant::now()).is_none());
        assert_eq!(told.try_recv().unwrap().code(), "frame.control-character");
        let kind = FrameKind::LengthPrefixed { width: LengthWidth::Four, order: ByteOrder::Big };
        let (prefixed, mut told) = doubt(FramePolicy::new(kind));
        assert!(prefixed.judge(b"GET / HTTP/1.1\r\n", Instant::now()).is_none());
        assert_eq!(told.try_recv().unwrap().code(), "frame.too-long");
    }

    #[test]
    fn half_a_message_at_the_end_is_told_of() {
        let (lines, mut told) = doubt(FramePolicy::new(FrameKind::Lines));
        lines.judge(b"half", Instant::now()).unwrap().finish();
        assert_eq!(told.try_recv().unwrap().code(), "frame.truncated");
    }
}

//! From bytes to messages: looks at the length before it asks for the bytes.

use std::sync::Arc;

use bytes::{Buf, BytesMut};

use super::{ByteOrder, Frame, FrameKind, FramePolicy, LengthWidth, json, text};
use crate::refusal::{Refusal, Refused};

/// Takes messages out of a buffer, one after the other. It owns no bytes and never waits.
#[derive(Debug)]
pub struct Decoder {
    policy: Arc<FramePolicy>,
    /// How much of the buffer is known to hold no line ending.
    searched: usize,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new(policy: Arc<FramePolicy>) -> Self {
        Self { policy, searched: 0 }
    }

    /// The next whole message in the buffer, taken out of it; none where more bytes are needed.
    ///
    /// # Errors
    /// The reason, as soon as the bytes that came so far cannot become a message that passes. The
    /// stream has no further messages then.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Refused> {
        match self.policy.kind() {
            FrameKind::LengthPrefixed { width, order } => self.prefixed(buffer, width, order),
            FrameKind::Lines | FrameKind::JsonLines => self.line(buffer),
            FrameKind::Raw => Ok(self.raw(buffer)),
        }
    }

    /// What is left at the end of the stream.
    ///
    /// # Errors
    /// [`Refusal::FrameTruncated`] where that is the beginning of a message.
    pub fn finish(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Refused> {
        let last = self.decode(buffer)?;
        if last.is_none() && !buffer.is_empty() {
            return Err(
                Refusal::FrameTruncated.because(format!("after {} bytes of it", buffer.len()))
            );
        }
        Ok(last)
    }

    /// How many more bytes may be kept: what the present message still lacks, within its bounds.
    #[must_use]
    pub fn wanted(&self, buffer: &BytesMut) -> usize {
        let whole = match self.policy.kind() {
            FrameKind::LengthPrefixed { width, .. } => {
                self.policy.max().saturating_add(width.bytes())
            }
            FrameKind::Lines | FrameKind::JsonLines => {
                self.policy.max().saturating_add(LINE_ENDING)
            }
            FrameKind::Raw => self.policy.max(),
        };
        whole.saturating_sub(buffer.len())
    }

    fn prefixed(
        &self,
        buffer: &mut BytesMut,
        width: LengthWidth,
        order: ByteOrder,
    ) -> Result<Option<Frame>, Refused> {
        let Some(announced) = announced(buffer, width, order) else { return Ok(None) };
        self.bound(announced)?;
        let whole = width.bytes().saturating_add(announced);
        if buffer.len() < whole {
            return Ok(None);
        }
        let wire = buffer.split_to(whole).freeze();
        let payload = wire.slice(width.bytes()..);
        self.judge(Frame { wire, payload }).map(Some)
    }

    fn line(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Refused> {
        let unsearched = buffer.get(self.searched..).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\n', unsearched) else {
            self.searched = buffer.len();
            // One byte more may be the carriage return of the ending.
            if buffer.len() > self.policy.max().saturating_add(1) {
                return Err(self.too_long(buffer.len()));
            }
            return Ok(None);
        };
        let end = self.searched.saturating_add(found);
        self.searched = 0;
        let wire = buffer.split_to(end.saturating_add(1)).freeze();
        let mut payload = wire.slice(..end);
        if payload.ends_with(b"\r") {
            payload.truncate(payload.len().saturating_sub(1));
        }
        self.bound(payload.len())?;
        self.judge(Frame { wire, payload }).map(Some)
    }

    fn raw(&self, buffer: &mut BytesMut) -> Option<Frame> {
        if !buffer.has_remaining() {
            return None;
        }
        let length = buffer.len().min(self.policy.max());
        let wire = buffer.split_to(length).freeze();
        Some(Frame { payload: wire.clone(), wire })
    }

    fn bound(&self, length: usize) -> Result<(), Refused> {
        if length > self.policy.max() {
            return Err(self.too_long(length));
        }
        if length < self.policy.min() {
            let what = format!("{length} bytes, at least {}", self.policy.min());
            return Err(Refusal::FrameTooShort.because(what));
        }
        Ok(())
    }

    fn too_long(&self, length: usize) -> Refused {
        Refusal::FrameTooLong.because(format!("{length} bytes, at most {}", self.policy.max()))
    }

    fn judge(&self, frame: Frame) -> Result<Frame, Refused> {
        text::judge(&frame.payload, &self.policy)?;
        if self.policy.kind() == FrameKind::JsonLines {
            json::judge(&frame.payload, self.policy.deepest())?;
        }
        Ok(frame)
    }
}

/// The length at the beginning of the buffer, once all its bytes are there.
fn announced(buffer: &BytesMut, width: LengthWidth, order: ByteOrder) -> Option<usize> {
    let length = match (width, order) {
        (LengthWidth::One, _) => u32::from(*buffer.first()?),
        (LengthWidth::Two, ByteOrder::Big) => u32::from(u16::from_be_bytes(*buffer.first_chunk()?)),
        (LengthWidth::Two, ByteOrder::Little) => {
            u32::from(u16::from_le_bytes(*buffer.first_chunk()?))
        }
        (LengthWidth::Four, ByteOrder::Big) => u32::from_be_bytes(*buffer.first_chunk()?),
        (LengthWidth::Four, ByteOrder::Little) => u32::from_le_bytes(*buffer.first_chunk()?),
    };
    // Where a length does not fit the machine's own, it is above any bound.
    Some(usize::try_from(length).unwrap_or(usize::MAX))
}

/// A carriage return and a line feed.
const LINE_ENDING: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Text;
    use proptest::prelude::*;

    const PREFIXED: FrameKind =
        FrameKind::LengthPrefixed { width: LengthWidth::Four, order: ByteOrder::Big };

    /// Feeds the bytes in pieces, as a door would: never more than is wanted.
    fn walk(policy: &FramePolicy, input: &[u8], piece: usize) -> (Vec<Vec<u8>>, String) {
        let mut decoder = Decoder::new(Arc::new(policy.clone()));
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        let mut rest = input;
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => {
                    frames.push(frame.into_payload().to_vec());
                    continue;
                }
                Ok(None) => {}
                Err(refused) => return (frames, refused.code().to_owned()),
            }
            let wanted = decoder.wanted(&buffer);
            assert!(wanted > 0, "a decoder that waits must want something");
            let (now, later) = rest.split_at(piece.min(wanted).min(rest.len()));
            if now.is_empty() {
                let end = decoder.finish(&mut buffer);
                return (frames, end.map_or_else(|r| r.code().to_owned(), |_| "end".to_owned()));
            }
            buffer.extend_from_slice(now);
            rest = later;
            assert!(buffer.len() <= policy.max().saturating_add(4));
        }
    }

    #[test]
    fn an_announced_4_gib_is_refused_before_any_of_it_is_kept() {
        let policy = FramePolicy::new(PREFIXED);
        let (frames, end) = walk(&policy, &[0xFF; 4], 4);
        assert_eq!((frames.len(), end.as_str()), (0, "frame.too-long"));
    }

    #[test]
    fn a_line_without_an_end_is_refused_at_the_bound() {
        let policy = FramePolicy::new(FrameKind::Lines).bounds(1, 10).unwrap();
        assert_eq!(walk(&policy, &[b'a'; 100], 1).1, "frame.too-long");
        assert_eq!(
            walk(&policy, b"0123456789\r\n", 1),
            (vec![b"0123456789".to_vec()], "end".into())
        );
        assert_eq!(walk(&policy, b"0123456789a\n", 3).1, "frame.too-long");
    }

    #[test]
    fn half_a_message_at_the_end_is_truncated() {
        assert_eq!(walk(&FramePolicy::new(PREFIXED), b"\0\0\0\x05hell", 3).1, "frame.truncated");
        assert_eq!(walk(&FramePolicy::new(PREFIXED), b"\0\0", 3).1, "frame.truncated");
        assert_eq!(walk(&FramePolicy::new(FrameKind::Lines), b"a\nb", 3).1, "frame.truncated");
    }

    fn kinds() -> impl Strategy<Value = FrameKind> {
        let prefixed = |width, order| FrameKind::LengthPrefixed { width, order };
        prop::sample::select(vec![
            prefixed(LengthWidth::One, ByteOrder::Big),
            prefixed(LengthWidth::Two, ByteOrder::Big),
            prefixed(LengthWidth::Two, ByteOrder::Little),
            prefixed(LengthWidth::Four, ByteOrder::Big),
            prefixed(LengthWidth::Four, ByteOrder::Little),
            FrameKind::Lines,
            FrameKind::JsonLines,
        ])
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_messages(
            kind in kinds(),
            input in prop::collection::vec(prop::sample::select(b"\0\x01\x02\x05ab\"[]{}1\r\n\xff".to_vec()), 0..200),
            pieces in prop::collection::vec(1_usize..20, 2),
        ) {
            let policy = FramePolicy::new(kind).bounds(0, 40).unwrap();
            let results: Vec<_> = pieces.iter().map(|piece| walk(&policy, &input, *piece)).collect();
            prop_assert_eq!(&results[0], &results[1]);
        }

        #[test]
        fn what_is_encoded_is_decoded(
            kind in kinds(),
            texts in prop::collection::vec("[a-zäöü]{1,40}", 1..5),
            piece in 1_usize..20,
        ) {
            let policy = FramePolicy::new(kind);
            let mut wire = BytesMut::new();
            let quote = if kind == FrameKind::JsonLines { "\"" } else { "" };
            let said: Vec<_> = texts.iter().map(|text| format!("{quote}{text}{quote}").into_bytes()).collect();
            for text in &said {
                policy.encode(text, &mut wire).unwrap();
            }
            prop_assert_eq!(walk(&policy, &wire, piece), (said, "end".to_owned()));
        }

        #[test]
        fn no_bytes_make_it_panic(
            kind in kinds(),
            any in any::<bool>(),
            input in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let policy = FramePolicy::new(kind).bounds(0, 100).unwrap();
            let policy = if any && kind != FrameKind::JsonLines { policy.text(Text::Any).unwrap() } else { policy };
            walk(&policy, &input, 7);
        }
    }
}

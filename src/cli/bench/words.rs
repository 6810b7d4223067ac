//! What is said to the server, as bytes: messages of its kind.

use doorward::frame::FrameKind;

/// How the service tells messages apart, and how large those of a bulk are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) kind: FrameKind,
    pub(super) size: usize,
}

/// What the first message of a connection asks the backend of this measurement for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To send back what comes.
    Echo,
    /// To throw away what comes.
    Sink,
    /// To send without end.
    Source,
}

impl Words {
    /// A small message, as the measurements of other servers have it.
    pub(super) fn small(self) -> Vec<u8> {
        self.message(SMALL)
    }

    /// Many whole messages, as they are written at once.
    pub(super) fn flood(self) -> Vec<u8> {
        let one = self.message(self.size);
        let many = AT_ONCE.checked_div(one.len()).unwrap_or(1).max(1);
        one.repeat(many)
    }

    /// The first message to the backend. All wishes are as long as each other.
    pub(super) fn opening(self, wish: Wish) -> Vec<u8> {
        self.framed(match wish {
            Wish::Echo => b"1",
            Wish::Sink => b"2",
            Wish::Source => b"3",
        })
    }

    fn message(self, size: usize) -> Vec<u8> {
        match self.kind {
            FrameKind::JsonLines => {
                let text = "x".repeat(size.saturating_sub(2));
                self.framed(format!("\"{text}\"").as_bytes())
            }
            FrameKind::LengthPrefixed { .. } | FrameKind::Lines | FrameKind::Raw => {
                self.framed(&vec![b'x'; size])
            }
        }
    }

    fn framed(self, payload: &[u8]) -> Vec<u8> {
        match self.kind {
            FrameKind::LengthPrefixed { .. } => {
                let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                [&length.to_be_bytes(), payload].concat()
            }
            FrameKind::Lines | FrameKind::JsonLines => [payload, b"\n"].concat(),
            FrameKind::Raw => payload.to_vec(),
        }
    }
}

/// In bytes.
const SMALL: usize = 32;
/// A client that wants throughput writes so many bytes at once: more did not move more.
const AT_ONCE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use doorward::frame::{ByteOrder, LengthWidth};

    #[test]
    fn every_wish_is_a_message_of_the_same_length() {
        let prefixed =
            FrameKind::LengthPrefixed { width: LengthWidth::Four, order: ByteOrder::Big };
        for kind in [prefixed, FrameKind::Lines, FrameKind::JsonLines, FrameKind::Raw] {
            let words = Words { kind, size: 1000 };
            let all = [Wish::Echo, Wish::Sink, Wish::Source].map(|wish| words.opening(wish));
            assert_eq!(all[0].len(), all[1].len());
            assert_eq!(all[1].len(), all[2].len());
            assert!(all[0] != all[1] && all[1] != all[2]);
            assert!(words.flood().len() > 200_000);
        }
        let words = Words { kind: prefixed, size: 1000 };
        assert_eq!(words.opening(Wish::Echo), [0, 0, 0, 1, b'1']);
        assert_eq!(words.small().len(), 36);
    }
}

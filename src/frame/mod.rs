//! The frame gate: is each message well formed? It decides on bytes alone, without clock or socket.

mod decoder;
mod json;
mod pace;
mod policy;
mod text;

use bytes::Bytes;

pub use decoder::Decoder;
pub use pace::{Pace, Rate};
pub use policy::FramePolicy;

/// How messages are told apart in the stream of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// A length, then so many bytes.
    LengthPrefixed {
        /// How many bytes the length has.
        width: LengthWidth,
        /// Which of them comes first.
        order: ByteOrder,
    },
    /// Lines that end in a line feed; a carriage return before it belongs to the ending.
    Lines,
    /// Lines that are one JSON value each (RFC 8259).
    JsonLines,
    /// No messages: bytes as they come.
    Raw,
}

/// How many bytes a length has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LengthWidth {
    /// Up to 255.
    One,
    /// Up to 65,535.
    Two,
    /// Up to 4,294,967,295.
    Four,
}

impl LengthWidth {
    /// The number of bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            LengthWidth::One => 1,
            LengthWidth::Two => 2,
            LengthWidth::Four => 4,
        }
    }

    /// The longest message that can be announced.
    #[must_use]
    pub fn longest(self) -> usize {
        match self {
            LengthWidth::One => 0xFF,
            LengthWidth::Two => 0xFFFF,
            LengthWidth::Four => 0xFFFF_FFFF,
        }
    }
}

/// Which byte of a length comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ByteOrder {
    /// The most significant one: network order.
    Big,
    /// The least significant one.
    Little,
}

/// Which characters a message may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Text {
    /// Any bytes; nothing is looked at.
    Any,
    /// UTF-8, without control characters that are not listed.
    Utf8,
    /// ASCII, without control characters that are not listed.
    Ascii,
}

/// Whether the gate also judges what comes back from behind the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answers {
    /// Answers go back as they are.
    AsTheyAre,
    /// An answer has to be a message that the gate would let in. How fast answers come is not judged.
    Checked,
}

/// One message that passed the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    wire: Bytes,
    payload: Bytes,
}

impl Frame {
    /// What the message says, without its length or line ending.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The bytes exactly as they came, so that a forward can pass them on unchanged.
    #[must_use]
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// What the message says, to keep.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }
}

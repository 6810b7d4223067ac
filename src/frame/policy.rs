//! The rules for the messages of one service.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::{Answers, ByteOrder, FrameKind, LengthWidth, Rate, Text};
use crate::problem::{Fault, Problem};
use crate::refusal::{Refusal, Refused};

/// What a message must be to pass. Holding one means that its rules do not contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramePolicy {
    kind: FrameKind,
    min: usize,
    max: usize,
    text: Text,
    allowed_control: BTreeSet<char>,
    depth: u16,
    rate: Option<Rate>,
    idle: Duration,
    first: Duration,
    answers: Answers,
}

impl FramePolicy {
    /// Strict rules for messages of this kind: 1 byte to 64 KiB (or what the length can express),
    /// UTF-8 without control characters (raw bytes are not looked at), JSON at most 32 deep, a first
    /// message within 10 s and another at least every 60 s, at any rate.
    #[must_use]
    pub fn new(kind: FrameKind) -> Self {
        Self {
            kind,
            min: 1,
            max: DEFAULT_MAX.min(longest(kind)),
            text: if kind == FrameKind::Raw { Text::Any } else { Text::Utf8 },
            allowed_control: BTreeSet::new(),
            depth: DEFAULT_DEPTH,
            rate: None,
            idle: DEFAULT_IDLE,
            first: DEFAULT_FIRST,
            answers: Answers::AsTheyAre,
        }
    }

    /// Messages of `min` to `max` bytes, counted without length or line ending.
    ///
    /// # Errors
    /// [`Fault::FrameBounds`] where `max` is 0, below `min`, above 16 MiB, or more than the length can
    /// announce.
    pub fn bounds(mut self, min: usize, max: usize) -> Result<Self, Problem> {
        let bad = |what: String, remedy: String| Problem::error(Fault::FrameBounds, what, remedy);
        if max == 0 {
            return Err(bad(
                "max is 0, so no message would pass".to_owned(),
                "write a max of at least 1".to_owned(),
            ));
        }
        if min > max {
            let remedy = "let min be at most max".to_owned();
            return Err(bad(format!("min ({min}) is above max ({max})"), remedy));
        }
        let most = longest(self.kind);
        if max > most {
            let what = match self.kind {
                FrameKind::LengthPrefixed { width, .. } if most < Self::LARGEST_MAX => {
                    format!("a length of {} byte(s) cannot announce {max} bytes", width.bytes())
                }
                FrameKind::LengthPrefixed { .. }
                | FrameKind::Lines
                | FrameKind::JsonLines
                | FrameKind::Raw => format!("a max of {max} bytes is above 16 MiB"),
            };
            return Err(bad(what, format!("write a max of at most {most}")));
        }
        (self.min, self.max) = (min, max);
        Ok(self)
    }

    /// Which characters messages may hold.
    ///
    /// # Errors
    /// [`Fault::FrameBounds`] for JSON in anything but UTF-8 (RFC 8259 section 8.1) or its part ASCII,
    /// and for text in raw bytes, which have no beginning to judge from.
    pub fn text(mut self, text: Text) -> Result<Self, Problem> {
        let bad = |what: &str, remedy: &str| Err(Problem::error(Fault::FrameBounds, what, remedy));
        match (self.kind, text) {
            (FrameKind::JsonLines, Text::Any) => {
                bad("JSON is always UTF-8", "write text = \"utf-8\"")
            }
            (FrameKind::Raw, Text::Utf8 | Text::Ascii) => bad(
                "raw bytes have no messages whose text could be judged",
                "write kind = \"lines\", or text = \"any\"",
            ),
            (_, text) => {
                self.text = text;
                Ok(self)
            }
        }
    }

    /// Control characters that messages may hold all the same, such as a tab.
    ///
    /// # Errors
    /// [`Fault::FrameBounds`] for a character that is no control character, or that ends a line.
    pub fn allow_control(
        mut self,
        allowed: impl IntoIterator<Item = char>,
    ) -> Result<Self, Problem> {
        for character in allowed {
            let lines = matches!(self.kind, FrameKind::Lines | FrameKind::JsonLines);
            if !character.is_control() || (lines && character == '\n') {
                let what = format!(
                    "{character:?} cannot be allowed: it is no control character, or ends the line"
                );
                return Err(Problem::error(
                    Fault::FrameBounds,
                    what,
                    "list control characters such as \"\\t\"",
                ));
            }
            self.allowed_control.insert(character);
        }
        Ok(self)
    }

    /// How deep JSON may be nested.
    ///
    /// # Errors
    /// [`Fault::FrameBounds`] for 0 and above 127, beyond which common parsers refuse.
    pub fn depth(mut self, depth: u16) -> Result<Self, Problem> {
        if !(1..=LARGEST_DEPTH).contains(&depth) {
            let what = format!("a depth of {depth} is outside 1 to {LARGEST_DEPTH}");
            return Err(Problem::error(Fault::FrameBounds, what, "write a depth from 1 to 127"));
        }
        self.depth = depth;
        Ok(self)
    }

    /// How many messages may come in a time; none means any number.
    #[must_use]
    pub fn at_rate(mut self, rate: Option<Rate>) -> Self {
        self.rate = rate;
        self
    }

    /// How long a session may go without a whole message.
    #[must_use]
    pub fn idle_after(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long the first whole message may take.
    #[must_use]
    pub fn first_within(mut self, first: Duration) -> Self {
        self.first = first;
        self
    }

    /// Whether answers from behind the door are judged by the same rules.
    ///
    /// # Errors
    /// [`Fault::FrameBounds`] for raw bytes, which have no messages to judge.
    pub fn judging_answers(mut self, answers: Answers) -> Result<Self, Problem> {
        if self.kind == FrameKind::Raw && answers == Answers::Checked {
            let what = "raw bytes have no messages that could be checked";
            let remedy = "choose another kind, or write answers = \"as-they-are\"";
            return Err(Problem::error(Fault::FrameBounds, what, remedy));
        }
        self.answers = answers;
        Ok(self)
    }

    /// The same rules for messages that are a line each, for a reader that knows nothing else.
    #[must_use]
    pub fn in_lines(&self) -> Self {
        Self { kind: FrameKind::Lines, ..self.clone() }
    }

    /// How messages are told apart.
    #[must_use]
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// The fewest bytes of a message.
    #[must_use]
    pub fn min(&self) -> usize {
        self.min
    }

    /// The most bytes of a message.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// Which characters messages may hold.
    #[must_use]
    pub fn characters(&self) -> Text {
        self.text
    }

    /// Whether a control character may stand in a message.
    #[must_use]
    pub fn allows_control(&self, character: char) -> bool {
        self.allowed_control.contains(&character)
    }

    /// How deep JSON may be nested.
    #[must_use]
    pub fn deepest(&self) -> u16 {
        self.depth
    }

    /// How many messages may come in a time.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// How long a session may go without a whole message.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.idle
    }

    /// How long the first whole message may take.
    #[must_use]
    pub fn first(&self) -> Duration {
        self.first
    }

    /// Whether answers are judged too.
    #[must_use]
    pub fn answers(&self) -> Answers {
        self.answers
    }

    /// Writes an own message in its wire form after what `out` holds.
    ///
    /// # Errors
    /// [`Refusal::FrameTooLong`] where the length cannot announce it, [`Refusal::FrameControlCharacter`]
    /// for a line feed inside a line. `out` is unchanged then.
    pub fn encode(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), Refused> {
        match self.kind {
            FrameKind::Raw => out.put_slice(payload),
            FrameKind::Lines | FrameKind::JsonLines => {
                if payload.contains(&b'\n') {
                    return Err(Refusal::FrameControlCharacter.because("a line feed inside a line"));
                }
                out.put_slice(payload);
                out.put_u8(b'\n');
            }
            FrameKind::LengthPrefixed { width, order } => {
                put_length(payload.len(), width, order, out)?;
                out.put_slice(payload);
            }
        }
        Ok(())
    }

    /// The largest `max` there is: what one session may make the server hold.
    pub const LARGEST_MAX: usize = 16 * 1024 * 1024;
}

fn put_length(
    length: usize,
    width: LengthWidth,
    order: ByteOrder,
    out: &mut BytesMut,
) -> Result<(), Refused> {
    let announced = u32::try_from(length).ok().filter(|_| length <= width.longest());
    let Some(announced) = announced else {
        let what = format!("{length} bytes do not fit a length of {} byte(s)", width.bytes());
        return Err(Refusal::FrameTooLong.because(what));
    };
    match order {
        ByteOrder::Big => {
            let bytes = announced.to_be_bytes();
            out.extend(bytes.iter().skip(bytes.len().saturating_sub(width.bytes())));
        }
        ByteOrder::Little => out.extend(announced.to_le_bytes().iter().take(width.bytes())),
    }
    Ok(())
}

fn longest(kind: FrameKind) -> usize {
    match kind {
        FrameKind::LengthPrefixed { width, .. } => width.longest().min(FramePolicy::LARGEST_MAX),
        FrameKind::Lines | FrameKind::JsonLines | FrameKind::Raw => FramePolicy::LARGEST_MAX,
    }
}

/// Four TLS records: roomy for a message of people or small programs.
const DEFAULT_MAX: usize = 64 * 1024;
/// Deeper than data that people model, shallower than any parser's trouble.
const DEFAULT_DEPTH: u16 = 32;
/// `serde_json` stops at 128 by default, and others do at similar depths.
const LARGEST_DEPTH: u16 = 127;
const DEFAULT_IDLE: Duration = Duration::from_secs(60);
/// A client that went through a handshake has something to say.
const DEFAULT_FIRST: Duration = Duration::from_secs(10);

//! Messages of a permitted client that are not well formed.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, split};
use tokio::time::timeout;

use crate::frame::{FrameKind, FramePolicy, Text};
use crate::probe::judge::Tried;
use crate::probe::visitor::{Entered, Met, PATIENCE, Seen, hear_much};
use crate::probe::{LONGEST_ATTACK, Probe};

/// How an attacker ends its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It does not.
    Open,
    /// With TLS's goodbye.
    Proper,
    /// Without it.
    Broken,
}

impl Probe {
    /// Says what `words` makes, as an honest client, and ends like this.
    pub(super) async fn frame(
        &self,
        words: impl FnOnce() -> Result<Vec<u8>, String>,
        end: End,
    ) -> Tried {
        self.has_messages()?;
        let words = words()?;
        let mut entered = self.enter_honestly().await?;
        let seen = exchange(&mut entered, &words, end).await;
        Ok(Met { from: entered.from, seen }.into())
    }

    fn has_messages(&self) -> Result<(), String> {
        if self.service.frame.kind() == FrameKind::Raw {
            return Err("the service has raw bytes, and no messages".to_owned());
        }
        Ok(())
    }

    pub(super) async fn silent_member(&self) -> Tried {
        self.has_messages()?;
        let first = self.service.frame.first();
        if first > LONGEST_ATTACK.checked_div(2).unwrap_or_default() {
            return Err(format!("the deadline of {first:?} is longer than a probe waits"));
        }
        let mut entered = self.enter_honestly().await?;
        let limit = first.saturating_add(MARGIN);
        let seen = hear_much(&mut entered.stream, MOST_HEARD, limit).await;
        Ok(Met { from: entered.from, seen }.into())
    }

    async fn enter_honestly(&self) -> Result<Entered, String> {
        let config = Arc::new(self.tls(Some(&self.papers.honest))?);
        let entered = self.enter(&config, self.papers.home).await?;
        entered.map_err(|met| format!("the honest client was not let in: {:?}", met.seen))
    }

    /// More well-formed messages at once than the rate lets through. Only an echo gets them: what they mean to
    /// another service is not known.
    pub(super) fn burst(&self, policy: &FramePolicy) -> Result<Vec<u8>, String> {
        if !self.is_echo() {
            return Err("well-formed messages go to an echo only".to_owned());
        }
        let rate = policy.rate().ok_or("the service has no rate")?;
        let message = honest(policy);
        let count = usize::try_from(rate.burst()).unwrap_or(usize::MAX).saturating_mul(2);
        let count = count.saturating_add(10);
        if message.len().saturating_mul(count) > MOST_SENT {
            return Err(format!("a burst of {} is more than a probe sends", rate.burst()));
        }
        Ok(message.repeat(count))
    }
}

/// Says it all, ends like this, and hears what comes of it meanwhile: a server that answers into a full buffer
/// would wait for us, and we for it.
async fn exchange(entered: &mut Entered, words: &[u8], end: End) -> Seen {
    if end == End::Broken {
        let stream = &mut entered.stream;
        let saying = async {
            stream.write_all(words).await?;
            stream.flush().await?;
            stream.get_mut().0.shutdown().await
        };
        drop(timeout(PATIENCE, saying).await);
        return hear_much(stream, MOST_HEARD, PATIENCE).await;
    }
    let (mut reading, mut writing) = split(&mut entered.stream);
    let saying = async {
        writing.write_all(words).await?;
        writing.flush().await?;
        if end == End::Proper { writing.shutdown().await } else { Ok(()) }
    };
    // A server that has heard enough may be gone before the end; what it says then is heard all the same.
    let said = timeout(PATIENCE, saying);
    let (said, seen) = tokio::join!(said, hear_much(&mut reading, MOST_HEARD, PATIENCE));
    drop(said);
    seen
}

/// A message that the policy lets in, as short as it may be.
pub(in crate::probe) fn honest(policy: &FramePolicy) -> Vec<u8> {
    let length = 5.clamp(policy.min(), policy.max());
    let payload = match (policy.kind(), length) {
        (FrameKind::JsonLines, 0 | 1) => b"7".to_vec(),
        (FrameKind::JsonLines, length) => {
            let inner = "x".repeat(length.saturating_sub(2));
            format!("\"{inner}\"").into_bytes()
        }
        (FrameKind::LengthPrefixed { .. } | FrameKind::Lines | FrameKind::Raw, length) => {
            vec![b'x'; length]
        }
    };
    wire(policy, &payload)
}

/// The payload as it goes over the wire, whatever the policy thinks of it.
fn wire(policy: &FramePolicy, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    // A payload that has no wire form is not sent, and its attack would be seen to get through.
    drop(policy.encode(payload, &mut out));
    out.to_vec()
}

/// Padded to what the policy asks for at least, so that only one thing is wrong with it.
fn padded(policy: &FramePolicy, bad: &[u8]) -> Vec<u8> {
    let padding = policy.min().saturating_sub(bad.len());
    [bad, &vec![b'x'; padding]].concat()
}

pub(super) fn too_long(policy: &FramePolicy) -> Result<Vec<u8>, String> {
    let length = policy.max().saturating_add(1);
    if length > MOST_SENT {
        return Err(format!("a message of {length} bytes is more than a probe sends"));
    }
    match policy.kind() {
        FrameKind::LengthPrefixed { width, .. } if length > width.longest() => {
            Err("the longest message is all that a length can say".to_owned())
        }
        FrameKind::LengthPrefixed { .. } => Ok(wire(policy, &vec![b'x'; length])),
        // One byte more: the first could be the carriage return of the ending.
        FrameKind::Lines | FrameKind::JsonLines | FrameKind::Raw => {
            Ok(vec![b'x'; length.saturating_add(1)])
        }
    }
}

pub(super) fn length_lie(policy: &FramePolicy) -> Result<Vec<u8>, String> {
    match policy.kind() {
        FrameKind::LengthPrefixed { width, .. } if policy.max() < width.longest() => {
            Ok([vec![0xFF; width.bytes()], b"x".to_vec()].concat())
        }
        FrameKind::LengthPrefixed { .. } => {
            Err("the longest message is all that a length can say".to_owned())
        }
        FrameKind::Lines | FrameKind::JsonLines | FrameKind::Raw => {
            Err("messages of this kind have no length".to_owned())
        }
    }
}

/// The beginning of a message, one byte short.
pub(super) fn half(policy: &FramePolicy) -> Vec<u8> {
    let mut message = honest(policy);
    message.pop();
    message
}

pub(super) fn too_short(policy: &FramePolicy) -> Result<Vec<u8>, String> {
    if policy.min() == 0 {
        return Err("a message may be empty".to_owned());
    }
    Ok(wire(policy, b""))
}

pub(super) fn no_text(policy: &FramePolicy) -> Result<Vec<u8>, String> {
    match policy.characters() {
        Text::Any => Err("a message may hold any bytes".to_owned()),
        Text::Utf8 | Text::Ascii => Ok(wire(policy, &padded(policy, &[b'"', 0xFF]))),
    }
}

pub(super) fn control_character(policy: &FramePolicy) -> Result<Vec<u8>, String> {
    if policy.characters() == Text::Any || policy.allows_control('\u{1b}') {
        return Err("a message may hold an escape character".to_owned());
    }
    Ok(wire(policy, &padded(policy, b"\x1b[2J")))
}

pub(super) fn json(policy: &FramePolicy, text: &str) -> Result<Vec<u8>, String> {
    if policy.kind() != FrameKind::JsonLines {
        return Err("the messages are not JSON".to_owned());
    }
    if text.len() > policy.max() {
        return Err("the longest message is shorter than this one".to_owned());
    }
    Ok(wire(policy, &padded(policy, text.as_bytes())))
}

/// As wide as the widest `max` that is usual.
const MOST_SENT: usize = 2 * 1024 * 1024;
/// All of that as an echo, and a last word.
const MOST_HEARD: usize = 2 * MOST_SENT;
/// A busy machine may be so late.
const MARGIN: Duration = Duration::from_secs(2);

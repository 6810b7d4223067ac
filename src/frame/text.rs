//! Is it text of the kind that is allowed?

use super::{FramePolicy, Text};
use crate::refusal::{Refusal, Refused};

/// Judges the characters of a message, and names the offset of the first that may not be there.
pub(super) fn judge(payload: &[u8], policy: &FramePolicy) -> Result<(), Refused> {
    let text = match policy.characters() {
        Text::Any => return Ok(()),
        Text::Ascii => {
            if let Some(at) = payload.iter().position(|byte| !byte.is_ascii()) {
                return Err(Refusal::FrameNotAscii.because(format!("at byte {at}")));
            }
            str::from_utf8(payload)
        }
        Text::Utf8 => str::from_utf8(payload),
    };
    let text = text.map_err(|error| {
        Refusal::FrameNotUtf8.because(format!("at byte {}", error.valid_up_to()))
    })?;
    let control = text.char_indices().find(|(_, c)| c.is_control() && !policy.allows_control(*c));
    match control {
        Some((at, character)) => {
            let code = u32::from(character);
            Err(Refusal::FrameControlCharacter.because(format!("U+{code:04X} at byte {at}")))
        }
        None => Ok(()),
    }
}

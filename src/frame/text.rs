//! Is it text of the kind that is allowed?

use super::{FramePolicy, Text};
use crate::refusal::{Refusal, Refused};

/// Judges the characters of a message, and names the offset of the first that may not be there.
pub(super) fn judge(payload: &[u8], policy: &FramePolicy) -> Result<(), Refused> {
    let text = match policy.characters() {
        Text::Any => return Ok(()),
        Text::Ascii => {
            if !payload.is_ascii() {
                let at = payload.iter().position(|byte| !byte.is_ascii()).unwrap_or(0);
                return Err(Refusal::FrameNotAscii.because(format!("at byte {at}")));
            }
            str::from_utf8(payload)
        }
        Text::Utf8 => str::from_utf8(payload),
    };
    let text = text.map_err(|error| {
        Refusal::FrameNotUtf8.because(format!("at byte {}", error.valid_up_to()))
    })?;
    let allowed = |(_, character): &(usize, char)| policy.allows_control(*character);
    match controls(text).find(|control| !allowed(control)) {
        Some((at, character)) => {
            let code = u32::from(character);
            Err(Refusal::FrameControlCharacter.because(format!("U+{code:04X} at byte {at}")))
        }
        None => Ok(()),
    }
}

/// Every control character with its offset. Most text has none: pieces without one are passed over as a whole,
/// which the compiler does many bytes at a time.
fn controls(text: &str) -> impl Iterator<Item = (usize, char)> {
    let pieces = text.as_bytes().chunks(PIECE).zip((0_usize..).step_by(PIECE));
    let suspect = pieces.filter(|(piece, _)| piece.iter().fold(false, |any, b| any | begins(*b)));
    let places = suspect.flat_map(|(piece, first)| {
        let bytes = piece.iter().zip(first..);
        bytes.filter(|(byte, _)| begins(**byte)).map(|(_, at)| at)
    });
    places.filter_map(|at| {
        let character = text.get(at..)?.chars().next()?;
        character.is_control().then_some((at, character))
    })
}

/// Whether a control character can begin with this byte: those of ASCII are one byte, U+0080 to U+009F two, of
/// which the first is 0xC2.
fn begins(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7F || byte == 0xC2
}

/// Small enough that one tab does not send much of the text the slow way.
const PIECE: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn control_characters_are_those_that_unicode_says(text in "([ -~]{0,70}|[\\x00-\\xFF]|\\PC){0,8}") {
            let found: Vec<_> = controls(&text).collect();
            let expected: Vec<_> = text.char_indices().filter(|(_, c)| c.is_control()).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn every_control_character_there_is_begins_so() {
        let mut known = 0;
        for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            if character.is_control() {
                known += 1;
                let text = format!("a{character}b");
                assert_eq!(controls(&text).collect::<Vec<_>>(), [(1, character)]);
            }
        }
        assert_eq!(known, 65);
    }
}

//! Is it one well-formed JSON value, not nested too deep?

use serde::de::IgnoredAny;

use crate::refusal::{Refusal, Refused};

/// Judges a line. The depth is counted before anything is parsed, without recursion.
pub(super) fn judge(line: &[u8], depth: u16) -> Result<(), Refused> {
    if let Some(at) = first_too_deep(line, depth) {
        return Err(Refusal::FrameTooDeep.because(format!("deeper than {depth} at byte {at}")));
    }
    match serde_json::from_slice::<IgnoredAny>(line) {
        Ok(IgnoredAny) => Ok(()),
        Err(error) => Err(Refusal::FrameBadJson.because(format!("at byte {}", error.column()))),
    }
}

/// Where the nesting first goes beyond `depth`, brackets in strings not counted.
fn first_too_deep(line: &[u8], depth: u16) -> Option<usize> {
    let mut open: usize = 0;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in line.iter().enumerate() {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (false, b'"') => in_string = true,
            (false, b'[' | b'{') => open = open.saturating_add(1),
            (false, b']' | b'}') => open = open.saturating_sub(1),
            (true | false, _) => {}
        }
        if open > usize::from(depth) {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(line: &str, depth: u16) -> String {
        judge(line.as_bytes(), depth)
            .map_or_else(|refused| refused.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn one_value_a_line_passes() {
        for line in
            ["1", "\"a\"", "null", "{\"a\":[1,2,{\"b\":\"]]]][[[[\"}]}", "  [ ]  ", "\"\\\"[[[[\""]
        {
            assert_eq!(verdict(line, 3), "ok", "{line}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        for line in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "1 2",
            "nul",
            "'a'",
            "{\"a\":1}}",
            "\"\\x\"",
            "01",
            "NaN",
        ] {
            assert!(verdict(line, 3).starts_with("frame.bad-json (at byte "), "{line}");
        }
    }

    #[test]
    fn depth_is_refused_before_it_is_parsed() {
        let deep = "[".repeat(100_000);
        assert_eq!(verdict(&deep, 32), "frame.too-deep (deeper than 32 at byte 32)");
        assert_eq!(verdict(&format!("{}1{}", "[".repeat(127), "]".repeat(127)), 127), "ok");
        assert_eq!(verdict("[[[1]]]", 2), "frame.too-deep (deeper than 2 at byte 2)");
    }
}

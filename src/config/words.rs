//! The words a key or a value may be, and the one that was probably meant.

/// The word of `known` that was probably meant by `written`, if one is near enough.
pub(super) fn nearest<'w>(written: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    if written.len() > LONGEST_TYPO {
        return None;
    }
    let plain = written.trim().to_lowercase().replace('-', "_");
    let begins = |one: &str, other: &str| other.len() >= SHORTEST_STEM && one.starts_with(other);
    known
        // A wrong digit is another number, not a slip of the finger.
        .filter(|word| word.contains(|c: char| c.is_ascii_alphabetic()))
        .map(|word| {
            let name = word.replace('-', "_");
            let is_stem = begins(&plain, &name) || begins(&name, &plain);
            (if is_stem { 1 } else { strsim::damerau_levenshtein(&plain, &name) }, word)
        })
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3))
        .min()
        .map(|(_, word)| word)
}

/// Words as a sentence lists them: `a, b and c`.
pub(super) fn listed(words: &[&str]) -> String {
    match words {
        [] => "no keys".to_owned(),
        [one] => (*one).to_owned(),
        [many @ .., last] => format!("{} and {last}", many.join(", ")),
    }
}

/// No key is longer than half of this: what is longer was never a slip of the finger.
const LONGEST_TYPO: usize = 32;

/// `max` may be short for `maximum`; shorter beginnings are chance.
const SHORTEST_STEM: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_forgives_case_hyphens_and_two_slips() {
        let known = ["1.2", "deadline", "per_source", "max", "min", "length-prefixed"];
        for (written, meant) in [
            ("dedline", Some("deadline")),
            ("per-source", Some("per_source")),
            ("Max", Some("max")),
            ("length_prefix", Some("length-prefixed")),
            ("maximum", Some("max")),
            ("timeout", None),
            ("1.3", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known.into_iter()), meant, "{written}");
        }
    }

    #[test]
    fn words_are_listed_as_in_a_sentence() {
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(&["a"]), "a");
    }
}

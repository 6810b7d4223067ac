//! Numbers that look thrown, and are the same again for the same seed.

use std::fmt::{self, Display, Formatter, Write as _};

use aws_lc_rs::{digest, hmac, rand};

/// What all chance of an exercise comes from: one for the learner's variant, one for each run of the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seed([u8; 32]);

impl Seed {
    /// One that nobody knows yet. A machine without randomness gives the seed of the empty word, which is
    /// still a seed: nothing secret hangs on it.
    pub(crate) fn fresh() -> Self {
        let mut bytes = [0; 32];
        match rand::fill(&mut bytes) {
            Ok(()) => Self(bytes),
            Err(_) => Self::named(""),
        }
    }

    /// The seed that belongs to a word, always the same.
    pub(crate) fn named(word: &str) -> Self {
        Self::of(digest::digest(&digest::SHA256, word.as_bytes()).as_ref())
    }

    /// The seed with these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut seed = [0; 32];
        seed.iter_mut().zip(bytes).for_each(|(own, byte)| *own = *byte);
        Self(seed)
    }

    /// Another seed, for one purpose, from which this one cannot be told.
    pub(crate) fn derive(&self, purpose: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        Self::of(hmac::sign(&key, purpose.as_bytes()).as_ref())
    }

    /// Dice for one purpose.
    pub(crate) fn dice(&self, purpose: &str) -> Dice {
        Dice { seed: self.derive(purpose), thrown: 0, left: Vec::new() }
    }

    /// Reads what [`Display`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        bytes(text).filter(|bytes| bytes.len() == 32).map(|bytes| Self::of(&bytes))
    }
}

impl Display for Seed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// What [`hex`] wrote.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| high.wrapping_mul(16) | low);
    rest.is_empty().then(|| bytes.collect())
}

/// A row of throws.
#[derive(Debug)]
pub(crate) struct Dice {
    seed: Seed,
    thrown: u64,
    left: Vec<u8>,
}

impl Dice {
    fn byte(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.left.pop() {
                return byte;
            }
            self.thrown = self.thrown.wrapping_add(1);
            self.left = self.seed.derive(&self.thrown.to_string()).0.to_vec();
        }
    }

    /// 32 bits.
    pub(crate) fn number(&mut self) -> u32 {
        u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// A number below `end`; 0 where there is none. The bias is below one in four billion for what is asked here.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        let wide = u64::from(self.number()).wrapping_shl(32) | u64::from(self.number());
        let rest = wide.checked_rem(u64::from(end)).unwrap_or(0);
        u32::try_from(rest).unwrap_or(0)
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let end = u32::try_from(from.len()).ok()?;
        from.get(usize::try_from(self.below(end)).ok()?)
    }

    /// The same things in another order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let end = u32::try_from(last.saturating_add(1)).unwrap_or(u32::MAX);
            let other = usize::try_from(self.below(end)).unwrap_or(0);
            things.swap(last, other);
        }
    }

    /// A word of so many letters that no text holds by chance.
    pub(crate) fn word(&mut self, letters: usize) -> String {
        let mut word = String::new();
        for _ in 0..letters {
            word.push(char::from(self.pick(ALPHABET).copied().unwrap_or(b'x')));
        }
        word
    }

    /// So many digits.
    pub(crate) fn digits(&mut self, count: usize) -> String {
        let mut digits = String::new();
        for _ in 0..count {
            digits.push_str(&self.below(10).to_string());
        }
        digits
    }
}

/// Letters that are hard to take for one another.
const ALPHABET: &[u8] = b"abcdefghkmnpqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same() {
        let throw = |seed: &Seed| {
            let mut dice = seed.dice("doors");
            (dice.word(12), dice.below(1000), dice.digits(4))
        };
        let seed = Seed::named("ada");
        assert_eq!(throw(&seed), throw(&Seed::parse(&seed.to_string()).unwrap()));
        assert_ne!(throw(&seed), throw(&Seed::named("ben")));
        assert_ne!(Seed::fresh(), Seed::fresh());
    }

    #[test]
    fn what_is_no_seed_is_not_read() {
        for text in ["", "12", "zz", &"0".repeat(63), &"0".repeat(66)] {
            assert_eq!(Seed::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_throw_stays_below_its_end_and_reaches_everything() {
        let mut dice = Seed::named("reach").dice("test");
        let mut seen = [false; 7];
        for _ in 0..500 {
            seen[usize::try_from(dice.below(7)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(dice.below(0), 0);
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut things: Vec<u32> = (0..50).collect();
        Seed::named("cards").dice("test").shuffle(&mut things);
        assert_ne!(things, (0..50).collect::<Vec<_>>());
        things.sort_unstable();
        assert_eq!(things, (0..50).collect::<Vec<_>>());
    }
}

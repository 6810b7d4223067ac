//! The learner's own variant of an exercise: ports, names and networks that differ from a neighbour's.

use std::collections::BTreeMap;

use super::seed::Seed;

/// Values for the `{{names}}` in an exercise's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variant(BTreeMap<String, String>);

impl Variant {
    /// What every exercise may use: `port`, `port-b` … `port-f`, `word`, `pin`.
    pub(crate) fn new(seed: &Seed) -> Self {
        let mut dice = seed.dice("variant");
        let mut values = BTreeMap::new();
        // Each from a hundred of its own, so that none comes twice; below the ports that clients are given.
        let first = dice.below(90).saturating_mul(100).saturating_add(20_000);
        for (index, name) in (0_u32..).zip(PORTS) {
            let port =
                first.saturating_add(index.saturating_mul(100)).saturating_add(dice.below(100));
            values.insert(name.to_owned(), port.to_string());
        }
        values.insert("word".to_owned(), dice.word(8));
        values.insert("pin".to_owned(), dice.digits(4));
        Self(values)
    }

    /// The same with a value more.
    pub(crate) fn with(mut self, name: &str, value: String) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, with their names.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The ports among the values.
    pub(crate) fn ports(&self) -> Vec<u16> {
        PORTS.iter().filter_map(|name| self.value(name)?.parse().ok()).collect()
    }

    /// Writes the values into a file's text; a file that is no text stays as it is.
    pub(crate) fn fill(&self, bytes: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(bytes) else { return bytes.to_vec() };
        let put = |text: String, (name, value): (&String, &String)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        };
        self.0.iter().fold(text.to_owned(), put).into_bytes()
    }

    /// Does so for every file.
    pub(crate) fn fill_all(&self, files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
        files.iter().map(|(name, bytes)| (name.clone(), self.fill(bytes))).collect()
    }
}

const PORTS: [&str; 6] = ["port", "port-b", "port-c", "port-d", "port-e", "port-f"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_learners_have_two_variants() {
        let (ada, ben) = (Variant::new(&Seed::named("ada")), Variant::new(&Seed::named("ben")));
        assert_ne!(ada, ben);
        assert_eq!(ada, Variant::new(&Seed::named("ada")));
        let mut ports = ada.ports();
        ports.dedup();
        assert_eq!(ports.len(), 6);
        assert!(ports.iter().all(|port| (20_000..30_000).contains(port)), "{ports:?}");
    }

    #[test]
    fn values_are_written_into_text_alone() {
        let variant = Variant::new(&Seed::named("ada"));
        let filled = format!("pin {}, {{{{nobody}}}}", variant.value("pin").unwrap());
        assert_eq!(variant.fill(b"pin {{pin}}, {{nobody}}"), filled.as_bytes());
        assert_eq!(variant.fill(&[0xff, 0x7b, 0x7b]), [0xff, 0x7b, 0x7b]);
    }
}

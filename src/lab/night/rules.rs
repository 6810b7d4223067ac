//! Rules that look for attackers in a log: what to count, for whom, in how long, and how much is too much.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::Event;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    rule: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rule {
    name: String,
    /// Only events that have these values count.
    #[serde(default, rename = "where")]
    only: BTreeMap<Field, String>,
    /// Whom it is about.
    group: Field,
    count: Count,
    /// In seconds.
    window: u32,
    threshold: u64,
    /// Nobody is reported who was served as often within the window.
    unless_served: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Field {
    From,
    Port,
    Name,
    Verdict,
    Code,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Count {
    Events,
    /// Different values.
    Ports,
    Names,
    /// Their sums.
    BytesIn,
    BytesOut,
}

/// What a window of one group holds.
#[derive(Debug, Default)]
struct Window<'e> {
    counted: VecDeque<&'e Event>,
    served: VecDeque<u32>,
}

/// Reads the log, and prints a line for everybody whom a rule reports, once for each rule.
///
/// # Errors
/// In a sentence: what in the files cannot be used.
pub(crate) fn watch(file: &Path, night: &Path) -> Result<(), String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let table: Table =
        toml::from_str(&read(file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut events = Vec::new();
    for line in read(night)?.lines() {
        let event: Event =
            serde_json::from_str(line).map_err(|error| format!("{}: {error}", night.display()))?;
        events.push(event);
    }
    for rule in &table.rule {
        rule.watch(&events);
    }
    Ok(())
}

impl Rule {
    fn watch(&self, events: &[Event]) {
        let mut windows: BTreeMap<String, Window<'_>> = BTreeMap::new();
        let mut reported = BTreeSet::new();
        for event in events {
            let who = self.group.of(event);
            let window = windows.entry(who.clone()).or_default();
            window.forget(event.at.saturating_sub(self.window));
            if event.verdict == "served" {
                window.served.push_back(event.at);
            }
            if self.only.iter().any(|(field, value)| field.of(event) != *value) {
                continue;
            }
            window.counted.push_back(event);
            let served = u64::try_from(window.served.len()).unwrap_or(u64::MAX);
            let is_quiet = self.unless_served.is_some_and(|most| served >= most);
            let is_reached = !is_quiet && self.count.of(&window.counted) >= self.threshold;
            if is_reached && reported.insert(who.clone()) {
                let line = json!({"who": who, "at": event.at, "rule": self.name});
                drop(writeln!(std::io::stdout(), "{line}"));
            }
        }
    }
}

impl Window<'_> {
    fn forget(&mut self, before: u32) {
        while self.counted.front().is_some_and(|event| event.at < before) {
            self.counted.pop_front();
        }
        while self.served.front().is_some_and(|at| *at < before) {
            self.served.pop_front();
        }
    }
}

impl Field {
    fn of(self, event: &Event) -> String {
        match self {
            Self::From => event.from.clone(),
            Self::Port => event.port.to_string(),
            Self::Name => event.name.clone(),
            Self::Verdict => event.verdict.clone(),
            Self::Code => event.code.clone(),
        }
    }
}

impl Count {
    fn of(self, events: &VecDeque<&Event>) -> u64 {
        let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        match self {
            Self::Events => many(events.len()),
            Self::Ports => {
                many(events.iter().map(|event| event.port).collect::<BTreeSet<_>>().len())
            }
            Self::Names => {
                many(events.iter().map(|event| &event.name).collect::<BTreeSet<_>>().len())
            }
            Self::BytesIn => events.iter().map(|event| event.bytes_in).sum(),
            Self::BytesOut => events.iter().map(|event| event.bytes_out).sum(),
        }
    }
}

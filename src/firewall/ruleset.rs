//! The rules of a host, as `nft -j list ruleset` prints them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The rules of a host.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    chains: BTreeMap<Name, Chain>,
    /// The elements of named sets and maps.
    sets: BTreeMap<Name, Vec<Value>>,
    /// Whether packets may be sent to another port, or pass without their connection being known.
    pub(super) redirects: bool,
    pub(super) untracked: bool,
}

/// The family of a table, its name, and the name of something in it.
pub(super) type Name = (String, String, String);

/// A chain of rules, each a list of statements.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// Where packets enter it from; nowhere for one that others jump to.
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Vec<Value>>,
}

/// Where packets enter a chain.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) kind: String,
    /// Whether what no rule decides is dropped.
    pub(super) drops: bool,
}

impl Ruleset {
    /// Reads what `nft -j list ruleset` prints.
    ///
    /// # Errors
    /// In words, where the text is something else, or longer than 64 MiB.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err("it is longer than 64 MiB".to_owned());
        }
        let whole: Value =
            serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let objects = whole.get("nftables").and_then(Value::as_array);
        let objects = objects.ok_or("it is not what nft -j list ruleset prints")?;
        let mut ruleset = Self::default();
        for (kind, object) in objects.iter().filter_map(Value::as_object).flatten() {
            ruleset.add(kind, object).ok_or_else(|| format!("it has a {kind} without a name"))?;
        }
        Ok(ruleset)
    }

    fn add(&mut self, kind: &str, object: &Value) -> Option<()> {
        let word = |key: &str| Some(object.get(key)?.as_str()?.to_owned());
        let named = |key: &str| Some((word("family")?, word("table")?, word(key)?));
        match kind {
            "chain" => {
                let chain = self.chains.entry(named("name")?).or_default();
                chain.hook = word("hook").map(|name| Hook {
                    name,
                    kind: word("type").unwrap_or_default(),
                    drops: word("policy").is_some_and(|policy| policy == "drop"),
                });
            }
            "rule" => {
                let statements =
                    object.get("expr").and_then(Value::as_array).cloned().unwrap_or_default();
                let does = |what: &str| statements.iter().any(|one| one.get(what).is_some());
                self.redirects |= does("dnat") || does("redirect") || does("tproxy");
                self.untracked |= does("notrack");
                self.chains.entry(named("chain")?).or_default().rules.push(statements);
            }
            "set" | "map" | "element" => {
                let elements = object.get("elem").and_then(Value::as_array);
                self.sets
                    .entry(named("name")?)
                    .or_default()
                    .extend(elements.into_iter().flatten().cloned());
            }
            // Tables, counters, limits and what else there is decide nothing by themselves.
            _ => {}
        }
        Some(())
    }

    /// The chains that packets enter by themselves, each with its name.
    pub(super) fn entered(&self) -> impl Iterator<Item = (&Name, &Chain, &Hook)> {
        self.chains.iter().filter_map(|(name, chain)| Some((name, chain, chain.hook.as_ref()?)))
    }

    /// A chain of the same table.
    pub(super) fn chain(&self, beside: &Name, name: &str) -> Option<(Name, &Chain)> {
        let name = (beside.0.clone(), beside.1.clone(), name.to_owned());
        let chain = self.chains.get(&name)?;
        Some((name, chain))
    }

    /// The elements of a set of the same table, which is written with an `@`.
    pub(super) fn set(&self, beside: &Name, written: &str) -> Option<&[Value]> {
        let name = written.strip_prefix('@')?;
        let set = self.sets.get(&(beside.0.clone(), beside.1.clone(), name.to_owned()));
        set.map(Vec::as_slice)
    }
}

/// The one key of a statement or an expression, and what it holds.
pub(super) fn only(value: &Value) -> Option<(&str, &Value)> {
    let object: &Map<String, Value> = value.as_object()?;
    object.iter().next().map(|(key, value)| (key.as_str(), value))
}

/// A million elements with their names take this; a ruleset by hand is a thousandth of it.
const LONGEST: usize = 64 << 20;

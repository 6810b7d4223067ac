//! `[[service.identity]]`: which names may use a service, and from where.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::address::networks;
use super::document::quoted;
use super::entry::Entry;
use super::section::Section;
use crate::handshake::Name;
use crate::identity::{IdentityGate, IdentityRule, PermittedName};
use crate::place::Written;
use crate::problem::Fault;

/// The rules of a service. Without one, nobody gets in.
pub(super) fn read(service: &mut Section<'_>) -> Option<Arc<IdentityGate>> {
    let sections = service.tables("identity", "[[service.identity]]")?;
    if sections.is_empty() {
        service.warn(
            Fault::IdentityNobody,
            "the service has no [[service.identity]], so nobody gets in",
            "add [[service.identity]] with permit = [\"dns:NAME\"] for those who may use it",
        );
    }
    // All are read before the first bad one ends it.
    let rules: Vec<_> = sections.into_iter().map(rule).collect();
    let rules: Option<Vec<_>> = rules.into_iter().collect();
    Some(Arc::new(IdentityGate::new(rules?)))
}

fn rule(mut section: Section<'_>) -> Option<IdentityRule> {
    let permit = section.required("permit", "[\"dns:alice.client.internal\"]");
    let names = permit.as_ref().and_then(|entry| names(entry));
    let from = section.or("from", None, |entry| from(entry).map(Some));
    section.finish();
    Some(IdentityRule::new(names?, from?))
}

fn names(entry: &Entry<'_>) -> Option<Vec<Written<PermittedName>>> {
    if entry.items().is_empty() {
        entry.warn(
            Fault::IdentityNobody,
            "permit is empty, so the rule lets nobody in",
            "list names such as \"dns:alice.client.internal\", or remove the rule",
        );
    }
    let mut seen = BTreeMap::new();
    entry.each(|item| {
        let text = item.string()?;
        let name = item.checked(PermittedName::parse(text.value))?;
        if let Some(first) = seen.insert(name.clone(), text.place.clone()) {
            let message = format!("{} is permitted already, at {first}", quoted(text.value));
            item.blame(Fault::IdentityDuplicate, message, "remove one of the two");
            return None;
        }
        if matches!(name, PermittedName::Name(Name::Common(_))) {
            item.warn(
                Fault::IdentityCommonName,
                format!(
                    "{} trusts a common name, which no authority constrains",
                    quoted(text.value)
                ),
                "issue certificates with a DNS or URI name and permit that",
            );
        }
        Some(Written::new(name, text.place))
    })
}

fn from(entry: &Entry<'_>) -> Option<Vec<IpNet>> {
    if entry.items().is_empty() {
        entry.warn(
            Fault::IdentityNobody,
            "from is empty, so the rule lets nobody in from anywhere",
            "list networks, or remove from to leave the place to the address gate",
        );
    }
    let networks = networks(entry)?;
    Some(networks.into_iter().map(|network| network.value).collect())
}

//! What can be changed in a configuration so that a gate says yes, and what it says then.

use std::fmt;

use ipnet::IpNet;

use crate::address::{AddressGate, Effect, NetworkRule};
use crate::identity::{IdentityGate, IdentityRule, PermittedName};
use crate::place::{Place, Written};

/// A change of the rules of one service, or advice where no rule of it is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Add a network to `allow`.
    Allow(IpNet),
    /// Take a network out of `deny`.
    NoDeny(IpNet),
    /// Take a network out of `deny` and write it into `allow`.
    AllowNotDeny(IpNet),
    /// Add a name to `permit` of the rule whose first name is written there.
    Permit(PermittedName, Place),
    /// Add a rule of its own: a name, from a network.
    Rule(PermittedName, IpNet),
    /// Add a network to `from` of the rule whose first name is written there.
    From(IpNet, Place),
    /// Something that no rule of the service says.
    Elsewhere(String),
}

impl Edit {
    /// The address gate after the change.
    #[must_use]
    pub fn of_address(&self, gate: &AddressGate) -> AddressGate {
        let (without, with) = match self {
            Edit::Allow(network) => (None, Some(*network)),
            Edit::NoDeny(network) => (Some(*network), None),
            Edit::AllowNotDeny(network) => (Some(*network), Some(*network)),
            Edit::Permit(..) | Edit::Rule(..) | Edit::From(..) | Edit::Elsewhere(_) => (None, None),
        };
        let stays =
            |rule: &NetworkRule| !(rule.effect == Effect::Deny && without == Some(rule.network));
        let new = with.map(|network| NetworkRule {
            network,
            effect: Effect::Allow,
            place: Place::in_code("the change"),
        });
        AddressGate::new(gate.rules().filter(stays).chain(new))
    }

    /// The identity gate after the change.
    #[must_use]
    pub fn of_identity(&self, gate: &IdentityGate) -> IdentityGate {
        let mut rules: Vec<_> = gate.rules().iter().map(|rule| self.of_rule(rule)).collect();
        if let Edit::Rule(name, network) = self {
            rules.push(IdentityRule::new(vec![written(name)], Some(vec![*network])));
        }
        IdentityGate::new(rules)
    }

    fn of_rule(&self, rule: &IdentityRule) -> IdentityRule {
        let mut names = rule.names().to_vec();
        let mut from = rule.from().map(<[_]>::to_vec);
        let is_at = |place: &Place| names.first().is_some_and(|name| name.place == *place);
        match self {
            Edit::Permit(name, place) if is_at(place) => names.push(written(name)),
            Edit::From(network, place) if is_at(place) => {
                from = from.map(|from| from.into_iter().chain([*network]).collect());
            }
            Edit::Permit(..)
            | Edit::From(..)
            | Edit::Allow(_)
            | Edit::NoDeny(_)
            | Edit::AllowNotDeny(_)
            | Edit::Rule(..)
            | Edit::Elsewhere(_) => {}
        }
        IdentityRule::new(names, from)
    }
}

fn written(name: &PermittedName) -> Written<PermittedName> {
    Written::new(name.clone(), Place::in_code("the change"))
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edit::Allow(network) => write!(f, "add \"{network}\" to allow"),
            Edit::NoDeny(network) => write!(f, "take \"{network}\" out of deny"),
            Edit::AllowNotDeny(network) => {
                write!(f, "move \"{network}\" from deny to allow")
            }
            Edit::Permit(name, _) => write!(f, "add \"{name}\" to permit"),
            Edit::Rule(name, network) => write!(
                f,
                "add [[service.identity]] with permit = [\"{name}\"] and from = [\"{network}\"]"
            ),
            Edit::From(network, _) => {
                write!(f, "add \"{network}\" to from of the rule")
            }
            Edit::Elsewhere(what) => f.write_str(what),
        }
    }
}

//! The rules on local callers: may this user of this machine use the tunnel?

use std::fmt;

use super::{Denial, users};
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};

/// Who called, as the system tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCaller {
    /// The number of the user.
    pub user: u32,
    /// The groups that count for the caller; looked up only where a rule asks for groups.
    pub groups: Vec<u32>,
    /// The number of the process, where the system tells: on unix sockets.
    pub process: Option<i32>,
}

/// A user or a group of this machine, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerRule {
    /// The user with this number, and how it was written.
    User(u32, Box<str>),
    /// Everybody in the group with this number, and how it was written.
    Group(u32, Box<str>),
    /// Every user of this machine.
    AnyUser,
}

impl CallerRule {
    /// A user, by name or number.
    ///
    /// # Errors
    /// [`Fault::TunnelBadCaller`] for a name that no user of this machine has.
    pub fn user(text: &str) -> Result<Self, Problem> {
        let id = number(text).or_else(|| users::user_named(text));
        let id =
            id.ok_or_else(|| nobody(text, "user", "id -un prints the name of whoever runs it"))?;
        Ok(CallerRule::User(id, text.into()))
    }

    /// A group, by name or number.
    ///
    /// # Errors
    /// [`Fault::TunnelBadCaller`] for a name that no group of this machine has.
    pub fn group(text: &str) -> Result<Self, Problem> {
        let id = number(text).or_else(|| users::group_named(text));
        let id =
            id.ok_or_else(|| nobody(text, "group", "id -Gn prints the groups of whoever runs it"))?;
        Ok(CallerRule::Group(id, text.into()))
    }

    fn permits(&self, caller: &LocalCaller) -> bool {
        match self {
            CallerRule::User(user, _) => caller.user == *user,
            CallerRule::Group(group, _) => caller.groups.contains(group),
            CallerRule::AnyUser => true,
        }
    }
}

/// The users and groups that may use a tunnel.
#[derive(Clone, Debug)]
pub struct CallerGate {
    rules: Vec<Written<CallerRule>>,
}

impl CallerGate {
    /// A gate of these rules; one that fits is enough, and without any nobody gets in.
    #[must_use]
    pub fn new(rules: Vec<Written<CallerRule>>) -> Self {
        Self { rules }
    }

    /// The strict default: the user that runs this process, and nobody else.
    #[must_use]
    pub fn own_user() -> Self {
        let own = users::own_user();
        let rule = CallerRule::User(own, users::name_of(own).unwrap_or_default().into());
        Self::new(vec![Written::new(rule, Place::in_code("the default"))])
    }

    /// The rules it judges by.
    #[must_use]
    pub fn rules(&self) -> &[Written<CallerRule>] {
        &self.rules
    }

    /// The rule that lets the caller in.
    ///
    /// # Errors
    /// [`Denial::NotPermitted`] where none does.
    pub fn judge(&self, caller: &LocalCaller) -> Result<&Written<CallerRule>, Denial> {
        self.rules.iter().find(|rule| rule.value.permits(caller)).ok_or(Denial::NotPermitted)
    }

    /// The rule that lets every user in, if there is one: then nobody needs to be known.
    #[must_use]
    pub fn any_user(&self) -> Option<&Written<CallerRule>> {
        self.rules.iter().find(|rule| matches!(rule.value, CallerRule::AnyUser))
    }

    /// Whether a rule asks which groups a caller is in.
    pub(super) fn asks_for_groups(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.value, CallerRule::Group(..)))
    }

    /// Whether a rule lets somebody in besides the user that runs this process.
    pub(super) fn permits_others(&self) -> bool {
        let own = users::own_user();
        self.rules
            .iter()
            .any(|rule| !matches!(rule.value, CallerRule::User(user, _) if user == own))
    }
}

/// All digits, as `id -u` prints it. The highest number means "no user" to the system.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != u32::MAX)
}

fn nobody(text: &str, kind: &str, remedy: &str) -> Problem {
    let what = format!("{text:?} is no {kind} of this machine");
    Problem::error(Fault::TunnelBadCaller, what, format!("write a {kind} name or number; {remedy}"))
}

/// `user redis (uid 104)`, as the start-up report and the log say it.
impl fmt::Display for CallerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, short, id, name) = match self {
            CallerRule::AnyUser => return f.write_str("EVERY user of this machine"),
            CallerRule::User(id, name) => ("user", "uid", id, name),
            CallerRule::Group(id, name) => ("group", "gid", id, name),
        };
        if name.is_empty() || **name == *id.to_string() {
            return write!(f, "{kind} {id}");
        }
        write!(f, "{kind} {name} ({short} {id})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(rules: &[CallerRule]) -> CallerGate {
        let place = Place::in_code("test");
        CallerGate::new(
            rules.iter().map(|rule| Written::new(rule.clone(), place.clone())).collect(),
        )
    }

    fn caller(user: u32, groups: &[u32]) -> LocalCaller {
        LocalCaller { user, groups: groups.to_vec(), process: None }
    }

    #[test]
    fn a_gate_without_rules_admits_nobody_not_even_root() {
        assert_eq!(gate(&[]).judge(&caller(0, &[0])), Err(Denial::NotPermitted));
    }

    #[test]
    fn the_strict_default_is_the_own_user() {
        let (gate, own) = (CallerGate::own_user(), users::own_user());
        assert!(gate.judge(&caller(own, &[])).is_ok());
        assert_eq!(gate.judge(&caller(own.wrapping_add(1), &[own])), Err(Denial::NotPermitted));
        assert!(!gate.permits_others());
    }

    #[test]
    fn a_number_is_a_user_or_a_group_and_never_both() {
        let user = gate(&[CallerRule::user("7").unwrap()]);
        assert!(user.judge(&caller(7, &[])).is_ok());
        assert_eq!(user.judge(&caller(8, &[7])), Err(Denial::NotPermitted));
        let group = gate(&[CallerRule::group("7").unwrap()]);
        assert!(group.judge(&caller(8, &[3, 7])).is_ok());
        assert_eq!(group.judge(&caller(7, &[3])), Err(Denial::NotPermitted));
        assert!(gate(&[CallerRule::AnyUser]).judge(&caller(8, &[])).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn names_are_looked_up_and_a_typo_is_refused() {
        assert_eq!(CallerRule::user("root").unwrap().to_string(), "user root (uid 0)");
        assert_eq!(CallerRule::user("0").unwrap().to_string(), "user 0");
        for text in ["", "no such user", "-1", "+5", "4294967295", "4294967296", "a\0b"] {
            let problem = CallerRule::user(text).unwrap_err();
            assert_eq!(problem.fault(), Fault::TunnelBadCaller, "{text}");
            assert_eq!(CallerRule::group(text).unwrap_err().fault(), Fault::TunnelBadCaller);
        }
    }
}

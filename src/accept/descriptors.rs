//! The limit on open files, held against the budgets before anybody is let in.

use std::num::NonZeroUsize;

use super::Budgets;
use crate::problem::{Fault, Problem};

/// How many descriptors the process may open, where the system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptors {
    /// This many, after raising the soft limit to the hard one.
    Limited(u64),
    /// The system names no limit.
    Unknown,
}

/// Raises the soft limit on open files to the hard one and says what it is now.
#[cfg(unix)]
#[must_use]
pub fn descriptors() -> Descriptors {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Descriptors::Unknown;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Descriptors::Limited(hard),
        Err(_) => Descriptors::Limited(soft),
    }
}

/// No limit on open sockets is known on this system.
#[cfg(not(unix))]
#[must_use]
pub fn descriptors() -> Descriptors {
    Descriptors::Unknown
}

impl Budgets {
    /// The budgets that fit into the limit, with a warning where they had to be lowered.
    ///
    /// A session needs `each` descriptors (two in front of an upstream), a stranger one. Lowered
    /// budgets keep every guarantee; they only hold fewer visitors.
    ///
    /// # Errors
    /// [`Fault::AcceptDescriptors`] where the limit does not even carry a handful of visitors.
    pub fn fit(
        self,
        limit: Descriptors,
        listeners: usize,
        each: usize,
    ) -> Result<(Budgets, Option<Problem>), Problem> {
        let Descriptors::Limited(limit) = limit else { return Ok((self, None)) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let free = limit.saturating_sub(RESERVE).saturating_sub(listeners);
        let needed = self.members.get().saturating_mul(each).saturating_add(self.strangers.get());
        if needed <= free {
            return Ok((self, None));
        }
        // Strangers keep at most a quarter, so that a queue of them never starves the members.
        let strangers = self.strangers.get().min(free / 4);
        let members = free.saturating_sub(strangers).checked_div(each).unwrap_or(0);
        let few = || too_few(limit, RESERVE.saturating_add(listeners).saturating_add(FEWEST));
        let strangers = NonZeroUsize::new(strangers).ok_or_else(few)?;
        let members = NonZeroUsize::new(members.min(self.members.get())).ok_or_else(few)?;
        let per_source = self.per_source.min(strangers);
        let warning = lowered(limit, needed.saturating_add(RESERVE), strangers, members);
        Ok((Budgets { strangers, per_source, members }, Some(warning)))
    }
}

fn lowered(limit: usize, needed: usize, strangers: NonZeroUsize, members: NonZeroUsize) -> Problem {
    Problem::warning(
        Fault::AcceptDescriptors,
        format!("{limit} open files carry only {strangers} strangers and {members} members"),
        format!(
            "raise the limit to {needed} (ulimit -n, LimitNOFILE=) or lower the budgets of [accept]"
        ),
    )
}

fn too_few(limit: usize, needed: usize) -> Problem {
    Problem::error(
        Fault::AcceptDescriptors,
        format!("{limit} open files are too few to serve anybody"),
        format!("raise the limit to {needed} at least (ulimit -n, LimitNOFILE=)"),
    )
}

/// Standard streams, the runtime's own descriptors, log and configuration files, and a margin.
const RESERVE: usize = 32;
/// What a limit must carry besides the reserve to be worth a start.
const FEWEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets(strangers: usize, members: usize) -> Budgets {
        let number = |n| NonZeroUsize::new(n).unwrap();
        Budgets { strangers: number(strangers), per_source: number(16), members: number(members) }
    }

    #[test]
    fn budgets_that_fit_are_left_alone() {
        let asked = budgets(512, 4096);
        assert_eq!(asked.fit(Descriptors::Limited(1 << 20), 2, 2), Ok((asked, None)));
        assert_eq!(asked.fit(Descriptors::Unknown, 2, 2), Ok((asked, None)));
    }

    #[test]
    fn budgets_are_lowered_to_the_limit_and_it_is_said() {
        let (fitted, warning) = budgets(512, 4096).fit(Descriptors::Limited(256), 2, 1).unwrap();
        assert_eq!((fitted.strangers.get(), fitted.members.get()), (55, 167));
        assert_eq!(warning.unwrap().fault(), Fault::AcceptDescriptors);
    }

    #[test]
    fn a_limit_that_carries_nobody_refuses_the_start() {
        let refused = budgets(512, 4096).fit(Descriptors::Limited(34), 2, 1);
        assert_eq!(refused.unwrap_err().fault(), Fault::AcceptDescriptors);
    }
}

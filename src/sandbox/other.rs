//! Systems without a sandbox that this program knows: it says so.

use super::{Needs, Report, SandboxSettings};
use crate::problem::{Fault, Problem};

#[expect(clippy::unnecessary_wraps, reason = "the same shape as on systems where it can fail")]
pub(super) fn enter(_: &SandboxSettings, _: &Needs) -> Result<Report, Problem> {
    Ok(Report { on: true, missing: missing(), ..Report::default() })
}

/// Nothing is given up, so nobody can be left outside.
#[expect(clippy::unnecessary_wraps, reason = "the same shape as on systems where it can fail")]
pub(super) fn alone() -> Result<(), Problem> {
    Ok(())
}

pub(super) fn missing() -> Vec<String> {
    vec!["this system has no sandbox that doorward knows; Linux has".to_owned()]
}

/// A user that is asked for and cannot be had must not be forgotten: the process would stay root.
pub(super) fn advise(settings: &SandboxSettings) -> Option<Problem> {
    let user = settings.user.as_ref()?;
    let what = "doorward cannot become another user on this system";
    let remedy = "remove user and group, and let the service manager start it as that user";
    Some(Problem::error(Fault::SandboxBadUser, what, remedy).at(&user.place))
}

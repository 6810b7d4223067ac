//! Looks over a store: keys that others can read, links, what ends soon, what contradicts the inventory.

mod contents;
mod files;

use std::path::Path;

use time::OffsetDateTime;

use crate::pki::layout::Layout;
use crate::problem::{Fault, Problem};

/// Everything that is wrong with the store in a directory at the moment `now`, with a remedy each.
///
/// Nothing is changed. Without git, or outside of a repository, nobody asks whether a key is tracked.
///
/// # Errors
/// [`Fault::CertsNoAuthority`] if the directory holds no store.
pub fn examine(directory: &Path, now: OffsetDateTime) -> Result<Vec<Problem>, Problem> {
    let none = || {
        let message = format!("{} holds no store of certificates", directory.display());
        Problem::error(Fault::CertsNoAuthority, message, "name the directory of one with --dir")
    };
    let layout = Layout::new(directory.canonicalize().map_err(|_| none())?);
    if !layout.is_complete() {
        return Err(none());
    }
    let mut problems = Vec::new();
    let keys = files::check(layout.directory(), &mut problems);
    files::check_tracked(layout.directory(), &keys, &mut problems);
    contents::check(&layout, now, &mut problems);
    Ok(problems)
}

#[cfg(test)]
#[cfg(unix)]
mod tests;

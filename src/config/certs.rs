//! `[certs]`: the store of the server's own certificate, and whether the server renews it there.

use std::path::PathBuf;
use std::time::Duration;

use super::entry::{Bounds, Entry};
use super::section::Section;
use super::{CertsConfig, Renewal};
use crate::place::{Place, Written};

pub(super) fn read(mut section: Section<'_>) -> Option<CertsConfig> {
    let directory = Written::new(PathBuf::from(DIRECTORY), Place::in_code("the default"));
    let directory = section.or("directory", directory, Entry::path);
    let renew = section.entry("renew");
    let is_wanted = section.or("renew", false, Entry::flag);
    let due = section.or("due", DAY.saturating_mul(30), |entry| entry.duration(&DUE));
    section.finish();
    let (due, is_wanted) = (due?, is_wanted?);
    let renewal = match renew {
        Some(renew) if is_wanted => Renewal::WhenDue { due, place: renew.place().clone() },
        Some(_) | None => Renewal::Never,
    };
    Some(CertsConfig { directory: directory?, renewal })
}

/// Where `doorward certs init` makes a store.
const DIRECTORY: &str = "certs";

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A server looks once an hour; no server's certificate is made for more than 199 days.
const DUE: Bounds<Duration> = Bounds {
    range: Duration::from_secs(2 * 3600)..=Duration::from_secs(198 * 24 * 3600),
    why: "less is shorter than two looks of the server, more is longer than any certificate lives",
};

//! `[bans]`: who is kept out for a while for being refused too often.

use std::path::PathBuf;
use std::time::Duration;

use super::address::networks;
use super::entry::{Bounds, Entry};
use super::section::Section;
use crate::bans::{BanSettings, Limit, Members};
use crate::place::Written;

/// The table. What is not written bans nobody.
pub(super) fn read(mut section: Section<'_>) -> Option<BanSettings> {
    let default = BanSettings::default();
    let count = section.or("after", None, |entry| entry.number(&COUNT).map(Some));
    let within = section.entry("within");
    let span = section.or("for", default.span, |entry| entry.duration(&SPAN));
    let most = section.or("most", default.most, |entry| entry.number(&MOST));
    let never = section.or("never", Vec::new(), networks);
    let words = [("spared", Members::Spared), ("banned", Members::Banned)];
    let members = section.or("members", default.members, |entry| entry.choice(&words));
    let state = section.or("state", None, |entry| file(entry).map(Some));
    section.finish();
    let within = within.map_or(Some(WITHIN), |entry| entry.duration(&WITHIN_BOUNDS));
    let (count, within, state) = (count?, within?, state?);
    Some(BanSettings {
        after: count.map(|count| Limit { count, within }),
        span: span?,
        most: most?,
        never: never?.into_iter().map(|network| network.value).collect(),
        members: members?,
        state,
    })
}

/// A path that can be a file's.
fn file(entry: &Entry<'_>) -> Option<Written<PathBuf>> {
    let path = entry.path()?;
    if path.value.as_os_str().as_encoded_bytes().ends_with(b"/") {
        let shown = path.value.display().to_string();
        entry.refuse(&shown, "a directory", "name a file in it, such as \"state/bans.json\"");
        return None;
    }
    Some(path)
}

const WITHIN: Duration = Duration::from_secs(60);

/// Anybody makes a mistake; who made ten thousand was noticed long before.
const COUNT: Bounds<u32> =
    Bounds { range: 2..=10_000, why: "anybody makes one mistake, and more than this is no limit" };

const WITHIN_BOUNDS: Bounds<Duration> = Bounds {
    range: Duration::from_secs(1)..=Duration::from_secs(3600),
    why: "who is refused so seldom does no harm",
};

const SPAN: Bounds<Duration> = Bounds {
    range: Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600),
    why: "an address has another owner next week; whoever is out for good belongs in deny of [address]",
};

/// Half of all bans, so that an operator can always ban somebody by hand.
const MOST: Bounds<usize> = Bounds { range: 1..=2048, why: "more is the work of a firewall" };

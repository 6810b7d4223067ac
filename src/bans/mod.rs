//! Who keeps being refused: refusals are counted for each network, and one that goes too far is banned for a while.
//!
//! It only says who went too far. The ban itself is a gate of the address room ([`crate::address::Bans`]).

mod book;
mod fading;
mod suspects;

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::frame::Rate;
use crate::place::Written;

pub(crate) use book::Book;
pub use suspects::{Caught, Suspects};

/// What `[bans]` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanSettings {
    /// After how many refusals a network is banned; none means by hand alone.
    pub after: Option<Limit>,
    /// How long such a ban lasts.
    pub span: Duration,
    /// How many such bans there may be at once.
    pub most: usize,
    /// Networks that are never banned so.
    pub never: Vec<IpNet>,
    /// What becomes of a network that a member came from.
    pub members: Members,
    /// Where bans outlive the process; nowhere unless it is said.
    pub state: Option<Written<PathBuf>>,
}

/// So many refusals within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The refusal that is one too many; at least the second.
    pub count: u32,
    /// Within which time.
    pub within: Duration,
}

/// What becomes of a network that strangers share with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// It is not banned for what strangers do there, while the member is in and for a day after.
    Spared,
    /// It is banned like any other, and the member is cut.
    Banned,
}

impl Default for BanSettings {
    /// Nobody is banned but by hand, and nothing outlives the process.
    fn default() -> Self {
        Self {
            after: None,
            span: Duration::from_secs(600),
            most: 1000,
            never: Vec::new(),
            members: Members::Spared,
            state: None,
        }
    }
}

impl BanSettings {
    /// Whether a network may never be banned: one that is in the list, holds a part of it, or is a part of it.
    #[must_use]
    pub fn spares(&self, network: &IpNet) -> bool {
        self.never.iter().any(|never| never.contains(network) || network.contains(never))
    }
}

impl Limit {
    /// The pace that refusals before the last one keep.
    fn rate(self) -> Rate {
        Rate::within(self.count, self.within).with_burst(self.count.saturating_sub(1))
    }
}

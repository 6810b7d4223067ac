//! Many at once.

use std::time::Duration;

use crate::probe::judge::{Outcome, Tried};
use crate::probe::visitor::{Met, Seen, hear};
use crate::probe::{MOST_AT_ONCE, Probe};

impl Probe {
    /// Takes every seat of one address's share and one more, all of them silent. The oldest must leave, and the
    /// honest client must be served meanwhile.
    pub(super) async fn idle_strangers(&self) -> Tried {
        let seats = self.accept.per_source.min(self.accept.strangers).get();
        if seats >= MOST_AT_ONCE {
            return Err(format!("a share of {seats} is more than a probe fills"));
        }
        let mut idle = Vec::with_capacity(seats);
        for _ in 0..=seats {
            idle.push(self.knock(self.papers.home).await?);
        }
        if let Err(why) = self.honest().await {
            return Ok(Outcome::NotHeld(format!("the honest client was kept out: {why}")));
        }
        let oldest = idle.first_mut().ok_or("nobody came")?;
        let from = oldest.local_addr().map_err(|error| error.to_string())?;
        // The deadline ends it as well, and must not be mistaken for the share.
        let half = self.handshake.deadline.checked_div(2).unwrap_or_default();
        let seen = hear(oldest, half.min(LONGEST_LOOK)).await;
        if seen == Seen::Open {
            let what = format!("{} silent connections of one address stay", idle.len());
            return Ok(Outcome::NotHeld(what));
        }
        Ok(Met { from, seen }.into())
    }
}

/// Whoever has to leave a seat does so as the newcomer takes it.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

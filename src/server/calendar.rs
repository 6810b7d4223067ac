//! What ends soon: certificates and revocation lists, told before they do.

use std::collections::BTreeMap;

use rustls::pki_types::UnixTime;

use crate::handshake::{Ending, Validity};

/// Remembers what was told, so that each mark is told once, and again for what was renewed.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    told: BTreeMap<(Validity, String, u64), u64>,
}

impl Calendar {
    /// Warns of everything that has come to one of its marks.
    pub(super) fn tell(&mut self, endings: &[Ending], now: UnixTime) {
        for (ending, mark) in self.due(endings, now) {
            let (what, name) = (ending.of.word(), &ending.name);
            if mark == 0 {
                tracing::error!(what, name, "has ended: {}", then(ending.of));
            } else {
                tracing::warn!(
                    what,
                    name,
                    days = mark,
                    "ends within so many days: {}",
                    then(ending.of)
                );
            }
        }
    }

    /// What has come to a mark that was not told yet, each with the mark in days; 0 when it has ended.
    fn due<'e>(&mut self, endings: &'e [Ending], now: UnixTime) -> Vec<(&'e Ending, u64)> {
        let mut due = Vec::new();
        let mut current = BTreeMap::new();
        for ending in endings {
            let key = (ending.of, ending.name.clone(), ending.at.as_secs());
            let reached = match ending.days_left(now) {
                None => Some(0),
                Some(left) => marks(ending.of).iter().copied().find(|mark| left < *mark),
            };
            let Some(mark) = reached else { continue };
            if self.told.get(&key).is_none_or(|told| mark < *told) {
                due.push((ending, mark));
            }
            current.insert(key, mark);
        }
        // What was renewed or removed is forgotten.
        self.told = current;
        due
    }
}

/// The marks in days, the last first. A revocation list lives for weeks, so a month would be always.
fn marks(of: Validity) -> &'static [u64] {
    match of {
        Validity::ServerCertificate | Validity::Authority => &[1, 7, 30],
        Validity::RevocationList => &[1, 7],
    }
}

fn then(of: Validity) -> &'static str {
    match of {
        Validity::ServerCertificate => "renew it, or no client believes this server then",
        Validity::Authority => {
            "add its successor to clients, or nobody it vouches for gets in then"
        }
        Validity::RevocationList => {
            "publish a fresh one, or nobody its authority vouches for gets in then"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn day(day: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(day.saturating_mul(24 * 3600)))
    }

    fn ending(of: Validity, at: u64) -> Ending {
        Ending { of, name: "x".into(), at: day(at) }
    }

    #[test]
    fn each_mark_is_told_once() {
        let mut calendar = Calendar::default();
        let certificate = [ending(Validity::ServerCertificate, 100)];
        let told: Vec<u64> = (0..=102)
            .flat_map(|now| calendar.due(&certificate, day(now)))
            .map(|(_, mark)| mark)
            .collect();
        assert_eq!(told, [30, 7, 1, 0]);
    }

    #[test]
    fn a_revocation_list_is_told_of_a_week_before_it_ends() {
        let mut calendar = Calendar::default();
        let list = [ending(Validity::RevocationList, 30)];
        assert!(calendar.due(&list, day(1)).is_empty());
        assert_eq!(calendar.due(&list, day(24))[0].1, 7);
    }

    #[test]
    fn what_was_renewed_is_told_of_again_when_its_time_comes() {
        let mut calendar = Calendar::default();
        assert_eq!(calendar.due(&[ending(Validity::ServerCertificate, 10)], day(5)).len(), 1);
        assert!(calendar.due(&[ending(Validity::ServerCertificate, 100)], day(5)).is_empty());
        assert_eq!(calendar.due(&[ending(Validity::ServerCertificate, 100)], day(95))[0].1, 7);
    }
}

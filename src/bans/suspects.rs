//! The count of refusals, by the generic cell rate algorithm that paces frames as well. Time comes in as an argument.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fading::Fading;
use super::{BanSettings, Limit, Members};
use crate::frame::Pace;
use crate::peer::Source;
use crate::refusal::{Refusal, Room};

/// The networks that were refused lately, and those that members came from.
#[derive(Debug, Default)]
pub struct Suspects {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    settings: BanSettings,
    paces: Fading<Pace>,
    members: Fading<()>,
    caught: BTreeMap<Source, Caught>,
}

/// Why a network should be banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    /// What it went beyond.
    pub limit: Limit,
    /// What it was refused for at last.
    pub last: Refusal,
}

impl Suspects {
    /// Counts by these settings from now on.
    pub fn follow(&self, settings: &BanSettings) {
        let mut pages = self.pages();
        if pages.settings.after != settings.after {
            pages.paces = Fading::default();
        }
        pages.settings = settings.clone();
    }

    /// A visitor from `source` was refused.
    pub fn refused(&self, refusal: Refusal, source: Source, now: Instant) {
        let mut pages = self.pages();
        let Some(limit) = pages.settings.after.filter(|_| blames(refusal)) else { return };
        let spared =
            pages.settings.members == Members::Spared && pages.members.get(source, now).is_some();
        if spared || pages.settings.spares(&source.network()) {
            return;
        }
        let known = pages.paces.take(source);
        let mut pace = known.unwrap_or_else(|| Pace::new(limit.rate(), now));
        if pace.take(now).is_ok() {
            return pages.paces.put(source, pace.full_at(), pace);
        }
        if pages.caught.len() < MOST_CAUGHT {
            pages.caught.insert(source, Caught { limit, last: refusal });
        }
    }

    /// A member came from `source`, or left it.
    pub fn permitted(&self, source: Source, now: Instant) {
        let mut pages = self.pages();
        if let Some(until) = now.checked_add(SPARED) {
            pages.members.put(source, until, ());
        }
        if pages.settings.members == Members::Spared {
            pages.paces.take(source);
            pages.caught.remove(&source);
        }
    }

    /// The networks that went too far since this was last asked.
    #[must_use]
    pub fn caught(&self) -> BTreeMap<Source, Caught> {
        std::mem::take(&mut self.pages().caught)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Every change under the lock is whole before it can panic.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a refusal is for something that the visitor did. What the server lacks is nobody's fault, a balancer is not its
/// visitors, and whoever only left or did not like our certificate has tried nothing. A member that breaks a rule of its
/// service is known by name, and its network is not to blame.
fn blames(refusal: Refusal) -> bool {
    match refusal.room() {
        Room::Accept => refusal == Refusal::AcceptSourceShare,
        Room::Address => refusal != Refusal::AddressBanned,
        Room::Handshake => !matches!(
            refusal,
            Refusal::HandshakeClosed
                | Refusal::HandshakeClientAlert
                | Refusal::HandshakeCrlExpired
                | Refusal::HandshakeNoCrl
        ),
        Room::Identity => true,
        Room::Frame | Room::Service => false,
    }
}

/// A person who works in an office on one day is there on the next.
const SPARED: Duration = Duration::from_secs(24 * 3600);
/// They wait for a second at the most.
const MOST_CAUGHT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::PeerAddr;

    fn source(ip: &str) -> Source {
        PeerAddr::new((ip.parse::<std::net::IpAddr>().unwrap(), 1).into()).source()
    }

    fn suspects(count: u32, change: impl FnOnce(&mut BanSettings)) -> Suspects {
        let within = Duration::from_secs(60);
        let mut settings =
            BanSettings { after: Some(Limit { count, within }), ..BanSettings::default() };
        change(&mut settings);
        let suspects = Suspects::default();
        suspects.follow(&settings);
        suspects
    }

    /// How many refusals at `now` it takes until the network is caught, of 100.
    fn until_caught(suspects: &Suspects, ip: &str, now: Instant) -> Option<usize> {
        (1..=100).find(|_| {
            suspects.refused(Refusal::HandshakeNotTls, source(ip), now);
            suspects.caught().contains_key(&source(ip))
        })
    }

    #[test]
    fn the_last_refusal_of_the_limit_is_one_too_many() {
        let now = Instant::now();
        for count in [2, 20] {
            let caught = until_caught(&suspects(count, |_| ()), "192.0.2.1", now);
            assert_eq!(caught, usize::try_from(count).ok());
        }
        let nobody = Suspects::default();
        assert_eq!(until_caught(&nobody, "192.0.2.1", now), None);
    }

    #[test]
    fn who_is_refused_seldom_is_never_caught() {
        let suspects = suspects(20, |_| ());
        let begin = Instant::now();
        for number in 0..200 {
            let now = begin + Duration::from_secs(4 * number);
            suspects.refused(Refusal::HandshakeNotTls, source("192.0.2.1"), now);
        }
        assert!(suspects.caught().is_empty());
    }

    #[test]
    fn an_ipv6_64_is_one_and_its_neighbour_another() {
        let suspects = suspects(4, |_| ());
        let now = Instant::now();
        for last in 1..=4 {
            let from = source(&format!("2001:db8::{last}"));
            suspects.refused(Refusal::AddressDenied, from, now);
            suspects.refused(Refusal::AddressDenied, source(&format!("192.0.2.{last}")), now);
        }
        let caught = suspects.caught();
        assert_eq!(caught.len(), 1);
        let (network, why) = caught.iter().next().unwrap();
        assert_eq!(network.network().to_string(), "2001:db8::/64");
        assert_eq!((why.last, why.limit.count), (Refusal::AddressDenied, 4));
    }

    #[test]
    fn a_members_network_is_spared_for_a_day_unless_it_is_said() {
        let now = Instant::now();
        let spared = suspects(3, |_| ());
        spared.permitted(source("192.0.2.1"), now);
        assert_eq!(until_caught(&spared, "192.0.2.1", now), None);
        assert_eq!(until_caught(&spared, "192.0.2.2", now), Some(3));
        assert_eq!(until_caught(&spared, "192.0.2.1", now + SPARED), Some(3));
        let banned = suspects(3, |settings| settings.members = Members::Banned);
        banned.permitted(source("192.0.2.1"), now);
        assert_eq!(until_caught(&banned, "192.0.2.1", now), Some(3));
    }

    #[test]
    fn what_is_never_banned_takes_its_whole_64_along() {
        let never = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::5/128".parse().unwrap()];
        let suspects = suspects(3, |settings| settings.never = never);
        let now = Instant::now();
        for ip in ["10.1.2.3", "2001:db8::6"] {
            assert_eq!(until_caught(&suspects, ip, now), None, "{ip}");
        }
        assert_eq!(until_caught(&suspects, "2001:db8:0:1::6", now), Some(3));
    }

    #[test]
    fn what_the_server_lacks_is_nobodys_fault() {
        let suspects = suspects(2, |_| ());
        let now = Instant::now();
        let innocent = [
            Refusal::AcceptEvicted,
            Refusal::AcceptProxyLocal,
            Refusal::HandshakeClosed,
            Refusal::HandshakeCrlExpired,
            Refusal::AddressBanned,
            Refusal::FrameRate,
            Refusal::ServiceUnreachable,
        ];
        for refusal in innocent {
            (0..9).for_each(|_| suspects.refused(refusal, source("192.0.2.1"), now));
        }
        assert!(suspects.caught().is_empty());
    }

    #[test]
    fn a_million_networks_do_not_push_the_worst_out() {
        let suspects = suspects(20, |_| ());
        let now = Instant::now();
        for _ in 0..19 {
            suspects.refused(Refusal::HandshakeNotTls, source("192.0.2.1"), now);
        }
        for number in 0..1_000_000_u32 {
            let ip = std::net::Ipv4Addr::from_bits(0x0A00_0000 | number);
            suspects.refused(Refusal::HandshakeNotTls, source(&ip.to_string()), now);
        }
        assert_eq!(suspects.pages().paces.len(), 16_384);
        assert_eq!(until_caught(&suspects, "192.0.2.1", now), Some(1));
    }
}

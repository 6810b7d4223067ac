//! Bans: networks that are kept out for a while, whatever the lists say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use ipnet::IpNet;

use crate::peer::{PeerAddr, PeerText};
use crate::refusal::{Refusal, Refused};

/// The networks that are banned now, each with its end.
///
/// A gate like the others: it is asked with the time, and keeps none of its own.
#[derive(Clone, Debug, Default)]
pub struct Bans {
    bans: BTreeMap<IpNet, Ban>,
    /// The lengths that occur, so that a look-up tries only those.
    lengths: BTreeSet<(bool, u8)>,
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// When it ends by itself.
    pub until: SystemTime,
    /// Why, in the words of whoever banned it.
    pub why: PeerText,
    /// Who banned it.
    pub by: BannedBy,
}

/// Who bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BannedBy {
    /// An operator, by hand.
    Operator,
    /// The server, for too many refusals.
    Refusals,
}

impl BannedBy {
    /// The word for it, in the record and where bans are kept.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            BannedBy::Operator => "operator",
            BannedBy::Refusals => "refusals",
        }
    }

    /// Whom a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [BannedBy::Operator, BannedBy::Refusals].into_iter().find(|by| by.word() == word)
    }
}

/// The bans as they are shared by every door: a change counts for the next visitor.
#[derive(Debug, Default)]
pub struct BanList(RwLock<Bans>);

impl BanList {
    /// Whether the address may knock at `now`.
    ///
    /// # Errors
    /// As [`Bans::judge`].
    pub fn judge(&self, peer: PeerAddr, now: SystemTime) -> Result<(), Refused> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).judge(peer, now)
    }

    /// The bans of now.
    #[must_use]
    pub fn now(&self) -> Bans {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many networks are banned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nobody is banned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes the bans.
    pub fn change<T>(&self, change: impl FnOnce(&mut Bans) -> T) -> T {
        // Every change of the bans is whole before it can panic.
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bans {
    /// How many networks are banned, those whose time is over included until [`Bans::expire`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.bans.len()
    }

    /// Whether nobody is banned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bans.is_empty()
    }

    /// Every ban, in the order of the networks.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &Ban)> {
        self.bans.iter()
    }

    /// Bans a network; a ban that it has already is replaced. False where [`Bans::MOST`] are banned.
    pub fn add(&mut self, network: IpNet, ban: Ban) -> bool {
        let network = network.trunc();
        if self.bans.len() >= Self::MOST && !self.bans.contains_key(&network) {
            return false;
        }
        self.bans.insert(network, ban);
        self.count_lengths();
        true
    }

    /// Ends the ban of exactly this network, and gives it back.
    pub fn lift(&mut self, network: IpNet) -> Option<Ban> {
        let lifted = self.bans.remove(&network.trunc());
        self.count_lengths();
        lifted
    }

    /// Forgets the bans whose time is over at `now`, and gives them back.
    pub fn expire(&mut self, now: SystemTime) -> Vec<(IpNet, Ban)> {
        let (over, left) = std::mem::take(&mut self.bans)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, ban)| ban.until <= now);
        self.bans = left;
        if !over.is_empty() {
            self.count_lengths();
        }
        over.into_iter().collect()
    }

    /// Whether the address may knock at `now`.
    ///
    /// # Errors
    /// [`Refusal::AddressBanned`] with the widest network that is banned around it, and why.
    pub fn judge(&self, peer: PeerAddr, now: SystemTime) -> Result<(), Refused> {
        let banned = self.around(peer.ip()).find(|(_, ban)| ban.until > now);
        match banned {
            None => Ok(()),
            Some((network, ban)) => {
                Err(Refusal::AddressBanned.because(format!("{network}: {}", ban.why)))
            }
        }
    }

    fn around(&self, ip: IpAddr) -> impl Iterator<Item = (IpNet, &Ban)> {
        let of_family = self.lengths.iter().filter(move |(v4, _)| *v4 == ip.is_ipv4());
        of_family.filter_map(move |(_, length)| {
            let network = IpNet::new(ip, *length).ok()?.trunc();
            Some((network, self.bans.get(&network)?))
        })
    }

    fn count_lengths(&mut self) {
        let length = |network: &IpNet| (network.addr().is_ipv4(), network.prefix_len());
        self.lengths = self.bans.keys().map(length).collect();
    }

    /// More than this is the work of a firewall.
    pub const MOST: usize = 4096;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn peer(ip: &str) -> PeerAddr {
        PeerAddr::new((ip.parse::<IpAddr>().unwrap(), 1).into())
    }

    fn ban(seconds: u64) -> Ban {
        Ban { until: at(seconds), why: PeerText::new(b"x"), by: BannedBy::Operator }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_ban_holds_until_its_end_for_every_spelling_of_the_address() {
        let mut bans = Bans::default();
        assert!(bans.add("10.1.0.0/16".parse().unwrap(), ban(100)));
        for ip in ["10.1.2.3", "::ffff:10.1.2.3"] {
            let refused = bans.judge(peer(ip), at(99)).unwrap_err();
            assert_eq!(refused.refusal(), Refusal::AddressBanned);
            assert_eq!(refused.detail(), "10.1.0.0/16: x");
            assert!(bans.judge(peer(ip), at(100)).is_ok());
        }
        assert!(bans.judge(peer("10.2.0.1"), at(1)).is_ok());
        assert_eq!(bans.expire(at(100)).len(), 1);
        assert!(bans.is_empty());
    }

    #[test]
    fn a_ban_that_is_over_hides_no_other_around_the_same_address() {
        let mut bans = Bans::default();
        bans.add("10.0.0.0/8".parse().unwrap(), ban(10));
        bans.add("10.1.2.3/32".parse().unwrap(), ban(100));
        assert!(bans.judge(peer("10.1.2.3"), at(50)).is_err());
        assert!(bans.judge(peer("10.1.2.4"), at(50)).is_ok());
        assert_eq!(bans.lift("10.1.2.3/32".parse().unwrap()), Some(ban(100)));
        assert_eq!(bans.lift("10.1.2.3/32".parse().unwrap()), None);
        assert!(bans.judge(peer("10.1.2.3"), at(50)).is_ok());
    }

    #[test]
    fn there_are_only_so_many() {
        let mut bans = Bans::default();
        for number in 0..Bans::MOST {
            let ip = std::net::Ipv4Addr::from(u32::try_from(number).unwrap());
            assert!(bans.add(IpAddr::from(ip).into(), ban(1)));
        }
        assert!(!bans.add("2001:db8::/64".parse().unwrap(), ban(1)));
        assert!(
            bans.add("0.0.0.1/32".parse().unwrap(), ban(2)),
            "one that is there may be renewed"
        );
        assert_eq!(bans.len(), Bans::MOST);
    }
}

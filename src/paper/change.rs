//! The smallest change that would let a visitor on, and whom else it would let on.

use std::net::IpAddr;

use ipnet::IpNet;

use super::edit::Edit;
use crate::address::{AddressGate, Effect};
use crate::config::ServiceConfig;
use crate::handshake::{Name, Presented};
use crate::identity::PermittedName;
use crate::network::counted;
use crate::peer::PeerAddr;
use crate::place::Place;
use crate::refusal::{Refusal, Refused, Room};

/// What would let a refused visitor on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What to do.
    pub edit: Edit,
    /// Where to do it, as far as that is written somewhere.
    pub place: Option<Place>,
    /// Whom else it lets on, in words.
    pub also: String,
    /// What a wider change would let on instead, in words.
    pub wider: Option<String>,
}

/// Somebody who wants in, as far as it is known.
#[derive(Clone, Debug)]
pub struct Seeker {
    peer: PeerAddr,
    /// The names a rule could permit it by, the best first.
    names: Vec<PermittedName>,
}

impl Seeker {
    /// Somebody who shows this certificate.
    #[must_use]
    pub fn showing(peer: PeerAddr, presented: Option<&Presented>) -> Self {
        let Some(presented) = presented else { return Self { peer, names: Vec::new() } };
        let typed = presented.names().iter().filter(|name| !matches!(name, Name::Common(_)));
        let typed = typed.filter_map(|name| as_written(&name.to_string()));
        let fits = typed.filter(|name| name.matches(presented));
        let names = fits.chain([PermittedName::Pin(presented.pin())]).collect();
        Self { peer, names }
    }

    /// Where it comes from.
    #[must_use]
    pub fn peer(&self) -> PeerAddr {
        self.peer
    }
}

/// A name that can be copied into a rule: what had to be escaped to be shown cannot.
fn as_written(shown: &str) -> Option<PermittedName> {
    let plain = !shown.contains('\\') && !shown.contains('…');
    plain.then(|| PermittedName::parse(shown).ok()).flatten()
}

impl Change {
    /// What would make the room say yes that refused `seeker` for this reason.
    #[must_use]
    pub fn smallest(service: &ServiceConfig, seeker: &Seeker, refused: &Refused) -> Self {
        let refusal = refused.refusal();
        if matches!(refusal, Refusal::AddressNotListed | Refusal::AddressDenied) {
            return address(service, seeker.peer);
        }
        if matches!(refusal, Refusal::IdentityNoName | Refusal::IdentityNotPermitted) {
            return permit(service, seeker, refusal);
        }
        if refusal == Refusal::IdentityWrongNetwork {
            return from(service, seeker, refused.rule());
        }
        Change::advice(refusal)
    }

    /// What lets somebody on whom these bans keep out.
    #[must_use]
    pub fn unban(networks: &[IpNet]) -> Self {
        let lift = |network: &IpNet| format!("doorward ban {network} --lift");
        let lifts: Vec<_> = networks.iter().map(lift).collect();
        let what = format!("end the ban with {}", lifts.join(" and "));
        let widest = networks.iter().min_by_key(|network| network.prefix_len());
        let also = match widest.map(|network| (network, counted(size(*network).saturating_sub(1))))
        {
            Some((network, others)) if others != "0" => {
                format!(
                    "this lets all of {network} knock, {others} other addresses, as far as the lists allow"
                )
            }
            _ => NOBODY.to_owned(),
        };
        Self { edit: Edit::Elsewhere(what), place: None, also, wider: None }
    }

    /// The same change where these services have the same address list.
    pub(super) fn at_all(self, sharing: &[&str]) -> Self {
        let of_list = matches!(self.edit, Edit::Allow(_) | Edit::NoDeny(_) | Edit::AllowNotDeny(_));
        if sharing.is_empty() || !of_list {
            return self;
        }
        let also = format!(
            "this also lets it knock at {}, because the list is the same; nobody else",
            sharing.join(", ")
        );
        Self { also, ..self }
    }

    /// The remedy of a reason that no rule of the service is behind.
    fn advice(refusal: Refusal) -> Self {
        let also = match (refusal, refusal.room()) {
            (Refusal::HandshakeCrlExpired | Refusal::HandshakeNoCrl, _) => {
                "this lets on everybody else whom that authority vouches for and no list names"
            }
            (_, Room::Handshake | Room::Identity) => NOBODY,
            (_, Room::Frame) => {
                "whatever is widened in [service.frame] is widened for every member"
            }
            (_, Room::Accept | Room::Address | Room::Service) => {
                "whatever is changed here is changed for everybody"
            }
        };
        let edit = Edit::Elsewhere(refusal.remedy().trim_end_matches('.').to_owned());
        let wider = (refusal == Refusal::HandshakeUnknownAuthority).then(|| {
            "naming its authority in clients instead lets that vouch for every name a rule permits"
                .to_owned()
        });
        Self { edit, place: None, also: also.to_owned(), wider }
    }
}

fn address(service: &ServiceConfig, peer: PeerAddr) -> Change {
    let gate = &service.address;
    let host = IpNet::from(peer.ip());
    let deciding = gate.deciding(peer).filter(|rule| rule.effect == Effect::Deny);
    let denied_itself = deciding.as_ref().is_some_and(|rule| rule.network == host);
    let candidates = if denied_itself {
        [Edit::NoDeny(host), Edit::AllowNotDeny(host)]
    } else {
        [Edit::Allow(host), Edit::AllowNotDeny(host)]
    };
    let admits = |edit: &Edit| edit.of_address(gate).judge(peer).is_ok();
    let [first, last] = candidates;
    let edit = if admits(&first) { first } else { last };
    let place = if denied_itself {
        deciding.as_ref().map(|rule| rule.place.clone())
    } else {
        allow_place(service)
    };
    let denied = deciding.filter(|_| !denied_itself).map(|rule| rule.network);
    let wide = denied.unwrap_or_else(|| neighbours(peer.ip()));
    let wider = denied.map_or(Edit::Allow(wide), Edit::NoDeny);
    let after = wider.of_address(gate);
    let more = admitted(&after, wide).saturating_sub(admitted(gate, wide)).saturating_sub(1);
    let wider = (after.judge(peer).is_ok() && more > 0).then(|| {
        let instead = match denied {
            Some(network) => format!("taking \"{network}\" out of deny"),
            None => format!("adding \"{wide}\""),
        };
        format!("{instead} instead also admits {} other addresses", counted(more))
    });
    Change { edit, place, also: NOBODY.to_owned(), wider }
}

/// The network whose hosts most often belong together: an IPv4 /24 or an IPv6 /64.
fn neighbours(ip: IpAddr) -> IpNet {
    let length = if ip.is_ipv4() { 24 } else { 64 };
    IpNet::new(ip, length).map_or(IpNet::from(ip), |network| network.trunc())
}

/// How many addresses a network has; one less for all of IPv6, which nobody counts.
fn size(network: IpNet) -> u128 {
    let (first, last) = (bits(network.network()), bits(network.broadcast()));
    last.saturating_sub(first).saturating_add(1)
}

/// How many addresses of a network may knock.
fn admitted(gate: &AddressGate, network: IpNet) -> u128 {
    let (low, high) = (bits(network.network()), bits(network.broadcast()));
    let family = |ip: &IpAddr| ip.is_ipv4() == network.addr().is_ipv4();
    let runs = gate.runs().filter(|run| family(&run.first) && run.rule.effect == Effect::Allow);
    let inside = runs.map(|run| {
        let (first, last) = (bits(run.first).max(low), bits(run.last).min(high));
        last.checked_sub(first).map_or(0, |count| count.saturating_add(1))
    });
    inside.fold(0, u128::saturating_add)
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Where `allow` is written: at its first network in the configuration, or in a list.
pub(super) fn allow_place(service: &ServiceConfig) -> Option<Place> {
    let rules = service.address.rules();
    let allowed = rules.filter(|rule| rule.effect == Effect::Allow).map(|rule| rule.place);
    let own = service.place.file();
    let elsewhere = allowed.clone().next();
    allowed.filter(|place| place.file() == own).min().or(elsewhere)
}

fn permit(service: &ServiceConfig, seeker: &Seeker, refusal: Refusal) -> Change {
    let Some(name) = seeker.names.first() else {
        return Change::advice(refusal);
    };
    let rules = service.identity.rules().iter();
    let mut fitting = rules.filter(|rule| rule.covers(seeker.peer) && !rule.names().is_empty());
    let who = match name {
        PermittedName::Pin(_) => "nobody else, because a pin is one key".to_owned(),
        PermittedName::Name(_) => format!("every other valid certificate for {name}"),
    };
    let found = fitting.next().and_then(|rule| Some((rule, rule.names().first()?.place.clone())));
    let Some((rule, place)) = found else {
        let host = IpNet::from(seeker.peer.ip());
        let also = format!("this also admits {who}, from {host} alone");
        let edit = Edit::Rule(name.clone(), host);
        return Change { edit, place: Some(service.place.clone()), also, wider: None };
    };
    let also = match rule.from() {
        Some(from) => format!("this also admits {who}, from {} alone", listed(from)),
        None => format!("this also admits {who}, from wherever [address] lets it"),
    };
    Change {
        edit: Edit::Permit(name.clone(), place.clone()),
        place: Some(place),
        also,
        wider: None,
    }
}

fn listed(networks: &[IpNet]) -> String {
    let shown: Vec<_> = networks.iter().take(SHOWN_NETWORKS).map(ToString::to_string).collect();
    let more = networks.len().saturating_sub(SHOWN_NETWORKS);
    if more > 0 {
        return format!("{} and {more} other networks", shown.join(", "));
    }
    shown.join(", ")
}

fn from(service: &ServiceConfig, seeker: &Seeker, rule: Option<&Place>) -> Change {
    let host = IpNet::from(seeker.peer.ip());
    let decides = |place: &Place| rule == Some(place);
    let mut rules = service.identity.rules().iter();
    let rule = rules.find(|rule| rule.names().iter().any(|name| decides(&name.place)));
    let found = rule.and_then(|rule| Some((rule, rule.names().first()?.place.clone())));
    let Some((rule, place)) = found else {
        return Change::advice(Refusal::IdentityWrongNetwork);
    };
    let others = rule.names().len().saturating_sub(1);
    let also = match others {
        0 => NOBODY.to_owned(),
        1 => format!("this also admits the other name of the rule from {}", host.addr()),
        _ => format!("this also admits the {others} other names of the rule from {}", host.addr()),
    };
    let wide = neighbours(seeker.peer.ip());
    let wider = format!("adding \"{wide}\" instead admits every name of the rule from all of it");
    Change { edit: Edit::From(host, place.clone()), place: Some(place), also, wider: Some(wider) }
}

const NOBODY: &str = "this also admits nobody else";
/// Enough to see what kind of networks they are; the place shows the rest.
const SHOWN_NETWORKS: usize = 4;

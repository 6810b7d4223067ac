//! Valid certificates whose names are almost the right ones.

use std::net::IpAddr;

use crate::handshake::{Name, Presented};
use crate::identity::PermittedName;
use crate::peer::PeerAddr;
use crate::pki::{Draft, RawName};
use crate::probe::judge::Tried;
use crate::probe::papers::{blank, raw, text};
use crate::probe::{Attack, Probe};

impl Probe {
    /// Comes with a certificate whose name is wrong in the way of this attack.
    pub(super) async fn claim(&self, attack: Attack) -> Tried {
        let shown = self.papers.forge(&self.misnamed(attack)?)?;
        let presented = shown.cert.first().map(Presented::read);
        let peer = PeerAddr::new((self.papers.home, 0).into());
        if let Some(Ok(presented)) = presented
            && self.service.identity.judge(&presented, peer).is_ok()
        {
            return Err("a rule of the service permits that name".to_owned());
        }
        Ok(self.visit(Some(&shown), self.papers.home).await?.into())
    }

    fn misnamed(&self, attack: Attack) -> Result<Draft, String> {
        let name = &self.papers.name;
        let alternative = || raw(name).ok_or("the service permits a common name alone");
        Ok(match attack {
            Attack::CommonNameOnly => blank()?.names(&[]).common_name(text(name).as_bytes()),
            Attack::NamePrefix => blank()?.names(&[with(name, |text| format!("x{text}"))?]),
            Attack::NameSuffix => blank()?.names(&[with(name, |text| format!("{text}.test"))?]),
            Attack::NameOfOtherType => blank()?.names(&[other_type(name)]),
            Attack::NameInCapitals => blank()?.names(&[capitals(name)?]),
            Attack::ZeroInName => {
                blank()?.names(&[with(name, |text| format!("{text}\0.elsewhere.test"))?])
            }
            Attack::ControlInName => {
                blank()?.names(&[alternative()?]).common_name(b"probe\x1b[2J\n")
            }
            Attack::NoTextInName => {
                blank()?.names(&[alternative()?, RawName::Email(vec![0xFF, 0xFE])])
            }
            _ => blank()?.names(&[with(name, sibling)?]),
        })
    }

    pub(super) async fn wrong_network(&self) -> Tried {
        let why =
            "no rule of the service asks where its names come from, as seen from this machine";
        let (name, from) = self.out_of_place().ok_or(why)?;
        let own = self.papers.honest.cert.first().map(Presented::read);
        let holds = matches!(own, Some(Ok(own)) if own.names().contains(&name));
        let shown = match raw(&name) {
            _ if holds => self.papers.honest.clone(),
            Some(name) => self.papers.forge(&blank()?.names(&[name]))?,
            None => return Err("the rule permits a common name".to_owned()),
        };
        Ok(self.visit(Some(&shown), from).await?.into())
    }

    /// A permitted name, and an address of this machine from which it is not.
    fn out_of_place(&self) -> Option<(Name, IpAddr)> {
        let rules = self.service.identity.rules().iter().filter(|rule| rule.from().is_some());
        let names = rules.flat_map(|rule| rule.names()).filter_map(|name| match &name.value {
            PermittedName::Name(name) => Some(name),
            PermittedName::Pin(_) => None,
        });
        let mut places = names.flat_map(|name| self.sources.iter().map(move |ip| (name, *ip)));
        let found = places.find(|(name, ip)| self.is_out_of_place(name, *ip));
        found.map(|(name, ip)| (name.clone(), ip))
    }

    /// Whether the name is permitted by some rule, and the address by the list, but not the two together.
    fn is_out_of_place(&self, name: &Name, ip: IpAddr) -> bool {
        let peer = PeerAddr::new((ip, 0).into());
        let rules = self.service.identity.rules().iter();
        let permitting = rules.filter(|rule| {
            rule.names().iter().any(|one| one.value == PermittedName::Name(name.clone()))
        });
        let nowhere = |rule: &crate::identity::IdentityRule| {
            rule.from().is_some_and(|from| !from.iter().any(|net| net.contains(&peer.ip())))
        };
        permitting.clone().count() > 0
            && permitting.clone().all(nowhere)
            && self.service.address.judge(peer).is_ok()
            && !self.service.balancers.are_at(peer)
    }
}

/// The same name with other text.
fn with(name: &Name, change: impl Fn(&str) -> String) -> Result<RawName, String> {
    let changed = change(text(name));
    let changed = match name {
        Name::Dns(_) => Name::Dns(changed),
        Name::Uri(_) => Name::Uri(changed),
        Name::Email(_) => Name::Email(changed),
        Name::Common(_) => return Err("the service permits a common name alone".to_owned()),
    };
    raw(&changed).ok_or_else(|| "the name has no type".to_owned())
}

/// A name beside this one: another host of the domain, another path, another user.
fn sibling(text: &str) -> String {
    match text.split_once('.') {
        Some((_, domain)) if !text.contains([':', '@']) => format!("doorward-probe.{domain}"),
        Some(_) | None if text.contains('@') => format!("doorward-probe-{text}"),
        Some(_) | None => format!("{text}-doorward-probe"),
    }
}

/// The same text as a name of another type, spelled as a rule spells it.
fn other_type(name: &Name) -> RawName {
    let spelled = name.to_string().into_bytes();
    match name {
        Name::Uri(_) => RawName::Email(spelled),
        Name::Dns(_) | Name::Email(_) | Name::Common(_) => RawName::Uri(spelled),
    }
}

fn capitals(name: &Name) -> Result<RawName, String> {
    match name {
        Name::Uri(_) | Name::Email(_) => with(name, str::to_uppercase),
        Name::Dns(_) | Name::Common(_) => {
            Err("the permitted name is a DNS name, whose case means nothing (RFC 4343)".to_owned())
        }
    }
}

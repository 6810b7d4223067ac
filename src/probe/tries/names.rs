//! Valid certificates whose names are almost the right ones.

use std::net::IpAddr;

use crate::handshake::{Name, Presented};
use crate::identity::{IdentityRule, PermittedName};
use crate::peer::PeerAddr;
use crate::pki::{Draft, RawName};
use crate::probe::Probe;
use crate::probe::judge::Tried;
use crate::probe::papers::{blank, raw, text};

impl Probe {
    /// Comes with a valid certificate that holds this name alone.
    pub(super) async fn claim(&self, name: Result<RawName, String>) -> Tried {
        self.come_as(&blank()?.names(&[name?])).await
    }

    /// The same, with this common name and these alternative names.
    pub(super) async fn claim_in_subject(&self, common: &[u8], names: &[RawName]) -> Tried {
        self.come_as(&blank()?.names(names).common_name(common)).await
    }

    async fn come_as(&self, draft: &Draft) -> Tried {
        let shown = self.papers.forge(draft)?;
        let presented = shown.cert.first().map(Presented::read);
        let peer = PeerAddr::new((self.papers.home, 0).into());
        if let Some(Ok(presented)) = presented
            && self.service.identity.judge(&presented, peer).is_ok()
        {
            return Err("a rule of the service permits that name".to_owned());
        }
        self.show(Ok(Some(shown))).await
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
        let names = rules.flat_map(IdentityRule::names).filter_map(|name| match &name.value {
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
        let nowhere = |rule: &IdentityRule| {
            rule.from().is_some_and(|from| !from.iter().any(|net| net.contains(&peer.ip())))
        };
        permitting.clone().count() > 0
            && permitting.clone().all(nowhere)
            && self.service.address.judge(peer).is_ok()
            && !self.service.balancers.are_at(peer)
    }
}

/// The name itself; a common name has no place here.
pub(super) fn own(name: &Name) -> Vec<RawName> {
    raw(name).into_iter().collect()
}

/// The same name with other text.
pub(super) fn with(name: &Name, change: impl Fn(&str) -> String) -> Result<RawName, String> {
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
pub(super) fn sibling(text: &str) -> String {
    match text.split_once('.') {
        Some((_, domain)) if !text.contains([':', '@']) => format!("doorward-probe.{domain}"),
        Some(_) | None if text.contains('@') => format!("doorward-probe-{text}"),
        Some(_) | None => format!("{text}-doorward-probe"),
    }
}

/// The same text as a name of another type, spelled as a rule spells it.
pub(super) fn other_type(name: &Name) -> RawName {
    let spelled = name.to_string().into_bytes();
    match name {
        Name::Uri(_) => RawName::Email(spelled),
        Name::Dns(_) | Name::Email(_) | Name::Common(_) => RawName::Uri(spelled),
    }
}

pub(super) fn capitals(name: &Name) -> Result<RawName, String> {
    match name {
        Name::Uri(_) | Name::Email(_) => with(name, str::to_uppercase),
        Name::Dns(_) | Name::Common(_) => {
            Err("the permitted name is a DNS name, whose case means nothing (RFC 4343)".to_owned())
        }
    }
}

//! Coming from where one may not.

use std::net::IpAddr;

use crate::peer::PeerAddr;
use crate::probe::Probe;
use crate::probe::judge::Tried;
use crate::refusal::Refusal;

impl Probe {
    /// Comes with the honest certificate from an address that the rules keep out for this reason.
    pub(super) async fn come_from(&self, why: &[Refusal]) -> Tried {
        let from =
            self.refused_source(why).ok_or("the rules do this to no address of this machine")?;
        Ok(self.visit(Some(&self.papers.honest), from).await?.into())
    }

    pub(super) async fn mapped_twin(&self) -> Tried {
        let why = "no IPv4 address that this machine can come from is kept out";
        let refusals = [Refusal::AddressNotListed, Refusal::AddressDenied];
        let from = match self.refused_source(&refusals) {
            Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped().into(),
            Some(IpAddr::V6(_)) | None => return Err(why.to_owned()),
        };
        Ok(self.visit(Some(&self.papers.honest), from).await?.into())
    }

    /// An address of this machine that the rules keep out for this reason.
    fn refused_source(&self, why: &[Refusal]) -> Option<IpAddr> {
        let kept_out = |ip: &&IpAddr| {
            let peer = PeerAddr::new((**ip, 0).into());
            let judged = self.service.address.judge(peer);
            !self.service.balancers.are_at(peer)
                && judged.is_err_and(|refused| why.contains(&refused.refusal()))
        };
        self.sources.iter().find(kept_out).copied()
    }
}

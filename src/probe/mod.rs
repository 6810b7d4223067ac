//! The probe: attacks one's own running server, and tells whether each attack ends where it must.
//!
//! It attacks only an address that the configuration itself listens on and that is this machine's, and only
//! a server that shows the certificate which the configuration names. Nothing lifts this. It writes
//! nothing to disk, makes at most [`MOST_AT_ONCE`] connections at once, and ends within [`LONGEST_PROBE`].
//!
//! An honest client talks before, between and after the attacks. A server that refuses everybody would
//! refuse attackers too, so where the honest client is not served, nothing is proven, and the report says so.

mod aim;
mod attack;
mod judge;
mod papers;
mod report;
mod tries;
mod visitor;
mod witness;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::accept::Budgets;
use crate::bind::Interfaces;
use crate::config::{Config, ServiceConfig, ServiceKind};
use crate::frame::FrameKind;
use crate::handshake::HandshakeSettings;
use crate::peer::PeerText;
use crate::problem::{Fault, Problem};
use crate::refusal::Room;
use papers::{Papers, Sources};
use visitor::{Met, Seen};
use witness::{Testimony, Witness};

pub use attack::Attack;
pub use report::{Report, Row, Verdict};

/// What a probe is pointed at, and with what.
#[derive(Clone, Debug, Default)]
pub struct Aim {
    /// The service, by name; the first of the configuration without one.
    pub service: Option<String>,
    /// Which of its listeners; the first without one.
    pub to: Option<SocketAddr>,
    /// The store of certificates; the directory of the authorities in `[handshake]` without one.
    pub directory: Option<PathBuf>,
    /// The honest client's chain and key; one of the store without them.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Which attacks; all without any.
    pub only: Vec<Attack>,
    /// The `doorward` command, to be run as another user against the admin socket.
    pub command: Option<PathBuf>,
}

/// A probe of one listener, ready to run.
#[derive(Debug)]
pub struct Probe {
    target: SocketAddr,
    /// What the configuration listens on, wildcards as they are.
    listener: SocketAddr,
    service: ServiceConfig,
    handshake: HandshakeSettings,
    accept: Budgets,
    admin: Option<PathBuf>,
    /// Addresses of this machine that an attacker can come from.
    sources: Vec<IpAddr>,
    papers: Papers,
    witness: Witness,
    only: Vec<Attack>,
    command: Option<PathBuf>,
}

impl Probe {
    /// Points a probe at the server of this configuration. Nothing is attacked before [`Probe::run`].
    ///
    /// # Errors
    /// [`Fault::ProbeNotOwn`] for an address that is not this server's, [`Fault::ProbeNoClient`] where no
    /// honest client is at hand; a file of the configuration that cannot be read.
    pub fn aim(config: &Config, aim: &Aim) -> Result<Self, Problem> {
        let interfaces = Interfaces::of_this_host().map_err(|error| {
            let what = format!("the interfaces of this machine cannot be listed: {error}");
            Problem::error(Fault::ProbeNotOwn, what, "the probe attacks only this machine")
        })?;
        let service = aim::service(config, aim.service.as_deref())?;
        let admin = config.admin.as_ref().map(|admin| admin.socket.value.clone());
        let (witness, status) = Witness::call(admin.as_deref());
        let target = aim::target(service, aim.to, &interfaces, status.as_deref())?;
        let mut listeners = aim::listeners(service, &interfaces)?.into_iter();
        let leads_to = |at: &SocketAddr| at.ip() == target.ip() || at.ip().is_unspecified();
        let mut listener = listeners.find(leads_to).unwrap_or(target);
        listener.set_port(target.port());
        let sources = sources(target.ip(), service, &interfaces);
        let client = aim.client.as_ref().map(|(chain, key)| (chain.as_path(), key.as_path()));
        let directory = aim.directory.as_deref();
        let papers =
            Papers::read(config, service, &Sources { directory, client, addresses: &sources })?;
        Ok(Self {
            target,
            listener,
            service: service.clone(),
            handshake: config.handshake.clone(),
            accept: config.accept,
            admin,
            sources,
            papers,
            witness,
            only: aim.only.clone(),
            command: aim.command.clone(),
        })
    }

    /// The address that is attacked.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// The service that is attacked.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service.name
    }

    /// Whether the server's own record can be read.
    #[must_use]
    pub fn has_witness(&self) -> bool {
        self.witness.is_there()
    }

    /// Makes every attack, one after the other, and tells of each as it ends.
    ///
    /// Where the honest client is not served before the first, none is made.
    pub async fn run(&self, mut tell: impl FnMut(&Row)) -> Report {
        let began = Instant::now();
        let mut report = self.blank();
        self.honest_visit(&mut report).await;
        if report.honest_failure.is_some() {
            return report;
        }
        let chosen = |attack: &&Attack| self.only.is_empty() || self.only.contains(attack);
        for (number, attack) in (1_usize..).zip(Attack::ALL.iter().filter(chosen)) {
            let row = self.make(*attack, began).await;
            tell(&row);
            report.rows.push(row);
            if number.is_multiple_of(BETWEEN_HONEST) {
                self.honest_visit(&mut report).await;
            }
        }
        self.honest_visit(&mut report).await;
        report
    }

    async fn make(&self, attack: Attack, began: Instant) -> Row {
        let start = Instant::now();
        let tried = if began.elapsed() > LONGEST_PROBE {
            Err("the time of the probe was over".to_owned())
        } else {
            let limit = tokio::time::timeout(LONGEST_ATTACK, Box::pin(self.attack(attack)));
            limit.await.unwrap_or_else(|_| Err(format!("not done after {LONGEST_ATTACK:?}")))
        };
        let took = start.elapsed();
        self.judge(attack, tried, took).await
    }

    fn blank(&self) -> Report {
        Report {
            service: self.service.name.to_string(),
            target: self.target,
            witness: self.witness.is_there(),
            honest: 0,
            honest_failure: None,
            rows: Vec::new(),
        }
    }

    async fn honest_visit(&self, report: &mut Report) {
        match self.honest().await {
            Ok(()) => report.honest = report.honest.saturating_add(1),
            Err(why) => {
                report.honest_failure.get_or_insert(why);
            }
        }
    }

    /// The honest client: is it served?
    async fn honest(&self) -> Result<(), String> {
        let met = self.visit(Some(&self.papers.honest), self.papers.home).await?;
        let hello = self.hello();
        match &met.seen {
            Seen::Words(words) if !self.is_echo() || *words == hello => return Ok(()),
            // A service that waits for its visitor to speak lets it in all the same.
            Seen::Open if !self.is_echo() => return Ok(()),
            Seen::Words(_) | Seen::Open | Seen::Alert(_) | Seen::Ended | Seen::Broken(_) => {}
        }
        self.behind_the_door(&met).await
    }

    /// A visitor that got through every gate to a service that is down was let in.
    async fn behind_the_door(&self, met: &Met) -> Result<(), String> {
        let saw = PeerText::from(format!("{:?}", met.seen).as_str());
        match self.testimony(met.from).await {
            Testimony::Refused(refusal) if refusal.room() == Room::Service => Ok(()),
            Testimony::Refused(refusal) => Err(format!("it was refused: {refusal}")),
            Testimony::In | Testimony::Unknown => Err(format!("it saw {saw}")),
        }
    }

    /// Whether every message comes back.
    fn is_echo(&self) -> bool {
        self.service.kind == ServiceKind::Echo
    }

    /// What an honest client says: one short message to an echo, and nothing to what we do not know.
    fn hello(&self) -> Vec<u8> {
        if !self.is_echo() {
            return Vec::new();
        }
        match self.service.frame.kind() {
            FrameKind::Raw => b"probe".to_vec(),
            FrameKind::LengthPrefixed { .. } | FrameKind::Lines | FrameKind::JsonLines => {
                tries::frames::honest(&self.service.frame)
            }
        }
    }
}

/// Where an attacker on this machine can come from, the usual address first: addresses around every rule
/// within loopback, and this machine's own.
fn sources(target: IpAddr, service: &ServiceConfig, interfaces: &Interfaces) -> Vec<IpAddr> {
    let mut sources = vec![target];
    let usual = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 99, 98, 97)];
    let loopback = target.is_loopback() && target.is_ipv4();
    if loopback {
        sources.extend(usual.map(IpAddr::V4));
        let rules = service.address.rules().map(|rule| rule.network);
        let identities = service.identity.rules().iter().filter_map(|rule| rule.from()).flatten();
        let balancers = service.balancers.networks().iter();
        let networks = rules.chain(identities.copied()).chain(balancers.copied());
        sources.extend(networks.flat_map(edges).filter(IpAddr::is_loopback).take(MOST_SOURCES));
    }
    let own = interfaces.names().into_iter().flat_map(|name| interfaces.addresses_of(name));
    // A link-local address is none without its zone.
    let own = own.filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
    sources.extend(own.take(MOST_SOURCES));
    let mut seen = Vec::new();
    sources.retain(|ip| {
        let fresh = ip.is_ipv4() == target.is_ipv4() && !seen.contains(ip);
        seen.push(*ip);
        fresh
    });
    sources
}

/// The first and the last address of a network, and their neighbours outside.
fn edges(network: IpNet) -> Vec<IpAddr> {
    let IpNet::V4(network) = network else { return Vec::new() };
    let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
    let near = [first, last, first.saturating_sub(1), last.saturating_add(1)];
    // The first and last address of all loopback are no host's.
    let usable = near.into_iter().filter(|bits| !matches!(bits & 0x00FF_FFFF, 0 | 0x00FF_FFFF));
    usable.map(|bits| IpAddr::V4(bits.into())).collect()
}

/// A share of 256 seats is the largest that is filled; a usual limit on open files carries four times that.
pub const MOST_AT_ONCE: usize = 260;
/// After this time no further attack is begun; each may take [`LONGEST_ATTACK`].
pub const LONGEST_PROBE: Duration = Duration::from_secs(180);
/// The longest deadline that is waited for is half of this.
pub const LONGEST_ATTACK: Duration = Duration::from_secs(40);
/// Often enough that a server which locks its clients out is noticed at the attack that did it, or soon after.
const BETWEEN_HONEST: usize = 8;
/// Enough to find an address on either side of a rule.
const MOST_SOURCES: usize = 256;

//! Holds certificates against a configuration: whether the server stands for where it listens, and whether the
//! clients that a store has issued would be let in by the services that name them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use time::OffsetDateTime;

use crate::bind::Interfaces;
use crate::config::{Config, ServiceConfig};
use crate::handshake::{Handshake, Loaded, Presented};
use crate::identity::{IdentityRule, PermittedName};
use crate::pki::Layout;
use crate::pki::keyfile::read_chain;
use crate::place::Written;
use crate::problem::{Fault, Problem};
use crate::proof::{Shown, Verdict, meet};

/// Everything about the certificates of a configuration that refuses a start, turns a permitted client away, or is
/// unwise. `directory` is a store of `certs init`; where there is none, only the server's side is looked at.
///
/// Nothing is written, and no socket is opened: each client shakes hands with the server in memory.
pub async fn examine(config: &Config, directory: &Path) -> Vec<Problem> {
    let now = UnixTime::now();
    let (handshake, mut problems) = match Handshake::load(&config.handshake, now) {
        Ok(Loaded { handshake, warnings }) => (handshake, warnings),
        Err(problems) => return problems,
    };
    let Ok(chain) = read_chain(&config.handshake.certificate.value) else { return problems };
    let Some(leaf) = chain.first() else { return problems };
    problems.extend(unnamed_listeners(config, leaf));
    let layout = Layout::new(directory.to_owned());
    let clients = clients(&layout, &mut problems);
    if !clients.is_empty() {
        let trial = Trial { config, handshake: &handshake, layout: &layout, leaf };
        for client in &clients {
            problems.extend(trial.of(client).await);
        }
        problems.extend(unheld_names(config, &clients));
    }
    problems
}

/// A client of the store.
struct Client {
    place: PathBuf,
    shown: Shown,
    presented: Presented,
}

/// Whoever dials an address that the certificate does not name has to be told another name.
fn unnamed_listeners(config: &Config, leaf: &CertificateDer<'_>) -> Vec<Problem> {
    let (Ok(interfaces), Ok(leaf)) =
        (Interfaces::of_this_host(), webpki::EndEntityCert::try_from(leaf))
    else {
        return Vec::new();
    };
    let stands_for = |name: &str| {
        let name = ServerName::try_from(name);
        name.is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    };
    let mut problems = Vec::new();
    for service in &config.services {
        for listen in &service.listen {
            let Ok(addresses) = listen.value.resolve(&interfaces) else { continue };
            let addresses: BTreeSet<_> = addresses.into_iter().map(|at| at.ip()).collect();
            for ip in addresses {
                let dialled = !ip.is_unspecified() && !is_link_local(ip);
                let by_name = ip.is_loopback() && stands_for("localhost");
                if !dialled || by_name || stands_for(&ip.to_string()) {
                    continue;
                }
                let what = format!(
                    "the server's certificate does not stand for {ip}, where service {} listens",
                    service.name
                );
                let remedy = format!(
                    "issue it for {ip} too, or let clients dial a name that it has: certs server NAME {ip}"
                );
                let problem = Problem::warning(Fault::CertsUnnamedListener, what, remedy);
                problems.push(problem.at(&listen.place));
            }
        }
    }
    problems
}

fn is_link_local(ip: std::net::IpAddr) -> bool {
    match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The clients whose files are in the store; one that cannot be read is a problem.
fn clients(layout: &Layout, problems: &mut Vec<Problem>) -> Vec<Client> {
    let folder = layout.directory().join("client");
    let mut places: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    places.sort();
    let mut clients = Vec::new();
    for place in places.into_iter().filter(|place| place.join("chain.pem").exists()) {
        let read = Shown::read(&place).and_then(|shown| {
            let presented = shown.presented()?;
            Ok(Client { place, shown, presented })
        });
        match read {
            Ok(client) => clients.push(client),
            Err(problem) => problems.push(problem),
        }
    }
    clients
}

/// What a client is held against.
struct Trial<'a> {
    config: &'a Config,
    handshake: &'a Handshake,
    layout: &'a Layout,
    leaf: &'a CertificateDer<'static>,
}

impl Trial<'_> {
    async fn of(&self, client: &Client) -> Option<Problem> {
        let shown = client.place.display();
        let permits = |service: &&ServiceConfig| {
            names(service).any(|name| name.value.matches(&client.presented))
        };
        let Some(service) = self.config.services.iter().find(permits) else {
            let what = format!("no service permits the client of {shown}");
            let remedy = "add one of its names to permit, or revoke it if nobody needs it";
            return Some(Problem::warning(Fault::CertsClientUnused, what, remedy));
        };
        match self.shake_hands(&client.shown).await {
            Ok(Verdict::LetIn) => client.ends_soon(),
            Ok(verdict) => {
                let what = format!(
                    "the client of {shown} would not be let in by service {}: {verdict}",
                    service.name
                );
                let remedy = format!("see doorward explain {verdict}");
                Some(Problem::error(Fault::CertsClientRefused, what, remedy))
            }
            Err(problem) => Some(problem),
        }
    }

    async fn shake_hands(&self, shown: &Shown) -> Result<Verdict, Problem> {
        let anchor = read_chain(&self.layout.trust())?.into_iter().next();
        let anchor = anchor.unwrap_or_else(|| self.leaf.clone());
        meet(self.handshake, &anchor, Some(shown), &self.dialled()).await
    }

    /// A name that the server stands for, whichever it is.
    fn dialled(&self) -> String {
        let leaf = webpki::EndEntityCert::try_from(self.leaf).ok();
        // A star stands for one label, so that any label will do.
        let name = leaf.and_then(|leaf| Some(leaf.valid_dns_names().next()?.replace('*', "any")));
        name.unwrap_or_else(|| self.address())
    }

    /// Where it has no DNS name, an address that it listens on.
    fn address(&self) -> String {
        let interfaces = Interfaces::of_this_host().ok();
        let listens = self.config.services.iter().flat_map(|service| &service.listen);
        let addresses = listens.filter_map(|listen| {
            listen.value.resolve(interfaces.as_ref()?).ok()?.into_iter().next()
        });
        let stands_for = |ip: &String| {
            let leaf = webpki::EndEntityCert::try_from(self.leaf).ok();
            let name = ServerName::try_from(ip.as_str()).ok();
            leaf.zip(name)
                .is_some_and(|(leaf, name)| leaf.verify_is_valid_for_subject_name(&name).is_ok())
        };
        let mut named = addresses.map(|at| at.ip().to_string()).filter(stands_for);
        named.next().unwrap_or_else(|| "localhost".to_owned())
    }
}

impl Client {
    fn ends_soon(&self) -> Option<Problem> {
        let end = i64::try_from(self.presented.expires().as_secs()).ok()?;
        let left = end.saturating_sub(OffsetDateTime::now_utc().unix_timestamp());
        if left >= SOON {
            return None;
        }
        let days = left.div_euclid(24 * 3600);
        let shown = self.place.display();
        let what = format!("the certificate of {shown} ends in {days} days");
        let remedy = "renew it: doorward certs renew --due 30d";
        Some(Problem::warning(Fault::CertsExpires, what, remedy))
    }
}

/// Permitted names that nobody in the store has.
fn unheld_names(config: &Config, clients: &[Client]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for service in &config.services {
        for Written { value: name, place } in names(service) {
            if clients.iter().any(|client| name.matches(&client.presented)) {
                continue;
            }
            let what = format!(
                "no client of the store has the name {name}, which service {} permits",
                service.name
            );
            let remedy =
                "issue it with doorward certs client, or ignore this where another authority does";
            problems.push(Problem::warning(Fault::CertsNameUnheld, what, remedy).at(place));
        }
    }
    problems
}

fn names(service: &ServiceConfig) -> impl Iterator<Item = &Written<PermittedName>> {
    service.identity.rules().iter().flat_map(IdentityRule::names)
}

/// As for the server's own certificate.
const SOON: i64 = 30 * 24 * 3600;

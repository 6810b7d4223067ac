//! Before a start: the configuration held against the files it names and the machine it is on.

use rustls::pki_types::UnixTime;

use crate::accept::{Budgets, descriptors};
use crate::bind::{self, Interfaces};
use crate::config::{Config, ServiceConfig, ServiceKind};
use crate::handshake::{Handshake, Loaded};
use crate::problem::{Fault, Problem, Severity};
use crate::sandbox;

/// Everything that would refuse a start or is worth a warning, short of opening a socket.
///
/// A start refuses exactly what is an error here, and what only the system can know: a port in use, an
/// address that is not this host's, a missing privilege, a socket that is not handed over.
#[must_use]
pub fn check(config: &Config) -> Vec<Problem> {
    let (Ok(Ready { warnings: mut problems, .. }) | Err(mut problems)) = prepare(config);
    if !bind::is_adopted() {
        problems.retain(|problem| problem.fault() != Fault::BindInherited);
    }
    problems.extend(sandbox::foresee(&config.sandbox));
    problems
}

/// A configuration that was held against the files it names and the machine it is on.
pub(super) struct Ready {
    pub(super) handshake: Handshake,
    pub(super) budgets: Budgets,
    pub(super) interfaces: Interfaces,
    pub(super) warnings: Vec<Problem>,
}

pub(super) fn prepare(config: &Config) -> Result<Ready, Vec<Problem>> {
    let mut problems = Vec::new();
    let interfaces = keep(interfaces(), &mut problems);
    if let Some(interfaces) = &interfaces {
        problems.extend(outside(config, interfaces));
    }
    let budgets = keep(fit(config), &mut problems);
    let handshake = match Handshake::load(&config.handshake, UnixTime::now()) {
        Ok(Loaded { handshake, warnings }) => {
            problems.extend(warnings);
            Some(handshake)
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    problems.extend(authority_key(config));
    let refused = problems.iter().any(|problem| problem.severity() == Severity::Error);
    match (handshake, budgets, interfaces, refused) {
        (Some(handshake), Some((budgets, lowered)), Some(interfaces), false) => {
            problems.extend(lowered);
            Ok(Ready { handshake, budgets, interfaces, warnings: problems })
        }
        (_, _, _, _) => Err(problems),
    }
}

fn keep<T>(tried: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    tried.map_err(|problem| problems.push(problem)).ok()
}

/// The budgets that the limit on open files carries.
fn fit(config: &Config) -> Result<(Budgets, Option<Problem>), Problem> {
    let listeners = config.services.iter().map(|service| service.listen.len()).sum();
    let each = if config.services.iter().any(is_forward) { 2 } else { 1 };
    config.accept.fit(descriptors(), listeners, each)
}

fn is_forward(service: &ServiceConfig) -> bool {
    matches!(service.kind, ServiceKind::Forward(_))
}

/// The listeners that the bind policy does not allow.
fn outside(config: &Config, interfaces: &Interfaces) -> Vec<Problem> {
    let mut problems = Vec::new();
    for listen in config.services.iter().flat_map(|service| &service.listen) {
        let found = match listen.value.resolve(interfaces) {
            Ok(addresses) => {
                let judged =
                    addresses.into_iter().map(|address| config.bind.judge(address, interfaces));
                judged.filter_map(Result::err).collect()
            }
            Err(problem) => vec![problem],
        };
        problems.extend(found.into_iter().map(|problem| problem.at(&listen.place)));
    }
    problems
}

/// Whoever breaks into the service must not find the key that makes certificates.
fn authority_key(config: &Config) -> Option<Problem> {
    let clients = &config.handshake.clients;
    let key = clients.value.parent()?.join(AUTHORITY_KEY);
    std::fs::File::open(&key).ok()?;
    let what = format!("{} can be read by the service", key.display());
    let problem = if config.bind.is_local() {
        let remedy = "fine on a developer's machine; keep the authority elsewhere before the scope gets wider";
        Problem::warning(Fault::HandshakeAuthorityKey, what, remedy)
    } else {
        let remedy = "move ca/private to another machine or user; the service needs trust.pem and crl.pem alone";
        Problem::error(Fault::HandshakeAuthorityKey, what, remedy)
    };
    Some(problem.at(&clients.place))
}

fn interfaces() -> Result<Interfaces, Problem> {
    Interfaces::of_this_host().map_err(|error| {
        let what = format!("the interfaces of this host cannot be listed: {error}");
        Problem::error(Fault::BindFailed, what, "see whether the process may use netlink sockets")
    })
}

/// Where the authority's key stands beside trust.pem, in the layout of `certs/`.
const AUTHORITY_KEY: &str = "ca/private/ca.key";

//! Before a start: the configuration held against the files it names and the machine it is on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::UnixTime;

use crate::accept::{Budgets, descriptors};
use crate::audit::RecordTo;
use crate::bind::{self, Interfaces, Listen};
use crate::config::{Config, ServiceConfig, ServiceKind};
use crate::connection::Ground;
use crate::handshake::{Handshake, Loaded};
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem, Severity};
use crate::sandbox;
use crate::server::needs::directory;
use crate::server::outlet;
use crate::server::renewal::Renewal;
use crate::service::run::{Programs, Run};
use crate::service::{Echo, Forward, Service};
use crate::trial::{Rules, Trial};
use crate::web;

/// Everything that would refuse a start or is worth a warning, short of opening a socket.
///
/// A start refuses exactly what is an error here, and what only the system can know: a port in use, an
/// address that is not this host's, a missing privilege, a socket that is not handed over.
#[must_use]
pub fn check(config: &Config) -> Vec<Problem> {
    let (Ok(Ready { warnings: mut problems, .. }) | Err(mut problems)) = prepare(config, None);
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
    pub(super) ground: Ground,
    pub(super) wanted: Vec<Wanted>,
    /// What is behind each service's door, in the order of the configuration.
    pub(super) behind: Vec<Arc<dyn Service>>,
    /// What is tried beside it, by service.
    pub(super) trials: Trials,
    pub(super) warnings: Vec<Problem>,
}

/// The gates that are tried on paper, by service; none where nothing is tried.
pub(super) type Trials = BTreeMap<Arc<str>, Arc<Trial>>;

/// A socket that the configuration asks for, and the bind policy allows.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) service: Arc<str>,
    pub(super) address: SocketAddr,
    pub(super) place: Place,
    /// It was asked for before: where it cannot be had now, it may come back.
    pub(super) known: bool,
}

/// Holds `config` against files and machine; `running` is what it would replace.
pub(super) fn prepare(config: &Config, running: Option<&Config>) -> Result<Ready, Vec<Problem>> {
    let mut problems = Vec::new();
    let ground = keep(ground(config), &mut problems);
    let wanted = ground.as_ref().map(|ground| {
        let (wanted, outside) = wanted(config, &ground.interfaces, running);
        problems.extend(outside);
        problems.extend(outlet::outside(config, &ground.interfaces));
        wanted
    });
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
    let trials = trials(config, &mut problems);
    let behind: Vec<_> =
        config.services.iter().filter_map(|service| behind(service, &mut problems)).collect();
    problems.extend(authority_key(config));
    problems.extend(log_file(config));
    problems.extend(Renewal::check(config));
    let refused = problems.iter().any(|problem| problem.severity() == Severity::Error);
    match (handshake, budgets, ground.zip(wanted), trials, refused) {
        (
            Some(handshake),
            Some((budgets, lowered)),
            Some((ground, wanted)),
            Some(trials),
            false,
        ) => {
            problems.extend(lowered);
            Ok(Ready { handshake, budgets, ground, wanted, behind, trials, warnings: problems })
        }
        (_, _, _, _, _) => Err(problems),
    }
}

/// The gates of the configuration that is tried, with every file read that they need.
fn trials(config: &Config, problems: &mut Vec<Problem>) -> Option<Trials> {
    let Some(tried) = &config.tried else { return Some(Trials::new()) };
    let handshake = match Handshake::load(&tried.handshake, UnixTime::now()) {
        Ok(Loaded { handshake, warnings }) => {
            problems.extend(warnings);
            handshake
        }
        Err(found) => {
            problems.extend(found);
            return None;
        }
    };
    let trial = |service: &ServiceConfig| {
        let tried_service = tried.services.iter().find(|tried| tried.name == service.name);
        let trial = tried_service.map_or(Trial::NoService, |tried_service| {
            Trial::Rooms(Rules {
                address: Arc::clone(&tried_service.address),
                handshake: handshake.clone(),
                versions: tried.handshake.versions,
                identity: Arc::clone(&tried_service.identity),
                frame: Arc::clone(&tried_service.frame),
            })
        });
        (Arc::clone(&service.name), Arc::new(trial))
    };
    Some(config.services.iter().map(trial).collect())
}

/// What is behind a service's door, with every file read that it needs.
fn behind(service: &ServiceConfig, problems: &mut Vec<Problem>) -> Option<Arc<dyn Service>> {
    match &service.kind {
        ServiceKind::Echo => Some(Arc::new(Echo)),
        ServiceKind::Forward(settings) => {
            match Forward::open(settings, &service.name, UnixTime::now()) {
                Ok((forward, warnings)) => {
                    problems.extend(warnings);
                    Some(Arc::new(forward))
                }
                Err(found) => {
                    problems.extend(found);
                    None
                }
            }
        }
        ServiceKind::Run(run) => {
            let found = run.check();
            let refused = found.iter().any(|problem| problem.severity() == Severity::Error);
            problems.extend(found);
            if refused {
                return None;
            }
            let programs: Arc<dyn Service> =
                Arc::new(keep(Programs::open(run, &service.name), problems)?);
            Some(programs)
        }
    }
}

fn keep<T>(tried: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    tried.map_err(|problem| problems.push(problem)).ok()
}

/// The budgets that the limit on open files carries.
fn fit(config: &Config) -> Result<(Budgets, Option<Problem>), Problem> {
    let listeners: usize = config.services.iter().map(|service| service.listen.len()).sum();
    let listeners = runs(config).map(Run::descriptors).fold(listeners, usize::saturating_add);
    let pages = outlet::pages(config).count().saturating_mul(web::DESCRIPTORS);
    let listeners = listeners.saturating_add(pages);
    let each = if config.services.iter().any(is_forward) { 2 } else { 1 };
    config.accept.fit(descriptors(), listeners, each)
}

/// The programs that sessions start.
fn runs(config: &Config) -> impl Iterator<Item = &Run> {
    config.services.iter().filter_map(|service| match &service.kind {
        ServiceKind::Run(run) => Some(run),
        ServiceKind::Echo | ServiceKind::Forward(_) => None,
    })
}

fn is_forward(service: &ServiceConfig) -> bool {
    matches!(service.kind, ServiceKind::Forward(_))
}

/// The sockets that `config` asks for, and what the bind policy does not allow of them.
///
/// A listener that `running` has too waits for its interface to come back. One that is new must be right.
pub(super) fn wanted(
    config: &Config,
    interfaces: &Interfaces,
    running: Option<&Config>,
) -> (Vec<Wanted>, Vec<Problem>) {
    let mut wanted = Vec::new();
    let mut problems = Vec::new();
    for (service, listen) in listeners(config) {
        let known = running.is_some_and(|running| {
            listeners(running).any(|(_, before)| before.value == listen.value)
        });
        let place = &listen.place;
        let mut outside = |problem: Problem| {
            let problem = if known { waiting(&problem) } else { problem };
            problems.push(problem.at(place));
        };
        match listen.value.resolve(interfaces) {
            Ok(addresses) => {
                for address in addresses {
                    match config.bind.judge(address, interfaces) {
                        Ok(()) => wanted.push(Wanted {
                            service: Arc::clone(&service.name),
                            address,
                            place: place.clone(),
                            known,
                        }),
                        Err(problem) => outside(problem),
                    }
                }
            }
            Err(problem) => outside(problem),
        }
    }
    (wanted, problems)
}

/// A listener that cannot be had for now, which is no reason to stop the others.
pub(super) fn waiting(problem: &Problem) -> Problem {
    let what = format!("{}; the listener waits until that changes", problem.message());
    Problem::warning(problem.fault(), what, problem.remedy())
}

fn listeners(config: &Config) -> impl Iterator<Item = (&ServiceConfig, &Written<Listen>)> {
    let listeners = config.services.iter().map(|service| (service, service.listen.iter()));
    listeners.flat_map(|(service, listen)| listen.map(move |listen| (service, listen)))
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

/// Whether the audit log has a directory, and one of its own.
fn log_file(config: &Config) -> Option<Problem> {
    let record = config.record.as_ref()?;
    let RecordTo::File(log) = &record.to.value else { return None };
    let open = match directory(log).canonicalize() {
        Ok(open) => open,
        Err(error) => {
            let what = format!("{} cannot be opened: {error}", directory(log).display());
            let remedy = "make the directory of the audit log, for the user of the service";
            return Some(Problem::error(Fault::AuditUnwritable, what, remedy).at(&record.to.place));
        }
    };
    let key = config.handshake.key.value.canonicalize().ok()?;
    // What the sandbox leaves writable is what whoever takes the process over can replace.
    let what = format!(
        "the sandbox leaves {} writable for the audit log, and the server's key is in it",
        open.display()
    );
    let remedy = "give the audit log a directory of its own";
    let problem = Problem::warning(Fault::AuditBesideKey, what, remedy);
    key.starts_with(&open).then(|| problem.at(&record.to.place))
}

fn ground(config: &Config) -> Result<Ground, Problem> {
    Ok(Ground { policy: config.bind.clone(), interfaces: interfaces()? })
}

/// The interfaces of now.
pub(super) fn interfaces() -> Result<Interfaces, Problem> {
    Interfaces::of_this_host().map_err(|error| {
        let what = format!("the interfaces of this host cannot be listed: {error}");
        Problem::error(Fault::BindFailed, what, "see whether the process may use netlink sockets")
    })
}

/// Where the authority's key stands beside trust.pem, in the layout of `certs/`.
const AUTHORITY_KEY: &str = "ca/private/ca.key";

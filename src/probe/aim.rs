//! What may be attacked: an address that the configuration itself listens on, and that is this machine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bind::Interfaces;
use crate::config::{Config, ServiceConfig};
use crate::problem::{Fault, Problem};
use crate::server::status::Status;

/// The service by this name, or the first.
pub(super) fn service<'c>(
    config: &'c Config,
    name: Option<&str>,
) -> Result<&'c ServiceConfig, Problem> {
    let found = match name {
        Some(name) => config.services.iter().find(|service| *service.name == *name),
        None => config.services.first(),
    };
    found.ok_or_else(|| {
        let names: Vec<_> = config.services.iter().map(|service| &*service.name).collect();
        let what = format!("the configuration has no service {:?}", name.unwrap_or_default());
        Problem::error(Fault::ProbeNotOwn, what, format!("it has {}", names.join(", ")))
    })
}

/// The one address that is attacked.
///
/// `wanted` chooses among the listeners. A listener without a port of its own has the one that the
/// running server says, or else `wanted` says; its address must be the listener's all the same.
///
/// # Errors
/// [`Fault::ProbeNotOwn`] for any other address. Nothing lifts this.
pub(super) fn target(
    service: &ServiceConfig,
    wanted: Option<SocketAddr>,
    interfaces: &Interfaces,
    status: Option<&Status>,
) -> Result<SocketAddr, Problem> {
    let own = listeners(service, interfaces)?;
    let running: Vec<_> = status.map(|status| running(service, status)).unwrap_or_default();
    let known = own.iter().flat_map(|listener| known(*listener, &running));
    let candidates: Vec<_> = known.chain(wanted.filter(|at| is_meant(&own, *at))).collect();
    let chosen = match wanted {
        Some(wanted) => candidates.iter().copied().find(|at| *at == wanted),
        None => candidates.first().copied(),
    };
    let Some(at) = chosen else { return Err(not_own(service, wanted, &own)) };
    if is_of_this_machine(at.ip(), interfaces) {
        return Ok(at);
    }
    let what = format!("{at} is no address of this machine");
    let remedy = "run the probe on the machine that the server runs on; it attacks no other";
    Err(Problem::error(Fault::ProbeNotOwn, what, remedy))
}

/// Where the service listens, wildcards as they are.
pub(super) fn listeners(
    service: &ServiceConfig,
    interfaces: &Interfaces,
) -> Result<Vec<SocketAddr>, Problem> {
    let resolved = service.listen.iter().map(|listen| {
        listen.value.resolve(interfaces).map_err(|problem| problem.at(&listen.place))
    });
    Ok(resolved.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Where the running server says that it listens for this service.
fn running(service: &ServiceConfig, status: &Status) -> Vec<SocketAddr> {
    let own = status.listeners.iter().filter(|listener| listener.service == *service.name);
    own.map(|listener| listener.at).collect()
}

/// The addresses with ports that a listener of the configuration stands for.
fn known(listener: SocketAddr, running: &[SocketAddr]) -> Vec<SocketAddr> {
    if listener.port() != 0 {
        return vec![reachable(listener)];
    }
    let opened = running.iter().filter(|at| at.ip() == listener.ip());
    opened.map(|at| reachable(*at)).collect()
}

/// Whether this address is what a listener without a port may have become.
fn is_meant(own: &[SocketAddr], wanted: SocketAddr) -> bool {
    own.iter().any(|listener| listener.port() == 0 && reachable(*listener).ip() == wanted.ip())
}

/// A wildcard is reached through loopback.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let mut at = listener;
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => at.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => at.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    at
}

fn is_of_this_machine(ip: IpAddr, interfaces: &Interfaces) -> bool {
    ip.is_loopback() || interfaces.interface_of(ip).is_some()
}

fn not_own(service: &ServiceConfig, wanted: Option<SocketAddr>, own: &[SocketAddr]) -> Problem {
    let own: Vec<_> = own.iter().map(ToString::to_string).collect();
    let own = own.join(", ");
    let (what, remedy) = match wanted {
        Some(wanted) => (
            format!("{wanted} is no listener of the service {}", service.name),
            format!("the probe attacks only what the configuration listens on: {own}"),
        ),
        None => (
            format!(
                "the service {} listens on {own}, and which port that is is not known",
                service.name
            ),
            "start the server with [admin], or give the address with --to".to_owned(),
        ),
    };
    Problem::error(Fault::ProbeNotOwn, what, remedy)
}

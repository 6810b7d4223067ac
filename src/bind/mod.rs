//! The bind room: which sockets may exist at all?

mod holder;
mod inherited;
mod interfaces;
mod listen;
mod open;
mod scope;
#[cfg(target_os = "linux")]
pub(crate) mod tcp_table;
#[cfg(unix)]
mod unix;

use std::net::SocketAddr;

use crate::place::Written;
use crate::problem::{Fault, Problem};

use interfaces::is_link_local;

pub use inherited::{adopt, is_adopted};
pub use interfaces::Interfaces;
pub use listen::Listen;
pub use scope::{PortRange, Scope, ScopeRule};
#[cfg(unix)]
pub use unix::{SocketFile, open_unix, replace_unix};

/// Where listening sockets may be, judged for every one of them, before and after it is bound.
///
/// The default is the strict choice: this machine only, no privileged port.
#[derive(Clone, Debug)]
pub struct BindPolicy {
    scope: Written<Scope>,
    ports: Vec<Written<PortRange>>,
}

impl BindPolicy {
    /// A policy of this scope and these ports. Without ports nothing may be opened.
    #[must_use]
    pub fn new(scope: Written<Scope>, ports: Vec<Written<PortRange>>) -> Self {
        Self { scope, ports }
    }

    /// The scope, and where it is written.
    #[must_use]
    pub fn scope(&self) -> &Written<Scope> {
        &self.scope
    }

    /// The ports that may be listened on, and where each range is written.
    #[must_use]
    pub fn ports(&self) -> &[Written<PortRange>] {
        &self.ports
    }

    /// Whether nothing beyond this machine can be reached under the policy.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.scope.value, Scope::Localhost)
    }

    /// Whether a socket may be at this address. Port 0, which lets the system choose, passes; the port
    /// it chose is judged when the socket is bound.
    ///
    /// # Errors
    /// [`Fault::BindOutsideScope`] or [`Fault::BindPortNotAllowed`], with the rule that decided and what
    /// would have to change.
    pub fn judge(&self, address: SocketAddr, interfaces: &Interfaces) -> Result<(), Problem> {
        let ip = address.ip().to_canonical();
        let within = match &self.scope.value {
            Scope::All => true,
            _ if ip.is_unspecified() || ip.is_multicast() => false,
            Scope::Localhost => ip.is_loopback(),
            Scope::Only(rules) => rules.iter().any(|rule| rule.value.covers(address, interfaces)),
        };
        if !within {
            return Err(self.outside(address, interfaces));
        }
        let port = address.port();
        if port != 0 && !self.ports.iter().any(|range| range.value.contains(port)) {
            return Err(self.wrong_port(address));
        }
        Ok(())
    }

    /// Who can reach a socket at this address, in words for the start-up report.
    #[must_use]
    pub fn exposure(&self, address: SocketAddr, interfaces: &Interfaces) -> String {
        let ip = address.ip();
        if ip.is_loopback() {
            return format!("{address} open to this machine only");
        }
        if ip.is_unspecified() {
            return format!("{address} open to EVERY network of this host (scope = \"all\")");
        }
        match interfaces.interface_at(address) {
            Some(name) => format!("{address} open to whoever reaches {name}"),
            None => format!("{address} open to whoever reaches that address"),
        }
    }

    fn outside(&self, address: SocketAddr, interfaces: &Interfaces) -> Problem {
        let scope = &self.scope;
        let what = format!("{address} is outside {} ({})", scope.value, scope.place);
        let own = match address {
            SocketAddr::V4(_) => "127.0.0.1",
            SocketAddr::V6(_) => "[::1]",
        };
        let port = address.port();
        let remedy = if address.ip().is_unspecified() {
            format!(
                "listen on {own}:{port}, or on one address of the network that should reach it; every network only with scope = \"all\""
            )
        } else if address.ip().is_loopback() {
            format!("add \"{}\" to scope", address.ip())
        } else {
            let ip = address.ip();
            let rule = match interfaces.interface_at(address) {
                // On another interface the same address is another host's network.
                Some(name) if is_link_local(ip) => format!("[\"{name}\"]"),
                Some(name) => format!("[\"{ip}\"] or [\"{name}\"]"),
                None => format!("[\"{ip}\"]"),
            };
            format!("listen on {own}:{port}, or write scope = {rule}")
        };
        Problem::error(Fault::BindOutsideScope, what, remedy)
    }

    fn wrong_port(&self, address: SocketAddr) -> Problem {
        let port = address.port();
        let ranges: Vec<_> = self.ports.iter().map(|range| range.value.to_string()).collect();
        let place = self.ports.first().map_or(&self.scope.place, |range| &range.place);
        let what = format!(
            "port {port} of {address} is outside ports = [{}] ({place})",
            ranges.join(", ")
        );
        let remedy = format!("listen on a port inside, or add \"{port}\" to ports of [bind]");
        Problem::error(Fault::BindPortNotAllowed, what, remedy)
    }
}

#[cfg(test)]
mod tests;

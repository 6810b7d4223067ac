//! What a configuration needs of the system once its sockets are open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::audit::RecordTo;
use crate::bind::Listen;
use crate::config::{Config, Renewal, ServiceKind};
use crate::sandbox::{Needs, Ports};
use crate::service::{Endpoint, Upstream};

/// What the sandbox has to leave for `config` to be served, reloads of its files included.
#[must_use]
pub fn needs(config: &Config) -> Needs {
    let mut needs = Needs {
        files: config.files().into_iter().collect(),
        bind: ports(config),
        ..Needs::default()
    };
    for service in &config.services {
        match &service.kind {
            ServiceKind::Echo => {}
            ServiceKind::Forward(forward) => upstream(&forward.to, &mut needs),
            ServiceKind::Run(run) => {
                needs.programs.extend(run.programs());
                needs.files.extend(run.reads());
            }
        }
    }
    if let Renewal::WhenDue { .. } = &config.certs.renewal {
        needs.writes.insert(config.certs.directory.value.clone());
    }
    if let Some(RecordTo::File(log)) = config.record.as_ref().map(|record| &record.to.value) {
        needs.writes.insert(directory(log));
    }
    if let Some(state) = &config.bans.state {
        needs.writes.insert(directory(&state.value));
    }
    needs
}

/// Where a file is written by rename, or opened anew.
pub(super) fn directory(file: &Path) -> PathBuf {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

fn upstream(to: &Upstream, needs: &mut Needs) {
    let endpoint = match to {
        Upstream::Plain(endpoint) | Upstream::Tls(endpoint, _) => endpoint,
        // Landlock leaves the connecting to unix sockets alone.
        Upstream::Unix(_) => return,
    };
    match endpoint {
        Endpoint::Address(address) => {
            needs.connect.insert(address.port());
        }
        Endpoint::Name(_, port) => {
            needs.names = true;
            needs.connect.extend([*port, DNS]);
        }
    }
}

/// The ports of `[bind]` where they are few, so that a reload may open any of them.
fn ports(config: &Config) -> Ports {
    let ranges = config.bind.ports().iter().map(|range| range.value.ports());
    let count: usize = ranges.clone().map(|range| range.len()).sum();
    if count > MOST_PORTS {
        return Ports::Any;
    }
    let mut ports: BTreeSet<u16> = ranges.flatten().collect();
    let listeners = config.services.iter().flat_map(|service| &service.listen);
    // Port 0 is a right of its own: the system chooses, and the bind policy judges what it chose.
    let chosen = |listen: &Listen| listen.port() == 0 && listen.inherited().is_none();
    if listeners.into_iter().any(|listen| chosen(&listen.value)) {
        ports.insert(0);
    }
    Ports::Only(ports)
}

/// Each port is a rule in the kernel; more than these say nothing that the privileged ports do not say.
const MOST_PORTS: usize = 1024;
/// Answers too long for UDP come over TCP (RFC 7766).
const DNS: u16 = 53;

//! The start-up lines: what is open to whom.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use doorward::address::{AddressGate, Effect};
use doorward::bind::Interfaces;
use doorward::config::{Config, ServiceConfig, ServiceKind};
use doorward::frame::{FrameKind, FramePolicy};
use doorward::handshake::Versions;
use doorward::identity::IdentityGate;
use doorward::sandbox::Sandbox;
use doorward::server::Server;
use doorward::service::run::{Limits, Run};

use crate::cli::screen;

/// Prints what an operator wants to read before walking away.
pub(super) fn print(config: &Config, server: &Server, sandbox: &Sandbox, file: &Path) {
    let version = env!("CARGO_PKG_VERSION");
    screen::say(format_args!("doorward {version} with {}", file.display()));
    let interfaces = Interfaces::of_this_host().ok();
    let mut open: BTreeMap<Arc<str>, Vec<SocketAddr>> = BTreeMap::new();
    for (service, address) in server.listeners() {
        open.entry(service).or_default().push(address);
    }
    for service in &config.services {
        let addresses = open.get(&*service.name).map(Vec::as_slice).unwrap_or_default();
        print_service(config, service, addresses, interfaces.as_ref());
        print_filtered(server, addresses);
    }
    print_hall(config, server);
    if let Some(admin) = &config.admin {
        line("admin", &format!("{} for this user and root", admin.socket.value.display()));
    }
    if let Some(metrics) = server.metrics() {
        line("metrics", &format!("http://{metrics}/metrics"));
    }
    if let Some((at, token)) = server.status_page() {
        line("status", &format!("http://{at}/#{token}"));
    }
    for text in sandbox.report().lines() {
        line("sandbox", &text);
    }
    screen::say("ready");
}

/// What is open, in one line for the service manager.
pub(super) fn status(listeners: impl Iterator<Item = (Arc<str>, SocketAddr)>) -> String {
    let mut open: BTreeMap<Arc<str>, Vec<String>> = BTreeMap::new();
    for (service, address) in listeners {
        open.entry(service).or_default().push(address.to_string());
    }
    let services = open.into_iter().map(|(name, at)| format!("{name} at {}", at.join(", ")));
    format!("guarding {}", services.collect::<Vec<_>>().join("; "))
}

fn print_service(
    config: &Config,
    service: &ServiceConfig,
    addresses: &[SocketAddr],
    interfaces: Option<&Interfaces>,
) {
    screen::say(format_args!("service {}: {}", service.name, service.kind));
    for address in addresses {
        let exposure = interfaces.map(|interfaces| config.bind.exposure(*address, interfaces));
        let exposure = exposure.unwrap_or_else(|| address.to_string());
        line("bind", &exposure);
    }
    line("address", &addresses_of(&service.address));
    for name in names_of(&service.identity) {
        line("identity", &name);
    }
    line("frame", &frame_of(&service.frame));
    if let ServiceKind::Run(run) = &service.kind {
        line("service", &limits_of(run));
    }
}

/// What programs may use up, where somebody holds them to it.
fn limits_of(run: &Run) -> String {
    let Limits { memory, cpu, files, programs } = run.limits;
    let each = if run.keeper.holds() {
        format!("each process with {} MiB, {cpu:?} of processor time, {files} files", memory >> 20)
    } else {
        "without limits: nothing watches over them".to_owned()
    };
    format!("at most {programs} programs, {each}")
}

/// Where refusals leave no trace in the log, the start says so.
fn print_filtered(server: &Server, addresses: &[SocketAddr]) {
    let filtered: Vec<_> = server.filtered().filter(|at| addresses.contains(at)).collect();
    if !filtered.is_empty() {
        let at: Vec<_> = filtered.iter().map(ToString::to_string).collect();
        line("kernel", &format!("drops everybody else at {}, unrecorded", at.join(", ")));
    }
}

fn print_hall(config: &Config, server: &Server) {
    screen::say("every service:");
    let versions = match config.handshake.versions {
        Versions::Tls13Only => "TLS 1.3",
        Versions::Tls12And13 => "TLS 1.2 and 1.3",
    };
    let clients = config.handshake.clients.value.display();
    let revocation = match config.handshake.crl.len() {
        0 => "revocation is not checked".to_owned(),
        1 => "revocation is checked".to_owned(),
        lists => format!("revocation is checked against {lists} lists"),
    };
    let deadline = config.handshake.deadline;
    line(
        "handshake",
        &format!("{versions}, clients of {clients}, {revocation}, within {deadline:?}"),
    );
    let budgets = server.budgets();
    let (strangers, share, members) = (budgets.strangers, budgets.per_source, budgets.members);
    line("accept", &format!("{strangers} strangers ({share} a network), {members} members"));
}

fn line(room: &str, text: &str) {
    screen::say(format_args!("  {room:<10} {text}"));
}

fn addresses_of(gate: &AddressGate) -> String {
    let listed = |effect: Effect| {
        let rules = gate.rules().filter(move |rule| rule.effect == effect);
        let mut shown: Vec<_> =
            rules.clone().take(SHOWN).map(|rule| rule.network.to_string()).collect();
        let more = rules.count().saturating_sub(shown.len());
        if more > 0 {
            shown.push(format!("and {more} more"));
        }
        shown.join(", ")
    };
    match (listed(Effect::Allow), listed(Effect::Deny)) {
        (allow, _) if allow.is_empty() => "nobody".to_owned(),
        (allow, deny) if deny.is_empty() => allow,
        (allow, deny) => format!("{allow}; but not {deny}"),
    }
}

fn names_of(gate: &IdentityGate) -> Vec<String> {
    let mut lines = Vec::new();
    for rule in gate.rules() {
        let names: Vec<_> =
            rule.names().iter().take(SHOWN).map(|name| name.value.to_string()).collect();
        let more = match rule.names().len().saturating_sub(names.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let from = rule.from().map(|from| {
            let from: Vec<_> = from.iter().take(SHOWN).map(ToString::to_string).collect();
            format!(" from {}", from.join(", "))
        });
        let text = format!("{}{more}{}", names.join(", "), from.unwrap_or_default());
        lines.push(text);
    }
    if lines.is_empty() {
        lines.push("nobody".to_owned());
    }
    lines
}

fn frame_of(policy: &FramePolicy) -> String {
    let kind = match policy.kind() {
        FrameKind::LengthPrefixed { .. } => "length-prefixed",
        FrameKind::Lines => "lines",
        FrameKind::JsonLines => "json-lines",
        FrameKind::Raw => "raw",
    };
    let (min, max, idle) = (policy.min(), policy.max(), policy.idle());
    match policy.kind() {
        FrameKind::Raw => format!("{kind}, idle {idle:?}"),
        FrameKind::LengthPrefixed { .. } | FrameKind::Lines | FrameKind::JsonLines => {
            format!("{kind}, {min} to {max} bytes, idle {idle:?}")
        }
    }
}

/// A start-up line shows so many entries of a list; `check` and the file show them all.
const SHOWN: usize = 6;

//! The start-up lines of tunnels: what is open to whom, and where it leads.

use doorward::address::AddressGate;
use doorward::bind::Interfaces;
use doorward::config::TunnelConfig;
use doorward::handshake::Presented;
use doorward::pki::keyfile::read_chain;
use doorward::tunnel::{At, CallerGate, CallerRule, Callers, Destination, Tunnel, Tunnels};

use crate::cli::screen;

/// Prints what an operator wants to read before walking away.
pub(super) fn print(config: &TunnelConfig, tunnels: &Tunnels) {
    screen::say(format_args!("doorward {} tunnel", env!("CARGO_PKG_VERSION")));
    let interfaces = Interfaces::of_this_host().ok();
    for tunnel in &config.tunnels {
        screen::say(format_args!("tunnel {}: to {}", tunnel.name, tunnel.destination.to));
        for (_, at) in tunnels.listeners().filter(|(name, _)| **name == *tunnel.name) {
            line("bind", &exposure(config, tunnel, at, interfaces.as_ref()));
        }
        line("callers", &callers(&tunnel.callers));
        line("server", &server(&tunnel.destination));
        line("shows", &shown(&tunnel.destination));
        let (max, idle) = (tunnel.max, tunnel.idle);
        let connect = tunnel.destination.deadlines.connect;
        line("limits", &format!("{max} callers, connected within {connect:?}, idle {idle:?}"));
    }
    screen::say("ready");
}

fn line(what: &str, text: &str) {
    screen::say(format_args!("  {what:<8} {text}"));
}

fn exposure(
    config: &TunnelConfig,
    tunnel: &Tunnel,
    at: &At,
    interfaces: Option<&Interfaces>,
) -> String {
    match (at, interfaces) {
        (At::Tcp(address), Some(interfaces)) => config.bind.exposure(*address, interfaces),
        (At::Tcp(_), None) => at.to_string(),
        (At::Unix(_), _) => format!("{at} mode {:04o}", tunnel.mode),
    }
}

fn callers(callers: &Callers) -> String {
    match callers {
        Callers::Users(gate) => users(gate),
        Callers::Networks(gate) => {
            format!("whoever comes from {}; their users cannot be told", networks(gate))
        }
    }
}

fn users(gate: &CallerGate) -> String {
    let shown = gate.rules().iter().take(SHOWN).map(|rule| match &rule.value {
        CallerRule::AnyUser => format!("{} ({ANY_USER})", rule.value),
        CallerRule::User(..) | CallerRule::Group(..) => rule.value.to_string(),
    });
    let mut shown: Vec<_> = shown.collect();
    let more = gate.rules().len().saturating_sub(shown.len());
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    let nobody_else = match gate.rules() {
        [rule] if rule.place.file() == "the default" => ", who runs this, and nobody else",
        _ => "",
    };
    format!("{}{nobody_else}", shown.join(", "))
}

fn networks(gate: &AddressGate) -> String {
    let mut shown: Vec<_> = gate.rules().take(SHOWN).map(|rule| rule.network.to_string()).collect();
    let more = gate.rules().count().saturating_sub(shown.len());
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

fn server(destination: &Destination) -> String {
    let name = destination.server_name.as_ref().unwrap_or(destination.to.server_name());
    let trust = destination.files.trust.display();
    let pins = match destination.pins.len() {
        0 => String::new(),
        1 => ", with the pinned key".to_owned(),
        count => format!(", with one of {count} pinned keys"),
    };
    format!("{}, vouched for by {trust}{pins}", name.to_str())
}

/// The client's certificate and its names. What cannot be read was refused before.
fn shown(destination: &Destination) -> String {
    let file = &destination.files.certificate;
    let chain = read_chain(file).unwrap_or_default();
    let presented = chain.first().and_then(|first| Presented::read(first).ok());
    let names = presented.iter().flat_map(|shown| shown.names().iter().take(SHOWN));
    let names: Vec<_> = names.map(ToString::to_string).collect();
    if names.is_empty() {
        return file.display().to_string();
    }
    format!("{} ({})", file.display(), names.join(", "))
}

const ANY_USER: &str = "allow_any_user";
/// A start-up line shows so many entries of a list; the file shows them all.
const SHOWN: usize = 6;

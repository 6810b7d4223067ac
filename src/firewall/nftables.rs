//! The policy for nftables: one table, which is loaded and removed as a whole.

use super::{Door, Policy, Script, Span};

/// Loading it twice leaves one table, without a moment in between.
pub(super) fn load(policy: &Policy) -> String {
    let mut text =
        Script::new(policy, "load with nft -f, remove with nft delete table inet doorward");
    text.line("table inet doorward\ndelete table inet doorward\ntable inet doorward {");
    let doors = || policy.doors.iter().enumerate().filter(|(_, door)| !door.allows_all());
    for (number, door) in doors() {
        set(&mut text, number, door);
    }
    // Only what is dropped here is decided: what passes meets the other tables of the host.
    text.line("\tchain input {\n\t\ttype filter hook input priority filter; policy accept;");
    for door in policy.doors.iter().filter(|door| door.allows_all()) {
        text.line(format_args!("\t\t# {}", door.comment()));
    }
    for (number, door) in doors() {
        let family = family(door);
        let to = door.bound().map_or_else(String::new, |ip| format!("{family} daddr {ip} "));
        let port = door.at.port();
        text.line(format_args!("\t\t# {}", door.comment()));
        text.line(format_args!(
            "\t\t{to}tcp dport {port} {family} saddr != @{} counter drop",
            name(number, door)
        ));
    }
    text.line("\t}\n}");
    text.0
}

fn set(text: &mut Script, number: usize, door: &Door) {
    let kind = if door.at.is_ipv4() { "ipv4_addr" } else { "ipv6_addr" };
    text.line(format_args!("\tset {} {{\n\t\ttype {kind}; flags interval;", name(number, door)));
    if !door.allowed.is_empty() {
        let elements: Vec<_> = door.allowed.iter().map(element).collect();
        text.line(format_args!("\t\telements = {{ {} }}", elements.join(",\n\t\t\t")));
    }
    text.line("\t}");
}

/// A network where the span is one, as people would write it.
fn element(span: &Span) -> String {
    match span.networks().as_slice() {
        [network] if span.first == span.last => network.addr().to_string(),
        [network] => network.to_string(),
        _ => format!("{}-{}", span.first, span.last),
    }
}

/// The name of a set. Names of services have at most 32 characters.
fn name(number: usize, door: &Door) -> String {
    format!("allow_{number}_{}", door.service)
}

fn family(door: &Door) -> &'static str {
    if door.at.is_ipv4() { "ip" } else { "ip6" }
}

pub(super) const REMOVE: &str = "delete table inet doorward\n";

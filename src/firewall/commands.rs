//! The policy as scripts: iptables, ufw and firewalld.

use ipnet::IpNet;

use super::{Door, Policy, Script};

/// Chains of our own; the host's chains get one jump.
pub(super) fn iptables(policy: &Policy) -> String {
    let mut text = Script::new(policy, "run as root");
    text.line("set -e");
    for v4 in [true, false] {
        let (program, _) = programs(v4);
        text.line(format_args!(
            "{program}-restore --noflush <<'RULES'\n*filter\n:DOORWARD - [0:0]"
        ));
        for (number, _) in doors(policy, v4) {
            text.line(format_args!(":DOORWARD-{number} - [0:0]"));
        }
        for (number, door) in doors(policy, v4) {
            let to = door.bound().map_or_else(String::new, |ip| format!("-d {} ", IpNet::from(ip)));
            let port = door.at.port();
            text.line(format_args!("# {}", door.comment()));
            text.line(format_args!(
                "-A DOORWARD {to}-p tcp -m tcp --dport {port} -j DOORWARD-{number}"
            ));
            for network in door.networks() {
                text.line(format_args!("-A DOORWARD-{number} -s {network} -j RETURN"));
            }
            text.line(format_args!("-A DOORWARD-{number} -j DROP"));
        }
        text.line("COMMIT\nRULES");
        text.line(format_args!(
            "{program} -C INPUT -j DOORWARD 2>/dev/null || {program} -I INPUT -j DOORWARD"
        ));
    }
    text.0
}

pub(super) fn remove_iptables(policy: &Policy) -> String {
    let mut text = Script::default();
    for v4 in [true, false] {
        let (program, _) = programs(v4);
        text.line(format_args!("{program} -D INPUT -j DOORWARD\n{program} -F DOORWARD"));
        for (number, _) in doors(policy, v4) {
            text.line(format_args!(
                "{program} -F DOORWARD-{number}\n{program} -X DOORWARD-{number}"
            ));
        }
        text.line(format_args!("{program} -X DOORWARD"));
    }
    text.0
}

/// What ufw allows is open, whatever its default says; what is not allowed here is denied.
pub(super) fn ufw(policy: &Policy) -> String {
    let mut text = Script::new(policy, "run as root; remove with the script that --remove prints");
    text.line("# ufw opens what it allows. Rules go before all others, the last one first.");
    text.line("# Before a changed configuration, remove the rules of the old one with --remove.");
    text.line("set -e");
    for door in &policy.doors {
        text.line(format_args!("# {}", door.comment()));
        for rule in ufw_rules(door) {
            text.line(format_args!("ufw prepend {rule} comment 'doorward {}'", door.service));
        }
    }
    text.0
}

pub(super) fn remove_ufw(policy: &Policy) -> String {
    let mut text = Script::default();
    for rule in policy.doors.iter().flat_map(ufw_rules) {
        text.line(format_args!("ufw --force delete {rule}"));
    }
    text.0
}

fn ufw_rules(door: &Door) -> Vec<String> {
    if door.allows_all() {
        return Vec::new();
    }
    let (_, everything) = programs(door.at.is_ipv4());
    let to = door.bound().map_or_else(|| everything.to_owned(), |ip| ip.to_string());
    let port = door.at.port();
    let allow = |network: IpNet| format!("allow proto tcp from {network} to {to} port {port}");
    let deny = format!("deny proto tcp from {everything} to {to} port {port}");
    std::iter::once(deny).chain(door.networks().into_iter().map(allow)).collect()
}

/// A policy of its own: what it accepts is open, what it drops is closed in every zone.
pub(super) fn firewalld(policy: &Policy) -> String {
    let mut text = Script::new(policy, "run as root; remove with the script that --remove prints");
    text.line("# firewalld opens what it accepts.");
    text.line("firewall-cmd --permanent --delete-policy doorward 2>/dev/null\nset -e");
    text.line("firewall-cmd --permanent --new-policy doorward");
    for option in [
        "--set-priority -100",
        "--set-target CONTINUE",
        "--add-ingress-zone ANY",
        "--add-egress-zone HOST",
    ] {
        text.line(format_args!("firewall-cmd --permanent --policy doorward {option}"));
    }
    for door in &policy.doors {
        text.line(format_args!("# {}", door.comment()));
        if door.allows_all() {
            continue;
        }
        let family = if door.at.is_ipv4() { "ipv4" } else { "ipv6" };
        let to =
            door.bound().map_or_else(String::new, |ip| format!("destination address=\"{ip}\" "));
        let port = format!("port port=\"{}\" protocol=\"tcp\"", door.at.port());
        let mut rule = |rule: &str| {
            text.line(format_args!(
                "firewall-cmd --permanent --policy doorward --add-rich-rule '{rule}'"
            ));
        };
        for network in door.networks() {
            rule(&format!(
                "rule family=\"{family}\" priority=\"-10\" source address=\"{network}\" {to}{port} accept"
            ));
        }
        rule(&format!("rule family=\"{family}\" priority=\"10\" {to}{port} drop"));
    }
    text.line("firewall-cmd --reload");
    text.0
}

pub(super) const REMOVE_FIREWALLD: &str =
    "firewall-cmd --permanent --delete-policy doorward\nfirewall-cmd --reload\n";

/// The doors of a family that need rules, each with its number.
fn doors(policy: &Policy, v4: bool) -> impl Iterator<Item = (usize, &Door)> {
    let numbered = policy.doors.iter().enumerate();
    numbered.filter(move |(_, door)| door.at.is_ipv4() == v4 && !door.allows_all())
}

/// The program of a family, and its widest network.
fn programs(v4: bool) -> (&'static str, &'static str) {
    if v4 { ("iptables", "0.0.0.0/0") } else { ("ip6tables", "::/0") }
}

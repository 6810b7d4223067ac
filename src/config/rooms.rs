//! The tables that stand once: `[bind]`, `[accept]`, `[handshake]`, `[server]` and `[admin]`.

use std::num::NonZeroUsize;
use std::time::Duration;

use toml::de::DeValue;

use super::document::{Document, quoted};
use super::entry::{Bounds, Entry};
use super::section::Section;
use super::words::nearest;
use super::{AdminSettings, Config, Reading};
use crate::accept::Budgets;
use crate::bind::{BindPolicy, PortRange, Scope, ScopeRule};
use crate::handshake::{HandshakeSettings, Hints, Versions};
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};

/// `[bind]`: which sockets may exist.
pub(super) fn bind(mut section: Section<'_>) -> Option<BindPolicy> {
    let scope = match section.entry("scope") {
        Some(entry) => scope(&entry),
        None => Some(Written::new(Scope::Localhost, Place::in_code(DEFAULT))),
    };
    let ports = match section.entry("ports") {
        Some(entry) => ports(&entry),
        None => unprivileged(section.document()),
    };
    section.finish();
    Some(BindPolicy::new(scope?, ports?))
}

fn scope(entry: &Entry<'_>) -> Option<Written<Scope>> {
    let scope = if entry.is_list() { Scope::Only(scope_rules(entry)?) } else { scope_word(entry)? };
    if matches!(scope, Scope::All) {
        entry.warn(
            Fault::BindOpenToAll,
            "scope is \"all\", so every network this host is on can reach the listeners",
            "if that is not meant, list the interfaces or networks, such as [\"eth0\", \"10.20.0.0/16\"]",
        );
    }
    Some(Written::new(scope, entry.place().clone()))
}

fn scope_word(entry: &Entry<'_>) -> Option<Scope> {
    let text = entry.string()?;
    match text.value {
        "localhost" => return Some(Scope::Localhost),
        "all" => return Some(Scope::All),
        _ => {}
    }
    let remedy = match nearest(text.value, ["localhost", "all"].into_iter()) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None => format!(
            "write \"localhost\" or \"all\", or an interface, address or network in a list: [{}]",
            quoted(text.value)
        ),
    };
    entry.blame(
        Fault::BindBadScope,
        format!("{entry} is {}, which is no scope", quoted(text.value)),
        remedy,
    );
    None
}

fn scope_rules(entry: &Entry<'_>) -> Option<Vec<Written<ScopeRule>>> {
    if entry.items().is_empty() {
        entry.blame(
            Fault::BindBadScope,
            format!("{entry} is empty, so no socket may be opened"),
            "list an interface, address or network, or write \"localhost\"",
        );
        return None;
    }
    entry.each(|item| {
        let text = item.string()?;
        let rule = item.checked(ScopeRule::parse(text.value))?;
        Some(Written::new(rule, text.place))
    })
}

fn ports(entry: &Entry<'_>) -> Option<Vec<Written<PortRange>>> {
    if entry.items().is_empty() {
        entry.blame(
            Fault::BindBadPorts,
            format!("{entry} is empty, so no socket may be opened"),
            "list ports or ranges, such as [\"8443\", \"9000-9100\"]",
        );
        return None;
    }
    entry.each(|item| {
        let text = if let DeValue::Integer(_) = item.value() {
            item.number(&PORT)?.to_string()
        } else {
            item.string()?.value.to_owned()
        };
        let range = item.checked(PortRange::parse(&text))?;
        Some(Written::new(range, item.place().clone()))
    })
}

fn unprivileged(document: &Document<'_>) -> Option<Vec<Written<PortRange>>> {
    let place = Place::in_code(DEFAULT);
    let range = document.keep(PortRange::parse(UNPRIVILEGED), &place)?;
    Some(vec![Written::new(range, place)])
}

/// `[accept]`: how many may be in the hallway.
pub(super) fn accept(mut section: Section<'_>) -> Option<Budgets> {
    let strangers = section.or("strangers", 512, |entry| entry.number(&BUDGET));
    let written = section.entry("per_source");
    let per_source = section.or("per_source", 16, |entry| entry.number(&BUDGET));
    let members = section.or("members", 4096, |entry| entry.number(&BUDGET));
    section.finish();
    if let (Some(strangers), Some(per_source)) = (strangers, per_source)
        && per_source > strangers
    {
        let default = if written.is_some() { "" } else { " by default" };
        let problem = Problem::error(
            Fault::ConfigBadValue,
            format!(
                "per_source in [accept] is {per_source}{default}, more than the {strangers} of strangers"
            ),
            "choose it well below strangers, so that one network cannot take every seat",
        );
        let place = written.as_ref().map_or(section.place(), Entry::place);
        section.document().report(problem.at(place));
        return None;
    }
    Some(Budgets {
        strangers: NonZeroUsize::new(strangers?)?,
        per_source: NonZeroUsize::new(per_source?)?,
        members: NonZeroUsize::new(members?)?,
    })
}

/// `[handshake]`: who the server is, and who may vouch for a client.
pub(super) fn handshake(mut section: Section<'_>) -> Option<HandshakeSettings> {
    if !section.is_written() {
        section.blame(
            Fault::ConfigMissingKey,
            "the file has no table [handshake], and certificates have no default",
            "add [handshake] with certificate, key and clients, each the path of a PEM file",
        );
        return None;
    }
    let mut path = |key, example| section.required(key, example)?.path();
    let certificate = path("certificate", "\"certs/server/localhost/chain.pem\"");
    let key = path("key", "\"certs/server/localhost/key.pem\"");
    let clients = path("clients", "\"certs/trust.pem\"");
    let crl = section.or("crl", Vec::new(), |entry| entry.each(Entry::path));
    let versions = section.or("versions", Versions::Tls13Only, versions);
    let deadline =
        section.or("deadline", Duration::from_secs(5), |entry| entry.duration(&DEADLINE));
    let hints = section.or("hints", Hints::Hidden, |entry| {
        Some(if entry.flag()? { Hints::Published } else { Hints::Hidden })
    });
    section.finish();
    if crl.as_ref().is_some_and(Vec::is_empty) {
        section.warn(
            Fault::HandshakeNoRevocation,
            "[handshake] has no crl, so a lost key opens the door until its certificate expires",
            "add crl with the revocation list of each authority in clients",
        );
    }
    Some(HandshakeSettings {
        certificate: certificate?,
        key: key?,
        clients: clients?,
        crl: crl?,
        versions: versions?,
        deadline: deadline?,
        hints: hints?,
    })
}

fn versions(entry: &Entry<'_>) -> Option<Versions> {
    let versions = entry
        .each(|item| item.choice(&[("1.3", Versions::Tls13Only), ("1.2", Versions::Tls12And13)]))?;
    if !versions.contains(&Versions::Tls13Only) {
        entry.blame(
            Fault::ConfigBadValue,
            format!("{entry} leaves TLS 1.3 out"),
            "write [\"1.3\"], or [\"1.2\", \"1.3\"] where an old client needs it",
        );
        return None;
    }
    if !versions.contains(&Versions::Tls12And13) {
        return Some(Versions::Tls13Only);
    }
    entry.warn(
        Fault::HandshakeOldVersion,
        "TLS 1.2 is allowed, which shows the client's certificate to whoever listens",
        "write versions = [\"1.3\"] as soon as no client needs TLS 1.2",
    );
    Some(Versions::Tls12And13)
}

/// `[server]`: how long sessions may go on once the server is told to stop, whether its files are watched, and
/// which stricter configuration is tried.
pub(super) fn server(
    mut section: Section<'_>,
    reading: Reading,
) -> Option<(Duration, bool, Option<Box<Config>>)> {
    let drain = drain(&mut section);
    let watch = section.or("watch", true, Entry::flag);
    let tried = section.or("dry_run", None, |entry| dry_run(entry, reading).map(Some));
    section.finish();
    Some((drain?, watch?, tried?))
}

/// The configuration that is tried. Its problems are told with its own places.
fn dry_run(entry: &Entry<'_>, reading: Reading) -> Option<Box<Config>> {
    let path = entry.path()?;
    if reading == Reading::Tried {
        let shown = path.value.display().to_string();
        let remedy = "remove it: what is tried cannot try something else";
        entry.refuse(&shown, "in a configuration that is itself tried", remedy);
        return None;
    }
    let read = Config::read_to_try(&path.value);
    let (config, problems) = match read {
        Ok((config, warnings)) => (Some(Box::new(config)), warnings),
        Err(problems) => (None, problems),
    };
    for problem in problems {
        entry.document().report(problem);
    }
    config
}

/// `[server]` of a tunnel, whose files are always looked after.
pub(super) fn tunnel_server(mut section: Section<'_>) -> Option<Duration> {
    let drain = drain(&mut section);
    section.finish();
    drain
}

fn drain(section: &mut Section<'_>) -> Option<Duration> {
    section.or("drain", Duration::from_secs(10), |entry| entry.duration(&DRAIN))
}

/// `[admin]`: where an operator may talk to the running server, and who may.
pub(super) fn admin(mut section: Section<'_>) -> Option<AdminSettings> {
    let socket = section.required("socket", "\"doorward.sock\"").and_then(|entry| {
        let path = entry.path()?;
        if path.value.as_os_str().len() > LONGEST_SOCKET_PATH {
            entry.blame(
                Fault::ConfigBadValue,
                format!(
                    "{entry} has more than {LONGEST_SOCKET_PATH} bytes, and no socket can be there"
                ),
                "choose a shorter path",
            );
            return None;
        }
        Some(path)
    });
    let users = section.or("users", Vec::new(), |entry| entry.each(user));
    section.finish();
    Some(AdminSettings { socket: socket?, users: users? })
}

/// A user of this machine, by name or number.
fn user(entry: &Entry<'_>) -> Option<u32> {
    if let DeValue::Integer(_) = entry.value() {
        return entry.number(&USER);
    }
    let name = entry.string()?;
    let found = user_named(name.value);
    if found.is_none() {
        entry.blame(
            Fault::AdminBadUser,
            format!("{} is no user of this machine", quoted(name.value)),
            "name a user that exists, or write its number without quotes",
        );
    }
    found
}

#[cfg(unix)]
fn user_named(name: &str) -> Option<u32> {
    // The database takes C strings, and an empty name is nobody's.
    let asked = !name.is_empty() && !name.contains('\0');
    let user = asked.then(|| nix::unistd::User::from_name(name).ok().flatten()).flatten();
    user.map(|user| user.uid.as_raw())
}

#[cfg(not(unix))]
fn user_named(_: &str) -> Option<u32> {
    None
}

/// Where a rule is written that the file leaves out.
const DEFAULT: &str = "the default";

/// The ports that need no privilege (RFC 6335 calls the rest system ports).
const UNPRIVILEGED: &str = "1024-65535";

const PORT: Bounds<u16> = Bounds { range: 1..=u16::MAX, why: "there are no others" };

const USER: Bounds<u32> = Bounds { range: 0..=u32::MAX, why: "users have no others" };

/// `sun_path` of Linux holds 108 bytes with its final zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// A million connections hold a million descriptors, more than one host is set up for.
const BUDGET: Bounds<usize> =
    Bounds { range: 1..=1_000_000, why: "none is a closed door, and no host holds more" };

/// Less is shorter than a handshake over a mobile link; more lets a stalled stranger keep its seat.
const DEADLINE: Bounds<Duration> = Bounds {
    range: Duration::from_millis(100)..=Duration::from_secs(300),
    why: "less cuts honest clients off, more lets idle strangers keep their seats",
};

/// Nobody waits longer than an hour for a server to stop.
const DRAIN: Bounds<Duration> = Bounds {
    range: Duration::ZERO..=Duration::from_secs(3600),
    why: "nobody waits longer for a server to stop",
};

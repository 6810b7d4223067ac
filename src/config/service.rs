//! `[[service]]`: what is guarded, where it listens and what is behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::address::{self, Addresses, Families};
use super::document::quoted;
use super::entry::{Bounds, Entry};
use super::section::Section;
use super::{ServiceConfig, ServiceKind, frame, identity};
use crate::bind::{BindPolicy, Interfaces, Listen, Scope, ScopeRule};
use crate::place::{Place, Written};
use crate::problem::Fault;
use crate::service::{Forward, Upstream};

/// All services, with listeners that `bind` allows. `default` is the address table of those that
/// have none.
pub(super) fn read(
    top: &mut Section<'_>,
    bind: Option<&BindPolicy>,
    default: Option<&Addresses>,
) -> Option<Vec<ServiceConfig>> {
    let sections = top.tables("service", "[[service]]")?;
    if sections.is_empty() {
        top.blame(
            Fault::ServiceNone,
            "the file has no [[service]], so there is nothing to guard",
            "add [[service]] with name, listen and kind",
        );
        return None;
    }
    if let Some(beyond) = sections.get(MOST_SERVICES) {
        beyond.blame(
            Fault::ConfigBadValue,
            format!(
                "this is service {} of at most {MOST_SERVICES}",
                MOST_SERVICES.saturating_add(1)
            ),
            "run a second doorward for the others",
        );
    }
    let bind = bind.filter(|bind| !names_an_interface(bind));
    let mut taken = Taken { bind, names: BTreeMap::new(), listeners: Vec::new() };
    let services: Vec<_> =
        sections.into_iter().map(|section| service(section, default, &mut taken)).collect();
    services.into_iter().collect()
}

/// What the services before have, which no two may share, and where any may listen at all.
#[derive(Debug)]
struct Taken<'d> {
    bind: Option<&'d BindPolicy>,
    names: BTreeMap<&'d str, Place>,
    listeners: Vec<Written<Listen>>,
}

fn service<'d>(
    mut section: Section<'d>,
    default: Option<&Addresses>,
    taken: &mut Taken<'d>,
) -> Option<ServiceConfig> {
    let document = section.document();
    let place = section.place().clone();
    let name = section.required("name", "\"echo\"").and_then(|entry| taken.name(&entry));
    let listen = section
        .required("listen", "[\"127.0.0.1:8443\", \"[::1]:8443\"]")
        .and_then(|entry| taken.listeners(&entry));
    let kind = kind(&mut section);
    let own = section.entry("address").is_some();
    let addresses = section.table("address", "[service.address]");
    let addresses = own.then(|| address::read(addresses));
    let addresses = addresses.as_ref().map_or(default, Option::as_ref);
    let identity = identity::read(&mut section);
    let frame = frame::read(section.table("frame", "[service.frame]"), kind.as_ref());
    section.finish();
    if let (Some(addresses), Some(listen)) = (addresses, &listen) {
        addresses.advise(document, families(listen), &place);
    }
    Some(ServiceConfig {
        name: Arc::from(name?),
        place,
        listen: listen?,
        address: Arc::clone(&addresses?.gate),
        identity: identity?,
        frame: Arc::new(frame),
        kind: kind?,
    })
}

/// What is behind the door; the keys of a forward belong to a forward only.
fn kind(section: &mut Section<'_>) -> Option<ServiceKind> {
    let kind = section.required("kind", "\"echo\"").and_then(|entry| entry.choice(&KINDS));
    // Asked for in any case, so that a bad kind does not make them unknown.
    let written = [section.entry("to"), section.entry("connect_deadline")];
    match kind? {
        Kind::Forward => forward(section).map(ServiceKind::Forward),
        Kind::Echo => {
            for entry in written.iter().flatten() {
                entry.blame(
                    Fault::ConfigBadValue,
                    format!("{entry} means nothing to kind = \"echo\""),
                    "remove it, or write kind = \"forward\"",
                );
            }
            Some(ServiceKind::Echo)
        }
    }
}

fn forward(section: &mut Section<'_>) -> Option<Forward> {
    let to = section.required("to", "\"127.0.0.1:6379\"").and_then(|entry| {
        let text = entry.string()?;
        entry.checked(Upstream::parse(text.value))
    });
    let default = Duration::from_secs(5);
    let connect_deadline =
        section.or("connect_deadline", default, |entry| entry.duration(&CONNECT_DEADLINE));
    Some(Forward { to: to?, connect_deadline: connect_deadline? })
}

impl<'d> Taken<'d> {
    /// The name of a service, which no service before has.
    fn name(&mut self, entry: &Entry<'d>) -> Option<&'d str> {
        let name = entry.string()?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.value.is_empty()
            || name.value.len() > LONGEST_NAME
            || !name.value.chars().all(plain)
        {
            entry.blame(
                Fault::ServiceBadName,
                format!("{entry} is {}, which is no name for a service", quoted(name.value)),
                format!("write 1 to {LONGEST_NAME} characters of a to z, 0 to 9 and -"),
            );
            return None;
        }
        if let Some(first) = self.names.get(name.value) {
            entry.blame(
                Fault::ServiceBadName,
                format!("the name {} is taken by the service at {first}", quoted(name.value)),
                "give each service a name of its own",
            );
            return None;
        }
        self.names.insert(name.value, name.place);
        Some(name.value)
    }

    /// The listeners of a service, which no listener before equals.
    fn listeners(&mut self, entry: &Entry<'d>) -> Option<Vec<Written<Listen>>> {
        if entry.items().is_empty() {
            entry.blame(
                Fault::ConfigBadValue,
                format!("{entry} is empty, so nobody could reach the service"),
                "list an address with a port, such as \"127.0.0.1:8443\"",
            );
            return None;
        }
        entry.each(|item| self.listener(item))
    }

    fn listener(&mut self, entry: &Entry<'d>) -> Option<Written<Listen>> {
        let listen = Written::new(listen(entry)?, entry.place().clone());
        if let Some(first) =
            self.listeners.iter().find(|other| same_socket(&other.value, &listen.value))
        {
            entry.blame(
                Fault::BindDuplicate,
                format!("{} is listened on already, at {}", listen.value, first.place),
                "remove one of the two, or choose another port",
            );
            return None;
        }
        if self.listeners.len() == MOST_LISTENERS {
            entry.blame(
                Fault::ConfigBadValue,
                format!("there are more than {MOST_LISTENERS} listeners"),
                "listen on networks by interface, or run a second doorward for the others",
            );
            return None;
        }
        self.listeners.push(listen.clone());
        if let (Some(bind), Listen::Address(address)) = (self.bind, &listen.value) {
            entry.checked(bind.judge(*address, &Interfaces::default()))?;
        }
        Some(listen)
    }
}

/// An address with a port, a socket that was handed over, or `{ interface = "eth0", port = 8443 }`.
fn listen(entry: &Entry<'_>) -> Option<Listen> {
    if let DeValue::String(text) = entry.value() {
        return entry.checked(Listen::parse(text));
    }
    let mut table = Section::of(
        entry,
        "the listener",
        "an address with a port, or an interface and a port",
        "write \"127.0.0.1:8443\" or { interface = \"eth0\", port = 8443 }",
    )?;
    let name = table.required("interface", "\"eth0\"").and_then(|entry| entry.string());
    let port = table.required("port", "8443").and_then(|entry| entry.number(&PORT));
    table.finish();
    Some(Listen::Interface { name: name?.value.to_owned(), port: port? })
}

/// What an interface has is judged when sockets are opened: the file alone cannot tell.
fn names_an_interface(bind: &BindPolicy) -> bool {
    let by_interface = |rule: &Written<ScopeRule>| matches!(rule.value, ScopeRule::Interface(_));
    matches!(&bind.scope().value, Scope::Only(rules) if rules.iter().any(by_interface))
}

/// Whether opening the second would fail: a wildcard takes the port on every address of its family.
fn same_socket(one: &Listen, other: &Listen) -> bool {
    let (Listen::Address(one), Listen::Address(other)) = (one, other) else {
        return one == other && (one.port() != 0 || one.inherited().is_some());
    };
    let covers = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && covers
}

/// An interface may have addresses of both families.
fn families(listeners: &[Written<Listen>]) -> Families {
    let has = |family: fn(&SocketAddr) -> bool, zoned: bool| {
        listeners.iter().any(|listen| match &listen.value {
            Listen::Address(address) => family(address),
            Listen::Zoned(..) => zoned,
            Listen::Interface { .. } => true,
            // Known when it is handed over.
            Listen::Inherited(_) => false,
        })
    };
    Families { v4: has(SocketAddr::is_ipv4, false), v6: has(SocketAddr::is_ipv6, true) }
}

/// The words of `kind`.
const KINDS: [(&str, Kind); 2] = [("echo", Kind::Echo), ("forward", Kind::Forward)];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Echo,
    Forward,
}

/// What one process should guard: each service has tasks, gates and a label of its own.
const MOST_SERVICES: usize = 64;

/// Each listener holds a descriptor and a task for as long as the process lives.
const MOST_LISTENERS: usize = 64;

/// As long as a label of a metric is readable in a table.
const LONGEST_NAME: usize = 32;

const PORT: Bounds<u16> = Bounds { range: 0..=u16::MAX, why: "there are no others" };

/// An upstream is near: what takes a minute to accept does not work, what takes 10 ms may.
const CONNECT_DEADLINE: Bounds<Duration> = Bounds {
    range: Duration::from_millis(100)..=Duration::from_secs(60),
    why: "less gives up on a working upstream, more keeps a visitor waiting",
};

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
use super::{ServiceConfig, ServiceKind, forward, frame, identity, run};
use crate::accept::Balancers;
use crate::bind::{BindPolicy, Interfaces, Listen, Scope, ScopeRule};
use crate::handshake::{Greeting, Preamble};
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};

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
    let mut taken = Taken::new(bind);
    let services: Vec<_> =
        sections.into_iter().map(|section| service(section, default, &mut taken)).collect();
    services.into_iter().collect()
}

/// What the services before have, which no two may share, and where any may listen at all.
#[derive(Debug)]
pub(super) struct Taken<'d> {
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
    let lifetime = section.or("lifetime", None, |entry| entry.duration(&LIFETIME).map(Some));
    let own = section.entry("address").is_some();
    let addresses = section.table("address", "[service.address]");
    let addresses = own.then(|| address::read(addresses));
    let addresses = addresses.as_ref().map_or(default, Option::as_ref);
    let greeting = greeting(&mut section);
    let balancers = balancers(section.table("balancers", "[service.balancers]"));
    let identity = identity::read(&mut section);
    let frame = frame::read(section.table("frame", "[service.frame]"), kind.as_ref());
    run::judge_streams(&mut section, kind.as_ref(), frame.kind());
    section.finish();
    if let (Some(addresses), Some(listen)) = (addresses, &listen) {
        addresses.advise(document, families(listen), &place);
    }
    Some(ServiceConfig {
        name: Arc::from(name?),
        place,
        listen: listen?,
        greeting: greeting?,
        balancers: Arc::new(balancers?),
        address: Arc::clone(&addresses?.gate),
        kernel: addresses?.kernel,
        identity: identity?,
        frame: Arc::new(frame),
        kind: kind?,
        lifetime: lifetime?,
    })
}

/// What visitors say before TLS, and offer in it.
fn greeting(section: &mut Section<'_>) -> Option<Greeting> {
    let words = [("none", Preamble::None), ("postgres", Preamble::Postgres)];
    let preamble = section.or("preamble", Preamble::None, |entry| entry.choice(&words));
    let default = match preamble {
        Some(Preamble::Postgres) => vec!["postgresql".to_owned()],
        Some(Preamble::None) | None => Vec::new(),
    };
    let alpn = section.or("alpn", default, |entry| entry.each(protocol));
    Some(Greeting { alpn: alpn?, preamble: preamble? })
}

/// The name of a protocol, as RFC 7301 bounds it and the registry writes it.
fn protocol(entry: &Entry<'_>) -> Option<String> {
    let name = entry.string()?;
    if name.value.is_empty()
        || name.value.len() > 255
        || !name.value.bytes().all(|b| b.is_ascii_graphic())
    {
        entry.blame(
            Fault::ConfigBadValue,
            format!("{} in alpn is no name of a protocol", quoted(name.value)),
            "write its registered name, such as \"postgresql\" or \"h2\"",
        );
        return None;
    }
    Some(name.value.to_owned())
}

/// Who may announce that a visitor comes from elsewhere; nobody without the table.
fn balancers(mut section: Section<'_>) -> Option<Balancers> {
    if !section.is_written() {
        section.finish();
        return Some(Balancers::default());
    }
    let from = section.required("from", "[\"10.0.0.5\"]").and_then(|entry| {
        let networks = address::networks(&entry)?;
        if networks.is_empty() {
            entry.blame(
                Fault::AcceptBadBalancer,
                format!("{entry} is empty, so no header would be understood"),
                "list the addresses of the balancers, or remove [service.balancers]",
            );
            return None;
        }
        let everybody = networks.iter().find(|network| network.value.prefix_len() < WIDEST_BALANCERS);
        if let Some(everybody) = everybody {
            let what = format!(
                "{} in from is half of all addresses or more: so many could say that they come from anywhere",
                everybody.value
            );
            let remedy = "list the addresses of the balancers";
            let problem = Problem::error(Fault::AcceptBadBalancer, what, remedy);
            section.document().report(problem.at(&everybody.place));
            return None;
        }
        Some(networks.into_iter().map(|network| network.value).collect())
    });
    let deadline =
        section.or("deadline", Duration::from_secs(2), |entry| entry.duration(&BALANCER_DEADLINE));
    section.finish();
    Some(Balancers::new(from?, deadline?))
}

/// What is behind the door; the keys of one kind belong to that kind only.
fn kind(section: &mut Section<'_>) -> Option<ServiceKind> {
    let kind = section.required("kind", "\"echo\"").and_then(|entry| entry.choice(&KINDS));
    // Asked for in any case, so that a bad kind does not make them unknown.
    let foreign = KINDS.map(|(word, other)| (other, word, keys(section, other)));
    let kind = kind?;
    let own = KINDS.iter().find(|(_, other)| *other == kind).map_or("", |(word, _)| *word);
    for (_, word, entries) in foreign.iter().filter(|(other, ..)| *other != kind) {
        for entry in entries {
            entry.blame(
                Fault::ConfigBadValue,
                format!("{entry} means nothing to kind = \"{own}\""),
                format!("remove it, or write kind = \"{word}\""),
            );
        }
    }
    match kind {
        Kind::Echo => Some(ServiceKind::Echo),
        Kind::Forward => forward::read(section).map(ServiceKind::Forward),
        Kind::Run => run::read(section).map(ServiceKind::Run),
    }
}

/// What is written of the keys that only this kind has.
fn keys<'d>(section: &mut Section<'d>, kind: Kind) -> Vec<Entry<'d>> {
    let keys: &[&'static str] = match kind {
        Kind::Echo => &[],
        Kind::Forward => &forward::KEYS,
        Kind::Run => &run::KEYS,
    };
    keys.iter().filter_map(|key| section.entry(key)).collect()
}

impl<'d> Taken<'d> {
    /// Nothing yet, for listeners that `bind` allows.
    pub(super) fn new(bind: Option<&'d BindPolicy>) -> Self {
        let bind = bind.filter(|bind| !names_an_interface(bind));
        Self { bind, names: BTreeMap::new(), listeners: Vec::new() }
    }

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

    /// A listener that no listener before equals, and that the policy allows.
    pub(super) fn listener(&mut self, entry: &Entry<'d>) -> Option<Written<Listen>> {
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
pub(super) fn names_an_interface(bind: &BindPolicy) -> bool {
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
const KINDS: [(&str, Kind); 3] =
    [("echo", Kind::Echo), ("forward", Kind::Forward), ("run", Kind::Run)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Echo,
    Forward,
    Run,
}

/// What one process should guard: each service has tasks, gates and a label of its own.
const MOST_SERVICES: usize = 64;

/// Each listener holds a descriptor and a task for as long as the process lives.
const MOST_LISTENERS: usize = 64;

/// As long as a label of a metric is readable in a table.
const LONGEST_NAME: usize = 32;

const PORT: Bounds<u16> = Bounds { range: 0..=u16::MAX, why: "there are no others" };

/// Below a second no session does anything; a month is longer than any certificate's refresh.
const LIFETIME: Bounds<Duration> = Bounds {
    range: Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600),
    why: "less cuts every session off, more is no limit",
};

/// A /0 would let anybody choose its address, and two halves are the same in two lines.
const WIDEST_BALANCERS: u8 = 2;

/// A balancer sends the header with the connection; two seconds are a slow link with a loss.
const BALANCER_DEADLINE: Bounds<Duration> = Bounds {
    range: Duration::from_millis(100)..=Duration::from_secs(30),
    why: "less cuts slow links off, more lets idle strangers keep their seats",
};

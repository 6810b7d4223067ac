//! `[address]` and `[service.address]`: which addresses may knock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::document::{Document, quoted};
use super::entry::Entry;
use super::section::Section;
use super::source;
use crate::address::kernel::Kernel;
use crate::address::{self, AddressGate, Effect, NetworkRule};
use crate::network::parse_network;
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};

/// A table as it is written, with the gate it makes.
#[derive(Debug)]
pub(super) struct Addresses {
    /// The gate, shared by every service that has no table of its own.
    pub(super) gate: Arc<AddressGate>,
    /// Whether the kernel drops what it refuses.
    pub(super) kernel: Kernel,
    allow: Vec<Written<IpNet>>,
    deny: Vec<Written<IpNet>>,
    /// Where the table is written, if it is.
    place: Option<Place>,
}

/// Which address families a set of listeners or networks has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families {
    /// IPv4.
    pub(super) v4: bool,
    /// IPv6.
    pub(super) v6: bool,
}

/// The networks of a table. The files hold allowed networks.
pub(super) fn read(mut section: Section<'_>) -> Option<Addresses> {
    let document = section.document();
    let allow = section.or("allow", Vec::new(), networks);
    let deny = section.or("deny", Vec::new(), networks);
    let files = section.or("files", Vec::new(), |entry| entry.each(list_file));
    let kernel = section.or("kernel", Kernel::default(), |entry| entry.choice(&KERNEL));
    section.finish();
    let (mut allow, deny, files) = (allow?, deny?, files?);
    if !files.is_empty() {
        allow.extend(files.into_iter().flatten());
        without_twins(document, &allow).then_some(())?;
    }
    warn_of_contradictions(document, &allow, &deny);
    let place = section.is_written().then(|| section.place().clone());
    let gate = Arc::new(AddressGate::new(rules(&allow, &deny)));
    Some(Addresses { gate, kernel: kernel?, allow, deny, place })
}

impl Addresses {
    /// Warns where the table does not fit a service that is written at `service` and listens on
    /// `listening`.
    pub(super) fn advise(&self, document: &Document<'_>, listening: Families, service: &Place) {
        let place = self.place.as_ref().unwrap_or(service);
        let warn = |fault, message: String, remedy: &str| {
            document.report(Problem::warning(fault, message, remedy).at(place));
        };
        if self.allow.is_empty() {
            warn(
                Fault::AddressNobody,
                "no address is allowed, so nobody gets in".to_owned(),
                "list in allow of [address] the networks that may connect",
            );
            return;
        }
        let (allow, deny) = (Families::of(&self.allow), Families::of(&self.deny));
        if let (Some((listed, missing)), true) = (allow.only(), listening.both()) {
            warn(
                Fault::AddressOneFamily,
                format!("a service listens on IPv4 and IPv6, but only {listed} is allowed in"),
                &format!("allow the {missing} networks too, or listen on {listed} alone"),
            );
        }
        if let (Some((listed, missing)), true) = (deny.only(), allow.both() && listening.both()) {
            warn(
                Fault::AddressOneFamily,
                format!("only {listed} is denied, so the same hosts may still come by {missing}"),
                &format!("deny their {missing} networks too, or listen on {listed} alone"),
            );
        }
    }
}

impl Families {
    /// Those of a list.
    fn of(networks: &[Written<IpNet>]) -> Self {
        let v4 = |network: &Written<IpNet>| network.value.addr().is_ipv4();
        Self { v4: networks.iter().any(v4), v6: !networks.iter().all(v4) }
    }

    /// Whether both are there.
    fn both(self) -> bool {
        self.v4 && self.v6
    }

    /// The one family that is there, and the other.
    fn only(self) -> Option<(&'static str, &'static str)> {
        match (self.v4, self.v6) {
            (true, false) => Some(("IPv4", "IPv6")),
            (false, true) => Some(("IPv6", "IPv4")),
            (true, true) | (false, false) => None,
        }
    }
}

/// A list of networks, each of them once.
pub(super) fn networks(entry: &Entry<'_>) -> Option<Vec<Written<IpNet>>> {
    let items = entry.items();
    let read: Vec<_> = items.iter().filter_map(network).collect();
    let is_whole = read.len() == items.len();
    (without_twins(entry.document(), &read) && is_whole).then_some(read)
}

fn network(entry: &Entry<'_>) -> Option<Written<IpNet>> {
    let text = entry.string()?;
    Some(Written::new(entry.checked(parse_network(text.value))?, text.place))
}

/// Reports every network that is in the list already; whether there was none.
fn without_twins(document: &Document<'_>, list: &[Written<IpNet>]) -> bool {
    let twins = address::twins(list);
    for (first, again) in &twins {
        let message = format!("{} is listed twice, first at {}", again.value, first.place);
        let problem = Problem::error(Fault::AddressDuplicate, message, "remove one of the two");
        document.report(problem.at(&again.place));
    }
    twins.is_empty()
}

fn warn_of_contradictions(
    document: &Document<'_>,
    allow: &[Written<IpNet>],
    deny: &[Written<IpNet>],
) {
    let mut denied: BTreeMap<_, Option<&Place>> =
        deny.iter().map(|one| (one.value, None)).collect();
    for one in allow {
        if let Some(allowed) = denied.get_mut(&one.value) {
            *allowed = Some(&one.place);
        }
    }
    for Written { value, place } in deny {
        if let Some(Some(first)) = denied.get(value) {
            let message = format!("{value} is denied here and allowed at {first}; deny wins");
            let problem = Problem::warning(
                Fault::AddressDuplicate,
                message,
                "remove it from one of the two lists",
            );
            document.report(problem.at(place));
        }
    }
}

fn rules(allow: &[Written<IpNet>], deny: &[Written<IpNet>]) -> impl Iterator<Item = NetworkRule> {
    let rule = |effect| {
        move |one: &Written<IpNet>| NetworkRule {
            network: one.value,
            effect,
            place: one.place.clone(),
        }
    };
    allow.iter().map(rule(Effect::Allow)).chain(deny.iter().map(rule(Effect::Deny)))
}

/// The networks of a list file; a list with one bad line is no list.
fn list_file(entry: &Entry<'_>) -> Option<Vec<Written<IpNet>>> {
    let path = entry.path()?;
    let name = path.value.display().to_string();
    entry.document().note_list(&path.value);
    let text = source::text_of(Path::new(&path.value), LONGEST_LIST).map_err(|unreadable| {
        entry.document().report(
            unreadable.problem(Fault::AddressListUnreadable, &quoted(&name)).at(entry.place()),
        );
    });
    let (networks, problems) = address::parse_list(&text.ok()?, &Arc::from(name.as_str()));
    if problems.is_empty() {
        return Some(networks);
    }
    let more = problems.len().saturating_sub(MOST_REPORTED);
    for problem in problems.into_iter().take(MOST_REPORTED) {
        entry.document().report(problem);
    }
    if more > 0 {
        entry.blame(
            Fault::AddressListUnreadable,
            format!("{more} more lines of {} are wrong", quoted(&name)),
            "check that it is a list of networks, one a line",
        );
    }
    None
}

/// The words of `kernel`.
const KERNEL: [(&str, Kernel); 3] =
    [("off", Kernel::Off), ("outside", Kernel::Outside), ("all", Kernel::All)];

/// Four million networks, which is more than any list of networks in use.
const LONGEST_LIST: usize = 64 << 20;

/// Nobody reads on when a whole list is wrong.
const MOST_REPORTED: usize = 50;

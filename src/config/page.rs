//! `[metrics]` and `[status]`: where a page is read, and by whom.

use std::net::SocketAddr;
use std::sync::Arc;

use super::PageSettings;
use super::address::networks;
use super::entry::Entry;
use super::section::Section;
use super::service::names_an_interface;
use crate::address::{AddressGate, Effect, NetworkRule};
use crate::bind::{BindPolicy, Interfaces, Listen};
use crate::place::{Place, Written};
use crate::problem::Fault;

/// The table, if it is written.
pub(super) fn read(
    mut section: Section<'_>,
    bind: Option<&BindPolicy>,
    usual: &str,
) -> Option<PageSettings> {
    let listen = section.required("listen", &format!("{usual:?}"));
    let listen = listen.and_then(|entry| listener(&entry, bind, usual));
    let allow = section.or("allow", None, |entry| networks(entry).map(Some));
    let names = section.or("names", Vec::new(), |entry| entry.each(name));
    section.finish();
    let allow = allow?.unwrap_or_else(|| loopback(section.place()));
    let rule = |network: Written<ipnet::IpNet>| NetworkRule {
        network: network.value,
        effect: Effect::Allow,
        place: network.place,
    };
    let allow = AddressGate::new(allow.into_iter().map(rule));
    Some(PageSettings { listen: listen?, allow: Arc::new(allow), names: names?.into() })
}

fn listener(
    entry: &Entry<'_>,
    bind: Option<&BindPolicy>,
    usual: &str,
) -> Option<Written<SocketAddr>> {
    let text = entry.string()?;
    match entry.checked(Listen::parse(text.value))? {
        Listen::Address(address) => {
            // What the interfaces of now say of it is asked at the start.
            if let Some(bind) = bind.filter(|bind| !names_an_interface(bind)) {
                entry.checked(bind.judge(address, &Interfaces::default()))?;
            }
            Some(Written::new(address, text.place))
        }
        Listen::Zoned(..) | Listen::Interface { .. } | Listen::Inherited(_) => {
            let remedy = format!("write an address of this host with a port, such as {usual:?}");
            entry.blame(Fault::BindBadListen, format!("{entry} is no address with a port"), remedy);
            None
        }
    }
}

/// A host name, as it stands in a request.
fn name(entry: &Entry<'_>) -> Option<String> {
    let text = entry.string()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if text.value.is_empty() || text.value.len() > LONGEST_NAME || !text.value.bytes().all(fits) {
        let remedy = "write a host name without a port, such as \"guard.internal\"";
        entry.refuse(text.value, "which is no host name", remedy);
        return None;
    }
    Some(text.value.to_owned())
}

/// Whoever is on this machine.
fn loopback(place: &Place) -> Vec<Written<ipnet::IpNet>> {
    let networks =
        ["127.0.0.0/8", "::1/128"].into_iter().filter_map(|network| network.parse().ok());
    networks.map(|network| Written::new(network, place.clone())).collect()
}

/// A DNS name has no more.
const LONGEST_NAME: usize = 253;

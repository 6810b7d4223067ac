//! The keys of a forward: where to, how it is spoken to, and what it is told.

use std::time::Duration;

use rustls::pki_types::ServerName;

use super::document::quoted;
use super::entry::{Bounds, Entry};
use super::section::Section;
use crate::handshake::{DialSettings, Pin};
use crate::identity::PermittedName;
use crate::problem::Fault;
use crate::service::{Announce, Endpoint, ForwardSettings, Upstream};

/// The keys of a service that only `kind = "forward"` has.
pub(super) const KEYS: [&str; 5] = ["to", "connect_deadline", "health", "proxy", "upstream"];

/// What a `[[service]]` of `kind = "forward"` says.
pub(super) fn read(section: &mut Section<'_>) -> Option<ForwardSettings> {
    let to = section.required("to", "\"127.0.0.1:6379\"");
    let to = to.and_then(|entry| upstream(section, &entry));
    let default = Duration::from_secs(5);
    let connect_deadline =
        section.or("connect_deadline", default, |entry| entry.duration(&CONNECT_DEADLINE));
    let health = section.or("health", None, |entry| entry.duration(&HEALTH).map(Some));
    let proxy = section.or("proxy", Announce::Nothing, |entry| entry.choice(&ANNOUNCEMENTS));
    Some(ForwardSettings {
        to: to?,
        connect_deadline: connect_deadline?,
        health: health?,
        proxy: proxy?,
    })
}

fn upstream(section: &mut Section<'_>, to: &Entry<'_>) -> Option<Upstream> {
    let text = to.string()?;
    let Some(endpoint) = text.value.strip_prefix("tls:") else {
        if let Some(table) = section.entry("upstream") {
            table.blame(
                Fault::ServiceBadUpstream,
                "[service.upstream] means nothing to an upstream without TLS",
                "remove it, or write tls: before the host in to",
            );
        }
        return to.checked(Upstream::parse(text.value));
    };
    let endpoint = to.checked(Endpoint::parse(endpoint));
    if section.entry("upstream").is_none() {
        to.blame(
            Fault::ServiceBadUpstream,
            format!(
                "{} needs certificates, and there is no [service.upstream]",
                quoted(text.value)
            ),
            "add [service.upstream] with certificate, key and trust, each the path of a PEM file",
        );
        return None;
    }
    let table = section.table("upstream", "[service.upstream]");
    if !table.is_written() {
        // Something else is written under that key, which is reported already.
        return None;
    }
    let settings = certificates(table, to, endpoint.as_ref());
    Some(Upstream::Tls(endpoint?, Box::new(settings?)))
}

/// `[service.upstream]`: what is shown to the upstream, and whom it must prove to be.
fn certificates(
    mut section: Section<'_>,
    to: &Entry<'_>,
    endpoint: Option<&Endpoint>,
) -> Option<DialSettings> {
    let mut path = |key, example| section.required(key, example)?.path();
    let certificate = path("certificate", "\"certs/client/doorward/chain.pem\"");
    let key = path("key", "\"certs/client/doorward/key.pem\"");
    let trust = path("trust", "\"certs/trust.pem\"");
    let name = match section.entry("name") {
        Some(entry) => server_name(&entry),
        None => endpoint.and_then(|endpoint| own_name(to, endpoint)),
    };
    let pin = section.or("pin", None, |entry| pin(entry).map(Some));
    section.finish();
    Some(DialSettings {
        certificate: certificate?,
        key: key?,
        trust: trust?,
        name: name?,
        pin: pin?,
    })
}

fn own_name(to: &Entry<'_>, endpoint: &Endpoint) -> Option<ServerName<'static>> {
    let name = endpoint.server_name();
    if name.is_none() {
        to.blame(
            Fault::ServiceBadUpstream,
            format!("no certificate can hold the host of {}", quoted(&endpoint.to_string())),
            "write name = \"db.internal\" in [service.upstream], as the upstream's certificate has it",
        );
    }
    name
}

fn server_name(entry: &Entry<'_>) -> Option<ServerName<'static>> {
    let text = entry.string()?;
    let name = ServerName::try_from(text.value.to_owned()).ok();
    if name.is_none() {
        let remedy = "write a host name or an address, as the upstream's certificate has it";
        entry.refuse(text.value, "which no certificate can hold", remedy);
    }
    name
}

/// A pin as identity rules write it.
fn pin(entry: &Entry<'_>) -> Option<Pin> {
    let text = entry.string()?;
    if !text.value.starts_with("pin:") {
        let remedy = "write \"pin:sha256//\" and the SHA-256 of the public key in base64";
        entry.refuse(text.value, "which is no pin", remedy);
        return None;
    }
    match entry.checked(PermittedName::parse(text.value))? {
        PermittedName::Pin(pin) => Some(pin),
        PermittedName::Name(_) => None,
    }
}

/// The words of `proxy`.
const ANNOUNCEMENTS: [(&str, Announce); 3] =
    [("none", Announce::Nothing), ("v1", Announce::V1), ("v2", Announce::V2)];

/// An upstream is near: what takes a minute to accept does not work, what takes 10 ms may.
const CONNECT_DEADLINE: Bounds<Duration> = Bounds {
    range: Duration::from_millis(100)..=Duration::from_secs(60),
    why: "less gives up on a working upstream, more keeps a visitor waiting",
};

/// A check costs the upstream a connection; after an hour it says nothing about now.
const HEALTH: Bounds<Duration> = Bounds {
    range: Duration::from_secs(1)..=Duration::from_secs(3600),
    why: "less is a load of its own, more tells nothing about now",
};

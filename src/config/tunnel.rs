//! `[[tunnel]]`: the file of `doorward tunnel`, which has its `[bind]`, `[server]` and `[audit]` from the server's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::document::quoted;
use super::entry::{Bounds, Entry};
use super::section::Section;
use super::service::Taken;
use super::{LogFormat, address, audit, parse, rooms, text_of};
use crate::address::{AddressGate, Effect, NetworkRule};
use crate::bind::BindPolicy;
use crate::client::{ClientFiles, Deadlines};
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};
use crate::tunnel::{
    CallerRule, CallerRules, Callers, Destination, Limits, Local, Tunnel, parse_mode, parse_pin,
    parse_server_name, parse_target,
};

/// The configuration of `doorward tunnel`: whoever holds one need not ask again.
#[derive(Debug)]
pub struct TunnelConfig {
    /// Which sockets may exist at all.
    pub bind: BindPolicy,
    /// 1 to 64 tunnels, each with a name of its own.
    pub tunnels: Vec<Tunnel>,
    /// How long sessions may go on once the tunnels are told to stop.
    pub drain: Duration,
    /// How the log is written.
    pub log: LogFormat,
}

impl TunnelConfig {
    /// The configuration in the file at `path`, with its warnings.
    ///
    /// # Errors
    /// As for [`super::Config::read`]. A user or group that this machine does not know is a problem too.
    pub fn read(path: &Path) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (text, file) = text_of(path)?;
        Self::parse(&text, &file)
    }

    /// The configuration in `text`, which messages call `file`, with its warnings.
    ///
    /// # Errors
    /// As for [`TunnelConfig::read`].
    pub fn parse(text: &str, file: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        parse(text, file, Self::from_top)
    }

    fn from_top(mut top: Section<'_>) -> Option<Self> {
        let bind = rooms::bind(top.table("bind", "[bind]"));
        let drain = rooms::tunnel_server(top.table("server", "[server]"));
        let log = audit::of_a_tunnel(top.table("audit", "[audit]"));
        let tunnels = tunnels(&mut top, bind.as_ref());
        top.finish();
        Some(Self { bind: bind?, tunnels: tunnels?, drain: drain?, log: log? })
    }
}

fn tunnels(top: &mut Section<'_>, bind: Option<&BindPolicy>) -> Option<Vec<Tunnel>> {
    let sections = top.tables("tunnel", "[[tunnel]]")?;
    if sections.is_empty() {
        top.blame(
            Fault::TunnelNone,
            "the file has no [[tunnel]], so there is nothing to open",
            "add [[tunnel]] with name, listen, to, trust, certificate and key",
        );
        return None;
    }
    if let Some(beyond) = sections.get(MOST_TUNNELS) {
        let what = format!("there are more than {MOST_TUNNELS} tunnels");
        beyond.blame(Fault::ConfigBadValue, what, "run a second doorward for the others");
    }
    let mut before = Before { names: BTreeMap::new(), taken: Taken::new(bind), paths: Vec::new() };
    let read: Vec<_> = sections.into_iter().map(|section| tunnel(section, &mut before)).collect();
    read.into_iter().collect()
}

/// What the tunnels before have, which no two may share.
struct Before<'d> {
    names: BTreeMap<&'d str, Place>,
    taken: Taken<'d>,
    paths: Vec<Written<Local>>,
}

fn tunnel<'d>(mut section: Section<'d>, before: &mut Before<'d>) -> Option<Tunnel> {
    let place = section.place().clone();
    let name = section.required("name", "\"redis\"").and_then(|entry| before.name(&entry));
    let listen =
        section.required("listen", "\"127.0.0.1:6379\"").and_then(|entry| before.listen(&entry));
    let mode = section.or("mode", OWNER_ALONE, mode);
    let rules = rules(&mut section);
    let destination = destination(&mut section);
    let idle = section.or("idle", Limits::DEFAULT_IDLE, |entry| entry.duration(&IDLE));
    let max = section.or("max", Limits::DEFAULT_MAX, |entry| entry.number(&MAX));
    section.finish();
    let (listen, mode) = (listen?, mode?);
    let (callers, warnings) =
        section.document().keep(Callers::new(rules?, &listen, mode), &place)?;
    for warning in warnings {
        section.document().report(warning);
    }
    Some(Tunnel {
        name: Arc::from(name?),
        place,
        listen,
        mode,
        callers,
        destination: destination?,
        idle: idle?,
        max: max?,
    })
}

fn destination(section: &mut Section<'_>) -> Option<Destination> {
    let to = section.required("to", "\"db.internal:8443\"").and_then(|entry| {
        let text = entry.string()?;
        entry.checked(parse_target(text.value))
    });
    let mut path = |key, example| section.required(key, example)?.path();
    let trust = path("trust", "\"certs/trust.pem\"");
    let certificate = path("certificate", "\"certs/client/alice/chain.pem\"");
    let key = path("key", "\"certs/client/alice/key.pem\"");
    let server_name = section.or("server_name", None, |entry| {
        let text = entry.string()?;
        entry.checked(parse_server_name(text.value)).map(Some)
    });
    let pins = section.or("pin", Vec::new(), |entry| {
        entry.each(|item| {
            let text = item.string()?;
            item.checked(parse_pin(text.value))
        })
    });
    let connect =
        section.or("connect_deadline", Limits::DEFAULT_CONNECT, |entry| entry.duration(&CONNECT));
    let retries = section.or("retries", 0, |entry| entry.number(&RETRIES));
    let files =
        ClientFiles { trust: trust?.value, certificate: certificate?.value, key: key?.value };
    let connect = connect?;
    let deadlines = Deadlines { connect, handshake: connect, ..Deadlines::default() };
    let (server_name, pins) = (server_name?, pins?);
    Some(Destination { to: to?, files, server_name, pins, deadlines, retries: retries? })
}

/// Who may call, as it is written.
fn rules(section: &mut Section<'_>) -> Option<CallerRules> {
    let mut read = |key, rule: fn(&str) -> Result<CallerRule, Problem>| {
        section.or(key, Vec::new(), |entry| entry.each(|item| caller(item, rule)))
    };
    let users = read("allow_user", CallerRule::user);
    let groups = read("allow_group", CallerRule::group);
    let any_user = section
        .or("allow_any_user", None, |entry| Some(entry.flag()?.then(|| entry.place().clone())));
    let from = section.or("allow_from", None, |entry| Some(Some(networks(entry)?)));
    let mut users = users?;
    users.extend(groups?);
    Some(CallerRules { users, any_user: any_user?, from: from? })
}

/// A name, or a number with or without quotes.
fn caller(
    entry: &Entry<'_>,
    rule: fn(&str) -> Result<CallerRule, Problem>,
) -> Option<Written<CallerRule>> {
    let text = if let DeValue::Integer(_) = entry.value() {
        entry.number(&ID)?.to_string()
    } else {
        entry.string()?.value.to_owned()
    };
    Some(Written::new(entry.checked(rule(&text))?, entry.place().clone()))
}

fn networks(entry: &Entry<'_>) -> Option<Arc<AddressGate>> {
    let rule = |one: Written<ipnet::IpNet>| NetworkRule {
        network: one.value,
        effect: Effect::Allow,
        place: one.place,
    };
    let rules = address::networks(entry)?.into_iter().map(rule);
    Some(Arc::new(AddressGate::new(rules)))
}

fn mode(entry: &Entry<'_>) -> Option<u32> {
    let text = entry.string()?;
    let mode = parse_mode(text.value);
    if mode.is_none() {
        let remedy = "write three octal digits after a 0 that let the owner read and write, such as \"0660\"";
        entry.refuse(text.value, "which is no mode for a socket", remedy);
    }
    mode
}

impl<'d> Before<'d> {
    /// The name of a tunnel, which no tunnel before has.
    fn name(&mut self, entry: &Entry<'d>) -> Option<&'d str> {
        let name = entry.string()?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let length = 1..=LONGEST_NAME;
        if !length.contains(&name.value.len()) || !name.value.chars().all(plain) {
            let what = format!("{entry} is {}, which is no name for a tunnel", quoted(name.value));
            let remedy = format!("write 1 to {LONGEST_NAME} characters of a to z, 0 to 9 and -");
            entry.blame(Fault::TunnelBadName, what, remedy);
            return None;
        }
        if let Some(first) = self.names.get(name.value) {
            let what = format!("the name {} is taken by the tunnel at {first}", quoted(name.value));
            entry.blame(Fault::TunnelBadName, what, "give each tunnel a name of its own");
            return None;
        }
        self.names.insert(name.value, name.place);
        Some(name.value)
    }

    /// The listeners of a tunnel, which no listener before equals.
    fn listen(&mut self, entry: &Entry<'d>) -> Option<Vec<Written<Local>>> {
        if entry.items().is_empty() {
            let what = format!("{entry} is empty, so nobody could call");
            entry.blame(Fault::ConfigBadValue, what, "list an address such as \"127.0.0.1:6379\"");
            return None;
        }
        entry.each(|item| self.listener(item))
    }

    fn listener(&mut self, entry: &Entry<'d>) -> Option<Written<Local>> {
        let path = match entry.value() {
            DeValue::String(text) if text.starts_with("unix:") => text,
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                let listen = self.taken.listener(entry)?;
                return Some(Written::new(Local::Tcp(listen.value), listen.place));
            }
        };
        let socket = Written::new(entry.checked(Local::parse(path))?, entry.place().clone());
        if let Some(first) = self.paths.iter().find(|other| other.value == socket.value) {
            let what = format!("{} is listened on already, at {}", socket.value, first.place);
            entry.blame(
                Fault::BindDuplicate,
                what,
                "remove one of the two, or choose another path",
            );
            return None;
        }
        self.paths.push(socket.clone());
        Some(socket)
    }
}

/// The strict default of `mode`.
const OWNER_ALONE: u32 = 0o600;
/// As many as services: each has tasks and a label of its own.
const MOST_TUNNELS: usize = 64;
/// As long as a label is readable in a table.
const LONGEST_NAME: usize = 32;

const ID: Bounds<u32> = Bounds { range: 0..=u32::MAX - 1, why: "there are no others" };
const CONNECT: Bounds<Duration> = Bounds {
    range: Limits::CONNECT,
    why: "less gives up on a working server, more keeps a caller waiting",
};
const IDLE: Bounds<Duration> = Bounds {
    range: Limits::IDLE,
    why: "less cuts sessions off that think, more keeps the seats of forgotten ones",
};
const MAX: Bounds<usize> =
    Bounds { range: Limits::MAX, why: "none is a closed door, and each holds two descriptors" };
const RETRIES: Bounds<u32> =
    Bounds { range: Limits::RETRIES, why: "nobody waits for longer than that" };

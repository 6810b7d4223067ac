//! The configuration: one TOML file, one table per room, read once and never asked again.
//!
//! [`Config::read`] answers with a [`Config`] in which every rule is already a gate, or with every
//! problem of the file at once. A missing table means its strict default, an empty list admits
//! nobody, an unknown key is an error. Paths in the file are relative to the working directory.
//!
//! What the file names is another matter: certificates, keys and revocation lists are loaded by
//! the handshake, and sockets are opened by bind. Only the address lists in `files` are read here,
//! because an address gate without them would be another gate.

mod document;
mod source;
mod units;
mod words;
mod entry;
mod section;
mod address;
mod identity;
mod frame;
mod rooms;
mod sandbox;
mod service;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::accept::Budgets;
use crate::address::AddressGate;
use crate::bind::{BindPolicy, Listen};
use crate::frame::FramePolicy;
use crate::handshake::HandshakeSettings;
use crate::identity::IdentityGate;
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};
use crate::sandbox::SandboxSettings;
use crate::service::Forward;
use document::Document;
use section::Section;

/// A configuration that is complete and checked: whoever holds one need not ask again.
#[derive(Debug)]
pub struct Config {
    /// Which sockets may exist at all.
    pub bind: BindPolicy,
    /// How many may be in the hallway.
    pub accept: Budgets,
    /// Who the server is and who may vouch for a client.
    pub handshake: HandshakeSettings,
    /// What is guarded: 1 to 64 services, each with a name of its own.
    pub services: Vec<ServiceConfig>,
    /// How long sessions may go on once the server is told to stop.
    pub drain: Duration,
    /// How the log is written.
    pub log: LogFormat,
    /// What the process gives up once its sockets are open.
    pub sandbox: SandboxSettings,
    /// Where it was read from.
    pub source: Source,
}

/// The files that made a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file itself; none for a configuration that was made from text.
    pub file: Option<PathBuf>,
    /// The address lists it names, which were read with it.
    pub lists: Vec<PathBuf>,
}

/// One service, with every gate in front of it.
#[derive(Debug)]
pub struct ServiceConfig {
    /// Its name: 1 to 32 characters of `a` to `z`, `0` to `9` and `-`.
    pub name: Arc<str>,
    /// Where it is written.
    pub place: Place,
    /// Where it listens; at least one, and no other service has the same.
    pub listen: Vec<Written<Listen>>,
    /// Which addresses may knock.
    pub address: Arc<AddressGate>,
    /// Which names may use it, and from where.
    pub identity: Arc<IdentityGate>,
    /// What a well-formed message is.
    pub frame: Arc<FramePolicy>,
    /// What is behind the door.
    pub kind: ServiceKind,
}

/// What is behind the door.
#[derive(Clone, Debug)]
pub enum ServiceKind {
    /// Every message goes back to whoever sent it.
    Echo,
    /// The session goes on to an upstream.
    Forward(Forward),
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text for people.
    Text,
    /// A JSON object a line, for programs.
    Json,
}

impl Config {
    /// The configuration in the file at `path`, with its warnings.
    ///
    /// # Errors
    /// Every problem of the file, warnings too, in the order of the file. A file that cannot be
    /// read, is longer than 1 MiB, or is not UTF-8 is one problem.
    pub fn read(path: &Path) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let file = path.display().to_string();
        let text = source::text_of(path, LONGEST_FILE).map_err(|unreadable| {
            let place = Place::new(Arc::from(file.as_str()), 0, 0);
            vec![unreadable.problem(Fault::ConfigUnreadable, "the file").at(&place)]
        })?;
        let (mut config, warnings) = Self::parse(&text, &file)?;
        config.source.file = Some(path.to_owned());
        Ok((config, warnings))
    }

    /// The configuration in `text`, which messages call `file`, with its warnings.
    ///
    /// # Errors
    /// As for [`Config::read`].
    pub fn parse(text: &str, file: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let document = Document::new(text, file);
        let config =
            document.tables().and_then(|tables| Self::from_top(Section::top(&document, &tables)));
        match (config, document.into_problems()) {
            (Some(config), (warnings, false)) => Ok((config, warnings)),
            (_, (problems, _)) => Err(problems),
        }
    }

    /// Every file that a change of counts for: the configuration, its lists, and those of the handshake.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let settings = &self.handshake;
        let named = [&settings.certificate, &settings.key, &settings.clients].into_iter();
        let named = named.chain(&settings.crl).map(|file| file.value.clone());
        self.source.file.iter().chain(&self.source.lists).cloned().chain(named).collect()
    }

    /// Every table is read before the first missing one ends the reading.
    fn from_top(mut top: Section<'_>) -> Option<Self> {
        let bind = rooms::bind(top.table("bind", "[bind]"));
        let accept = rooms::accept(top.table("accept", "[accept]"));
        let default = address::read(top.table("address", "[address]"));
        let handshake = rooms::handshake(top.table("handshake", "[handshake]"));
        let drain = rooms::server(top.table("server", "[server]"));
        let log = rooms::audit(top.table("audit", "[audit]"));
        let sandbox = sandbox::read(top.table("sandbox", "[sandbox]"));
        let services = service::read(&mut top, bind.as_ref(), default.as_ref());
        top.finish();
        let lists = top.document().lists();
        Some(Self {
            bind: bind?,
            accept: accept?,
            handshake: handshake?,
            services: services?,
            drain: drain?,
            log: log?,
            sandbox: sandbox?,
            source: Source { file: None, lists },
        })
    }
}

/// A configuration of 64 services with hundreds of rules each has a tenth of this.
const LONGEST_FILE: usize = 1 << 20;

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
mod audit;
mod bans;
mod identity;
mod page;
mod frame;
mod forward;
mod rooms;
mod certs;
mod run;
mod sandbox;
mod service;
mod tunnel;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::accept::{Balancers, Budgets};
use crate::address::AddressGate;
use crate::address::kernel::Kernel;
use crate::audit::RecordSettings;
use crate::bans::BanSettings;
use crate::bind::{BindPolicy, Listen};
use crate::frame::FramePolicy;
use crate::handshake::{Greeting, HandshakeSettings};
use crate::identity::IdentityGate;
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};
use crate::sandbox::SandboxSettings;
use crate::service::ForwardSettings;
use crate::service::run::{Keeper, Run};
use document::Document;
use section::Section;

pub use tunnel::TunnelConfig;
pub use units::duration;

/// A configuration that is complete and checked: whoever holds one need not ask again.
#[derive(Clone, Debug)]
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
    /// Where the audit log goes; nowhere unless it is said.
    pub record: Option<RecordSettings>,
    /// Who is kept out for being refused too often.
    pub bans: BanSettings,
    /// Where the numbers of the server are read; nowhere without `[metrics]`.
    pub metrics: Option<PageSettings>,
    /// Where a person looks at the server in a browser; nowhere without `[status]`.
    pub status: Option<PageSettings>,
    /// Where an operator on this machine may talk to the running server; nowhere without `[admin]`.
    pub admin: Option<AdminSettings>,
    /// Where the server's own certificate comes from.
    pub certs: CertsConfig,
    /// What the process gives up once its sockets are open.
    pub sandbox: SandboxSettings,
    /// Who watches over the programs of services; see [`Config::keep_programs`].
    pub keeper: Keeper,
    /// The configuration that is tried on paper beside this one: what it would have refused is counted and logged.
    pub tried: Option<Box<Config>>,
    /// Where it was read from, and whether it is read again when that changes.
    pub source: Source,
}

/// The store of the server's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertsConfig {
    /// Its directory. It need not be there unless the server renews.
    pub directory: Written<PathBuf>,
    /// Whether the server renews its certificate there.
    pub renewal: Renewal,
}

/// Whether a server renews its own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Somebody else does.
    Never,
    /// It does, when the certificate ends within a time. Only what listens on this machine alone may.
    WhenDue {
        /// How long before its end; at least two hours.
        due: Duration,
        /// Where that is asked for.
        place: Place,
    },
}

/// What `[metrics]` or `[status]` says.
#[derive(Clone, Debug)]
pub struct PageSettings {
    /// Where the page is read.
    pub listen: Written<SocketAddr>,
    /// From where it may be read: this machine, where nothing else is said.
    pub allow: Arc<AddressGate>,
    /// The names this host may be asked for by, besides its addresses and `localhost`.
    pub names: Arc<[String]>,
}

/// What `[admin]` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where the socket is.
    pub socket: Written<PathBuf>,
    /// The numbers of the users who may ask, besides root and the server's own.
    pub users: Vec<u32>,
}

/// The files that made a configuration, and whether a change of them counts at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file itself; none for a configuration that was made from text.
    pub file: Option<PathBuf>,
    /// The address lists it names, which were read with it.
    pub lists: Vec<PathBuf>,
    /// Whether the files are watched. A reload that is asked for reads them in any case.
    pub watch: bool,
}

/// One service, with every gate in front of it.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Its name: 1 to 32 characters of `a` to `z`, `0` to `9` and `-`.
    pub name: Arc<str>,
    /// Where it is written.
    pub place: Place,
    /// Where it listens; at least one, and no other service has the same.
    pub listen: Vec<Written<Listen>>,
    /// What visitors say before TLS, and offer in it.
    pub greeting: Greeting,
    /// Who may announce that a visitor comes from elsewhere.
    pub balancers: Arc<Balancers>,
    /// Which addresses may knock.
    pub address: Arc<AddressGate>,
    /// Whether the kernel drops what that list refuses.
    pub kernel: Kernel,
    /// Which names may use it, and from where.
    pub identity: Arc<IdentityGate>,
    /// What a well-formed message is.
    pub frame: Arc<FramePolicy>,
    /// What is behind the door.
    pub kind: ServiceKind,
    /// How old a session may be, whatever it does; none means of any age.
    pub lifetime: Option<Duration>,
}

/// What is behind the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// Every message goes back to whoever sent it.
    Echo,
    /// The session goes on to an upstream.
    Forward(ForwardSettings),
    /// A program is started for the session.
    Run(Run),
}

impl ServiceKind {
    /// The files that it was made from, a change of which counts.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            ServiceKind::Forward(forward) => forward.to.files(),
            ServiceKind::Echo | ServiceKind::Run(_) => Vec::new(),
        }
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceKind::Echo => f.write_str("echo"),
            ServiceKind::Forward(forward) => write!(f, "forward to {}", forward.to),
            ServiceKind::Run(run) => write!(f, "run {}", run.shown()),
        }
    }
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
        let (text, file) = text_of(path)?;
        let (mut config, warnings) = Self::parse(&text, &file)?;
        config.source.file = Some(path.to_owned());
        Ok((config, warnings))
    }

    /// The configuration in `text`, which messages call `file`, with its warnings.
    ///
    /// # Errors
    /// As for [`Config::read`].
    pub fn parse(text: &str, file: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        parse(text, file, |top| Self::from_top(top, Reading::InForce))
    }

    /// A configuration that is only tried: it may not try another one.
    fn read_to_try(path: &Path) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (text, file) = text_of(path)?;
        let (mut config, warnings) =
            parse(&text, &file, |top| Self::from_top(top, Reading::Tried))?;
        config.source.file = Some(path.to_owned());
        Ok((config, warnings))
    }

    /// The admin socket that the file at `path` names, whatever else is wrong in it.
    ///
    /// # Errors
    /// A file that cannot be read, is no TOML, or names none.
    pub fn admin_socket(path: &Path) -> Result<PathBuf, Problem> {
        let file = path.display().to_string();
        let at = |problem: Problem| problem.at(&Place::new(Arc::from(file.as_str()), 0, 0));
        let text = source::text_of(path, LONGEST_FILE)
            .map_err(|unreadable| at(unreadable.problem(Fault::ConfigUnreadable, "the file")))?;
        let tables: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let remedy = "mend the file, or name the socket with --socket";
            at(Problem::error(Fault::ConfigSyntax, error.message(), remedy))
        })?;
        let socket = tables.get("admin").and_then(|admin| admin.get("socket"));
        socket.and_then(toml::Value::as_str).map(PathBuf::from).ok_or_else(|| {
            let remedy = "add [admin] with socket = \"doorward.sock\", and start the server again";
            at(Problem::error(Fault::AdminNoSocket, "the file names no admin socket", remedy))
        })
    }

    /// How the file at `path` wants the log written, whatever else is wrong in it.
    #[must_use]
    pub fn log_format(path: &Path) -> LogFormat {
        let text = source::text_of(path, LONGEST_FILE).ok();
        let tables: Option<toml::Table> = text.and_then(|text| text.parse().ok());
        let format = tables.as_ref().and_then(|tables| tables.get("audit")?.get("format"));
        match format.and_then(toml::Value::as_str) {
            Some("json") => LogFormat::Json,
            Some(_) | None => LogFormat::Text,
        }
    }

    /// Every file that a change of counts for: the configuration, its lists, and what the handshake and the
    /// services are made from.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let settings = &self.handshake;
        let named = [&settings.certificate, &settings.key, &settings.clients].into_iter();
        let named = named.chain(&settings.crl).map(|file| file.value.clone());
        let behind = self.services.iter().flat_map(|service| service.kind.files());
        let own = self.source.file.iter().chain(&self.source.lists).cloned();
        let tried = self.tried.iter().flat_map(|tried| tried.files());
        own.chain(named).chain(behind).chain(tried).collect()
    }

    /// Names the keeper of every program. A file says nothing of it: it belongs to the process that reads
    /// the file, and without one there is none.
    pub fn keep_programs(&mut self, keeper: &Keeper) {
        self.keeper = keeper.clone();
        for service in &mut self.services {
            if let ServiceKind::Run(run) = &mut service.kind {
                run.keeper = keeper.clone();
            }
        }
    }

    /// Every table is read before the first missing one ends the reading.
    fn from_top(mut top: Section<'_>, reading: Reading) -> Option<Self> {
        let bind = rooms::bind(top.table("bind", "[bind]"));
        let accept = rooms::accept(top.table("accept", "[accept]"));
        let default = address::read(top.table("address", "[address]"));
        let handshake = rooms::handshake(top.table("handshake", "[handshake]"));
        let server = rooms::server(top.table("server", "[server]"), reading);
        let audit = audit::read(top.table("audit", "[audit]"));
        let bans = bans::read(top.table("bans", "[bans]"));
        let metrics = top.table("metrics", "[metrics]");
        let metrics =
            metrics.is_written().then(|| page::read(metrics, bind.as_ref(), "127.0.0.1:9464"));
        let status = top.table("status", "[status]");
        let status =
            status.is_written().then(|| page::read(status, bind.as_ref(), "127.0.0.1:9443"));
        let admin = top.table("admin", "[admin]");
        let admin = admin.is_written().then(|| rooms::admin(admin));
        let certs = certs::read(top.table("certs", "[certs]"));
        let sandbox = sandbox::read(top.table("sandbox", "[sandbox]"));
        let services = service::read(&mut top, bind.as_ref(), default.as_ref());
        top.finish();
        let (drain, watch, tried) = server?;
        let (log, record) = audit?;
        let lists = top.document().lists();
        Some(Self {
            bind: bind?,
            accept: accept?,
            handshake: handshake?,
            services: services?,
            drain,
            log,
            record,
            bans: bans?,
            metrics: match metrics {
                Some(metrics) => Some(metrics?),
                None => None,
            },
            status: match status {
                Some(status) => Some(status?),
                None => None,
            },
            admin: match admin {
                Some(admin) => Some(admin?),
                None => None,
            },
            certs: certs?,
            sandbox: sandbox?,
            keeper: Keeper::Absent,
            tried,
            source: Source { file: None, lists, watch },
        })
    }
}

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// To be served.
    InForce,
    /// To be tried beside one that is served.
    Tried,
}

/// The text of a configuration, and how messages call it.
fn text_of(path: &Path) -> Result<(String, String), Vec<Problem>> {
    let file = path.display().to_string();
    let text = source::text_of(path, LONGEST_FILE).map_err(|unreadable| {
        let place = Place::new(Arc::from(file.as_str()), 0, 0);
        vec![unreadable.problem(Fault::ConfigUnreadable, "the file").at(&place)]
    })?;
    Ok((text, file))
}

/// What `from_top` makes of the tables in `text`, with the warnings; or every problem of it.
fn parse<T>(
    text: &str,
    file: &str,
    from_top: impl FnOnce(Section<'_>) -> Option<T>,
) -> Result<(T, Vec<Problem>), Vec<Problem>> {
    let document = Document::new(text, file);
    let read = document.tables().and_then(|tables| from_top(Section::top(&document, &tables)));
    match (read, document.into_problems()) {
        (Some(read), (warnings, false)) => Ok((read, warnings)),
        (_, (problems, _)) => Err(problems),
    }
}

/// A configuration of 64 services with hundreds of rules each has a tenth of this.
const LONGEST_FILE: usize = 1 << 20;

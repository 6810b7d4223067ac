//! A running server on ports of its own, whose record the test reads.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use doorward::audit::{Audit, Event, Opening};
use doorward::config::Config;
use doorward::problem::{Problem, Severity};
use doorward::server::{Control, Server};
use doorward::service::Service;
use doorward::service::run::Keeper;
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Set;

/// A server in this process. It ends with the test.
pub(crate) struct Hall {
    listeners: Vec<(String, SocketAddr)>,
    audit: Arc<Audit>,
    events: Receiver<Event>,
    /// A second ear, so that waiting for a visit loses no change of the doors, whichever comes first.
    changes: Receiver<Event>,
    pub(crate) control: Control,
    pub(crate) running: JoinHandle<Result<(), Problem>>,
    pub(crate) warnings: Vec<Problem>,
}

impl Hall {
    /// Opens a hall with these `[[service]]` tables.
    pub(crate) fn open(set: &Set, services: &str) -> Self {
        Self::of(&format!("{}{services}", set.tables("")))
    }

    /// Opens a hall with this whole configuration.
    pub(crate) fn of(text: &str) -> Self {
        Self::run(server(text).unwrap_or_else(|problems| panic!("{problems:#?}")))
    }

    /// Opens a hall with these tables in a file that may be changed.
    pub(crate) fn of_file(path: &Path) -> Self {
        let (config, _) = Config::read(path).unwrap_or_else(|problems| panic!("{problems:#?}"));
        Self::run(Server::open(&config).unwrap_or_else(|problems| panic!("{problems:#?}")))
    }

    /// Opens a hall with an own service behind the door called `name`.
    pub(crate) fn with_service(text: &str, name: &str, service: impl Service) -> Self {
        Self::run(server(text).unwrap().with_service(name, service).unwrap())
    }

    /// Opens a hall whose programs are watched over by the real command.
    pub(crate) fn kept(text: &str) -> Self {
        let (mut config, _) = Config::parse(text, "hall.toml").unwrap();
        config.keep_programs(&Keeper::At(env!("CARGO_BIN_EXE_doorward").into()));
        Self::run(Server::open(&config).unwrap_or_else(|problems| panic!("{problems:#?}")))
    }

    fn run(server: Server) -> Self {
        let listeners = server.listeners().map(|(name, at)| (name.to_string(), at)).collect();
        let audit = server.audit();
        let (events, changes) = (audit.listen(), audit.listen());
        let control = server.control();
        let warnings = server.warnings().to_vec();
        let running = tokio::spawn(server.run());
        Self { listeners, audit, events, changes, control, running, warnings }
    }

    /// The record.
    pub(crate) fn audit(&self) -> Arc<Audit> {
        Arc::clone(&self.audit)
    }

    /// The first listener of a service.
    pub(crate) fn address(&self, service: &str) -> SocketAddr {
        self.listeners.iter().find(|(name, _)| name == service).unwrap().1
    }

    /// All listeners of a service.
    pub(crate) fn addresses(&self, service: &str) -> Vec<SocketAddr> {
        self.listeners.iter().filter(|(name, _)| name == service).map(|(_, at)| *at).collect()
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    /// How the next visit ends: a refusal's code, or `left`.
    pub(crate) async fn verdict(&mut self) -> &'static str {
        self.ending().await.0
    }

    /// How the next visit ends, with everything the record says.
    pub(crate) async fn ending(&mut self) -> (&'static str, Event) {
        loop {
            let event = self.event().await;
            let code = match &event {
                Event::Refused(_, refused, _) | Event::Cut(_, _, _, refused) => refused.code(),
                Event::Left(..) => "left",
                Event::Permitted(..)
                | Event::More(..)
                | Event::Reloaded { .. }
                | Event::WouldRefuse(..)
                | Event::Banned(..)
                | Event::Lifted(..)
                | Event::Expired(..)
                | Event::Kept(_)
                | Event::Rebound { .. } => continue,
            };
            return (code, event);
        }
    }

    /// Waits until changed files were judged: nothing, or the codes of the errors they have.
    pub(crate) async fn reloaded(&mut self) -> Vec<&'static str> {
        loop {
            let event = self.event().await;
            if let Event::Kept(problems) = event {
                let errors =
                    problems.iter().filter(|problem| problem.severity() == Severity::Error);
                return errors.map(|problem| problem.fault().code()).collect();
            }
            if matches!(event, Event::Reloaded { .. }) {
                return Vec::new();
            }
        }
    }

    /// Reads the files anew, now; how the listeners are afterwards is known to the hall.
    pub(crate) async fn reload(&mut self) -> Result<(), Vec<&'static str>> {
        let codes = |problems: Vec<Problem>| {
            let errors = problems.iter().filter(|problem| problem.severity() == Severity::Error);
            errors.map(|problem| problem.fault().code()).collect::<Vec<_>>()
        };
        // Sessions may be cut before the reload is told of; those events are left for the test.
        let mut events = self.audit.listen();
        self.control.reload().await.map(drop).map_err(codes)?;
        loop {
            if let Event::Reloaded { opened, closed, .. } = events.recv().await.unwrap() {
                let gone = |at: &SocketAddr| closed.iter().any(|opening| opening.at == *at);
                self.listeners.retain(|(_, at)| !gone(at));
                let new = opened.into_iter().map(|new| (new.service.to_string(), new.at));
                self.listeners.extend(new);
                return Ok(());
            }
        }
    }

    /// Waits until the bind policy was applied to other interfaces: what was opened and what closed.
    pub(crate) async fn rebound(&mut self) -> (Vec<String>, Vec<String>) {
        let at = |list: Vec<Opening>| list.iter().map(|one| one.at.to_string()).collect();
        loop {
            let event = timeout(PATIENCE, self.changes.recv()).await.expect("an event in time");
            if let Event::Rebound { opened, closed, .. } = event.unwrap() {
                return (at(opened), at(closed));
            }
        }
    }

    /// Waits until somebody was permitted.
    pub(crate) async fn permitted(&mut self) {
        while !matches!(self.event().await, Event::Permitted(..)) {}
    }
}

/// The server that a configuration describes, or why there is none.
pub(crate) fn server(text: &str) -> Result<Server, Vec<Problem>> {
    let (config, _) = Config::parse(text, "hall.toml")?;
    Server::open(&config)
}

/// Far longer than anything here takes on a busy machine; it only ends a test that would hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

//! A running server on ports of its own, whose record the test reads.

use std::net::SocketAddr;
use std::time::Duration;

use doorward::audit::Event;
use doorward::config::Config;
use doorward::problem::{Problem, Severity};
use doorward::server::{Server, Stopper};
use doorward::service::Service;
use doorward::service::run::Keeper;
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Set;

/// A server in this process. It ends with the test.
pub(crate) struct Hall {
    listeners: Vec<(String, SocketAddr)>,
    events: Receiver<Event>,
    pub(crate) stopper: Stopper,
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
        let listeners = server.listeners().map(|(name, at)| (name.to_owned(), at)).collect();
        let events = server.audit().listen();
        let stopper = server.stopper();
        let warnings = server.warnings().to_vec();
        let running = tokio::spawn(server.run());
        Self { listeners, events, stopper, running, warnings }
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
                Event::Permitted(..) | Event::More(..) | Event::Refreshed(_) | Event::Kept(_) => {
                    continue;
                }
            };
            return (code, event);
        }
    }

    /// Waits until changed files were judged: nothing, or the codes of the errors they have.
    pub(crate) async fn refreshed(&mut self) -> Vec<&'static str> {
        loop {
            let event = self.event().await;
            if let Event::Kept(problems) = event {
                let errors =
                    problems.iter().filter(|problem| problem.severity() == Severity::Error);
                return errors.map(|problem| problem.fault().code()).collect();
            }
            if matches!(event, Event::Refreshed(_)) {
                return Vec::new();
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

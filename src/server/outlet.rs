//! A socket of the server's own, at which its operator reads a page.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::{doors, prepare};
use crate::bind::Interfaces;
use crate::config::{Config, PageSettings};
use crate::problem::Problem;
use crate::web::{self, Answer, Asked, Readers};

/// The socket, and who may read.
pub(super) struct Outlet {
    socket: TcpListener,
    at: SocketAddr,
    readers: Readers,
}

impl Outlet {
    /// Opens the socket that `settings` ask for, where the bind policy allows it.
    pub(super) fn open(
        config: &Config,
        settings: Option<&PageSettings>,
    ) -> Result<Option<Self>, Problem> {
        let Some(settings) = settings else { return Ok(None) };
        let open = || {
            let interfaces = prepare::interfaces()?;
            let socket = config.bind.open(settings.listen.value, &interfaces)?;
            let at = socket.local_addr().map_err(|error| broke(&error))?;
            let (allow, names) = (Arc::clone(&settings.allow), Arc::clone(&settings.names));
            Ok(Some(Self { socket, at, readers: Readers { allow, names } }))
        };
        open().map_err(|problem: Problem| problem.at(&settings.listen.place))
    }

    /// Where the page is read.
    pub(super) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Answers until it is dropped.
    pub(super) async fn run<F>(
        self,
        answer: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Result<(), Problem>
    where
        F: Future<Output = Answer> + Send,
    {
        let listener =
            tokio::net::TcpListener::from_std(self.socket).map_err(|error| broke(&error))?;
        web::serve(listener, self.readers, answer).await;
        Ok(())
    }
}

/// Why the bind policy does not allow the sockets of the pages, if it does not.
pub(super) fn outside(config: &Config, interfaces: &Interfaces) -> Vec<Problem> {
    let judge = |settings: &PageSettings| {
        let judged = config.bind.judge(settings.listen.value, interfaces);
        judged.err().map(|problem| problem.at(&settings.listen.place))
    };
    pages(config).filter_map(judge).collect()
}

/// The pages that a configuration asks for.
pub(super) fn pages(config: &Config) -> impl Iterator<Item = &PageSettings> {
    [&config.metrics, &config.status].into_iter().flatten()
}

/// Whether a page is read at the same place by the same readers.
pub(super) fn is_same(one: Option<&PageSettings>, other: Option<&PageSettings>) -> bool {
    let meant = |settings: &PageSettings| {
        let allow: Vec<_> = settings.allow.rules().map(|rule| rule.network).collect();
        (settings.listen.value, allow, Arc::clone(&settings.names))
    };
    one.map(meant) == other.map(meant)
}

fn broke(error: &std::io::Error) -> Problem {
    doors::listener_broke(&error.to_string())
}

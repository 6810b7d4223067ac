//! The remote side of a tunnel: dialled for each caller, left alone for a moment after it failed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::AsyncReadExt;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::record::Record;
use super::relay::{Cut, denied};
use super::{Denial, Destination};
use crate::backoff::Backoff;
use crate::client::{Away, Client, ClientError, Stream, of_session};
use crate::peer::PeerText;
use crate::problem::{Fault, Problem};

/// Where a tunnel leads, with the files of now and the memory of the last failure.
#[derive(Debug)]
pub(super) struct Remote {
    destination: Destination,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    client: Client,
    seen: Seen,
    backoff: Backoff,
    /// Nobody dials before then.
    not_before: Option<Instant>,
    /// The code of the failure that made everybody wait.
    last: &'static str,
}

/// What the three files looked like: when each was changed, how long it is, and on Unix which file it is.
type Seen = [Option<(Option<SystemTime>, u64, u64)>; 3];

/// Whether a caller may dial now.
enum Turn {
    Now(Client),
    Later,
}

impl Remote {
    /// Reads the files.
    ///
    /// # Errors
    /// The problem of the first that cannot be used.
    pub(super) fn new(destination: Destination) -> Result<Self, Problem> {
        // Looked at before they are read: a change in between is found by the first caller.
        let seen = look(&destination);
        let client = destination.client().map_err(|error| {
            if let ClientError::Files(problem) = error {
                return problem;
            }
            Problem::error(Fault::HandshakeUnreadable, error.sentence(), error.remedy())
        })?;
        let backoff = Backoff::new(SHORTEST_WAIT, LONGEST_WAIT);
        let state = State { client, seen, backoff, not_before: None, last: "" };
        Ok(Self { destination, state: Mutex::new(state) })
    }

    /// Dials, and tries up to `retries` times more where the remote could not be reached.
    ///
    /// # Errors
    /// What the last try said, or [`Denial::BackingOff`] where it was too early for one.
    pub(super) async fn dial(&self, record: &Record) -> Result<(Stream, SocketAddr), Cut> {
        self.refresh(record).await;
        let mut left = self.destination.retries;
        loop {
            let failure = match self.turn() {
                Turn::Now(client) => match client.reach().await {
                    Ok(reached) => {
                        self.lock().not_before = None;
                        return Ok(reached);
                    }
                    Err(error) => self.failed(error),
                },
                Turn::Later => denied(Denial::BackingOff, &format!("after {}", self.lock().last)),
            };
            let Some(fewer) = left.checked_sub(1).filter(|_| is_worth_another_try(&failure)) else {
                return Err(failure);
            };
            left = fewer;
            let at = self.lock().not_before;
            sleep_until(at.unwrap_or_else(Instant::now)).await;
        }
    }

    /// The remote said something: the next wait is the shortest again.
    pub(super) fn heard(&self) {
        self.lock().backoff.reset();
    }

    /// The remote failed, during a session too: nobody dials it for a moment.
    pub(super) fn failed(&self, error: ClientError) -> Cut {
        let mut state = self.lock();
        let wait = state.backoff.next_wait();
        state.not_before = Instant::now().checked_add(wait);
        state.last = error.code();
        Cut::Remote(error)
    }

    /// Of those that wait for a remote that failed, one at a time tries it.
    fn turn(&self) -> Turn {
        let mut state = self.lock();
        let Some(at) = state.not_before else { return Turn::Now(state.client.clone()) };
        let now = Instant::now();
        if now < at {
            return Turn::Later;
        }
        state.not_before = now.checked_add(LONGEST_WAIT);
        Turn::Now(state.client.clone())
    }

    /// Reads the files again if one of them changed. Where they cannot be used, the old ones serve on.
    async fn refresh(&self, record: &Record) {
        let destination = self.destination.clone();
        let seen = self.lock().seen;
        let read = spawn_blocking(move || {
            let now = look(&destination);
            (now != seen).then(|| (now, destination.client()))
        });
        let Ok(Some((now, read))) = read.await else { return };
        {
            let mut state = self.lock();
            if state.seen == now {
                return;
            }
            state.seen = now;
            if let Ok(client) = &read {
                state.client = client.clone();
                // What failed with the old files may well succeed with the new ones.
                state.not_before = None;
            }
        }
        match read {
            Ok(_) => record.refreshed(),
            Err(error) => record.kept(&error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Destination {
    /// A client with the files as they are now.
    fn client(&self) -> Result<Client, ClientError> {
        let client = Client::new(self.to.clone(), &self.files)?
            .within(self.deadlines)
            .pinned(self.pins.clone());
        Ok(match &self.server_name {
            Some(name) => client.expecting(name.clone()),
            None => client,
        })
    }

    /// Tries one handshake, and listens for a moment whether the server ends the session at once, as it does
    /// where the certificate may not use the service.
    ///
    /// # Errors
    /// What went wrong, as for any client.
    pub async fn try_once(&self) -> Result<SocketAddr, ClientError> {
        let (mut stream, at) = self.client()?.reach().await?;
        let mut byte = [0];
        match timeout(LISTENED, stream.read(&mut byte)).await {
            Ok(Ok(0)) => Err(ClientError::TurnedAway(Away::Unheard)),
            Ok(Err(error)) => {
                Err(of_session(&error).unwrap_or(ClientError::TurnedAway(Away::Unheard)))
            }
            Ok(Ok(_)) | Err(_) => Ok(at),
        }
    }

    fn paths(&self) -> [&PathBuf; 3] {
        [&self.files.trust, &self.files.certificate, &self.files.key]
    }
}

fn is_worth_another_try(failure: &Cut) -> bool {
    match failure {
        Cut::Denied(denial, _) => *denial == Denial::BackingOff,
        Cut::Remote(error) => error.is_worth_another_try(),
    }
}

fn look(destination: &Destination) -> Seen {
    destination.paths().map(|path| {
        let found = std::fs::metadata::<&Path>(path).ok()?;
        Some((found.modified().ok(), found.len(), number(&found)))
    })
}

#[cfg(unix)]
fn number(found: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> u64 {
    0
}

impl Cut {
    /// The stable code.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Cut::Denied(denial, _) => denial.code(),
            Cut::Remote(error) => error.code(),
        }
    }

    /// What was seen, for the operator.
    pub(super) fn detail(&self) -> PeerText {
        match self {
            Cut::Denied(_, seen) => seen.clone(),
            Cut::Remote(error) => PeerText::from(error.sentence().as_str()),
        }
    }
}

/// A server opens its port again within this after a restart; so long nobody notices.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// A remote that is down is asked a few times a minute, however many callers there are; one that is back
/// is found soon.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A server that turns a client away does so with the last flight of the handshake: one round trip.
const LISTENED: Duration = Duration::from_millis(500);

//! The server's side of the admin socket.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::unistd::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::succession;
use super::{Answer, DEADLINE, LONGEST_BAN, LONGEST_QUESTION, Question};
use crate::address::{Ban, BannedBy};
use crate::audit::TARGET;
use crate::backoff::Backoff;
use crate::bind::{SocketFile, open_unix, replace_unix};
use crate::config::AdminSettings;
use crate::peer::PeerText;
use crate::problem::{Fault, Problem};
use crate::server::Control;

/// An admin socket that is open. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Admin {
    listener: std::os::unix::net::UnixListener,
    file: SocketFile,
    users: Vec<u32>,
}

impl Admin {
    /// Opens the socket. Nobody is answered before [`Admin::run`].
    ///
    /// # Errors
    /// Where the directory lets others replace the socket, another server has it, or the system refuses.
    pub fn open(settings: &AdminSettings) -> Result<Self, Problem> {
        Self::opened(settings, open_unix)
    }

    /// As [`Admin::open`], in the place of a server that still listens there: see [`super::Predecessor`].
    ///
    /// # Errors
    /// As [`Admin::open`].
    pub fn replace(settings: &AdminSettings) -> Result<Self, Problem> {
        Self::opened(settings, replace_unix)
    }

    fn opened(settings: &AdminSettings, open: Open) -> Result<Self, Problem> {
        // The user behind each connection decides; the mode only spares others the try.
        let mode = if settings.users.is_empty() { 0o600 } else { 0o666 };
        let opened = open(&settings.socket.value, mode);
        let (listener, file) = opened.map_err(|problem| problem.at(&settings.socket.place))?;
        Ok(Self { listener, file, users: settings.users.clone() })
    }

    /// Answers questions until it is dropped. Needs a tokio runtime.
    ///
    /// # Errors
    /// A socket that the runtime cannot watch.
    pub async fn run(self, control: Control) -> Result<(), Problem> {
        let unusable = |error: io::Error| {
            let what = format!("{} cannot be used: {error}", self.file.path().display());
            Problem::error(Fault::BindFailed, what, "start again")
        };
        let listener = UnixListener::from_std(self.listener).map_err(unusable)?;
        // Who started it may have been left behind since it was opened.
        let own = [0, geteuid().as_raw()];
        let users: Arc<[u32]> = own.into_iter().chain(self.users).collect();
        let seats = Arc::new(Semaphore::new(MOST_AT_ONCE));
        let mut backoff = Backoff::new(SHORTEST_WAIT, LONGEST_WAIT);
        loop {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return Ok(()) };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot accept for now");
                    tokio::time::sleep(backoff.next_wait()).await;
                    continue;
                }
            };
            backoff.reset();
            let (users, control) = (Arc::clone(&users), control.clone());
            tokio::spawn(async move {
                // Whoever asked and left is not waited for.
                drop(timeout(DEADLINE, converse(stream, &users, &control)).await);
                drop(seat);
            });
        }
    }
}

/// How the socket is opened.
type Open = fn(&Path, u32) -> Result<(std::os::unix::net::UnixListener, SocketFile), Problem>;

async fn converse(mut stream: UnixStream, users: &[u32], control: &Control) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    // Read before it is refused: what is left unread would become a reset in front of the answer.
    let answer = match timeout(QUESTION_DEADLINE, question(&mut stream)).await {
        Ok(_) if !users.contains(&user) => may_not_ask(user),
        Ok(Ok(question)) => answer(question, user, control, &mut stream).await,
        Ok(Err(refused)) => refused,
        Err(_) => return Ok(()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.shutdown().await
}

pub(super) fn may_not_ask(user: u32) -> Answer {
    tracing::warn!(target: TARGET, user, "an admin question of a user who may not ask");
    let what = format!("user {user} may not ask; add it to users in [admin] if it should");
    Answer::Refused(vec![what])
}

pub(super) async fn question(read: impl tokio::io::AsyncRead + Unpin) -> Result<Question, Answer> {
    let bound = u64::try_from(LONGEST_QUESTION).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut read = BufReader::new(read.take(bound));
    let refused = |why: String| Answer::Refused(vec![why]);
    read.read_until(b'\n', &mut line).await.map_err(|error| refused(error.to_string()))?;
    serde_json::from_slice(&line).map_err(|error| refused(format!("no question: {error}")))
}

async fn answer(
    question: Question,
    user: u32,
    control: &Control,
    stream: &mut UnixStream,
) -> Answer {
    if question != Question::Status {
        tracing::info!(target: TARGET, user, ?question, "asked");
    }
    match question {
        Question::Status => match control.status().await {
            Ok(status) => Answer::Status(Box::new(status)),
            Err(problem) => refused(&[problem]),
        },
        Question::Reload => match control.reload().await {
            Ok(warnings) => done(&warnings),
            Err(problems) => refused(&problems),
        },
        Question::Succeed => succession::hand_over(stream, user, control).await,
        Question::Drain => {
            control.drain();
            done(&[])
        }
        Question::Ban { network, seconds, why } => {
            let span = Duration::from_secs(seconds).min(LONGEST_BAN);
            let now = SystemTime::now();
            let until = now.checked_add(span).unwrap_or(now);
            let ban = Ban { until, why: PeerText::new(why.as_bytes()), by: BannedBy::Operator };
            done_or(control.ban(network, ban).await)
        }
        Question::Lift { network } => done_or(control.lift(network).await),
    }
}

fn done_or(outcome: Result<(), Problem>) -> Answer {
    match outcome {
        Ok(()) => done(&[]),
        Err(problem) => refused(&[problem]),
    }
}

pub(super) fn done(warnings: &[Problem]) -> Answer {
    Answer::Done(warnings.iter().map(ToString::to_string).collect())
}

pub(super) fn refused(problems: &[Problem]) -> Answer {
    Answer::Refused(problems.iter().map(ToString::to_string).collect())
}

/// A person and a few programs.
const MOST_AT_ONCE: usize = 8;
/// The question is sent as soon as the connection is there.
const QUESTION_DEADLINE: Duration = Duration::from_secs(5);
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

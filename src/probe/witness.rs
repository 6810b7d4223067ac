//! What the server itself says of a visit, over its admin socket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::admin::{Answer, Question, ask};
use crate::peer::PeerAddr;
use crate::refusal::Refusal;
use crate::server::status::Status;

/// The record of the running server, where there is an admin socket that answers.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    socket: Option<PathBuf>,
}

/// What the record says of a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Testimony {
    /// It was refused or cut for this reason.
    Refused(Refusal),
    /// It has a session.
    In,
    /// Nothing.
    Unknown,
}

impl Witness {
    /// The server whose admin socket is here, if it answers; and how it is.
    pub(super) fn call(socket: Option<&Path>) -> (Self, Option<Box<Status>>) {
        let Some(socket) = socket else { return (Self { socket: None }, None) };
        match ask(socket, &Question::Status) {
            Ok(Answer::Status(status)) => (Self { socket: Some(socket.to_owned()) }, Some(status)),
            Ok(Answer::Done(_) | Answer::Refused(_) | Answer::Sockets(_)) | Err(_) => {
                (Self { socket: None }, None)
            }
        }
    }

    /// Whether there is a record at all.
    pub(super) fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// What the record says of the visitor from this address, waiting a moment for it to be written.
    pub(super) async fn tells(&self, from: SocketAddr) -> Testimony {
        let from = PeerAddr::new(from).to_string();
        let began = Instant::now();
        loop {
            let Some(status) = self.status().await else { return Testimony::Unknown };
            // The newest comes first, so an earlier visit from the same port is not meant.
            let refused = status.last.iter().find(|refusal| refusal.from == from);
            if let Some(refusal) = refused.and_then(|refusal| Refusal::from_code(&refusal.code)) {
                return Testimony::Refused(refusal);
            }
            if status.sessions.iter().any(|session| session.from == from) {
                return Testimony::In;
            }
            if began.elapsed() > LONGEST_WAIT {
                return Testimony::Unknown;
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn status(&self) -> Option<Box<Status>> {
        let socket = self.socket.clone()?;
        let asked = tokio::task::spawn_blocking(move || ask(&socket, &Question::Status)).await;
        match asked {
            Ok(Ok(Answer::Status(status))) => Some(status),
            Ok(Ok(Answer::Done(_) | Answer::Refused(_) | Answer::Sockets(_)) | Err(_)) | Err(_) => {
                None
            }
        }
    }
}

/// The record is written before the visitor is told, or a moment after its connection was dropped.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

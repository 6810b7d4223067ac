//! One server takes the place of another: the listening sockets go from process to process over the admin
//! socket (`SCM_RIGHTS`, unix(7)), so that no visitor ever meets a closed port.
//!
//! The successor asks, opens its own house around the sockets, and says so; then the predecessor drains. Where the
//! successor ends before that, nothing has happened.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::unistd::geteuid;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncWriteExt, Interest};

use super::ask::unanswered;
use super::serve::{done, may_not_ask, question, refused};
use super::{Answer, DEADLINE, Question};
use crate::problem::{Fault, Problem};
use crate::server::{Control, Lent};

/// A running server whose place is about to be taken. It serves on until it is told to retire.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    sockets: Vec<TcpListener>,
}

impl Predecessor {
    /// Asks the server whose admin socket is at `socket` for its listening sockets.
    ///
    /// # Errors
    /// [`Fault::AdminNoServer`] where nobody answers there, [`Fault::AdminNotUnderstood`] where the answer is none,
    /// [`Fault::AdminRefused`] where this user may not ask, or the server is stopping.
    pub fn ask(socket: &Path) -> Result<Self, Problem> {
        let asked = exchange(socket).map_err(|error| unanswered(socket, &error))?;
        let (stream, line, sockets) = asked;
        match serde_json::from_slice(&line) {
            Ok(Answer::Sockets(count)) if count == sockets.len() => Ok(Self { stream, sockets }),
            Ok(Answer::Refused(why)) => Err(no(&why)),
            Ok(_) | Err(_) => {
                let what = format!(
                    "{} answered something else than its listening sockets",
                    socket.display()
                );
                let remedy = "stop that server and start this one: it is too old to be taken over";
                Err(Problem::error(Fault::AdminNotUnderstood, what, remedy))
            }
        }
    }

    /// The listening sockets, for [`crate::server::Server::succeed`]. There are none a second time.
    #[must_use]
    pub fn sockets(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.sockets)
    }

    /// Tells it to take nobody new; its sessions have the time of a drain to end. To be said when the successor is ready.
    ///
    /// # Errors
    /// [`Fault::AdminNoServer`] where it says nothing any more, [`Fault::AdminRefused`] where it says no.
    pub fn retire(mut self) -> Result<(), Problem> {
        let gone = |error: io::Error| {
            let what = format!("the server that was taken over says nothing any more: {error}");
            Problem::warning(Fault::AdminNoServer, what, "see whether it still runs, and stop it")
        };
        let mut line = serde_json::to_vec(&Question::Drain).unwrap_or_default();
        line.push(b'\n');
        self.stream.write_all(&line).map_err(gone)?;
        let mut answer = String::new();
        let bound = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
        self.stream.take(bound).read_to_string(&mut answer).map_err(gone)?;
        match serde_json::from_str(&answer) {
            Ok(Answer::Done(_)) => Ok(()),
            Ok(Answer::Refused(why)) => Err(no(&why)),
            Ok(_) | Err(_) => Err(gone(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn no(why: &[String]) -> Problem {
    let what = format!("the running server does not hand its sockets over: {}", why.join("; "));
    let remedy = "ask as the user that it runs as, and while it is not stopping";
    Problem::error(Fault::AdminRefused, what, remedy)
}

fn exchange(socket: &Path) -> io::Result<(UnixStream, Vec<u8>, Vec<TcpListener>)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut question = serde_json::to_vec(&Question::Succeed)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let (mut line, mut sockets) = (Vec::new(), Vec::new());
    while !line.ends_with(b"\n") && line.len() < LONGEST_LINE {
        let more = receive(&stream, &mut sockets)?;
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend(more);
    }
    Ok((stream, line, sockets))
}

/// The next bytes, and the sockets that come with them.
fn receive(stream: &UnixStream, sockets: &mut Vec<TcpListener>) -> io::Result<Vec<u8>> {
    let mut bytes = [0_u8; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(stream, into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sockets.extend(descriptors.map(TcpListener::from));
        }
    }
    Ok(bytes.iter().copied().take(received.bytes).collect())
}

/// Hands the sockets over, and drains if the successor says that it is ready.
pub(super) async fn hand_over(
    stream: &mut tokio::net::UnixStream,
    user: u32,
    control: &Control,
) -> Answer {
    // Who listens meets every visitor: that is more than those may have who are asked for a ban.
    if user != 0 && user != geteuid().as_raw() {
        return may_not_ask(user);
    }
    // The loan is held until the successor is ready or gone.
    let Lent { sockets, loan: _loan } = match control.sockets().await {
        Ok(lent) if lent.sockets.len() <= MOST_SOCKETS => lent,
        Ok(Lent { sockets, .. }) => {
            let what = format!("{} sockets are more than can be sent at once", sockets.len());
            return Answer::Refused(vec![what]);
        }
        Err(problem) => return refused(&[problem]),
    };
    if let Err(error) = send(stream, &sockets).await {
        return Answer::Refused(vec![error.to_string()]);
    }
    // Until its successor is ready, this server listens on its own handles.
    drop(sockets);
    if let Ok(Question::Drain) = question(stream).await {
        control.retire();
        return done(&[]);
    }
    tracing::warn!("the successor did not become ready; this server serves on");
    Answer::Refused(vec!["only drain may follow".to_owned()])
}

async fn send(stream: &mut tokio::net::UnixStream, sockets: &[TcpListener]) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Answer::Sockets(sockets.len()))?;
    line.push(b'\n');
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(&descriptors));
            }
            let from = &[IoSlice::new(&line)];
            Ok(sendmsg(&*stream, from, &mut control, SendFlags::NOSIGNAL)?)
        })
        .await?;
    stream.write_all(line.get(sent..).unwrap_or_default()).await
}

/// The kernel takes no more with one message (`SCM_MAX_FD`).
const MOST_SOCKETS: usize = 253;
/// A count, or the sentences of a refusal.
const LONGEST_LINE: usize = 16 << 10;

//! The operator's side of the admin socket.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{Answer, DEADLINE, LONGEST_ANSWER, Question};
use crate::problem::{Fault, Problem};

/// Asks the server whose admin socket is at `socket`.
///
/// # Errors
/// [`Fault::AdminNoServer`] where nobody answers there, [`Fault::AdminNotUnderstood`] where the answer is none.
pub fn ask(socket: &Path, question: &Question) -> Result<Answer, Problem> {
    let line = exchange(socket, question).map_err(|error| unanswered(socket, &error))?;
    serde_json::from_slice(&line).map_err(|error| {
        let what = format!("the answer of {} cannot be understood: {error}", socket.display());
        Problem::error(
            Fault::AdminNotUnderstood,
            what,
            "use the doorward that the server was started with",
        )
    })
}

fn exchange(socket: &Path, question: &Question) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    // A server that refuses the user may have answered and closed before it was asked.
    drop(stream.write_all(&line));
    drop(stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let bound = u64::try_from(LONGEST_ANSWER).unwrap_or(u64::MAX);
    let read = stream.take(bound).read_to_end(&mut answer);
    if answer.is_empty() {
        read?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // Whether it is whole shows when it is parsed.
    Ok(answer)
}

pub(super) fn unanswered(socket: &Path, error: &io::Error) -> Problem {
    let shown = socket.display();
    let (what, remedy) = if error.kind() == io::ErrorKind::PermissionDenied {
        let what = format!("this user may not use {shown}");
        (what, "ask as the user that the server runs as, or add this one to users in [admin]")
    } else {
        let what = format!("no server answers at {shown}: {error}");
        (
            what,
            "start doorward serve with this configuration, in the directory that its paths count from",
        )
    };
    Problem::error(Fault::AdminNoServer, what, remedy)
}

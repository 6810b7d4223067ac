//! The door of a tunnel: takes callers, has them judged, and sends them on their way.

use std::io;
use std::net::{SocketAddr, TcpListener};
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::owner::{self, Groups};
use super::record::{Call, Record};
use super::relay::{Cut, Tally, denied, relay};
use super::remote::Remote;
use super::{At, CallerGate, Callers, Denial, LocalCaller, Tunnel};
use crate::accept::{Culprit, culprit};
use crate::backoff::Backoff;
#[cfg(unix)]
use crate::bind::{SocketFile, open_unix};
use crate::client::Stream;
use crate::connection::Closing;
use crate::peer::PeerAddr;
use crate::place::Place;
use crate::problem::{Fault, Problem};

/// A listening socket of a tunnel.
#[derive(Debug)]
pub(super) struct Open {
    at: At,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// What all callers of a tunnel share.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: Arc<str>,
    pub(super) record: Record,
    callers: Callers,
    remote: Remote,
    seats: Arc<Semaphore>,
    idle: Duration,
}

/// The listening side, watched by the runtime. The file of a unix socket goes with it.
enum Door {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix {
        listener: tokio::net::UnixListener,
        _file: SocketFile,
    },
}

/// The connection of a caller.
enum Knock {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// Why a caller got nowhere: the code, what was seen, and the rule that decided where one did.
type No = (&'static str, String, Option<Place>);

impl Open {
    pub(super) fn tcp(socket: TcpListener, at: SocketAddr) -> Self {
        Self { at: At::Tcp(at), socket: Socket::Tcp(socket) }
    }

    #[cfg(unix)]
    pub(super) fn unix(path: &Path, mode: u32) -> Result<Self, Problem> {
        let (socket, file) = open_unix(path, mode)?;
        Ok(Self { at: At::Unix(path.to_owned()), socket: Socket::Unix(socket, file) })
    }

    #[cfg(not(unix))]
    pub(super) fn unix(path: &std::path::Path, _: u32) -> Result<Self, Problem> {
        let what = format!("this system has no unix sockets: {}", path.display());
        Err(Problem::error(Fault::BindBadListen, what, "listen on \"127.0.0.1:6379\""))
    }

    pub(super) fn at(&self) -> &At {
        &self.at
    }

    fn watched(self) -> io::Result<Door> {
        Ok(match self.socket {
            Socket::Tcp(socket) => Door::Tcp(tokio::net::TcpListener::from_std(socket)?),
            #[cfg(unix)]
            Socket::Unix(socket, file) => {
                let listener = tokio::net::UnixListener::from_std(socket)?;
                Door::Unix { listener, _file: file }
            }
        })
    }
}

impl Door {
    async fn next(&self) -> io::Result<Knock> {
        match self {
            Door::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small messages leave at once; where that cannot be had, they are a little late.
                drop(stream.set_nodelay(true));
                Ok(Knock::Tcp(stream, peer))
            }
            #[cfg(unix)]
            Door::Unix { listener, .. } => Ok(Knock::Unix(listener.accept().await?.0)),
        }
    }
}

impl Way {
    pub(super) fn new(tunnel: &Tunnel, remote: Remote) -> Self {
        Self {
            name: Arc::clone(&tunnel.name),
            record: Record::new(&tunnel.name),
            callers: tunnel.callers.clone(),
            remote,
            seats: Arc::new(Semaphore::new(tunnel.max.min(Semaphore::MAX_PERMITS))),
            idle: tunnel.idle,
        }
    }

    /// One caller, from its knock to its last byte.
    async fn walk(&self, knock: Knock, listener: Arc<str>, judging: impl Send, closing: &Closing) {
        let number = self.record.number();
        let (mut call, judged) = self.judge(&knock, listener, number).await;
        // Whoever is judged makes room for the next; only those who are permitted take a seat.
        drop(judging);
        let rule = match judged {
            Ok((rule, who)) => {
                call.from = who;
                rule
            }
            Err((code, seen, at)) => return self.record.refused(&call, code, &seen, at.as_ref()),
        };
        let Ok(_seat) = self.seats.try_acquire() else {
            return self.record.refused(&call, Denial::Full.code(), &"", None);
        };
        let dialled = tokio::select! {
            biased;
            dialled = self.remote.dial(&self.record) => dialled,
            () = closing.drain.cancelled() => Err(denied(Denial::Drained, "before the remote was reached")),
        };
        let reached = match dialled {
            Ok(reached) => reached,
            Err(cut) => return self.record.refused(&call, cut.code(), &cut.detail(), None),
        };
        self.record.permitted(&call, &rule, reached.1);
        let tally = Tally::begin();
        let ended = match knock {
            Knock::Tcp(mut stream, _) => {
                let ended = self.carry(&mut stream, reached, &tally, closing).await;
                if matches!(&ended, Err(cut) if cut.is_break()) {
                    // A plain end would look to the caller as if all had been said.
                    drop(stream.set_zero_linger());
                }
                ended
            }
            #[cfg(unix)]
            Knock::Unix(mut stream) => self.carry(&mut stream, reached, &tally, closing).await,
        };
        match ended {
            Ok(()) => self.record.left(&call, &tally),
            Err(cut) => self.record.cut(&call, &tally, &cut),
        }
    }

    /// Who the caller is, and which rule lets it in.
    async fn judge(
        &self,
        knock: &Knock,
        listener: Arc<str>,
        number: u64,
    ) -> (Call, Result<(Place, String), No>) {
        let from = match knock {
            Knock::Tcp(_, peer) => PeerAddr::new(*peer).to_string(),
            #[cfg(unix)]
            Knock::Unix(_) => "unix".to_owned(),
        };
        let call = Call { number, listener, from };
        let judged = match (&self.callers, knock) {
            (Callers::Networks(gate), Knock::Tcp(_, peer)) => {
                match gate.judge(PeerAddr::new(*peer)) {
                    Ok(rule) => Ok((rule.place.clone(), call.from.clone())),
                    Err(no) => Err((no.code(), no.detail().to_owned(), no.rule().cloned())),
                }
            }
            // A tunnel for other machines has no unix socket.
            #[cfg(unix)]
            (Callers::Networks(_), Knock::Unix(_)) => {
                Err(told(Denial::UnknownCaller, String::new()))
            }
            (Callers::Users(gate), knock) => by_user(gate, knock, &call.from).await,
        };
        (call, judged)
    }

    /// Bytes both ways, until both have said all or something ends it; the remote is told goodbye.
    async fn carry<L>(
        &self,
        caller: &mut L,
        (mut remote, at): (Stream, SocketAddr),
        tally: &Tally,
        closing: &Closing,
    ) -> Result<(), Cut>
    where
        L: AsyncRead + AsyncWrite + Unpin,
    {
        let carried = tokio::select! {
            biased;
            carried = relay(caller, &mut remote, at, self.idle, tally) => carried,
            () = closing.cut.cancelled() => Err(denied(Denial::Drained, "the time to finish is over")),
        };
        if tally.received() > 0 {
            self.remote.heard();
        }
        match carried {
            // What comes before the server's first word is about the client, and holds for the next one too.
            Err(Cut::Remote(error)) if tally.received() == 0 => Err(self.remote.failed(error)),
            Err(cut) => {
                if cut.is_ours() {
                    drop(timeout(LONGEST_GOODBYE, remote.shutdown()).await);
                }
                Err(cut)
            }
            Ok(()) => Ok(()),
        }
    }
}

impl Cut {
    /// Whether something that was said may be missing.
    fn is_break(&self) -> bool {
        match self {
            Cut::Denied(denial, _) => *denial != Denial::Idle,
            Cut::Remote(_) => true,
        }
    }

    /// Whether the tunnel ended the session, on which both sides would have gone on.
    fn is_ours(&self) -> bool {
        matches!(self, Cut::Denied(Denial::Idle | Denial::Drained, _))
    }
}

/// Which rule lets the caller in, and who it is. Where every user may call, one that cannot be told may too.
async fn by_user(gate: &CallerGate, knock: &Knock, from: &str) -> Result<(Place, String), No> {
    let groups = if gate.asks_for_groups() { Groups::Wanted } else { Groups::Ignored };
    let caller = match (identify(knock, groups).await, gate.any_user()) {
        (Ok(caller), _) => caller,
        (Err(_), Some(rule)) => return Ok((rule.place.clone(), from.to_owned())),
        (Err(denial), None) => return Err(told(denial, String::new())),
    };
    let who = described(from, &caller);
    match gate.judge(&caller) {
        Ok(rule) => Ok((rule.place.clone(), who)),
        Err(denial) => Err(told(denial, who)),
    }
}

async fn identify(knock: &Knock, groups: Groups) -> Result<LocalCaller, Denial> {
    match knock {
        Knock::Tcp(stream, peer) => {
            let own = stream.local_addr().map_err(|_| Denial::UnknownCaller)?;
            owner::of_tcp(*peer, own, groups).await
        }
        #[cfg(unix)]
        Knock::Unix(stream) => owner::of_unix(stream, groups).await,
    }
}

/// `127.0.0.1:51234 uid 1000`, or `uid 1000 pid 4711`.
fn described(from: &str, caller: &LocalCaller) -> String {
    match caller.process {
        Some(process) => format!("uid {} pid {process}", caller.user),
        None if from == "unix" => format!("uid {}", caller.user),
        None => format!("{from} uid {}", caller.user),
    }
}

fn told(denial: Denial, seen: String) -> No {
    (denial.code(), seen, None)
}

/// Takes callers until it is told to stop; then the socket is closed, and its file removed.
pub(super) async fn listen(
    open: Open,
    way: Arc<Way>,
    closing: Closing,
    callers: TaskTracker,
) -> Result<(), Problem> {
    let listener: Arc<str> = open.at().to_string().into();
    let door = open.watched().map_err(|error| broke(&error.to_string()))?;
    let judging = Arc::new(Semaphore::new(JUDGED_AT_ONCE));
    let mut backoff = Backoff::new(SHORTEST_WAIT, LONGEST_WAIT);
    let mut told: Option<Instant> = None;
    loop {
        let next = async {
            // Whoever has to wait for this waits in the queue of the kernel.
            let seat = Arc::clone(&judging).acquire_owned().await;
            (seat, door.next().await)
        };
        let (seat, next) = tokio::select! {
            biased;
            () = closing.drain.cancelled() => return Ok(()),
            next = next => next,
        };
        let error = match next {
            Ok(knock) => {
                backoff.reset();
                let (way, closing, listener) =
                    (Arc::clone(&way), closing.clone(), Arc::clone(&listener));
                let walk = async move { way.walk(knock, listener, seat, &closing).await };
                callers.spawn(Box::pin(walk));
                continue;
            }
            Err(error) => error,
        };
        match culprit(&error) {
            Culprit::Peer => tracing::debug!(%error, "a caller left while it queued"),
            Culprit::Us => return Err(broke(&error.to_string())),
            Culprit::Machine => {
                if told.is_none_or(|told| told.elapsed() >= BETWEEN_COMPLAINTS) {
                    told = Some(Instant::now());
                    tracing::error!(%error, %listener, "cannot accept for now; raise the limit on open files or lower max");
                }
                sleep(backoff.next_wait()).await;
            }
        }
    }
}

pub(super) fn broke(error: &str) -> Problem {
    let remedy =
        "start again; if it comes back, look at what closes or changes the process's sockets";
    Problem::error(Fault::BindFailed, format!("a listening socket cannot be used: {error}"), remedy)
}

/// Asking the kernel takes a millisecond. So many ask at once at one listener, and hold no seat for it:
/// a user who is not permitted cannot take the seats of those who are.
pub(super) const JUDGED_AT_ONCE: usize = 16;
/// As at the server's door.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// A machine that stays out of descriptors says so about once in this time, not once a caller.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(10);
/// `close_notify` and FIN go out at once, or into a full buffer that nobody reads.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

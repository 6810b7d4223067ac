//! The corridor: one visitor's way through the rooms, and its way out.

use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::accept::{Accepted, Members, StrangerSeat};
use crate::address::AddressGate;
use crate::audit::{Audit, Event, Visit};
use crate::frame::{FrameKind, FramePolicy};
use crate::handshake::{Handshake, Presented, TurnedAway};
use crate::identity::{IdentityGate, Seated};
use crate::refusal::{Refusal, Refused, Room};
use crate::service::{Counted, Frames, Service, linger};

/// The rooms that one service's visitors walk through.
#[derive(Clone)]
pub(crate) struct Rooms {
    pub(crate) name: Arc<str>,
    pub(crate) address: Arc<AddressGate>,
    pub(crate) handshake: watch::Receiver<Handshake>,
    pub(crate) identity: Arc<IdentityGate>,
    pub(crate) members: Members,
    pub(crate) frame: Arc<FramePolicy>,
    pub(crate) service: Arc<dyn Service>,
}

/// When a session has to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closing {
    /// From now on nothing new is begun.
    pub(crate) drain: CancellationToken,
    /// Whatever still runs is cut.
    pub(crate) cut: CancellationToken,
}

impl Rooms {
    /// Walks one visitor through the rooms, and records how that ended.
    pub(crate) async fn walk(
        &self,
        accepted: Accepted<TcpStream>,
        visit: Visit,
        audit: &Audit,
        closing: &Closing,
    ) {
        let mut handshake = self.handshake.clone();
        match self.enter(accepted, &mut handshake, closing).await {
            Ok(seated) => self.attend(seated, handshake, (visit, audit), closing).await,
            Err(leaving) => {
                let (refused, presented, parting) = leaving.into_parts();
                audit.record(Event::Refused(visit, refused, presented), Instant::now());
                parting.say().await;
            }
        }
    }

    /// The hallway. Each room hands the visitor to the next, or says why not.
    async fn enter(
        &self,
        accepted: Accepted<TcpStream>,
        handshake: &mut watch::Receiver<Handshake>,
        closing: &Closing,
    ) -> Result<Seated<TcpStream>, Leaving> {
        let admitted = self.address.admit(accepted)?;
        let handshake = handshake.borrow_and_update().clone();
        let authenticated = tokio::select! {
            biased;
            () = closing.drain.cancelled() => return Err(Refusal::AcceptDraining.bare().into()),
            authenticated = handshake.perform(admitted) => authenticated?,
        };
        let authorized = self.identity.authorize(authenticated)?;
        Ok(authorized.seated(&self.members)?)
    }

    /// The service, for whoever got here, as long as its certificate passes.
    async fn attend(
        &self,
        seated: Seated<TcpStream>,
        handshake: watch::Receiver<Handshake>,
        (visit, audit): (Visit, &Audit),
        closing: &Closing,
    ) {
        let (stream, caller, seat) = seated.into_parts();
        acknowledge_at_once(stream.get_ref().0);
        let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
        audit.record(Event::Permitted(visit.clone(), caller.clone()), Instant::now());
        let mut frames = Frames::new(stream, &self.frame, &closing.drain).of_visit(visit.number);
        let served = tokio::select! {
            biased;
            served = self.service.serve(&caller, &mut frames) => served.map_err(refused),
            refused = no_longer_passes(&chain, handshake) => Err(refused),
            () = closing.cut.cancelled() => Err(Refusal::ServiceDrained.bare()),
        };
        let counted: Counted = frames.tally().counted();
        let last_word = served.as_ref().err().and_then(|refused| self.last_word(refused));
        let event = match served {
            Ok(()) => Event::Left(visit, caller, counted),
            Err(refused) => Event::Cut(visit, caller, counted, refused),
        };
        audit.record(event, Instant::now());
        frames.farewell(last_word.as_deref()).await;
        drop(seat);
    }

    /// What a member is told of a refused frame. It is no stranger, and needs the code to mend its ways.
    fn last_word(&self, refused: &Refused) -> Option<String> {
        let told = refused.refusal().room() == Room::Frame && self.service.reports_refusals();
        told.then(|| match self.frame.kind() {
            FrameKind::JsonLines => format!("{{\"error\":\"{}\"}}", refused.code()),
            FrameKind::LengthPrefixed { .. } | FrameKind::Lines | FrameKind::Raw => {
                format!("error {}", refused.code())
            }
        })
    }
}

/// Judges a session's certificate again whenever the handshake room changes, until it is refused.
async fn no_longer_passes(
    chain: &[CertificateDer<'static>],
    mut handshake: watch::Receiver<Handshake>,
) -> Refused {
    while handshake.changed().await.is_ok() {
        let judged = handshake.borrow_and_update().judge_again(chain, UnixTime::now());
        if let Err(refused) = judged {
            return refused;
        }
    }
    // The server has stopped looking after its files: nothing will change any more.
    std::future::pending().await
}

/// A client that gathers small messages (Nagle's algorithm) holds its first one back until its last flight
/// is acknowledged, which takes 40 ms where nothing is sent in return. Servers that send session tickets
/// acknowledge with those; this one sends none.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(stream: &TcpStream) {
    // Where the option cannot be had, the first message is a little late.
    drop(socket2::SockRef::from(stream).set_tcp_quickack(true));
}

/// Left to the system here.
#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_: &TcpStream) {}

/// A refusal of the service keeps its code; any other error of it is its own failure.
fn refused(error: Box<dyn std::error::Error + Send + Sync>) -> Refused {
    match error.downcast::<Refused>() {
        Ok(refused) => *refused,
        Err(error) => {
            let said = crate::peer::PeerText::new(error.to_string().as_bytes());
            Refusal::ServiceFailed.because(said.to_string())
        }
    }
}

/// A visitor on its way out, as far as it had got.
enum Leaving {
    AtTheDoor(Refused),
    BeforeTls(TurnedAway<TcpStream>),
    AfterTls(TurnedAway<Box<TlsStream<TcpStream>>>),
}

/// What is left to do for a visitor that leaves.
enum Parting {
    Nothing,
    Plain(TcpStream, StrangerSeat),
    Tls(Box<TlsStream<TcpStream>>, StrangerSeat),
}

impl Leaving {
    fn into_parts(self) -> (Refused, Option<Box<Presented>>, Parting) {
        match self {
            Leaving::AtTheDoor(refused) => (refused, None, Parting::Nothing),
            Leaving::BeforeTls(TurnedAway { refused, presented, parting }) => {
                let parting = parting.map(|(stream, seat)| Parting::Plain(stream, seat));
                (refused, presented, parting.unwrap_or(Parting::Nothing))
            }
            Leaving::AfterTls(TurnedAway { refused, presented, parting }) => {
                let parting = parting.map(|(stream, seat)| Parting::Tls(stream, seat));
                (refused, presented, parting.unwrap_or(Parting::Nothing))
            }
        }
    }
}

impl Parting {
    /// Lets the visitor read its alert, unless a newer one needs the seat.
    async fn say(self) {
        match self {
            Parting::Nothing => {}
            Parting::Plain(mut stream, seat) => {
                let goodbye = async {
                    if stream.shutdown().await.is_ok() {
                        linger(stream).await;
                    }
                };
                unless_called(seat, goodbye).await;
            }
            Parting::Tls(mut stream, seat) => {
                let goodbye = async {
                    if stream.shutdown().await.is_ok() {
                        linger(stream.into_inner().0).await;
                    }
                };
                unless_called(seat, goodbye).await;
            }
        }
    }
}

async fn unless_called(seat: StrangerSeat, goodbye: impl Future<Output = ()>) {
    let limited = tokio::time::timeout(LONGEST_GOODBYE, goodbye);
    tokio::select! {
        _ = seat.called_out() => {}
        _ = limited => {}
    }
}

/// `close_notify` and FIN go out at once, or into a full buffer that nobody reads; then the lingering.
const LONGEST_GOODBYE: std::time::Duration = std::time::Duration::from_secs(1);

impl From<Refused> for Leaving {
    fn from(refused: Refused) -> Self {
        Leaving::AtTheDoor(refused)
    }
}

impl From<TurnedAway<TcpStream>> for Leaving {
    fn from(away: TurnedAway<TcpStream>) -> Self {
        Leaving::BeforeTls(away)
    }
}

impl From<TurnedAway<Box<TlsStream<TcpStream>>>> for Leaving {
    fn from(away: TurnedAway<Box<TlsStream<TcpStream>>>) -> Self {
        Leaving::AfterTls(away)
    }
}

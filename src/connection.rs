//! The corridor: one visitor's way through the rooms, and its way out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::accept::{Accepted, Balancers, Introduced, Members, Socket, StrangerSeat};
use crate::address::{AddressGate, BanList};
use crate::audit::{self, Audit, Event, Visit};
use crate::bind::{BindPolicy, Interfaces};
use crate::frame::{FrameKind, FramePolicy};
use crate::handshake::{Handshake, Presented, TurnedAway};
use crate::identity::{Caller, IdentityGate, Seated};
use crate::peer::PeerAddr;
use crate::problem::Problem;
use crate::refusal::{Refusal, Refused, Room};
use crate::service::{Counted, Frames, Service, linger};
use crate::trial::Trial;

/// The rooms that one service's visitors walk through, as of one reload.
#[derive(Clone)]
pub(crate) struct Rooms {
    pub(crate) ground: Arc<Ground>,
    pub(crate) balancers: Arc<Balancers>,
    pub(crate) bans: Arc<BanList>,
    pub(crate) address: Arc<AddressGate>,
    pub(crate) handshake: Handshake,
    pub(crate) identity: Arc<IdentityGate>,
    pub(crate) members: Members,
    pub(crate) frame: Arc<FramePolicy>,
    pub(crate) service: Arc<dyn Service>,
    /// What is tried beside these rooms.
    pub(crate) trial: Option<Arc<Trial>>,
    pub(crate) lifetime: Option<Duration>,
}

/// The rooms of now, and every later state of them; none when the service is configured no more.
pub(crate) type Hallway = watch::Receiver<Option<Arc<Rooms>>>;

/// What sockets stand on: the bind policy and the interfaces it was last applied to.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) policy: BindPolicy,
    pub(crate) interfaces: Interfaces,
}

/// When a session has to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closing {
    /// From now on nobody new comes in; who is in goes on as before.
    pub(crate) retire: CancellationToken,
    /// From now on nothing new is begun.
    pub(crate) drain: CancellationToken,
    /// Whatever still runs is cut.
    pub(crate) cut: CancellationToken,
}

/// Walks one visitor through the rooms, and records how that ended.
pub(crate) async fn walk(
    mut hallway: Hallway,
    accepted: Accepted<Socket>,
    visit: Visit,
    audit: &Audit,
    closing: &Closing,
) {
    let now = hallway.borrow_and_update().clone();
    let Some(rooms) = now else {
        let refused = Refusal::ServiceRemoved.bare();
        return audit.record(Event::Refused(visit, refused, None), Instant::now());
    };
    let introduced = match Box::pin(rooms.introduce(accepted, closing)).await {
        Ok(introduced) => introduced,
        Err(refused) => return audit.record(Event::Refused(visit, refused, None), Instant::now()),
    };
    let visit = visit.of(&introduced);
    // A handshake takes far more room than a session, which keeps its own for hours.
    match Box::pin(rooms.enter(introduced, audit, closing)).await {
        Ok(seated) => rooms.attend(seated, hallway, (visit, audit), closing).await,
        Err(leaving) => {
            let (refused, presented, parting) = leaving.into_parts();
            audit.record(Event::Refused(visit, refused, presented), Instant::now());
            Box::pin(parting.say()).await;
        }
    }
}

impl Rooms {
    /// Where the visitor really comes from.
    async fn introduce(
        &self,
        accepted: Accepted<Socket>,
        closing: &Closing,
    ) -> Result<Introduced<Socket>, Refused> {
        tokio::select! {
            biased;
            () = closing.drain.cancelled() => Err(Refusal::AcceptDraining.bare()),
            introduced = self.balancers.introduce(accepted) => introduced,
        }
    }

    /// The hallway. Each room hands the visitor to the next, or says why not.
    async fn enter(
        &self,
        introduced: Introduced<Socket>,
        audit: &Audit,
        closing: &Closing,
    ) -> Result<Seated<Socket>, Leaving> {
        self.bans.judge(introduced.peer(), SystemTime::now())?;
        let admitted = self.address.admit(introduced)?;
        let began = Instant::now();
        let authenticated = tokio::select! {
            biased;
            () = closing.drain.cancelled() => return Err(Refusal::AcceptDraining.bare().into()),
            authenticated = self.handshake.perform(admitted) => authenticated?,
        };
        audit.handshake_took(began.elapsed());
        let authorized = self.identity.authorize(authenticated)?;
        Ok(authorized.seated(&self.members)?)
    }

    /// The service, for whoever got here, as long as it would still be let in.
    async fn attend(
        &self,
        seated: Seated<Socket>,
        hallway: Hallway,
        (visit, audit): (Visit, &Audit),
        closing: &Closing,
    ) {
        let (stream, caller, seat) = seated.into_parts();
        let caller = caller.on_visit(visit.number, stream.get_ref().0.tcp().local_addr().ok());
        acknowledge_at_once(stream.get_ref().0.tcp());
        let session = Session::new(&stream, &caller, &visit);
        audit.record(Event::Permitted(visit.clone(), caller.clone()), Instant::now());
        self.try_on_paper(&session, &visit, audit);
        let mut frames = Frames::new(stream, &self.frame, &closing.drain).of_visit(visit.number);
        let _present = audit.enter(audit::Session {
            visit: visit.clone(),
            caller: caller.clone(),
            tally: frames.shared_tally(),
        });
        let frame = self.trial.as_ref().and_then(|trial| trial.frame());
        let mut doubt = frame.map(|frame| frames.trying(frame));
        let would_refuse = |refused| {
            let event = Event::WouldRefuse(visit.clone(), caller.clone(), refused);
            audit.record(event, Instant::now());
        };
        // What ends a session is asked first: a busy service can use up every turn's budget.
        let served = tokio::select! {
            biased;
            refused = session.passes_no_longer(hallway) => Err(refused),
            () = closing.cut.cancelled() => Err(Refusal::ServiceDrained.bare()),
            refused = outlived(self.lifetime) => Err(refused),
            never = doubts(&mut doubt, would_refuse) => match never {},
            served = self.service.serve(&caller, &mut frames) => served.map_err(refused),
        };
        // A doubt about the last message comes with the end of the service.
        if let Some(Ok(refused)) = doubt.map(|mut doubt| doubt.try_recv()) {
            would_refuse(refused);
        }
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

    /// What the policy that is tried would have said. The session goes on in any case.
    fn try_on_paper(&self, session: &Session, visit: &Visit, audit: &Audit) {
        let Some(trial) = &self.trial else { return };
        let caller = &session.caller;
        if let Err(refused) = trial.judge(caller, &session.chain, UnixTime::now()) {
            let event = Event::WouldRefuse(visit.clone(), caller.clone(), refused);
            audit.record(event, Instant::now());
        }
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

/// What of a live session is judged again when the rooms change.
struct Session {
    caller: Caller,
    /// The address of this host that it came to.
    local: SocketAddr,
    via: Option<PeerAddr>,
    chain: Vec<CertificateDer<'static>>,
}

impl Session {
    fn new(stream: &TlsStream<Socket>, caller: &Caller, visit: &Visit) -> Self {
        let (socket, tls) = stream.get_ref();
        Self {
            caller: caller.clone(),
            // A wildcard listener has many addresses; the session has one.
            local: socket.tcp().local_addr().unwrap_or(visit.listener),
            via: visit.via,
            chain: tls.peer_certificates().map(<[_]>::to_vec).unwrap_or_default(),
        }
    }

    /// Judges the session again whenever the rooms change or its certificate ends, until it is refused.
    async fn passes_no_longer(&self, mut hallway: Hallway) -> Refused {
        let mut changing = true;
        loop {
            tokio::select! {
                changed = hallway.changed(), if changing => changing = changed.is_ok(),
                () = self.certificate_ends() => {}
            }
            let rooms = hallway.borrow_and_update().clone();
            let Some(rooms) = rooms else { return Refusal::ServiceRemoved.bare() };
            if let Err(refused) = rooms.judge_again(self) {
                return refused;
            }
        }
    }

    /// Waits for the end of the certificate by the clock on the wall, which may be set meanwhile.
    async fn certificate_ends(&self) {
        loop {
            let end = self.caller.presented().expires().as_secs();
            // The last second is part of it (RFC 5280 section 4.1.2.5).
            let Some(left) = end.checked_sub(UnixTime::now().as_secs()) else { return };
            let left = Duration::from_secs(left.saturating_add(1));
            sleep(left.min(BETWEEN_CLOCKS)).await;
        }
    }
}

impl Rooms {
    /// Every gate that a new visit of the same visitor would pass, in the same order.
    fn judge_again(&self, session: &Session) -> Result<(), Refused> {
        let Session { caller, local, via, chain } = session;
        self.ground.judge(*local)?;
        if let Some(balancer) = via.filter(|balancer| !self.balancers.are_at(*balancer)) {
            return Err(Refusal::AcceptProxyUnlisted.because(balancer.to_string()));
        }
        self.bans.judge(caller.peer(), SystemTime::now())?;
        self.address.pass(caller.peer())?;
        self.handshake.judge_again(chain, UnixTime::now())?;
        self.identity.judge(caller.presented(), caller.peer())?;
        Ok(())
    }
}

impl Ground {
    /// Whether a session may still come to this address of the host.
    fn judge(&self, local: SocketAddr) -> Result<(), Refused> {
        let outside =
            |problem: Problem| Refusal::AcceptOutOfScope.because(problem.message().to_owned());
        self.policy.judge(local, &self.interfaces).map_err(outside)
    }
}

/// A clock that is set or a machine that slept is noticed within this time.
const BETWEEN_CLOCKS: Duration = Duration::from_secs(600);

/// Tells of a doubt when there is one, and never ends: it is no reason to.
async fn doubts(
    doubt: &mut Option<oneshot::Receiver<Refused>>,
    would_refuse: impl Fn(Refused),
) -> Infallible {
    if let Some(receiver) = doubt {
        if let Ok(refused) = receiver.await {
            would_refuse(refused);
        }
        *doubt = None;
    }
    std::future::pending().await
}

/// Waits until a session is as old as it may be; for ever where it may be of any age.
async fn outlived(lifetime: Option<Duration>) -> Refused {
    match lifetime {
        Some(lifetime) => sleep(lifetime).await,
        None => std::future::pending().await,
    }
    Refusal::ServiceLifetime.because(format!("after {lifetime:?}"))
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
    BeforeTls(TurnedAway<Socket>),
    AfterTls(TurnedAway<Box<TlsStream<Socket>>>),
}

/// What is left to do for a visitor that leaves.
enum Parting {
    Nothing,
    Plain(Socket, StrangerSeat),
    Tls(Box<TlsStream<Socket>>, StrangerSeat),
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
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

impl From<Refused> for Leaving {
    fn from(refused: Refused) -> Self {
        Leaving::AtTheDoor(refused)
    }
}

impl From<TurnedAway<Socket>> for Leaving {
    fn from(away: TurnedAway<Socket>) -> Self {
        Leaving::BeforeTls(away)
    }
}

impl From<TurnedAway<Box<TlsStream<Socket>>>> for Leaving {
    fn from(away: TurnedAway<Box<TlsStream<Socket>>>) -> Self {
        Leaving::AfterTls(away)
    }
}

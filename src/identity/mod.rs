//! The identity gate: may THIS name use THIS service from HERE?

mod rule;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ProtocolVersion;
use tokio_rustls::server::TlsStream;

use crate::accept::{MemberSeat, Members, StrangerSeat};
use crate::handshake::{Authenticated, Name, Presented, TurnedAway};
use crate::peer::PeerAddr;
use crate::place::Place;
use crate::refusal::{Refusal, Refused};

pub use rule::{IdentityRule, PermittedName};

/// The rules of one service, ready to judge: a valid certificate is no permission.
///
/// Names match by type and as a whole, never in part. A gate without rules permits nobody.
#[derive(Clone, Debug, Default)]
pub struct IdentityGate {
    rules: Vec<IdentityRule>,
}

/// Who was let in, as whom, and by which rule. Services receive it.
#[derive(Clone, Debug)]
pub struct Caller {
    permitted: Arc<Permitted>,
    visit: u64,
    met: Option<SocketAddr>,
}

#[derive(Debug)]
struct Permitted {
    peer: PeerAddr,
    name: PermittedName,
    rule: Place,
    presented: Presented,
    version: Option<ProtocolVersion>,
    alpn: Option<Vec<u8>>,
}

impl IdentityGate {
    /// A gate that judges by these rules, the first that permits wins.
    #[must_use]
    pub fn new(rules: Vec<IdentityRule>) -> Self {
        Self { rules }
    }

    /// The rules it judges by.
    #[must_use]
    pub fn rules(&self) -> &[IdentityRule] {
        &self.rules
    }

    /// Which name permits this certificate from this address, and where that is written.
    ///
    /// # Errors
    /// [`Refusal::IdentityBadName`] before any rule is asked, [`Refusal::IdentityNoName`] and
    /// [`Refusal::IdentityNotPermitted`] where no rule fits (with the place of the first rule), [`Refusal::IdentityWrongNetwork`] with the
    /// rule that would fit from another network.
    pub fn judge(
        &self,
        presented: &Presented,
        peer: PeerAddr,
    ) -> Result<(&PermittedName, &Place), Refused> {
        if let Some(name) = presented.unreadable_name() {
            return Err(Refusal::IdentityBadName.because(name.to_string()));
        }
        let mut elsewhere = None;
        for rule in &self.rules {
            let Some(permitted) = rule.names().iter().find(|name| name.value.matches(presented))
            else {
                continue;
            };
            if rule.covers(peer) {
                return Ok((&permitted.value, &permitted.place));
            }
            elsewhere.get_or_insert(permitted);
        }
        Err(match elsewhere {
            Some(permitted) => Refusal::IdentityWrongNetwork
                .because(format!("{} from {}", permitted.value, peer.ip()))
                .with_rule(permitted.place.clone()),
            None => self.no_rule(presented),
        })
    }

    /// No rule names the visitor: the place is that of the first rule, which is where a name would go.
    fn no_rule(&self, presented: &Presented) -> Refused {
        let names = presented.names();
        let refused = if names.iter().all(|name| matches!(name, Name::Common(_))) {
            Refusal::IdentityNoName.bare()
        } else {
            let shown: Vec<_> = names.iter().take(SHOWN_NAMES).map(ToString::to_string).collect();
            Refusal::IdentityNotPermitted.because(shown.join(" "))
        };
        match self.rules.iter().find_map(|rule| rule.names().first()) {
            Some(permitted) => refused.with_rule(permitted.place.clone()),
            None => refused,
        }
    }

    /// Lets an authenticated visitor go on to the service.
    ///
    /// # Errors
    /// As [`IdentityGate::judge`]; the visitor is turned away with its stream, to be told goodbye.
    pub fn authorize<S>(
        &self,
        authenticated: Authenticated<S>,
    ) -> Result<Authorized<S>, TurnedAway<Box<TlsStream<S>>>> {
        let (stream, peer, seat, presented) = authenticated.into_parts();
        match self.judge(&presented, peer) {
            Ok((name, rule)) => {
                let (name, rule) = (name.clone(), rule.clone());
                let session = stream.get_ref().1;
                let (version, alpn) = (session.protocol_version(), session.alpn_protocol());
                let alpn = alpn.map(<[u8]>::to_vec);
                let permitted = Permitted { peer, name, rule, presented, version, alpn };
                let caller = Caller { permitted: Arc::new(permitted), visit: 0, met: None };
                Ok(Authorized { stream, caller, seat })
            }
            Err(refused) => Err(TurnedAway {
                refused,
                presented: Some(Box::new(presented)),
                parting: Some((stream, seat)),
            }),
        }
    }
}

/// A visitor that may use the service. Made by [`IdentityGate::authorize`] alone.
#[derive(Debug)]
pub struct Authorized<S> {
    stream: Box<TlsStream<S>>,
    caller: Caller,
    seat: StrangerSeat,
}

/// An authorized visitor on a seat among the members: what a service is given.
///
/// Made by [`Authorized::seated`] alone. Whoever holds none has no stream to write to.
#[derive(Debug)]
pub struct Seated<S> {
    stream: Box<TlsStream<S>>,
    caller: Caller,
    seat: MemberSeat,
}

impl<S> Authorized<S> {
    /// Who it is.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Moves from the strangers' seats to the members'.
    ///
    /// # Errors
    /// [`Refusal::AcceptMembersFull`] where none is free.
    pub fn seated(self, members: &Members) -> Result<Seated<S>, TurnedAway<Box<TlsStream<S>>>> {
        let Self { stream, caller, seat: stranger } = self;
        match members.seat() {
            Ok(seat) => Ok(Seated { stream, caller, seat }),
            Err(refused) => {
                let presented = Some(Box::new(caller.presented().clone()));
                Err(TurnedAway { refused, presented, parting: Some((stream, stranger)) })
            }
        }
    }
}

impl<S> Seated<S> {
    /// Who it is.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn into_parts(self) -> (Box<TlsStream<S>>, Caller, MemberSeat) {
        (self.stream, self.caller, self.seat)
    }
}

impl Caller {
    /// The name that was permitted: one that the certificate holds, or its pin.
    #[must_use]
    pub fn name(&self) -> &PermittedName {
        &self.permitted.name
    }

    /// Where it comes from.
    #[must_use]
    pub fn peer(&self) -> PeerAddr {
        self.permitted.peer
    }

    /// Where the rule that let it in is written.
    #[must_use]
    pub fn rule(&self) -> &Place {
        &self.permitted.rule
    }

    /// The certificate it proved to hold.
    #[must_use]
    pub fn presented(&self) -> &Presented {
        &self.permitted.presented
    }

    /// The number of its visit in the record; 0 before its session begins.
    #[must_use]
    pub fn visit(&self) -> u64 {
        self.visit
    }

    /// The address of this server that it connected to; none before its session begins.
    #[must_use]
    pub fn met(&self) -> Option<SocketAddr> {
        self.met
    }

    /// The TLS version it speaks.
    #[must_use]
    pub fn tls_version(&self) -> Option<ProtocolVersion> {
        self.permitted.version
    }

    /// The application protocol that was agreed on (RFC 7301: 1 to 255 bytes), where one was.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.permitted.alpn.as_deref()
    }

    /// The same caller, on this visit, which it began at that address of this server.
    pub(crate) fn on_visit(self, visit: u64, met: Option<SocketAddr>) -> Self {
        Self { visit, met, ..self }
    }
}

/// A log line shows so many names of a certificate; the serial number finds the rest.
const SHOWN_NAMES: usize = 4;

//! The handshake room: is it TLS, and whose certificate? Mutual, always.

mod crl;
mod dialling;
mod greeting;
mod load;
mod presented;
mod reasons;
mod remembered;
mod trust;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::accept::StrangerSeat;
use crate::address::Admitted;
use crate::peer::PeerAddr;
use crate::place::Written;
use crate::refusal::{Refusal, Refused};

pub use dialling::{DialSettings, Dialler};
pub(crate) use dialling::{config as dialling_config, paired, unusable};
use greeting::Began;
pub use greeting::{Greeting, Preamble};
pub use load::{Loaded, provider};
pub use presented::{Name, Pin, Presented};
pub(crate) use reasons::date;

/// What `[handshake]` says: files, versions and limits, as written.
#[derive(Clone, Debug)]
pub struct HandshakeSettings {
    /// The server's chain, its own certificate first.
    pub certificate: Written<PathBuf>,
    /// The private key of that certificate.
    pub key: Written<PathBuf>,
    /// The authorities that may vouch for a client.
    pub clients: Written<PathBuf>,
    /// Revocation lists; with one given, every issuer needs one.
    pub crl: Vec<Written<PathBuf>>,
    /// Which TLS versions may be spoken.
    pub versions: Versions,
    /// How long the whole handshake may take.
    pub deadline: Duration,
    /// Whether a stranger is told the names of the client authorities.
    pub hints: Hints,
}

/// Which TLS versions may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.3 alone.
    Tls13Only,
    /// TLS 1.3, and 1.2 for clients that know no better.
    Tls12And13,
}

/// Whether the request for a certificate names the authorities that would be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hints {
    /// It names none: the request goes to anybody who knocks.
    Hidden,
    /// It names them all, for clients that choose their certificate by it.
    Published,
}

/// Ready to perform handshakes: certificate, key, authorities and revocation lists, all checked.
///
/// There is no state in which a client's certificate is optional, and no session is ever resumed, so
/// every connection is judged anew.
#[derive(Clone, Debug)]
pub struct Handshake {
    acceptor: Acceptor,
    verifier: Arc<dyn ClientCertVerifier>,
    deadline: Duration,
    preamble: Preamble,
    endings: Arc<[Ending]>,
}

/// Something the room relies on, and the moment it stops to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What it is.
    pub of: Validity,
    /// Which one: a file, or the subject of an authority.
    pub name: String,
    /// Its last moment.
    pub at: UnixTime,
}

/// What has a last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Validity {
    /// The server's own certificate: after it no client believes the server.
    ServerCertificate,
    /// An authority in `clients`: after it nobody it vouches for gets in.
    Authority,
    /// An authority's revocation list: after it nobody the authority vouches for gets in.
    RevocationList,
}

impl Validity {
    /// What people call it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Validity::ServerCertificate => "server certificate",
            Validity::Authority => "authority",
            Validity::RevocationList => "revocation list",
        }
    }
}

impl Ending {
    /// Whole days left at `now`; none once it has ended.
    #[must_use]
    pub fn days_left(&self, now: UnixTime) -> Option<u64> {
        self.at.as_secs().checked_sub(now.as_secs()).map(|left| left / (24 * 3600))
    }
}

/// A visitor that proved to hold the key of a certificate that a trusted authority signed.
///
/// Made by [`Handshake::perform`] alone. Who it is, is known; what it may do, is not.
#[derive(Debug)]
pub struct Authenticated<S> {
    stream: Box<TlsStream<S>>,
    peer: PeerAddr,
    seat: StrangerSeat,
    presented: Presented,
}

/// A visitor that a room said no to, on its way out, still on its seat.
#[derive(Debug)]
pub struct TurnedAway<S> {
    pub(crate) refused: Refused,
    pub(crate) presented: Option<Box<Presented>>,
    pub(crate) parting: Option<(S, StrangerSeat)>,
}

impl Handshake {
    /// Performs the handshake within the deadline, unless a newer visitor needs the seat.
    ///
    /// # Errors
    /// The reason, with the certificate that was rejected where one was seen. The alert that the TLS
    /// standard has for it is already written; the caller lets the visitor read it.
    pub async fn perform<S>(&self, admitted: Admitted<S>) -> Result<Authenticated<S>, TurnedAway<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (stream, peer, seat) = admitted.into_parts();
        let (outcome, presented) = verifier::noting(async {
            tokio::select! {
                biased;
                reason = seat.called_out() => Err((reason.bare(), None)),
                outcome = timeout(self.deadline, self.accept(stream)) => {
                    outcome.unwrap_or_else(|_| Err((self.too_slow(), None)))
                }
            }
        })
        .await;
        let (stream, presented) = match (outcome, presented) {
            (Ok(stream), Some(presented)) => (stream, presented),
            (Ok(_), None) => {
                return Err(TurnedAway::gone(Refusal::HandshakeNoCertificate.bare(), None));
            }
            (Err((refused, None)), presented) => return Err(TurnedAway::gone(refused, presented)),
            (Err((refused, Some(stream))), presented) => {
                let presented = presented.map(Box::new);
                return Err(TurnedAway { refused, presented, parting: Some((stream, seat)) });
            }
        };
        Ok(Authenticated { stream, peer, seat, presented })
    }

    /// Judges a chain again that was accepted before, by the lists and authorities of now.
    ///
    /// # Errors
    /// The reason that a new handshake with it would be refused for.
    pub fn judge_again(
        &self,
        chain: &[CertificateDer<'static>],
        now: UnixTime,
    ) -> Result<(), Refused> {
        let (leaf, rest) =
            chain.split_first().ok_or_else(|| Refusal::HandshakeNoCertificate.bare())?;
        let judged = self.verifier.verify_client_cert(leaf, rest, now);
        judged.map(drop).map_err(|error| reasons::of_tls(&error))
    }

    /// Everything it relies on that has a last day: the server's certificate first, then the authorities,
    /// then their revocation lists.
    #[must_use]
    pub fn endings(&self) -> &[Ending] {
        &self.endings
    }

    /// What comes before TLS, and TLS.
    async fn accept<S>(&self, mut stream: S) -> Result<Box<TlsStream<S>>, (Refused, Option<S>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let began = match self.preamble.answer(&mut stream).await {
            Ok(began) => began,
            Err(refused) => return Err((refused, Some(stream))),
        };
        let Began { ahead, must_name_protocol } = began;
        let feed = |tls: &mut ServerConnection| {
            // Nothing to read would mean the end to it. The few bytes there are fit in any case.
            if !ahead.is_empty() {
                drop(tls.read_tls(&mut ahead.as_slice()));
            }
        };
        let accepted = self.acceptor.0.accept_with(stream, feed).into_fallible().await;
        let stream = accepted.map_err(|(error, stream)| (reasons::of(&error), Some(stream)))?;
        if must_name_protocol && stream.get_ref().1.alpn_protocol().is_none() {
            let what = "TLS at once takes a client that names its protocol";
            return Err((Refusal::HandshakeNoProtocol.because(what), Some(stream.into_inner().0)));
        }
        Ok(Box::new(stream))
    }

    /// The same room for a service whose visitors begin like this.
    #[must_use]
    pub fn greeting(&self, greeting: &Greeting) -> Self {
        let mut room = self.clone();
        room.preamble = greeting.preamble;
        if !greeting.alpn.is_empty() {
            let mut config = ServerConfig::clone(self.acceptor.0.config());
            config.alpn_protocols = greeting.alpn.iter().map(|name| name.clone().into()).collect();
            room.acceptor = Acceptor::new(config);
        }
        room
    }

    fn too_slow(&self) -> Refused {
        Refusal::HandshakeTimeout.because(format!("not finished after {:?}", self.deadline))
    }
}

impl<S> TurnedAway<S> {
    /// Somebody who is not there any more, or is owed no goodbye.
    fn gone(refused: Refused, presented: Option<Presented>) -> Self {
        Self { refused, presented: presented.map(Box::new), parting: None }
    }

    /// The reason.
    #[must_use]
    pub fn refused(&self) -> &Refused {
        &self.refused
    }

    /// The certificate that was shown, whether or not it was believed.
    #[must_use]
    pub fn presented(&self) -> Option<&Presented> {
        self.presented.as_deref()
    }
}

impl<S> Authenticated<S> {
    /// Where the visitor comes from.
    #[must_use]
    pub fn peer(&self) -> PeerAddr {
        self.peer
    }

    /// The certificate it proved to hold.
    #[must_use]
    pub fn presented(&self) -> &Presented {
        &self.presented
    }

    pub(crate) fn into_parts(self) -> (Box<TlsStream<S>>, PeerAddr, StrangerSeat, Presented) {
        (self.stream, self.peer, self.seat, self.presented)
    }
}

/// The TLS state shared by all handshakes; it prints nothing of itself.
#[derive(Clone)]
struct Acceptor(TlsAcceptor);

impl Acceptor {
    fn new(config: ServerConfig) -> Self {
        Self(TlsAcceptor::from(Arc::new(config)))
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

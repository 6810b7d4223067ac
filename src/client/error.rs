//! Why a client got no reply: what happened, which room said no as far as a client can know, what to do.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::AlertDescription;

use super::alert;
use crate::handshake::Pin;
use crate::peer::PeerText;
use crate::problem::Problem;
use crate::refusal::{Refused, Room};

/// Why a client got no reply. The list is closed; each code is a contract.
///
/// Shown as two lines: code and sentence, then the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// `client.no-such-host`: the name has no address.
    NoSuchHost {
        /// The name.
        host: String,
    },
    /// `client.refused`: nobody listens there.
    Refused {
        /// The address that was dialled.
        at: SocketAddr,
    },
    /// `client.timeout`: a step took longer than its deadline.
    Timeout {
        /// The address or the name that was dialled.
        at: String,
        /// Which step.
        step: Step,
        /// Its deadline.
        limit: Duration,
    },
    /// `client.unreachable`: no way leads there.
    Unreachable {
        /// The address that was dialled.
        at: SocketAddr,
        /// What the system says.
        kind: io::ErrorKind,
    },
    /// `client.reset`: the connection broke, without a word in TLS.
    Reset {
        /// The address that was dialled.
        at: SocketAddr,
        /// How far it had come.
        moment: Moment,
    },
    /// `client.not-tls`: what the server says is not TLS, or makes no sense in it.
    NotTls {
        /// What was wrong with it.
        why: PeerText,
    },
    /// `client.unknown-authority`: the trust file does not vouch for the server.
    UnknownAuthority(Vouching),
    /// `client.wrong-name`: the server's certificate is for another name.
    WrongName {
        /// The name it should hold.
        wanted: String,
        /// The first few that it holds.
        holds: Vec<PeerText>,
    },
    /// `client.wrong-pin`: the server is vouched for, but has none of the pinned keys.
    WrongPin {
        /// The pin of the key that it has.
        shown: Pin,
    },
    /// `client.server-expired`: the server's certificate is not valid today.
    ServerExpired {
        /// Since or until when.
        why: String,
    },
    /// `client.bad-server`: something else is wrong with the server's certificate.
    BadServer {
        /// What it is.
        why: PeerText,
    },
    /// `client.version`: the two sides share no TLS version.
    Version {
        /// Who noticed, and how.
        why: String,
    },
    /// `client.turned-away`: the server ended the session instead of replying.
    TurnedAway(Away),
    /// `client.reply-timeout`: no whole reply came in time.
    ReplyTimeout {
        /// The deadline.
        limit: Duration,
    },
    /// `client.frame`: a message is not well formed.
    Frame {
        /// Whose message.
        side: Side,
        /// What is wrong with it.
        refused: Refused,
    },
    /// `client.files`: the trust file, certificate or key cannot be used.
    Files(Problem),
}

/// What has a deadline of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Finding the addresses of a name.
    LookUp,
    /// Connecting to one of them.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Sending a message.
    Send,
}

/// How far a connection had come when it broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// TLS was not done.
    BeforeTls,
    /// TLS was done, and the server broke off without ending it.
    InSession,
}

/// Why the trust file does not vouch for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vouching {
    /// No authority in it has the issuer's name.
    Nobody,
    /// One has the issuer's name but another key, as after the authority was made anew.
    Namesake,
}

/// How a server turns a client away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// With an alert.
    Alert(AlertDescription),
    /// By ending the session before any reply.
    Unheard,
    /// By ending the session after earlier replies.
    Ended,
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The client's own.
    Message,
    /// The server's.
    Reply,
}

/// How near to a reply a try came, so that of several addresses the most telling one is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nearness {
    Nowhere,
    Host,
    Server,
}

impl ClientError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ClientError::NoSuchHost { .. } => "client.no-such-host",
            ClientError::Refused { .. } => "client.refused",
            ClientError::Timeout { .. } => "client.timeout",
            ClientError::Unreachable { .. } => "client.unreachable",
            ClientError::Reset { .. } => "client.reset",
            ClientError::NotTls { .. } => "client.not-tls",
            ClientError::UnknownAuthority(_) => "client.unknown-authority",
            ClientError::WrongName { .. } => "client.wrong-name",
            ClientError::WrongPin { .. } => "client.wrong-pin",
            ClientError::ServerExpired { .. } => "client.server-expired",
            ClientError::BadServer { .. } => "client.bad-server",
            ClientError::Version { .. } => "client.version",
            ClientError::TurnedAway(_) => "client.turned-away",
            ClientError::ReplyTimeout { .. } => "client.reply-timeout",
            ClientError::Frame { .. } => "client.frame",
            ClientError::Files(_) => "client.files",
        }
    }

    /// The room of the server that said no, as far as a client can know; none where no room did, or
    /// where it might be any.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        match self {
            ClientError::TurnedAway(Away::Alert(alert)) => alert::room(*alert),
            ClientError::TurnedAway(Away::Unheard) => Some(Room::Identity),
            ClientError::Version { .. } => Some(Room::Handshake),
            ClientError::Reset { moment: Moment::BeforeTls, .. } => Some(Room::Address),
            ClientError::NoSuchHost { .. }
            | ClientError::Refused { .. }
            | ClientError::Timeout { .. }
            | ClientError::Unreachable { .. }
            | ClientError::Reset { moment: Moment::InSession, .. }
            | ClientError::NotTls { .. }
            | ClientError::UnknownAuthority(_)
            | ClientError::WrongName { .. }
            | ClientError::WrongPin { .. }
            | ClientError::ServerExpired { .. }
            | ClientError::BadServer { .. }
            | ClientError::TurnedAway(Away::Ended)
            | ClientError::ReplyTimeout { .. }
            | ClientError::Frame { .. }
            | ClientError::Files(_) => None,
        }
    }

    /// Whether the server could not be reached, so that another try may end better. A decision of
    /// either side would only be made again.
    #[must_use]
    pub fn is_worth_another_try(&self) -> bool {
        match self {
            ClientError::Refused { .. }
            | ClientError::Unreachable { .. }
            | ClientError::Timeout {
                step: Step::LookUp | Step::Connect | Step::Handshake, ..
            }
            | ClientError::Reset { moment: Moment::BeforeTls, .. } => true,
            ClientError::NoSuchHost { .. }
            | ClientError::Timeout { step: Step::Send, .. }
            | ClientError::Reset { moment: Moment::InSession, .. }
            | ClientError::NotTls { .. }
            | ClientError::UnknownAuthority(_)
            | ClientError::WrongName { .. }
            | ClientError::WrongPin { .. }
            | ClientError::ServerExpired { .. }
            | ClientError::BadServer { .. }
            | ClientError::Version { .. }
            | ClientError::TurnedAway(_)
            | ClientError::ReplyTimeout { .. }
            | ClientError::Frame { .. }
            | ClientError::Files(_) => false,
        }
    }

    /// What happened, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            ClientError::NoSuchHost { host } => format!("{host} has no address."),
            ClientError::Refused { at } => format!("Nobody listens at {at}."),
            ClientError::Timeout { at, step, limit } => step.sentence(at, *limit),
            ClientError::Unreachable { at, kind } => format!("No way leads to {at}: {kind}."),
            ClientError::Reset { at, moment: Moment::BeforeTls } => {
                format!("{at} broke the connection before TLS was done.")
            }
            ClientError::Reset { at, moment: Moment::InSession } => {
                format!("{at} broke the session off without ending it.")
            }
            ClientError::NotTls { why } => {
                format!("What the server says is not TLS that makes sense: {why}.")
            }
            ClientError::UnknownAuthority(Vouching::Nobody) => {
                "No authority in the trust file vouches for the server.".to_owned()
            }
            ClientError::UnknownAuthority(Vouching::Namesake) => {
                "An authority in the trust file has the issuer's name, but another key vouched for \
                 the server."
                    .to_owned()
            }
            ClientError::WrongName { wanted, holds } => wrong_name(wanted, holds),
            ClientError::WrongPin { shown } => {
                format!("The server's key is none of the pinned ones, but {shown}.")
            }
            ClientError::ServerExpired { why } => format!("The server's certificate {why}."),
            ClientError::BadServer { why } => {
                format!("The server's certificate cannot be accepted: {why}.")
            }
            ClientError::Version { why } => {
                format!("Client and server share no TLS version: {why}.")
            }
            ClientError::TurnedAway(away) => away.sentence(),
            ClientError::ReplyTimeout { limit } => {
                format!("No whole reply came within {limit:?}.")
            }
            ClientError::Frame { side: Side::Message, refused } => {
                format!("The message cannot be sent in this kind of frame: {refused}.")
            }
            ClientError::Frame { side: Side::Reply, refused } => {
                format!("The reply is not well formed: {refused}.")
            }
            ClientError::Files(problem) => format!("{} {}.", problem.fault(), problem.message()),
        }
    }

    /// What to do about it, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            ClientError::NoSuchHost { .. } => {
                "Check the spelling, and whether this machine can look names up."
            }
            ClientError::Refused { .. } => "Start the server, and check the address and the port.",
            ClientError::Timeout { step, .. } => step.remedy(),
            ClientError::Unreachable { .. } => "Check the address, and this machine's network.",
            ClientError::Reset { moment: Moment::BeforeTls, .. } => {
                "Most likely the address room does not list where you come from, or the accept room \
                 is full: the server's log has the code."
            }
            ClientError::Reset { moment: Moment::InSession, .. } => {
                "See whether the server was stopped; the last replies may be missing."
            }
            ClientError::NotTls { .. } => "Check the port: another service may listen there.",
            ClientError::UnknownAuthority(Vouching::Nobody) => {
                "Get the trust file of the authority that made the server's certificate; do not go on \
                 without it."
            }
            ClientError::UnknownAuthority(Vouching::Namesake) => {
                "Get the trust file anew if the authority was made anew; otherwise somebody \
                 impersonates it."
            }
            ClientError::WrongName { .. } => {
                "Dial a name that the certificate holds, or say with --server-name which of them you \
                 expect."
            }
            ClientError::WrongPin { .. } => {
                "Pin that key too if the server's operator says that it is theirs; otherwise do not go on."
            }
            ClientError::ServerExpired { .. } => {
                "Let the server's operator renew it, and check this machine's clock."
            }
            ClientError::BadServer { .. } => "Let the server's operator make a new certificate.",
            ClientError::Version { .. } => {
                "Update the older side: this one speaks TLS 1.3 and TLS 1.2."
            }
            ClientError::TurnedAway(away) => away.remedy(),
            ClientError::ReplyTimeout { .. } => {
                "See what the service is doing; raise --timeout if it may take longer, and check that \
                 --frame is the kind it speaks."
            }
            ClientError::Frame { side: Side::Message, .. } => {
                "Send it in another kind of frame, or in parts."
            }
            ClientError::Frame { side: Side::Reply, .. } => {
                "Check that --frame is the kind the service speaks."
            }
            ClientError::Files(problem) => return Cow::Owned(problem.remedy().to_owned()),
        })
    }

    pub(super) fn nearness(&self) -> Nearness {
        if matches!(self, ClientError::Refused { .. }) {
            return Nearness::Host;
        }
        let heard_of = matches!(
            self,
            ClientError::Reset { .. } | ClientError::Timeout { step: Step::Handshake, .. }
        );
        if heard_of { Nearness::Server } else { Nearness::Nowhere }
    }
}

impl Step {
    fn sentence(self, at: &str, limit: Duration) -> String {
        match self {
            Step::LookUp => format!("The name of {at} was not looked up within {limit:?}."),
            Step::Connect => format!("{at} did not answer within {limit:?}."),
            Step::Handshake => format!("{at} did not finish the handshake within {limit:?}."),
            Step::Send => format!("{at} did not take the message within {limit:?}."),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Step::LookUp => "Check whether this machine can look names up.",
            Step::Connect => {
                "Check the address; a firewall in front of the server may drop what it does not list."
            }
            Step::Handshake => {
                "Check that the port speaks TLS: what waits for the client to speak plainly stays \
                 silent."
            }
            Step::Send => {
                "See why the service does not read; it may be waiting for its replies to be read."
            }
        }
    }
}

impl Away {
    fn sentence(self) -> String {
        match self {
            Away::Alert(alert) => {
                format!(
                    "The server turned the client away with {}: {}.",
                    alert::word(alert),
                    alert::meaning(alert)
                )
            }
            Away::Unheard => {
                "The server ended the session without a reply, although the handshake was good."
                    .to_owned()
            }
            Away::Ended => "The server ended the session without a further reply.".to_owned(),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Away::Alert(alert) => alert::remedy(alert),
            Away::Unheard => {
                "Most likely the identity room: the certificate is valid, but its name is not \
                 permitted for this service or from here; or the message was refused. The server's \
                 log has the code."
            }
            Away::Ended => {
                "A message was refused, or the service was done: the last reply or the server's log \
                 says which."
            }
        }
    }
}

fn wrong_name(wanted: &str, holds: &[PeerText]) -> String {
    let names: Vec<_> = holds.iter().map(PeerText::as_str).collect();
    match names.as_slice() {
        [] => format!("The server's certificate is not for {wanted}."),
        names => {
            format!("The server's certificate is not for {wanted} but for {}.", names.join(", "))
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}\n    {}", self.code(), self.sentence(), self.remedy())
    }
}

impl std::error::Error for ClientError {}

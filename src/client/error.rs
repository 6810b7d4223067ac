//! Why a client got no answer: which room turned it away, as far as a client can know, and what to do.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::peer::PeerText;

macro_rules! troubles {
    ($($variant:ident, $code:literal, $sentence:literal, $remedy:literal;)+) => {
        /// Why a client got no answer. The list is closed; each code is a contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Trouble {
            $(#[doc = concat!("`", $code, "`: ", $sentence)] $variant,)+
        }

        impl Trouble {
            /// Every trouble there is.
            pub const ALL: &'static [Trouble] = &[$(Trouble::$variant,)+];

            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Trouble::$variant => $code,)+ }
            }

            /// What happened, in one sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Trouble::$variant => $sentence,)+ }
            }

            /// What to do, in one sentence.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Trouble::$variant => $remedy,)+ }
            }
        }
    };
}

troubles! {
    NoSuchHost, "client.no-such-host", "The host name has no address.",
        "Check the name, and whether this machine can look names up.";
    Refused, "client.refused", "Nobody listens there.",
        "Start the server, and check address and port.";
    Timeout, "client.timeout", "Nobody answered the connection.",
        "Check the address; a firewall or the address room may drop what it does not list.";
    Unreachable, "client.unreachable", "There is no way to that address.",
        "Check the network, and that the address is right.";
    Reset, "client.reset", "The connection was cut before TLS was done.",
        "The address room turned the visitor away, or the server is full: the server's log has the code.";
    HandshakeTimeout, "client.handshake-timeout", "The server did not finish the handshake in time.",
        "See whether the port speaks TLS, and whether the server is overloaded.";
    NotTls, "client.not-tls", "The other side does not speak TLS.",
        "Check the port: it belongs to another service.";
    Version, "client.version", "Client and server share no TLS version or algorithm.",
        "Update the older of the two.";
    UnknownAuthority, "client.unknown-authority", "Nobody in the trust file vouches for the server.",
        "Use the trust.pem of the authority that made the server's certificate; otherwise do not go on.";
    WrongName, "client.wrong-name", "The server's certificate is for another name.",
        "Dial a name it holds, or give it with --server-name if you know that it is the right server.";
    ServerExpired, "client.server-expired", "The server's certificate is not valid today.",
        "Let the server's operator renew it, and compare the clocks.";
    BadServer, "client.bad-server", "The server's certificate cannot be accepted.",
        "Let the server's operator inspect it and issue it again.";
    CertificateRequired, "client.certificate-required", "The handshake room wants a certificate.",
        "Give one with --certificate and --key, or --as NAME.";
    CertificateExpired, "client.certificate-expired", "The handshake room found the client's certificate expired, or its revocation list.",
        "Renew the certificate; if it is still valid, the server's operator has to publish a fresh list.";
    CertificateRevoked, "client.certificate-revoked", "The handshake room found the client's certificate revoked.",
        "Ask the authority for a new one.";
    NotVouchedFor, "client.not-vouched-for", "The handshake room trusts no authority of the client's certificate.",
        "Use a certificate of an authority that the server names in clients.";
    CertificateRejected, "client.certificate-rejected", "The handshake room did not accept the client's certificate.",
        "The server's log has the code; most often the certificate is not one for clients.";
    TurnedAway, "client.turned-away", "The server ended the connection without an answer.",
        "The certificate is valid, so most likely the identity room does not permit its name from here, or a message was refused: the server's log has the code.";
    ReplyTimeout, "client.reply-timeout", "No reply came in time.",
        "Raise --timeout, or see what the service behind the door does.";
    BadReply, "client.bad-reply", "The reply is not a well-formed message.",
        "Check --frame: the service may use another kind.";
    BadMessage, "client.bad-message", "The message cannot be sent as one of that kind.",
        "A line holds no line feed, and a length has room for so many bytes only.";
}

impl Trouble {
    /// This trouble, with the server at `address`.
    pub(super) fn at(self, address: &str) -> ClientError {
        ClientError { trouble: self, address: address.to_owned(), detail: None }
    }
}

/// A trouble, and with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    trouble: Trouble,
    address: String,
    detail: Option<PeerText>,
}

impl ClientError {
    /// What it is.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        self.trouble
    }

    /// Whether somebody decided, so that another try would end the same.
    #[must_use]
    pub fn is_decision(&self) -> bool {
        match self.trouble {
            Trouble::NoSuchHost
            | Trouble::Refused
            | Trouble::Timeout
            | Trouble::Unreachable
            | Trouble::Reset
            | Trouble::HandshakeTimeout => false,
            Trouble::NotTls
            | Trouble::Version
            | Trouble::UnknownAuthority
            | Trouble::WrongName
            | Trouble::ServerExpired
            | Trouble::BadServer
            | Trouble::CertificateRequired
            | Trouble::CertificateExpired
            | Trouble::CertificateRevoked
            | Trouble::NotVouchedFor
            | Trouble::CertificateRejected
            | Trouble::TurnedAway
            | Trouble::ReplyTimeout
            | Trouble::BadReply
            | Trouble::BadMessage => true,
        }
    }

    pub(super) fn saying(mut self, detail: &str) -> Self {
        self.detail = Some(PeerText::from(detail));
        self
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trouble = self.trouble;
        write!(f, "{} {} ({}", trouble.code(), trouble.sentence(), self.address)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        write!(f, ")\n    {}", trouble.remedy())
    }
}

impl std::error::Error for ClientError {}

/// What a failed connect(2) means.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is the system's, and open-ended; what is left is a network that does not carry"
)]
pub(super) fn of_connect(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Trouble::Refused,
        io::ErrorKind::TimedOut => Trouble::Timeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Trouble::Reset,
        _ => Trouble::Unreachable,
    }
}

/// What a failed handshake means.
pub(crate) fn of_handshake(error: &io::Error) -> Trouble {
    match tls(error) {
        Some(error) => of_tls(error),
        None => Trouble::Reset,
    }
}

/// What the end of an established connection means, where an answer was due.
pub(super) fn of_read(error: &io::Error) -> Trouble {
    match tls(error) {
        Some(error) => of_tls(error),
        None => Trouble::TurnedAway,
    }
}

fn tls(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; what is left is an end without a reason that a client can know"
)]
fn of_tls(error: &Error) -> Trouble {
    match error {
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => Trouble::NotTls,
        Error::PeerIncompatible(_) => Trouble::Version,
        _ => Trouble::TurnedAway,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; other alerts name no certificate"
)]
fn of_alert(alert: AlertDescription) -> Trouble {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired => Trouble::CertificateRequired,
        A::CertificateExpired => Trouble::CertificateExpired,
        A::CertificateRevoked => Trouble::CertificateRevoked,
        A::UnknownCA => Trouble::NotVouchedFor,
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateUnknown
        | A::DecryptError
        | A::DecodeError
        | A::AccessDenied => Trouble::CertificateRejected,
        A::ProtocolVersion | A::HandshakeFailure | A::InsufficientSecurity => Trouble::Version,
        _ => Trouble::TurnedAway,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; what is left is a certificate we do not accept"
)]
fn of_certificate(error: &CertificateError) -> Trouble {
    use CertificateError as E;
    match error {
        E::UnknownIssuer | E::BadSignature => Trouble::UnknownAuthority,
        E::NotValidForName | E::NotValidForNameContext { .. } => Trouble::WrongName,
        E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => {
            Trouble::ServerExpired
        }
        _ => Trouble::BadServer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_trouble_has_a_code_of_its_own_and_a_remedy() {
        let codes: BTreeSet<_> = Trouble::ALL.iter().map(|trouble| trouble.code()).collect();
        assert_eq!(codes.len(), Trouble::ALL.len());
        for trouble in Trouble::ALL {
            assert!(trouble.code().starts_with("client."));
            assert!(trouble.sentence().ends_with('.') && trouble.remedy().ends_with('.'));
        }
    }
}

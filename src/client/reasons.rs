//! What the system and rustls say of a failed connection, in a client's words.

use std::io;
use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

use super::error::{Away, ClientError, Moment, Vouching};
use super::pin::WrongPin;
use crate::handshake::date;
use crate::peer::PeerText;

/// Why connect(2) failed.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; whatever else hinders a connection, the address is not reached"
)]
pub(super) fn of_connect(error: &io::Error, at: SocketAddr) -> ClientError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ClientError::Refused { at },
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            ClientError::Reset { at, moment: Moment::BeforeTls }
        }
        kind => ClientError::Unreachable { at, kind },
    }
}

/// Why the handshake failed.
pub(super) fn of_handshake(error: &io::Error, at: SocketAddr) -> ClientError {
    of_session(error).unwrap_or(ClientError::Reset { at, moment: Moment::BeforeTls })
}

/// What TLS says of a broken connection; none where it is not TLS that broke it.
pub(crate) fn of_session(error: &io::Error) -> Option<ClientError> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(of_tls(error))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; what is new there is something that TLS does not say"
)]
fn of_tls(error: &Error) -> ClientError {
    match error {
        Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            ClientError::Version { why: "the server says protocol_version".to_owned() }
        }
        Error::AlertReceived(alert) => ClientError::TurnedAway(Away::Alert(*alert)),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => {
            ClientError::BadServer { why: PeerText::from("there is none") }
        }
        Error::PeerIncompatible(reason) => of_incompatible(reason),
        other => ClientError::NotTls { why: PeerText::from(other.to_string().as_str()) },
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; all but the versions are things a server of today has"
)]
fn of_incompatible(reason: &PeerIncompatible) -> ClientError {
    match reason {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            ClientError::Version { why: format!("{reason:?}") }
        }
        other => ClientError::NotTls { why: PeerText::from(format!("{other:?}").as_str()) },
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; what is new there is a certificate we do not accept"
)]
fn of_certificate(error: &CertificateError) -> ClientError {
    use CertificateError as E;
    let expired = |why: String| ClientError::ServerExpired { why };
    match error {
        E::UnknownIssuer => ClientError::UnknownAuthority(Vouching::Nobody),
        // The trust file holds an authority of the issuer's name, and its key did not sign this.
        E::BadSignature => ClientError::UnknownAuthority(Vouching::Namesake),
        E::NotValidForName => {
            ClientError::WrongName { wanted: "the server's name".to_owned(), holds: Vec::new() }
        }
        E::NotValidForNameContext { expected, presented } => ClientError::WrongName {
            wanted: spelled(expected),
            holds: presented.iter().take(SHOWN_NAMES).map(|name| plain(name)).collect(),
        },
        E::Expired => expired("expired".to_owned()),
        E::ExpiredContext { not_after, .. } => {
            expired(format!("expired on {}", date(not_after.as_secs())))
        }
        E::NotValidYet => expired("is not valid yet".to_owned()),
        E::NotValidYetContext { not_before, .. } => {
            expired(format!("is not valid before {}", date(not_before.as_secs())))
        }
        E::Other(OtherError(why)) => match why.downcast_ref::<WrongPin>() {
            Some(wrong) => ClientError::WrongPin { shown: wrong.shown },
            None => ClientError::BadServer { why: PeerText::from(why.to_string().as_str()) },
        },
        other => ClientError::BadServer { why: PeerText::from(other.to_string().as_str()) },
    }
}

fn spelled(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

/// rustls spells a name from a certificate as its own enum does: `DnsName("db.internal")`.
fn plain(presented: &str) -> PeerText {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    PeerText::from(inner.unwrap_or(presented).trim_matches('"'))
}

/// Enough to recognise the server by.
const SHOWN_NAMES: usize = 8;

//! Which certificates of a store somebody means.

use std::fmt;

use crate::peer::PeerText;
use crate::pki::inventory::{Entry, Issued};
use crate::pki::name::{ClientName, HostName};
use crate::pki::profile::{Role, Serial};
use crate::problem::{Fault, Problem};

/// Which certificates to revoke or renew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every certificate of a client that still counts.
    Client(ClientName),
    /// Every certificate of a server that still counts; the name is the first one it holds.
    Server(HostName),
    /// The certificate with this serial number.
    Serial(Serial),
}

impl Target {
    /// What an operator means by a word: a client, the first name of a server, or a serial number; with
    /// `client/` or `server/` before it where it could be either.
    ///
    /// # Errors
    /// [`Fault::CertsUnknown`] if nothing of `issued` is meant, [`Fault::CertsBadName`] if the word is ambiguous.
    pub fn find(word: &str, issued: &[Entry]) -> Result<Self, Problem> {
        let client = |name: &str| name.parse().ok().map(Self::Client);
        let server = |name: &str| name.parse().ok().map(Self::Server);
        let readings = match word.split_once('/') {
            Some(("client", name)) => [client(name), None, None],
            Some(("server", name)) => [server(name), None, None],
            Some(_) | None => [client(word), server(word), word.parse().ok().map(Self::Serial)],
        };
        let known = |target: &Self| issued.iter().any(|entry| target.means(&entry.issued));
        let mut meant = readings.into_iter().flatten().filter(known);
        match (meant.next(), meant.next()) {
            (Some(target), None) => Ok(target),
            (Some(first), Some(second)) => {
                let message = format!("{} is {first} and {second}", PeerText::from(word));
                let remedy =
                    "write client/NAME, server/HOST, or the serial number of the one you mean";
                Err(Problem::error(Fault::CertsBadName, message, remedy))
            }
            (None, _) => Err(unknown(&format!("\"{}\"", PeerText::from(word)))),
        }
    }

    /// Whether this certificate is meant. An authority never is: its own list cannot revoke it.
    #[must_use]
    pub fn means(&self, issued: &Issued) -> bool {
        let first = issued.names.first();
        match self {
            Self::Client(name) => {
                issued.role == Role::Client && first == Some(&format!("dns:{}", name.dns()))
            }
            Self::Server(host) => issued.role == Role::Server && first == Some(&host.typed()),
            Self::Serial(serial) => issued.role != Role::Authority && issued.serial == *serial,
        }
    }
}

/// The store has issued nothing of the kind.
pub(crate) fn unknown(what: &str) -> Problem {
    let message = format!("the store has issued no certificate for {what}");
    let remedy = "look up the name or serial number: doorward certs list";
    Problem::error(Fault::CertsUnknown, message, remedy)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(name) => write!(f, "the client {name}"),
            Self::Server(host) => write!(f, "the server {host}"),
            Self::Serial(serial) => write!(f, "the serial number {serial}"),
        }
    }
}

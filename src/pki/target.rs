//! Which certificates of a store somebody means.

use std::fmt;

use crate::pki::inventory::Issued;
use crate::pki::name::ClientName;
use crate::pki::profile::{Role, Serial};

/// Which certificates to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every certificate of a client that still counts.
    Client(ClientName),
    /// The certificate with this serial number.
    Serial(Serial),
}

impl Target {
    /// The authority itself is never meant: its own list cannot revoke it.
    pub(crate) fn means(&self, issued: &Issued) -> bool {
        match self {
            Self::Client(name) => {
                issued.role == Role::Client
                    && issued.names.first() == Some(&format!("dns:{}", name.dns()))
            }
            Self::Serial(serial) => issued.role != Role::Authority && issued.serial == *serial,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(name) => write!(f, "the client {name}"),
            Self::Serial(serial) => write!(f, "the serial number {serial}"),
        }
    }
}

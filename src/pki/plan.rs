//! What a new store holds from the start.

use crate::pki::authority::AuthorityOptions;
use crate::pki::name::{ClientIdentity, HostName, Subtree};
use crate::pki::passphrase::Passphrase;
use crate::pki::profile::Options;
use crate::problem::Problem;

/// What a new store holds from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How the authority is made.
    pub authority: AuthorityOptions,
    /// What becomes of its key.
    pub authority_key: AuthorityKey,
    /// How servers and clients are made.
    pub leaf: Options,
    /// The names of each server.
    pub servers: Vec<Vec<HostName>>,
    /// The clients.
    pub clients: Vec<ClientIdentity>,
}

impl Plan {
    /// One server with these names, and these clients, all with defaults.
    ///
    /// The authority may vouch for names of development, for these names, and for what is below them.
    #[must_use]
    pub fn new(server: Vec<HostName>, clients: Vec<ClientIdentity>) -> Self {
        let mut authority = AuthorityOptions::default();
        let more: Vec<_> = server
            .iter()
            .filter(|host| !authority.constraints.permit(host))
            .map(Subtree::from)
            .collect();
        authority.constraints = authority.constraints.permitting(more);
        Self {
            authority,
            authority_key: AuthorityKey::Kept,
            leaf: Options::default(),
            servers: vec![server],
            clients,
        }
    }

    /// A server for this machine and a client `alice`.
    pub(crate) fn development() -> Result<Self, Problem> {
        Ok(Self::new(HostName::loopback().to_vec(), vec!["alice".parse()?]))
    }
}

/// What becomes of the key of a new authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityKey {
    /// It is written for its owner alone, so that more can be issued and revoked.
    Kept,
    /// It is written encrypted with this passphrase, which everything that signs needs from then on.
    Encrypted(Passphrase),
    /// It is never written. Nothing more can be issued, renewed or revoked, by anybody; the revocation list
    /// counts as long as the authority does.
    Discarded,
}

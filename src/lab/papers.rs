//! Certificates for a scene, minted when it is set, each with no defect or with exactly one.

use std::sync::Arc;

use doorward::handshake::provider;
use doorward::pki::{Authority, AuthorityOptions, Constraints, Credential, Depth, Draft, RawName};
use doorward::problem::Problem;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::stage::Stop;

/// A certificate with its key, as it is shown in a handshake.
pub(crate) type Shown = Arc<CertifiedKey>;

/// An authority that vouches for any name, and what it signs.
#[derive(Debug)]
pub(crate) struct Office {
    authority: Authority,
}

impl Office {
    /// A new one, with keys that nobody has seen.
    ///
    /// # Errors
    /// [`Stop::Machine`] where this machine's cryptography fails.
    pub(crate) fn new() -> Result<Self, Stop> {
        Self::with_depth(Depth::LeavesOnly)
    }

    /// The same, with room for an authority below it, or without.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn with_depth(depth: Depth) -> Result<Self, Stop> {
        let constraints = Constraints::unconstrained();
        let options = AuthorityOptions { constraints, depth, ..AuthorityOptions::default() };
        Ok(Self { authority: Authority::create(&options).map_err(failed)? })
    }

    /// One that exists: the learner's.
    pub(crate) fn of(authority: Authority) -> Self {
        Self { authority }
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What others trust, as PEM.
    pub(crate) fn trust_pem(&self) -> String {
        self.authority.trust_pem()
    }

    /// A server's certificate for exactly this name.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub(crate) fn server(&self, name: &str) -> Result<Credential, Stop> {
        self.sign(&server_draft(name)?)
    }

    /// A client's certificate for exactly this name.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub(crate) fn client(&self, name: &str) -> Result<Credential, Stop> {
        self.sign(&client_draft(name)?)
    }

    /// What is drafted, signed.
    ///
    /// # Errors
    /// [`Stop::Machine`] where signing fails.
    pub(crate) fn sign(&self, draft: &Draft) -> Result<Credential, Stop> {
        self.authority.sign(draft).map_err(failed)
    }
}

/// The draft of a server's certificate as it should be, for this name.
///
/// # Errors
/// [`Stop::Machine`], which would be a mistake of this program.
pub(crate) fn server_draft(name: &str) -> Result<Draft, Stop> {
    server_draft_with(&[RawName::Dns(name.as_bytes().to_vec())], name)
}

/// The draft of a server's certificate with these names and this common name.
///
/// # Errors
/// [`Stop::Machine`], which would be a mistake of this program.
pub(crate) fn server_draft_with(names: &[RawName], common_name: &str) -> Result<Draft, Stop> {
    let host = "localhost".parse().map_err(failed)?;
    let draft = Draft::server(&[host]).map_err(failed)?;
    Ok(draft.names(names).common_name(common_name.as_bytes()))
}

/// The same of a client's.
///
/// # Errors
/// [`Stop::Machine`], which would be a mistake of this program.
pub(crate) fn client_draft(name: &str) -> Result<Draft, Stop> {
    let identity = "lab".parse().map_err(failed)?;
    let draft = Draft::client(&identity).map_err(failed)?;
    Ok(draft.names(&[RawName::Dns(name.as_bytes().to_vec())]).common_name(name.as_bytes()))
}

/// A draft that ended yesterday.
pub(crate) fn expired(draft: Draft) -> Draft {
    draft.valid(days_from_now(-40), days_from_now(-1))
}

/// A draft that begins tomorrow.
pub(crate) fn not_yet_valid(draft: Draft) -> Draft {
    draft.valid(days_from_now(1), days_from_now(40))
}

/// The same time of day, so many days from today.
pub(crate) fn days_from_now(days: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc().saturating_add(time::Duration::days(days))
}

/// As it is shown in a handshake.
///
/// # Errors
/// [`Stop::Machine`] where the key cannot be used.
pub(crate) fn shown(credential: &Credential) -> Result<Shown, Stop> {
    let key = provider().key_provider.load_private_key(credential.key()).map_err(Stop::machine)?;
    Ok(Arc::new(CertifiedKey::new(credential.chain().to_vec(), key)))
}

/// What this program's own cryptography says when it fails.
#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
pub(crate) fn failed(problem: Problem) -> Stop {
    Stop::machine(problem.message())
}

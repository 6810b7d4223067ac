//! Keys and certificates: an authority for development and tests, and the files of every authority.
//!
//! [`Authority`] issues, [`Store`] keeps what was issued on disk, [`keyfile`] reads what others made.
//! Nothing here ever looks at a name in a common name to decide, and nothing here is on the path of a visitor.

pub mod anchor;
mod authority;
mod credential;
pub(crate) mod disk;
pub mod doctor;
mod document;
mod draft;
pub mod inspect;
mod inventory;
mod key;
pub mod keyfile;
mod layout;
mod limits;
pub mod lint;
mod name;
mod p12;
mod passphrase;
mod pbes2;
mod pem;
mod plan;
mod profile;
#[cfg(test)]
mod properties;
mod renew;
mod request;
mod reading;
mod revoke;
mod store;
mod target;
#[cfg(test)]
mod testing;
pub mod verdict;
pub mod zoo;

pub use authority::{Authority, AuthorityOptions, Depth};
pub use credential::{Credential, last_second};
pub use document::{Document, Item};
pub use draft::{Draft, RawName, Usage};
pub use inventory::{Entry, Issued, Revoked};
pub use key::{Key, KeyType};
pub use layout::Layout;
pub use name::{ClientIdentity, ClientName, Email, HostName, SpiffeId, Subtree};
pub use p12::Password;
pub use passphrase::Passphrase;
pub use plan::{AuthorityKey, Plan};
pub(crate) use profile::hex;
pub use profile::{Constraints, Options, Role, Serial};
pub use renew::{Filed, Renewed};
pub use request::{Request, Signed};
pub use revoke::{Reason, Revocation, RevocationList};
pub use store::{Development, Store, development};
pub use target::Target;

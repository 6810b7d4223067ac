//! What is known of the certificate of somebody who is not there.

use rustls::pki_types::CertificateDer;

use crate::handshake::{Name, Pin, Presented};
use crate::peer::PeerText;

/// The certificate that a visitor shows, as far as it is known.
#[derive(Clone, Debug)]
pub enum Shows {
    /// This chain, its own certificate first; empty where it shows none.
    Chain(Vec<CertificateDer<'static>>),
    /// What a record remembers of it. Whether anybody vouches for it cannot be asked.
    Remembered(Remembered),
    /// Nothing is known of it.
    Unknown,
}

/// What a record remembers of a certificate.
#[derive(Clone, Debug)]
pub struct Remembered(Presented);

impl Default for Shows {
    fn default() -> Self {
        Shows::Chain(Vec::new())
    }
}

impl Shows {
    /// What the identity gate looks at.
    pub(super) fn presented(&self) -> Option<Presented> {
        match self {
            Shows::Chain(chain) => Presented::read(chain.first()?).ok(),
            Shows::Remembered(remembered) => Some(remembered.0.clone()),
            Shows::Unknown => None,
        }
    }
}

impl Remembered {
    /// The certificate with these names, all of them, as the record shows them; with a name that is not what
    /// its type says, if it has one; and with this key.
    ///
    /// None where a name had to be escaped or cut to be shown: what it was is not known any more.
    #[must_use]
    pub fn new(names: &[String], unreadable: Option<&str>, pin: Pin) -> Option<Self> {
        let names = names.iter().map(|name| as_it_was(name)).collect::<Option<_>>()?;
        let unreadable = unreadable.map(PeerText::from);
        Some(Self(Presented::remembered(names, unreadable, pin)))
    }
}

fn as_it_was(shown: &str) -> Option<Name> {
    if shown.contains('\\') || shown.contains('…') {
        return None;
    }
    let (kind, name) = shown.split_once(':')?;
    let name = name.to_owned();
    match kind {
        "dns" => Some(Name::Dns(name)),
        "uri" => Some(Name::Uri(name)),
        "email" => Some(Name::Email(name)),
        "cn" => Some(Name::Common(name)),
        _ => None,
    }
}

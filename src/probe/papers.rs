//! The certificates of the attackers and of the honest client. What is minted stays in memory.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;

use crate::config::{Config, ServiceConfig};
use crate::handshake::{Name, Presented, provider};
use crate::identity::{IdentityRule, PermittedName};
use crate::peer::PeerAddr;
use crate::pki::keyfile::{read_chain, read_key};
use crate::pki::{Authority, Credential, Draft, RawName, Serial, Store};
use crate::problem::{Fault, Problem};

/// A chain and the key that signs for it, whether or not they belong together.
pub(super) type Shown = Arc<CertifiedKey>;

/// Everything that can be shown.
#[derive(Debug)]
pub(super) struct Papers {
    /// A certificate that the service permits.
    pub(super) honest: Shown,
    /// The address of this machine that it is permitted from.
    pub(super) home: IpAddr,
    /// The authority that the server trusts, with its key; in words, why it is not here.
    pub(super) authority: Result<Authority, String>,
    /// A certificate that is revoked, with its key.
    pub(super) revoked: Result<Shown, String>,
    /// The server's own certificate and key.
    pub(super) server: Result<Shown, String>,
    /// The certificate that the server must show: the one the configuration names.
    pub(super) expected: CertificateDer<'static>,
    /// A name that the service permits.
    pub(super) name: Name,
}

/// What the papers are read from.
pub(super) struct Sources<'a> {
    pub(super) directory: Option<&'a Path>,
    pub(super) client: Option<(&'a Path, &'a Path)>,
    /// Addresses of this machine that a visitor can come from.
    pub(super) addresses: &'a [IpAddr],
}

impl Papers {
    /// Reads what is there.
    ///
    /// # Errors
    /// [`Fault::ProbeNoClient`] where nothing is at hand that the service permits; a certificate of the server
    /// that cannot be read.
    pub(super) fn read(
        config: &Config,
        service: &ServiceConfig,
        sources: &Sources<'_>,
    ) -> Result<Self, Problem> {
        let settings = &config.handshake;
        let directory = match sources.directory {
            Some(directory) => directory.to_owned(),
            None => settings.clients.value.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let chain = read_chain(&settings.certificate.value)?;
        let expected = chain.first().cloned().ok_or_else(nobody)?;
        let server = pair(&settings.certificate.value, &settings.key.value);
        let store = Store::open(&directory);
        let ended = store.as_ref().map(revoked).unwrap_or_default();
        let authority = store.and_then(|store| store.authority());
        let authority = authority
            .map_err(|problem| format!("the authority's key is not here: {}", problem.message()));
        let clients = pairs_in(&directory.join("client"));
        let gates = Gates { service, addresses: sources.addresses };
        let (honest, home) = honest(sources, &clients, &ended, &gates, authority.as_ref().ok())?;
        let name = gates.name(&honest).ok_or_else(nobody)?;
        let revoked = clients.iter().find(|shown| is_among(shown, &ended)).cloned();
        let revoked = revoked.ok_or_else(|| NO_REVOKED.to_owned());
        let server = server.map_err(words);
        Ok(Self { honest, home, authority, revoked, server, expected, name })
    }

    /// The draft of a certificate with the permitted name.
    pub(super) fn draft(&self) -> Result<Draft, String> {
        let draft = blank()?;
        Ok(match raw(&self.name) {
            Some(name) => draft.names(&[name]),
            None => draft.names(&[]).common_name(text(&self.name).as_bytes()),
        })
    }

    /// A draft signed by the authority that the server trusts.
    pub(super) fn forge(&self, draft: &Draft) -> Result<Shown, String> {
        let authority = self.authority.as_ref().map_err(Clone::clone)?;
        shown(&authority.sign(draft).map_err(words)?)
    }
}

/// A client's draft, with a name that nobody is likely to have.
pub(super) fn blank() -> Result<Draft, String> {
    let name = "doorward-probe".parse().map_err(words)?;
    Draft::client(&name).map_err(words)
}

/// A credential as it is shown.
pub(super) fn shown(credential: &Credential) -> Result<Shown, String> {
    certified(credential.chain().to_vec(), credential.key())
}

/// The same key behind another chain.
pub(super) fn with_chain(shown: &Shown, chain: Vec<CertificateDer<'static>>) -> Shown {
    Arc::new(CertifiedKey::new(chain, Arc::clone(&shown.key)))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Shown, String> {
    let key = provider().key_provider.load_private_key(key);
    Ok(Arc::new(CertifiedKey::new(chain, key.map_err(|error| error.to_string())?)))
}

/// The text of a name, without its type.
pub(super) fn text(name: &Name) -> &str {
    match name {
        Name::Dns(text) | Name::Uri(text) | Name::Email(text) | Name::Common(text) => text,
    }
}

/// A name as an alternative name; a common name is none.
pub(super) fn raw(name: &Name) -> Option<RawName> {
    let bytes = text(name).as_bytes().to_vec();
    match name {
        Name::Dns(_) => Some(RawName::Dns(bytes)),
        Name::Uri(_) => Some(RawName::Uri(bytes)),
        Name::Email(_) => Some(RawName::Email(bytes)),
        Name::Common(_) => None,
    }
}

/// The gates of the service, on paper.
struct Gates<'a> {
    service: &'a ServiceConfig,
    addresses: &'a [IpAddr],
}

impl Gates<'_> {
    /// The address from which the whole hallway permits this certificate.
    fn home(&self, shown: &Shown) -> Option<IpAddr> {
        let presented = Presented::read(shown.cert.first()?).ok()?;
        if presented.expires().as_secs() < UnixTime::now().as_secs() {
            return None;
        }
        let welcome = |ip: &&IpAddr| {
            let peer = PeerAddr::new((**ip, 0).into());
            let service = self.service;
            !service.balancers.are_at(peer)
                && service.address.judge(peer).is_ok()
                && service.identity.judge(&presented, peer).is_ok()
        };
        self.addresses.iter().find(welcome).copied()
    }

    /// The name that permits it; one of its own, where its key does.
    fn name(&self, shown: &Shown) -> Option<Name> {
        let presented = Presented::read(shown.cert.first()?).ok()?;
        let rules = self.service.identity.rules().iter();
        let mut permitted = rules.flat_map(IdentityRule::names);
        let by_rule = permitted.find_map(|name| match &name.value {
            PermittedName::Name(name) if presented.names().contains(name) => Some(name.clone()),
            PermittedName::Name(_) | PermittedName::Pin(_) => None,
        });
        by_rule.or_else(|| presented.names().first().cloned())
    }
}

/// A client that the service permits: the one that is named, one of the store, or one that is minted.
fn honest(
    sources: &Sources<'_>,
    clients: &[Shown],
    ended: &[Serial],
    gates: &Gates<'_>,
    authority: Option<&Authority>,
) -> Result<(Shown, IpAddr), Problem> {
    let welcome = |shown: Shown| gates.home(&shown).map(|home| (shown, home));
    if let Some((chain, key)) = sources.client {
        return welcome(pair(chain, key)?).ok_or_else(nobody);
    }
    let valid = clients.iter().filter(|shown| !is_among(shown, ended));
    let found = valid.cloned().find_map(welcome);
    let minted = || gates.service.identity.rules().iter().find_map(|rule| minted(rule, authority?));
    found.or_else(|| minted().and_then(welcome)).ok_or_else(nobody)
}

fn minted(rule: &IdentityRule, authority: &Authority) -> Option<Shown> {
    let raw = rule.names().iter().find_map(|name| match &name.value {
        PermittedName::Name(name) => raw(name),
        PermittedName::Pin(_) => None,
    })?;
    shown(&authority.sign(&blank().ok()?.names(&[raw])).ok()?).ok()
}

/// Every client of a store whose files can be read.
fn pairs_in(directory: &Path) -> Vec<Shown> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut places: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    places.sort();
    let pairs = places.iter().take(MOST_CLIENTS);
    pairs.filter_map(|place| pair(&place.join("chain.pem"), &place.join("key.pem")).ok()).collect()
}

fn pair(chain: &Path, key: &Path) -> Result<Shown, Problem> {
    certified(read_chain(chain)?, read_key(key)?).map_err(|error| {
        let what = format!("{} cannot be used: {error}", key.display());
        Problem::error(Fault::ProbeNoClient, what, "name a key that signs in TLS")
    })
}

fn revoked(store: &Store) -> Vec<Serial> {
    let entries = store.list().unwrap_or_default().into_iter();
    entries.filter_map(|entry| entry.revoked.map(|revoked| revoked.serial)).collect()
}

fn is_among(shown: &Shown, serials: &[Serial]) -> bool {
    let serial = shown.cert.first().and_then(|leaf| Serial::of(leaf).ok());
    serial.is_some_and(|serial| serials.contains(&serial))
}

/// What a problem says, for the row of an attack.
#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
pub(super) fn words(problem: Problem) -> String {
    problem.message().to_owned()
}

fn nobody() -> Problem {
    Problem::error(
        Fault::ProbeNoClient,
        "no client certificate is at hand that the service permits from this machine",
        "name one with --cert and --key, or the store that has one with --dir",
    )
}

const NO_REVOKED: &str =
    "no revoked certificate is here: revoke a client of the store, and keep its files";
/// A class or a team; each is two small files.
const MOST_CLIENTS: usize = 256;

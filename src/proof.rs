//! Proves a store: real handshakes in memory, good and bad, through the server's own handshake room.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use time::OffsetDateTime;
use tokio_rustls::TlsConnector;

use crate::accept::{Accepted, Balancers, Budgets, Strangers};
use crate::address::{AddressGate, Effect, NetworkRule};
use crate::client;
use crate::handshake::{Handshake, HandshakeSettings, Hints, Presented, Versions, provider};
use crate::peer::PeerAddr;
use crate::pki::keyfile::{read_chain, read_key};
use crate::pki::{
    Authority, ClientIdentity, Credential, Draft, HostName, Layout, Options, Plan, Reason,
    Revocation, RevocationList, Serial,
};
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};
use crate::refusal::{Refusal, Refused};

/// One handshake: who came, what had to come of it, and what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Who came, and to whom.
    pub visitor: String,
    /// What has to come of it.
    pub expected: Verdict,
    /// What came of it.
    pub found: Verdict,
}

impl Trial {
    /// Whether it ended as it has to.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.expected == self.found
    }
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both sides believed each other.
    LetIn,
    /// The server's handshake room said no.
    Refused(Refusal),
    /// The client did not believe the server; the code it would tell.
    Declined(&'static str),
}

impl Verdict {
    /// `let-in`, or the stable code of the reason.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::LetIn => "let-in",
            Self::Refused(refusal) => refusal.code(),
            Self::Declined(code) => code,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Tries every server of a new store with every client of it, and with those who must not get in.
///
/// The server's side is [`Handshake::load`] on the files as they are; only the revocation list of one trial
/// is made in memory. Nothing is written and no socket is opened.
///
/// # Errors
/// The first problem with a file, or [`Fault::CertsCryptography`] where a bad certificate could not be made.
pub async fn prove(
    layout: &Layout,
    plan: &Plan,
    authority: &Authority,
) -> Result<Vec<Trial>, Problem> {
    let mut trials = Vec::new();
    for names in &plan.servers {
        let Some(first) = names.first() else { continue };
        let stage = Stage::open(layout, first, &plan.clients, authority)?;
        trials.extend(stage.trials(layout, &plan.clients, authority).await?);
    }
    Ok(trials)
}

/// A server ready for handshakes, and a second one that knows one client as revoked.
struct Stage {
    server: Handshake,
    revoking: Handshake,
    own: Shown,
    anchor: CertificateDer<'static>,
    host: String,
}

/// A chain and its key, as a visitor shows them.
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Stage {
    fn open(
        layout: &Layout,
        first: &HostName,
        clients: &[ClientIdentity],
        authority: &Authority,
    ) -> Result<Self, Problem> {
        let place = layout.server(first);
        let settings = settings(layout, &place);
        let now = UnixTime::now();
        let server = Handshake::load(&settings, now).map_err(first_error)?.handshake;
        let mut list = RevocationList::new(u64::MAX);
        if let Some(client) = clients.first() {
            let serial = Shown::read(&layout.client(client.name()))?.serial()?;
            list = list.revoking(Revocation::new(
                serial,
                Reason::KeyCompromise,
                OffsetDateTime::now_utc(),
            ));
        }
        let lists = vec![list.sign(authority)?];
        let revoking =
            Handshake::load_with_lists(&settings, lists, now).map_err(first_error)?.handshake;
        let anchor = read_chain(&layout.trust())?.into_iter().next().ok_or_else(no_anchor)?;
        // A star stands for one label, so that any label will do.
        let host = first.to_string().replace('*', "any");
        Ok(Self { server, revoking, own: Shown::read(&place)?, anchor, host })
    }

    async fn trials(
        &self,
        layout: &Layout,
        clients: &[ClientIdentity],
        authority: &Authority,
    ) -> Result<Vec<Trial>, Problem> {
        let host = self.host.as_str();
        let mut trials = Vec::new();
        for client in clients {
            let shown = Shown::read(&layout.client(client.name()))?;
            let found = meet(&self.server, &self.anchor, Some(&shown), host).await?;
            trials.push(trial(format!("{} to {host}", client.name()), Verdict::LetIn, found));
        }
        let mut refuse = |visitor: String, expected, found| {
            trials.push(trial(visitor, Verdict::Refused(expected), found));
        };
        let found = meet(&self.server, &self.anchor, None, host).await?;
        refuse("somebody without a certificate".to_owned(), NO_CERTIFICATE, found);
        let found = meet(&self.server, &self.anchor, Some(&self.own), host).await?;
        refuse(format!("{host}'s certificate as a client's"), Refusal::HandshakeWrongUsage, found);
        let Some(client) = clients.first() else { return Ok(trials) };
        let name = client.name();
        let other = Shown::from(Authority::ephemeral()?.client(client, Options::default())?);
        let found = meet(&self.server, &self.anchor, Some(&other), host).await?;
        refuse(format!("{name} of another authority"), UNKNOWN_AUTHORITY, found);
        let expired = Shown::from(authority.sign(&expired(client)?)?);
        let found = meet(&self.server, &self.anchor, Some(&expired), host).await?;
        refuse(format!("{name}, expired yesterday"), Refusal::HandshakeExpired, found);
        let shown = Shown::read(&layout.client(name))?;
        let found = meet(&self.revoking, &self.anchor, Some(&shown), host).await?;
        refuse(format!("{name}, revoked"), Refusal::HandshakeRevoked, found);
        let found = meet(&self.server, &self.anchor, Some(&shown), ELSEWHERE).await?;
        let declined = Verdict::Declined("client.wrong-name");
        trials.push(trial(format!("{name} to {ELSEWHERE}"), declined, found));
        Ok(trials)
    }
}

/// One handshake between the server and somebody who shows this, if anything, and asks for `host`.
pub(crate) async fn meet(
    server: &Handshake,
    anchor: &CertificateDer<'static>,
    shown: Option<&Shown>,
    host: &str,
) -> Result<Verdict, Problem> {
    let connector = TlsConnector::from(Arc::new(visitor(anchor, shown)?));
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| impossible(&format!("{host}: {error}")))?;
    let (near, far) = tokio::io::duplex(WIRE);
    // Alive until the handshake is over, because the seat belongs to it.
    let strangers = Strangers::new(ONE_EACH);
    let peer = PeerAddr::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let turned_away = |refused: Refused| impossible(&refused.to_string());
    let accepted = Accepted::new(far, peer, &strangers);
    let introduced = Balancers::default().introduce(accepted).await.map_err(turned_away)?;
    let admitted = everybody(peer).admit(introduced).map_err(turned_away)?;
    let (entered, performed) =
        tokio::join!(connector.connect(name, near), server.perform(admitted));
    Ok(match (entered, performed) {
        (Ok(_), Ok(_)) => Verdict::LetIn,
        (Err(error), Ok(_)) => Verdict::Declined(declined(&error)),
        (entered, Err(away)) => match (entered, away.refused().refusal()) {
            (Err(error), Refusal::HandshakeClientAlert) => Verdict::Declined(declined(&error)),
            (_, refusal) => Verdict::Refused(refusal),
        },
    })
}

fn visitor(
    anchor: &CertificateDer<'static>,
    shown: Option<&Shown>,
) -> Result<ClientConfig, Problem> {
    let mut roots = RootCertStore::empty();
    roots.add(anchor.clone()).map_err(|error| impossible(&error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| impossible(&error.to_string()))?
        .with_root_certificates(roots);
    let Some(shown) = shown else { return Ok(builder.with_no_client_auth()) };
    let key = provider()
        .key_provider
        .load_private_key(shown.key.clone_key())
        .map_err(|error| impossible(&error.to_string()))?;
    let certified = CertifiedKey::new(shown.chain.clone(), key);
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
}

impl Shown {
    pub(crate) fn read(place: &Path) -> Result<Self, Problem> {
        let chain = read_chain(&place.join("chain.pem"))?;
        let key = read_key(&place.join("key.pem"))?;
        Ok(Self { chain, key })
    }

    /// What the identity room would know of it.
    pub(crate) fn presented(&self) -> Result<Presented, Problem> {
        let leaf = self.chain.first().ok_or_else(no_anchor)?;
        Presented::read(leaf).map_err(|refused| impossible(&refused.to_string()))
    }

    fn serial(&self) -> Result<Serial, Problem> {
        self.chain.first().ok_or_else(no_anchor).and_then(Serial::of)
    }
}

impl From<Credential> for Shown {
    fn from(credential: Credential) -> Self {
        Self { chain: credential.chain().to_vec(), key: credential.key() }
    }
}

/// The code a client would tell its user.
fn declined(error: &std::io::Error) -> &'static str {
    client::of_session(error).map_or("client.reset", |error| error.code())
}

fn trial(visitor: String, expected: Verdict, found: Verdict) -> Trial {
    Trial { visitor, expected, found }
}

fn expired(client: &ClientIdentity) -> Result<Draft, Problem> {
    let ago = |days| OffsetDateTime::now_utc().saturating_sub(time::Duration::days(days));
    Ok(Draft::client(client)?.valid(ago(90), ago(1)))
}

fn settings(layout: &Layout, server: &Path) -> HandshakeSettings {
    let file = |path: PathBuf| {
        let place = Place::in_code(&path.display().to_string());
        Written::new(path, place)
    };
    HandshakeSettings {
        certificate: file(server.join("chain.pem")),
        key: file(server.join("key.pem")),
        clients: file(layout.trust()),
        crl: vec![file(layout.revocations())],
        versions: Versions::Tls12And13,
        deadline: DEADLINE,
        hints: Hints::Hidden,
    }
}

/// The address gate is not what is on trial here.
fn everybody(peer: PeerAddr) -> AddressGate {
    let place = Place::in_code("a handshake in memory");
    AddressGate::new(vec![NetworkRule {
        network: IpNet::from(peer.ip()),
        effect: Effect::Allow,
        place,
    }])
}

fn first_error(problems: Vec<Problem>) -> Problem {
    let refused = |problem: &Problem| problem.severity() == crate::problem::Severity::Error;
    problems.into_iter().find(refused).unwrap_or_else(|| impossible("the server has no reason"))
}

fn no_anchor() -> Problem {
    impossible("a file holds no certificate")
}

fn impossible(what: &str) -> Problem {
    let message = format!("the certificates could not be tried: {what}");
    Problem::error(Fault::CertsCryptography, message, "report this, it should not happen")
}

const NO_CERTIFICATE: Refusal = Refusal::HandshakeNoCertificate;
const UNKNOWN_AUTHORITY: Refusal = Refusal::HandshakeUnknownAuthority;
/// A name that nobody has (RFC 6761 section 6.4).
const ELSEWHERE: &str = "elsewhere.invalid";
/// More than either side says before it listens, with the largest certificates there are.
const WIRE: usize = 256 * 1024;
/// The longest handshake in memory takes milliseconds; a busy machine is slower.
const DEADLINE: Duration = Duration::from_secs(60);
const ONE_EACH: Budgets = Budgets {
    strangers: NonZeroUsize::MIN,
    per_source: NonZeroUsize::MIN,
    members: NonZeroUsize::MIN,
};

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::pki::{AuthorityKey, KeyType, Store};

    fn plan() -> Plan {
        let clients = vec!["alice".parse().unwrap(), "bob".parse().unwrap()];
        Plan::new(HostName::loopback().to_vec(), clients)
    }

    async fn trials(plan: &Plan, spoil: impl FnOnce(&mut Stage)) -> Vec<Trial> {
        let dir = tempfile::tempdir().unwrap();
        let (store, authority) = Store::create_with_authority(dir.path(), plan).unwrap();
        let host = "localhost".parse().unwrap();
        let mut stage = Stage::open(store.layout(), &host, &plan.clients, &authority).unwrap();
        spoil(&mut stage);
        stage.trials(store.layout(), &plan.clients, &authority).await.unwrap()
    }

    fn wrong(trials: &[Trial]) -> Vec<(&str, &str)> {
        let wrong = trials.iter().filter(|trial| !trial.is_right());
        wrong.map(|trial| (trial.visitor.as_str(), trial.found.code())).collect()
    }

    #[tokio::test]
    async fn a_new_store_lets_its_clients_in_and_nobody_else() {
        for key in KeyType::ALL {
            let mut plan = plan();
            plan.authority.key = key;
            plan.leaf.key = key;
            let trials = trials(&plan, |_| {}).await;
            assert_eq!(trials.len(), 8);
            assert_eq!(wrong(&trials), [], "{key}");
        }
    }

    #[tokio::test]
    async fn an_authority_whose_key_is_discarded_proves_itself_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan { authority_key: AuthorityKey::Discarded, ..plan() };
        let (store, authority) = Store::create_with_authority(dir.path(), &plan).unwrap();
        let trials = prove(store.layout(), &plan, &authority).await.unwrap();
        assert_eq!((trials.len(), wrong(&trials)), (8, Vec::new()));
        assert!(!store.layout().authority_key().exists());
        assert_eq!(store.authority().unwrap_err().fault(), Fault::CertsNoAuthority);
    }

    #[tokio::test]
    async fn a_server_that_does_not_look_at_revocation_is_found_out() {
        let trials = trials(&plan(), |stage| stage.revoking = stage.server.clone()).await;
        assert_eq!(wrong(&trials), [("alice, revoked", "let-in")]);
    }

    #[tokio::test]
    async fn a_server_of_another_authority_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let (store, authority) = Store::create_with_authority(dir.path(), &plan()).unwrap();
        let host = "localhost".parse().unwrap();
        let other = Stage::open(store.layout(), &host, &plan().clients, &authority).unwrap();
        let trials = trials(&plan(), |stage| stage.server = other.server.clone()).await;
        let found = ("alice to localhost", "client.unknown-authority");
        assert_eq!(wrong(&trials).first(), Some(&found));
    }

    #[tokio::test]
    async fn a_server_that_is_not_who_it_should_be_is_found_out() {
        let trials = trials(&plan(), |stage| "elsewhere.test".clone_into(&mut stage.host)).await;
        assert_eq!(wrong(&trials)[0], ("alice to elsewhere.test", "client.wrong-name"));
    }
}

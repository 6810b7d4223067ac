//! How each exhibit is made: as the authority would issue it, with one thing changed.

use rcgen::KeyIdMethod;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use super::weak::WeakKey;
use super::{Defect, Exhibit, Kind};
use crate::pki::authority::{Authority, AuthorityOptions, Depth, failed};
use crate::pki::credential::Credential;
use crate::pki::draft::{Draft, Usage};
use crate::pki::key::{Key, KeyType, identifier_of};
use crate::pki::name::{HostName, Subtree};
use crate::pki::profile::{self, Constraints, Role, Serial, Validity};
use crate::pki::revoke::{Reason, Revocation, RevocationList};
use crate::problem::Problem;

/// Sets the scene of one exhibit.
pub(super) fn set(kind: Kind, defect: Defect) -> Result<Exhibit, Problem> {
    let broken = defect == Defect::Present;
    match kind {
        Kind::Expired | Kind::NotYetValid => dates(kind, broken),
        Kind::WrongHost | Kind::WrongRole | Kind::MissingSan | Kind::MissingAki => {
            draft(kind, broken)
        }
        Kind::SelfSigned | Kind::UnknownAuthority => voucher(kind, broken),
        Kind::Revoked => revoked(broken),
        Kind::ConstraintViolated => constraint(broken),
        Kind::PathTooLong | Kind::ChainIncomplete | Kind::ChainReversed => path(kind, broken),
        Kind::WeakKey => weak_key(broken),
        Kind::MismatchedKey => mismatched_key(broken),
    }
}

fn dates(kind: Kind, broken: bool) -> Result<Exhibit, Problem> {
    let now = OffsetDateTime::now_utc();
    let days = |days: i64| now.saturating_add(Duration::days(days));
    let (from, until) = match (broken, kind) {
        (false, _) => (now.saturating_add(Duration::minutes(-5)), days(89)),
        (true, Kind::NotYetValid) => (days(10), days(99)),
        (true, _) => (days(-99), days(-10)),
    };
    let authority = Authority::ephemeral()?;
    let credential = authority.sign(&server()?.valid(from, until))?;
    exhibit(kind, &authority, credential)
}

fn draft(kind: Kind, broken: bool) -> Result<Exhibit, Problem> {
    let authority = Authority::ephemeral()?;
    let other: HostName = "other.test".parse()?;
    let mut draft = match (broken, kind) {
        (true, Kind::WrongHost) => Draft::server(&[other])?,
        (true, Kind::WrongRole) => server()?.extended_usages(&[Usage::Client]),
        (true, Kind::MissingAki) => server()?.without_authority_key_identifier(),
        (true, Kind::MissingSan) => server()?.names(&[]),
        (_, _) => server()?,
    };
    if kind == Kind::MissingSan {
        draft = draft.common_name(b"localhost");
    }
    exhibit(kind, &authority, authority.sign(&draft)?)
}

fn voucher(kind: Kind, broken: bool) -> Result<Exhibit, Problem> {
    let authority = Authority::ephemeral()?;
    // Who signs itself needs a name, or its issuer would have none.
    let draft = server()?.common_name(b"localhost");
    let credential = match (broken, kind) {
        (false, _) => authority.sign(&draft)?,
        (true, Kind::SelfSigned) => draft.self_signed()?,
        (true, _) => Authority::ephemeral()?.sign(&draft)?,
    };
    exhibit(kind, &authority, credential)
}

fn revoked(broken: bool) -> Result<Exhibit, Problem> {
    let authority = Authority::ephemeral()?;
    let credential = authority.sign(&server()?)?;
    let serial = if broken { credential.serial().clone() } else { Serial::random()? };
    let when = OffsetDateTime::now_utc();
    let revocation = Revocation::new(serial, Reason::KeyCompromise, when);
    let mut exhibit = exhibit(Kind::Revoked, &authority, credential)?;
    exhibit.lists = vec![RevocationList::new(1).revoking(revocation).sign(&authority)?];
    Ok(exhibit)
}

fn constraint(broken: bool) -> Result<Exhibit, Problem> {
    let mut options = AuthorityOptions::default();
    if !broken {
        let more = Subtree::Dns("example.com".to_owned());
        options.constraints = Constraints::development().permitting([more]);
    }
    let authority = Authority::create(&options)?;
    let host: HostName = "app.example.com".parse()?;
    let credential = authority.sign(&Draft::server(std::slice::from_ref(&host))?)?;
    let exhibit = exhibit(Kind::ConstraintViolated, &authority, credential)?;
    Ok(Exhibit { host, ..exhibit })
}

fn path(kind: Kind, broken: bool) -> Result<Exhibit, Problem> {
    let too_long = broken && kind == Kind::PathTooLong;
    let depth = if too_long { Depth::LeavesOnly } else { Depth::OneIntermediate };
    let root = Authority::create(&AuthorityOptions { depth, ..AuthorityOptions::default() })?;
    let below = below(&root)?;
    let mut exhibit = exhibit(kind, &below, below.sign(&server()?)?)?;
    exhibit.lists.push(RevocationList::new(1).sign(&root)?);
    if broken && kind == Kind::ChainIncomplete {
        exhibit.chain.truncate(1);
    }
    if broken && kind == Kind::ChainReversed {
        exhibit.chain.reverse();
    }
    Ok(exhibit)
}

/// An authority below the root, whether or not the root may have one.
fn below(root: &Authority) -> Result<Authority, Problem> {
    let key = Key::generate(KeyType::default())?;
    let validity = Validity::new(Role::Authority, 365, OffsetDateTime::now_utc(), None)?;
    let params = profile::authority(&key, &Constraints::unconstrained(), 0, validity)?;
    let certificate = params.signed_by(&key, &root.issuer()?).map_err(failed)?;
    Authority::load(vec![certificate.into(), root.certificate().clone()], key)
}

fn mismatched_key(broken: bool) -> Result<Exhibit, Problem> {
    let authority = Authority::ephemeral()?;
    let mut exhibit = exhibit(Kind::MismatchedKey, &authority, authority.sign(&server()?)?)?;
    if broken {
        exhibit.key = Key::generate(KeyType::default())?.to_der();
    }
    Ok(exhibit)
}

fn weak_key(broken: bool) -> Result<Exhibit, Problem> {
    let authority = Authority::ephemeral()?;
    let mut exhibit = exhibit(Kind::WeakKey, &authority, authority.sign(&server()?)?)?;
    if broken {
        let key = WeakKey::generate()?;
        let validity = Validity::new(Role::Server, 90, OffsetDateTime::now_utc(), None)?;
        let mut params = profile::server(&HostName::loopback(), validity)?;
        params.key_identifier_method = KeyIdMethod::PreSpecified(identifier_of(&key.public));
        let certificate = params.signed_by(&key, &authority.issuer()?).map_err(failed)?;
        exhibit.chain = vec![CertificateDer::from(certificate)];
        exhibit.key = PrivatePkcs8KeyDer::from(key.pkcs8).into();
    }
    Ok(exhibit)
}

fn server() -> Result<Draft, Problem> {
    Draft::server(&HostName::loopback())
}

fn exhibit(kind: Kind, authority: &Authority, credential: Credential) -> Result<Exhibit, Problem> {
    let trust = authority.anchor().clone();
    let lists = vec![RevocationList::new(1).sign(authority)?];
    let (chain, key) = credential.into_parts();
    let key: PrivateKeyDer<'static> = key.to_der();
    Ok(Exhibit { kind, host: "localhost".parse()?, trust, chain, key, lists })
}

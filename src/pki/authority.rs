//! The authority: makes itself, is read back from disk, and issues certificates that it has verified itself.

use std::fmt;
use std::path::Path;

use rcgen::{Issuer, PublicKeyData};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::pki::credential::Credential;
use crate::pki::draft::Draft;
use crate::pki::key::{Key, KeyType};
use crate::pki::keyfile;
use crate::pki::limits::{self, Limits};
use crate::pki::name::{ClientIdentity, HostName};
use crate::pki::passphrase::Passphrase;
use crate::pki::pem;
use crate::pki::profile::{self, Constraints, Options, Role, Validity};
use crate::problem::{Fault, Problem};

/// An authority: a certificate that may sign others, and its key.
///
/// Whoever holds one knows that the key belongs to the certificate and that the certificate is an
/// authority's and was valid when it was loaded. What [`server`](Self::server) and [`client`](Self::client)
/// return has passed the same verifier that TLS connections use.
pub struct Authority {
    key: Key,
    certificate: CertificateDer<'static>,
    /// Who signed it, and so on up to the one that peers trust; nobody for a root.
    above: Vec<CertificateDer<'static>>,
    limits: Limits,
}

/// How an authority is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityOptions {
    /// The kind of its key.
    pub key: KeyType,
    /// Its life in days, from 1 to 3650.
    pub days: u32,
    /// For which names it may vouch.
    pub constraints: Constraints,
    /// Whether it may sign another authority.
    pub depth: Depth,
}

impl Default for AuthorityOptions {
    /// P-256, 825 days, names of development only, leaves only.
    fn default() -> Self {
        let constraints = Constraints::development();
        Self { key: KeyType::default(), days: 825, constraints, depth: Depth::LeavesOnly }
    }
}

/// What an authority may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// Servers and clients, no authority.
    LeavesOnly,
    /// One authority below it, which signs servers and clients.
    OneIntermediate,
}

impl Authority {
    /// A new root authority. Nothing is written to disk.
    ///
    /// # Errors
    /// [`Fault::CertsBadOption`] for a lifetime out of bounds, [`Fault::CertsCryptography`] if the library fails.
    pub fn create(options: &AuthorityOptions) -> Result<Self, Problem> {
        let key = Key::generate(options.key)?;
        let validity =
            Validity::new(Role::Authority, options.days, OffsetDateTime::now_utc(), None)?;
        let below = match options.depth {
            Depth::LeavesOnly => 0,
            Depth::OneIntermediate => 1,
        };
        let params = profile::authority(&key, &options.constraints, below, validity)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Self::load(vec![certificate.into()], key)
    }

    /// A new root authority with all defaults that lives in memory only; takes milliseconds, for tests.
    ///
    /// # Errors
    /// [`Fault::CertsCryptography`] if the library fails.
    pub fn ephemeral() -> Result<Self, Problem> {
        Self::create(&AuthorityOptions::default())
    }

    /// An authority made before: its certificate, then those above it if it is no root, and its key.
    ///
    /// # Errors
    /// [`Fault::CertsNotAuthority`], [`Fault::CertsKeyMismatch`] or [`Fault::CertsAuthorityExpired`].
    pub fn load(chain: Vec<CertificateDer<'static>>, key: Key) -> Result<Self, Problem> {
        let authority = Self::unchecked(chain, key)?;
        authority.limits.check(&authority.key, OffsetDateTime::now_utc())?;
        Ok(authority)
    }

    /// An authority from two files, of which the key may be read by its owner only.
    ///
    /// # Errors
    /// As [`keyfile::read_chain`], [`keyfile::read_key`] and [`Authority::load`].
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, Problem> {
        let chain = keyfile::read_chain(certificate)?;
        let key = Key::from_der(&Zeroizing::new(keyfile::read_key(key)?))?;
        Self::load(chain, key)
    }

    /// An authority from two files, of which the key is encrypted and may be read by its owner only.
    ///
    /// # Errors
    /// As [`keyfile::read_chain`], [`keyfile::read_encrypted_key`] and [`Authority::load`].
    pub fn open_encrypted(
        certificate: &Path,
        key: &Path,
        passphrase: &Passphrase,
    ) -> Result<Self, Problem> {
        let chain = keyfile::read_chain(certificate)?;
        Self::load(chain, Key::from_der(&*keyfile::read_encrypted_key(key, passphrase)?)?)
    }

    /// Signs with a certificate that need not be an authority's, so that tests can see the chain refused.
    ///
    /// # Errors
    /// [`Fault::CertsNotAuthority`] if the certificate cannot even be parsed.
    pub fn pretender(credential: Credential) -> Result<Self, Problem> {
        let (chain, key) = credential.into_parts();
        Self::unchecked(chain, key)
    }

    fn unchecked(chain: Vec<CertificateDer<'static>>, key: Key) -> Result<Self, Problem> {
        let mut chain = chain.into_iter();
        let certificate = chain.next().ok_or_else(|| limits::unfit("there is no certificate"))?;
        let limits = Limits::read(&certificate)?;
        Ok(Self { key, certificate, above: chain.collect(), limits })
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate peers must trust: its own, or that of the root above it.
    #[must_use]
    pub fn anchor(&self) -> &CertificateDer<'static> {
        self.above.last().unwrap_or(&self.certificate)
    }

    /// What peers must trust, as PEM.
    #[must_use]
    pub fn trust_pem(&self) -> String {
        pem::certificates([self.anchor()])
    }

    /// Its certificate and those above it, as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        pem::certificates(std::iter::once(&self.certificate).chain(&self.above))
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The last second it is valid.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.limits.not_after
    }

    /// For which names it may vouch.
    #[must_use]
    pub fn constraints(&self) -> &Constraints {
        &self.limits.constraints
    }

    /// A certificate for a server with these names, of which one at least and 64 at the most are given.
    ///
    /// # Errors
    /// [`Fault::CertsOutsideConstraints`] for a name the authority may not vouch for, [`Fault::CertsBadName`]
    /// for no name, [`Fault::CertsBadOption`] for a lifetime out of bounds.
    pub fn server(&self, names: &[HostName], options: Options) -> Result<Credential, Problem> {
        let validity = self.validity(Role::Server, options.days)?;
        let params = profile::server(names, validity)?;
        self.issue(params, options.key, Role::Server)
            .map_err(|problem| self.name_the_names(problem, names))
    }

    /// A certificate for a client.
    ///
    /// # Errors
    /// [`Fault::CertsOutsideConstraints`] if the authority may not vouch for `client.internal`,
    /// [`Fault::CertsBadOption`] for a lifetime out of bounds.
    pub fn client(
        &self,
        identity: &ClientIdentity,
        options: Options,
    ) -> Result<Credential, Problem> {
        let validity = self.validity(Role::Client, options.days)?;
        let params = profile::client(identity, validity)?;
        let named =
            identity.name().dns().parse().map(|host: HostName| vec![host]).unwrap_or_default();
        self.issue(params, options.key, Role::Client)
            .map_err(|problem| self.name_the_names(problem, &named))
    }

    /// An authority below this one, which may sign servers and clients for the same names.
    ///
    /// # Errors
    /// [`Fault::CertsOutsideConstraints`] if this one was made with [`Depth::LeavesOnly`].
    pub fn intermediate(&self, key: KeyType, days: u32) -> Result<Self, Problem> {
        if self.limits.below == Some(0) {
            let message = "the authority may sign servers and clients only";
            let remedy = "make the root with room for an intermediate, or issue from it directly";
            return Err(Problem::error(Fault::CertsOutsideConstraints, message, remedy));
        }
        let validity = self.validity(Role::Authority, days)?;
        let key = Key::generate(key)?;
        // The names are constrained by the root, for whatever is below it.
        let params = profile::authority(&key, &Constraints::unconstrained(), 0, validity)?;
        let certificate = params.signed_by(&key, &self.issuer()?).map_err(failed)?;
        let mut chain = vec![CertificateDer::from(certificate)];
        chain.push(self.certificate.clone());
        chain.extend_from_slice(&self.above);
        let mut authority = Self::load(chain, key)?;
        authority.limits.constraints = self.limits.constraints.clone();
        Ok(authority)
    }

    /// Signs a draft as it is, with whatever is wrong in it.
    ///
    /// # Errors
    /// [`Fault::CertsCryptography`] if the library cannot write it.
    pub fn sign(&self, draft: &Draft) -> Result<Credential, Problem> {
        let (certificate, key) = draft.signed_by(&self.certificate, &self.key)?;
        Credential::new(certificate, self.presented(), key)
    }

    /// The library's view of this authority; it trusts the certificate blindly, which is why `load` does not.
    pub(crate) fn issuer(&self) -> Result<Issuer<'static, &Key>, Problem> {
        Issuer::from_ca_cert_der(&self.certificate, &self.key).map_err(failed)
    }

    /// What identifies its key in the certificates and lists it signs.
    pub(crate) fn key_identifier(&self) -> &[u8] {
        &self.limits.key_identifier
    }

    pub(crate) fn validity(&self, role: Role, days: u32) -> Result<Validity, Problem> {
        let now = OffsetDateTime::now_utc();
        self.limits.check(&self.key, now)?;
        Validity::new(role, days, now, Some(self.limits.not_after))
    }

    fn issue(
        &self,
        params: rcgen::CertificateParams,
        kind: KeyType,
        role: Role,
    ) -> Result<Credential, Problem> {
        let key = Key::generate(kind)?;
        let certificate = self.certify(params, &key, role)?;
        Credential::new(certificate, self.presented(), key)
    }

    /// Signs a certificate for somebody's key, and verifies it.
    pub(crate) fn certify(
        &self,
        mut params: rcgen::CertificateParams,
        key: &impl PublicKeyData,
        role: Role,
    ) -> Result<CertificateDer<'static>, Problem> {
        profile::seal(&mut params, key);
        let certificate = params.signed_by(key, &self.issuer()?).map_err(failed)?;
        let certificate = CertificateDer::from(certificate);
        self.prove(&certificate, &self.presented(), role)?;
        Ok(certificate)
    }

    /// The authorities a peer presents: itself and those above, without the one that is trusted anyway.
    pub(crate) fn presented(&self) -> Vec<CertificateDer<'static>> {
        let authorities = std::iter::once(&self.certificate).chain(&self.above).cloned();
        authorities.take(self.above.len()).collect()
    }

    /// Verifies what was issued as a peer will: signature, dates, names, role, path.
    fn prove(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        role: Role,
    ) -> Result<(), Problem> {
        let usage = match role {
            Role::Server => webpki::KeyUsage::server_auth(),
            Role::Client | Role::Authority => webpki::KeyUsage::client_auth(),
        };
        let anchor =
            webpki::anchor_from_trusted_cert(self.anchor()).map_err(refused_by_verifier)?;
        let leaf = webpki::EndEntityCert::try_from(leaf).map_err(refused_by_verifier)?;
        let algorithms = default_provider().signature_verification_algorithms.all;
        leaf.verify_for_usage(algorithms, &[anchor], above, UnixTime::now(), usage, None, None)
            .map(|_path| ())
            .map_err(refused_by_verifier)
    }

    /// Says which names are outside, where the verifier only says that one is.
    pub(crate) fn name_the_names(&self, problem: Problem, names: &[HostName]) -> Problem {
        if problem.fault() != Fault::CertsOutsideConstraints {
            return problem;
        }
        let outside: Vec<_> = names
            .iter()
            .filter(|name| !self.constraints().permit(name))
            .map(ToString::to_string)
            .collect();
        if outside.is_empty() {
            return problem;
        }
        let message = format!(
            "the authority may not vouch for {}, only for {}",
            outside.join(", "),
            self.constraints()
        );
        Problem::error(
            Fault::CertsOutsideConstraints,
            message,
            "make an authority that permits the name, or choose a permitted one",
        )
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("key", &self.key)
            .field("constraints", &self.limits.constraints)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn refused_by_verifier(error: webpki::Error) -> Problem {
    if matches!(
        error,
        webpki::Error::NameConstraintViolation | webpki::Error::PathLenConstraintViolated
    ) {
        let message =
            "the authority may not vouch for that: a name or the depth is outside its constraints";
        return Problem::error(
            Fault::CertsOutsideConstraints,
            message,
            "make an authority whose constraints permit it",
        );
    }
    let message = format!("what the authority signed does not verify: {error}");
    Problem::error(
        Fault::CertsNotAuthority,
        message,
        "make a new authority; this one's certificate is not fit to sign",
    )
}

/// The library could not do it; there is nothing an operator did wrong.
#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
pub(crate) fn failed(error: rcgen::Error) -> Problem {
    let message = format!("the certificate could not be written: {error}");
    Problem::error(
        Fault::CertsCryptography,
        message,
        "check the authority's certificate, and report this if it is one of ours",
    )
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;

//! A zoo of broken certificates: always fresh, made offline, each wrong in exactly one way.

mod kind;
mod scene;
mod weak;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

pub use kind::Kind;

use crate::pki::disk::{self, Secrecy};
use crate::pki::lint::Verifier;
use crate::pki::name::HostName;
use crate::pki::pem;
use crate::pki::verdict::{Foreseen, Objected, Purpose, Question};
use crate::problem::{Fault, Problem};

/// What a server would show and a client would trust, with one defect or with none.
#[derive(Debug)]
pub struct Exhibit {
    kind: Kind,
    host: HostName,
    trust: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    lists: Vec<CertificateRevocationListDer<'static>>,
}

/// Whether an exhibit is broken. The twin without the defect is made the same way, and passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// It is there.
    Present,
    /// It is not.
    Absent,
}

impl Exhibit {
    /// A fresh exhibit, with new keys and the dates of today.
    ///
    /// # Errors
    /// [`Fault::CertsCryptography`] if the library fails.
    pub fn make(kind: Kind, defect: Defect) -> Result<Self, Problem> {
        scene::set(kind, defect)
    }

    /// Which defect it shows.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The host a client asks for.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The chain that is shown.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What this program says of it, revocation and key included.
    ///
    /// # Errors
    /// The objection, as [`Question::judge`].
    pub fn judge(&self, now: OffsetDateTime) -> Result<(), Objected> {
        let purpose = Purpose::Server(Some(self.host.clone()));
        let trust = std::slice::from_ref(&self.trust);
        let (lists, key) = (self.lists.as_slice(), Some(&self.key));
        Question { purpose, trust, lists, key, now }.judge(&self.chain)
    }

    /// What another verifier would say of its chain, revocation included and the key left out.
    ///
    /// # Errors
    /// The reason, as [`Question::foresee`].
    pub fn foresee(&self, verifier: Verifier, now: OffsetDateTime) -> Result<(), Foreseen> {
        let purpose = Purpose::Server(Some(self.host.clone()));
        let trust = std::slice::from_ref(&self.trust);
        let lists = self.lists.as_slice();
        Question { purpose, trust, lists, key: None, now }.foresee(verifier, &self.chain)
    }

    /// Writes `trust.pem`, `chain.pem`, `key.pem`, `crl.pem` and a `README.md` into a new directory named by
    /// the kind, and returns it.
    ///
    /// # Errors
    /// [`Fault::CertsExists`] if it is there already, and the faults of writing.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, Problem> {
        let place = disk::store_directory(directory)?.join(self.kind.word());
        if disk::kind_at(&place)?.is_some() {
            let message = format!("{} is there already", place.display());
            let remedy =
                "remove it, or choose another directory: exhibits are made fresh each time";
            return Err(Problem::error(Fault::CertsExists, message, remedy));
        }
        disk::directory(&place)?;
        let public = |name: &str, text: &str| {
            disk::create(&place.join(name), text.as_bytes(), Secrecy::Public)
        };
        public("trust.pem", &pem::certificates([&self.trust]))?;
        public("chain.pem", &pem::certificates(&self.chain))?;
        let lists = self
            .lists
            .iter()
            .fold(String::new(), |text, list| text + pem::encode("X509 CRL", list).as_str());
        public("crl.pem", &lists)?;
        public("README.md", &self.readme())?;
        let key = Zeroizing::new(pem::encode("PRIVATE KEY", self.key.secret_der()));
        disk::create(&place.join("key.pem"), key.as_bytes(), Secrecy::Private)?;
        Ok(place)
    }

    fn readme(&self) -> String {
        let Self { kind, host, .. } = self;
        let host =
            host.ip().map_or_else(|| host.dns().unwrap_or("").to_owned(), |ip| ip.to_string());
        let verdict = match kind.objection() {
            Some(objection) => format!("refused, {}", objection.code()),
            None => "accepted; strict verifiers refuse it".to_owned(),
        };
        let mut text = format!("# {kind}\n\n{}\n\ndoorward: {verdict}.\n\n", kind.sentence());
        // Writing to a string does not fail.
        let _written = write!(
            text,
            "    doorward certs verify chain.pem --as server --name {host} --trust trust.pem --crl crl.pem --key key.pem\n    \
             openssl verify -x509_strict -purpose sslserver -verify_hostname {host} -crl_check_all -CRLfile crl.pem \
             -CAfile trust.pem -untrusted chain.pem chain.pem\n"
        );
        text
    }
}

#[cfg(test)]
mod tests;

//! What is installed, and what it may be: an authority's certificate, and the mark it leaves in a trust store.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::pki::keyfile;
use crate::pki::layout::Layout;
use crate::pki::limits::Limits;
use crate::pki::pem;
use crate::pki::profile::hex;
use crate::problem::{Fault, Problem};

/// An authority that peers are to trust.
#[derive(Clone, Debug)]
pub(crate) struct Anchor {
    pub(crate) mark: Mark,
    pub(crate) certificate: CertificateDer<'static>,
    limits: Limits,
    /// The file it is in, where nothing else is.
    pub(crate) file: Option<PathBuf>,
}

/// Which authorities may be put into the trust store of a whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breadth {
    /// Those that are held to certain names and networks.
    Constrained,
    /// All: whoever steals the key of an unconstrained one can be any server to everybody who trusts it.
    DangerUnconstrained,
}

/// The hashes of a certificate, by which what is ours is known again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Mark {
    sha256: String,
    /// The name that Windows has for a certificate. Nothing is decided by it elsewhere.
    sha1: String,
}

/// A mark as a record has it, which anybody may have written.
#[derive(Deserialize)]
struct Written {
    sha256: String,
    sha1: String,
}

impl Anchor {
    /// Every authority in the trust file of a store.
    pub(crate) fn all(layout: &Layout) -> Result<Vec<Self>, Problem> {
        let file = layout.trust();
        let chain = keyfile::read_chain(&file)?;
        let alone = (chain.len() == 1).then_some(file);
        chain.into_iter().map(|certificate| Self::read(certificate, alone.clone())).collect()
    }

    fn read(certificate: CertificateDer<'static>, file: Option<PathBuf>) -> Result<Self, Problem> {
        let limits = Limits::read(&certificate)?;
        let mark = Mark::of(&certificate);
        Ok(Self { mark, certificate, limits, file })
    }

    /// Refuses what nobody should trust: no authority, one outside its dates, one without constraints.
    ///
    /// Whether its key is still somewhere does not matter: one that is gone can sign nothing bad.
    pub(crate) fn judge(&self, breadth: Breadth, now: OffsetDateTime) -> Result<(), Problem> {
        self.limits.check_alone(now)?;
        if breadth == Breadth::Constrained && self.limits.constraints.leave_any_host_free() {
            let message = format!(
                "the authority may vouch for {}: whoever steals its key can be any server to you",
                self.limits.constraints
            );
            let remedy = "make one that is held to your names: doorward certs init --permit; or say --unconstrained";
            return Err(Problem::error(Fault::CertsUnconstrained, message, remedy));
        }
        Ok(())
    }

    pub(crate) fn pem(&self) -> String {
        pem::certificates([&self.certificate])
    }
}

impl Mark {
    /// The mark of a certificate.
    pub(crate) fn of(certificate: &[u8]) -> Self {
        let digits = |algorithm| hex(digest::digest(algorithm, certificate).as_ref());
        Self { sha256: digits(&digest::SHA256), sha1: digits(&digest::SHA1_FOR_LEGACY_USE_ONLY) }
    }

    /// The SHA-256 in 64 hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(crate) fn sha1(&self) -> &str {
        &self.sha1
    }

    /// The name it has in a trust store. 64 bits tell authorities apart; a whole hash decides what is ours.
    #[must_use]
    pub fn label(&self) -> String {
        let short: String = self.sha256.chars().take(16).collect();
        format!("{LABEL}{short}")
    }

    /// Whether a name in a trust store is one that [`Mark::label`] gives for another authority.
    pub(crate) fn is_anothers(&self, label: &str) -> bool {
        let is_label = label.strip_prefix(LABEL).is_some_and(|rest| {
            rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        is_label && label != self.label()
    }

    /// Whether a file holds this certificate as we write it, and nothing else.
    pub(crate) fn is_all_of(&self, path: &Path) -> Result<bool, Problem> {
        let bytes = keyfile::read_whole(path)?;
        let chain = keyfile::read_chain(path).unwrap_or_default();
        let [certificate] = chain.as_slice() else { return Ok(false) };
        Ok(Self::of(certificate) == *self
            && pem::certificates([certificate]).as_bytes() == bytes.as_slice())
    }
}

/// Before the digits, wherever a trust store shows names.
const LABEL: &str = "doorward-";

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sha256)
    }
}

impl TryFrom<Written> for Mark {
    type Error = &'static str;

    /// Only digits: a label becomes a file name, and an argument.
    fn try_from(Written { sha256, sha1 }: Written) -> Result<Self, Self::Error> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_hash =
            |text: &str, length: usize| text.len() == length && text.bytes().all(is_digit);
        if is_hash(&sha256, 64) && is_hash(&sha1, 40) {
            Ok(Self { sha256, sha1 })
        } else {
            Err("a hash is not in lower-case hexadecimal, or too short or long")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, AuthorityOptions, Constraints};
    use time::Duration;

    fn judged(constraints: Constraints, breadth: Breadth, later: Duration) -> Option<Fault> {
        let options = AuthorityOptions { constraints, days: 10, ..AuthorityOptions::default() };
        let authority = Authority::create(&options).unwrap();
        let anchor = Anchor::read(authority.certificate().clone(), None).unwrap();
        let now = OffsetDateTime::now_utc().saturating_add(later);
        anchor.judge(breadth, now).err().map(|problem| problem.fault())
    }

    #[test]
    fn an_authority_is_installed_within_its_dates_only() {
        for days in [0, 9] {
            let later = Duration::days(days);
            assert_eq!(judged(Constraints::development(), Breadth::Constrained, later), None);
        }
        for days in [-1, 11] {
            for breadth in [Breadth::Constrained, Breadth::DangerUnconstrained] {
                let found = judged(Constraints::development(), breadth, Duration::days(days));
                assert_eq!(found, Some(Fault::CertsAuthorityExpired), "{days}");
            }
        }
    }

    #[test]
    fn an_authority_that_leaves_a_kind_of_host_free_needs_a_word() {
        let only = |subtrees: &[&str]| {
            let subtrees = subtrees.iter().map(|subtree| subtree.parse().unwrap());
            Constraints::of(subtrees.collect())
        };
        for (constraints, free) in [
            (only(&["example.com", "10.0.0.0/8"]), false),
            (Constraints::unconstrained(), true),
            (only(&["example.com"]), true),
            (only(&["10.0.0.0/8"]), true),
            (only(&["example.com", "0.0.0.0/0"]), true),
        ] {
            let expected = free.then_some(Fault::CertsUnconstrained);
            let found = judged(constraints.clone(), Breadth::Constrained, Duration::ZERO);
            assert_eq!(found, expected, "{constraints}");
            let said = judged(constraints, Breadth::DangerUnconstrained, Duration::ZERO);
            assert_eq!(said, None);
        }
    }
}

//! Judges certificates, requests and revocation lists by RFC 5280 and by what strict verifiers refuse.

mod authority;
mod catalog;
mod certificate;
#[cfg(test)]
mod handmade;
mod others;

use std::fmt;

use time::OffsetDateTime;

pub use catalog::Lint;

use crate::pki::document::{Document, Item};
use crate::problem::Severity;

/// One thing that is wrong, and where in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    lint: Lint,
    item: usize,
}

impl Finding {
    /// What is wrong.
    #[must_use]
    pub fn lint(&self) -> Lint {
        self.lint
    }

    /// Which item of the file it is, counted from 1.
    #[must_use]
    pub fn item(&self) -> usize {
        self.item
    }
}

/// Two lines: code and sentence, then the remedy and who refuses it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lint, item } = self;
        let warning = match lint.severity() {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{item}: {} {warning}{}\n    {}", lint.code(), lint.sentence(), lint.remedy())?;
        let words: Vec<_> = lint.refused_by().iter().map(|verifier| verifier.word()).collect();
        if words.is_empty() { Ok(()) } else { write!(f, " Refused by {}.", words.join(", ")) }
    }
}

/// Who verifies certificates, as far as it is known what they refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verifier {
    /// All of them.
    Everyone,
    /// This program, for clients.
    Doorward,
    /// rustls with webpki.
    Rustls,
    /// `OpenSSL`, as it is by default on a current system.
    OpenSsl,
    /// `OpenSSL` with `-x509_strict`.
    OpenSslStrict,
    /// Python from 3.13 on, whose default is `VERIFY_X509_STRICT`.
    Python313,
    /// Node.js.
    Node,
    /// `GnuTLS`.
    GnuTls,
    /// Go's crypto/x509.
    Go,
    /// macOS and iOS.
    Apple,
}

impl Verifier {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Everyone => "every verifier",
            Self::Doorward => "doorward",
            Self::Rustls => "rustls",
            Self::OpenSsl => "openssl",
            Self::OpenSslStrict => "openssl -x509_strict",
            Self::Python313 => "Python 3.13",
            Self::Node => "Node",
            Self::GnuTls => "GnuTLS",
            Self::Go => "Go",
            Self::Apple => "Apple",
        }
    }
}

/// Everything that is wrong with what a document holds, in its order, at the moment `now`.
#[must_use]
pub fn lint(document: &Document, now: OffsetDateTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (item, content) in (1_usize..).zip(document.items()) {
        let mut sheet = Sheet { item, now, findings: &mut findings };
        match content {
            Item::Certificate(der) => certificate::check(der, &mut sheet),
            Item::Request(der) => others::check_request(der, &mut sheet),
            Item::RevocationList(der) => others::check_list(der, &mut sheet),
            Item::PrivateKey(_) | Item::PublicKey => {}
        }
    }
    others::check_chain(&document.certificates(), now, &mut findings);
    findings.sort_by_key(|finding| (finding.item, finding.lint));
    findings
}

/// Where findings about one item are written.
struct Sheet<'a> {
    item: usize,
    now: OffsetDateTime,
    findings: &'a mut Vec<Finding>,
}

impl Sheet<'_> {
    fn when(&mut self, wrong: bool, lint: Lint) {
        if wrong {
            self.findings.push(Finding { lint, item: self.item });
        }
    }
}

#[cfg(test)]
mod tests;

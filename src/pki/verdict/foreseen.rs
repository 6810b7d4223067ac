//! What another verifier would say of a chain, by what is known of it. Nobody is asked: it need not be installed.

use std::fmt;

use rustls::pki_types::CertificateDer;

use super::{Objected, Objection, Purpose, Question, parse};
use crate::pki::document::Document;
use crate::pki::lint::{self, Lint, Verifier};
use crate::pki::reading;
use crate::problem::Severity;

/// Why a verifier would refuse a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// As this program does.
    Objected(Objected),
    /// For something in a certificate that others overlook.
    Found(Lint, Verifier),
}

impl Foreseen {
    /// The stable code of the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Objected(objected) => objected.objection().code(),
            Self::Found(lint, _) => lint.code(),
        }
    }

    /// Who objects.
    #[must_use]
    pub fn by(&self) -> Verifier {
        match self {
            Self::Objected(objected) => objected.by(),
            Self::Found(_, verifier) => *verifier,
        }
    }

    /// What exactly is wrong.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Objected(objected) => objected.detail(),
            Self::Found(lint, _) => lint.sentence(),
        }
    }
}

/// Two lines: code and reason with who says so, then the remedy.
impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objected(objected) => objected.fmt(f),
            Self::Found(lint, verifier) => {
                let (code, sentence) = (lint.code(), lint.sentence());
                write!(f, "{code} {sentence} ({})\n    {}", verifier.word(), lint.remedy())
            }
        }
    }
}

impl Question<'_> {
    /// What `verifier` would say of a chain. For [`Verifier::Doorward`] that is what this program says; for all
    /// others it is foreseen from their rules, as far as those are known and differ.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn foresee(
        &self,
        verifier: Verifier,
        chain: &[CertificateDer<'static>],
    ) -> Result<(), Foreseen> {
        let judged = self.judge(chain);
        if verifier == Verifier::Doorward {
            return judged.map_err(Foreseen::Objected);
        }
        if let Err(objected) = judged
            && self.is_shared(verifier, &objected, chain)
        {
            return Err(Foreseen::Objected(objected.said_by(verifier)));
        }
        match self.overlooked(verifier, chain) {
            Some(lint) => Err(Foreseen::Found(lint, verifier)),
            None => Ok(()),
        }
    }

    /// Whether a verifier that is not this program objects to the same.
    fn is_shared(
        &self,
        verifier: Verifier,
        objected: &Objected,
        chain: &[CertificateDer<'static>],
    ) -> bool {
        let webpki = matches!(verifier, Verifier::Rustls);
        match objected.objection() {
            // webpki looks at no anchor's path length, at no key usage, and takes whatever key the library takes.
            Objection::Constraint if webpki => objected.by() == Verifier::Rustls,
            Objection::KeyUsage => false,
            Objection::WeakKey => {
                matches!(
                    verifier,
                    Verifier::OpenSsl | Verifier::OpenSslStrict | Verifier::Python313
                )
            }
            // Without alternative names, the common name still counts to some.
            Objection::WrongName => !(falls_back(verifier) && self.is_named_in_common_name(chain)),
            // No extended key usage is for every role, but to this program.
            Objection::WrongRole => objected.by() == Verifier::Rustls,
            Objection::Malformed
            | Objection::BadAnchor
            | Objection::UnknownAuthority
            | Objection::Signature
            | Objection::Expired
            | Objection::NotYetValid
            | Objection::Constraint
            | Objection::Revoked
            | Objection::NoList
            | Objection::BadList
            | Objection::ListExpired
            | Objection::KeyMismatch => true,
        }
    }

    /// Whether there are no alternative names, and the common name is the one that is asked for.
    fn is_named_in_common_name(&self, chain: &[CertificateDer<'static>]) -> bool {
        let Purpose::Server(Some(host)) = &self.purpose else { return false };
        let Some(Ok(leaf)) = chain.first().map(parse) else { return false };
        let common: Vec<_> =
            leaf.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
        reading::names(&leaf).is_empty()
            && common
                .iter()
                .any(|name| host.dns().is_some_and(|dns| name.eq_ignore_ascii_case(dns)))
    }

    /// What is wrong with a certificate that this verifier is known to refuse.
    fn overlooked(&self, verifier: Verifier, chain: &[CertificateDer<'static>]) -> Option<Lint> {
        let issuers: Vec<_> = chain
            .iter()
            .filter_map(|one| Some(parse(one).ok()?.issuer().as_raw().to_vec()))
            .collect();
        // Whoever else is trusted is not looked at.
        let vouches = |one: &&CertificateDer<'static>| {
            parse(one).is_ok_and(|anchor| {
                issuers.iter().any(|issuer| issuer == anchor.subject().as_raw())
            })
        };
        let looked_at = chain.iter().chain(self.trust.iter().filter(vouches));
        let alone = looked_at.map(|one| Document::of_chain(std::slice::from_ref(one)));
        let findings = alone.flat_map(|document| lint::lint(&document, self.now));
        let refuses = |lint: &Lint| {
            let by = lint.refused_by();
            by.contains(&verifier) || by.contains(&Verifier::Everyone)
        };
        let mut errors = findings.map(|finding| finding.lint());
        errors.find(|lint| lint.severity() == Severity::Error && refuses(lint))
    }
}

/// Who takes a host's name from the common name where there is no alternative name.
fn falls_back(verifier: Verifier) -> bool {
    matches!(
        verifier,
        Verifier::OpenSsl
            | Verifier::OpenSslStrict
            | Verifier::Python313
            | Verifier::Node
            | Verifier::GnuTls
    )
}

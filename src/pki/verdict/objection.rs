//! Why a chain is not believed.

use std::fmt;

use crate::pki::lint::Verifier;
use crate::refusal::Refusal;

macro_rules! objections {
    ($($variant:ident, $code:literal, $refusal:ident, $sentence:literal, $remedy:literal;)+) => {
        /// Why a chain is not believed. The list is closed; each code is a contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Objection {
            $(#[doc = concat!("`", $code, "`: ", $sentence)] $variant,)+
        }

        impl Objection {
            /// Every objection there is.
            pub const ALL: &'static [Objection] = &[$(Objection::$variant,)+];

            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Objection::$variant => $code,)+ }
            }

            /// How the handshake room turns away a client for it.
            #[must_use]
            pub fn refusal(self) -> Refusal {
                match self { $(Objection::$variant => Refusal::$refusal,)+ }
            }

            /// What is wrong, in one sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Objection::$variant => $sentence,)+ }
            }

            /// What to do about it, in one sentence.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Objection::$variant => $remedy,)+ }
            }
        }
    };
}

objections! {
    Malformed, "verify.malformed", HandshakeBadCertificate,
        "A certificate cannot be read as one.", "Lint the file, and issue the certificate again.";
    BadAnchor, "verify.bad-anchor", HandshakeUnknownAuthority,
        "The trust file names nobody who may vouch.", "Name the certificate of a valid authority.";
    UnknownAuthority, "verify.unknown-authority", HandshakeUnknownAuthority,
        "Nobody in the trust file vouches for it.", "Use the right trust file, and show the whole chain.";
    Signature, "verify.signature", HandshakeSignature,
        "A signature in the chain does not hold.", "Issue it again; a key with the same name may have been exchanged.";
    Expired, "verify.expired", HandshakeExpired,
        "A certificate in the chain is past its last day.", "Renew it.";
    NotYetValid, "verify.not-yet-valid", HandshakeNotYetValid,
        "A certificate in the chain is not valid yet.", "Compare the clocks.";
    WrongRole, "verify.wrong-role", HandshakeWrongUsage,
        "It is not for that role.", "Issue a certificate for the role it is shown for.";
    WrongName, "verify.wrong-name", HandshakeBadCertificate,
        "It does not stand for that host.", "Issue it for the name that is dialled.";
    Constraint, "verify.constraint", HandshakeConstraint,
        "An authority vouches for a name or a path it may not.", "Issue it from an authority that may, in the right order.";
    KeyUsage, "verify.key-usage", HandshakeKeyUsage,
        "A key is used for what its certificate does not allow.", "Issue it again with the right key usage.";
    WeakKey, "verify.weak-key", HandshakeSignature,
        "A key is below 112 bits of strength.", "Make a new key, and issue the certificate again.";
    Revoked, "verify.revoked", HandshakeRevoked,
        "A certificate in the chain is revoked.", "Issue a new one with a new key.";
    NoList, "verify.no-list", HandshakeNoCrl,
        "No revocation list speaks for an issuer in the chain.", "Add the issuer's list.";
    BadList, "verify.bad-list", HandshakeNoCrl,
        "A revocation list cannot be believed.", "Fetch it again from its authority.";
    ListExpired, "verify.list-expired", HandshakeCrlExpired,
        "The revocation list is past its next update.", "Publish a fresh one.";
    KeyMismatch, "verify.key-mismatch", HandshakeSignature,
        "The private key does not belong to the certificate, or cannot be used.", "Put back the key that was made with it.";
}

/// An objection, whose it is, and what exactly was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objected {
    objection: Objection,
    by: Verifier,
    detail: String,
}

impl Objected {
    /// What is wrong.
    #[must_use]
    pub fn objection(&self) -> Objection {
        self.objection
    }

    /// Who says so: rustls, which every TLS connection asks, or this program beyond that.
    #[must_use]
    pub fn by(&self) -> Verifier {
        self.by
    }

    /// The same objection of somebody else.
    pub(super) fn said_by(self, by: Verifier) -> Self {
        Self { by, ..self }
    }

    /// In the words of whoever says so.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl Objection {
    /// This program says so.
    pub(super) fn ours(self, detail: &str) -> Objected {
        Objected { objection: self, by: Verifier::Doorward, detail: detail.to_owned() }
    }

    /// rustls says so.
    pub(super) fn theirs(self, detail: &str) -> Objected {
        Objected { objection: self, by: Verifier::Rustls, detail: detail.to_owned() }
    }

    /// What an error of webpki means.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is non-exhaustive; what is new there is a certificate that is not accepted"
    )]
    pub(super) fn of(error: &webpki::Error) -> Objected {
        use webpki::Error as E;
        let objection = match error {
            E::CertExpired { .. } => Self::Expired,
            E::CertNotValidYet { .. } => Self::NotYetValid,
            E::CertNotValidForName(_) => Self::WrongName,
            E::UnknownIssuer => Self::UnknownAuthority,
            E::InvalidSignatureForPublicKey => Self::Signature,
            E::RequiredEkuNotFoundContext(_) => Self::WrongRole,
            E::NameConstraintViolation
            | E::PathLenConstraintViolated
            | E::EndEntityUsedAsCa
            | E::CaUsedAsEndEntity => Self::Constraint,
            E::CertRevoked => Self::Revoked,
            E::UnknownRevocationStatus => Self::NoList,
            E::CrlExpired { .. } => Self::ListExpired,
            E::InvalidCrlSignatureForPublicKey | E::IssuerNotCrlSigner => Self::BadList,
            _ => Self::Malformed,
        };
        objection.theirs(&error.to_string())
    }
}

/// Two lines: code and sentence with who says what, then the remedy.
impl fmt::Display for Objected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { objection, by, detail } = self;
        let (code, sentence) = (objection.code(), objection.sentence());
        write!(f, "{code} {sentence} ({}: {detail})\n    {}", by.word(), objection.remedy())
    }
}

//! Which defects the zoo shows.

use std::fmt;
use std::str::FromStr;

use crate::peer::PeerText;
use crate::pki::verdict::Objection;
use crate::problem::{Fault, Problem};

macro_rules! kinds {
    ($($variant:ident, $word:literal, $objection:expr, $sentence:literal;)+) => {
        /// A defect. Each is the only one of its exhibit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", $word, "`: ", $sentence)] $variant,)+
        }

        impl Kind {
            /// Every defect.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)+];

            /// The word an operator writes for it.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Kind::$variant => $word,)+ }
            }

            /// What is wrong, in one sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Kind::$variant => $sentence,)+ }
            }

            /// What this program objects; nothing where only stricter verifiers do.
            #[must_use]
            pub fn objection(self) -> Option<Objection> {
                match self { $(Kind::$variant => $objection,)+ }
            }
        }
    };
}

kinds! {
    Expired, "expired", Some(Objection::Expired), "The certificate ended ten days ago.";
    NotYetValid, "not-yet-valid", Some(Objection::NotYetValid), "The certificate begins in ten days.";
    WrongHost, "wrong-host", Some(Objection::WrongName), "The certificate stands for another host.";
    WrongRole, "wrong-role", Some(Objection::WrongRole), "The certificate is for a client, and a server shows it.";
    SelfSigned, "self-signed", Some(Objection::UnknownAuthority), "The certificate is signed by its own key.";
    UnknownAuthority, "unknown-authority", Some(Objection::UnknownAuthority), "An authority signed it that is not trusted.";
    Revoked, "revoked", Some(Objection::Revoked), "The authority's revocation list names it.";
    MissingSan, "missing-san", Some(Objection::WrongName), "The host's name is in the common name only.";
    MissingAki, "missing-aki", None, "It has no authority key identifier.";
    ConstraintViolated, "constraint-violated", Some(Objection::Constraint), "The authority may not vouch for that name.";
    PathTooLong, "path-too-long", Some(Objection::Constraint), "The root may not have an authority below it, and has one.";
    WeakKey, "weak-key", Some(Objection::WeakKey), "Its key is RSA with 1024 bits.";
    MismatchedKey, "mismatched-key", Some(Objection::KeyMismatch), "The private key is not the certificate's.";
    ChainIncomplete, "chain-incomplete", Some(Objection::UnknownAuthority), "The intermediate authority is not shown.";
    ChainReversed, "chain-reversed", Some(Objection::Constraint), "The intermediate authority is shown first.";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL.iter().copied().find(|kind| kind.word() == text).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|kind| kind.word()).collect();
            let message = format!("\"{}\" is no kind of exhibit", PeerText::from(text));
            Problem::error(
                Fault::CertsBadOption,
                message,
                format!("write one of {}", words.join(", ")),
            )
        })
    }
}

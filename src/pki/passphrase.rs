//! The words that open an encrypted key.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::pki::keyfile;
use crate::problem::{Fault, Problem};

/// A passphrase: 1 to 1024 bytes of UTF-8 in one line, without control characters.
///
/// It is wiped when it is dropped, and `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// The fewest characters of one that encrypts a new key (NIST SP 800-63B section 5.1.1).
    pub const SHORTEST_NEW: usize = 8;

    /// Reads the first line of a file that nobody but its owner may use.
    ///
    /// # Errors
    /// [`Fault::CertsPassphraseExposed`] for a file others may use; [`Fault::HandshakeUnreadable`] for one that is
    /// missing, no regular file, empty or long; [`Fault::CertsBadOption`] if its first line is no passphrase.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let bytes = keyfile::read_private(path).map_err(|problem| {
            if problem.fault() != Fault::HandshakeKeyExposed {
                return problem;
            }
            let message = format!("others than its owner may use {}", path.display());
            Problem::error(Fault::CertsPassphraseExposed, message, problem.remedy())
        })?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        std::str::from_utf8(line).map_err(|_| unfit("is not UTF-8"))?.parse()
    }

    /// The bytes a key is derived from.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether a new key may be encrypted with it.
    ///
    /// # Errors
    /// [`Fault::CertsBadOption`] if it is shorter than [`Passphrase::SHORTEST_NEW`].
    pub fn check_new(&self) -> Result<(), Problem> {
        if self.0.chars().count() >= Self::SHORTEST_NEW {
            return Ok(());
        }
        Err(unfit(&format!("has less than {} characters", Self::SHORTEST_NEW)))
    }
}

impl FromStr for Passphrase {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if text.is_empty() {
            return Err(unfit("is empty"));
        }
        if text.len() > LONGEST {
            return Err(unfit(&format!("is longer than {LONGEST} bytes")));
        }
        if text.chars().any(char::is_control) {
            return Err(unfit("holds a control character"));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// The key is encrypted, and nobody said the passphrase.
pub(crate) fn missing(path: &Path) -> Problem {
    let message = format!("{} is encrypted, and no passphrase was given", path.display());
    let remedy =
        "name a file with --passphrase-file, set DOORWARD_CA_PASSPHRASE, or run it at a terminal";
    Problem::error(Fault::CertsPassphraseMissing, message, remedy)
}

/// The key is encrypted with another passphrase.
pub(crate) fn wrong(path: &Path) -> Problem {
    let message = format!("the passphrase does not open {}", path.display());
    let remedy = "give the one that was chosen at certs init; without it, make a new authority";
    Problem::error(Fault::CertsWrongPassphrase, message, remedy)
}

fn unfit(reason: &str) -> Problem {
    let remedy = "choose one line of text, such as five words; new keys need 8 characters or more";
    Problem::error(Fault::CertsBadOption, format!("the passphrase {reason}"), remedy)
}

/// `OpenSSL` takes as many at its prompt.
const LONGEST: usize = 1024;

#[cfg(test)]
#[cfg(unix)]
#[path = "passphrase_tests.rs"]
mod tests;

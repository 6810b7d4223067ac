//! The trust stores of macOS and Windows, by their own programs.
//!
//! The commands are those of the systems' manuals and are checked by tests as text; nothing here has been run
//! on either system.

use crate::pki::anchor::keeper::{Keeper, Removal, Sight, Standing};
use crate::pki::anchor::mark::{Anchor, Mark};
use crate::pki::anchor::tool::Tool;
use crate::problem::{Fault, Problem};

/// A trust store that a program of the system keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Native {
    /// The keychain of the system, for every user of a Mac.
    Keychain,
    /// The roots of the present user of Windows, which need no administrator.
    Windows,
}

const SYSTEM_KEYCHAIN: &str = "/Library/Keychains/System.keychain";

impl Native {
    /// The one of the system this program was built for.
    pub(crate) fn of_this_system() -> Option<Self> {
        if cfg!(target_os = "macos") {
            return Some(Self::Keychain);
        }
        cfg!(windows).then_some(Self::Windows)
    }

    fn adding(self, anchor: &Anchor) -> Result<Tool, Problem> {
        let file = anchor.file.as_deref().ok_or_else(|| {
            let message =
                "trust.pem holds several authorities, and this system takes one from a file";
            let remedy = "write the one to be installed into a store of its own";
            Problem::error(Fault::CertsTrustStore, message, remedy)
        })?;
        Ok(match self {
            Self::Keychain => self
                .program()
                .arguments(["add-trusted-cert", "-d", "-r", "trustRoot", "-p", "ssl", "-k"])
                .argument(SYSTEM_KEYCHAIN)
                .argument(file),
            Self::Windows => {
                self.program().arguments(["-user", "-addstore", "Root"]).argument(file)
            }
        })
    }

    fn listing(self) -> Tool {
        match self {
            Self::Keychain => {
                let all = ["find-certificate", "-a", "-Z", SYSTEM_KEYCHAIN];
                self.program().arguments(all)
            }
            Self::Windows => self.program().arguments(["-user", "-store", "Root"]),
        }
    }

    fn removing(self, mark: &Mark) -> Tool {
        match self {
            Self::Keychain => {
                let by_hash = ["delete-certificate", "-t", "-Z", mark.sha256(), SYSTEM_KEYCHAIN];
                self.program().arguments(by_hash)
            }
            Self::Windows => self.program().arguments(["-user", "-delstore", "Root", mark.sha1()]),
        }
    }

    fn program(self) -> Tool {
        match self {
            Self::Keychain => Tool::new("security", "part of macOS"),
            Self::Windows => Tool::new("certutil.exe", "part of Windows"),
        }
    }

    /// Whether a listing names the certificate by the hash that the program prints, in groups or not.
    fn lists(self, mark: &Mark, listing: &[u8]) -> bool {
        let hash = match self {
            Self::Keychain => mark.sha256(),
            Self::Windows => mark.sha1(),
        };
        let hex = |line: &str| -> String {
            line.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect()
        };
        String::from_utf8_lossy(listing).lines().any(|line| hex(line).ends_with(hash))
    }
}

impl Keeper for Native {
    fn place(&self) -> String {
        match self {
            Self::Keychain => SYSTEM_KEYCHAIN.to_owned(),
            Self::Windows => "Root of the present user".to_owned(),
        }
    }

    fn steps(&self, anchor: &Anchor) -> Vec<String> {
        vec![
            self.adding(anchor)
                .map_or_else(|problem| problem.to_string(), |tool| format!("run {tool}")),
        ]
    }

    fn sight(&self, mark: &Mark) -> Result<Sight, Problem> {
        let listed = self.listing().run()?;
        let standing = if self.lists(mark, &listed.output) {
            Standing::Installed
        } else {
            Standing::NotInstalled
        };
        Ok(Sight::of(standing))
    }

    fn add(&self, anchor: &Anchor) -> Result<Option<String>, Problem> {
        self.adding(anchor)?.run().map(|_| None)
    }

    fn remove(&self, mark: &Mark) -> Result<Removal, Problem> {
        if self.sight(mark)?.standing != Standing::Installed {
            return Ok(Removal::Gone);
        }
        self.removing(mark).run()?;
        Ok(Removal::Removed(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Authority;

    fn mark() -> Mark {
        Mark::of(Authority::ephemeral().unwrap().certificate())
    }

    #[test]
    fn the_commands_name_one_certificate_by_its_hash() {
        let mark = mark();
        assert_eq!(
            Native::Keychain.removing(&mark).to_string(),
            format!("security delete-certificate -t -Z {} {SYSTEM_KEYCHAIN}", mark.sha256())
        );
        assert_eq!(
            Native::Windows.removing(&mark).to_string(),
            format!("certutil.exe -user -delstore Root {}", mark.sha1())
        );
    }

    #[test]
    fn a_listing_is_read_with_and_without_groups() {
        let (mark, another) = (mark(), mark());
        let upper = format!("SHA-256 hash: {}\nSHA-1 hash: 00\n", mark.sha256().to_uppercase());
        assert!(Native::Keychain.lists(&mark, upper.as_bytes()));
        let pairs: Vec<_> =
            mark.sha1().as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect();
        let grouped = format!("  Cert Hash(sha1): {}\r\n", pairs.join(" "));
        assert!(Native::Windows.lists(&mark, grouped.as_bytes()));
        assert!(!Native::Windows.lists(&another, grouped.as_bytes()));
    }
}

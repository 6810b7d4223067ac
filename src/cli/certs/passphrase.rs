//! Where the passphrase of an encrypted authority comes from: a file, the environment, or a person.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use doorward::pki::{Passphrase, Store};
use doorward::problem::{Fault, Problem};
use zeroize::Zeroizing;

use super::Directory;

/// A store of which something is to be signed.
#[derive(Debug, clap::Args)]
pub(super) struct Signing {
    #[command(flatten)]
    directory: Directory,
    #[command(flatten)]
    source: Source,
}

/// Where a passphrase comes from. Never from the command line, which every user of the machine can read.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The file whose first line opens the authority's key, if that is encrypted; otherwise
    /// `DOORWARD_CA_PASSPHRASE` is used, or the terminal is asked.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Signing {
    /// The store, with its authority's key unlocked where that is needed.
    pub(super) fn open(&self) -> Result<Store, Problem> {
        let store = self.directory.open()?;
        if !store.needs_passphrase()? {
            return Ok(store);
        }
        let passphrase = match self.source.written()? {
            None if io::stdin().is_terminal() => Some(ask("passphrase of the authority: ")?),
            written => written,
        };
        match passphrase {
            Some(passphrase) => store.unlock(&passphrase),
            // The store says best what is missing.
            None => store.authority().map(|_| store),
        }
    }
}

impl Source {
    pub(super) fn is_written(&self) -> bool {
        self.passphrase_file.is_some()
    }

    /// The passphrase for a new key, asked twice where a person is asked.
    pub(super) fn choose(&self) -> Result<Passphrase, Problem> {
        if let Some(written) = self.written()? {
            return Ok(written);
        }
        if !io::stdin().is_terminal() {
            let message = "no passphrase was given for the authority's key";
            let remedy = "name a file with --passphrase-file, set DOORWARD_CA_PASSPHRASE, or run it at a terminal";
            return Err(Problem::error(Fault::CertsPassphraseMissing, message, remedy));
        }
        let chosen = ask("new passphrase of the authority: ")?;
        chosen.check_new()?;
        if chosen != ask("once more: ")? {
            let message = "the two passphrases are not the same, so nothing was made";
            return Err(Problem::error(Fault::CertsBadOption, message, "try again"));
        }
        Ok(chosen)
    }

    fn written(&self) -> Result<Option<Passphrase>, Problem> {
        if let Some(file) = &self.passphrase_file {
            return Passphrase::read(file).map(Some);
        }
        let Some(value) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let value = value.into_string().map(Zeroizing::new).map_err(|_| {
            let message = format!("{VARIABLE} is not UTF-8");
            Problem::error(Fault::CertsBadOption, message, "write the passphrase into a file")
        })?;
        value.parse().map(Some)
    }
}

fn ask(prompt: &str) -> Result<Passphrase, Problem> {
    let typed = rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| {
        let message = format!("the terminal cannot be asked for the passphrase: {error}");
        let remedy = "name a file with --passphrase-file, or set DOORWARD_CA_PASSPHRASE";
        Problem::error(Fault::CertsPassphraseMissing, message, remedy)
    })?;
    typed.parse()
}

/// Readable by processes of the same user only, unlike the command line.
const VARIABLE: &str = "DOORWARD_CA_PASSPHRASE";

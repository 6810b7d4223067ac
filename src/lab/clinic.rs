//! The certificates of exercise 13, as the learner's file describes them.

use std::path::Path;
use std::sync::Arc;

use doorward::handshake::provider;
use doorward::pki::{Credential, Depth, KeyType, RawName, Usage};
use rustls::sign::CertifiedKey;
use serde::Deserialize;

use super::papers::{Office, Shown, days_from_now, failed, server_draft_with};
use super::stage::{Stop, write};

/// `clinic.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clinic {
    #[serde(default)]
    pub(crate) patient: Vec<Patient>,
}

/// A server's certificate, and what the learner says of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Patient {
    pub(crate) name: String,
    pub(crate) names: Vec<String>,
    /// In days from today.
    pub(crate) valid: [i64; 2],
    pub(crate) purpose: Purpose,
    pub(crate) issuer: Issuer,
    pub(crate) chain: Chain,
    pub(crate) key: Key,
    /// Which of these is wrong; empty where nobody has said.
    #[serde(default)]
    pub(crate) cause: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    Server,
    Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Issuer {
    School,
    /// It vouches for itself.
    Itself,
    /// An authority that has the school's name, and not its key.
    Stranger,
}

/// What is sent with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Chain {
    /// The authority between the root and it.
    Whole,
    Leaf,
}

/// Which key the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Key {
    Own,
    /// One that the certificate is not about.
    Another,
}

/// The school's root, and the authority below it that signs for servers.
pub(crate) struct School {
    root: Office,
    below: Office,
    stranger: Office,
}

impl School {
    /// A new one.
    ///
    /// # Errors
    /// [`Stop::Machine`] where this machine's cryptography fails.
    pub(crate) fn new() -> Result<Self, Stop> {
        let office = || -> Result<(Office, Office), Stop> {
            let root = Office::with_depth(Depth::OneIntermediate)?;
            let below = root.authority().intermediate(KeyType::P256, 800).map_err(failed)?;
            Ok((root, Office::of(below)))
        };
        let (root, below) = office()?;
        Ok(Self { root, below, stranger: office()?.1 })
    }

    /// What a strict client trusts.
    pub(crate) fn root(&self) -> &Office {
        &self.root
    }

    /// The patient's certificate, with the key it is about.
    fn credential(&self, patient: &Patient) -> Result<Credential, Stop> {
        let names: Vec<_> =
            patient.names.iter().map(|name| RawName::Dns(name.as_bytes().to_vec())).collect();
        let [first, last] = patient.valid.map(days_from_now);
        let usage = match patient.purpose {
            Purpose::Server => Usage::Server,
            Purpose::Client => Usage::Client,
        };
        let common = patient.names.first().map_or("nobody", String::as_str);
        let draft = server_draft_with(&names, common)?.valid(first, last).extended_usages(&[usage]);
        match patient.issuer {
            Issuer::School => self.below.sign(&draft),
            Issuer::Stranger => self.stranger.sign(&draft),
            Issuer::Itself => draft.self_signed().map_err(failed),
        }
    }

    /// The patient as a visitor sees it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn shown(&self, patient: &Patient) -> Result<Shown, Stop> {
        let credential = self.credential(patient)?;
        let mut chain = credential.chain().to_vec();
        if patient.chain == Chain::Leaf {
            chain.truncate(1);
        }
        let other = match patient.key {
            Key::Own => None,
            Key::Another => Some(self.below.server("another.school.test")?),
        };
        let key = other.as_ref().unwrap_or(&credential).key();
        let key = provider().key_provider.load_private_key(key).map_err(Stop::machine)?;
        Ok(Arc::new(CertifiedKey::new(chain, key)))
    }
}

/// Writes the certificates of a file beside it, for whoever wants to look at them.
///
/// # Errors
/// In a sentence: what in the file cannot be used.
pub(crate) fn show(file: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let clinic: Clinic =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let broken = |stop: Stop| match stop {
        Stop::Yours(why) | Stop::Machine(why) => why,
    };
    let school = School::new().map_err(broken)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let put = |name: &str, text: &str| {
        write(folder, name, text.as_bytes()).map_err(|error| format!("{name}: {error}"))
    };
    put("patients/root.pem", &school.root().trust_pem())?;
    let mut written = vec!["patients/root.pem".to_owned()];
    for patient in clinic.patient.iter().filter(|patient| is_plain(&patient.name)) {
        let whole = school.credential(patient).map_err(broken)?.chain_pem();
        let leaf = whole.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap_or_default();
        let name = format!("patients/{}.pem", patient.name);
        put(&name, if patient.chain == Chain::Leaf { leaf } else { &whole })?;
        written.push(name);
    }
    Ok(written)
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

//! The file of the lab's door.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

/// What is written in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) listen: Vec<String>,
    pub(super) address: Option<Address>,
    pub(super) tls: Option<Tls>,
    pub(super) service: Service,
}

/// Who may knock; everybody without it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Address {
    pub(super) allow: Vec<IpNet>,
}

/// Without it, everything is sent as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    #[serde(default)]
    pub(super) clients: Clients,
    /// Who may vouch for a client.
    pub(super) client_ca: Option<PathBuf>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Clients {
    #[default]
    Anonymous,
    Optional,
    Required,
}

/// What a visitor gets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
pub(super) enum Service {
    /// The text of a file, and the end.
    Show { file: PathBuf },
    /// For each line, the text of a file; the line is printed, as a sign that it came.
    Answer { file: PathBuf },
    /// For each line, `door open`, with the name of who asked.
    Door,
}

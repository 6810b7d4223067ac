//! The inventory of a store: one line of JSON for everything that was issued or revoked, and none ever changed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::pki::credential::Facts;
use crate::pki::disk;
use crate::pki::profile::{Role, Serial};
use crate::pki::revoke::Reason;
use crate::problem::{Fault, Problem};

/// A certificate the store has issued, and whether it still counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was issued.
    pub issued: Issued,
    /// When and why it was revoked, if it was.
    pub revoked: Option<Revoked>,
}

/// A certificate as it was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its serial number.
    pub serial: Serial,
    /// What it is for.
    pub role: Role,
    /// Its names with their types, such as `dns:localhost`, the one it is filed under first.
    pub names: Vec<String>,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
    /// The first second it is valid.
    #[serde(with = "rfc3339")]
    pub not_before: OffsetDateTime,
    /// The last second it is valid.
    #[serde(with = "rfc3339")]
    pub not_after: OffsetDateTime,
}

impl Issued {
    /// A certificate with these facts, for this role and these names.
    pub(crate) fn new(facts: &Facts, role: Role, names: Vec<String>) -> Self {
        let Facts { serial, sha256, not_before, not_after } = facts.clone();
        Self { serial, role, names, sha256, not_before, not_after }
    }
}

/// That a certificate was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The serial number of the certificate.
    pub serial: Serial,
    /// Why.
    pub reason: Reason,
    /// When.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Line {
    /// A certificate came to be.
    Issued(Issued),
    /// A certificate counts no longer.
    Revoked(Revoked),
}

/// Writes more lines, all of them or none.
pub(crate) fn record(path: &Path, lines: &[Line]) -> Result<(), Problem> {
    let mut text = String::new();
    for line in lines {
        let line = serde_json::to_string(line);
        text.push_str(&line.map_err(|error| unreadable(path, &error.to_string()))?);
        text.push('\n');
    }
    disk::append(path, &text)
}

/// Everything issued, in the order it was.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, Problem> {
    let text =
        std::fs::read_to_string(path).map_err(|error| unreadable(path, &error.to_string()))?;
    let mut entries = Vec::new();
    let mut places = BTreeMap::new();
    for (number, line) in (1_usize..).zip(text.split_inclusive('\n')) {
        // A line without an end was never finished; the next change removes it.
        let Some(line) = line.strip_suffix('\n') else { break };
        let line = serde_json::from_str(line)
            .map_err(|error| unreadable(path, &format!("line {number}: {error}")))?;
        match line {
            Line::Issued(issued) => {
                places.insert(issued.serial.clone(), entries.len());
                entries.push(Entry { issued, revoked: None });
            }
            Line::Revoked(revoked) => {
                let entry = places.get(&revoked.serial).and_then(|at| entries.get_mut(*at));
                let Some(entry): Option<&mut Entry> = entry else {
                    let reason =
                        format!("line {number}: {} was revoked but never issued", revoked.serial);
                    return Err(unreadable(path, &reason));
                };
                entry.revoked.get_or_insert(revoked);
            }
        }
    }
    Ok(entries)
}

fn unreadable(path: &Path, reason: &str) -> Problem {
    let message = format!("the inventory {} cannot be read: {reason}", path.display());
    Problem::error(
        Fault::CertsUnreadable,
        message,
        "put back a copy of the file; without it nothing is issued or revoked",
    )
}

/// Moments as RFC 3339 writes them.
mod rfc3339 {
    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    pub(super) fn serialize<S: Serializer>(
        moment: &OffsetDateTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = moment.format(&Rfc3339).map_err(ser::Error::custom)?;
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<OffsetDateTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)
    }
}

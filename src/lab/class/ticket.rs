//! A ticket: which class, which learner, and the seed of that learner's variants, signed by the class.

use std::path::Path;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Iso8601;
use time::{Date, Duration, OffsetDateTime, Time};

use crate::lab::seed::{Seed, bytes, hex};

/// What the class says of one learner. Beside the id nothing is known of anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    pub(crate) class: String,
    pub(crate) id: String,
    /// The seed of this learner's variants.
    pub(crate) seed: String,
    /// The numbers of the exercises that are handed in.
    pub(crate) exercises: Vec<String>,
    /// The last day, such as 2027-01-29.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<String>,
}

/// The claims, with the key and the signature (Ed25519, RFC 8032) in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ticket {
    pub(crate) claims: Claims,
    pub(crate) key: String,
    signature: String,
}

impl Ticket {
    /// Signs the claims.
    pub(crate) fn sign(claims: Claims, key: &Ed25519KeyPair) -> Self {
        let signature = hex(key.sign(&claims.message()).as_ref());
        Self { claims, key: hex(key.public_key().as_ref()), signature }
    }

    /// Reads a ticket's file.
    ///
    /// # Errors
    /// In words: it cannot be read, is no ticket, or was changed.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Self::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Reads a ticket, and holds its signature against the key in it. Whether that is the key of the class,
    /// only the class can tell.
    ///
    /// # Errors
    /// In words: it is no ticket, or was changed.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err("this is no ticket: it is too long".to_owned());
        }
        let ticket: Self =
            serde_json::from_slice(text).map_err(|error| format!("this is no ticket: {error}"))?;
        let key = bytes(&ticket.key).unwrap_or_default();
        let signature = bytes(&ticket.signature).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, key)
            .verify(&ticket.claims.message(), &signature)
            .map_err(|_| "this ticket was changed: its signature does not fit".to_owned())?;
        if !is_id(&ticket.claims.id) || Seed::parse(&ticket.claims.seed).is_none() {
            return Err("this ticket names nobody".to_owned());
        }
        Ok(ticket)
    }

    /// The file's text.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Claims {
    /// What is signed: what it is for, then the claims as they are written.
    fn message(&self) -> Vec<u8> {
        let claims = serde_json::to_string(self).unwrap_or_default();
        format!("doorward class ticket 1\n{claims}").into_bytes()
    }

    /// Whether a moment, in seconds since 1970, is after the last day, wherever on earth that day ended.
    pub(crate) fn is_late(&self, at: u64) -> bool {
        let end = self.due.as_deref().and_then(|due| day(due).ok()).and_then(|day| {
            let midnight = OffsetDateTime::new_utc(day, Time::MIDNIGHT);
            midnight.checked_add(Duration::hours(36))
        });
        end.is_some_and(|end| i64::try_from(at).is_ok_and(|at| at >= end.unix_timestamp()))
    }
}

/// A day such as 2027-01-29.
///
/// # Errors
/// In words, where it is none.
pub(crate) fn day(text: &str) -> Result<Date, String> {
    Date::parse(text, &Iso8601::DATE)
        .map_err(|_| format!("{text} is no day; write it as 2027-01-29"))
}

/// Whether it can name a learner, and a file: letters, digits, dot, dash and underscore, at most 64.
pub(crate) fn is_id(text: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let starts = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    starts && text.len() <= 64 && text.bytes().all(usual)
}

/// More than a ticket with every exercise has.
const MOST_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let claims = Claims {
            class: "12C".to_owned(),
            id: "ada".to_owned(),
            seed: Seed::named("ada").to_string(),
            exercises: vec!["03".to_owned()],
            due: Some("2027-01-29".to_owned()),
        };
        Ticket::sign(claims, &key)
    }

    #[test]
    fn a_ticket_is_read_as_it_was_signed() {
        let ticket = ticket();
        assert_eq!(Ticket::parse(ticket.text().as_bytes()), Ok(ticket));
    }

    #[test]
    fn every_change_of_a_ticket_is_noticed() {
        let text = ticket().text();
        let seed = Seed::named("ada").to_string();
        let other = Seed::named("ben").to_string();
        for (from, to) in [
            ("\"ada\"", "\"ben\""),
            ("12C", "12D"),
            ("2027", "2028"),
            ("\"03\"", "\"05\""),
            (seed.as_str(), other.as_str()),
        ] {
            let why = Ticket::parse(text.replace(from, to).as_bytes()).unwrap_err();
            assert!(why.contains("was changed"), "{from}: {why}");
        }
        for text in ["", "{}", "[]", &"x".repeat(MOST_BYTES + 1)] {
            assert!(Ticket::parse(text.as_bytes()).unwrap_err().contains("no ticket"));
        }
    }

    #[test]
    fn a_day_ends_where_it_ends_last() {
        let claims = ticket().claims;
        let at = |text: &str| {
            let format = &time::format_description::well_known::Rfc3339;
            u64::try_from(OffsetDateTime::parse(text, format).unwrap().unix_timestamp()).unwrap()
        };
        assert!(!claims.is_late(at("2027-01-29T23:59:59Z")));
        assert!(!claims.is_late(at("2027-01-29T23:59:59-12:00")));
        assert!(claims.is_late(at("2027-01-30T00:00:00-12:00")));
        assert!(!Claims { due: None, ..claims }.is_late(u64::MAX));
    }

    #[test]
    fn an_id_is_no_path() {
        for id in ["ada", "7", "c-0042", "Ada.L_1"] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", ".", "..", "../x", "a/b", "a\\b", "-x", ".x", "a b", "é", &"x".repeat(65)] {
            assert!(!is_id(id), "{id}");
        }
    }
}

//! What came of it: a row an attack, for people and for programs.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Attack;

/// How an attack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was stopped where it must be.
    Held,
    /// It got through, or was stopped somewhere else.
    NotHeld,
    /// Something that it takes is not here, or it means nothing to this configuration.
    CouldNotTry,
}

impl Verdict {
    /// The words in the table.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::NotHeld => "NOT HELD",
            Verdict::CouldNotTry => "could not try",
        }
    }
}

/// One attack, and what came of it. Every text in it is safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Which attack.
    pub attack: Attack,
    /// The room that must stop it.
    pub room: &'static str,
    /// How it must end.
    pub expected: String,
    /// How it ended: a code, or what was seen.
    pub got: String,
    /// What to think of it.
    pub verdict: Verdict,
    /// Why it could not be tried, or how far the verdict can be trusted; often empty.
    pub note: String,
    /// How long it took.
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub took: Duration,
}

/// Everything that a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The service that was attacked.
    pub service: String,
    /// Its address.
    pub target: SocketAddr,
    /// Whether the server's own record was read, or only what an attacker sees.
    pub witness: bool,
    /// How often the honest client was served.
    pub honest: usize,
    /// Why the honest client was not served, where it once was not. Nothing is proven then: a server that
    /// refuses everybody refuses attackers too.
    pub honest_failure: Option<String>,
    /// A row an attack, in the order of the rooms.
    pub rows: Vec<Row>,
}

impl Report {
    /// How many rows have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// Whether the honest client was always served and every attack that could be tried was stopped
    /// where it must be, one at least.
    #[must_use]
    pub fn all_held(&self) -> bool {
        self.honest_failure.is_none()
            && self.count(Verdict::NotHeld) == 0
            && self.count(Verdict::Held) > 0
    }

    /// The report in the XML that continuous integration reads (`JUnit`).
    #[must_use]
    pub fn junit(&self) -> String {
        let failures =
            self.count(Verdict::NotHeld).saturating_add(self.honest_failure.iter().count());
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        // Writing to a string does not fail.
        let _written = writeln!(
            xml,
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{}\" time=\"{}\">",
            escaped(&format!("doorward probe {} {}", self.service, self.target)),
            self.rows.len().saturating_add(1),
            self.count(Verdict::CouldNotTry),
            seconds(self.rows.iter().map(|row| row.took).sum()),
        );
        let failure = self.honest_failure.as_deref();
        let honest = failure.map(|why| ("failure", why.to_owned()));
        testcase(&mut xml, ("honest", "honest-client"), Duration::ZERO, honest);
        for row in &self.rows {
            let said = match row.verdict {
                Verdict::Held => None,
                Verdict::NotHeld => {
                    let Row { expected, got, note, .. } = row;
                    Some(("failure", format!("expected {expected}, got {got} {note}")))
                }
                Verdict::CouldNotTry => Some(("skipped", row.note.clone())),
            };
            testcase(&mut xml, (row.room, row.attack.word()), row.took, said);
        }
        xml.push_str("</testsuite>\n");
        xml
    }
}

fn testcase(xml: &mut String, name: (&str, &str), took: Duration, said: Option<(&str, String)>) {
    let (room, name) = name;
    let _written = write!(
        xml,
        "  <testcase classname=\"doorward.{}\" name=\"{}\" time=\"{}\"",
        escaped(room),
        escaped(name),
        seconds(took)
    );
    let _written = match said {
        Some((tag, why)) => {
            writeln!(xml, "><{tag} message=\"{}\"/></testcase>", escaped(why.trim_end()))
        }
        None => writeln!(xml, "/>"),
    };
}

/// Text in an attribute (XML 1.0 sections 2.2 and 2.4): what may not stand there even as a reference
/// becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            plain => out.push(plain),
        }
    }
    out
}

fn seconds(took: Duration) -> String {
    format!("{}.{:03}", took.as_secs(), took.subsec_millis())
}

fn milliseconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(attack: Attack, verdict: Verdict, note: &str) -> Row {
        let (expected, got) = ("handshake.expired".to_owned(), "let in".to_owned());
        let took = Duration::from_millis(1234);
        Row { attack, room: attack.room(), expected, got, verdict, note: note.to_owned(), took }
    }

    fn report(rows: Vec<Row>) -> Report {
        let (service, target) = ("echo".to_owned(), ([127, 0, 0, 1], 8443).into());
        Report { service, target, witness: true, honest: 2, honest_failure: None, rows }
    }

    #[test]
    fn junit_counts_and_escapes() {
        let rows = vec![
            row(Attack::Expired, Verdict::NotHeld, "a \"<&>\u{1b}\n"),
            row(Attack::Revoked, Verdict::CouldNotTry, "none is here"),
            row(Attack::Silence, Verdict::Held, ""),
        ];
        let xml = report(rows).junit();
        assert!(
            xml.contains("tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"3.702\""),
            "{xml}"
        );
        assert!(xml.contains("got let in a &quot;&lt;&amp;&gt;\u{FFFD}\"/>"), "{xml}");
        assert!(
            xml.contains("name=\"revoked\" time=\"1.234\"><skipped message=\"none is here\"/>"),
            "{xml}"
        );
        assert_eq!(xml.matches("<testcase").count(), 4);
    }

    #[test]
    fn nothing_held_is_not_all_held() {
        assert!(!report(vec![row(Attack::Revoked, Verdict::CouldNotTry, "")]).all_held());
        assert!(report(vec![row(Attack::Expired, Verdict::Held, "")]).all_held());
        let failed = Report {
            honest_failure: Some("no".to_owned()),
            ..report(vec![row(Attack::Expired, Verdict::Held, "")])
        };
        assert!(!failed.all_held());
    }
}

//! What an attack's end means: held, or not.

use std::net::SocketAddr;
use std::time::Duration;

use super::visitor::{Met, Seen};
use super::witness::Testimony;
use super::{Attack, Probe, Row, Verdict};
use crate::peer::PeerText;
use crate::refusal::{Refusal, Room};

/// What came of an attack, before anybody judged it.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// A visit, to be held against the record.
    Met(Met),
    /// What must not happen did not; in words.
    Held(String),
    /// It did; in words.
    NotHeld(String),
}

/// An attack that was made, or why it could not be.
pub(super) type Tried = Result<Outcome, String>;

impl From<Met> for Outcome {
    fn from(met: Met) -> Self {
        Outcome::Met(met)
    }
}

impl Probe {
    pub(super) async fn judge(&self, attack: Attack, tried: Tried, took: Duration) -> Row {
        let (verdict, got, note) = match tried {
            Err(why) => (Verdict::CouldNotTry, "-".to_owned(), why),
            Ok(Outcome::Held(got)) => (Verdict::Held, got, String::new()),
            Ok(Outcome::NotHeld(got)) => (Verdict::NotHeld, got, String::new()),
            Ok(Outcome::Met(met)) => self.judge_visit(attack, &met).await,
        };
        let expected = attack.must_end().to_owned();
        let note = PeerText::from(note.as_str()).to_string();
        Row { attack, room: attack.room(), expected, got, verdict, note, took }
    }

    async fn judge_visit(&self, attack: Attack, met: &Met) -> (Verdict, String, String) {
        let told = match &met.seen {
            Seen::Words(words) => told(words),
            Seen::Open | Seen::Alert(_) | Seen::Ended | Seen::Broken(_) => None,
        };
        if let Some(refusal) = told {
            return by_code(attack, refusal);
        }
        let answered = matches!(met.seen, Seen::Words(_));
        let let_in = || (Verdict::NotHeld, "let in".to_owned(), "the service answered".to_owned());
        // Before its messages are judged, a visitor that is answered got through.
        if answered && attack.room() != "frame" {
            return let_in();
        }
        match self.testimony(met.from).await {
            Testimony::Refused(refusal) => by_code(attack, refusal),
            Testimony::In | Testimony::Unknown if answered => let_in(),
            Testimony::In => (Verdict::NotHeld, "let in".to_owned(), "it has a session".to_owned()),
            Testimony::Unknown => self.by_sight(&met.seen),
        }
    }

    /// What the record says; nothing where there is none.
    pub(super) async fn testimony(&self, from: SocketAddr) -> Testimony {
        self.witness.tells(from).await
    }

    fn by_sight(&self, seen: &Seen) -> (Verdict, String, String) {
        let note = if self.witness.is_there() { UNRECORDED } else { NO_WITNESS };
        let refused = |what: String| (Verdict::Held, what, note.to_owned());
        match seen {
            Seen::Words(_) | Seen::Open => {
                let what = "the server waited for more".to_owned();
                (Verdict::NotHeld, "not refused".to_owned(), what)
            }
            Seen::Alert(alert) => refused(format!("alert {alert}")),
            Seen::Ended => refused("closed".to_owned()),
            Seen::Broken(how) => refused(PeerText::from(how.as_str()).to_string()),
        }
    }
}

fn by_code(attack: Attack, refusal: Refusal) -> (Verdict, String, String) {
    let got = refusal.code().to_owned();
    if attack.ends().contains(&refusal) {
        return (Verdict::Held, got, String::new());
    }
    if refusal.room().word() == attack.room() {
        return (Verdict::NotHeld, got, "the right room, for another reason".to_owned());
    }
    (Verdict::NotHeld, got, "it ended in another room".to_owned())
}

/// The code that a member is told of its refused message.
pub(super) fn told(words: &[u8]) -> Option<Refusal> {
    let words = String::from_utf8_lossy(words);
    let frames = Refusal::ALL.iter().filter(|refusal| refusal.room() == Room::Frame);
    frames.copied().find(|refusal| words.contains(refusal.code()))
}

const NO_WITNESS: &str = "refused; which room cannot be told without [admin]";
const UNRECORDED: &str = "refused; the record has nothing of it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_room_or_reason_is_not_held() {
        let judged = |refusal| by_code(Attack::NameSuffix, refusal);
        let (verdict, got, note) = judged(Refusal::IdentityNotPermitted);
        assert_eq!((verdict, &*got, &*note), (Verdict::Held, "identity.not-permitted", ""));
        let (verdict, _, note) = judged(Refusal::IdentityNoName);
        assert_eq!((verdict, &*note), (Verdict::NotHeld, "the right room, for another reason"));
        let (verdict, _, note) = judged(Refusal::HandshakeTimeout);
        assert_eq!((verdict, &*note), (Verdict::NotHeld, "it ended in another room"));
    }

    #[test]
    fn a_member_is_told_the_code_of_its_message() {
        assert_eq!(told(b"\0\0\0\x14error frame.too-long"), Some(Refusal::FrameTooLong));
        assert_eq!(told(b"{\"error\":\"frame.bad-json\"}\n"), Some(Refusal::FrameBadJson));
        assert_eq!(told(b"identity.not-permitted is what I say"), None);
    }
}

//! The hallway as somebody at a terminal sees it: a line a room, and what would change the verdict.

use doorward::paper::{Change, Edit};
use doorward::refusal::Refusal;
use serde_json::{Value, json};

use crate::cli::screen;

/// A room in the picture.
pub(super) struct Line {
    pub(super) room: &'static str,
    pub(super) mark: Mark,
    /// What it goes by, or why it says no.
    pub(super) says: String,
    /// Where the rule is written.
    pub(super) place: Option<String>,
}

/// What a room said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Passed,
    Refused,
    NotAsked,
}

/// One reason with its remedy.
pub(super) struct Reason {
    pub(super) refusal: Refusal,
    pub(super) change: Option<Change>,
}

/// The whole picture.
pub(super) struct Picture {
    /// Who comes to what.
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
    /// How it ends, in words.
    pub(super) verdict: String,
    /// The reason that counts, then those that the visitor would meet next.
    pub(super) reasons: Vec<Reason>,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Mark::Passed => "passed",
            Mark::Refused => "refused",
            Mark::NotAsked => "not asked",
        }
    }

    fn sign(self) -> char {
        match self {
            Mark::Passed => '+',
            Mark::Refused => 'x',
            Mark::NotAsked => '.',
        }
    }
}

impl Picture {
    pub(super) fn print(&self) {
        screen::say(&self.title);
        for Line { room, mark, says, place } in &self.lines {
            screen::say(format_args!("  {} {room:<10} {:<10} {says}", mark.sign(), mark.word()));
            if let Some(place) = place {
                screen::say(format_args!("{:25}{place}", ""));
            }
        }
        screen::say(&self.verdict);
        for (number, reason) in self.reasons.iter().enumerate() {
            if number == 1 {
                screen::say("That change is not enough: a room behind would refuse as well.");
            }
            reason.print();
        }
    }

    /// The same for a program. The keys are a contract.
    pub(super) fn json(&self, admitted: Option<bool>) -> Value {
        let rooms = self.lines.iter().map(|line| {
            json!({
                "room": line.room, "verdict": line.mark.word(),
                "says": line.says, "place": line.place,
            })
        });
        let reasons = self.reasons.iter().map(Reason::json);
        json!({
            "visitor": self.title,
            "admitted": admitted,
            "rooms": rooms.collect::<Vec<_>>(),
            "reasons": reasons.collect::<Vec<_>>(),
        })
    }
}

impl Reason {
    fn print(&self) {
        screen::say(format_args!("    {}: {}", self.refusal, self.refusal.sentence()));
        let Some(Change { edit, place, also, wider }) = &self.change else {
            return screen::say(format_args!("    remedy: {}", self.refusal.remedy()));
        };
        if !matches!(edit, Edit::Elsewhere(_)) {
            screen::say(format_args!("    remedy: {}", self.refusal.remedy()));
        }
        match place {
            Some(place) => screen::say(format_args!("    smallest change: {edit}, at {place}")),
            None => screen::say(format_args!("    smallest change: {edit}")),
        }
        screen::say(format_args!("        {also}"));
        if let Some(wider) = wider {
            screen::say(format_args!("        {wider}"));
        }
    }

    fn json(&self) -> Value {
        let change = self.change.as_ref().map(|change| {
            json!({
                "edit": change.edit.to_string(),
                "place": change.place.as_ref().map(ToString::to_string),
                "also": change.also,
                "wider": change.wider,
            })
        });
        json!({
            "code": self.refusal.code(),
            "sentence": self.refusal.sentence(),
            "remedy": self.refusal.remedy(),
            "change": change,
        })
    }
}

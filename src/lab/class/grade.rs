//! What a learner earned, and why: the file that a report is made from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::register::Class;
use crate::lab::verdict::Part;

/// Everything of one submission.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Grades {
    pub(crate) class: String,
    pub(crate) id: String,
    /// When it was handed in, by the learner's clock, in seconds since 1970.
    pub(crate) made: u64,
    /// What the teacher should know.
    pub(crate) notes: Vec<String>,
    /// Where it was judged, and how programs were confined.
    pub(crate) place: String,
    pub(crate) exercises: Vec<Grade>,
}

/// One exercise of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Grade {
    pub(crate) exercise: String,
    pub(crate) title: String,
    pub(crate) honest: Score,
    pub(crate) attack: Score,
    pub(crate) gate: Score,
    /// The same with seeds that nobody had seen.
    pub(crate) hidden: Score,
    pub(crate) misconception: Option<String>,
    /// What happened, in sentences.
    pub(crate) said: Vec<String>,
    /// Whose answer it is, where it holds with another learner's seed.
    pub(crate) answer_of: Option<String>,
    pub(crate) milliseconds: u64,
    /// What the learner's journal says, which is no part of the marks.
    pub(crate) journal: Story,
}

/// How the learner came there, by the journal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Story {
    pub(crate) checks: usize,
    pub(crate) hints: u8,
    /// From the start to the last check.
    pub(crate) minutes: u64,
    /// How often each misconception was met.
    pub(crate) met: BTreeMap<String, usize>,
}

/// What became of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Score {
    Earned,
    Missed,
    /// Nothing was handed in, or an earlier part did not hold.
    #[default]
    NotJudged,
    /// This machine could not tell: for the teacher to decide.
    Unclear,
}

impl Score {
    pub(crate) fn of(part: &Part) -> Self {
        match part {
            Part::Held(_) => Self::Earned,
            Part::NotYet(_) => Self::Missed,
            Part::NotJudged => Self::NotJudged,
            Part::Inconclusive(_) => Self::Unclear,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Earned => "earned",
            Self::Missed => "missed",
            Self::NotJudged => "not judged",
            Self::Unclear => "unclear",
        }
    }
}

impl Grade {
    /// The parts with their names and what each is worth.
    pub(crate) fn parts(&self) -> [(&'static str, Score, u32); 4] {
        [
            ("honest", self.honest, 1),
            ("attack", self.attack, 2),
            ("gate", self.gate, 1),
            ("hidden", self.hidden, 2),
        ]
    }

    pub(crate) fn points(&self) -> u32 {
        let earned = self.parts().into_iter().filter(|(_, score, _)| *score == Score::Earned);
        earned.map(|(.., worth)| worth).sum()
    }

    pub(crate) fn is_held(&self) -> bool {
        self.points() == MOST
    }

    pub(crate) fn is_unclear(&self) -> bool {
        self.parts().iter().any(|(_, score, _)| *score == Score::Unclear)
    }

    /// One word for a cell of a table.
    pub(crate) fn state(&self) -> &'static str {
        if self.is_held() {
            "held"
        } else if self.is_unclear() {
            "unclear"
        } else if self.parts().iter().all(|(_, score, _)| *score == Score::NotJudged) {
            "nothing"
        } else {
            "not yet"
        }
    }
}

impl Grades {
    pub(crate) fn points(&self) -> u32 {
        self.exercises.iter().map(Grade::points).sum()
    }

    pub(crate) fn most(&self) -> u32 {
        u32::try_from(self.exercises.len()).unwrap_or(0).saturating_mul(MOST)
    }

    /// Puts it beside the others of the class. A file is there whole, or not at all.
    ///
    /// # Errors
    /// In words, where it cannot be written.
    pub(crate) fn keep(&self, class: &Class) -> Result<(), String> {
        let folder = class.path(FOLDER);
        let path = folder.join(format!("{}.json", self.id));
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        fs::create_dir_all(&folder)
            .map_err(|error| error.to_string())
            .and_then(|()| write_whole(&path, text.as_bytes()))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }

    /// Everything that was marked so far, by the learners' ids.
    ///
    /// # Errors
    /// In words, which file cannot be read.
    pub(crate) fn all(class: &Class) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        for entry in fs::read_dir(class.path(FOLDER)).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read(&path).map_err(|error| error.to_string());
                let grades = text.and_then(|text| {
                    serde_json::from_slice::<Self>(&text).map_err(|error| error.to_string())
                });
                all.push(grades.map_err(|why| format!("{}: {why}", path.display()))?);
            }
        }
        all.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(all)
    }
}

/// Writes a file aside and renames it, so that whoever reads it finds the old one or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    fs::write(&aside, bytes)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(|error| error.to_string())
}

/// What an exercise is worth.
pub(crate) const MOST: u32 = 6;
const FOLDER: &str = "marks";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exercise_is_worth_six_points() {
        let all = Score::Earned;
        let held = Grade { honest: all, attack: all, gate: all, hidden: all, ..Grade::default() };
        assert_eq!((held.points(), held.state()), (MOST, "held"));
        let half = Grade { hidden: Score::Missed, ..held.clone() };
        assert_eq!((half.points(), half.state()), (4, "not yet"));
        let unclear = Grade { gate: Score::Unclear, ..held };
        assert_eq!((unclear.points(), unclear.state()), (5, "unclear"));
        assert_eq!((Grade::default().points(), Grade::default().state()), (0, "nothing"));
    }
}

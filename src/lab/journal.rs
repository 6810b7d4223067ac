//! What a learner did, line by line: only ever added to, each line chained to the one before, and mergeable.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::seed::{Seed, hex};
use super::verdict::Outcome;

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The journal began, with the seed of this learner's variants.
    Began {
        seed: String,
    },
    /// The page on attacking only what is one's own was shown.
    Agreed,
    /// A class's ticket was taken, with the seed it gives.
    Joined {
        seed: String,
        class: String,
        id: String,
    },
    Started {
        exercise: String,
    },
    /// The folder was put back to its start.
    Reset {
        exercise: String,
    },
    Predicted {
        exercise: String,
        answers: Vec<String>,
    },
    Hint {
        exercise: String,
        hint: u8,
    },
    Checked {
        exercise: String,
        outcome: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        misconception: Option<String>,
        milliseconds: u64,
        seed: String,
    },
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Seconds since 1970.
    pub(crate) at: u64,
    /// The journal it was first written to; two machines of one learner have two.
    pub(crate) journal: String,
    /// Its number in that journal, from 1.
    pub(crate) number: u64,
    /// SHA-256 of the line before it in that journal; empty for the first.
    pub(crate) before: String,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// All lines, and where new ones go.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    lines: Vec<Line>,
    own: String,
}

/// How far an exercise is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) started: bool,
    pub(crate) held: bool,
    /// The last outcome, after the last reset.
    pub(crate) last: Option<String>,
    pub(crate) checks: usize,
    pub(crate) hints: u8,
    /// When it was started, and checks and hints since, for the rules of hints.
    pub(crate) started_at: u64,
    pub(crate) checks_since_hint: usize,
    pub(crate) hinted_at: u64,
    /// How often each misconception was recognised.
    pub(crate) misconceptions: BTreeMap<String, usize>,
    pub(crate) answers: Vec<String>,
}

impl Journal {
    /// Reads the file; one that is not there is empty. A last line that was cut off is left out.
    ///
    /// # Errors
    /// In words, where it cannot be read or a line is none.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let whole = text.rfind('\n').map_or(0, |end| end.saturating_add(1));
        if whole < text.len() {
            // A line that was cut off by a crash is no line, and the next must not be glued to it.
            let file = OpenOptions::new().write(true).open(path);
            drop(file.and_then(|file| file.set_len(u64::try_from(whole).unwrap_or_default())));
        }
        let text = text.get(..whole).unwrap_or_default();
        let journal = Self::parse(text).map_err(|why| format!("{}:{why}", path.display()))?;
        Ok(Self { path: path.to_owned(), ..journal })
    }

    /// Reads the text of a journal, which lies nowhere.
    ///
    /// # Errors
    /// In words, which line is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines = parse(text)?;
        let own = lines.last().map_or_else(new_name, |line| line.journal.clone());
        Ok(Self { path: PathBuf::new(), lines, own })
    }

    /// Every line, as the file has it.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + &line.text() + "\n")
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Adds a line to the file.
    ///
    /// # Errors
    /// In words, where it cannot be written.
    pub(crate) fn add(&mut self, event: &Event) -> Result<(), String> {
        let mut own = self.lines.iter().filter(|line| line.journal == self.own);
        let last = own.next_back();
        let line = Line {
            at: now(),
            journal: self.own.clone(),
            number: last.map_or(1, |line| line.number.saturating_add(1)),
            before: last.map(Line::sum).unwrap_or_default(),
            event: event.clone(),
        };
        let mut text = line.text();
        text.push('\n');
        // One write of one line: another process's line stays whole beside it.
        let written = OpenOptions::new().create(true).append(true).open(&self.path);
        let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| format!("{} cannot be written: {error}", self.path.display()))?;
        self.lines.push(line);
        Ok(())
    }

    /// The lines of another journal that are not here yet are added, in the order of their times.
    ///
    /// # Errors
    /// In words, where the other is damaged or this one cannot be written.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<usize, String> {
        other.verify()?;
        let known = |line: &Line| self.lines.contains(line);
        let new: Vec<_> = other.lines.iter().filter(|line| !known(line)).cloned().collect();
        let count = new.len();
        if count == 0 {
            return Ok(0);
        }
        let mut all = self.lines.clone();
        all.extend(new);
        all.sort_by(|one, two| {
            (one.at, &one.journal, one.number).cmp(&(two.at, &two.journal, two.number))
        });
        let path = self.path.clone();
        let merged = Self { lines: all, ..self.clone() };
        let aside = path.with_extension("new");
        std::fs::write(&aside, merged.text())
            .and_then(|()| std::fs::rename(&aside, &path))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        *self = merged;
        Ok(count)
    }

    /// Whether every line follows the one before it in its journal.
    ///
    /// # Errors
    /// In words, which line does not.
    pub(crate) fn verify(&self) -> Result<(), String> {
        let mut last: BTreeMap<&str, (u64, String)> = BTreeMap::new();
        for line in &self.lines {
            let (number, sum) = last.get(line.journal.as_str()).cloned().unwrap_or_default();
            if line.number != number.saturating_add(1) || line.before != sum {
                return Err(format!(
                    "line {} of journal {} does not follow the line before it: something was changed or taken out",
                    line.number, line.journal
                ));
            }
            last.insert(&line.journal, (line.number, line.sum()));
        }
        Ok(())
    }

    /// The seed of this learner's variants: of the class that was joined last, or else the first one.
    pub(crate) fn seed(&self) -> Option<Seed> {
        let joined = self.class_seed();
        let began = || {
            self.lines.iter().find_map(|line| {
                let Event::Began { seed } = &line.event else { return None };
                Seed::parse(seed)
            })
        };
        joined.or_else(began)
    }

    fn class_seed(&self) -> Option<Seed> {
        self.lines.iter().rev().find_map(|line| {
            let Event::Joined { seed, .. } = &line.event else { return None };
            Seed::parse(seed)
        })
    }

    /// The class and the learner's name in it.
    pub(crate) fn class(&self) -> Option<(&str, &str)> {
        self.lines.iter().rev().find_map(|line| {
            let Event::Joined { class, id, .. } = &line.event else { return None };
            Some((class.as_str(), id.as_str()))
        })
    }

    pub(crate) fn has_agreed(&self) -> bool {
        self.lines.iter().any(|line| line.event == Event::Agreed)
    }

    /// How far an exercise is.
    pub(crate) fn standing(&self, exercise: &str) -> Standing {
        let mut standing = Standing::default();
        for line in &self.lines {
            standing.follow(line, exercise);
        }
        standing
    }

    /// The exercise that was worked on last.
    pub(crate) fn latest(&self) -> Option<&str> {
        self.lines.iter().rev().find_map(|line| line.event.exercise())
    }
}

impl Event {
    /// The exercise that it is about.
    pub(crate) fn exercise(&self) -> Option<&str> {
        match self {
            Self::Began { .. } | Self::Agreed | Self::Joined { .. } => None,
            Self::Started { exercise }
            | Self::Reset { exercise }
            | Self::Predicted { exercise, .. }
            | Self::Hint { exercise, .. }
            | Self::Checked { exercise, .. } => Some(exercise),
        }
    }
}

impl Standing {
    fn follow(&mut self, line: &Line, wanted: &str) {
        if line.event.exercise() != Some(wanted) {
            return;
        }
        match &line.event {
            Event::Began { .. } | Event::Agreed | Event::Joined { .. } => {}
            Event::Started { .. } => {
                self.started = true;
                self.started_at = line.at;
            }
            Event::Reset { .. } => self.last = None,
            Event::Predicted { answers, .. } => self.answers.clone_from(answers),
            Event::Hint { hint, .. } => {
                self.hints = self.hints.max(*hint);
                self.checks_since_hint = 0;
                self.hinted_at = line.at;
            }
            Event::Checked { outcome, misconception, .. } => {
                self.checks = self.checks.saturating_add(1);
                self.checks_since_hint = self.checks_since_hint.saturating_add(1);
                self.held |= outcome == Outcome::Held.words();
                self.last = Some(outcome.clone());
                if let Some(code) = misconception {
                    let count = self.misconceptions.entry(code.clone()).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// Which hint may be given now, or what must come first. The first is free; the second comes after a
    /// check; the third after two more, or four minutes. How many are left is not told: learners who know
    /// it use them up.
    pub(crate) fn next_hint(&self, now: u64) -> Result<u8, &'static str> {
        let waited = now.saturating_sub(self.hinted_at) >= 4 * 60;
        match self.hints {
            0 => Ok(1),
            1 if self.checks >= 1 => Ok(2),
            1 => Err("make a check first; it says more than a hint can"),
            2 if self.checks_since_hint >= 2 || waited => Ok(3),
            2 => Err("two more checks, or four minutes with what you have"),
            _ => Err("you have all that can be said without saying it"),
        }
    }
}

impl Line {
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn sum(&self) -> String {
        let sum = digest::digest(&digest::SHA256, self.text().as_bytes());
        hex(sum.as_ref())
    }
}

fn parse(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let line = serde_json::from_str(line)
            .map_err(|error| format!("{number}: this is no line of a journal: {error}"))?;
        lines.push(line);
    }
    Ok(lines)
}

fn new_name() -> String {
    Seed::fresh().dice("journal").word(8)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(number: &str) -> Event {
        Event::Started { exercise: number.to_owned() }
    }

    fn checked(outcome: Outcome, code: Option<&str>) -> Event {
        Event::Checked {
            exercise: "03".to_owned(),
            outcome: outcome.words().to_owned(),
            misconception: code.map(str::to_owned),
            milliseconds: 5,
            seed: String::new(),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.jsonl");
        let mut journal = Journal::read(&path).unwrap();
        let seed = Seed::named("ada");
        journal.add(&Event::Began { seed: seed.to_string() }).unwrap();
        journal.add(&started("03")).unwrap();
        journal.add(&checked(Outcome::NotYet, Some("M03-STOP"))).unwrap();
        journal.add(&checked(Outcome::Held, None)).unwrap();
        let again = Journal::read(&path).unwrap();
        assert_eq!(again.lines, journal.lines);
        assert_eq!(again.verify(), Ok(()));
        assert_eq!(again.seed(), Some(seed));
        let standing = again.standing("03");
        assert!(standing.held && standing.checks == 2 && standing.misconceptions["M03-STOP"] == 1);
        assert_eq!(again.standing("05"), Standing::default());
    }

    #[test]
    fn a_line_that_was_changed_or_taken_out_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.jsonl");
        let mut journal = Journal::read(&path).unwrap();
        for number in ["01", "02", "03"] {
            journal.add(&started(number)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let kept: Vec<_> = text.lines().filter(|line| !line.contains("\"02\"")).collect();
        let without = kept.join("\n") + "\n";
        for damaged in [text.replace("\"02\"", "\"12\""), without] {
            std::fs::write(&path, damaged).unwrap();
            assert!(Journal::read(&path).unwrap().verify().is_err());
        }
    }

    #[test]
    fn a_line_that_was_cut_off_costs_that_line_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.jsonl");
        let mut journal = Journal::read(&path).unwrap();
        journal.add(&started("01")).unwrap();
        journal.add(&started("02")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        let mut again = Journal::read(&path).unwrap();
        assert_eq!(again.lines.len(), 1);
        again.add(&started("03")).unwrap();
        let last = Journal::read(&path).unwrap();
        assert_eq!((last.lines.len(), last.verify()), (2, Ok(())));
    }

    #[test]
    fn two_machines_make_one_progress() {
        let folder = tempfile::tempdir().unwrap();
        let mut school = Journal::read(&folder.path().join("school.jsonl")).unwrap();
        let mut home = Journal::read(&folder.path().join("home.jsonl")).unwrap();
        school.add(&started("01")).unwrap();
        home.add(&started("02")).unwrap();
        home.add(&checked(Outcome::Held, None)).unwrap();
        assert_eq!(school.merge(&home), Ok(2));
        assert_eq!(school.merge(&home), Ok(0));
        assert_eq!(school.verify(), Ok(()));
        assert!(school.standing("03").held && school.standing("01").started);
    }

    #[test]
    fn hints_come_one_by_one() {
        let mut standing = Standing::default();
        assert_eq!(standing.next_hint(0), Ok(1));
        standing.hints = 1;
        assert!(standing.next_hint(1000).is_err());
        standing.checks = 1;
        assert_eq!(standing.next_hint(0), Ok(2));
        standing.hints = 2;
        assert!(standing.next_hint(239).is_err());
        assert_eq!(standing.next_hint(240), Ok(3));
        standing.checks_since_hint = 2;
        assert_eq!(standing.next_hint(0), Ok(3));
        standing.hints = 3;
        assert!(standing.next_hint(9999).is_err());
    }
}

//! Marking: which submissions count, and what each exercise of them is worth.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use doorward::peer::PeerText;
use futures_util::StreamExt as _;

use super::grade::{Grade, Grades, Score, Story};
use super::parcel::{Parcel, answer};
use super::register::Class;
use super::replay::{Run, runs};
use crate::lab::catalogue::Exercise;
use crate::lab::check::{Files, variant};
use crate::lab::verdict::Outcome;

/// How it is marked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marking<'a> {
    pub(crate) class: &'a Class,
    /// How many seeds that nobody has seen each exercise is attacked with.
    pub(crate) hidden: usize,
    /// How many exercises are attacked at the same time.
    pub(crate) width: usize,
    /// Whether a submission after the last day counts.
    pub(crate) takes_late: bool,
}

/// A file that was handed in, and what was found at the first look.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) path: PathBuf,
    pub(crate) parcel: Result<Parcel, String>,
}

/// The submissions in files and folders; of two by the same learner the newer one counts.
///
/// # Errors
/// In words: a folder cannot be read, or there is none.
pub(crate) fn find(class: &Class, from: &[PathBuf]) -> Result<Vec<Submission>, String> {
    let mut paths = Vec::new();
    for path in from {
        if path.is_dir() {
            let entries = fs::read_dir(path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            let is_parcel =
                |path: &PathBuf| path.extension().is_some_and(|extension| extension == "spx");
            paths.extend(entries.flatten().map(|entry| entry.path()).filter(is_parcel));
        } else {
            paths.push(path.clone());
        }
    }
    if paths.is_empty() {
        return Err(
            "there is nothing to mark: doorward lab submit makes files that end in .spx".to_owned()
        );
    }
    paths.sort();
    let open = |path: PathBuf| {
        let parcel = admitted(class, &path);
        Submission { path, parcel }
    };
    let mut all: Vec<_> = paths.into_iter().map(open).collect();
    set_aside_old(&mut all);
    Ok(all)
}

/// The parcel, if this class may mark it.
fn admitted(class: &Class, path: &Path) -> Result<Parcel, String> {
    let parcel = Parcel::read(path)?;
    class.admits(&parcel.ticket)?;
    let id = &parcel.ticket.claims.id;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let named = name.strip_suffix(&format!("-{}", class.about.name));
    match named.filter(|named| *named != id && class.learners().iter().any(|it| it == named)) {
        Some(other) => Err(format!("is named after {other}, and holds the ticket of {id}")),
        None => Ok(parcel),
    }
}

/// Of two submissions of one learner the older one is refused.
fn set_aside_old(all: &mut [Submission]) {
    let mut newest: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for (parcel, path) in all.iter().filter_map(|one| Some((one.parcel.as_ref().ok()?, &one.path)))
    {
        let own = (parcel.manifest.made, path.display().to_string());
        let known = newest.entry(parcel.ticket.claims.id.clone()).or_default();
        if own > *known {
            *known = own;
        }
    }
    for one in all {
        let Ok(parcel) = &one.parcel else { continue };
        if let Some((_, path)) = newest.get(&parcel.ticket.claims.id)
            && *path != one.path.display().to_string()
        {
            one.parcel = Err(format!("is outdated: {path} is newer"));
        }
    }
}

impl Marking<'_> {
    /// Marks one submission. `tell` is called with what there is after each exercise.
    ///
    /// # Errors
    /// In words: it is late, or the class has an exercise that this program has not.
    pub(crate) async fn mark(
        self,
        parcel: &Parcel,
        mut tell: impl FnMut(&Grades),
    ) -> Result<Grades, String> {
        let claims = &parcel.ticket.claims;
        let is_late =
            self.class.about.due.is_some() && self.due(parcel).is_late(parcel.manifest.made);
        if is_late && !self.takes_late {
            return Err(format!(
                "was handed in after {}; --late marks it all the same",
                self.class.about.due.as_deref().unwrap_or_default()
            ));
        }
        let mut grades = Grades {
            class: claims.class.clone(),
            id: claims.id.clone(),
            made: parcel.manifest.made,
            notes: notes(parcel, is_late),
            place: String::new(),
            exercises: Vec::new(),
        };
        let exercises = self.class.exercises()?;
        let jobs = futures_util::stream::iter(&exercises);
        let mut done = jobs.map(|one| self.exercise(parcel, one)).buffered(self.width.max(1));
        while let Some((grade, place)) = done.next().await {
            if !place.is_empty() {
                grades.place = place;
            }
            grades.exercises.push(grade);
            tell(&grades);
        }
        drop(done);
        Ok(grades)
    }

    /// The last day is the class's, which may have moved it since the ticket.
    fn due(self, parcel: &Parcel) -> super::ticket::Claims {
        let due = self.class.about.due.clone();
        super::ticket::Claims { due, ..parcel.ticket.claims.clone() }
    }

    async fn exercise(self, parcel: &Parcel, exercise: &Exercise) -> (Grade, String) {
        let mut grade = Grade {
            exercise: exercise.number.clone(),
            title: exercise.about.title.clone(),
            journal: story(parcel, exercise),
            ..Grade::default()
        };
        let Some(files) = parcel.work.get(&exercise.folder) else {
            grade.said.push("Nothing was handed in.".to_owned());
            return (grade, String::new());
        };
        let files = answer(exercise, files.clone());
        let seed = self.class.seed(&parcel.ticket.claims.id);
        let mut place = String::new();
        match runs(exercise, &files, &seed, self.hidden).await {
            Ok(runs) => {
                place = runs.first().map(|run| run.place.clone()).unwrap_or_default();
                judge(&mut grade, &runs, self.hidden);
            }
            Err(why) => {
                grade.honest = Score::Unclear;
                grade.said.push(format!("Not marked: {why}."));
            }
        }
        if !grade.is_held() {
            grade.answer_of = self.owner(parcel, exercise, &files).await;
        }
        if let Some(other) = &grade.answer_of {
            grade
                .said
                .insert(0, format!("This is the answer of {other}: it holds with that seed."));
        }
        (grade, place)
    }

    /// Another learner of the class whose answer this is. It has that learner's values in it, and holds with
    /// that learner's seed.
    async fn owner(self, parcel: &Parcel, exercise: &Exercise, files: &Files) -> Option<String> {
        let has = |value: &str| {
            let needle = value.as_bytes();
            let within = |bytes: &Vec<u8>| bytes.windows(needle.len()).any(|part| part == needle);
            files.values().any(within)
        };
        for id in self.class.learners() {
            if id == parcel.ticket.claims.id {
                continue;
            }
            let seed = self.class.seed(&id);
            let theirs = variant(exercise, &seed);
            let start = exercise.folder("start");
            let uses = |name: &str| {
                let mark = format!("{{{{{name}}}}}");
                start.values().any(|text| String::from_utf8_lossy(text).contains(&mark))
            };
            let values = theirs.values().filter(|(name, _)| uses(name));
            let (all, any) =
                values.fold((true, false), |(all, _), (_, value)| (all && has(value), true));
            if !(all && any) {
                continue;
            }
            let came = runs(exercise, files, &seed, 0).await;
            if came.is_ok_and(|runs| runs.iter().all(|run| run.outcome == Outcome::Held)) {
                return Some(id);
            }
        }
        None
    }
}

/// What the runs are worth.
fn judge(grade: &mut Grade, runs: &[Run], hidden: usize) {
    let Some(first) = runs.first() else {
        grade.honest = Score::Unclear;
        return;
    };
    grade.milliseconds = runs.iter().map(|run| run.milliseconds).sum();
    grade.misconception.clone_from(&first.misconception);
    grade.said.clone_from(&first.saw);
    if first.outcome == Outcome::Inconclusive {
        // Nothing is proven without the control: no part may be earned or missed.
        (grade.honest, grade.attack, grade.gate) = (Score::Unclear, Score::Unclear, Score::Unclear);
        return;
    }
    grade.honest = Score::of(&first.honest);
    grade.attack = Score::of(&first.attack);
    grade.gate = Score::of(&first.gate);
    // A server that is not there withstands every attack, and has earned nothing by it.
    if grade.honest != Score::Earned {
        (grade.attack, grade.gate) = (Score::NotJudged, Score::NotJudged);
    }
    if first.outcome == Outcome::Held {
        let rest = runs.get(1..).unwrap_or_default();
        let failed = rest.iter().find(|run| run.outcome != Outcome::Held);
        grade.hidden = match failed {
            None if rest.len() == hidden => Score::Earned,
            Some(run) if run.outcome == Outcome::NotYet => Score::Missed,
            Some(_) | None => Score::Unclear,
        };
        if let Some(run) = failed {
            grade.said.push("With a seed that nobody had seen:".to_owned());
            grade.said.extend(run.saw.iter().cloned());
            grade.misconception.clone_from(&run.misconception);
        }
    }
}

/// What the teacher should know of the whole submission.
fn notes(parcel: &Parcel, is_late: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if is_late {
        notes.push("handed in after the last day".to_owned());
    }
    if let Err(why) = parcel.journal.verify() {
        notes.push(format!("the journal cannot be believed: {why}"));
    }
    let claims = &parcel.ticket.claims;
    match parcel.journal.class() {
        Some((class, id)) if class != claims.class || id != claims.id => {
            let id = PeerText::escaped(id.as_bytes());
            notes.push(format!("the journal is that of {id}, not of {}", claims.id));
        }
        Some(_) => {}
        None => notes.push("the journal never joined the class".to_owned()),
    }
    if parcel.manifest.version != env!("CARGO_PKG_VERSION") {
        let version = PeerText::escaped(parcel.manifest.version.as_bytes());
        notes.push(format!("made by doorward {version}, marked by {}", env!("CARGO_PKG_VERSION")));
    }
    notes
}

fn story(parcel: &Parcel, exercise: &Exercise) -> Story {
    let standing = parcel.journal.standing(&exercise.number);
    let own = |line: &&crate::lab::journal::Line| line.event.exercise() == Some(&exercise.number);
    let times = || parcel.journal.lines().iter().filter(own).map(|line| line.at);
    let seconds = times().max().unwrap_or(0).saturating_sub(times().min().unwrap_or(0));
    // Codes are the exercise's own; what else a journal has is not repeated.
    let known = |(code, _): &(&String, &usize)| exercise.misconception(code).is_some();
    let met = standing.misconceptions.iter().filter(known);
    Story {
        checks: standing.checks,
        hints: standing.hints,
        minutes: seconds.checked_div(60).unwrap_or(0),
        met: met.map(|(code, count)| (code.clone(), *count)).collect(),
    }
}

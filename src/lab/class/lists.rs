//! The lists for other programs: marks, misconceptions, and the lines that GitHub Classroom reads.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::grade::{Grade, Grades, MOST};
use crate::lab::catalogue::Exercise;

/// A misconception, and who met it.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) code: String,
    pub(crate) exercise: String,
    pub(crate) means: String,
    /// Who handed in an answer with it.
    pub(crate) kept: BTreeSet<String>,
    /// Who met it on the way, by their journals.
    pub(crate) passed: BTreeSet<String>,
}

impl Met {
    /// Everybody who had it at any time.
    pub(crate) fn learners(&self) -> BTreeSet<&String> {
        self.kept.union(&self.passed).collect()
    }
}

/// Every misconception that somebody had, the most frequent first.
pub(crate) fn misconceptions(all: &[Grades], exercises: &[Exercise]) -> Vec<Met> {
    let mut found: BTreeMap<String, Met> = BTreeMap::new();
    for (grades, grade) in
        all.iter().flat_map(|own| own.exercises.iter().map(move |one| (own, one)))
    {
        let mut note = |code: &String, is_kept: bool| {
            let exercise = exercises.iter().find(|one| one.number == grade.exercise);
            let means = exercise.and_then(|one| one.misconception(code));
            let means = means.map(|known| known.means.clone()).unwrap_or_default();
            let met = found.entry(code.clone()).or_insert_with(|| Met {
                code: code.clone(),
                exercise: grade.exercise.clone(),
                means,
                kept: BTreeSet::new(),
                passed: BTreeSet::new(),
            });
            let who = if is_kept { &mut met.kept } else { &mut met.passed };
            who.insert(grades.id.clone());
        };
        if let Some(code) = &grade.misconception {
            note(code, true);
        }
        for code in grade.journal.met.keys() {
            note(code, false);
        }
    }
    let mut list: Vec<_> = found.into_values().collect();
    list.sort_by(|one, other| {
        other.learners().len().cmp(&one.learners().len()).then_with(|| one.code.cmp(&other.code))
    });
    list
}

/// A row for each learner and exercise.
///
/// # Errors
/// In words, where a row cannot be written.
pub(crate) fn grades_csv(all: &[Grades]) -> Result<Vec<u8>, String> {
    let head = [
        "id",
        "exercise",
        "title",
        "points",
        "most",
        "honest",
        "attack",
        "gate",
        "hidden",
        "misconception",
        "answer_of",
        "checks",
        "hints",
        "minutes",
        "met",
        "notes",
    ];
    let row = |own: &Grades, one: &Grade| {
        let met: Vec<_> = one.journal.met.keys().cloned().collect();
        vec![
            own.id.clone(),
            one.exercise.clone(),
            one.title.clone(),
            one.points().to_string(),
            MOST.to_string(),
            one.honest.word().to_owned(),
            one.attack.word().to_owned(),
            one.gate.word().to_owned(),
            one.hidden.word().to_owned(),
            one.misconception.clone().unwrap_or_default(),
            one.answer_of.clone().unwrap_or_default(),
            one.journal.checks.to_string(),
            one.journal.hints.to_string(),
            one.journal.minutes.to_string(),
            met.join(" "),
            own.notes.join("; "),
        ]
    };
    let rows = all.iter().flat_map(|own| own.exercises.iter().map(move |one| row(own, one)));
    table(&head, rows)
}

/// A row for each misconception.
///
/// # Errors
/// In words, where a row cannot be written.
pub(crate) fn misconceptions_csv(met: &[Met]) -> Result<Vec<u8>, String> {
    let head = ["code", "exercise", "learners", "handed_in_with_it", "met_on_the_way", "means"];
    let row = |one: &Met| {
        vec![
            one.code.clone(),
            one.exercise.clone(),
            one.learners().len().to_string(),
            one.kept.len().to_string(),
            one.passed.len().to_string(),
            one.means.clone(),
        ]
    };
    table(&head, met.iter().map(row))
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<Vec<u8>, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| format!("the list cannot be written: {error}");
    writer.write_record(head).map_err(failed)?;
    for row in rows {
        writer.write_record(row.iter().map(|cell| harmless(cell))).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| format!("the list cannot be written: {error}"))
}

/// A spreadsheet takes a cell that begins like this for a formula, and computes it.
fn harmless(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{cell}") } else { cell.to_owned() }
}

/// The two lines by which a run of GitHub Classroom knows the points.
pub(crate) fn notices(grades: &Grades) -> [String; 2] {
    let (points, most) = (grades.points(), grades.most());
    [
        format!("::notice title=Autograding complete::Points {points}/{most}"),
        format!(
            "::notice title=Autograding report::{}",
            json!({"totalPoints": points, "maxPoints": most})
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for cell in ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"] {
            assert_eq!(harmless(cell), format!("'{cell}"));
        }
        assert_eq!(harmless("M03-STOP"), "M03-STOP");
    }
}

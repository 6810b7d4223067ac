//! Where a mistake lies, shown on an answer that has it and one that has not: for whoever made it twice.

use std::collections::BTreeSet;

use super::catalogue::Exercise;
use super::variant::Variant;

/// The lines in which two answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Worked {
    pub(crate) file: String,
    pub(crate) with: Vec<String>,
    pub(crate) without: Vec<String>,
}

/// The known wrong answer of this code beside the solution nearest to it; none where they have too little in
/// common to be compared.
pub(crate) fn worked(exercise: &Exercise, variant: &Variant, code: &str) -> Option<Worked> {
    let wrong = variant.fill_all(&exercise.folder(&format!("wrong/{code}")));
    let solutions = exercise.folders("solution");
    let pairs = wrong.iter().filter(|(name, _)| *name != "lab.toml").flat_map(|(name, bytes)| {
        let compared = solutions.iter().filter_map(move |solution| {
            let right = variant.fill_all(&exercise.folder(solution));
            Some(differences(name, bytes, right.get(name)?))
        });
        compared.collect::<Vec<_>>()
    });
    let short = |one: &Worked| {
        let longest = one.with.len().max(one.without.len());
        (1..=MOST_LINES).contains(&longest)
    };
    pairs.filter(short).min_by_key(|one| one.with.len().saturating_add(one.without.len()))
}

fn differences(file: &str, wrong: &[u8], right: &[u8]) -> Worked {
    let lines = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        let is_said = |line: &&str| !line.is_empty() && !line.starts_with('#');
        text.lines().map(str::trim).filter(is_said).map(str::to_owned).collect()
    };
    let (wrong, right) = (lines(wrong), lines(right));
    let only = |these: &[String], others: &[String]| {
        let others: BTreeSet<_> = others.iter().collect();
        these.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    Worked { file: file.to_owned(), with: only(&wrong, &right), without: only(&right, &wrong) }
}

/// More is no step, but another answer.
const MOST_LINES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::check::variant;
    use crate::lab::seed::Seed;

    #[test]
    fn a_mistake_is_shown_by_the_lines_that_make_it() {
        let exercise = Exercise::find("02").unwrap();
        let variant = variant(&exercise, &Seed::named("ada"));
        let shown = worked(&exercise, &variant, "M02-REUSEPORT").unwrap();
        assert_eq!(shown.file, "seat.toml");
        assert_eq!(shown.with, ["take = \"reuse-port\""]);
        assert_eq!(shown.without, ["take = \"reuse-address\""]);
        assert_eq!(worked(&exercise, &variant, "M02-NOBODY"), None);
    }

    #[test]
    fn most_misconceptions_can_be_shown() {
        let exercises = Exercise::all().unwrap();
        let (mut all, mut shown) = (0, 0);
        for exercise in &exercises {
            let variant = variant(exercise, &Seed::named("ada"));
            for known in &exercise.about.misconceptions {
                all += 1;
                shown += usize::from(worked(exercise, &variant, &known.code).is_some());
            }
        }
        assert!(shown * 10 > all * 8, "{shown} of {all}");
    }
}

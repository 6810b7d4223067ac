//! Which exercise teaches what an examination board asks for.

use serde::{Deserialize, Serialize};

use crate::lab::catalogue::Exercise;

/// A statement of a specification, and the exercises about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    /// `aqa`, `ocr`, `cie` or `gcse`.
    pub(crate) board: String,
    /// The number in the specification.
    pub(crate) code: String,
    /// The statement in other words.
    pub(crate) says: String,
    pub(crate) exercises: Vec<String>,
    /// Whether the number was compared with the current specification; boards renumber.
    #[serde(default)]
    pub(crate) verified: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    statement: Vec<Statement>,
}

/// Every statement.
///
/// # Errors
/// In words, where the file of this program cannot be read.
pub(crate) fn all() -> Result<Vec<Statement>, String> {
    let text = include_str!("../../../labs/syllabus.toml");
    let file: File = toml::from_str(text).map_err(|error| format!("syllabus.toml: {error}"))?;
    let known: Vec<_> = Exercise::all()?.into_iter().map(|one| one.number).collect();
    let mut all = file.statement;
    for statement in &mut all {
        statement.exercises.retain(|number| known.contains(number));
    }
    all.retain(|statement| !statement.exercises.is_empty());
    Ok(all)
}

/// The boards that are known.
pub(crate) const BOARDS: [&str; 4] = ["aqa", "ocr", "cie", "gcse"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exercise_is_in_the_syllabus_and_nothing_else_is() {
        let (all, exercises) = (all().unwrap(), Exercise::all().unwrap());
        for statement in &all {
            assert!(BOARDS.contains(&statement.board.as_str()), "{}", statement.board);
            assert!(!statement.says.is_empty() && !statement.exercises.is_empty());
        }
        for exercise in &exercises {
            for board in ["aqa", "ocr", "cie"] {
                let has = |one: &&Statement| {
                    one.board == board && one.exercises.contains(&exercise.number)
                };
                assert!(all.iter().any(|one| has(&one)), "{board} has no {}", exercise.number);
            }
        }
    }
}

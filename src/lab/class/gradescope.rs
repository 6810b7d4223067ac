//! `results.json`, as Gradescope reads it (Gradescope autograder documentation, "Output format").

use serde_json::{Value, json};

use super::grade::{Grade, Grades, Score};

/// What there is so far; it is a valid file after each exercise.
pub(crate) fn results(grades: &Grades, seconds: u64) -> Value {
    let held = grades.exercises.iter().filter(|one| one.is_held()).count();
    let tests: Vec<_> = grades.exercises.iter().flat_map(tests).collect();
    json!({
        "score": grades.points(),
        "execution_time": seconds,
        "output": summary(grades, held),
        "output_format": "text",
        "stdout_visibility": "hidden",
        "tests": tests,
        "leaderboard": [{"name": "Exercises held", "value": held}],
    })
}

/// A submission that cannot be marked is worth nothing, and says why.
pub(crate) fn refused(why: &str) -> Value {
    json!({
        "score": 0,
        "output": format!("This submission {why}."),
        "output_format": "text",
        "stdout_visibility": "hidden",
        "tests": [],
    })
}

fn summary(grades: &Grades, held: usize) -> String {
    let mut text = format!("{held} of {} exercises held", grades.exercises.len());
    for note in &grades.notes {
        text.push('\n');
        text.push_str(note);
    }
    text
}

/// A test for each part, of which the hidden one is shown once the marks are out.
fn tests(grade: &Grade) -> Vec<Value> {
    let part = |(number, (name, score, worth)): (usize, (&'static str, Score, u32))| {
        let earned = if score == Score::Earned { worth } else { 0 };
        let is_hidden = name == "hidden";
        json!({
            "number": format!("{}.{number}", grade.exercise),
            "name": format!("{} {}: {name}", grade.exercise, grade.title),
            "score": earned,
            "max_score": worth,
            "status": if score == Score::Earned { "passed" } else { "failed" },
            "output": if is_hidden { score.word().to_owned() } else { told(grade, score) },
            "output_format": "text",
            "visibility": if is_hidden { "after_published" } else { "visible" },
            "extra_data": {"misconception": grade.misconception, "part": score},
        })
    };
    (1..).zip(grade.parts()).map(part).collect()
}

fn told(grade: &Grade, score: Score) -> String {
    let code = grade.misconception.as_deref().map(|code| format!("\n({code})"));
    match score {
        Score::Earned => score.word().to_owned(),
        Score::Missed | Score::Unclear | Score::NotJudged => {
            format!("{}\n{}{}", score.word(), grade.said.join("\n"), code.unwrap_or_default())
        }
    }
}

//! `doorward explain CODE`: what a code means, and what to do about it.

use doorward::problem::Fault;
use doorward::refusal::Refusal;
use doorward::tunnel::Denial;
use serde_json::json;

use super::lessons::{self, Lesson};
use crate::cli::{Exit, screen};

/// One code, whichever kind of no it is.
struct Explained {
    code: &'static str,
    sentence: &'static str,
    remedy: Option<&'static str>,
    /// A refusal's alone.
    lesson: Option<&'static Lesson>,
}

/// Explains a code from the log, from check, or from a start that was refused; all of them without one.
pub(super) fn run(code: Option<&str>, json: bool) -> Exit {
    let known = known();
    let Some(code) = code else {
        for explained in &known {
            print(explained, json);
        }
        return Exit::Fine;
    };
    if let Some(explained) = known.iter().find(|explained| explained.code == code) {
        print(explained, json);
        return Exit::Fine;
    }
    let near = |explained: &&Explained| strsim::jaro_winkler(code, explained.code);
    let nearest = known.iter().max_by(|one, other| near(one).total_cmp(&near(other)));
    let nearest = nearest.filter(|nearest| near(nearest) > 0.7);
    let remedy = match nearest {
        Some(nearest) => format!("did you mean {}?", nearest.code),
        None => "doorward explain lists all codes".to_owned(),
    };
    screen::tell(format_args!("doorward: {code:?} is no code\n    {remedy}"));
    Exit::Failed
}

fn known() -> Vec<Explained> {
    let refusals = Refusal::ALL.iter().map(|refusal| Explained {
        code: refusal.code(),
        sentence: refusal.sentence(),
        remedy: Some(refusal.remedy()),
        lesson: lessons::of(*refusal),
    });
    // What to do about a fault depends on what was seen, and stands beside it where it is reported.
    let faults = Fault::ALL.iter().map(|fault| Explained {
        code: fault.code(),
        sentence: fault.sentence(),
        remedy: None,
        lesson: None,
    });
    let denials = Denial::ALL.iter().map(|denial| Explained {
        code: denial.code(),
        sentence: denial.sentence(),
        remedy: Some(denial.remedy()),
        lesson: None,
    });
    refusals.chain(denials).chain(faults).collect()
}

fn print(explained: &Explained, json: bool) {
    let Explained { code, sentence, remedy, lesson } = explained;
    let example = lesson.map(|lesson| lesson.example);
    let law = lesson.and_then(|lesson| lesson.law);
    if json {
        screen::say(json!({
            "code": code, "sentence": sentence, "remedy": remedy, "example": example, "law": law,
        }));
        return;
    }
    screen::say(format_args!("{code}\n    {sentence}"));
    for (what, text) in [("remedy", *remedy), ("example", example), ("law", law)] {
        if let Some(text) = text {
            screen::say(format_args!("    {what}: {text}"));
        }
    }
}

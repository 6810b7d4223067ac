//! `doorward lab check` and `doorward lab attack`.

use doorward::peer::PeerText;
use serde_json::json;

use super::{Exit, chosen, in_runtime, screen};
use crate::lab::catalogue::Exercise;
use crate::lab::check::Checker;
use crate::lab::home::Home;
use crate::lab::journal::Event;
use crate::lab::picture::Look;
use crate::lab::seed::Seed;
use crate::lab::verdict::{Outcome, Verdict};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The exercise's number; the one you are at, without it.
    exercise: Option<String>,
    /// Print the verdict as JSON.
    #[arg(long)]
    json: bool,
    /// Repeat a run with the seed that its verdict names.
    #[arg(long, value_name = "SEED", value_parser = seed)]
    seed: Option<Seed>,
}

#[derive(Debug, clap::Args)]
pub(super) struct AttackArgs {
    /// The exercise's number; the one you are at, without it.
    exercise: Option<String>,
}

pub(super) fn run(home: Home, args: &Args, look: Look) -> Result<Exit, String> {
    let exercise = chosen(&home, args.exercise.as_deref())?;
    let (verdict, home) = judge(home, &exercise, args.seed.clone())?;
    let standing = home.journal.standing(&exercise.number);
    if args.json {
        screen::say(json!(verdict));
    } else {
        screen::say(look.verdict(&exercise, &verdict, standing.checks).trim_end());
        after(&exercise, &verdict, &home, look);
    }
    Ok(exit(verdict.outcome))
}

/// Checks, and writes it into the journal.
pub(super) fn judge(
    mut home: Home,
    exercise: &Exercise,
    seed: Option<Seed>,
) -> Result<(Verdict, Home), String> {
    let files = home.files(exercise)?;
    let learner = home.seed()?;
    let run = seed.unwrap_or_else(Seed::fresh);
    let checker = Checker::enter();
    let verdict = in_runtime(checker.check(exercise, &files, &learner, &run))?;
    home.journal.add(&Event::Checked {
        exercise: exercise.number.clone(),
        outcome: verdict.outcome.words().to_owned(),
        misconception: verdict.findings.misconception.clone(),
        milliseconds: verdict.milliseconds,
        seed: verdict.seed.clone(),
    })?;
    Ok((verdict, home))
}

/// What to do next.
pub(super) fn after(exercise: &Exercise, verdict: &Verdict, home: &Home, look: Look) {
    let number = &exercise.number;
    match verdict.outcome {
        Outcome::Held => {
            let all = Exercise::all().unwrap_or_default();
            let held = |one: &&Exercise| home.journal.standing(&one.number).held;
            let count = all.iter().filter(held).count();
            let bar = look.bar(count, all.len());
            screen::say(format_args!("\n   {bar} {count} of {} held", all.len()));
            screen::say(format_args!("   what happened, and why: doorward lab debrief {number}"));
            if let Some(next) = all.iter().find(|one| !home.journal.standing(&one.number).held) {
                let (next, title) = (&next.number, &next.about.title);
                screen::say(format_args!("   next: doorward lab start {next}   ({title})"));
            }
        }
        Outcome::NotYet => {
            screen::say(format_args!("\n   a hint: doorward lab hint {number}"));
        }
        Outcome::Inconclusive => {
            screen::say(
                "\n   This is no verdict on your work. doorward lab doctor says what this machine can measure.",
            );
        }
    }
}

pub(super) fn exit(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Held => Exit::Fine,
        Outcome::NotYet => Exit::Failed,
        Outcome::Inconclusive => Exit::Inconclusive,
    }
}

pub(super) fn attack(home: Home, args: &AttackArgs, look: Look) -> Result<Exit, String> {
    let exercise = chosen(&home, args.exercise.as_deref())?;
    let mut home = home;
    let files = home.files(&exercise)?;
    let learner = home.seed()?;
    let checker = Checker::enter();
    let findings = in_runtime(checker.visit(&exercise, &files, &learner, &Seed::fresh()))?;
    let title = look.bold(&exercise.about.title);
    screen::say(format_args!(" {} · {title}: the attack alone\n", exercise.number));
    for walk in findings.walks.iter().filter(|walk| walk.hostile) {
        screen::say(look.walk(walk).trim_end());
    }
    screen::say("");
    for sentence in &findings.saw {
        screen::say(format_args!("   {}", PeerText::escaped(sentence.as_bytes())));
    }
    Ok(if findings.attack.is_not_yet() { Exit::Failed } else { Exit::Fine })
}

fn seed(text: &str) -> Result<Seed, String> {
    Seed::parse(text)
        .ok_or_else(|| "a seed is 64 hexadecimal digits, as a verdict names it".to_owned())
}

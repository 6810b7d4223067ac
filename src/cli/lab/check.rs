//! `doorward lab check` and `doorward lab attack`.

use std::fs;
use std::path::PathBuf;

use doorward::peer::PeerText;
use serde_json::json;

use super::{Exit, chosen, in_runtime, screen};
use crate::lab::catalogue::Exercise;
use crate::lab::check::{Checker, variant};
use crate::lab::home::Home;
use crate::lab::journal::Event;
use crate::lab::look::page;
use crate::lab::picture::Look;
use crate::lab::seed::Seed;
use crate::lab::verdict::{Findings, Outcome, Verdict};
use crate::lab::worked::worked;

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

#[derive(Debug, clap::Args)]
pub(super) struct LookArgs {
    /// The exercise's number; the one you are at, without it.
    exercise: Option<String>,
    /// Write the recorded conversation for Wireshark, with the keys that decrypt it.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Write a page that replays the ways through the rooms and explains the bytes.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
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
            again(exercise, verdict, home);
            screen::say(format_args!("\n   a hint: doorward lab hint {number}"));
        }
        Outcome::Inconclusive => {
            screen::say(
                "\n   This is no verdict on your work. doorward lab doctor says what this machine can measure.",
            );
        }
    }
}

/// Whoever makes the same mistake again does not ask for help: those who need it most ask least.
fn again(exercise: &Exercise, verdict: &Verdict, home: &Home) {
    let Some(code) = &verdict.findings.misconception else { return };
    let met = home.journal.standing(&exercise.number).misconceptions.get(code).copied();
    let Some(seed) = home.journal.seed().filter(|_| met.unwrap_or(0) > 1) else { return };
    let Some(shown) = worked(exercise, &variant(exercise, &seed), code) else { return };
    screen::say(format_args!("\n   {code} once more: compare two answers, in {}.", shown.file));
    for (whose, lines) in [("with it", &shown.with), ("without", &shown.without)] {
        let lines = if lines.is_empty() { &["(nothing of this)".to_owned()][..] } else { lines };
        for line in lines {
            screen::say(format_args!("   {whose}   {line}"));
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
    let findings = visit(home, &exercise)?;
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

pub(super) fn look(home: Home, args: &LookArgs, look: Look) -> Result<Exit, String> {
    let exercise = chosen(&home, args.exercise.as_deref())?;
    let findings = visit(home, &exercise)?;
    let write = |file: &PathBuf, bytes: &[u8]| {
        fs::write(file, bytes)
            .map_err(|error| format!("{} cannot be written: {error}", file.display()))
    };
    if let Some(file) = &args.pcap {
        if findings.capture.segments.is_empty() {
            return Err(format!(
                "the conversation of exercise {} passes no relay that records it",
                exercise.number
            ));
        }
        write(file, &findings.capture.pcapng())?;
        screen::say(format_args!(
            "{} holds the bytes and the keys to read them: open it with Wireshark",
            file.display()
        ));
    }
    if let Some(file) = &args.html {
        write(file, page(&exercise, &findings).as_bytes())?;
        screen::say(format_args!("{} is a page for any browser", file.display()));
    }
    if args.pcap.is_none() && args.html.is_none() {
        for walk in &findings.walks {
            screen::say(look.walk(walk).trim_end());
        }
    }
    Ok(Exit::Fine)
}

/// Visits the work as it is now, and judges nothing.
fn visit(mut home: Home, exercise: &Exercise) -> Result<Findings, String> {
    let files = home.files(exercise)?;
    let learner = home.seed()?;
    let checker = Checker::enter();
    in_runtime(checker.visit(exercise, &files, &learner, &Seed::fresh()))
}

fn seed(text: &str) -> Result<Seed, String> {
    Seed::parse(text)
        .ok_or_else(|| "a seed is 64 hexadecimal digits, as a verdict names it".to_owned())
}

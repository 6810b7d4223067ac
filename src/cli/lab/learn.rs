//! What a learner does beside checking: start, predict, ask for a hint, read the debrief, begin again.

use std::fs;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use super::{Exit, chosen, screen};
use crate::lab::catalogue::Exercise;
use crate::lab::check::variant;
use crate::lab::home::Home;
use crate::lab::journal::{Event, Journal, now};
use crate::lab::picture::Look;

#[derive(Debug, clap::Args)]
pub(super) struct StartArgs {
    /// The exercise's number.
    exercise: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct HintArgs {
    /// The exercise's number; the one you are at, without it.
    exercise: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct PredictArgs {
    /// The exercise's number; the one you are at, without it.
    exercise: Option<String>,
    /// The answers, by their numbers, where nobody is there to be asked.
    #[arg(long, value_name = "NUMBER", num_args = 1..)]
    answer: Vec<usize>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResetArgs {
    /// The exercise's number.
    exercise: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct DebriefArgs {
    /// The exercise's number; the one you are at, without it.
    exercise: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct SyncArgs {
    /// The progress.jsonl of the other machine.
    file: PathBuf,
}

pub(super) fn start(mut home: Home, args: &StartArgs, look: Look) -> Result<Exit, String> {
    let exercise = Exercise::find(&args.exercise)?;
    let folder = home.start(&exercise)?;
    if !home.journal.has_agreed() {
        screen::say(ETHICS);
        home.journal.add(&Event::Agreed)?;
    }
    let text = fs::read_to_string(folder.join("task.md")).unwrap_or_default();
    screen::say(text.trim_end());
    let number = &exercise.number;
    screen::say(format_args!("\n{} {}", look.bold("Your folder:"), folder.display()));
    if !exercise.about.predictions.is_empty() {
        screen::say(format_args!("First, what do you expect? doorward lab predict {number}"));
    }
    screen::say(format_args!(
        "Then: doorward lab check {number}, or doorward lab to check at every change"
    ));
    Ok(Exit::Fine)
}

pub(super) fn hint(mut home: Home, args: &HintArgs) -> Result<Exit, String> {
    let exercise = chosen(&home, args.exercise.as_deref())?;
    let standing = home.journal.standing(&exercise.number);
    let variant = variant(&exercise, &home.seed()?);
    let given = usize::from(standing.hints);
    let text = |hint: &String| String::from_utf8_lossy(&variant.fill(hint.as_bytes())).into_owned();
    for (number, hint) in (1..).zip(exercise.about.hints.iter().take(given)) {
        screen::say(format_args!("{number}. {}", text(hint)));
    }
    match standing.next_hint(now()) {
        Ok(number) => {
            let hint = exercise.about.hints.get(usize::from(number).saturating_sub(1));
            screen::say(format_args!("{number}. {}", hint.map(text).unwrap_or_default()));
            home.journal.add(&Event::Hint { exercise: exercise.number.clone(), hint: number })?;
        }
        Err(why) => screen::say(format_args!("Not now: {why}.")),
    }
    Ok(Exit::Fine)
}

pub(super) fn predict(mut home: Home, args: &PredictArgs) -> Result<Exit, String> {
    let exercise = chosen(&home, args.exercise.as_deref())?;
    let questions = &exercise.about.predictions;
    if questions.is_empty() {
        return Err(format!("exercise {} asks for no prediction", exercise.number));
    }
    let mut given = args.answer.iter().copied();
    let mut answers = Vec::new();
    for question in questions {
        screen::say(&question.ask);
        for (number, choice) in (1..).zip(&question.choices) {
            screen::say(format_args!("  {number}. {choice}"));
        }
        let number = match given.next() {
            Some(number) => number,
            None => ask(question.choices.len())?,
        };
        let choice = number.checked_sub(1).and_then(|index| question.choices.get(index));
        answers.push(choice.ok_or_else(|| format!("there is no answer {number}"))?.clone());
    }
    home.journal.add(&Event::Predicted { exercise: exercise.number.clone(), answers })?;
    screen::say("Noted. Now measure; the debrief shows both.");
    Ok(Exit::Fine)
}

/// A number from a person.
fn ask(choices: usize) -> Result<usize, String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err("nobody is there to answer: give the answers' numbers with --answer".to_owned());
    }
    loop {
        screen::tell_start(format_args!("your answer, 1 to {choices}: "));
        let mut line = String::new();
        let count = stdin.lock().read_line(&mut line).map_err(|error| error.to_string())?;
        match line.trim().parse() {
            Ok(number) if (1..=choices).contains(&number) => return Ok(number),
            _ if count == 0 => return Err("no answer was given".to_owned()),
            _ => {}
        }
    }
}

pub(super) fn reset(mut home: Home, args: &ResetArgs) -> Result<Exit, String> {
    let exercise = Exercise::find(&args.exercise)?;
    let folder = home.folder(&exercise);
    if folder.exists() {
        let aside = (1_u32..).map(|number| folder.with_extension(format!("old-{number}")));
        let Some(aside) = aside.into_iter().find(|path| !path.exists()) else {
            return Err("too many old copies are there".to_owned());
        };
        fs::rename(&folder, &aside)
            .map_err(|error| format!("{} cannot be moved: {error}", folder.display()))?;
        screen::say(format_args!("what you had is in {}", aside.display()));
    }
    home.journal.add(&Event::Reset { exercise: exercise.number.clone() })?;
    let folder = home.start(&exercise)?;
    screen::say(format_args!("{} is as it was at the start", folder.display()));
    Ok(Exit::Fine)
}

pub(super) fn debrief(home: &Home, args: &DebriefArgs) -> Result<Exit, String> {
    let exercise = chosen(home, args.exercise.as_deref())?;
    let standing = home.journal.standing(&exercise.number);
    if !standing.held {
        return Err(format!(
            "the debrief of {} would tell too much: hold it first with doorward lab check",
            exercise.number
        ));
    }
    screen::say(exercise.text("debrief.md").unwrap_or_default().trim_end());
    for (question, answer) in exercise.about.predictions.iter().zip(&standing.answers) {
        let same = if *answer == question.truth { "as you said" } else { "not what you expected" };
        screen::say(format_args!("\nYou were asked: {}", question.ask));
        screen::say(format_args!("  you said: {answer}\n  measured: {} ({same})", question.truth));
    }
    for card in &exercise.about.cards {
        screen::say(format_args!("\nCheck the textbook, {}: {}", card.statement, card.says));
        screen::say(format_args!("  measured: {}", card.measured));
    }
    Ok(Exit::Fine)
}

pub(super) fn sync(mut home: Home, args: &SyncArgs) -> Result<Exit, String> {
    if !args.file.is_file() {
        return Err(format!("{} is not there", args.file.display()));
    }
    home.seed()?;
    let other = Journal::read(&args.file)?;
    let count = home.journal.merge(&other)?;
    drop(std::io::stdout().flush());
    screen::say(format_args!("{count} lines were new"));
    Ok(Exit::Fine)
}

const ETHICS: &str = "\
# Before you attack anything

In these exercises you break into services, read other people's messages and take servers down. All of them are
yours: the lab started them on this machine, and its attacks refuse every other address.

Doing the same to a system that is not yours, without its owner's written permission, is a crime in most countries
(in the United Kingdom under the Computer Misuse Act 1990), even where nothing is damaged and the door stood open.
If you find an open door elsewhere, tell its owner.
";

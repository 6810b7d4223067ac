//! `doorward class report`, `doorward class viva` and `doorward class syllabus`.

use std::path::PathBuf;

use doorward::peer::PeerText;
use serde_json::json;

use super::{Exit, screen};
use crate::lab::class::grade::{Grades, write_whole};
use crate::lab::class::lists::{grades_csv, misconceptions, misconceptions_csv};
use crate::lab::class::parcel::Parcel;
use crate::lab::class::register::Class;
use crate::lab::class::report::page;
use crate::lab::class::syllabus::{BOARDS, all};
use crate::lab::class::ticket::is_id;
use crate::lab::class::viva::questions;

#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The class's folder.
    class: PathBuf,
    /// The folder for the report; the class's own without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct VivaArgs {
    /// The class's folder.
    class: PathBuf,
    /// The learner.
    id: String,
    /// The questions alone, to be handed out.
    #[arg(long)]
    without_answers: bool,
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct SyllabusArgs {
    /// One board alone.
    #[arg(long, value_parser = BOARDS)]
    board: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn report(args: &ReportArgs) -> Result<Exit, String> {
    let class = Class::open(&args.class)?;
    let all = Grades::all(&class)?;
    if all.is_empty() {
        return Err(format!(
            "nothing was marked yet: doorward class mark {} FOLDER",
            args.class.display()
        ));
    }
    let exercises = class.exercises()?;
    let met = misconceptions(&all, &exercises);
    let out = args.out.clone().unwrap_or_else(|| args.class.clone());
    let files = [
        ("report.html", page(&class, &exercises, &all, &met).into_bytes()),
        ("grades.csv", grades_csv(&all)?),
        ("misconceptions.csv", misconceptions_csv(&met)?),
    ];
    for (name, bytes) in files {
        let path = out.join(name);
        write_whole(&path, &bytes)
            .map_err(|why| format!("{} cannot be written: {why}", path.display()))?;
        screen::say(format_args!("{} is written", path.display()));
    }
    Ok(Exit::Fine)
}

pub(super) fn viva(args: &VivaArgs) -> Result<Exit, String> {
    let class = Class::open(&args.class)?;
    if !is_id(&args.id) {
        return Err(format!("{} is nobody's id", PeerText::escaped(args.id.as_bytes())));
    }
    let path = class.path("submissions").join(format!("{}.spx", args.id));
    if !path.is_file() {
        return Err(format!("nothing of {} was marked yet", args.id));
    }
    let parcel = Parcel::read(&path).map_err(|why| format!("{} {why}", path.display()))?;
    class.admits(&parcel.ticket).map_err(|why| format!("{}: {why}", path.display()))?;
    let asked = questions(&parcel, &class.seed(&args.id));
    for (number, question) in (1..).zip(&asked) {
        let (ask, answer) = (readable(&question.ask), readable(&question.answer));
        if args.json {
            screen::say(json!({"exercise": question.exercise, "ask": ask, "answer": answer}));
            continue;
        }
        screen::say(format_args!("{number}. ({}) {ask}", question.exercise));
        if !args.without_answers {
            screen::say(format_args!("   a good answer: {answer}"));
        }
    }
    Ok(Exit::Fine)
}

/// What a learner wrote, with nothing in it that moves a terminal; quotes belong to code, and stay.
fn readable(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| PeerText::escaped(line.as_bytes())).collect();
    lines.join("\n").replace("\\\"", "\"")
}

pub(super) fn syllabus(args: &SyllabusArgs) -> Result<Exit, String> {
    for statement in all()? {
        if args.board.as_ref().is_some_and(|board| *board != statement.board) {
            continue;
        }
        if args.json {
            screen::say(json!(statement));
            continue;
        }
        let sign = if statement.verified { "" } else { "  (number not compared)" };
        screen::say(format_args!("{:<5} {:<22}{sign}", statement.board, statement.code));
        screen::say(format_args!("      {}", statement.says));
        screen::say(format_args!("      exercises {}", statement.exercises.join(" ")));
    }
    Ok(Exit::Fine)
}

//! `doorward class mark`, and the process it has for each exercise.

use std::fs;
use std::io::Read as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::super::lab::in_runtime;
use super::{Exit, screen};
use crate::lab::class::grade::{Grade, Grades, write_whole};
use crate::lab::class::gradescope;
use crate::lab::class::lists::notices;
use crate::lab::class::mark::{Marking, Submission, find};
use crate::lab::class::register::Class;
use crate::lab::class::replay::{Job, confined};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The class's folder.
    class: PathBuf,
    /// Submissions, and folders of them.
    #[arg(required = true)]
    from: Vec<PathBuf>,
    /// How many seeds that nobody has seen each exercise is attacked with.
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=20))]
    hidden: u8,
    /// How many exercises are attacked at the same time; as many as there are processors, without it.
    #[arg(long, value_name = "COUNT")]
    jobs: Option<NonZero<usize>>,
    /// Mark what was handed in after the last day too, with a note.
    #[arg(long)]
    late: bool,
    /// Write the result of one submission for Gradescope, anew after each exercise.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = GRADESCOPE)]
    gradescope: Option<PathBuf>,
    /// Print the points of one submission for GitHub Classroom, and end with 1 unless everything is held.
    #[arg(long)]
    github: bool,
    /// Print the marks as JSON, a line for each submission.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// A folder for the programs' files.
    scratch: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Exit, String> {
    let class = Class::open(&args.class)?;
    let all = find(&class, &args.from)?;
    if all.len() != 1 && (args.gradescope.is_some() || args.github) {
        return Err("--gradescope and --github are for one submission".to_owned());
    }
    let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
    let width = args.jobs.map_or(cores, NonZero::get);
    let hidden = usize::from(args.hidden);
    let marking = Marking { class: &class, hidden, width, takes_late: args.late };
    let mut exit = Exit::Fine;
    for submission in &all {
        match one(args, marking, submission) {
            Ok(grades) => {
                let is_held = grades.exercises.iter().all(Grade::is_held);
                let is_unclear = grades.exercises.iter().any(Grade::is_unclear);
                if is_unclear || (args.github && !is_held) {
                    exit = Exit::Failed;
                }
            }
            Err(why) => {
                exit = Exit::Failed;
                refuse(args, &submission.path, &why)?;
            }
        }
    }
    if !args.json && !args.github && args.gradescope.is_none() {
        screen::say(format_args!("next: doorward class report {}", args.class.display()));
    }
    Ok(exit)
}

/// Marks one, keeps what came of it, and tells it.
fn one(args: &Args, marking: Marking<'_>, submission: &Submission) -> Result<Grades, String> {
    let parcel = submission.parcel.as_ref().map_err(Clone::clone)?;
    let begun = Instant::now();
    let mut unwritten = None;
    let tell = |so_far: &Grades| {
        if let Some(file) = &args.gradescope {
            let results = gradescope::results(so_far, begun.elapsed().as_secs());
            unwritten = write_json(file, &results).err();
        }
    };
    let grades = in_runtime(marking.mark(parcel, tell)).flatten()?;
    if let Some(why) = unwritten {
        return Err(why);
    }
    grades.keep(marking.class)?;
    keep_file(marking.class, &submission.path, &grades.id)?;
    if args.json {
        screen::say(json!(grades));
    } else if args.github {
        notices(&grades).iter().for_each(screen::say);
    } else {
        show(&grades);
    }
    Ok(grades)
}

fn show(grades: &Grades) {
    screen::say(format_args!("{}: {} of {} points", grades.id, grades.points(), grades.most()));
    for note in &grades.notes {
        screen::say(format_args!("   note: {note}"));
    }
    for grade in &grades.exercises {
        let code = grade.misconception.as_deref().unwrap_or_default();
        screen::say(format_args!(
            "   {} {:<36} {} of 6  {:<8} {code}",
            grade.exercise,
            grade.title,
            grade.points(),
            grade.state()
        ));
        if let Some(other) = &grade.answer_of {
            screen::say(format_args!("      this is the answer of {other}"));
        }
        if grade.is_unclear() {
            let why = grade.said.first().map(String::as_str).unwrap_or_default();
            screen::say(format_args!("      not marked whole: {why}"));
        }
    }
    if !grades.place.is_empty() {
        screen::say(format_args!("   judged {}", grades.place));
    }
}

fn refuse(args: &Args, path: &Path, why: &str) -> Result<(), String> {
    if let Some(file) = &args.gradescope {
        write_json(file, &gradescope::refused(why))?;
    }
    if args.json {
        screen::say(json!({"file": path.display().to_string(), "refused": why}));
    } else {
        screen::tell(format_args!("{} {why}", path.display()));
    }
    Ok(())
}

fn write_json(file: &Path, value: &Value) -> Result<(), String> {
    write_whole(file, value.to_string().as_bytes())
        .map_err(|why| format!("{} cannot be written: {why}", file.display()))
}

/// What was marked is kept, for questions and for a second look.
fn keep_file(class: &Class, path: &Path, id: &str) -> Result<(), String> {
    let folder = class.path("submissions");
    let kept = folder.join(format!("{id}.spx"));
    let same = fs::canonicalize(path).ok().zip(fs::canonicalize(&kept).ok());
    if same.is_some_and(|(one, other)| one == other) {
        return Ok(());
    }
    fs::create_dir_all(&folder)
        .and_then(|()| fs::copy(path, &kept).map(drop))
        .map_err(|error| format!("{} cannot be written: {error}", kept.display()))
}

/// One exercise of one learner: the job comes on standard input, the result goes to standard output.
pub(super) fn replay(args: &ReplayArgs) -> Result<Exit, String> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).map_err(|error| error.to_string())?;
    let job: Job = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    drop(text);
    let (checker, place) = confined(&args.scratch);
    let came = in_runtime(job.run(&checker, place)).flatten()?;
    screen::say(json!(came));
    Ok(Exit::Fine)
}

/// Where Gradescope looks for it.
const GRADESCOPE: &str = "/autograder/results/results.json";

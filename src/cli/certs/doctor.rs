//! `doorward certs doctor`: what is wrong with a store, and what to do about it.

use std::path::PathBuf;

use doorward::pki::doctor;
use doorward::problem::{Problem, Severity};
use serde_json::json;
use time::OffsetDateTime;

use super::{Done, Exit, screen};

/// Looks over a store and changes nothing.
///
/// Exit code 0 where nothing is wrong or only unwise, 1 where something is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory of the store.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    dir: PathBuf,
    /// Treat warnings as errors, for continuous integration.
    #[arg(long)]
    strict: bool,
    /// Print the problems as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let problems = doctor::examine(&args.dir, OffsetDateTime::now_utc())?;
    let wrong = |problem: &Problem| args.strict || problem.severity() == Severity::Error;
    let exit = if problems.iter().any(wrong) { Exit::Failed } else { Exit::Fine };
    if args.json {
        screen::say(json!({
            "directory": args.dir.display().to_string(),
            "well": exit == Exit::Fine,
            "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
        }));
        return Ok(exit);
    }
    for problem in &problems {
        screen::say(problem);
    }
    screen::say(format_args!("{}: {}", args.dir.display(), screen::count(&problems)));
    Ok(exit)
}

fn problem_json(problem: &Problem) -> serde_json::Value {
    json!({
        "severity": match problem.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "code": problem.fault().code(),
        "message": problem.message(),
        "remedy": problem.remedy(),
    })
}

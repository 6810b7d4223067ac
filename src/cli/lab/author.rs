//! `doorward lab author`: make an exercise, and prove that it teaches what it says.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{Exit, in_runtime, screen};
use crate::lab::author::{Trial, template};
use crate::lab::catalogue::Exercise;
use crate::lab::check::Checker;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the folder of a new exercise, with everything the rules ask for.
    New(NewArgs),
    /// Hold exercises to the rules: solutions pass, the start fails, each wrong answer fails with its own code.
    Test(TestArgs),
}

#[derive(Debug, clap::Args)]
struct NewArgs {
    /// Its folder: a number, a dash and a few words, such as 31-my-exercise.
    folder: PathBuf,
}

#[derive(Debug, clap::Args)]
struct TestArgs {
    /// Numbers of this program's exercises or folders of your own; all of this program's without any.
    exercise: Vec<String>,
    /// How many seeds the solutions and the start are tried with.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    seeds: u32,
    /// Keep the machine busy meanwhile, with three times as many threads as it has cores.
    #[arg(long)]
    load: bool,
    /// Print the trials as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, String> {
    match &args.verb {
        Verb::New(args) => {
            template(&args.folder)?;
            screen::say(format_args!("{} is there: write task.md first", args.folder.display()));
            Ok(Exit::Fine)
        }
        Verb::Test(args) => test(args),
    }
}

fn test(args: &TestArgs) -> Result<Exit, String> {
    let exercises = if args.exercise.is_empty() {
        Exercise::all()?
    } else {
        let find = |name: &String| {
            let folder = PathBuf::from(name);
            if folder.join("exercise.toml").is_file() {
                Exercise::open(&folder)
            } else {
                Exercise::find(name)
            }
        };
        args.exercise.iter().map(find).collect::<Result<Vec<_>, _>>()?
    };
    let checker = Checker::enter();
    let pocket = checker.lan.is_pocket();
    let mut failed = 0_usize;
    for exercise in &exercises {
        let trial = Trial { exercise, checker: &checker, seeds: args.seeds };
        let tell = |finding: &crate::lab::author::Finding| {
            if args.json {
                screen::say(json!(finding));
            } else {
                let sign = if finding.held { "ok    " } else { "BROKEN" };
                screen::say(format_args!("{sign} {} {}", finding.exercise, finding.sentence));
            }
        };
        failed = failed.saturating_add(in_runtime(trial.run(args.load, tell))?);
    }
    if !pocket {
        screen::tell(
            "skipped: this machine has no network of its own, so nothing here is proof for those that have",
        );
        return Ok(Exit::Inconclusive);
    }
    Ok(if failed == 0 { Exit::Fine } else { Exit::Failed })
}

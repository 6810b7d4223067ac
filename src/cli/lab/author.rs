//! `doorward lab author`: make an exercise, and prove that it teaches what it says.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::check::exit;
use super::{Exit, in_runtime, screen};
use crate::lab::author::{Finding, Trial, hold, one, template};
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
    /// One folder with one seed, as JSON.
    #[command(hide = true)]
    Try(TryArgs),
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
    /// Try the solution and the start only, on a machine kept busy by three times as many threads as it has cores.
    #[arg(long)]
    load: bool,
    /// Print the trials as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct TryArgs {
    exercise: String,
    folder: String,
    seed: u32,
}

pub(super) fn run(args: &Args) -> Result<Exit, String> {
    match &args.verb {
        Verb::New(args) => {
            template(&args.folder)?;
            screen::say(format_args!("{} is there: write task.md first", args.folder.display()));
            Ok(Exit::Fine)
        }
        Verb::Test(args) => test(args),
        Verb::Try(args) => {
            let exercise = named(&args.exercise)?;
            let checker = Checker::enter();
            let verdict = in_runtime(one(&exercise, &checker, &args.folder, args.seed))?;
            screen::say(json!(verdict));
            Ok(exit(verdict.outcome))
        }
    }
}

/// An exercise of this program by its number, or one of somebody's own by its folder.
fn named(name: &str) -> Result<Exercise, String> {
    let folder = PathBuf::from(name);
    if folder.join("exercise.toml").is_file() {
        Exercise::open(&folder)
    } else {
        Exercise::find(name)
    }
}

fn test(args: &TestArgs) -> Result<Exit, String> {
    let all = || Exercise::all().map(|all| all.into_iter().map(|one| one.number).collect());
    let names = if args.exercise.is_empty() { all()? } else { args.exercise.clone() };
    let tell = |finding: &Finding| {
        if args.json {
            screen::say(json!(finding));
        } else {
            let sign = if finding.held { "ok    " } else { "BROKEN" };
            screen::say(format_args!("{sign} {} {}", finding.exercise, finding.sentence));
        }
    };
    let exercises = names.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?;
    let trials: Vec<_> = names
        .iter()
        .zip(&exercises)
        .map(|(name, exercise)| Trial { exercise, name, seeds: args.seeds })
        .collect();
    let broken = in_runtime(hold(&trials, args.load, tell)).flatten()?;
    Ok(if broken == 0 { Exit::Fine } else { Exit::Failed })
}

//! `doorward certs check`: whether certificates and configuration fit together.

use std::path::PathBuf;

use doorward::config::Config;
use doorward::fit;
use doorward::problem::{Problem, Severity};
use serde_json::json;

use crate::cli::ConfigFile;

use super::{Done, Exit, screen};

/// Holds the certificates of a configuration, and the clients of a store, against the services that use them.
///
/// Each client of the store shakes hands with the server, in memory. Exit code 0 where everybody who is permitted
/// would be let in, 3 where somebody would not, or the server would not start; warnings alone are 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The store of the clients, where it is not the one that the configuration names in [certs].
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Treat warnings as errors, for continuous integration.
    #[arg(long)]
    strict: bool,
    /// Print the problems as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let problems = match Config::read(&args.config.config) {
        // What else is wrong is for doorward check to tell.
        Ok((config, _)) => {
            let directory = args.dir.as_ref().unwrap_or(&config.certs.directory.value);
            super::block_on(fit::examine(&config, directory))?
        }
        Err(problems) => problems,
    };
    let refused = |problem: &Problem| args.strict || problem.severity() == Severity::Error;
    let exit = if problems.iter().any(refused) { Exit::Refused } else { Exit::Fine };
    if args.json {
        screen::say(json!({
            "config": args.config.config.display().to_string(),
            "refused": exit == Exit::Refused,
            "problems": problems,
        }));
        return Ok(exit);
    }
    for problem in &problems {
        screen::say(problem);
    }
    screen::say(format_args!("{}: {}", args.config.config.display(), screen::count(&problems)));
    Ok(exit)
}

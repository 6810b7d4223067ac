//! `doorward check`: what serve would refuse, and what is unwise, without opening a door.

use doorward::config::Config;
use doorward::problem::{Problem, Severity};
use doorward::server;
use doorward::service::run::Keeper;
use serde_json::json;

use super::{ConfigFile, Exit, screen};

/// Check a configuration and everything it names, and say what is wrong or unwise.
///
/// Exit code 0 where nothing refuses the start, 3 where something does; warnings alone are 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Treat warnings as errors, for continuous integration.
    #[arg(long)]
    strict: bool,
    /// Print the problems as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let problems = match Config::read(&args.config.config) {
        Ok((mut config, mut warnings)) => {
            config.keep_programs(&Keeper::this_program());
            warnings.extend(server::check(&config));
            warnings
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
        return exit;
    }
    for problem in &problems {
        screen::say(problem);
    }
    screen::say(format_args!("{}: {}", args.config.config.display(), screen::count(&problems)));
    exit
}

//! `doorward certs`: an authority of one's own, and what it issues.

mod init;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use doorward::problem::Problem;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Exit, screen};

/// Makes an authority and issues, renews and revokes what it vouches for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an authority, servers and clients in one go, and prove them.
    Init(init::Args),
}

pub(super) fn run(args: &Args) -> Exit {
    let done = match &args.verb {
        Verb::Init(args) => init::run(args),
    };
    done.unwrap_or_else(|problem| {
        screen::tell(format_args!("doorward: {problem}"));
        Exit::Failed
    })
}

/// Where the certificates are.
#[derive(Debug, clap::Args)]
struct Directory {
    /// The directory of the authority and of what it issued.
    #[arg(long, value_name = "DIRECTORY", default_value = "certs")]
    dir: PathBuf,
}

/// How a verb ends that did not fail on the way.
type Done = Result<Exit, Problem>;

/// A path as short as it can be named from here.
fn near(path: &Path) -> impl Display {
    let here = std::env::current_dir().ok();
    let inside = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    inside.unwrap_or(path).display()
}

/// A moment as programs and people read it, such as `2026-11-23T04:25:49Z`.
fn moment(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).unwrap_or_else(|_| moment.to_string())
}

/// A day as people read it.
fn day(moment: OffsetDateTime) -> impl Display {
    moment.date()
}

/// The value of an option whose words the library knows, with its remedy where it is none of them.
fn word<T: std::str::FromStr<Err = Problem>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|problem: Problem| format!("{}; {}", problem.message(), problem.remedy()))
}

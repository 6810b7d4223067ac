//! `doorward certs break`: certificates that are wrong on purpose, for tests and exercises.

use std::path::PathBuf;

use doorward::pki::zoo::{Defect, Exhibit, Kind};
use doorward::problem::Problem;

use super::{Done, Exit, screen};

/// Makes broken certificates, fresh and offline, each wrong in exactly one way.
///
/// Each goes to a directory of its own with trust.pem, chain.pem, key.pem, crl.pem and a README.md.
#[derive(Debug, clap::Args)]
#[command(after_help = kinds())]
pub(super) struct Args {
    /// What is to be wrong.
    #[arg(value_name = "KIND", value_parser = kind, required_unless_present = "all")]
    kind: Option<Kind>,
    /// One of each kind.
    #[arg(long, conflicts_with = "kind")]
    all: bool,
    /// Where to put them.
    #[arg(long, value_name = "OUT")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args) -> Done {
    let kinds = match args.kind {
        Some(kind) => vec![kind],
        None => Kind::ALL.to_vec(),
    };
    for kind in kinds {
        let place = Exhibit::make(kind, Defect::Present)?.write(&args.dir)?;
        screen::say(format_args!("{}  {}", place.display(), kind.sentence()));
    }
    Ok(Exit::Fine)
}

fn kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|problem: Problem| format!("{}: {}", problem.message(), problem.remedy()))
}

fn kinds() -> String {
    let lines = Kind::ALL.iter().map(|kind| format!("  {:<20} {}", kind.word(), kind.sentence()));
    format!("Kinds:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

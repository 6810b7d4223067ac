//! `doorward certs inspect`: an explanation of what a file holds.

use std::path::PathBuf;

use doorward::pki::{Document, inspect};
use serde_json::json;
use time::OffsetDateTime;

use super::{Done, Exit, screen};

/// Explains what a file holds: who it is for, until when, who vouches for it, what it may not do.
///
/// Private keys are named, and never shown.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file in PEM or DER.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let reports = inspect::inspect(&Document::read(&args.file)?, OffsetDateTime::now_utc());
    if args.json {
        screen::say(json!({ "file": args.file.display().to_string(), "items": reports }));
        return Ok(Exit::Fine);
    }
    for (number, report) in (1_usize..).zip(&reports) {
        screen::say(format_args!("{number}. {report}"));
    }
    Ok(Exit::Fine)
}

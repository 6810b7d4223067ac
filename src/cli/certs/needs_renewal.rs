//! `doorward certs needs-renewal`: an answer for scripts.

use std::path::PathBuf;

use doorward::pki::keyfile::read_chain;
use doorward::pki::last_second;
use serde_json::json;
use time::Duration;

use super::{Exit, is_due, moment, screen, span};

/// Answers by exit code: 0 it is due, 1 it is not due, 2 it is missing or cannot be read.
///
/// These codes are those of the step command, and differ from the other verbs'. Of a chain, the
/// certificate that ends first counts.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The certificate or chain, as PEM.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How long before its end a certificate is due.
    #[arg(long, value_name = "30d|12h", default_value = "30d", value_parser = span)]
    expires_in: Duration,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let ends = read_chain(&args.file).and_then(|chain| last_second(&chain));
    let ends = match ends {
        Ok(ends) => ends,
        Err(problem) => {
            screen::tell(format_args!("doorward: {problem}"));
            return MISSING;
        }
    };
    let due = is_due(ends, args.expires_in);
    if args.json {
        screen::say(json!({ "file": args.file, "not_after": moment(ends), "due": due }));
    } else {
        let answer = if due { "due" } else { "not due" };
        screen::say(format_args!("{}: {answer}, ends {}", args.file.display(), moment(ends)));
    }
    if due { DUE } else { NOT_DUE }
}

/// 0.
const DUE: Exit = Exit::Fine;
/// 1.
const NOT_DUE: Exit = Exit::Failed;
/// 2.
const MISSING: Exit = Exit::Usage;

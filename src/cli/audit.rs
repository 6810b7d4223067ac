//! `doorward audit verify`: whether a chained audit log is whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use doorward::audit::Chain;
use serde_json::json;

use super::{Exit, screen};

/// Looks at audit logs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Follow the chain of a log that was written with chain = true, and say the first line that breaks it.
    Verify(VerifyArgs),
}

/// Follows the chain through files, the oldest first. It shows what was changed or is missing in between; that lines
/// are missing at the end shows only where the last hash was noted elsewhere.
#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The files of one log, the oldest first; - is standard input, such as what zcat prints.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let Verb::Verify(args) = &args.verb;
    let mut chain = Chain::default();
    for path in &args.files {
        let followed = open(path).and_then(|file| chain.follow(file));
        let (line, why) = match followed {
            Ok(Ok(())) => continue,
            Ok(Err(broken)) => (Some(broken.line), broken.why.to_owned()),
            Err(error) => (None, format!("it cannot be read: {error}")),
        };
        return broken(args.json, path, line, &why, &chain);
    }
    if args.json {
        screen::say(json!({ "whole": true, "lines": chain.lines(), "head": chain.head() }));
    } else {
        let head = chain.head().unwrap_or("none: there is no line");
        screen::say(format_args!(
            "{} lines follow from each other; the last hash is {head}",
            chain.lines()
        ));
    }
    Exit::Fine
}

fn broken(json: bool, path: &Path, line: Option<u64>, why: &str, chain: &Chain) -> Exit {
    let file = path.display().to_string();
    if json {
        let outcome = json!({
            "whole": false, "lines": chain.lines(), "head": chain.head(), "file": file, "line": line, "why": why
        });
        screen::say(outcome);
    } else {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        screen::tell(format_args!("{file}{line}: {why}"));
        screen::tell(format_args!("{} lines before it follow from each other", chain.lines()));
    }
    Exit::Failed
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(path)?)))
}

//! `doorward certs inspect`: an explanation of what a file holds or a server shows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use doorward::pki::{Document, inspect};
use serde_json::json;
use time::OffsetDateTime;

use super::{Done, Exit, screen};

/// Explains what a file holds or a server shows: who it is for, until when, who vouches for it, what it may not do.
///
/// Private keys are named, and never shown. A server is not believed, only looked at: see verify for that.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file in PEM or DER, or the address of a running server.
    #[arg(value_name = "FILE|HOST:PORT")]
    subject: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let document = match server(&args.subject) {
        Some(address) => inspect::shown_by(address, PATIENCE)?,
        None => Document::read(&args.subject)?,
    };
    let reports = inspect::inspect(&document, OffsetDateTime::now_utc());
    if args.json {
        screen::say(json!({ "subject": args.subject.display().to_string(), "items": reports }));
        return Ok(Exit::Fine);
    }
    for (number, report) in (1_usize..).zip(&reports) {
        screen::say(format_args!("{number}. {report}"));
    }
    Ok(Exit::Fine)
}

/// A host and a port, where no file has that name.
fn server(subject: &Path) -> Option<&str> {
    let address = subject.to_str().filter(|_| !subject.exists())?;
    let (_, port) = address.rsplit_once(':')?;
    port.parse::<u16>().is_ok().then_some(address)
}

/// Somebody waits at a terminal; who has not shown a certificate by then will not.
const PATIENCE: Duration = Duration::from_secs(10);

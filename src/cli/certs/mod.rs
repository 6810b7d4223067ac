//! `doorward certs`: what is wrong with a certificate, and what is right.

mod r#break;
mod doctor;
mod inspect;
mod lint;
mod verify;

use clap::Subcommand;
use doorward::problem::Problem;

use super::{Exit, screen};

/// A verb of `certs`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Explain what a file holds or a server shows: certificates, requests, revocation lists.
    Inspect(inspect::Args),
    /// Judge a file by RFC 5280 and by what strict verifiers refuse.
    Lint(lint::Args),
    /// Look over a store: exposed keys, links, what ends soon, what contradicts the inventory.
    Doctor(doctor::Args),
    /// Make certificates that are wrong on purpose.
    Break(r#break::Args),
    /// Verify a chain as the other side of a handshake would.
    Verify(verify::Args),
}

pub(super) fn run(args: &Args) -> Exit {
    let done = match &args.verb {
        Verb::Inspect(args) => inspect::run(args),
        Verb::Lint(args) => lint::run(args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::Break(args) => r#break::run(args),
        Verb::Verify(args) => verify::run(args),
    };
    done.unwrap_or_else(|problem| {
        screen::tell(format_args!("doorward: {problem}"));
        Exit::Failed
    })
}

/// How a verb ends that may meet one problem.
type Done = Result<Exit, Problem>;

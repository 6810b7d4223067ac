//! `doorward class`: the teacher's side of the lab.

mod hand_out;
mod mark;
mod show;

use clap::Subcommand;

use super::{Exit, screen};

/// The teacher's side of the lab: tickets, marks by attacking again, a report, questions.
///
/// Nothing needs a network or an account. Marks come from attacking what was handed in on this machine, with
/// seeds that nobody has seen; what a learner's machine says of itself counts for nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a class: a folder with its key.
    New(hand_out::NewArgs),
    /// Write a ticket for every learner of a list.
    Issue(hand_out::IssueArgs),
    /// Attack what was handed in, and write down what it is worth.
    Mark(mark::Args),
    /// Write the report: a page, and lists for a spreadsheet.
    Report(show::ReportArgs),
    /// Three questions for a learner, from the learner's own files, with their answers.
    Viva(show::VivaArgs),
    /// Which exercise teaches what an examination board asks for.
    Syllabus(show::SyllabusArgs),
    /// Attack one exercise's answer again; `mark` runs this by itself.
    #[command(hide = true)]
    Replay(mark::ReplayArgs),
}

pub(super) fn run(args: &Args) -> Exit {
    let done = match &args.verb {
        Verb::New(args) => hand_out::new(args),
        Verb::Issue(args) => hand_out::issue(args),
        Verb::Mark(args) => mark::run(args),
        Verb::Report(args) => show::report(args),
        Verb::Viva(args) => show::viva(args),
        Verb::Syllabus(args) => show::syllabus(args),
        Verb::Replay(args) => mark::replay(args),
    };
    done.unwrap_or_else(|why| {
        screen::tell(format_args!("doorward class: {why}"));
        Exit::Usage
    })
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 a submission was refused or could not be marked whole, 2 usage.";

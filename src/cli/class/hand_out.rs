//! `doorward class new` and `doorward class issue`.

use std::path::PathBuf;

use super::{Exit, screen};
use crate::lab::class::register::Class;

#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// The folder to make; its name is the name of the class.
    class: PathBuf,
    /// The exercises that count, by their numbers; every one without it.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    exercises: Vec<String>,
    /// The last day for handing in, such as 2027-01-29.
    #[arg(long, value_name = "DAY")]
    due: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct IssueArgs {
    /// The class's folder.
    class: PathBuf,
    /// A CSV file with a column id. No other column is read or kept.
    roster: PathBuf,
}

pub(super) fn new(args: &NewArgs) -> Result<Exit, String> {
    let class = Class::create(&args.class, &args.exercises, args.due.as_deref())?;
    let shown = args.class.display();
    screen::say(format_args!("{shown} is made, with {} exercises", class.about.exercises.len()));
    screen::say(format_args!(
        "keep {} and show it to nobody: whoever has it can sign tickets and knows every seed",
        class.path("class.key").display()
    ));
    screen::say(format_args!("next: doorward class issue {shown} ROSTER.csv"));
    Ok(Exit::Fine)
}

pub(super) fn issue(args: &IssueArgs) -> Result<Exit, String> {
    let class = Class::open(&args.class)?;
    let count = class.issue(&args.roster)?;
    let tickets = class.path("tickets");
    screen::say(format_args!("{count} tickets are in {}", tickets.display()));
    screen::say("each learner takes their own with: doorward lab join FILE");
    Ok(Exit::Fine)
}

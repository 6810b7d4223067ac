//! `doorward lab join` and `doorward lab submit`: the learner's side of a class.

use std::path::PathBuf;

use super::{Exit, screen};
use crate::lab::catalogue::Exercise;
use crate::lab::class::grade::write_whole;
use crate::lab::class::parcel::Parcel;
use crate::lab::class::ticket::Ticket;
use crate::lab::home::Home;
use crate::lab::journal::{Event, now};

#[derive(Debug, clap::Args)]
pub(super) struct JoinArgs {
    /// The file that your teacher gave you.
    ticket: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct SubmitArgs {
    /// The file to write; your id and your class, without it.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn join(mut home: Home, args: &JoinArgs) -> Result<Exit, String> {
    let ticket = Ticket::read(&args.ticket)?;
    let (class, id) = (&ticket.claims.class, &ticket.claims.id);
    if home.ticket().is_ok_and(|known| known == ticket) {
        screen::say(format_args!("you are {id} of {class} already"));
        return Ok(Exit::Fine);
    }
    // What was started before has values that the class does not know.
    let known = home.journal.seed().is_some_and(|seed| seed.to_string() == ticket.claims.seed);
    let all = Exercise::all()?;
    let begun: Vec<_> = all
        .iter()
        .filter(|one| !known && home.folder(one).is_dir())
        .map(|one| &one.number)
        .collect();
    home.join(&ticket)?;
    home.journal.add(&Event::Joined {
        seed: ticket.claims.seed.clone(),
        class: class.clone(),
        id: id.clone(),
    })?;
    screen::say(format_args!("you are {id} of {class}"));
    if let Some(due) = &ticket.claims.due {
        screen::say(format_args!("the last day for handing in is {due}"));
    }
    for number in begun {
        screen::say(format_args!(
            "exercise {number} has the ports and names of before: doorward lab reset {number} gives it yours of the class"
        ));
    }
    let first = ticket.claims.exercises.first().map_or("03", String::as_str);
    screen::say(format_args!("next: doorward lab start {first}"));
    Ok(Exit::Fine)
}

pub(super) fn submit(home: &Home, args: &SubmitArgs) -> Result<Exit, String> {
    let ticket = home.ticket()?;
    let name = format!("{}-{}.spx", ticket.claims.id, ticket.claims.class);
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(name));
    let is_late = ticket.claims.is_late(now());
    let numbers = ticket.claims.exercises.clone();
    let parcel = Parcel::collect(home, ticket)?;
    write_whole(&out, &parcel.pack()?)
        .map_err(|why| format!("{} cannot be written: {why}", out.display()))?;
    for number in &numbers {
        let Ok(exercise) = Exercise::find(number) else { continue };
        let state = match (parcel.work.get(&exercise.folder), home.journal.standing(number).held) {
            (Some(files), true) => format!("{} files, held at your last good check", files.len()),
            (Some(files), false) => format!("{} files, not held yet", files.len()),
            (None, _) => "not started".to_owned(),
        };
        screen::say(format_args!("   {number} {:<36} {state}", exercise.about.title));
    }
    screen::say(format_args!("{} is what you hand in, as it is: do not unpack it", out.display()));
    if is_late {
        screen::say("the last day for handing in is over: your teacher decides whether it counts");
    }
    Ok(Exit::Fine)
}

//! `doorward lab`: exercises that attack the learner's own server.

mod author;
mod check;
mod class;
mod learn;
mod overview;
mod watch;

use std::future::Future;
use std::path::PathBuf;

use clap::Subcommand;

use super::{Exit, screen};
use crate::lab::catalogue::Exercise;
use crate::lab::door;
use crate::lab::home::Home;
use crate::lab::picture::Look;
use crate::lab::{
    board, clinic, club, confine, filter, frames, night, retry, rollcall, seat, talk, triage,
};

/// Exercises about sockets, firewalls, TLS, certificates and hostile input. Each is checked by attacking what
/// you built: the honest client must still be served, the attack must fail, and at the right gate.
///
/// Everything stays on this machine: attacks go to services that the check itself has started, in a network of
/// its own where the system has one, and nowhere else. No flag changes this.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    place: Place,
}

/// Where the learner works, and how things are shown.
#[derive(Debug, clap::Args)]
struct Place {
    /// The folder of your exercises; the one you are in, or ./doorward-lab, without it.
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// Words in place of signs, boxes and colours, for a screen reader.
    #[arg(long, global = true)]
    plain: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All exercises: which are held, how hard they are, how long they take.
    List(overview::ListArgs),
    /// Make the folder of an exercise, and tell what it is about.
    Start(learn::StartArgs),
    /// Be the attacker: attack your own work, and see what comes of it. Nothing is judged.
    Attack(check::AttackArgs),
    /// Check your work: honest client, attack, gate, and the same attack on a weak twin.
    Check(check::Args),
    /// The next hint.
    Hint(learn::HintArgs),
    /// Say what you expect before you measure; it comes back in the debrief.
    Predict(learn::PredictArgs),
    /// The ways of the last visitors through the rooms: here, as a page, or as a capture for Wireshark.
    Look(check::LookArgs),
    /// What has been done so far.
    Progress(overview::ProgressArgs),
    /// Put an exercise back to its start; what you had is kept beside it.
    Reset(learn::ResetArgs),
    /// What happened, why, and where it matters elsewhere; after an exercise is held.
    Debrief(learn::DebriefArgs),
    /// Add the progress that was made on another machine.
    Sync(learn::SyncArgs),
    /// Take the ticket of a class.
    Join(class::JoinArgs),
    /// Pack your answers into one file for your teacher.
    Submit(class::SubmitArgs),
    /// What this machine can measure, and what takes its place where it cannot.
    Doctor(overview::DoctorArgs),
    /// Make exercises, and prove that they work.
    Author(author::Args),
    /// Stands around a learner's program on a teacher's machine.
    #[command(hide = true)]
    Confined(confine::Args),
    /// The small server of some exercises, as its file says.
    #[command(hide = true)]
    Door(DoorArgs),
    /// The small server of exercise 01, as its file says.
    #[command(hide = true)]
    Rollcall(DoorArgs),
    /// The small server of exercise 08, as its file says.
    #[command(hide = true)]
    Club(DoorArgs),
    /// The packet filter of exercise 08, as its file says.
    #[command(hide = true)]
    Filter(FilterArgs),
    /// Writes the certificates of exercise 13 as its file describes them, into patients.
    #[command(hide = true)]
    Clinic(DoorArgs),
    /// The notice board of exercise 20, as its file says.
    #[command(hide = true)]
    Board(DoorArgs),
    /// The small server of exercise 02, as its file says.
    #[command(hide = true)]
    Seat(SeatArgs),
    /// The small client of exercise 06, as its file says.
    #[command(hide = true)]
    Retry(RetryArgs),
    /// Looks for attackers in a log by the rules in a file, for exercise 22.
    #[command(hide = true)]
    Night(NightArgs),
    /// The small server of exercise 19, as its file says.
    #[command(hide = true)]
    Frames(DoorArgs),
    /// The small client of some exercises, as its file says.
    #[command(hide = true)]
    Talk(TalkArgs),
    /// Names the fault of a service by the table in a file.
    #[command(hide = true)]
    Triage(TalkArgs),
}

#[derive(Debug, clap::Args)]
struct DoorArgs {
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct SeatArgs {
    file: PathBuf,
    port: u16,
}

#[derive(Debug, clap::Args)]
struct RetryArgs {
    file: PathBuf,
    host: String,
    port: u16,
    log: PathBuf,
}

#[derive(Debug, clap::Args)]
struct NightArgs {
    file: PathBuf,
    night: PathBuf,
}

#[derive(Debug, clap::Args)]
struct FilterArgs {
    file: PathBuf,
    packets: PathBuf,
}

#[derive(Debug, clap::Args)]
struct TalkArgs {
    file: PathBuf,
    host: String,
    port: u16,
}

pub(super) fn run(args: &Args) -> Exit {
    let Place { dir, plain } = &args.place;
    let look = Look::new(*plain);
    let home = || Home::find(dir.as_deref());
    let done = match &args.verb {
        None => home().and_then(|home| watch::run(&home, look)),
        Some(Verb::List(args)) => home().and_then(|home| overview::list(&home, args, look)),
        Some(Verb::Start(args)) => home().and_then(|home| learn::start(home, args, look)),
        Some(Verb::Attack(args)) => home().and_then(|home| check::attack(home, args, look)),
        Some(Verb::Look(args)) => home().and_then(|home| check::look(home, args, look)),
        Some(Verb::Check(args)) => home().and_then(|home| check::run(home, args, look)),
        Some(Verb::Hint(args)) => home().and_then(|home| learn::hint(home, args)),
        Some(Verb::Predict(args)) => home().and_then(|home| learn::predict(home, args)),
        Some(Verb::Progress(args)) => home().and_then(|home| overview::progress(&home, args, look)),
        Some(Verb::Reset(args)) => home().and_then(|home| learn::reset(home, args)),
        Some(Verb::Debrief(args)) => home().and_then(|home| learn::debrief(&home, args)),
        Some(Verb::Join(args)) => home().and_then(|home| class::join(home, args)),
        Some(Verb::Submit(args)) => home().and_then(|home| class::submit(&home, args)),
        Some(Verb::Sync(args)) => home().and_then(|home| learn::sync(home, args)),
        Some(Verb::Doctor(args)) => Ok(overview::doctor(args)),
        Some(Verb::Author(args)) => author::run(args),
        Some(Verb::Confined(args)) => return Exit::AsProgram(confine::run(args)),
        Some(Verb::Door(args)) => return own(in_runtime(door::open(&args.file)).flatten()),
        Some(Verb::Seat(args)) => {
            let done = in_runtime(seat::serve(&args.file, args.port)).flatten();
            return done.map_or_else(|why| own(Err(why)), Exit::AsProgram);
        }
        Some(Verb::Retry(args)) => {
            let asking = retry::ask(&args.file, &args.host, args.port, &args.log);
            return in_runtime(asking).flatten().map_or_else(|why| own(Err(why)), Exit::AsProgram);
        }
        Some(Verb::Night(args)) => return own(night::rules::watch(&args.file, &args.night)),
        Some(Verb::Rollcall(args)) => {
            return own(in_runtime(rollcall::serve(&args.file)).flatten());
        }
        Some(Verb::Club(args)) => return own(in_runtime(club::open(&args.file)).flatten()),
        Some(Verb::Filter(args)) => return own(filter::judge(&args.file, &args.packets)),
        Some(Verb::Board(args)) => return own(in_runtime(board::serve(&args.file)).flatten()),
        Some(Verb::Clinic(args)) => clinic::show(&args.file).map(|written| {
            written.iter().for_each(screen::say);
            Exit::Fine
        }),
        Some(Verb::Frames(args)) => return own(in_runtime(frames::serve(&args.file)).flatten()),
        Some(Verb::Talk(args)) => {
            return own(in_runtime(talk::talk(&args.file, &args.host, args.port)).flatten());
        }
        Some(Verb::Triage(args)) => {
            return own(in_runtime(triage::name(&args.file, &args.host, args.port)).flatten());
        }
    };
    done.unwrap_or_else(|why| {
        screen::tell(format_args!("doorward lab: {why}"));
        Exit::Usage
    })
}

/// How a program of the lab ends that stands in a learner's folder.
fn own(done: Result<(), String>) -> Exit {
    match done {
        Ok(()) => Exit::Fine,
        Err(why) => {
            screen::tell(why);
            Exit::Failed
        }
    }
}

/// The exercise that is named; without a name the one whose folder we are in, or that was worked on last.
fn chosen(home: &Home, named: Option<&str>) -> Result<Exercise, String> {
    let standing = || home.standing_in().filter(|folder| Exercise::find(folder).is_ok());
    let latest = || home.journal.latest().map(str::to_owned);
    match named.map(str::to_owned).or_else(standing).or_else(latest) {
        Some(wanted) => Exercise::find(&wanted),
        None => {
            Err("no exercise was started yet: doorward lab list, and doorward lab start 01"
                .to_owned())
        }
    }
}

pub(super) fn in_runtime<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the runtime cannot start: {error}"))?;
    Ok(runtime.block_on(work))
}

const EXIT_CODES: &str =
    "Exit codes: 0 held or done, 1 not yet, 2 usage, 3 inconclusive on this machine.";

//! Where the learner is: the list, the progress, and what this machine can measure.

use serde_json::json;

use super::{Exit, screen};
use crate::lab::catalogue::{Exercise, How, Track};
use crate::lab::home::Home;
use crate::lab::journal::Standing;
use crate::lab::lan::Lan;
use crate::lab::picture::Look;

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Those of one track only.
    #[arg(long, value_parser = ["sockets", "gates", "secrets", "siege"])]
    track: Option<String>,
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ProgressArgs {
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn list(home: &Home, args: &ListArgs, look: Look) -> Result<Exit, String> {
    let all = Exercise::all()?;
    let wanted =
        |one: &&Exercise| args.track.as_deref().is_none_or(|track| one.about.track.word() == track);
    for exercise in all.iter().filter(wanted) {
        let standing = home.journal.standing(&exercise.number);
        let about = &exercise.about;
        let how: Vec<_> = about.how.iter().map(|how: &How| how.word()).collect();
        if args.json {
            screen::say(json!({
                "number": exercise.number, "title": about.title, "task": about.task, "track": about.track.word(),
                "level": about.level, "minutes": about.minutes, "how": how, "room": about.room,
                "statements": about.statements, "state": state(&standing),
            }));
            continue;
        }
        let level = if look.is_plain() {
            format!("level {}", about.level)
        } else {
            format!("{:<4}", "*".repeat(usize::from(about.level)))
        };
        let sign = sign(&standing, look);
        screen::say(format_args!(
            " {sign} {} {:<34} {level} {:>3} min  {:<9} {}",
            exercise.number,
            about.title,
            about.minutes,
            about.room.word(),
            how.join(", ")
        ));
    }
    Ok(Exit::Fine)
}

pub(super) fn progress(home: &Home, args: &ProgressArgs, look: Look) -> Result<Exit, String> {
    let all = Exercise::all()?;
    let standings: Vec<_> =
        all.iter().map(|one| (one, home.journal.standing(&one.number))).collect();
    if args.json {
        for (exercise, standing) in &standings {
            screen::say(json!({
                "number": exercise.number, "state": state(standing), "checks": standing.checks,
                "hints": standing.hints, "misconceptions": standing.misconceptions,
            }));
        }
        return Ok(Exit::Fine);
    }
    screen::say(summary(home, &standings, look));
    Ok(Exit::Fine)
}

/// A line a track, and what comes next.
pub(super) fn summary(home: &Home, standings: &[(&Exercise, Standing)], look: Look) -> String {
    let held = standings.iter().filter(|(_, standing)| standing.held).count();
    let who =
        home.journal.class().map(|(class, id)| format!("{class} · {id} · ")).unwrap_or_default();
    let mut lines =
        vec![format!(" {}   {who}{held} of {} held", look.bold("doorward lab"), standings.len())];
    for track in Track::ALL {
        let own: Vec<_> = standings.iter().filter(|(one, _)| one.about.track == track).collect();
        if own.is_empty() {
            continue;
        }
        let done = own.iter().filter(|(_, standing)| standing.held).count();
        let each: Vec<_> = own
            .iter()
            .map(|(one, standing)| format!("{} {}", one.number, sign(standing, look)))
            .collect();
        let (bar, word) = (look.bar(done, own.len()), track.word().to_uppercase());
        lines.push(format!(" {word:<8} {bar} {done}/{}   {}", own.len(), each.join("  ")));
    }
    lines.join("\n")
}

fn state(standing: &Standing) -> &'static str {
    match (standing.held, standing.started) {
        (true, _) => "held",
        (false, true) => "begun",
        (false, false) => "new",
    }
}

fn sign(standing: &Standing, look: Look) -> String {
    if look.is_plain() {
        return state(standing).to_owned();
    }
    match state(standing) {
        "held" => look.green("✔"),
        "begun" => "◐".to_owned(),
        _ => "·".to_owned(),
    }
}

pub(super) fn doctor(args: &DoctorArgs) -> Exit {
    let lan = Lan::enter();
    let second = std::net::TcpListener::bind((std::net::Ipv4Addr::new(127, 0, 0, 2), 0)).is_ok();
    let python = has("python3");
    if args.json {
        screen::say(json!({
            "pocket_lan": lan.is_pocket(), "place": lan.words(), "second_loopback": second, "python3": python,
        }));
        return Exit::Fine;
    }
    let line = |good: bool, what: &str, meaning: &str| {
        let sign = if good { "yes" } else { "no " };
        screen::say(format_args!(" {sign}  {what:<34} {meaning}"));
    };
    let place = if lan.is_pocket() {
        "every exercise is fully measured".to_owned()
    } else {
        format!("checks run {}; a port that is taken is inconclusive", lan.words())
    };
    line(lan.is_pocket(), "a network of its own", &place);
    line(
        second,
        "a second loopback address",
        "takes the place of the LAN where there is no network of its own",
    );
    line(python, "python3", "for the starters in Python; every exercise has a way without code");
    Exit::Fine
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

//! `doorward explain --event` and `--last`: a refusal of a running server, told room by room.

use std::net::{IpAddr, SocketAddr};

use doorward::admin::{Answer, Question, ask};
use doorward::config::Config;
use doorward::paper::{Change, Seeker, Told};
use doorward::peer::PeerAddr;
use doorward::problem::Problem;
use doorward::refusal::{Refusal, Room};
use doorward::server::status;

use super::Args;
use super::picture::{Line, Mark, Picture, Reason};
use crate::cli::{Exit, screen};

/// Explains the newest refusal that fits.
pub(super) fn run(args: &Args, fits: &dyn Fn(&status::Refusal) -> bool) -> Exit {
    let refusals = match remembered(args) {
        Ok(refusals) => refusals,
        Err(words) => {
            screen::tell(format_args!("doorward: {words}"));
            return Exit::Failed;
        }
    };
    let Some(event) = refusals.iter().find(|event| fits(event)) else {
        let count = refusals.len();
        screen::tell(format_args!(
            "doorward: no such refusal is remembered; the server remembers the last 256, now {count}\n    \
             doorward status lists them"
        ));
        return Exit::Failed;
    };
    // Without a configuration there is still a picture, only no change to propose.
    let config = Config::read(&args.config.config).ok().map(|(config, _)| config);
    let picture = picture(event, config.as_ref());
    if args.json {
        screen::say(picture.json(Some(false)));
    } else {
        picture.print();
    }
    Exit::Fine
}

/// Whether a refusal is of this address or name; every one is of nobody in particular.
pub(super) fn is_of(event: &status::Refusal, who: &str) -> bool {
    let from = event.from.parse::<SocketAddr>().ok();
    if let Ok(ip) = who.parse::<IpAddr>() {
        return from.is_some_and(|from| from.ip() == ip.to_canonical());
    }
    let bare = |name: &str| name.split_once(':').is_some_and(|(_, name)| name == who);
    who.is_empty() || event.names.iter().any(|name| name == who || bare(name))
}

fn remembered(args: &Args) -> Result<Vec<status::Refusal>, String> {
    let socket = match &args.socket {
        Some(socket) => Ok(socket.clone()),
        None => Config::admin_socket(&args.config.config),
    };
    let words = |problem: Problem| problem.to_string();
    let answer = socket.and_then(|socket| ask(&socket, &Question::Status)).map_err(words)?;
    match answer {
        Answer::Status(status) => Ok(status.last),
        Answer::Done(said) | Answer::Refused(said) => Err(said.join("; ")),
        Answer::Sockets(_) => Err("the server answered something else".to_owned()),
    }
}

fn picture(event: &status::Refusal, config: Option<&Config>) -> Picture {
    let names = match event.names.as_slice() {
        [] => String::new(),
        names => format!(" with {}", names.join(" ")),
    };
    let title = format!(
        "visit {} at {}: {}{names} to {}",
        event.visit, event.at, event.from, event.service
    );
    let Some(refusal) = Refusal::from_code(&event.code) else {
        // A newer server may say what this program does not know.
        let verdict = format!("was refused: {}", event.code);
        return Picture { title, lines: Vec::new(), verdict, reasons: Vec::new() };
    };
    let change = config.and_then(|config| change(event, refusal, config));
    Picture {
        title,
        lines: ROOMS.iter().map(|room| line(*room, refusal, event)).collect(),
        verdict: format!("was refused: {refusal}"),
        reasons: vec![Reason { refusal, change }],
    }
}

/// What one room said to it. The rooms before the one that refused had let it on.
fn line(room: Room, refusal: Refusal, event: &status::Refusal) -> Line {
    let plain =
        |mark, says: &str| Line { room: room.word(), mark, says: says.to_owned(), place: None };
    // A member's seat is asked for last of all, though it is a matter of the first room.
    let last = refusal == Refusal::AcceptMembersFull;
    if room == refusal.room() {
        let says = match event.detail.as_str() {
            "" => event.code.clone(),
            detail => format!("{} ({detail})", event.code),
        };
        return Line { room: room.word(), mark: Mark::Refused, says, place: event.rule.clone() };
    }
    let before = room < refusal.room() || (last && room <= Room::Identity);
    match (before, room) {
        (true, Room::Identity) => plain(Mark::Passed, &event.names.join(" ")),
        (true, Room::Address) => plain(Mark::Passed, &event.from),
        (true, _) => plain(Mark::Passed, ""),
        (false, _) => plain(Mark::NotAsked, "the visitor was gone by then"),
    }
}

/// The smallest change by the configuration of now, which may differ from the one that refused.
fn change(event: &status::Refusal, refusal: Refusal, config: &Config) -> Option<Change> {
    let service = config.services.iter().find(|service| *service.name == *event.service)?;
    let from = event.from.parse::<SocketAddr>().ok()?;
    let seeker = Seeker::recorded(PeerAddr::new(from), &event.names);
    let told = Told { refusal, detail: &event.detail, rule: event.rule.as_deref() };
    Some(Change::smallest(service, &seeker, told))
}

const ROOMS: [Room; 6] =
    [Room::Accept, Room::Address, Room::Handshake, Room::Identity, Room::Frame, Room::Service];

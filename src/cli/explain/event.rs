//! `doorward explain --event` and `--last`: a refusal of a running server, as it happened and as it would
//! happen now.

use std::net::{IpAddr, SocketAddr};

use doorward::handshake::Pin;
use doorward::paper::{Remembered, Shows, Visitor, Walk};
use doorward::peer::PeerAddr;
use doorward::refusal::{Refusal, Room};
use doorward::server::status::{self, Status};
use serde_json::json;

use super::picture::{Line, Mark, Picture, Reason};
use super::scene::{self, Scene};
use super::{Args, paper};
use crate::cli::{Exit, screen};

/// Explains the newest refusal that fits.
pub(super) fn run(args: &Args, fits: &dyn Fn(&status::Refusal) -> bool) -> Exit {
    let asked = scene::socket(args).map_err(|problem| problem.to_string());
    let status = match asked.and_then(|socket| scene::status(&socket)) {
        Ok(status) => status,
        Err(words) => {
            screen::tell(format_args!("doorward: {words}"));
            return Exit::Failed;
        }
    };
    let Some(event) = status.last.iter().find(|event| fits(event)) else {
        let count = status.last.len();
        screen::tell(format_args!(
            "doorward: no such refusal is remembered; the server remembers the last 256, now {count}\n    \
             doorward status lists them"
        ));
        return Exit::Failed;
    };
    let known = match known(args, event) {
        Ok(known) => known,
        Err(words) => {
            screen::tell(format_args!("doorward: {words}"));
            return Exit::Usage;
        }
    };
    show(args, &status, event, known);
    Exit::Fine
}

fn show(args: &Args, status: &Status, event: &status::Refusal, visitor: Option<Visitor>) {
    let now = visitor.and_then(|visitor| now(args, status, event, &visitor));
    let (walk, now) = now.map_or((None, None), |(walk, picture)| (Some(walk), Some(picture)));
    let then = then(event, walk.as_ref());
    if args.json {
        return screen::say(json!({
            "then": then.json(Some(false)),
            "now": now.map(|now| now.json(walk.map(|walk| walk.refused().is_none()))),
            "stale": status.reloads.stale,
        }));
    }
    then.print();
    if let Some(now) = now {
        if status.reloads.stale {
            screen::say("The server runs an older state: it refused the files as they are now.");
        }
        now.print();
    }
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

/// Who it was, as far as the record and the command line know.
fn known(args: &Args, event: &status::Refusal) -> Result<Option<Visitor>, String> {
    let peer = |text: &str| text.parse::<SocketAddr>().ok().map(PeerAddr::new);
    let Some(from) = peer(&event.from) else { return Ok(None) };
    let via = event.via.as_deref().and_then(peer);
    let given = args.visitor.known(from, via)?;
    let shows = if args.visitor.cert.is_some() { given.shows } else { shown(event) };
    Ok(Some(Visitor { shows, ..given }))
}

fn shown(event: &status::Refusal) -> Shows {
    if event.code == Refusal::HandshakeNoCertificate.code() {
        return Shows::Chain(Vec::new());
    }
    let pin = event.pin.as_deref().filter(|_| event.more_names == 0).and_then(Pin::parse);
    let remembered =
        pin.and_then(|pin| Remembered::new(&event.names, event.bad_name.as_deref(), pin));
    remembered.map_or(Shows::Unknown, Shows::Remembered)
}

/// How the same visitor would fare by the files of now; says why that cannot be told where it cannot.
fn now(
    args: &Args,
    status: &Status,
    event: &status::Refusal,
    visitor: &Visitor,
) -> Option<(Walk, Picture)> {
    let scene = match Scene::read(args) {
        Ok(scene) => scene.with_bans_of(status),
        Err(problems) => {
            screen::tell_problems(&problems);
            return None;
        }
    };
    let Some(service) = scene.service(&event.service) else {
        screen::tell(format_args!("doorward: the configuration has no {} now", event.service));
        return None;
    };
    let walk = scene.walk(service, visitor);
    let mut picture = paper::picture(service, visitor, &walk);
    picture.title = format!("now: {}", picture.title);
    if walk.refused().is_none() {
        "nothing that could be asked would refuse it".clone_into(&mut picture.verdict);
    }
    Some((walk, picture))
}

fn then(event: &status::Refusal, now: Option<&Walk>) -> Picture {
    let names = match event.names.as_slice() {
        [] => String::new(),
        names => format!(" with {}", names.join(" ")),
    };
    let title = format!(
        "visit {} at {}: {}{names} to {}",
        event.visit, event.at, event.from, event.service
    );
    let verdict = format!("was refused: {}", event.code);
    let Some(refusal) = Refusal::from_code(&event.code) else {
        // A newer server may say what this program does not know.
        return Picture { title, lines: Vec::new(), verdict, reasons: Vec::new() };
    };
    let mut objections = now.map(Walk::objections).unwrap_or_default().iter();
    let told_again = objections.any(|objection| objection.refused.refusal() == refusal);
    let reason = (!told_again).then_some(Reason { refusal, change: None });
    Picture {
        title,
        lines: ROOMS.iter().map(|room| line(*room, refusal, event)).collect(),
        verdict,
        reasons: reason.into_iter().collect(),
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

const ROOMS: [Room; 6] =
    [Room::Accept, Room::Address, Room::Handshake, Room::Identity, Room::Frame, Room::Service];

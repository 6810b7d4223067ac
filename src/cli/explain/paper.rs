//! `doorward explain --from`: the hallway on paper.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use doorward::bind::{Interfaces, Listen};
use doorward::config::{Config, ServiceConfig};
use doorward::paper::{Step, Verdict, Visitor, Walk};
use doorward::peer::PeerAddr;
use doorward::place::Written;

use super::picture::{Line, Mark, Picture, Reason};
use super::scene::{self, Scene};
use super::{Args, peer};
use crate::cli::{Exit, screen};

pub(super) fn run(args: &Args, from: IpAddr) -> Exit {
    let scene = match Scene::read(args) {
        Ok(scene) => with_bans(args, scene),
        Err(problems) => {
            screen::tell_problems(&problems);
            return Exit::Refused;
        }
    };
    let (service, visitor) = match chosen(args, &scene.config, from) {
        Ok(chosen) => chosen,
        Err(words) => {
            screen::tell(format_args!("doorward: {words}"));
            return Exit::Usage;
        }
    };
    let walk = scene.walk(service, &visitor);
    let picture = picture(service, &visitor, &walk);
    let admitted = walk.refused().is_none();
    if args.json {
        screen::say(picture.json(Some(admitted)));
    } else {
        picture.print();
    }
    if admitted { Exit::Fine } else { Exit::Failed }
}

/// A server that is not running has no bans; one that does not answer is spoken of where it was named.
fn with_bans(args: &Args, scene: Scene) -> Scene {
    let named = args.socket.is_some();
    if !named && scene.config.admin.is_none() {
        return scene;
    }
    let asked = scene::socket(args).map_err(|problem| problem.to_string());
    match asked.and_then(|socket| scene::status(&socket)) {
        Ok(status) => scene.with_bans_of(&status),
        Err(words) => {
            if named {
                screen::tell(format_args!("doorward: {words}"));
            }
            scene
        }
    }
}

fn chosen<'c>(
    args: &Args,
    config: &'c Config,
    from: IpAddr,
) -> Result<(&'c ServiceConfig, Visitor), String> {
    let service = choose(args, config)?;
    let visitor = args.visitor.known(peer(from), args.visitor.via.map(peer))?;
    Ok((service, visitor))
}

/// The service that is asked for, or the only one.
fn choose<'c>(args: &Args, config: &'c Config) -> Result<&'c ServiceConfig, String> {
    let interfaces = Interfaces::of_this_host().unwrap_or_default();
    let named = |service: &&ServiceConfig| match (&args.visitor.service, &args.visitor.to) {
        (Some(name), _) => *service.name == **name,
        (None, Some(to)) => {
            service.listen.iter().any(|listen| is_meant(&listen.value, to, &interfaces))
        }
        (None, None) => true,
    };
    let mut found = config.services.iter().filter(named);
    match (found.next(), found.next()) {
        (Some(service), None) => Ok(service),
        (None, _) => Err(format!("there is no such service; {}", offer(config))),
        (Some(_), Some(_)) => {
            Err(format!("say with --service or --to which service is meant; {}", offer(config)))
        }
    }
}

/// Whether a listener is the one: as it is written, or an address that it has on this host.
fn is_meant(listen: &Listen, to: &str, interfaces: &Interfaces) -> bool {
    let Ok(address) = to.parse::<SocketAddr>() else { return listen.to_string() == to };
    let ip = address.ip().to_canonical();
    let has = |at: SocketAddr| {
        let everywhere = at.ip().is_unspecified() && at.is_ipv4() == ip.is_ipv4();
        at.port() == address.port() && (at.ip() == ip || everywhere)
    };
    listen.resolve(interfaces).is_ok_and(|addresses| addresses.into_iter().any(has))
}

fn offer(config: &Config) -> String {
    let one = |service: &ServiceConfig| {
        let listen: Vec<_> = service.listen.iter().map(|at| at.value.to_string()).collect();
        format!("{} at {}", service.name, listen.join(" and "))
    };
    let all: Vec<_> = config.services.iter().map(one).collect();
    format!("there is {}", all.join(", "))
}

/// What a visitor says, from a file.
pub(super) fn said(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LONGEST_SPEECH).read_to_end(&mut bytes));
    let whole = |count: usize| u64::try_from(count).is_ok_and(|count| count < LONGEST_SPEECH);
    match read {
        Ok(count) if whole(count) => Ok(bytes),
        Ok(_) => Err(format!("{shown} is longer than 32 MiB")),
        Err(error) => Err(format!("{shown} cannot be read: {}", reason(&error))),
    }
}

fn reason(error: &io::Error) -> String {
    error.kind().to_string()
}

pub(super) fn picture(service: &ServiceConfig, visitor: &Visitor, walk: &Walk) -> Picture {
    let via = visitor.via.map_or_else(String::new, |via: PeerAddr| format!(" via {}", via.ip()));
    let mut title = format!("{}{via} to {}", visitor.from.ip(), service.name);
    if !visitor.via.unwrap_or(visitor.from).ip().is_loopback() && is_local(service) {
        title.push_str(" (which listens on loopback alone, where nobody can come from there)");
    }
    let reasons = walk.objections().iter().map(|objection| Reason {
        refusal: objection.refused.refusal(),
        change: Some(objection.change.clone()),
    });
    let verdict = match walk.refused() {
        None => format!("would be let in to {} ({})", service.name, service.kind),
        Some(objection) => format!("would be refused: {}", objection.refused.code()),
    };
    Picture {
        title,
        lines: walk.steps().iter().map(line).collect(),
        verdict,
        reasons: reasons.collect(),
    }
}

fn is_local(service: &ServiceConfig) -> bool {
    let on_loopback = |listen: &Written<Listen>| match &listen.value {
        Listen::Address(address) => address.ip().is_loopback(),
        Listen::Zoned(..) | Listen::Interface { .. } | Listen::Inherited(_) => false,
    };
    service.listen.iter().all(on_loopback)
}

fn line(step: &Step) -> Line {
    let (mark, says) = match &step.verdict {
        Verdict::Passed(says) => (Mark::Passed, says.clone()),
        Verdict::Refused(refused) if refused.detail().is_empty() => {
            (Mark::Refused, refused.code().to_owned())
        }
        Verdict::Refused(refused) => {
            (Mark::Refused, format!("{} ({})", refused.code(), refused.detail()))
        }
        Verdict::NotAsked(why) => (Mark::NotAsked, (*why).to_owned()),
    };
    let place = step.place.as_ref().map(ToString::to_string);
    Line { room: step.room.word(), mark, says, place }
}

/// Two of the longest messages there can be.
const LONGEST_SPEECH: u64 = 32 << 20;

//! `doorward explain --from`: the hallway on paper.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

use doorward::bind::Listen;
use doorward::config::{Config, ServiceConfig};
use doorward::handshake::{Handshake, Loaded};
use doorward::paper::{Hallway, Step, Verdict, Visitor, Walk};
use doorward::peer::PeerAddr;
use doorward::pki::keyfile::read_chain;
use doorward::place::Written;
use doorward::problem::Problem;
use rustls::pki_types::UnixTime;

use super::picture::{Line, Mark, Picture, Reason};
use super::{Args, peer};
use crate::cli::{Exit, screen};

pub(super) fn run(args: &Args, from: IpAddr) -> Exit {
    let loaded = Config::read(&args.config.config).and_then(|(config, _)| {
        let Loaded { handshake, .. } = Handshake::load(&config.handshake, UnixTime::now())?;
        Ok((config, handshake))
    });
    let (config, handshake) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            screen::tell_problems(&problems);
            return Exit::Refused;
        }
    };
    let chosen = choose(args, &config);
    let scene = chosen.and_then(|service| Ok((service, visitor(args, from)?)));
    let (service, visitor) = match scene {
        Ok(scene) => scene,
        Err(words) => {
            screen::tell(format_args!("doorward: {words}"));
            return Exit::Usage;
        }
    };
    let hallway = Hallway { service, settings: &config.handshake, handshake: &handshake };
    let walk = hallway.walk(&visitor, UnixTime::now());
    let picture = picture(service, &visitor, &walk);
    let admitted = walk.refused().is_none();
    if args.json {
        screen::say(picture.json(Some(admitted)));
    } else {
        picture.print();
    }
    if admitted { Exit::Fine } else { Exit::Failed }
}

/// The service that is asked for, or the only one.
fn choose<'c>(args: &Args, config: &'c Config) -> Result<&'c ServiceConfig, String> {
    let named = |service: &&ServiceConfig| match (&args.visitor.service, &args.visitor.to) {
        (Some(name), _) => *service.name == **name,
        (None, Some(to)) => service.listen.iter().any(|listen| listen.value.to_string() == *to),
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

fn offer(config: &Config) -> String {
    let one = |service: &ServiceConfig| {
        let listen: Vec<_> = service.listen.iter().map(|at| at.value.to_string()).collect();
        format!("{} at {}", service.name, listen.join(" and "))
    };
    let all: Vec<_> = config.services.iter().map(one).collect();
    format!("there is {}", all.join(", "))
}

fn visitor(args: &Args, from: IpAddr) -> Result<Visitor, String> {
    let chain = match &args.visitor.cert {
        Some(file) => read_chain(file).map_err(|problem: Problem| problem.to_string())?,
        None => Vec::new(),
    };
    let words = args.visitor.frame.as_deref().map(said).transpose()?;
    Ok(Visitor { from: peer(from), via: args.visitor.via.map(peer), chain, words })
}

/// What a visitor says, from a file.
fn said(file: &Path) -> Result<Vec<u8>, String> {
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

fn picture(service: &ServiceConfig, visitor: &Visitor, walk: &Walk) -> Picture {
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

//! 08, close the doors you don't use: sockets that need not exist, and a filter that begins with no.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::lab::filter::{Direction, Packet, Verdict};
use crate::lab::knock::Knock;
use crate::lab::lan;
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

/// A service of the club: its port, and who may come to it.
struct Door {
    name: &'static str,
    port: &'static str,
    from: From,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Everywhere,
    ThisMachine,
    Nowhere,
}

const DOORS: [Door; 5] = [
    Door { name: "shop", port: "port", from: From::Everywhere },
    Door { name: "health", port: "port-b", from: From::Everywhere },
    Door { name: "admin", port: "port-c", from: From::ThisMachine },
    Door { name: "debug", port: "port-d", from: From::Nowhere },
    Door { name: "chat", port: "port-e", from: From::Nowhere },
];

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let first = stage.port("port")?;
    let club = match stage.serve("server", &[HOME, outside(stage)], first).await {
        Ok(club) => club,
        Err(Stop::Yours(why)) => return Ok(Findings::not_started(&why)),
        Err(stop) => return Err(stop),
    };
    let mut scanned = Vec::new();
    for door in &DOORS {
        for ip in [HOME, outside(stage)] {
            let target = stage.aim(SocketAddr::new(ip, stage.port(door.port)?))?;
            let knock = target.knock(None, stage.patience(LISTEN)).await;
            scanned.push(Scanned { door, outside: ip != HOME, knock });
        }
    }
    club.kill().await;
    let sent = packets(stage)?;
    let verdicts = match filter(stage, &sent).await {
        Ok(verdicts) => verdicts,
        Err(Stop::Yours(why)) => return Ok(Findings::not_started(&why)),
        Err(stop) => return Err(stop),
    };
    let passed: Vec<_> = sent.into_iter().zip(verdicts).collect();
    Ok(judge(&scanned, &passed))
}

/// Where a visitor from the LAN knocks; without a LAN, at another address of the loopback.
fn outside(stage: &Stage) -> IpAddr {
    if stage.lan().is_pocket() { lan::HERE.into() } else { Ipv4Addr::new(127, 0, 0, 2).into() }
}

/// A door, seen from inside or outside.
struct Scanned {
    door: &'static Door,
    outside: bool,
    knock: Knock,
}

impl Scanned {
    fn answers(&self) -> bool {
        matches!(&self.knock, Knock::Said(said) if String::from_utf8_lossy(said).contains(self.door.name))
    }

    fn must_answer(&self) -> bool {
        match self.door.from {
            From::Everywhere => true,
            From::ThisMachine => !self.outside,
            From::Nowhere => false,
        }
    }
}

/// What a packet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Visitors of the shop and the health check, and the answers to them.
    Visitor,
    /// A pupil inside asks a server outside.
    Asks,
    /// And is answered.
    Answered,
    /// A door that the filter's author may have thought of.
    KnownDoor,
    /// One that nobody thought of.
    OtherDoor,
    /// A visitor of the admin door who says that he is a web server.
    SourcePort,
    /// An answer that nobody asked for.
    Unasked,
}

impl About {
    fn is_honest(self) -> bool {
        matches!(self, Self::Visitor | Self::Asks | Self::Answered)
    }
}

/// A seeded trace of the network card.
fn packets(stage: &Stage) -> Result<Vec<(About, Packet)>, Stop> {
    let mut dice = stage.dice("packets");
    let mut groups: Vec<Vec<(About, Packet)>> = Vec::new();
    let mut port =
        |least: u32| u16::try_from(dice.below(9000).saturating_add(least)).unwrap_or(40_000);
    let packet = |direction, peer: &str, from_port, to_port, opens| Packet {
        direction,
        peer: peer.to_owned(),
        from_port,
        to_port,
        opens,
    };
    let (into, out) = (Direction::In, Direction::Out);
    for (number, door) in (1_u8..).zip(["port", "port-b"].iter().cycle().take(6)) {
        let (own, theirs, peer) = (stage.port(door)?, port(40_000), format!("10.66.1.{number}"));
        groups.push(vec![
            (About::Visitor, packet(into, &peer, theirs, own, true)),
            (About::Visitor, packet(out, &peer, own, theirs, false)),
            (About::Visitor, packet(into, &peer, theirs, own, false)),
        ]);
    }
    for number in 1_u8..=6 {
        let (own, peer) = (port(50_000), format!("10.66.2.{number}"));
        groups.push(vec![
            (About::Asks, packet(out, &peer, own, 443, true)),
            (About::Answered, packet(into, &peer, 443, own, false)),
            (About::Asks, packet(out, &peer, own, 443, false)),
        ]);
    }
    for door in ["port-c", "port-d", "port-e"] {
        let theirs = port(40_000);
        groups
            .push(vec![(About::KnownDoor, packet(into, MALLORY, theirs, stage.port(door)?, true))]);
    }
    let other = port(10_000);
    groups.push(vec![(About::OtherDoor, packet(into, MALLORY, port(40_000), other, true))]);
    let admin = stage.port("port-c")?;
    groups.push(vec![(About::SourcePort, packet(into, MALLORY, 443, admin, true))]);
    groups.push(vec![(About::Unasked, packet(into, MALLORY, 443, port(50_000), false))]);
    stage.dice("order").shuffle(&mut groups);
    Ok(groups.concat())
}

/// What the learner's table says of each packet.
async fn filter(stage: &Stage, sent: &[(About, Packet)]) -> Result<Vec<Verdict>, Stop> {
    let lines: Vec<_> =
        sent.iter().filter_map(|(_, packet)| serde_json::to_string(packet).ok()).collect();
    stage.give("packets.jsonl", lines.join("\n"))?;
    let mut program = stage.start("filter", &[("packets", "packets.jsonl".to_owned())])?;
    program.nothing_more();
    let status = program.ended(stage.patience(LONGEST)).await;
    let (said, words) = (program.said(), program.last_words());
    program.kill().await;
    let verdict = |line: &str| match line.trim() {
        "accept" => Some(Verdict::Accept),
        "drop" => Some(Verdict::Drop),
        _ => None,
    };
    let verdicts: Vec<_> = said.lines().filter_map(verdict).collect();
    if status.is_none_or(|status| !status.success()) || verdicts.len() != sent.len() {
        let (count, of) = (verdicts.len(), sent.len());
        return Err(Stop::yours(format!("your filter judged {count} of {of} packets: {words}")));
    }
    Ok(verdicts)
}

type Passed = [((About, Packet), Verdict)];

fn judge(scanned: &[Scanned], passed: &Passed) -> Findings {
    let mut findings = Findings::new();
    let dark = scanned.iter().find(|one| one.must_answer() && !one.answers());
    let count = |about: About, verdict: Verdict| {
        passed.iter().filter(|((own, _), said)| *own == about && *said == verdict).count()
    };
    let lost = [About::Visitor, About::Asks, About::Answered]
        .into_iter()
        .find(|about| count(*about, Verdict::Drop) > 0);
    findings.honest = Part::of(
        dark.is_none() && lost.is_none(),
        "the shop and its health are open to the LAN, the admin door to this machine, and pupils get answers from outside",
        match (dark, lost) {
            (Some(one), _) => format!("{} does not answer {}", one.door.name, place(one.outside)),
            (None, Some(about)) => format!("the filter drops {}", words(about)),
            (None, None) => String::new(),
        },
    );
    let open = scanned.iter().find(|one| !one.must_answer() && one.answers());
    let hostile = [About::KnownDoor, About::OtherDoor, About::SourcePort, About::Unasked];
    let through = hostile.into_iter().find(|about| count(*about, Verdict::Accept) > 0);
    findings.attack = Part::of(
        open.is_none() && through.is_none(),
        "a scan finds the shop and its health, and the filter lets nothing else in",
        match (open, through) {
            (Some(one), _) => format!("Mallory finds {} {}", one.door.name, place(one.outside)),
            (None, Some(about)) => format!("the filter accepts {}", words(about)),
            (None, None) => String::new(),
        },
    );
    if findings.attack.is_held() {
        let held = scanned.iter().find(|one| !one.must_answer() && one.knock != Knock::Refused);
        findings.gate = Part::of(
            held.is_none(),
            "what is not needed is not there: the kernel refused",
            held.map_or_else(String::new, |one| {
                format!(
                    "{} {} is {}, where it should not be at all",
                    one.door.name,
                    place(one.outside),
                    one.knock.words()
                )
            }),
        );
    }
    tell(&mut findings, scanned, passed);
    if let Some(code) = recognised(scanned, &|about, verdict| count(about, verdict) > 0) {
        findings.looks_like(code);
    }
    findings
}

/// What happened, and the ways through the rooms.
fn tell(findings: &mut Findings, scanned: &[Scanned], passed: &Passed) {
    for one in scanned {
        let sign = if one.must_answer() == one.knock.is_open() { "" } else { " (must not be so)" };
        findings.saw(format!(
            "{} {}: {}{sign}.",
            one.door.name,
            place(one.outside),
            one.knock.words()
        ));
        let is_attack = !one.must_answer();
        let stopped = (!one.knock.is_open()).then(|| (Gate::Bind, one.knock.words()));
        let who = if is_attack { "Mallory" } else { "Ana" };
        let walk =
            Walk::new(who, place(one.outside), stopped).through(&ROOMS).ending(one.door.name);
        findings.walks.push(if is_attack { walk.hostile() } else { walk });
    }
    let wrong = passed
        .iter()
        .filter(|((about, _), verdict)| about.is_honest() != (*verdict == Verdict::Accept));
    findings.saw(format!(
        "The filter judged {} packets, {} of them wrongly.",
        passed.len(),
        wrong.count()
    ));
}

fn recognised(scanned: &[Scanned], any: &dyn Fn(About, Verdict) -> bool) -> Option<&'static str> {
    let answers = |name: &str, outside: bool| {
        scanned.iter().any(|one| one.door.name == name && one.outside == outside && one.answers())
    };
    let accepts = |about: About| any(about, Verdict::Accept);
    if !accepts(About::Visitor) && !accepts(About::Asks) {
        Some("M08-DROP-ALL")
    } else if any(About::Answered, Verdict::Drop) {
        Some("M08-NO-REPLY")
    } else if accepts(About::SourcePort) && !accepts(About::KnownDoor) && !accepts(About::OtherDoor)
    {
        Some("M08-SOURCE-PORT")
    } else if accepts(About::OtherDoor) && !accepts(About::KnownDoor) {
        Some("M08-BLACKLIST")
    } else if answers("admin", true) && !answers("debug", true) {
        Some("M08-ADMIN-OUTSIDE")
    } else if !answers("admin", false) {
        Some("M08-ADMIN-GONE")
    } else if !answers("debug", true) && answers("debug", false) {
        Some("M08-STILL-THERE")
    } else {
        None
    }
}

fn words(about: About) -> &'static str {
    match about {
        About::Visitor => "packets of visitors of the shop",
        About::Asks => "what pupils inside ask servers outside",
        About::Answered => "what pupils inside are answered",
        About::KnownDoor => "a visitor of the admin, debug or chat door",
        About::OtherDoor => "a visitor of a door that nobody thought of",
        About::SourcePort => "a visitor of the admin door who comes from port 443",
        About::Unasked => "an answer that nobody asked for",
    }
}

fn place(outside: bool) -> &'static str {
    if outside { "from the LAN" } else { "on this machine" }
}

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MALLORY: &str = "10.66.9.9";
const ROOMS: [Gate; 2] = [Gate::Bind, Gate::Service];
const LISTEN: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(2);

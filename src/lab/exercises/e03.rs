//! 03, who can reach me: a notes service without a password is to be reached from this machine only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lab::knock::Knock;
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let note = format!("the key lies under {}", stage.secret("note"));
    stage.give("notes.txt", format!("{note}\n"))?;
    let port = stage.port("port")?;
    let server = match stage.serve("server", &stage.lan().addresses(), port).await {
        Ok(server) => server,
        Err(Stop::Yours(why)) => {
            let mut findings = Findings::not_started(&why);
            findings.looks_like("M03-STOP");
            return Ok(findings);
        }
        Err(stop) => return Err(stop),
    };
    let doors = stage.knock_everywhere(port).await?;
    server.kill().await;
    Ok(judge(&doors, &note))
}

fn judge(doors: &[(IpAddr, Knock)], note: &str) -> Findings {
    let mut findings = Findings::new();
    let reads = |knock: &Knock| matches!(knock, Knock::Said(said) if holds(said, note));
    let at = |ip: IpAddr| doors.iter().find(|(other, _)| *other == ip).map(|(_, knock)| knock);
    let home = at(HOME).map_or("no such address", Knock::words);
    let honest = at(HOME).is_some_and(reads);
    findings.honest =
        Part::of(honest, "127.0.0.1 read its note", format!("127.0.0.1 got no note: {home}"));
    let walk = Walk::new("Ana", HOME, (!honest).then_some((Gate::Bind, home)));
    let walk = walk.through(&ROOMS);
    findings.walks.push(walk.ending(if honest { "reads the note" } else { "gets no note" }));

    let others = doors.iter().filter(|(ip, _)| !OWN.contains(ip));
    let (mut stolen, mut open, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for (ip, knock) in others {
        findings.saw(format!("At {ip}: {}.", knock.words()));
        match knock {
            knock if reads(knock) => stolen.push(*ip),
            knock if knock.is_open() => open.push(*ip),
            _ => closed.push(*ip),
        }
        findings.walks.push(way(*ip, knock, reads(knock)));
    }
    findings.attack = Part::of(
        stolen.is_empty(),
        format!("nobody read the note at {}", listed(&closed)),
        format!("Mallory read the note at {}", listed(&stolen)),
    );
    if stolen.is_empty() {
        findings.gate = Part::of(
            open.is_empty(),
            "the kernel refused the connection: no socket exists there",
            format!("{} still answers: a scanner sees an open port", listed(&open)),
        );
    }
    recognise(&mut findings, doors, honest, &open, &stolen);
    findings
}

fn way(ip: IpAddr, knock: &Knock, reads: bool) -> Walk {
    let gate = if knock.is_open() { Gate::Address } else { Gate::Bind };
    let stopped = (!reads).then(|| (gate, knock.words()));
    let end = if reads { "reads the note" } else { "gets nothing" };
    Walk::new("Mallory", ip, stopped).through(&ROOMS).hostile().ending(end)
}

fn recognise(
    findings: &mut Findings,
    doors: &[(IpAddr, Knock)],
    honest: bool,
    open: &[IpAddr],
    stolen: &[IpAddr],
) {
    let is_open = |wanted: IpAddr| doors.iter().any(|(ip, knock)| *ip == wanted && knock.is_open());
    if honest {
        if stolen.is_empty() && !open.is_empty() {
            findings.looks_like("M03-LIST-ONLY");
        }
        return;
    }
    if is_open(IpAddr::V6(Ipv6Addr::LOCALHOST)) && !is_open(HOME) {
        findings.looks_like("M03-LOCALHOST6");
    } else if is_open(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))) && !is_open(HOME) {
        findings.looks_like("M03-OTHERLOOP");
    } else if !is_open(HOME) {
        findings.looks_like("M03-LANIP");
    }
}

fn holds(said: &[u8], note: &str) -> bool {
    String::from_utf8_lossy(said).contains(note)
}

fn listed(addresses: &[IpAddr]) -> String {
    let words: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if words.is_empty() { "any other address".to_owned() } else { words.join(", ") }
}

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// What "this machine only" means in both families.
const OWN: [IpAddr; 2] = [HOME, IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// The rooms of a service that has neither TLS nor names.
const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Address, Gate::Service];

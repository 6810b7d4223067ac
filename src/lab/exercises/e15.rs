//! 15, a badge is not a key to every room: six people, six services, and a table of who may do what.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::lab::guest::Guest;
use crate::lab::papers::{Office, Shown, client_draft, shown};
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

/// A service: its name, where it listens, and who may use it.
struct Service {
    name: &'static str,
    port: &'static str,
    may: &'static [&'static str],
}

/// A request: who, in which room, and whether it was answered.
struct Request {
    who: String,
    service: &'static str,
    may: bool,
    answered: bool,
}

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let school = Office::new()?;
    let server = school.server("school.test")?;
    stage.give("server.pem", server.chain_pem())?;
    stage.give("server-key.pem", server.key_pem())?;
    stage.give("badges-ca.pem", school.trust_pem())?;
    let first = stage.port("port")?;
    let guard = match stage.serve("server", &[HERE], first).await {
        Ok(guard) => guard,
        Err(Stop::Yours(why)) => return Ok(Findings::not_started(&why)),
        Err(stop) => return Err(stop),
    };
    let mut badges = Vec::new();
    for who in PEOPLE {
        badges.push((who, shown(&school.client(&format!("{who}.school.test"))?)?));
    }
    let mut table = Vec::new();
    for service in &SERVICES {
        for (who, badge) in &badges {
            let may = service.may.contains(who);
            let answered = request(stage, service, badge).await?;
            table.push(Request { who: (*who).to_owned(), service: service.name, may, answered });
        }
    }
    let mut impostors = Vec::new();
    for (who, badge) in impostor_badges(&school)? {
        for service in SERVICES.iter().filter(|service| service.name != "board") {
            let answered = request(stage, service, &badge).await?;
            impostors.push(Request {
                who: who.to_owned(),
                service: service.name,
                may: false,
                answered,
            });
        }
    }
    let told = guard.complained().contains("code=identity.not-permitted");
    guard.kill().await;
    Ok(judge(&table, &impostors, told))
}

/// Badges that are nearly Ana's.
fn impostor_badges(school: &Office) -> Result<Vec<(&'static str, Shown)>, Stop> {
    let ana = "ana.school.test";
    let common = client_draft("dan.school.test")?.common_name(ana.as_bytes());
    Ok(vec![
        (
            "somebody named ana.school.test.evil.test",
            shown(&school.client("ana.school.test.evil.test")?)?,
        ),
        ("somebody named notana.school.test", shown(&school.client("notana.school.test")?)?),
        (COMMON, shown(&school.sign(&common)?)?),
        ("an Ana of another authority", shown(&Office::new()?.client(ana)?)?),
    ])
}

/// One request with a reply, over a connection of its own.
async fn request(stage: &Stage, service: &Service, badge: &Shown) -> Result<bool, Stop> {
    let target = stage.aim(SocketAddr::new(HERE, stage.port(service.port)?))?;
    let guest = Guest { from: None, tls: true, papers: Some(badge.clone()) };
    let met = guest.ask(target, b"do it\n", stage.patience(LONGEST)).await;
    Ok(met.answer().is_some_and(|answer| answer.contains("do it")))
}

fn judge(table: &[Request], impostors: &[Request], told: bool) -> Findings {
    let mut findings = Findings::new();
    let missing: Vec<_> = table.iter().filter(|one| one.may && !one.answered).collect();
    let wanted = table.iter().filter(|one| one.may).count();
    findings.honest = Part::of(
        missing.is_empty(),
        format!("all {wanted} requests of the table were answered"),
        missing.first().map_or_else(String::new, |one| {
            format!(
                "{} of {wanted} permitted requests were refused, such as {} at {}",
                missing.len(),
                one.who,
                one.service
            )
        }),
    );
    let extra: Vec<_> = table.iter().filter(|one| !one.may && one.answered).collect();
    let posing: Vec<_> = impostors.iter().filter(|one| one.answered).collect();
    let tried = table.len().saturating_sub(wanted).saturating_add(impostors.len());
    let inside = extra.len().saturating_add(posing.len());
    findings.attack = Part::of(
        inside == 0,
        format!("none of {tried} others was answered"),
        extra.iter().chain(&posing).next().map_or_else(String::new, |one| {
            format!(
                "{inside} of {tried} others were answered, such as {} at {}",
                one.who, one.service
            )
        }),
    );
    for who in PEOPLE {
        findings.saw(row(table, who));
    }
    let first = |list: &[&Request]| list.first().map(|one| way(one));
    let allowed: Vec<_> = table.iter().filter(|one| one.may).collect();
    let refused: Vec<_> = table.iter().filter(|one| !one.may && !one.answered).collect();
    findings.walks.extend(
        [first(&allowed), first(&refused), first(&extra), first(&posing)].into_iter().flatten(),
    );
    if findings.attack.is_held() {
        findings.gate = Part::of(
            told,
            "each was refused by the identity gate",
            "nobody was refused by the identity gate",
        );
    }
    if let Some(code) = recognised(table, &extra, &posing) {
        findings.looks_like(code);
    }
    findings
}

/// A person's row of the table, with a sign at each cell that is not as it should be.
fn row(table: &[Request], who: &str) -> String {
    let cells =
        table.iter().filter(|one| one.who == who).filter_map(|one| match (one.may, one.answered) {
            (true, true) => Some(one.service.to_owned()),
            (false, true) => Some(format!("{} (must not)", one.service)),
            (true, false) => Some(format!("not {} (may)", one.service)),
            (false, false) => None,
        });
    format!("{who}: {}.", cells.collect::<Vec<_>>().join(", "))
}

fn recognised(table: &[Request], extra: &[&Request], posing: &[&Request]) -> Option<&'static str> {
    let everywhere = |who: &str| table.iter().filter(|one| one.who == who).all(|one| one.answered);
    if table.iter().all(|one| one.answered) {
        Some("M15-STAR")
    } else if posing.iter().any(|one| one.who == COMMON) {
        Some("M15-CN")
    } else if extra
        .first()
        .is_some_and(|first| everywhere(&first.who) && extra.iter().all(|one| one.who == first.who))
    {
        Some("M15-ADMIN")
    } else {
        None
    }
}

fn way(one: &Request) -> Walk {
    let stopped = (!one.answered).then_some((Gate::Identity, "not permitted"));
    let end = format!("{} {}", if one.answered { "uses" } else { "does not use" }, one.service);
    let walk = Walk::new(&one.who, HERE, stopped).through(&ROOMS).ending(end);
    if one.may { walk } else { walk.hostile() }
}

const PEOPLE: [&str; 6] = ["ana", "ben", "cara", "dan", "eve", "finn"];
const SERVICES: [Service; 6] = [
    Service { name: "board", port: "port", may: &PEOPLE },
    Service { name: "grades", port: "port-b", may: &["ana", "ben", "finn"] },
    Service { name: "doors", port: "port-c", may: &["ana", "cara"] },
    Service { name: "backup", port: "port-d", may: &["cara"] },
    Service { name: "timer", port: "port-e", may: &["ana", "ben"] },
    Service { name: "budget", port: "port-f", may: &["ana", "finn"] },
];
const COMMON: &str = "Dan, with Ana as the common name";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: [Gate; 4] = [Gate::Bind, Gate::Handshake, Gate::Identity, Gate::Service];
const LONGEST: Duration = Duration::from_secs(1);

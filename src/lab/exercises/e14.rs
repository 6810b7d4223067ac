//! 14, show me your badge: a door that opens for whoever reaches it is to open for staff alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;

use crate::lab::guest::{Guest, Met};
use crate::lab::papers::{
    Office, Shown, client_draft, expired, not_yet_valid, server_draft, shown,
};
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let (staff, school) = (Office::new()?, Office::new()?);
    let server = school.server(NAME)?;
    stage.give("server.pem", server.chain_pem())?;
    stage.give("server-key.pem", server.key_pem())?;
    stage.give("staff-ca.pem", staff.trust_pem())?;
    stage.give("school-ca.pem", school.trust_pem())?;
    stage.give("every-ca.pem", staff.trust_pem() + &school.trust_pem())?;
    let port = stage.port("port")?;
    let door = stage.serve("server", &[HERE], port).await?;
    let mut findings = Findings::new();
    honest(stage, &mut findings, &staff, port).await?;
    attack(stage, &mut findings, &staff, &school, port).await?;
    door.kill().await;
    Ok(findings)
}

/// Two members of staff, each by name.
async fn honest(
    stage: &Stage,
    findings: &mut Findings,
    staff: &Office,
    port: u16,
) -> Result<(), Stop> {
    let mut refused = None;
    for name in ["ana.staff.test", "ben.staff.test"] {
        let met = come(stage, port, true, Some(shown(&staff.client(name)?)?)).await?;
        let named = met
            .answer()
            .is_some_and(|answer| answer.contains("door open") && answer.contains(name));
        let stopped = (!named).then_some((Gate::Handshake, "refused"));
        let end = if named { "door open" } else { "stands outside" };
        findings.walks.push(Walk::new(name, HERE, stopped).through(&ROOMS).ending(end));
        if !named {
            refused = Some(format!("{name} was not let in by name: {}", met.words()));
        }
    }
    findings.honest = match refused {
        None => Part::Held("Ana and Ben came in, each by name".to_owned()),
        Some(why) => Part::NotYet(why),
    };
    Ok(())
}

/// Seven who are no staff, each with another reason.
async fn attack(
    stage: &Stage,
    findings: &mut Findings,
    staff: &Office,
    school: &Office,
    port: u16,
) -> Result<(), Stop> {
    let name = "ana.staff.test";
    let genuine = shown(&staff.client(name)?)?;
    let thief = shown(&Office::new()?.client(name)?)?;
    let stolen: Shown = Arc::new(CertifiedKey::new(genuine.cert.clone(), Arc::clone(&thief.key)));
    let strangers = [
        ("nobody", true, None),
        ("a badge of another authority", true, Some(thief)),
        ("a badge of the school's server authority", true, Some(shown(&school.client(name)?)?)),
        ("an expired badge", true, Some(shown(&staff.sign(&expired(client_draft(name)?))?)?)),
        (
            "a badge of tomorrow",
            true,
            Some(shown(&staff.sign(&not_yet_valid(client_draft(name)?))?)?),
        ),
        (
            "a server's certificate as a badge",
            true,
            Some(shown(&staff.sign(&server_draft(name)?)?)?),
        ),
        ("Ana's badge without her key", true, Some(stolen)),
        ("somebody without TLS", false, None),
    ];
    let (mut inside, mut heard) = (Vec::new(), Vec::new());
    for (who, tls, papers) in strangers {
        let met = come(stage, port, tls, papers).await?;
        let opened = met.answer().is_some_and(|answer| answer.contains("door open"));
        let stopped = (!opened).then_some((Gate::Handshake, "refused"));
        let end = if opened { "door open" } else { "stands outside" };
        findings.walks.push(Walk::new(who, HERE, stopped).through(&ROOMS).hostile().ending(end));
        if opened {
            inside.push(who);
        } else if met.answer().is_some() {
            heard.push(who);
        }
    }
    judge(findings, &inside, &heard);
    Ok(())
}

fn judge(findings: &mut Findings, inside: &[&str], heard: &[&str]) {
    findings.attack = Part::of(
        inside.is_empty(),
        "none of the eight strangers came in",
        format!("the door opened for {}", inside.join(", ")),
    );
    if inside.is_empty() {
        findings.gate = Part::of(
            heard.is_empty(),
            "all of them ended in the handshake",
            format!(
                "your program talked with {}, who should have ended in the handshake",
                heard.join(", ")
            ),
        );
    } else {
        findings.saw(format!(
            "The door opened for {} of eight strangers: {}.",
            inside.len(),
            inside.join("; ")
        ));
    }
    let opened = |who: &str| inside.contains(&who);
    if opened("somebody without TLS") {
        findings.looks_like("M14-PLAIN");
    } else if opened("a badge of the school's server authority") && !opened("nobody") {
        findings.looks_like("M14-ANYCA");
    } else if opened("nobody") && findings.honest.is_held() {
        findings.looks_like("M14-OPTIONAL");
    } else if opened("nobody") {
        findings.looks_like("M14-ANONYMOUS");
    }
}

/// Comes to the door, asks, and waits for the answer.
async fn come(stage: &Stage, port: u16, tls: bool, papers: Option<Shown>) -> Result<Met, Stop> {
    let target = stage.aim(SocketAddr::new(HERE, port))?;
    let guest = Guest { from: None, tls, papers };
    Ok(guest.ask(target, b"open\n", stage.patience(LONGEST)).await)
}

const NAME: &str = "door.school.test";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Handshake, Gate::Service];
const LONGEST: Duration = Duration::from_secs(1);

//! 22, the night log: four attackers among thousands of visits, tonight and on nights that nobody has seen.

use std::collections::BTreeSet;
use std::time::Duration;

use doorward::peer::PeerText;
use serde::Deserialize;

use crate::lab::night::{END, Kind, Night};
use crate::lab::seed::Seed;
use crate::lab::stage::{Stage, Stop};
use crate::lab::variant::Variant;
use crate::lab::verdict::{Findings, Gate, Part, Walk};

/// The night that the learner has, and the seed it grows from.
pub(super) fn vary(variant: Variant, seed: &Seed) -> Variant {
    variant.with("night", Night::of(seed).text()).with("night-seed", seed.to_string())
}

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let given = Seed::parse(stage.value("night-seed")?);
    let given = given.ok_or_else(|| Stop::machine("the night has no seed"))?;
    let mut nights = vec![(GIVEN, Night::of(&given))];
    for name in ["a night that nobody has seen", "another night", "a third night"] {
        nights.push((name, Night::of(&Seed::named(&stage.secret(name)))));
    }
    let plays = nights.iter().zip(1..).map(|((name, night), number): (_, u8)| async move {
        let alerts = ask(stage, &format!("night-{number}.jsonl"), night).await?;
        Ok::<_, Stop>(Report::new(name, night, &alerts))
    });
    let mut reports = Vec::new();
    for report in futures_util::future::join_all(plays).await {
        match report {
            Ok(report) => reports.push(report),
            Err(Stop::Yours(why)) => return Ok(Findings::not_started(&why)),
            Err(stop) => return Err(stop),
        }
    }
    Ok(judge(&reports))
}

/// A line of the learner's program.
#[derive(Debug, Deserialize)]
struct Alert {
    who: String,
    at: u32,
}

/// Shows a night to the learner's program, and hears whom it reports.
async fn ask(stage: &Stage, file: &str, night: &Night) -> Result<Vec<Alert>, Stop> {
    stage.give(file, night.text())?;
    let mut program = stage.start("detect", &[("night", file.to_owned())])?;
    program.nothing_more();
    let status = program.ended(stage.patience(LONGEST)).await;
    let (said, words) = (program.said(), program.last_words());
    program.kill().await;
    let status = status.ok_or_else(|| {
        Stop::yours(format!("your detect was not done with a night in {} s", LONGEST.as_secs()))
    })?;
    if !status.success() {
        return Err(Stop::yours(format!("your detect ended with {status}: {words}")));
    }
    let parse = |line: &str| {
        serde_json::from_str(line).map_err(|_| {
            let line: String = PeerText::escaped(line.as_bytes()).chars().take(80).collect();
            Stop::yours(format!("this line of your detect is no alert: {line}"))
        })
    };
    said.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
}

/// What one night came to.
struct Report {
    name: &'static str,
    found: Vec<Kind>,
    late: Vec<Kind>,
    /// Innocents who were reported.
    wronged: BTreeSet<String>,
    alerts: usize,
}

impl Report {
    fn new(name: &'static str, night: &Night, alerts: &[Alert]) -> Self {
        let (mut found, mut late) = (Vec::new(), Vec::new());
        for attacker in &night.attackers {
            let own: Vec<_> =
                alerts.iter().filter(|alert| attacker.known_as.contains(&alert.who)).collect();
            let end = attacker.last.saturating_add(IN_TIME).min(END);
            let in_time = own.iter().any(|alert| (attacker.first..=end).contains(&alert.at));
            if in_time {
                found.push(attacker.kind);
            } else if !own.is_empty() {
                late.push(attacker.kind);
            }
        }
        let known: BTreeSet<_> =
            night.attackers.iter().flat_map(|attacker| &attacker.known_as).collect();
        let wronged = alerts.iter().map(|alert| &alert.who).filter(|who| !known.contains(who));
        Self { name, found, late, wronged: wronged.cloned().collect(), alerts: alerts.len() }
    }

    fn missed(&self) -> Vec<Kind> {
        let is_missed = |kind: &Kind| !self.found.contains(kind) && !self.late.contains(kind);
        Kind::ALL.into_iter().filter(is_missed).collect()
    }

    fn wrongs(&self, who: &str) -> bool {
        self.wronged.contains(who)
    }
}

fn judge(reports: &[Report]) -> Findings {
    let mut findings = Findings::new();
    let noisy = reports.iter().find(|one| !one.wronged.is_empty());
    findings.honest = Part::of(
        noisy.is_none(),
        "the monitor, the backup, the class behind one address and the early birds were left in peace",
        noisy.map_or_else(String::new, |one| {
            let some: Vec<_> = one.wronged.iter().take(3).map(|who| shown(who)).collect();
            format!(
                "on {} innocents were reported, {} of them: {}",
                one.name,
                one.wronged.len(),
                some.join(", ")
            )
        }),
    );
    let blind = reports.iter().find(|one| !one.missed().is_empty());
    findings.attack = Part::of(
        blind.is_none(),
        format!("all four attackers were found on all {} nights", reports.len()),
        blind.map_or_else(String::new, |one| {
            format!("on {} nobody was told of {}", one.name, listed(&one.missed()))
        }),
    );
    if findings.attack.is_held() {
        let late = reports.iter().find(|one| !one.late.is_empty());
        let many = reports.iter().find(|one| one.alerts > MOST_ALERTS);
        findings.gate = Part::of(
            late.is_none() && many.is_none(),
            "each was told of while it went on or within the hour, in few enough lines to be read",
            match (late, many) {
                (Some(one), _) => {
                    format!("on {} {} was told of too late", one.name, listed(&one.late))
                }
                (None, Some(one)) => format!("on {} there were {} alerts", one.name, one.alerts),
                (None, None) => String::new(),
            },
        );
    }
    for one in reports {
        findings.saw(format!(
            "On {}: {} alerts, {} of 4 attackers, {} innocents.",
            one.name,
            one.alerts,
            one.found.len(),
            one.wronged.len()
        ));
        for kind in Kind::ALL {
            let is_found = one.found.contains(&kind);
            let stopped = is_found.then_some((Gate::Service, "reported"));
            let end = if is_found { "is reported" } else { "is not seen" };
            let walk = Walk::new("Mallory", kind.words(), stopped).through(&[Gate::Service]);
            findings.walks.push(walk.hostile().ending(format!("{end}, on {}", one.name)));
        }
    }
    if let Some(code) = recognised(reports) {
        findings.looks_like(code);
    }
    findings
}

fn recognised(reports: &[Report]) -> Option<&'static str> {
    let (given, fresh) = reports.split_first()?;
    let any = |wanted: &dyn Fn(&Report) -> bool| reports.iter().any(wanted);
    let misses = |kind: Kind| fresh.iter().any(|one| one.missed().contains(&kind));
    if any(&|one| one.alerts > MOST_ALERTS) {
        Some("M22-EVERYTHING")
    } else if !given.found.is_empty() && fresh.iter().all(|one| one.found.is_empty()) {
        Some("M22-HARDCODED")
    } else if any(&|one| one.wrongs(MONITOR)) {
        Some("M22-COUNT")
    } else if any(&|one| one.wrongs(CLASS)) {
        Some("M22-CLASS")
    } else if any(&|one| BACKUP.iter().any(|who| one.wrongs(who))) {
        Some("M22-BACKUP")
    } else if any(&|one| !one.late.is_empty()) {
        Some("M22-LATE")
    } else if misses(Kind::Slow) && !misses(Kind::Brute) {
        Some("M22-TOOFAST")
    } else if misses(Kind::Copy) && !misses(Kind::Brute) {
        Some("M22-ONLY-REFUSED")
    } else {
        None
    }
}

fn listed(kinds: &[Kind]) -> String {
    let words: Vec<_> = kinds.iter().map(|kind| kind.words()).collect();
    words.join(" and ")
}

fn shown(who: &str) -> String {
    PeerText::escaped(who.as_bytes()).chars().take(60).collect()
}

const GIVEN: &str = "the night that you know";
const MONITOR: &str = "10.66.0.5";
const CLASS: &str = "10.66.40.1";
const BACKUP: [&str; 2] = ["10.66.0.7", "backup.school.test"];
/// Nobody reads the four hundredth.
const MOST_ALERTS: usize = 40;
/// In seconds after the end.
const IN_TIME: u32 = 3600;
/// For one night.
const LONGEST: Duration = Duration::from_secs(5);

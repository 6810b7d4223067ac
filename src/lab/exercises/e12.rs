//! 12, right signature, wrong name: certificates that the school's authority really signed, for somebody else.

use std::net::Ipv4Addr;

use doorward::pki::{Draft, RawName};

use super::exam::{Exam, HERE, NAME, Run};
use crate::lab::papers::{Office, server_draft_with, shown};
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let school = Office::new()?;
    stage.give("ca.pem", school.trust_pem())?;
    let exam = Exam::on(stage);
    let mut findings = Findings::new();
    let mut refused = None;
    for (name, purpose) in [(NAME, "by name"), ("*.school.test", "by wildcard")] {
        let run = exam.run(shown(&school.sign(&draft(&[dns(name)])?)?)?, purpose).await?;
        let end = if run.served() { "has the answer" } else { "has no answer" };
        let stopped = (!run.served()).then_some((Gate::Handshake, "refused"));
        let who = format!("you, to the exam server as {name}");
        findings.walks.push(Walk::new(&who, HERE, stopped).through(&ROOMS).ending(end));
        if !run.served() && refused.is_none() {
            refused = Some(format!(
                "the exam server with a certificate for {name} was not served: {}",
                run.words
            ));
        }
    }
    findings.honest = match refused {
        None => Part::Held(
            "the exam server was served, by its name and by a wildcard of one level".to_owned(),
        ),
        Some(why) => Part::NotYet(why),
    };
    let mut met = Vec::new();
    for case in CASES {
        let run = exam.run(shown(&school.sign(&case.draft()?)?)?, case.code()).await?;
        findings.walks.push(way(case, &run));
        if run.leaked() {
            findings
                .saw(format!("A server with a certificate for {} read your PIN.", case.words()));
        }
        met.push((case, run));
    }
    judge(&mut findings, &met);
    findings.capture = exam.capture();
    Ok(findings)
}

/// Whose certificate Mallory has; the school's authority signed each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Canteen,
    Longer,
    Prefixed,
    CommonName,
    Top,
    Address,
}

const CASES: [Case; 6] =
    [Case::Canteen, Case::Longer, Case::Prefixed, Case::CommonName, Case::Top, Case::Address];

impl Case {
    fn draft(self) -> Result<Draft, Stop> {
        match self {
            Self::Canteen => draft(&[dns("canteen.school.test")]),
            Self::Longer => draft(&[dns("exams.school.test.evil.test")]),
            Self::Prefixed => draft(&[dns("notexams.school.test")]),
            Self::CommonName => server_draft_with(&[dns("canteen.school.test")], NAME),
            Self::Top => draft(&[dns("*.test")]),
            Self::Address => draft(&[RawName::Ip(Ipv4Addr::LOCALHOST.octets().to_vec())]),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Canteen => "canteen.school.test",
            Self::Longer => "exams.school.test.evil.test",
            Self::Prefixed => "notexams.school.test",
            Self::CommonName => "canteen.school.test, with exams.school.test as its common name",
            Self::Top => "*.test",
            Self::Address => "the address 127.0.0.1",
        }
    }

    /// What it looks like when this one alone is believed.
    fn code(self) -> &'static str {
        match self {
            Self::Canteen => "M12-CHAIN-ONLY",
            Self::Longer | Self::Prefixed => "M12-CONTAINS",
            Self::CommonName => "M12-CN",
            Self::Top => "M12-WILD2",
            Self::Address => "M12-IP",
        }
    }
}

fn judge(findings: &mut Findings, met: &[(Case, Run)]) {
    let leaked: Vec<_> = met.iter().filter(|(_, run)| run.leaked()).collect();
    let heard = met.iter().map(|(_, run)| run.heard.len()).fold(0, usize::saturating_add);
    findings.attack = Part::of(
        heard == 0,
        "six certificates for other names, 0 bytes for Mallory",
        format!(
            "{} of {} servers with another name read from you ({heard} bytes)",
            leaked.len().max(1),
            met.len()
        ),
    );
    if heard == 0 {
        let tried = met.iter().all(|(_, run)| run.visits > 0);
        let told = met.iter().all(|(_, run)| !run.words.is_empty() && run.failed);
        findings.gate = Part::of(
            tried && told,
            "your client broke off in the handshake, and said why",
            if tried {
                "your client broke off without a word to its user"
            } else {
                "your client never came to a handshake"
            },
        );
    }
    // Whoever believes the canteen asks for no name at all, so it comes first.
    if let Some((case, _)) = leaked.first() {
        findings.looks_like(case.code());
    }
}

fn way(case: Case, run: &Run) -> Walk {
    let stopped = (!run.leaked()).then_some((Gate::Handshake, "refused"));
    let who = format!("Mallory, as {}", case.words());
    let end = if run.leaked() { "reads the PIN" } else { "hears nothing" };
    Walk::new(&who, HERE, stopped).through(&ROOMS).hostile().ending(end)
}

/// A server's certificate with these names, and a common name that says nothing.
fn draft(names: &[RawName]) -> Result<Draft, Stop> {
    server_draft_with(names, "School")
}

fn dns(name: &str) -> RawName {
    RawName::Dns(name.as_bytes().to_vec())
}

const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Handshake, Gate::Service];

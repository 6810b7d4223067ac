//! 11, the man in the middle: a client that encrypts, but to whom?

use doorward::pki::{Depth, KeyType};

use super::exam::{Exam, HERE, NAME};
use crate::lab::papers::{Office, Shown, shown};
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let school = Office::with_depth(Depth::OneIntermediate)?;
    let mallory = Office::new()?;
    let server = school.server(NAME)?;
    stage.give("ca.pem", school.trust_pem())?;
    stage.give("server.pem", server.chain_pem())?;
    stage.give("other-ca.pem", mallory.trust_pem())?;
    let exam = Exam::on(stage);
    let scene = Scene { exam: &exam, server: shown(&server)?, mallory };
    let mut findings = Findings::new();
    let is_served = scene.honest(&mut findings, &school).await?;
    scene.attacks(&mut findings).await?;
    if !is_served && findings.attack.is_held() {
        findings.looks_like("M11-BREAKALL");
    }
    findings.capture = exam.capture();
    Ok(findings)
}

struct Scene<'a> {
    exam: &'a Exam<'a>,
    server: Shown,
    mallory: Office,
}

impl Scene<'_> {
    /// Today's server, and next month's with another key and an authority between: both are the school's.
    async fn honest(&self, findings: &mut Findings, school: &Office) -> Result<bool, Stop> {
        let today = self.exam.run(Shown::clone(&self.server), "today").await?;
        let between = school.authority().intermediate(KeyType::default(), 100);
        let between = Office::of(between.map_err(crate::lab::papers::failed)?);
        let renewed = shown(&between.server(NAME)?)?;
        let later = self.exam.run(renewed, "later").await?;
        let served = today.served() && later.served();
        findings.honest = Part::of(
            served,
            "the exam server was served today, and after its renewal",
            if today.served() {
                format!("after the renewal the exam server is refused: {}", later.words)
            } else {
                format!("the exam server got no PIN, or you printed no answer: {}", today.words)
            },
        );
        if !today.served() {
            findings.saw("With the honest server the conversation failed.");
        } else if !later.served() {
            findings.saw("The server renewed its certificate: another key, signed through an authority between. Your client refused it.");
            findings.looks_like("M11-PIN-LEAF");
        }
        let end = if served { "has the answer" } else { "has no answer" };
        let walk = Walk::new(
            "you, to the exam server",
            HERE,
            (!served).then_some((Gate::Handshake, "refused")),
        );
        findings.walks.push(walk.through(&ROOMS).ending(end));
        Ok(today.served())
    }

    /// Mallory, with the right name from another authority: one that is known to exist, and one made just now.
    async fn attacks(&self, findings: &mut Findings) -> Result<(), Stop> {
        let known = self.exam.run(shown(&self.mallory.server(NAME)?)?, "known").await?;
        let new = self.exam.run(shown(&Office::new()?.server(NAME)?)?, "new").await?;
        let leaked = known.leaked() || new.leaked();
        let count = known.heard.len().saturating_add(new.heard.len());
        findings.attack = Part::of(
            !leaked && count == 0,
            "0 bytes reached Mallory",
            format!("Mallory read the PIN ({count} bytes)"),
        );
        for run in [&known, &new] {
            let stopped = (!run.leaked()).then_some((Gate::Handshake, "refused"));
            let end = if run.leaked() { "reads the PIN" } else { "hears nothing" };
            findings.walks.push(
                Walk::new("Mallory, as the exam server", HERE, stopped)
                    .through(&ROOMS)
                    .hostile()
                    .ending(end),
            );
        }
        if !leaked && count == 0 {
            let tried = known.visits > 0 && new.visits > 0;
            let told = !known.words.is_empty() && !new.words.is_empty();
            findings.gate = Part::of(
                tried && told,
                "your client broke off in the handshake, and said why",
                if tried {
                    "your client broke off without a word to its user"
                } else {
                    "your client never came to a handshake"
                },
            );
            return Ok(());
        }
        findings.saw(format!(
            "Mallory was visited {} times and read {count} bytes.",
            known.visits.saturating_add(new.visits)
        ));
        findings.looks_like(if known.leaked() && !new.leaked() {
            "M11-ADD-EVIL"
        } else if known.visits > 1 {
            "M11-CATCH-FALLBACK"
        } else if known.failed {
            "M11-ALERT-LATE"
        } else {
            "M11-NOTHING-VERIFIED"
        });
        Ok(())
    }
}

const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Handshake, Gate::Service];

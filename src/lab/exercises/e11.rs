//! 11, the man in the middle: a client that encrypts, but to whom?

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use doorward::pki::{Depth, KeyType};

use crate::lab::host::{Host, Manners};
use crate::lab::papers::{Office, Shown, shown};
use crate::lab::relay::{Relay, Segment};
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let school = Office::with_depth(Depth::OneIntermediate)?;
    let mallory = Office::new()?;
    let server = school.server(NAME)?;
    stage.give("ca.pem", school.trust_pem())?;
    stage.give("server.pem", server.chain_pem())?;
    stage.give("other-ca.pem", mallory.trust_pem())?;
    let record = RefCell::default();
    let scene = Scene { stage, server: shown(&server)?, mallory, record };
    let mut findings = Findings::new();
    let is_served = scene.honest(&mut findings, &school).await?;
    scene.attacks(&mut findings).await?;
    if !is_served && findings.attack.is_held() {
        findings.looks_like("M11-BREAKALL");
    }
    findings.capture = stage.capture(joined(scene.record.take()));
    Ok(findings)
}

/// One record of several, whose connections are counted on.
fn joined(runs: Vec<Vec<Segment>>) -> Vec<Segment> {
    let mut all: Vec<Segment> = Vec::new();
    for run in runs {
        let first = all.iter().map(|one| one.connection.saturating_add(1)).max().unwrap_or(0);
        let later = |one: Segment| {
            let connection = first.saturating_add(one.connection);
            Segment { connection, ..one }
        };
        all.extend(run.into_iter().map(later));
    }
    all
}

struct Scene<'a> {
    stage: &'a Stage,
    server: Shown,
    mallory: Office,
    /// What passed in each run.
    record: RefCell<Vec<Vec<Segment>>>,
}

/// What came of one run of the learner's client.
struct Run {
    /// What the server heard, decrypted.
    heard: Vec<u8>,
    visits: usize,
    said: String,
    words: String,
    ended: bool,
    /// Whether its exit code says that something went wrong.
    failed: bool,
    secret: String,
    reply: String,
}

impl Run {
    fn served(&self) -> bool {
        self.ended && self.said.contains(&self.reply) && self.leaked()
    }

    fn leaked(&self) -> bool {
        let secret = self.secret.as_bytes();
        self.heard.windows(secret.len()).any(|window| window == secret)
    }
}

impl Scene<'_> {
    /// Today's server, and next month's with another key and an authority between: both are the school's.
    async fn honest(&self, findings: &mut Findings, school: &Office) -> Result<bool, Stop> {
        let today = self.run(Shown::clone(&self.server), "today").await?;
        let between = school.authority().intermediate(KeyType::default(), 100);
        let between = Office::of(between.map_err(crate::lab::papers::failed)?);
        let renewed = shown(&between.server(NAME)?)?;
        let later = self.run(renewed, "later").await?;
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
        let known = self.run(shown(&self.mallory.server(NAME)?)?, "known").await?;
        let new = self.run(shown(&Office::new()?.server(NAME)?)?, "new").await?;
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

    /// Runs the learner's client against a server that shows these papers.
    async fn run(&self, papers: Shown, purpose: &str) -> Result<Run, Stop> {
        let stage = self.stage;
        let secret = format!("PIN={} {}", stage.dice(purpose).digits(8), stage.secret(purpose));
        let reply = format!("accepted {}", stage.secret(&format!("{purpose} reply")));
        stage.give("pin.txt", format!("{secret}\n"))?;
        let manners = Manners { papers: Some(papers), reply: format!("{reply}\n").into_bytes() };
        let host = Host::open(stage, HERE, manners).await?;
        let wire = Relay::open(stage, HERE, stage.aim(host.address())?).await?;
        let at = wire.address();
        let values = [("host", at.ip().to_string()), ("port", at.port().to_string())];
        let mut client = stage.start("client", &values)?;
        client.nothing_more();
        let status = client.ended(stage.patience(LONGEST)).await;
        let (ended, failed) = (status.is_some(), status.is_some_and(|status| !status.success()));
        // What was sent before the client broke off is still on its way.
        host.until(stage.patience(SETTLE), |visits| visits.iter().all(|visit| visit.over)).await;
        self.record.borrow_mut().push(wire.record());
        let (said, words) = (client.said(), client.last_words());
        client.kill().await;
        Ok(Run {
            heard: host.said(),
            visits: host.visits().len(),
            said,
            words,
            ended,
            failed,
            secret,
            reply,
        })
    }
}

const NAME: &str = "exams.school.test";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Handshake, Gate::Service];
const LONGEST: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_secs(1);

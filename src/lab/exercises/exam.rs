//! The exam client, run once for each server that it might meet: exercises 11 and 12.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::lab::host::{Host, Manners};
use crate::lab::look::Capture;
use crate::lab::papers::Shown;
use crate::lab::relay::{Relay, Segment};
use crate::lab::stage::{Stage, Stop};

/// Where the learner's client is run.
pub(super) struct Exam<'a> {
    stage: &'a Stage,
    /// What passed in each run.
    record: RefCell<Vec<Vec<Segment>>>,
}

/// What came of one run of the learner's client.
pub(super) struct Run {
    /// What the server heard, decrypted.
    pub(super) heard: Vec<u8>,
    pub(super) visits: usize,
    pub(super) said: String,
    pub(super) words: String,
    pub(super) ended: bool,
    /// Whether its exit code says that something went wrong.
    pub(super) failed: bool,
    pub(super) secret: String,
    pub(super) reply: String,
}

impl Run {
    pub(super) fn served(&self) -> bool {
        self.ended && self.said.contains(&self.reply) && self.leaked()
    }

    pub(super) fn leaked(&self) -> bool {
        let secret = self.secret.as_bytes();
        self.heard.windows(secret.len()).any(|window| window == secret)
    }
}

impl<'a> Exam<'a> {
    pub(super) fn on(stage: &'a Stage) -> Self {
        Self { stage, record: RefCell::default() }
    }

    /// What passed in all runs.
    pub(super) fn capture(&self) -> Capture {
        self.stage.capture(joined(self.record.take()))
    }

    /// Runs the learner's client against a server that shows these papers.
    pub(super) async fn run(&self, papers: Shown, purpose: &str) -> Result<Run, Stop> {
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

pub(super) const NAME: &str = "exams.school.test";
pub(super) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LONGEST: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_secs(1);

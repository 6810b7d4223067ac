//! One exercise of one learner, attacked again: a process of its own, which says what it saw and nothing else.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use crate::lab::catalogue::Exercise;
use crate::lab::check::{Checker, Files, variant};
use crate::lab::confine;
use crate::lab::seed::Seed;
use crate::lab::verdict::{Outcome, Part, Verdict};

/// What is to be done. It comes on standard input, where no program that is judged can read it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) exercise: String,
    learner: String,
    /// The seed of the run.
    seed: String,
    /// The answer, in base64.
    files: BTreeMap<String, String>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Where, and by what the learner's programs were confined.
    pub(crate) place: String,
    pub(crate) outcome: Outcome,
    pub(crate) honest: Part,
    pub(crate) attack: Part,
    pub(crate) gate: Part,
    pub(crate) control: Part,
    pub(crate) misconception: Option<String>,
    pub(crate) saw: Vec<String>,
    pub(crate) milliseconds: u64,
}

/// Attacks an answer with a fresh seed, and where it holds with as many more: the first run decides about the parts,
/// the others are the hidden ones.
///
/// # Errors
/// In words, where a run did not come to an end by itself.
pub(crate) async fn runs(
    exercise: &Exercise,
    files: &Files,
    learner: &Seed,
    hidden: usize,
) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    for _ in 0..=hidden {
        let mut run = Job::new(exercise, files, learner).hand_over(exercise).await?;
        if run.outcome == Outcome::Inconclusive {
            // A machine that was busy: once more, with other luck.
            run = Job::new(exercise, files, learner).hand_over(exercise).await?;
        }
        let is_held = run.outcome == Outcome::Held;
        runs.push(run);
        if !is_held {
            // The hidden seeds are for what looks right.
            break;
        }
    }
    Ok(runs)
}

impl Job {
    fn new(exercise: &Exercise, files: &Files, learner: &Seed) -> Self {
        let files = files.iter().map(|(name, bytes)| (name.clone(), BASE64.encode(bytes)));
        Self {
            exercise: exercise.number.clone(),
            learner: learner.to_string(),
            seed: Seed::fresh().to_string(),
            files: files.collect(),
        }
    }

    /// Has another process do it, within its time. Each run has a network of its own, in which nothing of the run
    /// before holds a port.
    async fn hand_over(&self, exercise: &Exercise) -> Result<Run, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let scratch = tempfile::Builder::new().prefix("doorward-mark-").tempdir();
        let scratch = scratch.map_err(|error| format!("there is no place to work: {error}"))?;
        let mut command = Command::new(own);
        command.args(["class", "replay"]).arg(scratch.path()).env("TMPDIR", scratch.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().map_err(|error| error.to_string())?;
        let text = serde_json::to_vec(self).unwrap_or_default();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut said = Vec::new();
        let talk = async {
            if let Some(mut stdin) = stdin {
                drop(stdin.write_all(&text).await);
            }
            if let Some(stdout) = stdout {
                drop(stdout.take(MOST_SAID).read_to_end(&mut said).await);
            }
        };
        // What the exercise declares, with its control, on a slow and busy machine.
        let limit = u64::from(exercise.about.seconds).saturating_mul(8).saturating_add(20);
        if timeout(Duration::from_secs(limit), talk).await.is_err() {
            return Err(format!("the check was stopped after {limit} s"));
        }
        serde_json::from_slice(&said).map_err(|_| "the check ended without a result".to_owned())
    }

    /// Does it, here.
    ///
    /// # Errors
    /// In words, where the job makes no sense.
    pub(crate) async fn run(&self, checker: &Checker, place: String) -> Result<Run, String> {
        let exercise = Exercise::find(&self.exercise)?;
        let learner = Seed::parse(&self.learner).ok_or("the learner's seed is none")?;
        let seed = Seed::parse(&self.seed).ok_or("the seed of the run is none")?;
        let mut files = variant(&exercise, &learner).fill_all(&exercise.folder("start"));
        for (name, text) in &self.files {
            let bytes = BASE64.decode(text).map_err(|error| error.to_string())?;
            files.insert(name.clone(), bytes);
        }
        let verdict = checker.check(&exercise, &files, &learner, &seed).await;
        Ok(Run::of(verdict, place))
    }
}

impl Run {
    fn of(verdict: Verdict, place: String) -> Self {
        let findings = verdict.findings;
        Self {
            place,
            outcome: verdict.outcome,
            honest: findings.honest,
            attack: findings.attack,
            gate: findings.gate,
            control: verdict.control,
            misconception: findings.misconception,
            saw: findings.saw.iter().take(MOST_SEEN).cloned().collect(),
            milliseconds: verdict.milliseconds,
        }
    }
}

/// A checker that confines what it starts, and what it says of the place. Call it while there is one thread.
pub(crate) fn confined(scratch: &std::path::Path) -> (Checker, String) {
    let checker = Checker::enter().confining();
    let disk = match confine::own_files(scratch) {
        Ok(()) => "a disk of their own".to_owned(),
        Err(why) => format!("this machine's disk, since {why}"),
    };
    let place = format!("{}, with {}, on {disk}", checker.lan.words(), confine::words());
    (checker, place)
}

/// More than a verdict has.
const MOST_SAID: u64 = 4 * 1024 * 1024;
const MOST_SEEN: usize = 40;

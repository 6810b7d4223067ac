//! The rules for whoever writes an exercise, and the trial that holds an exercise to them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::catalogue::Exercise;
use super::check::{Checker, Files, variant};
use super::seed::Seed;
use super::stage::write;
use super::verdict::{Outcome, Verdict};

/// An exercise on trial.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) exercise: &'a Exercise,
    pub(crate) checker: &'a Checker,
    /// How many seeds the start and the solutions are tried with.
    pub(crate) seeds: u32,
}

/// What a rule says of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) exercise: String,
    pub(crate) held: bool,
    pub(crate) sentence: String,
}

impl Trial<'_> {
    /// Tries everything, tells each finding, and says how many rules were broken.
    pub(crate) async fn run(&self, load: bool, tell: impl Fn(&Finding)) -> usize {
        let busy = load.then(Busy::begin);
        let mut broken = 0_usize;
        let mut told = |held: bool, sentence: String| {
            broken = broken.saturating_add(usize::from(!held));
            tell(&Finding { exercise: self.exercise.number.clone(), held, sentence });
        };
        for (held, sentence) in self.papers() {
            told(held, sentence);
        }
        for folder in self.exercise.folders("solution") {
            for seed in 0..self.seeds.max(1) {
                let (held, sentence) = self.passes(&folder, seed).await;
                told(held, sentence);
            }
        }
        for seed in 0..self.seeds.max(1) {
            let (held, sentence) = self.fails("start", seed, None).await;
            told(held, sentence);
        }
        for folder in self.exercise.folders("wrong/") {
            let code = folder.trim_start_matches("wrong/");
            let code = (!["DENY-ALL", "ALLOW-ALL"].contains(&code)).then_some(code);
            let (held, sentence) = self.fails(&folder, 0, code).await;
            told(held, sentence);
        }
        drop(busy);
        broken
    }

    /// What can be seen without running anything.
    fn papers(&self) -> Vec<(bool, String)> {
        let exercise = self.exercise;
        let has = |name: &str| exercise.text(name).is_some_and(|text| !text.trim().is_empty());
        let wrong = exercise.folders("wrong/");
        let mut found = vec![
            (has("task.md"), "has a task".to_owned()),
            (has("debrief.md"), "has a debrief".to_owned()),
            (!exercise.folders("solution").is_empty(), "has a solution".to_owned()),
            (
                exercise.about.hints.iter().all(|hint| !hint.is_empty()),
                "has three hints".to_owned(),
            ),
            (!exercise.about.statements.is_empty(), "names the statements it is about".to_owned()),
        ];
        let start = exercise.folder("start");
        for name in &exercise.about.artefacts {
            found.push((start.contains_key(name), format!("has start/{name}, which is handed in")));
        }
        for name in ["DENY-ALL", "ALLOW-ALL"] {
            found.push((wrong.contains(&format!("wrong/{name}")), format!("has wrong/{name}")));
        }
        for known in &exercise.about.misconceptions {
            let folder = format!("wrong/{}", known.code);
            found.push((wrong.contains(&folder), format!("has {folder} for its misconception")));
        }
        for folder in &wrong {
            let code = folder.trim_start_matches("wrong/");
            let known =
                ["DENY-ALL", "ALLOW-ALL"].contains(&code) || exercise.misconception(code).is_some();
            found.push((known, format!("explains {code}")));
        }
        for prediction in &exercise.about.predictions {
            let possible = prediction.choices.contains(&prediction.truth);
            found.push((
                possible,
                format!("the truth of {:?} is among its choices", prediction.ask),
            ));
        }
        found
    }

    async fn passes(&self, folder: &str, number: u32) -> (bool, String) {
        let verdict = self.check(&self.exercise.overlaid(folder), number).await;
        let slow = verdict.milliseconds > self.limit();
        let held = verdict.outcome == Outcome::Held && !slow;
        let took = format!("{} ms", verdict.milliseconds);
        let why = if held { took } else { format!("{took}; {}", said(&verdict)) };
        (held, format!("{folder} passes with seed {number} ({why})"))
    }

    async fn fails(&self, folder: &str, number: u32, code: Option<&str>) -> (bool, String) {
        let verdict = self.check(&self.exercise.overlaid(folder), number).await;
        let found = verdict.findings.misconception.as_deref();
        let right = code.is_none_or(|code| found == Some(code));
        let held = verdict.outcome == Outcome::NotYet && right;
        let why = if held {
            String::new()
        } else {
            format!(" ({}; {})", found.unwrap_or("no code"), said(&verdict))
        };
        let with = code.map(|code| format!(" as {code}")).unwrap_or_default();
        (held, format!("{folder} fails with seed {number}{with}{why}"))
    }

    async fn check(&self, files: &Files, number: u32) -> Verdict {
        let learner = Seed::named(&format!("learner {number}"));
        let files = variant(self.exercise, &learner).fill_all(files);
        let run = Seed::named(&format!("run {number}"));
        self.checker.check(self.exercise, &files, &learner, &run).await
    }

    /// The time that one check may take, twin included, stretched where the machine is slow.
    fn limit(&self) -> u64 {
        let limit = Duration::from_secs(u64::from(self.exercise.about.seconds));
        u64::try_from(self.checker.pace.stretch(limit).as_millis()).unwrap_or(u64::MAX)
    }
}

fn said(verdict: &Verdict) -> String {
    let Verdict { outcome, findings, control, .. } = verdict;
    format!(
        "{outcome}: honest {:?}, attack {:?}, gate {:?}, control {control:?}; {}",
        findings.honest,
        findings.attack,
        findings.gate,
        findings.saw.join(" ")
    )
}

/// Threads that do nothing but be busy, until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn begin() -> Self {
        let go_on = Arc::new(AtomicBool::new(true));
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        for _ in 0..cores.saturating_mul(3) {
            let go_on = Arc::clone(&go_on);
            std::thread::spawn(move || {
                while go_on.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(go_on)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Writes the folder of a new exercise.
///
/// # Errors
/// In words: it is there already, or cannot be written.
pub(crate) fn template(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        return Err(format!("{} is there already", folder.display()));
    }
    let model = Exercise::find(MODEL)?;
    for name in ["exercise.toml", "task.md", "debrief.md"] {
        let text = model.text(name).unwrap_or_default();
        put(folder, name, text.as_bytes())?;
    }
    for part in ["start", "solution", "wrong"] {
        for (name, bytes) in model.folder(part) {
            put(folder, &format!("{part}/{name}"), &bytes)?;
        }
    }
    // It keeps the model's check until it names another.
    let text = model.text("exercise.toml").unwrap_or_default();
    put(folder, "exercise.toml", format!("check = \"{MODEL}\"\n{text}").as_bytes())
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    write(folder, name, bytes)
        .map_err(|error| format!("{}/{name} cannot be written: {error}", folder.display()))
}

/// The exercise that a new one begins as: small, and it has every part.
const MODEL: &str = "03";

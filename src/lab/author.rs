//! The rules for whoever writes an exercise, and the trial that holds an exercise to them.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::catalogue::Exercise;
use super::check::{Checker, variant};
use super::seed::Seed;
use super::stage::write;
use super::verdict::{Outcome, Verdict};

/// An exercise on trial.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) exercise: &'a Exercise,
    /// Its number or its folder, as it was named.
    pub(crate) name: &'a str,
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

/// A folder of the exercise that is checked with one seed.
#[derive(Clone, Debug)]
struct Try {
    folder: String,
    seed: u32,
    wanted: Wanted,
}

/// What must come of it.
#[derive(Clone, Debug)]
enum Wanted {
    Pass,
    Fail,
    /// It fails, and with this code.
    FailAs(String),
}

/// What came of it: the parts of a verdict that the rules look at.
#[derive(Debug, Deserialize)]
struct Came {
    outcome: Outcome,
    misconception: Option<String>,
    milliseconds: u64,
    #[serde(default)]
    saw: Vec<String>,
    /// Everything else, for whoever has to mend it.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// The one try that a process of its own makes, in a network of its own.
pub(crate) async fn one(
    exercise: &Exercise,
    checker: &Checker,
    folder: &str,
    number: u32,
) -> Verdict {
    let learner = Seed::named(&format!("learner {number}"));
    let files = variant(exercise, &learner).fill_all(&exercise.overlaid(folder));
    let run = Seed::named(&format!("run {number}"));
    checker.check(exercise, &files, &learner, &run).await
}

/// Holds exercises to the rules, tells each finding in the order of the trials, and says how many rules were broken.
///
/// # Errors
/// In words, where a try cannot be made at all.
pub(crate) async fn hold(
    trials: &[Trial<'_>],
    load: bool,
    tell: impl Fn(&Finding),
) -> Result<usize, String> {
    let mut broken = 0_usize;
    let mut told = |trial: &Trial<'_>, held: bool, sentence: String| {
        broken = broken.saturating_add(usize::from(!held));
        tell(&Finding { exercise: trial.exercise.number.clone(), held, sentence });
    };
    for trial in trials {
        for (held, sentence) in trial.papers() {
            told(trial, held, sentence);
        }
    }
    let busy = load.then(Busy::begin);
    let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
    let width = cores.saturating_mul(if load { FOR_A_BUSY_CORE } else { FOR_A_CORE });
    let all = trials.iter().flat_map(|trial| {
        let tries = if load { trial.verdicts() } else { trial.tries() };
        tries.into_iter().map(move |one| (trial, one))
    });
    let making = all.enumerate().map(|(place, (trial, one))| async move {
        (place, trial.make(&one).await.map(|came| (trial, trial.judge(&one, &came))))
    });
    // One that takes long holds up the telling, but not the others.
    let mut came = futures_util::stream::iter(making).buffer_unordered(width);
    let (mut early, mut next) = (BTreeMap::new(), 0_usize);
    while let Some((place, found)) = came.next().await {
        early.insert(place, found?);
        while let Some((trial, (held, sentence))) = early.remove(&next) {
            told(trial, held, sentence);
            next = next.saturating_add(1);
        }
    }
    drop(busy);
    Ok(broken)
}

impl Trial<'_> {
    /// What can be seen without running anything.
    fn papers(&self) -> Vec<(bool, String)> {
        let exercise = self.exercise;
        let has = |name: &str| exercise.text(name).is_some_and(|text| !text.trim().is_empty());
        let wrong = exercise.folders("wrong/");
        let hints = &exercise.about.hints;
        let mut found = vec![
            (has("task.md"), "has a task".to_owned()),
            (has("debrief.md"), "has a debrief".to_owned()),
            (!exercise.folders("solution").is_empty(), "has a solution".to_owned()),
            (hints.iter().all(|hint| !hint.is_empty()), "has three hints".to_owned()),
            (!exercise.about.statements.is_empty(), "names the statements it is about".to_owned()),
        ];
        let start = exercise.folder("start");
        for name in &exercise.about.artefacts {
            found.push((start.contains_key(name), format!("has start/{name}, which is handed in")));
        }
        for name in NEITHER {
            let folder = format!("wrong/{name}");
            found.push((wrong.contains(&folder), format!("has {folder}")));
        }
        for known in &exercise.about.misconceptions {
            let folder = format!("wrong/{}", known.code);
            found.push((wrong.contains(&folder), format!("has {folder} for its misconception")));
        }
        for folder in &wrong {
            let code = folder.trim_start_matches("wrong/");
            let known = NEITHER.contains(&code) || exercise.misconception(code).is_some();
            found.push((known, format!("explains {code}")));
        }
        for prediction in &exercise.about.predictions {
            let possible = prediction.choices.contains(&prediction.truth);
            found.push((possible, format!("the truth of {:?} is a choice", prediction.ask)));
        }
        found
    }

    /// The two verdicts that matter to every learner, whose machine may be busy: the solution and the start.
    fn verdicts(&self) -> Vec<Try> {
        let mut tries = self.tries();
        tries.retain(|one| ["solution", "start"].contains(&one.folder.as_str()));
        tries
    }

    fn tries(&self) -> Vec<Try> {
        let each = |folder: String, wanted: &Wanted| {
            let wanted = wanted.clone();
            // A solution in another language is the same check with a slower start.
            let most = if ["start", "solution"].contains(&folder.as_str()) { u32::MAX } else { 5 };
            (0..self.seeds.clamp(1, most)).map(move |seed| Try {
                folder: folder.clone(),
                seed,
                wanted: wanted.clone(),
            })
        };
        let solutions = self.exercise.folders("solution").into_iter();
        let mut tries: Vec<_> = solutions.flat_map(|folder| each(folder, &Wanted::Pass)).collect();
        tries.extend(each("start".to_owned(), &Wanted::Fail));
        tries.extend(self.exercise.folders("wrong/").into_iter().map(|folder| {
            let code = folder.trim_start_matches("wrong/");
            let neither = NEITHER.contains(&code);
            let wanted = if neither { Wanted::Fail } else { Wanted::FailAs(code.to_owned()) };
            Try { folder, seed: 0, wanted }
        }));
        tries
    }

    /// Makes one try in a process of its own, since a process enters one network only.
    async fn make(&self, one: &Try) -> Result<Came, String> {
        let itself = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(itself);
        command.args(["lab", "author", "try", self.name, &one.folder, &one.seed.to_string()]);
        let output = command.kill_on_drop(true).output().await;
        let output = output.map_err(|error| format!("the try did not start: {error}"))?;
        serde_json::from_slice(&output.stdout).map_err(|error| {
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("{} with seed {}: {complaint}{error}", one.folder, one.seed)
        })
    }

    fn judge(&self, one: &Try, came: &Came) -> (bool, String) {
        let code = came.misconception.as_deref();
        let held = match &one.wanted {
            Wanted::Pass => came.outcome == Outcome::Held && came.milliseconds <= self.limit(),
            Wanted::Fail => came.outcome == Outcome::NotYet,
            Wanted::FailAs(wanted) => {
                came.outcome == Outcome::NotYet && code == Some(wanted.as_str())
            }
        };
        let verb = match one.wanted {
            Wanted::Pass => "passes",
            Wanted::Fail => "fails",
            Wanted::FailAs(_) => "fails with its own code",
        };
        let took = format!("{} ms", came.milliseconds);
        let why = if held { took } else { format!("{took}; {}", said(came)) };
        (held, format!("{} {verb} with seed {} ({why})", one.folder, one.seed))
    }

    /// The time that one check may take, twin included. Many tries share the machine, or it is kept busy.
    fn limit(&self) -> u64 {
        u64::from(self.exercise.about.seconds).saturating_mul(4000)
    }
}

fn said(came: &Came) -> String {
    let code = came.misconception.as_deref().unwrap_or("no code");
    let parts = ["honest", "attack", "gate", "control"].map(|part| {
        let said = came.rest.get(part).map(ToString::to_string).unwrap_or_default();
        format!("{part} {said}")
    });
    format!("{}, {code}: {}; {}", came.outcome, parts.join(", "), came.saw.join(" "))
}

/// So many tries share a core: most of a check is waiting, for deadlines of the learner's programs above all.
const FOR_A_CORE: usize = 8;
/// So many where the cores are kept busy as well.
const FOR_A_BUSY_CORE: usize = 2;
/// The two answers that no exercise may let pass.
const NEITHER: [&str; 2] = ["DENY-ALL", "ALLOW-ALL"];

/// Threads that do nothing but be busy, until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn begin() -> Self {
        let go_on = Arc::new(AtomicBool::new(true));
        let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
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

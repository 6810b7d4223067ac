//! The check: the learner's work is visited and attacked, and so is a twin that is known to be weak.

use std::collections::BTreeMap;
use std::time::Instant;

use super::catalogue::Exercise;
use super::exercises;
use super::lan::Lan;
use super::pace::Pace;
use super::seed::Seed;
use super::stage::{Setting, Stage, Stop};
use super::variant::Variant;
use super::verdict::{Findings, Part, Verdict};

/// A file's path in a folder, and what is in it.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Where and with what seeds checks are made.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    pub(crate) lan: Lan,
    pub(crate) pace: Pace,
    /// Whether the programs of an answer are confined, since they are somebody else's.
    confines: bool,
}

impl Checker {
    /// Enters the pocket LAN where there is one. Call it while this process has one thread.
    pub(crate) fn enter() -> Self {
        let lan = Lan::enter();
        Self { lan, pace: Pace::measure(), confines: false }
    }

    /// The same, but what it starts is confined.
    pub(crate) fn confining(self) -> Self {
        Self { confines: true, ..self }
    }

    /// Visits the learner's files and the weak twin, with the same seed: at the same time where the twin can have a
    /// network of its own, one after the other elsewhere.
    pub(crate) async fn check(
        &self,
        exercise: &Exercise,
        files: &Files,
        learner: &Seed,
        run: &Seed,
    ) -> Verdict {
        let begun = Instant::now();
        let setting = self.setting(exercise, learner, run);
        let (findings, twin) =
            tokio::join!(visit(exercise, files, &setting), self.beside(exercise, &setting));
        let twin = match twin {
            Some(twin) => twin,
            None => visit(exercise, &start(exercise, &setting), &setting).await,
        };
        let control = control(exercise, &setting, &findings, &twin).await;
        let outcome = Verdict::outcome(&findings, &control);
        Verdict {
            exercise: exercise.number.clone(),
            outcome,
            findings,
            control,
            place: self.lan.words(),
            seed: run.to_string(),
            milliseconds: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Visits the learner's files alone.
    pub(crate) async fn visit(
        &self,
        exercise: &Exercise,
        files: &Files,
        learner: &Seed,
        run: &Seed,
    ) -> Findings {
        visit(exercise, files, &self.setting(exercise, learner, run)).await
    }

    fn setting(&self, exercise: &Exercise, learner: &Seed, run: &Seed) -> Setting {
        let variant = variant(exercise, learner);
        let (lan, seed) = (self.lan.clone(), run.clone());
        Setting { lan, pace: self.pace, variant, seed, confines: self.confines }
    }

    /// Visits the twin in a network beside this one, if there can be one.
    async fn beside(&self, exercise: &Exercise, setting: &Setting) -> Option<Findings> {
        let (exercise, setting) = (exercise.clone(), setting.clone());
        let visiting = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().ok()?;
            Some(runtime.block_on(visit(&exercise, &start(&exercise, &setting), &setting)))
        };
        self.lan.beside(visiting).await.ok().flatten()
    }
}

/// The untouched start, which is known to be weak.
fn start(exercise: &Exercise, setting: &Setting) -> Files {
    setting.variant.fill_all(&exercise.folder("start"))
}

/// The attack must work on the start state; and where the honest client was not served by the learner's work, it must
/// be served by the solution, or else it is this machine that does not serve it.
async fn control(exercise: &Exercise, setting: &Setting, of: &Findings, twin: &Findings) -> Part {
    if !twin.attack.is_not_yet() {
        let why = twin.saw.join(" ");
        return Part::Inconclusive(format!("the attack did not work on the weak twin: {why}"));
    }
    if of.honest.is_not_yet() {
        let solution = setting.variant.fill_all(&exercise.overlaid("solution"));
        let solution = visit(exercise, &solution, setting).await;
        if !solution.honest.is_held() {
            let why = solution.saw.join(" ");
            return Part::Inconclusive(format!(
                "the honest client is not served by the solution either: {why}"
            ));
        }
    }
    Part::Held("the same attack works on the untouched start".to_owned())
}

/// The learner's variant of the exercise.
pub(crate) fn variant(exercise: &Exercise, learner: &Seed) -> Variant {
    let own = learner.derive(&exercise.number);
    exercises::vary(exercise.check(), Variant::new(&own), &own)
}

/// Visits one folder.
async fn visit(exercise: &Exercise, files: &Files, setting: &Setting) -> Findings {
    let found = match Stage::set(files, setting) {
        Ok(stage) => exercises::examine(exercise.check(), &stage).await,
        Err(stop) => Err(stop),
    };
    match found {
        Ok(findings) => findings,
        Err(Stop::Yours(why)) => Findings::not_started(&why),
        Err(Stop::Machine(why)) => {
            let mut findings = Findings::new();
            findings.honest = Part::Inconclusive(why.clone());
            findings.saw(why);
            findings
        }
    }
}

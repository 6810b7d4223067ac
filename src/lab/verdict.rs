//! The verdict on a defence, in four parts: whether the honest client is served, whether the attack fails,
//! whether it fails at the intended gate, and whether the same attack works on a twin that is known to be weak.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::look::Capture;

/// One part of a verdict, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "because", rename_all = "kebab-case")]
pub(crate) enum Part {
    /// As it must be.
    Held(String),
    /// Not as it must be.
    NotYet(String),
    /// Nothing to judge, since an earlier part did not hold.
    NotJudged,
    /// This machine cannot tell.
    Inconclusive(String),
}

impl Part {
    /// Held or not yet, each with its words.
    pub(crate) fn of(held: bool, yes: impl Into<String>, no: impl Into<String>) -> Self {
        if held { Self::Held(yes.into()) } else { Self::NotYet(no.into()) }
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// Whether it was looked at and did not hold.
    pub(crate) fn is_not_yet(&self) -> bool {
        matches!(self, Self::NotYet(_))
    }
}

/// What came of visiting a learner's work.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Findings {
    /// The legitimate client gets its answer.
    pub(crate) honest: Part,
    /// The attack fails.
    pub(crate) attack: Part,
    /// It fails where and why it should.
    pub(crate) gate: Part,
    /// The code of the misconception that this looks like.
    pub(crate) misconception: Option<String>,
    /// What happened on the wire, in sentences.
    pub(crate) saw: Vec<String>,
    /// The ways of the visitors through the rooms.
    pub(crate) walks: Vec<Walk>,
    /// What passed a relay, where the exercise has one.
    #[serde(skip)]
    pub(crate) capture: Capture,
}

impl Findings {
    /// Nothing was judged yet.
    pub(crate) fn new() -> Self {
        Self {
            honest: Part::NotJudged,
            attack: Part::NotJudged,
            gate: Part::NotJudged,
            misconception: None,
            saw: Vec::new(),
            walks: Vec::new(),
            capture: Capture::default(),
        }
    }

    /// The work could not even be started, in words for its author.
    pub(crate) fn not_started(why: &str) -> Self {
        let honest = Part::NotYet(why.to_owned());
        Self { honest, saw: vec![why.to_owned()], ..Self::new() }
    }

    /// What is most likely behind it; the first one that is recognised stays.
    pub(crate) fn looks_like(&mut self, code: &str) {
        if self.misconception.is_none() {
            self.misconception = Some(code.to_owned());
        }
    }

    pub(crate) fn saw(&mut self, sentence: impl Into<String>) {
        self.saw.push(sentence.into());
    }

    pub(crate) fn all_held(&self) -> bool {
        [&self.honest, &self.attack, &self.gate].iter().all(|part| part.is_held())
    }
}

/// How a check ended. The words are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// All four parts are as they must be.
    Held,
    /// The learner has something left to do.
    NotYet,
    /// This machine cannot tell, which is no fault of the learner.
    Inconclusive,
}

impl Outcome {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotYet => "not yet",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// The whole verdict.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    /// The exercise's number.
    pub(crate) exercise: String,
    pub(crate) outcome: Outcome,
    #[serde(flatten)]
    pub(crate) findings: Findings,
    /// The same attack works on a twin that is known to be weak.
    pub(crate) control: Part,
    /// Where the check was made: the pocket LAN, or what took its place and why.
    pub(crate) place: String,
    /// The seed of this run, with which it can be repeated.
    pub(crate) seed: String,
    /// How long it took, in milliseconds.
    pub(crate) milliseconds: u64,
}

impl Verdict {
    /// Three outcomes, by the rule: where the control does not hold nothing is proven.
    pub(crate) fn outcome(findings: &Findings, control: &Part) -> Outcome {
        let parts = [&findings.honest, &findings.attack, &findings.gate, control];
        if !control.is_held() || parts.iter().any(|part| matches!(part, Part::Inconclusive(_))) {
            return Outcome::Inconclusive;
        }
        if findings.all_held() { Outcome::Held } else { Outcome::NotYet }
    }
}

/// One visitor's way through the rooms.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Walk {
    /// Who it was: `Ana`, `Mallory`.
    pub(crate) who: String,
    /// Whether it came to harm.
    pub(crate) hostile: bool,
    /// From which address it came, or a word for it.
    pub(crate) from: String,
    /// The rooms in walking order, with what each said.
    pub(crate) steps: Vec<(Gate, Step)>,
    /// What came of it, in a few words.
    pub(crate) end: String,
}

/// What a room said to a visitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// It let it on.
    Passed,
    /// It turned it away, for this reason.
    Refused(String),
    /// It was never asked.
    NotReached,
}

impl Walk {
    /// A way that passes every room before `stopped`, where there is one, and is turned away there.
    pub(crate) fn new(who: &str, from: impl Display, stopped: Option<(Gate, &str)>) -> Self {
        let at = stopped.and_then(|(room, _)| ROOMS.iter().position(|other| *other == room));
        let step = |index: usize, room: Gate| match (at, stopped) {
            (Some(at), Some((_, why))) if index == at => (room, Step::Refused(why.to_owned())),
            (Some(at), _) if index > at => (room, Step::NotReached),
            _ => (room, Step::Passed),
        };
        let steps = ROOMS.iter().enumerate().map(|(index, room)| step(index, *room)).collect();
        let from = from.to_string();
        Self { who: who.to_owned(), hostile: false, from, steps, end: String::new() }
    }

    /// The same, through these rooms alone: the others do not exist in this service.
    pub(crate) fn through(mut self, rooms: &[Gate]) -> Self {
        self.steps.retain(|(room, _)| rooms.contains(room));
        self
    }

    /// The same, by somebody who came to harm.
    pub(crate) fn hostile(self) -> Self {
        Self { hostile: true, ..self }
    }

    /// The same, with what came of it.
    pub(crate) fn ending(self, end: impl Into<String>) -> Self {
        Self { end: end.into(), ..self }
    }
}

/// The rooms of the hallway. Unlike those that refuse a visitor, the first decides which sockets exist at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Gate {
    Bind,
    Accept,
    Address,
    Handshake,
    Identity,
    Frame,
    Service,
}

impl Gate {
    /// The word for the room, as everywhere.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Accept => "accept",
            Self::Address => "address",
            Self::Handshake => "handshake",
            Self::Identity => "identity",
            Self::Frame => "frame",
            Self::Service => "service",
        }
    }
}

/// All of them, in walking order.
pub(crate) const ROOMS: [Gate; 7] = [
    Gate::Bind,
    Gate::Accept,
    Gate::Address,
    Gate::Handshake,
    Gate::Identity,
    Gate::Frame,
    Gate::Service,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Part {
        Part::Held(String::new())
    }

    fn all_held() -> Findings {
        Findings { honest: held(), attack: held(), gate: held(), ..Findings::new() }
    }

    #[test]
    fn nothing_is_proven_without_the_control() {
        let failed = Part::NotYet("the attack does not even work on the weak twin".to_owned());
        assert_eq!(Verdict::outcome(&all_held(), &held()), Outcome::Held);
        assert_eq!(Verdict::outcome(&all_held(), &failed), Outcome::Inconclusive);
        assert_eq!(Verdict::outcome(&all_held(), &Part::NotJudged), Outcome::Inconclusive);
    }

    #[test]
    fn one_part_is_enough_to_be_not_yet() {
        let mut findings = all_held();
        findings.gate = Part::NotJudged;
        assert_eq!(Verdict::outcome(&findings, &held()), Outcome::NotYet);
        findings.attack = Part::Inconclusive("no second address".to_owned());
        assert_eq!(Verdict::outcome(&findings, &held()), Outcome::Inconclusive);
    }

    #[test]
    fn a_way_ends_where_it_was_stopped() {
        let walk = Walk::new("Mallory", "10.66.0.9", Some((Gate::Address, "not listed")));
        let said: Vec<_> = walk.steps.iter().map(|(_, step)| step.clone()).collect();
        let refused = Step::Refused("not listed".to_owned());
        assert_eq!(said[..3], [Step::Passed, Step::Passed, refused]);
        assert!(said[3..].iter().all(|step| *step == Step::NotReached));
    }
}

//! How a verdict looks on a terminal: the rooms a visitor went through, and the four parts.

use std::io::IsTerminal as _;

use doorward::peer::PeerText;

use super::catalogue::Exercise;
use super::verdict::{Outcome, Part, Step, Verdict, Walk};

/// How it is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Words in place of signs, for a screen reader.
    plain: bool,
    colour: bool,
}

impl Look {
    /// As the terminal and the one before it like it: colour only on a terminal, and never with `NO_COLOR`.
    pub(crate) fn new(plain: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { plain, colour: !plain && wanted && std::io::stdout().is_terminal() }
    }

    /// The verdict with everything that is known of it.
    pub(crate) fn verdict(self, exercise: &Exercise, verdict: &Verdict, attempt: usize) -> String {
        let title = format!("{} · {}", exercise.number, exercise.about.title);
        let mut text = if self.plain {
            format!("{title}, attempt {attempt}: {}\n", verdict.outcome)
        } else {
            format!(" {:<64}attempt {attempt}\n\n", self.bold(&title))
        };
        for walk in &verdict.findings.walks {
            text.push_str(&self.walk(walk));
        }
        if !self.plain {
            text.push('\n');
        }
        let parts = [
            ("HONEST", &verdict.findings.honest),
            ("ATTACK", &verdict.findings.attack),
            ("GATE", &verdict.findings.gate),
            ("CONTROL", &verdict.control),
        ];
        for (name, part) in parts {
            text.push_str(&self.part(name, part));
        }
        text.push_str(&self.explained(exercise, verdict));
        text
    }

    /// A visitor's way, in one line or two.
    pub(crate) fn walk(self, walk: &Walk) -> String {
        let who = escaped(&walk.who);
        if self.plain {
            let said = |step: &Step| match step {
                Step::Passed => "passed".to_owned(),
                Step::Refused(why) => format!("refused ({})", escaped(why)),
                Step::NotReached => "not reached".to_owned(),
            };
            let steps: Vec<_> = walk
                .steps
                .iter()
                .map(|(room, step)| format!("{} {}", room.word(), said(step)))
                .collect();
            let (steps, end) = (steps.join(", "), escaped(&walk.end));
            return format!("{who} from {}: {steps}; {end}.\n", walk.from);
        }
        let mut line = String::from("     ");
        for (index, (room, step)) in walk.steps.iter().enumerate() {
            let arrow = if index == 0 { "" } else { " ▶ " };
            match step {
                Step::Passed => line = format!("{line}{arrow}{} ✔", room.word()),
                Step::Refused(why) => {
                    let sign = if walk.hostile { "■" } else { "✖" };
                    let stop = format!("{} {sign} {}", room.word(), escaped(why));
                    line = format!("{line}{arrow}{}", self.bold(&stop));
                }
                Step::NotReached => {}
            }
        }
        format!("   {} from {}: {}\n{line}\n", self.bold(&who), walk.from, escaped(&walk.end))
    }

    fn part(self, name: &str, part: &Part) -> String {
        let (sign, word, why) = match part {
            Part::Held(why) => (self.green("✔"), "held", why.as_str()),
            Part::NotYet(why) => (self.red("✖"), "not yet", why.as_str()),
            Part::NotJudged => ("–".to_owned(), "not judged", ""),
            Part::Inconclusive(why) => ("?".to_owned(), "inconclusive", why.as_str()),
        };
        let why = escaped(why);
        if self.plain {
            return format!("{name}: {word}. {why}\n");
        }
        let why = if why.is_empty() { word } else { &why };
        let wrapped = wrap(why, 64, "             ");
        format!("   {name:<8} {sign} {wrapped}\n")
    }

    fn explained(self, exercise: &Exercise, verdict: &Verdict) -> String {
        let mut text = String::new();
        let mut tell = |name: &str, what: &str| {
            let wrapped = wrap(&escaped(what), 62, "                ");
            text = format!("{text}   {name:<12} {wrapped}\n");
        };
        if verdict.outcome != Outcome::Held {
            tell("What I saw", &verdict.findings.saw.join(" "));
        }
        let code = verdict.findings.misconception.as_deref();
        let known = code.and_then(|code| exercise.misconception(code));
        if verdict.outcome == Outcome::NotYet
            && let Some(known) = known
        {
            tell("It means", &known.means);
            tell("Look at", &known.look);
            tell("", &known.code);
        }
        tell("Where", &verdict.place);
        if self.plain {
            text.lines().map(squeezed).collect::<Vec<_>>().join("\n") + "\n"
        } else {
            format!("\n{text}")
        }
    }

    /// A bar of twenty, for so many of so many.
    pub(crate) fn bar(self, done: usize, of: usize) -> String {
        let full = done.saturating_mul(20).checked_div(of).unwrap_or(0).min(20);
        let empty = 20_usize.saturating_sub(full);
        if self.plain { String::new() } else { "█".repeat(full) + &"░".repeat(empty) }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.in_colour("1", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.in_colour("32", text)
    }

    fn red(self, text: &str) -> String {
        self.in_colour("31", text)
    }

    fn in_colour(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(crate) fn is_plain(self) -> bool {
        self.plain
    }
}

/// What a learner's program or a visitor said, as it may be shown.
fn escaped(text: &str) -> String {
    PeerText::escaped(text.as_bytes())
}

fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Breaks a text into lines of at most `width` letters; every line but the first begins with `indent`.
pub(crate) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        let length = line.chars().count().saturating_add(word.chars().count());
        if line.is_empty() {
            line.push_str(word);
        } else if length < width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join(&format!("\n{indent}"))
}

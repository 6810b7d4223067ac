//! The small client of exercise 06, which tries again as its file says.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::seed::{Dice, Seed};

/// The file. What is not written is as impatient as a first draft.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Plan {
    /// For ever, without it.
    attempts: Option<u32>,
    /// Milliseconds before the second attempt.
    #[serde(default)]
    base: u32,
    /// What each wait is multiplied with to have the next.
    #[serde(default = "one")]
    factor: u32,
    /// The longest wait, in milliseconds.
    cap: Option<u32>,
    #[serde(default)]
    jitter: Jitter,
    /// Milliseconds for one attempt; for ever without it.
    timeout: Option<u64>,
    #[serde(default)]
    retry: Retry,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    give_up: GiveUp,
}

fn one() -> u32 {
    1
}

/// How much of a wait is left to chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Jitter {
    #[default]
    None,
    /// The second half.
    Equal,
}

/// After what it tries again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Retry {
    /// After a no of the server, too.
    #[default]
    Everything,
    /// After what may be better the next time.
    Faults,
}

/// Which attempts are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Log {
    #[default]
    Last,
    Each,
}

/// How it ends without a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum GiveUp {
    #[default]
    Quietly,
    Loudly,
}

/// What came of one attempt.
enum Came {
    Result(String),
    Denied(String),
    Fault(String),
}

/// Asks until there is a result, or no reason to ask again; the exit code.
///
/// # Errors
/// In a sentence: what in the file cannot be used.
pub(crate) async fn ask(file: &Path, host: &str, port: u16, log: &Path) -> Result<u8, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let plan: Plan =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut dice = Seed::fresh().dice("retry");
    let mut lines = Vec::new();
    let mut attempt = 1_u32;
    let why = loop {
        let came = plan.attempt(host, port).await;
        let (word, why) = match &came {
            Came::Result(said) => ("result", said),
            Came::Denied(said) => ("denied", said),
            Came::Fault(said) => ("fault", said),
        };
        lines.push(json!({"attempt": attempt, "came": word, "said": why}).to_string());
        match came {
            Came::Result(said) => {
                plan.write(log, &lines)?;
                drop(writeln!(std::io::stdout(), "{said}"));
                return Ok(0);
            }
            Came::Denied(why) if plan.retry == Retry::Faults => break why,
            Came::Denied(why) | Came::Fault(why) => {
                if plan.attempts.is_some_and(|most| attempt >= most) {
                    break why;
                }
            }
        }
        sleep(plan.wait(attempt, &mut dice)).await;
        attempt = attempt.saturating_add(1);
    };
    plan.write(log, &lines)?;
    match plan.give_up {
        GiveUp::Quietly => Ok(0),
        GiveUp::Loudly => {
            drop(writeln!(std::io::stderr(), "no result after {attempt} attempts: {why}"));
            Ok(1)
        }
    }
}

impl Plan {
    async fn attempt(&self, host: &str, port: u16) -> Came {
        let limit = self.timeout.map_or(Duration::MAX, Duration::from_millis);
        match timeout(limit, converse(host, port)).await {
            Err(_) => Came::Fault("no answer in time".to_owned()),
            Ok(Err(error)) => Came::Fault(error.to_string()),
            Ok(Ok(said)) if said.starts_with("RESULT") => Came::Result(said),
            Ok(Ok(said)) if said.starts_with("DENIED") => Came::Denied(said),
            Ok(Ok(_)) => Came::Fault("the server hung up".to_owned()),
        }
    }

    /// How long it waits after so many attempts.
    fn wait(&self, attempt: u32, dice: &mut Dice) -> Duration {
        let doubled = self.factor.saturating_pow(attempt.saturating_sub(1));
        let whole = self.base.saturating_mul(doubled).min(self.cap.unwrap_or(u32::MAX));
        let milliseconds = match self.jitter {
            Jitter::None => whole,
            Jitter::Equal => {
                let half = whole.div_euclid(2);
                half.saturating_add(dice.below(half.saturating_add(1)))
            }
        };
        Duration::from_millis(milliseconds.into())
    }

    fn write(&self, log: &Path, lines: &[String]) -> Result<(), String> {
        let kept = match self.log {
            Log::Last => lines.last().map(std::slice::from_ref).unwrap_or_default(),
            Log::Each => lines,
        };
        std::fs::write(log, kept.join("\n") + "\n")
            .map_err(|error| format!("{} cannot be written: {error}", log.display()))
    }
}

async fn converse(host: &str, port: u16) -> std::io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect((host, port)).await?);
    stream.write_all(b"results please\n").await?;
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}

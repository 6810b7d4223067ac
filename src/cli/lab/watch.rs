//! `doorward lab` alone: where you are, and a check at every change of your files.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::{Exit, chosen, overview, screen};
use crate::lab::catalogue::Exercise;
use crate::lab::home::Home;
use crate::lab::picture::Look;

/// Shows where the learner is; on a terminal it then checks the exercise at hand whenever a file changes.
pub(super) fn run(home: &Home, look: Look) -> Result<Exit, String> {
    let all = Exercise::all()?;
    let standings: Vec<_> =
        all.iter().map(|one| (one, home.journal.standing(&one.number))).collect();
    screen::say(overview::summary(home, &standings, look));
    let Ok(exercise) = chosen(home, None) else {
        let first = all.first().map_or("01", |one| one.number.as_str());
        screen::say(format_args!("\n begin with: doorward lab start {first}"));
        return Ok(Exit::Fine);
    };
    let folder = home.folder(&exercise);
    let (number, title) = (&exercise.number, &exercise.about.title);
    if home.journal.standing(number).held || !folder.is_dir() {
        let open = standings.iter().find(|(_, standing)| !standing.held);
        if let Some((next, _)) = open {
            let (next, title) = (&next.number, &next.about.title);
            screen::say(format_args!("\n next: doorward lab start {next}   ({title})"));
        }
        return Ok(Exit::Fine);
    }
    screen::say(format_args!("\n now: {number} {title}   {}", folder.display()));
    if !std::io::stdout().is_terminal() {
        screen::say(format_args!(" next: doorward lab check {number}"));
        return Ok(Exit::Fine);
    }
    let home = home.path().to_owned();
    follow(&home, &exercise, &folder, look)
}

/// Looks at the files four times a second, which also works where a file system tells nobody of changes.
fn follow(home: &Path, exercise: &Exercise, folder: &Path, look: Look) -> Result<Exit, String> {
    let itself = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut seen = None;
    screen::say(" I check at every change; Ctrl+C ends this.");
    loop {
        let now = state(folder);
        if seen.as_ref() != Some(&now) {
            seen = Some(now);
            let mut check = Command::new(&itself);
            check.args(["lab", "check", &exercise.number, "--dir"]).arg(home);
            if look.is_plain() {
                check.arg("--plain");
            }
            screen::say("");
            let status =
                check.status().map_err(|error| format!("the check did not start: {error}"))?;
            if status.success() {
                return Ok(Exit::Fine);
            }
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// When each file was changed.
fn state(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() && files.len() < MOST_FILES {
                open.push(entry.path());
            } else if let Ok(changed) = about.modified() {
                files.insert(entry.path(), changed);
            }
        }
    }
    files
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
const MOST_FILES: usize = 1000;

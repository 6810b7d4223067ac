//! The lab, as its learner and its author use it: the real command, in a network of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::bind::missing;
use crate::cli::{DOORWARD, doorward, said};
use crate::support::skipped;

mod class;
mod look;

/// Runs `doorward lab` in this folder.
fn lab(folder: &Path, words: &[&str]) -> (i32, String, String) {
    said(&doorward(folder, &[&["lab"], words].concat()))
}

/// Whether exercises can be judged here; says so where they cannot.
fn has_pocket_lan() -> bool {
    let tool = missing();
    tool.into_iter().for_each(skipped);
    tool.is_none()
}

/// A folder in which exercise 03 was started.
fn started(number: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (code, said, complaint) = lab(folder.path(), &["start", number]);
    assert_eq!(code, 0, "{said}{complaint}");
    folder
}

/// The folder of an exercise that was started.
fn place(folder: &Path, number: &str) -> std::path::PathBuf {
    let own = fs::read_dir(folder.join("doorward-lab")).unwrap().flatten();
    own.map(|entry| entry.path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(number))
        .unwrap()
}

/// Puts the solution of an exercise, with the learner's own port, in place of what was there.
fn solve(folder: &Path, number: &str) {
    let own = place(folder, number);
    let port = fs::read_to_string(own.join("door.toml")).unwrap();
    let port: String = port
        .split(':')
        .filter_map(|part| part.get(..5))
        .find(|part| part.chars().all(|c| c.is_ascii_digit()))
        .unwrap()
        .to_owned();
    let labs = Path::new(env!("CARGO_MANIFEST_DIR")).join("labs").join(own.file_name().unwrap());
    for file in fs::read_dir(labs.join("solution")).unwrap().flatten() {
        let text = fs::read_to_string(file.path()).unwrap().replace("{{port}}", &port);
        fs::write(own.join(file.file_name()), text).unwrap();
    }
}

/// What one rule of the author says of an exercise that breaks it.
fn broken(words: &[&str]) -> Vec<String> {
    let output = Command::new(DOORWARD)
        .args(["lab", "author", "test", "--json"])
        .args(words)
        .output()
        .unwrap();
    let (_, text, complaint) = said(&output);
    assert!(complaint.is_empty(), "{complaint}");
    let findings: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(findings.len() > 10, "only {} findings for {words:?}", findings.len());
    let broken = findings.iter().filter(|finding| finding["held"] != true);
    broken.map(|finding| format!("{} {}", finding["exercise"], finding["sentence"])).collect()
}

#[test]
fn every_exercise_keeps_the_rules_for_fifty_seeds() {
    if has_pocket_lan() {
        assert_eq!(broken(&["--seeds", "50"]), Vec::<String>::new());
    }
}

#[test]
fn the_verdicts_are_the_same_on_a_busy_machine() {
    if has_pocket_lan() {
        assert_eq!(broken(&["--seeds", "2", "--load"]), Vec::<String>::new());
    }
}

#[test]
fn an_exercise_that_passes_its_start_is_found_by_its_author() {
    if !has_pocket_lan() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("31-mine");
    let own = own.to_str().unwrap();
    let (code, _, complaint) = said(&doorward(folder.path(), &["lab", "author", "new", own]));
    assert_eq!(code, 0, "{complaint}");
    assert_eq!(broken(&["--seeds", "1", own]), Vec::<String>::new());
    // The author's solution becomes the start: nothing is left to do, and the attack works nowhere.
    let solution = fs::read(Path::new(own).join("solution/door.toml")).unwrap();
    fs::write(Path::new(own).join("start/door.toml"), solution).unwrap();
    let found = broken(&["--seeds", "1", own]);
    assert!(found.iter().any(|rule| rule.contains("start fails")), "{found:?}");
}

#[test]
fn a_learner_starts_fails_asks_repairs_and_passes() {
    if !has_pocket_lan() {
        return;
    }
    let folder = started("3");
    let at = folder.path();
    let (code, attack, _) = lab(at, &["attack"]);
    assert!(code == 1 && attack.contains("reads the note"), "{attack}");
    let (code, verdict, _) = lab(at, &["check", "--json"]);
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!((code, verdict["outcome"].as_str()), (1, Some("not-yet")));
    assert_eq!(verdict["control"]["is"], "held");
    let (_, first, _) = lab(at, &["hint"]);
    let (_, second, _) = lab(at, &["hint"]);
    let (_, third, _) = lab(at, &["hint"]);
    assert!(first.contains("1. ") && second.contains("2. "), "{first}{second}");
    assert!(third.contains("Not now"), "{third}");
    let (code, _, complaint) = lab(at, &["debrief"]);
    assert!(code == 2 && complaint.contains("hold it first"), "{complaint}");
    solve(at, "03");
    let (code, verdict, _) = lab(at, &["check"]);
    assert!(code == 0 && verdict.contains("1 of "), "{verdict}");
    let (code, debrief, _) = lab(at, &["debrief"]);
    assert!(code == 0 && debrief.contains("RST"), "{debrief}");
    let (_, progress, _) = lab(at, &["progress", "--json"]);
    let line: Value =
        serde_json::from_str(progress.lines().find(|line| line.contains("\"03\"")).unwrap())
            .unwrap();
    assert_eq!((line["state"].as_str(), line["checks"].as_u64()), (Some("held"), Some(2)));
}

#[test]
fn a_misconception_is_named_and_explained() {
    if !has_pocket_lan() {
        return;
    }
    let folder = started("03");
    let file = place(folder.path(), "03").join("door.toml");
    let text = fs::read_to_string(&file).unwrap()
        + "\n[address]\nallow = [\"127.0.0.1/32\", \"::1/128\"]\n";
    fs::write(&file, text).unwrap();
    let (code, said, _) = lab(folder.path(), &["check", "03", "--plain"]);
    assert_eq!(code, 1);
    assert!(said.contains("M03-LIST-ONLY") && said.contains("scanner"), "{said}");
    assert!(said.contains("GATE: not yet.") && said.contains("ATTACK: held."), "{said}");
    assert!(said.is_ascii() || !said.contains('✔'), "{said}");
    assert!(!said.contains("once more"), "{said}");
    let (_, again, _) = lab(folder.path(), &["check", "03", "--plain"]);
    assert!(
        again.contains("M03-LIST-ONLY once more: compare two answers, in door.toml."),
        "{again}"
    );
    assert!(again.contains("   with it   [address]"), "{again}");
}

#[test]
fn the_same_seed_gives_the_same_check() {
    if !has_pocket_lan() {
        return;
    }
    let folder = started("05");
    let check = |seed: Option<&str>| {
        let words: Vec<_> = ["check", "05", "--json"]
            .into_iter()
            .chain(seed.map(|_| "--seed"))
            .chain(seed)
            .collect();
        let (_, text, _) = lab(folder.path(), &words);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let first = check(None);
    let again = check(first["seed"].as_str());
    assert_eq!(first["saw"], again["saw"]);
    assert_ne!(first["saw"], check(None)["saw"], "the doors are in another order each time");
}

#[test]
fn what_a_learner_broke_is_said_in_a_sentence() {
    if !has_pocket_lan() {
        return;
    }
    let folder = started("03");
    let own = place(folder.path(), "03");
    let check = || lab(folder.path(), &["check", "03", "--plain"]).1;
    fs::write(own.join("door.toml"), "listen = 3\n").unwrap();
    assert!(check().contains("invalid type: integer `3`"), "{}", check());
    fs::write(own.join("lab.toml"), "exercise = \"03\"\n[run]\nserver = [\"no-such-program\"]\n")
        .unwrap();
    assert!(
        check().contains("no-such-program of [run] server in lab.toml cannot be started"),
        "{}",
        check()
    );
    fs::remove_file(own.join("lab.toml")).unwrap();
    assert!(check().contains("lab.toml is missing"), "{}", check());
}

#[test]
fn what_is_wrong_in_a_configuration_is_said_and_not_what_is_unwise() {
    if !has_pocket_lan() {
        return;
    }
    let folder = started("21");
    let file = place(folder.path(), "21").join("doorward.toml");
    let text = fs::read_to_string(&file).unwrap().replace("first = \"1h\"", "first = \"300ms\"");
    fs::write(&file, text).unwrap();
    let (code, said, _) = lab(folder.path(), &["check", "21", "--plain"]);
    assert!(code == 1 && said.contains("less than 1s") && !said.contains("add crl"), "{said}");
}

#[test]
fn a_reset_keeps_what_the_learner_had() {
    let folder = started("03");
    let own = place(folder.path(), "03");
    fs::write(own.join("door.toml"), "mine").unwrap();
    let (code, said, _) = lab(folder.path(), &["reset", "03"]);
    assert!(code == 0 && said.contains("old-1"), "{said}");
    assert!(fs::read_to_string(own.join("door.toml")).unwrap().contains("listen"));
    assert_eq!(fs::read_to_string(own.with_extension("old-1").join("door.toml")).unwrap(), "mine");
}

#[test]
fn two_machines_of_a_learner_make_one_progress() {
    let (school, home) = (started("03"), started("05"));
    let other = home.path().join("doorward-lab/progress.jsonl");
    let (code, said, _) = lab(school.path(), &["sync", other.to_str().unwrap()]);
    assert!(code == 0 && said.contains("3 lines were new"), "{said}");
    let (_, progress, _) = lab(school.path(), &["progress", "--json"]);
    assert_eq!(progress.matches("\"begun\"").count(), 2, "{progress}");
}

#[test]
fn the_first_start_says_what_may_be_attacked_and_the_second_does_not_repeat_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, first, _) = lab(folder.path(), &["start", "03"]);
    let (_, second, _) = lab(folder.path(), &["start", "05"]);
    assert!(first.contains("is a crime in most countries") && !second.contains("crime"), "{first}");
    let (code, _, complaint) = lab(folder.path(), &["start", "03"]);
    assert!(code == 2 && complaint.contains("doorward lab reset 03"), "{complaint}");
}

#[test]
fn nonsense_is_answered_with_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    for words in [["start", "99"], ["check", "99"]] {
        let (code, _, complaint) = lab(folder.path(), &words);
        assert!(
            code == 2 && complaint.contains("there is no exercise 99; there are 0"),
            "{complaint}"
        );
    }
    let (code, _, complaint) = lab(folder.path(), &["check"]);
    assert!(code == 2 && complaint.contains("no exercise was started yet"), "{complaint}");
    let (code, _, complaint) = lab(folder.path(), &["check", "03"]);
    assert!(code == 2 && complaint.contains("doorward lab start 03"), "{complaint}");
    let (code, list, _) = lab(folder.path(), &["list"]);
    assert!(code == 0 && list.contains("Who can reach me?"), "{list}");
}

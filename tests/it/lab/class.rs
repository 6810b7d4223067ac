//! The teacher's side of the lab: tickets, submissions of every kind, marks, report, questions.

use std::io::{Cursor, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::*;

mod hostile;

/// A class with a ticket for each of these, and a folder for each of them.
struct Class {
    folder: tempfile::TempDir,
}

impl Class {
    fn new(exercises: &str, ids: &[&str]) -> Self {
        let class = Self { folder: tempfile::tempdir().unwrap() };
        let (code, _, complaint) = class.teach(&["new", "10b", "--exercises", exercises]);
        assert_eq!(code, 0, "{complaint}");
        fs::write(class.path("roster.csv"), format!("id\n{}\n", ids.join("\n"))).unwrap();
        let (code, said, _) = class.teach(&["issue", "10b", "roster.csv"]);
        assert!(code == 0 && said.contains(&format!("{} tickets", ids.len())), "{said}");
        class
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn teach(&self, words: &[&str]) -> (i32, String, String) {
        said(&doorward(self.folder.path(), &[&["class"], words].concat()))
    }

    /// A learner, who has joined and started one exercise.
    fn learner(&self, id: &str, exercise: &str) -> PathBuf {
        let home = self.path(id);
        fs::create_dir_all(&home).unwrap();
        let ticket = self.path(&format!("10b/tickets/{id}.ticket"));
        let (code, said, complaint) = lab(&home, &["join", ticket.to_str().unwrap()]);
        assert!(code == 0 && said.contains(&format!("you are {id} of 10b")), "{said}{complaint}");
        assert_eq!(lab(&home, &["start", exercise]).0, 0);
        home
    }

    /// What a learner hands in.
    fn submit(&self, id: &str) -> PathBuf {
        let out = self.path(&format!("{id}-10b.spx"));
        let (code, said, complaint) = lab(&self.path(id), &["submit", "-o", out.to_str().unwrap()]);
        assert!(code == 0 && said.contains("is what you hand in"), "{said}{complaint}");
        out
    }

    /// Marks some files: the end, and a value for each of them.
    fn mark(&self, words: &[&str]) -> (i32, Vec<Value>) {
        let (code, text, _) =
            self.teach(&[&["mark", "10b", "--json", "--hidden", "1"], words].concat());
        (code, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// Why a file is refused.
    fn refusal(&self, file: &Path) -> String {
        let (code, all) = self.mark(&[file.to_str().unwrap()]);
        assert_eq!((code, all.len()), (1, 1), "{all:?}");
        all[0]["refused"].as_str().unwrap_or_else(|| panic!("{all:?}")).to_owned()
    }
}

/// The parts of a submission.
fn unpacked(file: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(fs::read(file).unwrap())).unwrap();
    let mut parts = Vec::new();
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        std::io::copy(&mut part, &mut bytes).unwrap();
        parts.push((part.name().unwrap().into_owned(), bytes));
    }
    parts
}

fn pack(file: &Path, parts: &[(String, Vec<u8>)]) {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    fs::write(file, zip.finish().unwrap().into_inner()).unwrap();
}

/// The same submission with another text in one of its parts.
fn changed(file: &Path, part: &str, change: impl Fn(&str) -> String) {
    let mut parts = unpacked(file);
    let (_, bytes) = parts.iter_mut().find(|(name, _)| name == part).unwrap();
    *bytes = change(std::str::from_utf8(bytes).unwrap()).into_bytes();
    pack(file, &parts);
}

#[test]
fn a_class_goes_from_its_key_to_its_report() {
    if !has_pocket_lan() {
        return;
    }
    let class = Class::new("03", &["ada", "ben", "cy"]);
    solve(&class.learner("ada", "03"), "03");
    assert_eq!(lab(&class.path("ada"), &["check"]).0, 0);
    class.submit("ada");
    // Ben's server ends with words that a page must not take for its own.
    let own = place(&class.learner("ben", "03"), "03");
    let program = "import sys\nsys.exit('Error: <script>alert(1)</script>')\n";
    fs::write(own.join("server.py"), program).unwrap();
    let run = "exercise = \"03\"\n[run]\nserver = [\"python3\", \"server.py\"]\n";
    fs::write(own.join("lab.toml"), run).unwrap();
    class.submit("ben");
    let (code, said, complaint) = class.teach(&["mark", "10b", "."]);
    assert_eq!(code, 0, "{said}{complaint}");
    assert!(said.contains("ada: 6 of 6 points") && said.contains("ben: 0 of 6 points"), "{said}");
    let (code, said, _) = class.teach(&["report", "10b"]);
    assert!(code == 0 && said.contains("report.html is written"), "{said}");
    let page = fs::read_to_string(class.path("10b/report.html")).unwrap();
    assert!(page.contains("2 of 3 submissions are marked") && page.contains("Nothing from: cy"));
    assert!(page.contains("class=\"cell held\"") && page.contains("class=\"cell not-yet\""));
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "{page}");
    let row = page.lines().find(|line| line.contains("M03-STOP</th>")).unwrap();
    let cells: Vec<_> = row.split("<td class=\"cell").skip(1).collect();
    assert!(cells.len() == 2 && !cells[0].contains('✖') && cells[1].contains('✖'), "{row}");
    let list = fs::read_to_string(class.path("10b/grades.csv")).unwrap();
    assert!(list.contains("\nada,03,Who can reach me?,6,6,earned,earned,earned,earned,"), "{list}");
    assert!(list.contains("\nben,03,Who can reach me?,0,6,missed,"), "{list}");
    let met = fs::read_to_string(class.path("10b/misconceptions.csv")).unwrap();
    assert!(met.contains("\nM03-STOP,03,1,1,0,"), "{met}");
}

#[test]
fn the_questions_are_about_the_learner_s_own_lines_and_are_the_same_twice() {
    if !has_pocket_lan() {
        return;
    }
    let class = Class::new("03", &["ada"]);
    solve(&class.learner("ada", "03"), "03");
    let (code, _, complaint) = class.teach(&["viva", "10b", "ada"]);
    assert!(code == 2 && complaint.contains("nothing of ada was marked yet"), "{complaint}");
    let file = class.submit("ada");
    assert_eq!(class.mark(&[file.to_str().unwrap()]).0, 0);
    let (code, first, _) = class.teach(&["viva", "10b", "ada"]);
    assert!(code == 0 && first.contains("Your service listens at 127.0.0.1:"), "{first}");
    assert!(first.contains("a good answer: "), "{first}");
    assert_eq!(first, class.teach(&["viva", "10b", "ada"]).1);
    let (_, bare, _) = class.teach(&["viva", "10b", "ada", "--without-answers"]);
    assert!(bare.contains("Your service") && !bare.contains("a good answer"), "{bare}");
}

#[test]
fn github_and_gradescope_get_the_points_in_their_own_words() {
    if !has_pocket_lan() {
        return;
    }
    let class = Class::new("03,05", &["ada"]);
    solve(&class.learner("ada", "03"), "03");
    let file = class.submit("ada");
    let file = file.to_str().unwrap();
    let (code, said, _) = class.teach(&["mark", "10b", file, "--github"]);
    assert_eq!(code, 1, "not everything is held");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "::notice title=Autograding complete::Points 6/12",
            "::notice title=Autograding report::{\"maxPoints\":12,\"totalPoints\":6}",
        ]
    );
    let results = class.path("results.json");
    let words = ["mark", "10b", file, "--gradescope", results.to_str().unwrap()];
    assert_eq!(class.teach(&words).0, 0);
    let results: Value = serde_json::from_slice(&fs::read(results).unwrap()).unwrap();
    assert_eq!(results["score"], 6);
    let tests = results["tests"].as_array().unwrap();
    assert_eq!(tests.len(), 8);
    let hidden = tests.iter().filter(|test| test["visibility"] == "after_published").count();
    assert_eq!(hidden, 2);
    assert_eq!((&tests[0]["score"], &tests[0]["status"]), (&1.into(), &"passed".into()));
    assert_eq!((&tests[4]["score"], &tests[4]["max_score"]), (&0.into(), &1.into()));
}

#[test]
fn a_ticket_that_was_changed_is_not_taken_and_not_marked() {
    let class = Class::new("03", &["ada", "ben"]);
    let ticket = class.path("10b/tickets/ada.ticket");
    let text = fs::read_to_string(&ticket).unwrap();
    let forged = class.path("forged");
    fs::write(&forged, text.replace("\"ada\"", "\"ben\"")).unwrap();
    let (code, _, complaint) = lab(class.folder.path(), &["join", forged.to_str().unwrap()]);
    assert!(code == 2 && complaint.contains("this ticket was changed"), "{complaint}");
    class.learner("ada", "03");
    let file = class.submit("ada");
    changed(&file, "ticket.json", |text| text.replace("\"ada\"", "\"ben\""));
    assert!(class.refusal(&file).contains("this ticket was changed"));
}

#[test]
fn a_ticket_of_another_class_with_the_same_name_is_refused() {
    let (class, other) = (Class::new("03", &["ada"]), Class::new("03", &["ada"]));
    other.learner("ada", "03");
    assert!(class.refusal(&other.submit("ada")).contains("signed by another key"));
}

#[test]
fn a_file_that_is_named_after_another_learner_is_refused() {
    let class = Class::new("03", &["ada", "ben"]);
    class.learner("ada", "03");
    let swapped = class.path("ben-10b.spx");
    fs::rename(class.submit("ada"), &swapped).unwrap();
    let why = class.refusal(&swapped);
    assert_eq!(why, "is named after ben, and holds the ticket of ada");
}

#[test]
fn of_two_submissions_the_older_one_is_refused_by_name() {
    if !has_pocket_lan() {
        return;
    }
    let class = Class::new("03", &["ada"]);
    solve(&class.learner("ada", "03"), "03");
    let file = class.submit("ada");
    fs::create_dir(class.path("old")).unwrap();
    let old = class.path("old/first.spx");
    fs::copy(&file, &old).unwrap();
    changed(&old, "manifest.json", |text| {
        let mut value: Value = serde_json::from_str(text).unwrap();
        value["made"] = 1.into();
        value.to_string()
    });
    let (code, all) = class.mark(&[old.to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!((code, all.len()), (1, 2), "{all:?}");
    let why = all.iter().find_map(|one| one["refused"].as_str()).unwrap();
    assert!(why.contains("is outdated") && why.contains("ada-10b.spx is newer"), "{why}");
    assert!(all.iter().any(|one| one["id"] == "ada"), "{all:?}");
}

#[test]
fn what_is_late_waits_for_the_teacher_s_word() {
    if !has_pocket_lan() {
        return;
    }
    let class = Class::new("03", &["ada"]);
    class.learner("ada", "03");
    let file = class.submit("ada");
    let about = class.path("10b/class.toml");
    let text = fs::read_to_string(&about).unwrap() + "due = \"2020-01-31\"\n";
    fs::write(&about, text).unwrap();
    assert!(class.refusal(&file).contains("after 2020-01-31; --late marks it"));
    let (code, all) = class.mark(&[file.to_str().unwrap(), "--late"]);
    assert_eq!(code, 0);
    assert_eq!(all[0]["notes"][0], "handed in after the last day");
}

#[test]
fn the_answer_of_another_learner_is_recognised() {
    if !has_pocket_lan() {
        return;
    }
    let class = Class::new("03", &["ada", "ben"]);
    let (ada, ben) = (class.learner("ada", "03"), class.learner("ben", "03"));
    solve(&ada, "03");
    fs::copy(place(&ada, "03").join("door.toml"), place(&ben, "03").join("door.toml")).unwrap();
    let (code, all) = class.mark(&[class.submit("ben").to_str().unwrap()]);
    assert_eq!(code, 0);
    let grade = &all[0]["exercises"][0];
    assert_eq!(grade["answer_of"], "ada", "{grade}");
    assert_eq!(grade["said"][0], "This is the answer of ada: it holds with that seed.");
}

#[test]
fn a_journal_that_was_changed_is_noted_and_counts_for_nothing() {
    if !has_pocket_lan() {
        return;
    }
    let class = Class::new("03", &["ada"]);
    let home = class.learner("ada", "03");
    assert_eq!(lab(&home, &["check"]).0, 1);
    let file = class.submit("ada");
    changed(&file, "progress.jsonl", |text| text.replace("\"not-yet\"", "\"held\""));
    let (code, all) = class.mark(&[file.to_str().unwrap()]);
    assert_eq!((code, &all[0]["exercises"][0]["attack"]), (0, &"missed".into()), "{all:?}");
    changed(&file, "progress.jsonl", |text| text.replacen("\"started\"", "\"reset\"", 1));
    let (_, all) = class.mark(&[file.to_str().unwrap()]);
    let notes = all[0]["notes"].to_string();
    assert!(notes.contains("the journal cannot be believed"), "{notes}");
}

#[test]
fn a_teacher_s_mistake_is_answered_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let class = |words: &[&str]| said(&doorward(folder.path(), &[&["class"], words].concat()));
    let (code, _, complaint) = class(&["mark", "10b", "."]);
    assert!(code == 2 && complaint.contains("is no class"), "{complaint}");
    assert_eq!(class(&["new", "10b"]).0, 0);
    let (code, _, complaint) = class(&["new", "10b"]);
    assert!(code == 2 && complaint.contains("is there already"), "{complaint}");
    let (code, _, complaint) = class(&["new", "10c", "--due", "tomorrow"]);
    assert!(code == 2 && complaint.contains("tomorrow"), "{complaint}");
    for (list, why) in [
        ("name\nada\n", "has no column id"),
        ("id\nada\nada\n", "ada is there already"),
        ("id\n../ada\n", "an id has up to 64 letters"),
        ("id\n", "nobody"),
    ] {
        fs::write(folder.path().join("roster.csv"), list).unwrap();
        let (code, _, complaint) = class(&["issue", "10b", "roster.csv"]);
        assert!(code == 2 && complaint.contains(why), "{list:?}: {complaint}");
    }
    let (code, _, complaint) = class(&["mark", "10b", "."]);
    assert!(code == 2 && complaint.contains("there is nothing to mark"), "{complaint}");
    let (code, _, complaint) = class(&["report", "10b"]);
    assert!(code == 2 && complaint.contains("nothing was marked yet"), "{complaint}");
    let (code, _, complaint) = lab(folder.path(), &["submit"]);
    assert!(code == 2 && complaint.contains("doorward lab join"), "{complaint}");
}

#[test]
fn the_syllabus_names_exercises_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let (_, list, _) = lab(folder.path(), &["list"]);
    let (code, text, _) =
        said(&doorward(folder.path(), &["class", "syllabus", "--board", "aqa", "--json"]));
    assert_eq!(code, 0);
    for line in text.lines() {
        let statement: Value = serde_json::from_str(line).unwrap();
        assert_eq!(statement["board"], "aqa");
        for number in statement["exercises"].as_array().unwrap() {
            assert!(list.contains(number.as_str().unwrap()), "{number} of {statement}");
        }
    }
}

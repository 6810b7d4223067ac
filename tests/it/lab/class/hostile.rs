//! Submissions that attack whoever marks them.

use std::sync::{Mutex, PoisonError};

use super::*;

/// A program in place of exercise 03's server, handed in.
fn handed_in(class: &Class, id: &str, program: &str) -> PathBuf {
    let own = place(&class.learner(id, "03"), "03");
    fs::write(own.join("server.py"), program).unwrap();
    let run = "exercise = \"03\"\n[run]\nserver = [\"python3\", \"server.py\"]\n";
    fs::write(own.join("lab.toml"), run).unwrap();
    class.submit(id)
}

/// Held by a program that takes all it can get, so that the next one finds some of it.
static GREED: Mutex<()> = Mutex::new(());

/// Processes in whose words this is.
fn running(mark: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let words = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    words.filter(|words| words.windows(mark.len()).any(|part| part == mark.as_bytes())).count()
}

/// Waits until no process has it in its words.
fn until_none(mark: &str) {
    let begun = Instant::now();
    while running(mark) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{mark} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether learners' programs are confined here by all there is; says so where they are not.
fn is_confined(marks: &Value) -> bool {
    let place = marks["place"].as_str().unwrap();
    let all = place.contains(", Landlock,") && place.contains("on a disk of their own");
    if !all {
        skipped("a kernel with Landlock and files of one's own in a user namespace");
    }
    all
}

#[test]
fn a_program_that_steals_writes_and_kills_is_contained() {
    if !has_pocket_lan() {
        return;
    }
    let class = Class::new("03", &["eve", "ada"]);
    let bystander = class.path("10b").join("bystander");
    // A service of this machine that believes whoever may open its socket.
    let local = class.path("service.sock");
    let _service = std::os::unix::net::UnixListener::bind(&local).unwrap();
    let mut sleeper = Command::new("sleep").arg("300").spawn().unwrap();
    let program = format!(
        r#"
import os, signal, socket, socketserver, glob

found = []
def attempt(name, what):
    try:
        what()
        found.append(name)
    except BaseException:
        pass

attempt("key", lambda: open({key:?}).read())
attempt("roster", lambda: open({roster:?}).read())
attempt("list", lambda: os.listdir({folder:?}))
attempt("passwords", lambda: open("/etc/shadow").read() and open("/root/.bashrc"))
attempt("loot", lambda: open({loot:?}, "w").write("loot"))
attempt("results", lambda: open("/tmp/results.json", "w").write("{{}}"))
attempt("kill", lambda: os.kill({sleeper}, signal.SIGKILL))
def everybody():
    # Where the program has no process tree of its own, this would end the tests, and more.
    if os.getpid() < 50:
        os.kill(-1, signal.SIGKILL)
attempt("all", everybody)
attempt("words", lambda: [open(p + "/environ").read() for p in glob.glob("/proc/[0-9]*")][0])
def local():
    s = socket.socket(socket.AF_UNIX)
    s.connect({socket:?})
attempt("local", local)
def outside():
    s = socket.create_connection(("192.0.2.1", 80), 1)
attempt("outside", outside)
print("found " + ",".join(found), flush=True)
raise SystemExit("Error: found [" + " ".join(found) + "]")
"#,
        key = class.path("10b/class.key").to_str().unwrap(),
        roster = class.path("roster.csv").to_str().unwrap(),
        folder = class.path("10b").to_str().unwrap(),
        socket = local.to_str().unwrap(),
        loot = bystander.to_str().unwrap(),
        sleeper = sleeper.id(),
    );
    let file = handed_in(&class, "eve", &program);
    let (code, all) = class.mark(&[file.to_str().unwrap()]);
    assert_eq!(code, 0, "{all:?}");
    assert!(sleeper.try_wait().unwrap().is_none(), "a bystander was killed");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    if is_confined(&all[0]) {
        let said = all[0]["exercises"][0]["said"].to_string();
        assert!(said.contains("found []"), "{said}");
        assert!(!bystander.exists() && !Path::new("/tmp/results.json").exists());
    }
}

#[test]
fn a_program_that_forks_without_end_is_ended_with_all_it_started() {
    if !has_pocket_lan() {
        return;
    }
    let _alone = GREED.lock().unwrap_or_else(PoisonError::into_inner);
    let class = Class::new("03", &["eve"]);
    let mark = format!("doorward-bomb-{}", std::process::id());
    let program = format!(
        r#"
import os, subprocess
children = []
# Where the program has no process tree of its own, nothing would end this.
while os.getpid() < 50 or children:
    try:
        children.append(subprocess.Popen(["sleep", "300"], start_new_session=True))
        os.fork()
        subprocess.Popen(["python3", "-c", "import time; time.sleep(300)", "{mark}"])
    except BaseException:
        pass
"#
    );
    let file = handed_in(&class, "eve", &program);
    let (code, all) = class.mark(&[file.to_str().unwrap()]);
    assert!(code < 2, "{all:?}");
    assert_ne!(all[0]["exercises"][0]["honest"], "earned", "{all:?}");
    until_none(&mark);
}

#[test]
fn a_program_that_fills_the_disk_and_the_memory_fills_only_its_own() {
    if !has_pocket_lan() {
        return;
    }
    let _alone = GREED.lock().unwrap_or_else(PoisonError::into_inner);
    let class = Class::new("03", &["eve"]);
    let program = r#"
import os
written = 0
try:
    for number in range(100):
        with open(f"fill-{number}", "wb") as file:
            for part in range(64):
                os.posix_fallocate(file.fileno(), part << 20, 1 << 20)
                written += 1 << 20
except OSError:
    pass
memory = 0
held = []
try:
    for _ in range(64):
        held.append(bytearray(64 << 20))
        memory += 64
except MemoryError:
    held = []
raise SystemExit(f"Error: wrote {written >> 20} MiB and had {memory} MiB")
"#;
    let file = handed_in(&class, "eve", program);
    let (code, all) = class.mark(&[file.to_str().unwrap()]);
    assert_eq!(code, 0, "{all:?}");
    if is_confined(&all[0]) {
        let said = all[0]["exercises"][0]["said"].to_string();
        let number = |before: &str| -> u64 {
            let rest = said.split(before).nth(1).unwrap_or_else(|| panic!("{said}"));
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        // 64 MiB is the largest file, 256 MiB are all files, and 1 GiB is the memory.
        assert!(number("wrote ") <= 256, "{said}");
        assert!(number("had ") < 1024, "{said}");
    }
}

#[test]
fn a_submission_that_leads_elsewhere_or_unpacks_without_end_is_refused() {
    let class = Class::new("03", &["eve"]);
    class.learner("eve", "03");
    let honest = unpacked(&class.submit("eve"));
    let file = class.path("eve-10b.spx");
    for (name, size, why) in [
        ("../../loot", 4, "would lead elsewhere"),
        ("/tmp/doorward-loot", 4, "would lead elsewhere"),
        ("work/03-who-can-reach-me/../../../loot", 4, "would lead elsewhere"),
        ("loot", 4, "which is no answer"),
        ("work/03-who-can-reach-me/bomb", 64 << 20, "more than a submission holds"),
    ] {
        let mut parts = honest.clone();
        parts.push((name.to_owned(), vec![0; size]));
        pack(&file, &parts);
        assert!(fs::metadata(&file).unwrap().len() < 1 << 20);
        let said = class.refusal(&file);
        assert!(said.contains(why), "{name}: {said}");
    }
    assert!(!class.path("loot").exists() && !Path::new("/tmp/doorward-loot").exists());
    fs::write(&file, "no zip").unwrap();
    assert!(class.refusal(&file).contains("no submission"));
    fs::remove_file(&file).unwrap();
    assert!(class.refusal(&file).contains("cannot be read"));
}

#[test]
fn a_submission_of_another_form_is_asked_for_again() {
    let class = Class::new("03", &["eve"]);
    class.learner("eve", "03");
    let file = class.submit("eve");
    changed(&file, "manifest.json", |text| text.replace("\"format\":1", "\"format\":99"));
    let why = class.refusal(&file);
    assert!(why.contains("another version of doorward") && why.contains("again"), "{why}");
    let results = class.path("results.json");
    let words = ["mark", "10b", file.to_str().unwrap(), "--gradescope", results.to_str().unwrap()];
    assert_eq!(class.teach(&words).0, 1);
    let results: Value = serde_json::from_slice(&fs::read(results).unwrap()).unwrap();
    assert_eq!(results["score"], 0);
    assert!(results["output"].as_str().unwrap().contains("another version"), "{results}");
}

#[test]
fn a_marker_that_is_killed_leaves_results_that_gradescope_can_read() {
    if !has_pocket_lan() {
        return;
    }
    let class = Class::new("03,05,15", &["ada"]);
    let home = class.learner("ada", "03");
    solve(&home, "03");
    for exercise in ["05", "15"] {
        assert_eq!(lab(&home, &["start", exercise]).0, 0);
    }
    let file = class.submit("ada");
    let results = class.path("results.json");
    let scratch = class.path("scratch");
    fs::create_dir(&scratch).unwrap();
    let mut marker = Command::new(DOORWARD)
        .args(["class", "mark", "10b", "--jobs", "1", "--gradescope"])
        .args([&results, &file])
        .env("TMPDIR", &scratch)
        .current_dir(class.folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !results.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "there are no results");
        std::thread::sleep(Duration::from_millis(5));
    }
    marker.kill().unwrap();
    marker.wait().unwrap();
    let read: Value = serde_json::from_slice(&fs::read(&results).unwrap()).unwrap();
    assert_eq!(read["score"], 6, "{read}");
    assert!([4, 8].contains(&read["tests"].as_array().unwrap().len()), "{read}");
    // The check that was under way ends with the one who asked for it.
    until_none(scratch.to_str().unwrap());
}

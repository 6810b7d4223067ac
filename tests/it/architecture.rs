//! The building keeps its shape: rooms in walking order, gates that only decide, files that fit the head.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file below `folder`, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 5, "{folder} has {} files", found.len());
    found
}

/// The modules of the library in the order of `lib.rs`.
fn order() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let text = fs::read_to_string(root).unwrap();
    let module = |line: &str| {
        let rest = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        rest.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    };
    text.lines().filter_map(module).collect()
}

/// The top-level module a file belongs to; none for the binary and for `lib.rs`.
fn module_of(path: &Path) -> Option<String> {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first =
        relative.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    (!["lib", "main", "cli", "lab"].contains(&first.as_str())).then_some(first)
}

/// A file's code without its tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    name == "tests" || name.ends_with("_tests")
}

/// The modules of the library that a line names.
fn used(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap();
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let order = order();
    let place = |module: &str| order.iter().position(|other| other == module);
    let mut uses = 0;
    let mut upward = Vec::new();
    for (path, text) in sources("src").iter().filter(|(path, _)| !is_test(path)) {
        let Some(module) = module_of(path) else { continue };
        let own = place(&module).unwrap_or_else(|| panic!("lib.rs does not name {module}"));
        for name in code(text).lines().flat_map(used) {
            let Some(other) = place(name) else { continue };
            uses += 1;
            if other > own {
                upward.push(format!(
                    "{}: {module} uses {name}, which stands below it",
                    path.display()
                ));
            }
        }
    }
    assert!(uses > 100, "only {uses} uses were found, so the test has gone blind");
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn gates_decide_and_do_not_wait() {
    let mut looked_at = 0;
    for (path, text) in sources("src").iter().filter(|(path, _)| !is_test(path)) {
        let module = module_of(path).unwrap_or_default();
        if !["address", "frame", "identity", "network"].contains(&module.as_str()) {
            continue;
        }
        looked_at += 1;
        for forbidden in
            ["async ", ".await", "Instant::now", "SystemTime::now", "std::fs", "tokio::"]
        {
            assert!(!code(text).contains(forbidden), "{} has {forbidden:?}", path.display());
        }
    }
    assert!(looked_at >= 8, "{looked_at} files of gates");
}

#[test]
fn a_file_fits_in_the_head() {
    for folder in ["src", "tests"] {
        for (path, text) in sources(folder) {
            let longest = if folder == "src" { 450 } else { 700 };
            let lines = text.lines().count();
            assert!(lines <= longest, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in sources("src").iter().filter(|(path, _)| !is_test(path)) {
        assert!(text.starts_with("//! "), "{} does not begin with a sentence", path.display());
    }
}

#[test]
fn every_room_is_a_module() {
    let order = order();
    for refusal in doorward::refusal::Refusal::ALL {
        let room = refusal.room().word();
        assert!(order.iter().any(|module| module == room), "{room}");
    }
}

#[test]
fn the_manual_has_a_row_for_every_refusal() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/refusals.md");
    let manual = fs::read_to_string(manual).unwrap();
    let rows: Vec<_> = manual.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<_> = doorward::refusal::Refusal::ALL
        .iter()
        .map(|refusal| format!("| `{refusal}` | {} | {} |", refusal.sentence(), refusal.remedy()))
        .collect();
    assert_eq!(rows, expected);
}

/// The tests that assert a code, so that every "no" is provoked somewhere.
#[test]
fn every_refusal_is_asserted_by_a_test_over_a_socket() {
    let own = Path::new(file!()).file_name().unwrap();
    let tests: String = sources("tests")
        .into_iter()
        .filter(|(path, _)| path.file_name() != Some(own))
        .map(|(_, text)| text)
        .collect();
    let missing: Vec<_> = doorward::refusal::Refusal::ALL
        .iter()
        .map(|refusal| refusal.code())
        .filter(|code| !tests.contains(&format!("\"{code}\"")))
        .collect();
    assert!(missing.is_empty(), "no test asserts {missing:?}");
}

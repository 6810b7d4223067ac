//! `kind = "run"` and `[service.limits]`: which program, and what it may do.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::ServiceKind;
use super::document::quoted;
use super::entry::{Bounds, Entry};
use super::section::Section;
use crate::frame::FrameKind;
use crate::place::Written;
use crate::problem::{Fault, Problem};
use crate::service::run::{Keeper, Limits, Run, Streams};

/// The keys of a service that only `kind = "run"` has.
pub(super) const KEYS: [&str; 6] =
    ["command", "directory", "environment", "streams", "grace", "limits"];

/// The program of a service.
pub(super) fn read(section: &mut Section<'_>) -> Option<Run> {
    let command = section
        .required("command", "[\"python3\", \"server.py\"]")
        .and_then(|entry| command(&entry));
    let directory = section.or("directory", None, |entry| entry.path().map(Some));
    let environment = section.or("environment", BTreeMap::new(), environment);
    let streams = section.or("streams", Streams::Frames, |entry| entry.choice(&STREAMS));
    let grace = section.or("grace", Duration::from_secs(2), |entry| entry.duration(&GRACE));
    let limited = section.entry("limits").map(|entry| entry.place().clone());
    let limits = limits(section.table("limits", "[service.limits]"));
    let (program, arguments) = command?;
    Some(Run {
        program,
        arguments,
        directory: directory?,
        environment: environment?,
        streams: streams?,
        grace: grace?,
        limits: limits?,
        limited,
        keeper: Keeper::Absent,
    })
}

/// Reports lines for a program whose visitor sends no messages that could be put into lines.
pub(super) fn judge_streams(
    section: &mut Section<'_>,
    kind: Option<&ServiceKind>,
    frame: FrameKind,
) {
    let Some(ServiceKind::Run(Run { streams: Streams::Lines, .. })) = kind else { return };
    let (word, remedy) = match frame {
        FrameKind::LengthPrefixed { .. } => return,
        FrameKind::Lines => ("lines", "remove it: the program reads lines anyway"),
        FrameKind::JsonLines => ("json-lines", "remove it: the program reads lines anyway"),
        FrameKind::Raw => ("raw", "remove it, or let the visitor send messages"),
    };
    if let Some(entry) = section.entry("streams") {
        let message =
            format!("{entry} is \"lines\", which means nothing to frames of kind \"{word}\"");
        entry.blame(Fault::FrameBounds, message, remedy);
    }
}

/// The program, then its arguments: no shell takes them apart.
fn command(entry: &Entry<'_>) -> Option<(Written<String>, Vec<String>)> {
    let words = entry.each(|item| {
        let text = item.string()?;
        if text.value.contains('\0') {
            let remedy = "write it without the zero byte, which would end it";
            item.refuse(text.value, "which no program can be given", remedy);
            return None;
        }
        Some(Written::new(text.value.to_owned(), text.place))
    })?;
    let mut words = words.into_iter();
    match words.next() {
        Some(program) if !program.value.is_empty() => {
            if !entry.is_list() && program.value.contains(' ') {
                entry.warn(
                    Fault::ConfigBadValue,
                    format!("{entry} is one text, so its spaces are part of the program's name"),
                    "write each word on its own: [\"python3\", \"server.py\"]",
                );
            }
            Some((program, words.map(|word| word.value).collect()))
        }
        Some(_) | None => {
            entry.blame(
                Fault::ConfigBadValue,
                format!("{entry} names no program"),
                "write the program and its arguments, such as [\"python3\", \"server.py\"]",
            );
            None
        }
    }
}

/// Variables by name. What names the caller belongs to doorward.
fn environment(entry: &Entry<'_>) -> Option<BTreeMap<String, String>> {
    let DeValue::Table(table) = entry.value() else {
        entry.takes("variables", "write { HOME = \"/var/lib/app\" }");
        return None;
    };
    // All are read before the first bad one ends it, so that each is reported.
    let read: Vec<_> = variables(entry, table).collect();
    read.into_iter().collect()
}

fn variables<'e>(
    entry: &'e Entry<'_>,
    table: &'e DeTable<'_>,
) -> impl Iterator<Item = Option<(String, String)>> {
    table.iter().map(move |(key, value)| {
        let name = key.get_ref().as_ref();
        let bad = |why: &str, remedy: &str| {
            let message = format!("{entry} sets {}, {why}", quoted(name));
            let place = entry.document().place(key.span());
            let problem = Problem::error(Fault::ConfigBadValue, message, remedy);
            entry.document().report(problem.at(&place));
            None
        };
        if !is_variable(name) {
            return bad("which is no name of a variable", "use letters, digits and _");
        }
        if name.starts_with(OURS) {
            return bad(
                "which doorward sets for each caller",
                "choose another name: those with DOORWARD_ at the front are taken",
            );
        }
        match value.get_ref() {
            DeValue::String(text) if !text.contains('\0') => {
                Some((name.to_owned(), text.as_ref().to_owned()))
            }
            DeValue::String(_) => bad("with a zero byte in it", "write it without"),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => bad("to something that is no text", "put it in double quotes"),
        }
    })
}

/// As POSIX has it (Base Definitions, 8.1), in either case.
fn is_variable(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    begins && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn limits(mut section: Section<'_>) -> Option<Limits> {
    let default = Limits::default();
    let memory = section.or("memory", default.memory, |entry| entry.size(&MEMORY));
    let cpu = section.or("cpu", default.cpu, cpu);
    let files = section.or("files", default.files, |entry| entry.number(&FILES));
    let programs = section.or("programs", default.programs.get(), |entry| entry.number(&PROGRAMS));
    section.finish();
    let programs = NonZeroUsize::new(programs?)?;
    Some(Limits { memory: memory?, cpu: cpu?, files: files?, programs })
}

fn cpu(entry: &Entry<'_>) -> Option<Duration> {
    let cpu = entry.duration(&CPU)?;
    if cpu.subsec_nanos() > 0 {
        let message = format!("{entry} is {cpu:?}, and the system counts whole seconds");
        entry.blame(Fault::ConfigBadValue, message, "write a number of seconds, such as \"10s\"");
        return None;
    }
    Some(cpu)
}

/// The words of `streams`.
const STREAMS: [(&str, Streams); 2] = [("frames", Streams::Frames), ("lines", Streams::Lines)];

/// The beginning of the variables that name the caller.
const OURS: &str = "DOORWARD_";

/// Enough to write a file; who needs more than a minute does not end.
const GRACE: Bounds<Duration> = Bounds {
    range: Duration::ZERO..=Duration::from_secs(60),
    why: "a program that is still there then does not mean to end",
};

/// The libraries of a small program need some of it; some runtimes reserve hundreds of gigabytes.
const MEMORY: Bounds<usize> = Bounds {
    range: 16 << 20..=MOST_MEMORY,
    why: "less starts no program, and no process needs more",
};

/// A terabyte, or half of what a 32-bit machine can address.
const MOST_MEMORY: usize = if usize::BITS > 32 { 1_usize.wrapping_shl(40) } else { 1 << 31 };

/// The system counts whole seconds.
const CPU: Bounds<Duration> = Bounds {
    range: Duration::from_secs(1)..=Duration::from_secs(24 * 3600),
    why: "less starts no program, more is no limit",
};

/// Standard streams, libraries as they are loaded, and a few files of its own.
const FILES: Bounds<u64> =
    Bounds { range: 8..=1_048_576, why: "less starts no program, and no system allows more" };

/// Each is a process with pipes, and a keeper with it.
const PROGRAMS: Bounds<usize> =
    Bounds { range: 1..=10_000, why: "none serves nobody, and no host runs more" };

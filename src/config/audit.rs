//! `[audit]`: how the log is written, and where the audit log goes.

use std::path::PathBuf;

use super::LogFormat;
use super::entry::Entry;
use super::section::Section;
use crate::audit::{RecordSettings, RecordTo};
use crate::place::Written;
use crate::problem::Fault;

/// The table of a server.
pub(super) fn read(mut section: Section<'_>) -> Option<(LogFormat, Option<RecordSettings>)> {
    let format = format(&mut section);
    let to = section.entry("to");
    let chained = section.entry("chain");
    section.finish();
    let record = match &to {
        Some(to) => destination(to).map(Some),
        None => Some(None),
    };
    let chain = chained.as_ref().map_or(Some(false), Entry::flag);
    let (record, chain) = (record?, chain?);
    let in_file = matches!(&record, Some(to) if matches!(to.value, RecordTo::File(_)));
    if let Some(chained) = chained.filter(|_| chain && !in_file) {
        chained.blame(
            Fault::ConfigBadValue,
            format!("{chained} means nothing where the audit log goes to no file"),
            "write to = \"file:audit/doorward.jsonl\", or remove it",
        );
        return None;
    }
    Some((format?, record.map(|to| RecordSettings { to, chain })))
}

/// The table of a tunnel, which has no audit log.
pub(super) fn of_a_tunnel(mut section: Section<'_>) -> Option<LogFormat> {
    let format = format(&mut section);
    section.finish();
    format
}

fn format(section: &mut Section<'_>) -> Option<LogFormat> {
    let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    section.or("format", LogFormat::Text, |entry| entry.choice(&words))
}

fn destination(entry: &Entry<'_>) -> Option<Written<RecordTo>> {
    let text = entry.string()?;
    let to = match (text.value, text.value.strip_prefix("file:")) {
        ("journald", _) => RecordTo::Journal,
        ("stdout", _) => RecordTo::Stdout,
        (_, Some(path)) if is_path(path) => RecordTo::File(PathBuf::from(path)),
        (_, _) => {
            entry.refuse(
                text.value,
                "which is nowhere that an audit log can go",
                "write \"journald\", \"stdout\", or \"file:\" and a path, such as \"file:audit/doorward.jsonl\"",
            );
            return None;
        }
    };
    Some(Written::new(to, text.place))
}

fn is_path(path: &str) -> bool {
    !path.is_empty() && !path.ends_with('/') && !path.contains('\0')
}

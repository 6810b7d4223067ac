//! `doorward certs list`: what was issued, and whether it still counts.

use doorward::pki::Entry;
use serde_json::{Value, json};
use time::Duration;

use super::{Directory, Done, Exit, day, is_due, moment, screen};

/// Lists everything that was issued, the oldest first.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    directory: Directory,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let entries = args.directory.open()?.list()?;
    if args.json {
        screen::say(entries.iter().map(entry_json).collect::<Value>());
        return Ok(Exit::Fine);
    }
    let rows: Vec<_> = entries.iter().map(row).collect();
    let widest = |column: fn(&Row) -> &String| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let (serial, state) = (widest(|row| &row.serial), widest(|row| &row.state));
    for row in &rows {
        let Row { serial: number, role, until, state: standing, names } = row;
        screen::say(format_args!(
            "{number:serial$}  {role:9}  {until}  {standing:state$}  {names}"
        ));
    }
    Ok(Exit::Fine)
}

struct Row {
    serial: String,
    role: &'static str,
    until: String,
    state: String,
    names: String,
}

fn row(entry: &Entry) -> Row {
    let issued = &entry.issued;
    let state = match &entry.revoked {
        Some(revoked) => format!("revoked ({})", revoked.reason),
        None => state(entry).to_owned(),
    };
    Row {
        serial: issued.serial.to_string(),
        role: issued.role.word(),
        until: day(issued.not_after).to_string(),
        state,
        names: issued.names.join(" "),
    }
}

fn entry_json(entry: &Entry) -> Value {
    let issued = &entry.issued;
    json!({
        "serial": issued.serial.to_string(),
        "role": issued.role.word(),
        "names": issued.names,
        "sha256": issued.sha256,
        "not_before": moment(issued.not_before),
        "not_after": moment(issued.not_after),
        "state": state(entry),
        "revoked": entry.revoked.as_ref().map(|revoked| json!({
            "at": moment(revoked.at),
            "reason": revoked.reason.word(),
        })),
    })
}

fn state(entry: &Entry) -> &'static str {
    if entry.revoked.is_some() {
        return "revoked";
    }
    if is_due(entry.issued.not_after, Duration::ZERO) { "expired" } else { "valid" }
}

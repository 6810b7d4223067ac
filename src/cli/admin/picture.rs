//! The state of a server, for people.

use std::fmt::Display;

use doorward::server::status::{Present, Refusal, Status};

use crate::cli::screen;

/// Prints everything, the most wanted first.
pub(super) fn print(status: &Status) {
    let Status { version, process, config, seconds, draining, .. } = status;
    let with = config.as_ref().map(|file| format!(" with {file}")).unwrap_or_default();
    let state = if *draining { "draining, nobody new gets in" } else { "serving" };
    screen::say(format_args!(
        "doorward {version}{with}: {state} for {} (process {process})",
        span(*seconds)
    ));
    print_open(status);
    print_sessions(status);
    print_endings(status);
    print_refusals(status);
    if !status.bans.is_empty() {
        print_bans(status);
    }
    for (number, line) in status.sandbox.iter().enumerate() {
        row(if number == 0 { "sandbox" } else { "" }, line);
    }
}

/// Prints the bans alone.
pub(super) fn print_bans(status: &Status) {
    if status.bans.is_empty() {
        return screen::say("nobody is banned");
    }
    screen::say(format_args!("banned: {}", status.bans.len()));
    for ban in &status.bans {
        row(&ban.network, format_args!("until {}, by {}: {}", ban.until, ban.by, ban.why));
    }
}

fn print_open(status: &Status) {
    for service in &status.services {
        screen::say(format_args!("service {}: {}", service.name, service.kind));
        let own = |at: &&doorward::server::status::Listener| at.service == service.name;
        let mut open = status.listeners.iter().filter(own).peekable();
        if open.peek().is_none() {
            row("bind", "no socket is open: its listeners wait for their interfaces");
        }
        for listener in open {
            row("bind", &listener.exposure);
            if listener.filtered {
                row(
                    "kernel",
                    format_args!("drops who is not listed at {}, unrecorded", listener.at),
                );
            }
        }
        row("sessions", service.sessions);
    }
    screen::say("every service:");
    let (strangers, members) = (status.strangers, status.members);
    row(
        "accept",
        format_args!(
            "{} of {} strangers, {} of {} members",
            strangers.taken, strangers.all, members.taken, members.all
        ),
    );
    let reloads = &status.reloads;
    if let Some(last) = &reloads.last {
        let stale = if reloads.stale {
            "; the last was refused, and the state before it serves on"
        } else {
            ""
        };
        row(
            "reloads",
            format_args!(
                "{} in force, {} refused, last {last}{stale}",
                reloads.done, reloads.refused
            ),
        );
    }
}

fn print_sessions(status: &Status) {
    if status.names.is_empty() {
        return;
    }
    screen::say(format_args!("sessions: {}", status.members.taken));
    for (name, count) in status.names.iter().take(MOST_LINES) {
        row(&count.to_string(), name);
    }
    for session in status.sessions.iter().take(MOST_LINES) {
        let Present { visit, service, name, from, seconds, frames, bytes_in, bytes_out } = session;
        row(
            &format!("visit {visit}"),
            format_args!(
                "{name} from {from} in {service} for {}: {frames} messages, {bytes_in} bytes in, {bytes_out} out",
                span(*seconds)
            ),
        );
    }
    more(status.members.taken);
}

fn print_endings(status: &Status) {
    screen::say("valid until:");
    for ending in &status.endings {
        let day = ending.at.split('T').next().unwrap_or_default();
        let left = match ending.days_left {
            None => "HAS ENDED".to_owned(),
            Some(1) => "1 day left".to_owned(),
            Some(days) => format!("{days} days left"),
        };
        row(day, format_args!("{left}: {} {}", ending.what, ending.name));
    }
}

fn print_refusals(status: &Status) {
    let refused = status.refused.values().copied().fold(0, u64::saturating_add);
    screen::say(format_args!("since the start: {} permitted, {refused} refused", status.permitted));
    for (code, count) in &status.refused {
        row(&count.to_string(), code);
    }
    if let Some(would_refuse) = &status.would_refuse {
        let count = would_refuse.values().copied().fold(0, u64::saturating_add);
        screen::say(format_args!("the policy that is tried would have refused {count}"));
        for (code, count) in would_refuse {
            row(&count.to_string(), code);
        }
    }
    if !status.last.is_empty() {
        screen::say("last refusals:");
    }
    for refusal in status.last.iter().take(MOST_LINES) {
        let Refusal { visit, at, service, from, code, detail, rule, names, .. } = refusal;
        let time = at.split(['T', '.']).nth(1).unwrap_or_default();
        row(&format!("visit {visit}"), format_args!("{time} {code} from {from} to {service}"));
        let names = format!("as {}", names.join(" "));
        let rule = rule.as_ref().map(|rule| format!("by {rule}")).unwrap_or_default();
        for more in [detail, &names, &rule].into_iter().filter(|more| more.len() > "as ".len()) {
            row("", more);
        }
    }
}

fn more(all: usize) {
    let left = all.saturating_sub(MOST_LINES);
    if left > 0 {
        row("", format_args!("and {left} more: --json shows up to 1,000"));
    }
}

fn row(word: &str, what: impl Display) {
    screen::say(format_args!("  {word:<10} {what}"));
}

/// The two largest units of a span.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        (_, _, _) => format!("{days} d {} h", hours % 24),
    }
}

/// A screenful.
const MOST_LINES: usize = 10;

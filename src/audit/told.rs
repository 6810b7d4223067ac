//! The record in the log for people: a line an event, through `tracing`.

use super::record::moment;
use super::{Event, Opening, SHOWN, TARGET, Visit};
use crate::handshake::Presented;
use crate::identity::Caller;
use crate::problem::{Problem, Severity};
use crate::refusal::{Refusal, Refused};
use crate::service::Counted;

/// Writes an event to the log.
pub(super) fn write(event: &Event) {
    match event {
        Event::Permitted(visit, caller) => permitted(visit, caller),
        Event::Refused(visit, refused, _) if is_health_check(refused) => {
            health_check(visit, refused);
        }
        Event::Refused(visit, refused, presented) => refusal(visit, refused, presented.as_deref()),
        Event::Left(visit, caller, counted) => left(visit, caller, counted),
        Event::Cut(visit, caller, counted, refused) => cut(visit, caller, counted, refused),
        Event::WouldRefuse(visit, caller, refused) => would_refuse(visit, caller, refused),
        Event::Reloaded { warnings, opened, closed } => {
            told(warnings, opened, closed);
            tracing::info!(target: TARGET, "reloaded: the new state is in force");
        }
        Event::Kept(problems) => {
            problems.iter().for_each(tell_problem);
            tracing::error!(target: TARGET, "kept: the new state is refused, the old one stays in force");
        }
        Event::Rebound { warnings, opened, closed } => {
            told(warnings, opened, closed);
            tracing::info!(target: TARGET, "rebound: the bind policy holds for the interfaces of now");
        }
        Event::Banned(network, ban) => {
            let (until, why, by) = (moment(ban.until), &ban.why, ban.by.word());
            tracing::warn!(target: TARGET, %network, until, %why, by, "banned");
        }
        Event::Lifted(network, _) => tracing::info!(target: TARGET, %network, "ban lifted"),
        Event::Expired(network, _) => tracing::info!(target: TARGET, %network, "ban expired"),
        Event::More(refusal, source, count) => {
            tracing::warn!(
                target: TARGET, code = %refusal.code(), from = %source, count, "refused more of the same"
            );
        }
    }
}

fn permitted(visit: &Visit, caller: &Caller) {
    tracing::info!(
        target: TARGET,
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        via = visit.via.map(tracing::field::display),
        to = %visit.listener,
        name = %caller.name(),
        rule = %caller.rule(),
        serial = %caller.presented().serial(),
        "permitted",
    );
}

fn refusal(visit: &Visit, refused: &Refused, presented: Option<&Presented>) {
    tracing::warn!(
        target: TARGET,
        code = %refused.code(),
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        via = visit.via.map(tracing::field::display),
        to = %visit.listener,
        detail = said(refused).map(tracing::field::display),
        rule = refused.rule().map(tracing::field::display),
        subject = presented.map(|shown| tracing::field::display(shown.subject())),
        names = presented.map(|shown| tracing::field::display(names(shown))),
        serial = presented.map(|shown| tracing::field::display(shown.serial())),
        pin = presented.map(|shown| tracing::field::display(shown.pin())),
        "refused",
    );
}

/// A balancer asks every second or two whether the server is there; nobody was turned away by the answer.
pub(super) fn is_health_check(refused: &Refused) -> bool {
    refused.refusal() == Refusal::AcceptProxyLocal
}

fn health_check(visit: &Visit, refused: &Refused) {
    tracing::debug!(
        target: TARGET,
        code = %refused.code(),
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        to = %visit.listener,
        "refused",
    );
}

fn left(visit: &Visit, caller: &Caller, counted: &Counted) {
    tracing::info!(
        target: TARGET,
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        via = visit.via.map(tracing::field::display),
        name = %caller.name(),
        frames = counted.frames_in,
        bytes_in = counted.bytes_in,
        bytes_out = counted.bytes_out,
        lasted = %format_args!("{:?}", counted.lasted),
        "left",
    );
}

fn cut(visit: &Visit, caller: &Caller, counted: &Counted, refused: &Refused) {
    tracing::warn!(
        target: TARGET,
        code = %refused.code(),
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        via = visit.via.map(tracing::field::display),
        name = %caller.name(),
        detail = said(refused).map(tracing::field::display),
        serial = %caller.presented().serial(),
        frames = counted.frames_in,
        bytes_in = counted.bytes_in,
        bytes_out = counted.bytes_out,
        lasted = %format_args!("{:?}", counted.lasted),
        "cut",
    );
}

fn would_refuse(visit: &Visit, caller: &Caller, refused: &Refused) {
    tracing::warn!(
        target: TARGET,
        code = %refused.code(),
        visit = visit.number,
        service = %visit.service,
        from = %visit.peer,
        name = %caller.name(),
        detail = said(refused).map(tracing::field::display),
        rule = refused.rule().map(tracing::field::display),
        serial = %caller.presented().serial(),
        "would refuse",
    );
}

fn told(warnings: &[Problem], opened: &[Opening], closed: &[Opening]) {
    warnings.iter().for_each(tell_problem);
    for Opening { service, at, exposure } in opened {
        tracing::info!(target: TARGET, %service, to = %at, %exposure, "opened");
    }
    for Opening { service, at, .. } in closed {
        tracing::info!(target: TARGET, %service, to = %at, "closed");
    }
}

/// Writes a problem to the log, with its place, code and remedy as fields.
pub fn tell_problem(problem: &Problem) {
    let place = problem.place().map(tracing::field::display);
    let (code, remedy) = (problem.fault().code(), problem.remedy());
    match problem.severity() {
        Severity::Error => {
            tracing::error!(target: TARGET, %code, place, %remedy, "{}", problem.message());
        }
        Severity::Warning => {
            tracing::warn!(target: TARGET, %code, place, %remedy, "{}", problem.message());
        }
    }
}

fn said(refused: &Refused) -> Option<&str> {
    Some(refused.detail()).filter(|detail| !detail.is_empty())
}

/// The names of a certificate, in one field; the serial number finds the rest of a long list.
fn names(presented: &Presented) -> String {
    let shown: Vec<_> = presented.names().iter().take(SHOWN).map(ToString::to_string).collect();
    shown.join(" ")
}

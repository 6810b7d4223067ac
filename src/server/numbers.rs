//! What the server is like in numbers, for Prometheus: every label is a code, a room, or a word of the configuration.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;

use super::Server;
use super::house::House;
use super::status::Reloads;
use crate::accept::{Budgets, Members, Strangers};
use crate::address::{BanList, BannedBy};
use crate::audit::{Audit, ServiceTotals};
use crate::connection::Closing;
use crate::handshake::Ending;
use crate::metrics::{Format, Kind, Page};
use crate::refusal::Refusal;
use crate::web::{Answer, Asked};

/// Counts how late the runtime is, until everything is cut.
pub(super) async fn watch_the_clock(audit: Arc<Audit>, closing: Closing) {
    while !closing.cut.is_cancelled() {
        let before = Instant::now();
        sleep(BETWEEN_TICKS).await;
        audit.was_late(before.elapsed().saturating_sub(BETWEEN_TICKS));
    }
}

/// What a page of numbers is made from. It asks nobody who may be busy.
pub(super) struct Board {
    audit: Arc<Audit>,
    began: SystemTime,
    state: Mutex<State>,
}

/// What changes with a reload.
struct State {
    strangers: Strangers,
    members: Members,
    budgets: Budgets,
    bans: Arc<BanList>,
    endings: Vec<Ending>,
    services: Vec<Arc<str>>,
    tries: bool,
    reloads: Reloads,
}

impl State {
    fn of(house: &House, reloads: &Reloads) -> Self {
        let (strangers, members, bans) = house.shared();
        let config = &house.config;
        Self {
            strangers,
            members,
            budgets: house.budgets(),
            bans,
            endings: house.handshake.endings().to_vec(),
            services: config.services.iter().map(|service| Arc::clone(&service.name)).collect(),
            tries: config.tried.is_some(),
            reloads: reloads.clone(),
        }
    }
}

impl Server {
    /// Shows the state of now to whoever reads the numbers.
    pub(super) fn post(&self) {
        let state = State::of(&self.house, &self.reloads);
        *self.board.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Board {
    pub(super) fn new(audit: &Arc<Audit>, house: &House) -> Arc<Self> {
        let state = Mutex::new(State::of(house, &Reloads::default()));
        Arc::new(Self { audit: Arc::clone(audit), began: SystemTime::now(), state })
    }

    /// What a reader of the numbers gets.
    pub(super) fn answer(&self, asked: &Asked) -> Answer {
        let format = Format::of(&asked.accept);
        if asked.path != PATH {
            return Answer::Missing;
        }
        Answer::Page(format.content_type(), self.page(format))
    }

    fn page(&self, format: Format) -> String {
        let mut page = Page::new(format);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.about_itself(&mut page, &state);
        self.about_services(&mut page, &state);
        about_seats(&mut page, &state);
        page.finish()
    }

    fn about_itself(&self, page: &mut Page, state: &State) {
        page.family(Kind::Info, "doorward_build", "The version of doorward.");
        page.row(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        let since = self.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        page.family(
            Kind::Gauge,
            "doorward_start_time_seconds",
            "When the server started, in seconds since 1970.",
        );
        page.row(&[], since.as_secs());
        page.family(
            Kind::Histogram,
            "doorward_handshake_seconds",
            "How long handshakes took that were finished.",
        );
        page.histogram(&self.audit.handshakes());
        page.family(
            Kind::Histogram,
            "doorward_event_loop_lag_seconds",
            "How late the runtime was, twice a second.",
        );
        page.histogram(&self.audit.lag());
        page.family(
            Kind::Counter,
            "doorward_audit_lost_events",
            "Events that are not in the audit log although they should be.",
        );
        page.row(&[], self.audit.lost());
        page.family(
            Kind::Counter,
            "doorward_reloads",
            "New states, by whether they were put in force.",
        );
        page.row(&[("result", "done")], state.reloads.done);
        page.row(&[("result", "refused")], state.reloads.refused);
        page.family(
            Kind::Gauge,
            "doorward_config_stale",
            "1 where the last new state was refused, so that files and state differ.",
        );
        page.row(&[], u8::from(state.reloads.stale));
        page.family(
            Kind::Gauge,
            "doorward_valid_until_timestamp_seconds",
            "When a certificate or revocation list ends, in seconds since 1970.",
        );
        // Two authorities may bear one name; the first to end is the one to look at.
        let mut ends: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for ending in &state.endings {
            let at = ends.entry((ending.of.word(), &ending.name)).or_insert(u64::MAX);
            *at = ending.at.as_secs().min(*at);
        }
        for ((of, name), at) in ends {
            page.row(&[("of", of), ("name", name)], at);
        }
    }

    fn about_services(&self, page: &mut Page, state: &State) {
        let mut counted = self.audit.services();
        let services: Vec<(&str, ServiceTotals)> = state
            .services
            .iter()
            .map(|name| (&**name, counted.remove(name).unwrap_or_default()))
            .collect();
        let mut each = |kind, name, help, value: &dyn Fn(&ServiceTotals) -> u64| {
            page.family(kind, name, help);
            for (service, totals) in &services {
                page.row(&[("service", service)], value(totals));
            }
        };
        each(Kind::Counter, "doorward_permitted", "Visitors that passed every gate.", &|totals| {
            totals.permitted
        });
        each(Kind::Gauge, "doorward_sessions", "Sessions that are open.", &|totals| {
            u64::try_from(totals.open).unwrap_or(u64::MAX)
        });
        each(Kind::Counter, "doorward_frames", "Messages that passed the frame gate.", &|totals| {
            totals.frames
        });
        each(Kind::Counter, "doorward_received_bytes", "Bytes from visitors.", &|totals| {
            totals.bytes_in
        });
        each(Kind::Counter, "doorward_sent_bytes", "Bytes to visitors.", &|totals| {
            totals.bytes_out
        });
        page.family(
            Kind::Counter,
            "doorward_refused",
            "Visitors that were refused or cut, by room and code.",
        );
        by_code(page, &services, |totals| &totals.refused);
        if state.tries {
            page.family(
                Kind::Counter,
                "doorward_would_refuse",
                "Sessions that the configuration in dry_run would have refused, by room and code.",
            );
            by_code(page, &services, |totals| &totals.would_refuse);
        }
    }
}

/// A row for every reason, also for those that never occurred: a rate needs a beginning.
fn by_code<'t>(
    page: &mut Page,
    services: &'t [(&str, ServiceTotals)],
    counts: impl Fn(&'t ServiceTotals) -> &'t BTreeMap<Refusal, u64>,
) {
    for (service, totals) in services {
        for refusal in Refusal::ALL {
            let count = counts(totals).get(refusal).copied().unwrap_or_default();
            let (room, code) = (refusal.room().word(), refusal.code());
            page.row(&[("service", service), ("room", room), ("code", code)], count);
        }
    }
}

fn about_seats(page: &mut Page, state: &State) {
    let Budgets { strangers, members, .. } = state.budgets;
    page.family(Kind::Gauge, "doorward_seats_taken", "Seats that are taken, by who sits there.");
    page.row(&[("of", "strangers")], state.strangers.seated());
    page.row(&[("of", "members")], state.members.seated());
    page.family(Kind::Gauge, "doorward_seats", "Seats there are, by who may sit there.");
    page.row(&[("of", "strangers")], strangers);
    page.row(&[("of", "members")], members);
    page.family(
        Kind::Gauge,
        "doorward_banned_networks",
        "Networks that are banned, by who banned them.",
    );
    let bans = state.bans.now();
    for by in [BannedBy::Operator, BannedBy::Refusals] {
        let count = bans.iter().filter(|(_, ban)| ban.by == by).count();
        page.row(&[("by", by.word())], count);
    }
}

/// Where the numbers are, by the custom of those who collect them.
const PATH: &str = "/metrics";
/// Often enough to notice a runtime that is stuck, seldom enough to cost nothing.
const BETWEEN_TICKS: Duration = Duration::from_millis(500);

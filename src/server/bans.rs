//! The bans of a running server: ordered by hand, found by counting refusals, kept in a file, ended by time.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use ipnet::IpNet;
use tokio::task::spawn_blocking;

use super::Server;
use crate::address::{Ban, BannedBy, Bans};
use crate::audit::Event;
use crate::bans::{Book, Caught, Members};
use crate::config::Config;
use crate::peer::{PeerAddr, PeerText, Source};
use crate::problem::{Fault, Problem};

/// What is remembered about the bans, besides the bans.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    book: Option<Book>,
    /// Whether the book does not say what holds.
    changed: bool,
    /// Whether it was said that the book cannot be written.
    told: bool,
    /// Whether it was said that there are as many bans as may be.
    full: bool,
}

impl Keeping {
    /// What a configuration asks for, with the bans of the run before.
    pub(super) fn open(config: &Config) -> Result<(Self, Bans), Problem> {
        let Some(state) = &config.bans.state else { return Ok((Self::default(), Bans::default())) };
        let (book, bans) = Book::open(state, SystemTime::now())?;
        Ok((Self { book: Some(book), ..Self::default() }, bans))
    }
}

impl Server {
    /// Proves that the bans can be kept.
    pub(super) fn prove_book(&self) -> Result<(), Problem> {
        let (Some(book), Some(state)) = (&self.keeping.book, &self.house.config.bans.state) else {
            return Ok(());
        };
        book.write(&self.house.bans().now()).map_err(|problem| problem.at(&state.place))
    }

    /// Bans a network because an operator says so, and judges every live session by that.
    pub(super) async fn ban(&mut self, network: IpNet, ban: Ban) -> Result<(), Problem> {
        let network = network.trunc();
        if !self.house.bans().change(|bans| bans.add(network, ban.clone())) {
            return Err(too_many_bans());
        }
        self.house.judge_again();
        self.house.filter_anew();
        self.audit.record(Event::Banned(network, ban), Instant::now());
        self.keeping.changed = true;
        self.keep_bans().await;
        Ok(())
    }

    /// Ends a ban because an operator says so.
    pub(super) async fn lift(&mut self, network: IpNet) -> Result<(), Problem> {
        let lifted = self.house.bans().change(|bans| bans.lift(network));
        let ban = lifted.ok_or_else(|| not_banned(network))?;
        self.house.filter_anew();
        self.audit.record(Event::Lifted(network.trunc(), ban), Instant::now());
        self.keeping.changed = true;
        self.keep_bans().await;
        Ok(())
    }

    /// Ends what is over, and bans who went too far. What changed is kept.
    pub(super) async fn look_after_bans(&mut self) {
        let now = SystemTime::now();
        let over = self.house.bans().change(|bans| bans.expire(now));
        let ended = !over.is_empty();
        for (network, ban) in over {
            self.keeping.changed = true;
            self.audit.record(Event::Expired(network, ban), Instant::now());
        }
        let caught = self.audit.suspects().caught();
        let changes = ended || !caught.is_empty();
        if !caught.is_empty() {
            self.ban_caught(caught, now);
        }
        if changes {
            self.house.filter_anew();
        }
        self.keep_bans().await;
    }

    /// Follows the bans of a new configuration.
    pub(super) fn follow_bans(&mut self) {
        let settings = &self.house.config.bans;
        self.audit.suspects().follow(settings);
        let mistaken = |(network, ban): &(&IpNet, &Ban)| {
            ban.by == BannedBy::Refusals && settings.spares(network)
        };
        let now = self.house.bans().now();
        let mut lifted = false;
        for (network, ban) in now.iter().filter(mistaken) {
            self.house.bans().change(|bans| bans.lift(*network));
            self.keeping.changed = true;
            self.audit.record(Event::Lifted(*network, ban.clone()), Instant::now());
            lifted = true;
        }
        if lifted {
            self.house.filter_anew();
        }
    }

    /// Writes the bans where they are kept, if they changed. Where that fails it is tried again, once a second.
    pub(super) async fn keep_bans(&mut self) {
        let Some(book) = self.keeping.book.clone().filter(|_| self.keeping.changed) else { return };
        let bans = self.house.bans().now();
        let written = spawn_blocking(move || book.write(&bans)).await;
        match written {
            Ok(Ok(())) => {
                self.keeping.changed = false;
                if std::mem::take(&mut self.keeping.told) {
                    tracing::info!("the bans are kept again");
                }
            }
            Ok(Err(problem)) => {
                if !std::mem::replace(&mut self.keeping.told, true) {
                    tracing::error!(%problem, "the bans hold, and a restart would forget the last of them");
                }
            }
            // The runtime is going down; the file is whole in any case.
            Err(_) => {}
        }
    }

    fn ban_caught(&mut self, caught: BTreeMap<Source, Caught>, now: SystemTime) {
        let settings = self.house.config.bans.clone();
        let Some(until) = now.checked_add(settings.span) else { return };
        let present: Vec<Source> = match settings.members {
            Members::Banned => Vec::new(),
            Members::Spared => {
                self.audit.present().iter().map(|session| session.visit.peer.source()).collect()
            }
        };
        let by_refusals = |(_, ban): &(&IpNet, &Ban)| ban.by == BannedBy::Refusals;
        let mut own = self.house.bans().now().iter().filter(by_refusals).count();
        for (source, caught) in caught {
            let network = source.network();
            let first = PeerAddr::new((source.ip(), 0).into());
            let banned = self.house.bans().judge(first, now).is_err();
            if banned || present.contains(&source) || settings.spares(&network) {
                continue;
            }
            let why = format!(
                "{} refusals within {:?}, the last {}",
                caught.limit.count, caught.limit.within, caught.last
            );
            let ban = Ban { until, why: PeerText::from(why.as_str()), by: BannedBy::Refusals };
            let room = own < settings.most;
            if !room || !self.house.bans().change(|bans| bans.add(network, ban.clone())) {
                self.say_full(settings.most);
                break;
            }
            own = own.saturating_add(1);
            self.keeping.changed = true;
            self.keeping.full = false;
            self.audit.record(Event::Banned(network, ban), Instant::now());
        }
        // A spared member's session has nothing to fear, and judging thousands of them each second is work for an attacker.
        if settings.members == Members::Banned {
            self.house.judge_again();
        }
    }

    fn say_full(&mut self, most: usize) {
        if !std::mem::replace(&mut self.keeping.full, true) {
            tracing::warn!(
                most,
                "as many networks are banned for their refusals as may be: the rest is the work of a firewall"
            );
        }
    }
}

fn too_many_bans() -> Problem {
    let what = format!("{} networks are banned already", Bans::MOST);
    let remedy = "lift some, ban a wider network, or leave so many to a firewall";
    Problem::error(Fault::AddressTooManyBans, what, remedy)
}

fn not_banned(network: IpNet) -> Problem {
    let remedy = "doorward ban --list shows every ban; name the network as it stands there";
    Problem::error(Fault::AddressNotBanned, format!("{network} is not banned"), remedy)
}

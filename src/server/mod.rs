//! The server: every listener with its rooms, from the first visitor to the last goodbye.

mod bans;
mod calendar;
mod control;
mod doors;
mod filter;
mod house;
mod needs;
mod numbers;
mod outlet;
mod page;
mod prepare;
mod renewal;
pub mod status;
mod watch;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::UnixTime;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::accept::Budgets;
use crate::audit::{Audit, Event, Record};
use crate::config::Config;
use crate::connection::Closing;
use crate::problem::{Fault, Problem};
use crate::sandbox::Sandbox;
use crate::service::Service;
use crate::web::Asked;

use bans::Keeping;
use calendar::Calendar;
pub use control::{Control, Lent, Loan};
use control::{Order, Orders, stopping};
use house::{Change, House};
pub use needs::needs;
use numbers::{Board, watch_the_clock};
use outlet::Outlet;
use page::Page;
pub use prepare::check;
use prepare::{Ready, prepare};
use renewal::Renewal;
use status::{Reloads, Status};
use watch::Watch;

/// A server whose sockets are open and whose files are read: nothing is left that could refuse.
///
/// Nobody is let in before [`Server::run`].
pub struct Server {
    house: House,
    watch: Watch,
    audit: Arc<Audit>,
    control: Control,
    orders: Orders,
    warnings: Vec<Problem>,
    reloads: Reloads,
    keeping: Keeping,
    numbers: Option<Outlet>,
    board: Arc<Board>,
    page: Option<(Outlet, Page)>,
    began: Instant,
    renewal: Option<AbortOnDropHandle<()>>,
}

impl Server {
    /// Reads the files of the configuration, opens its sockets, and holds it against the machine.
    ///
    /// # Errors
    /// Every problem that [`check`] finds, or a socket the system refuses. Nothing stays open then.
    pub fn open(config: &Config) -> Result<Self, Vec<Problem>> {
        Self::succeed(config, Vec::new())
    }

    /// As [`Server::open`], with the sockets of a server that goes on listening on them until this one serves.
    ///
    /// A socket that is wanted passes the same policy as an own one. One that nobody wants is closed here, and
    /// a port of 0 is never one of them.
    ///
    /// # Errors
    /// As [`Server::open`].
    pub fn succeed(config: &Config, sockets: Vec<TcpListener>) -> Result<Self, Vec<Problem>> {
        Renewal::revive(config);
        let watch = Watch::new(&config.files());
        let ready = prepare(config, None)?;
        let (keeping, bans) = Keeping::open(config).map_err(|problem| vec![problem])?;
        let (house, warnings) = House::open(Arc::new(config.clone()), ready, bans, sockets)?;
        let (control, orders) = control::pair();
        let (audit, reloads, began) = (Arc::<Audit>::default(), Reloads::default(), Instant::now());
        let one = |problem| vec![problem];
        let numbers = Outlet::open(config, config.metrics.as_ref()).map_err(one)?;
        let board = Board::new(&audit, &house);
        let page = match Outlet::open(config, config.status.as_ref()).map_err(one)? {
            Some(outlet) => {
                Some((outlet, Page::new(control.clone(), Arc::clone(&audit)).map_err(one)?))
            }
            None => None,
        };
        let renewal = None;
        let mut server = Self {
            house,
            watch,
            audit,
            control,
            orders,
            warnings,
            reloads,
            keeping,
            numbers,
            board,
            page,
            began,
            renewal,
        };
        server.follow_bans();
        Ok(server)
    }

    /// The same server, with an own service behind the door that the configuration calls `name`.
    ///
    /// Gates, listeners and frames stay as configured, and may change by a reload; `kind` is replaced.
    /// An unknown name changes nothing, and is answered with `None`.
    #[must_use]
    pub fn with_service(mut self, name: &str, service: impl Service) -> Option<Self> {
        self.house.replace(name, Arc::new(service)).then_some(self)
    }

    /// The same server, in a process that has given up what `sandbox` says. A new configuration that needs more
    /// than is left is refused from now on.
    #[must_use]
    pub fn within(mut self, sandbox: &Sandbox) -> Self {
        self.house.sandbox = Some(sandbox.clone());
        self
    }

    /// The sockets that are open, each with the name of its service.
    pub fn listeners(&self) -> impl Iterator<Item = (Arc<str>, SocketAddr)> {
        self.house.doors.list()
    }

    /// Where the numbers of the server are read.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.numbers.as_ref().map(Outlet::at)
    }

    /// Where a person looks at the server in a browser, with the token that has to be in the address.
    #[must_use]
    pub fn status_page(&self) -> Option<(SocketAddr, &str)> {
        self.page.as_ref().map(|(outlet, page)| (outlet.at(), page.token()))
    }

    /// The sockets at which the kernel itself drops whoever the address list refuses.
    pub fn filtered(&self) -> impl Iterator<Item = SocketAddr> {
        self.house.doors.filtered()
    }

    /// The budgets in force, which the descriptor limit may have lowered.
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        self.house.budgets()
    }

    /// What the operator should know although the server is ready.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Opens the audit log that the configuration asks for, and makes sure that bans can be kept. [`Server::run`]
    /// does it otherwise; a process that enters a sandbox asks for it then, when it is known what can be written
    /// later.
    ///
    /// # Errors
    /// As [`Record::open`]; [`Fault::BansUnwritable`].
    pub fn open_books(&self) -> Result<(), Problem> {
        self.prove_book()?;
        if let Some(settings) = &self.house.config.record
            && !self.audit.is_kept()
        {
            self.audit.keep(Record::open(settings)?);
        }
        Ok(())
    }

    /// The record, to listen to.
    #[must_use]
    pub fn audit(&self) -> Arc<Audit> {
        Arc::clone(&self.audit)
    }

    /// What changes and ends the server while it runs.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Lets visitors in until it is stopped, then lets their sessions finish. Needs a tokio runtime with
    /// its network and time drivers.
    ///
    /// # Errors
    /// An audit log that cannot be opened, or a listening socket that broke: the server stops, because it would
    /// guard less than it says.
    pub async fn run(mut self) -> Result<(), Problem> {
        self.open_books()?;
        let visitors = TaskTracker::new();
        let closing = self.control.closing().clone();
        self.house.let_in(Arc::clone(&self.audit), closing.clone(), visitors.clone())?;
        let clock = tokio::spawn(watch_the_clock(Arc::clone(&self.audit), closing.clone()));
        let _clock = AbortOnDropHandle::new(clock);
        let _outlets = self.open_pages();
        let mut broken = None;
        if let Err(problem) = self.keep(&closing).await {
            broken = Some(problem);
            self.control.drain();
        }
        visitors.close();
        self.while_they_leave(&visitors, &closing.drain).await;
        self.control.drain();
        self.while_they_leave(&visitors, &closing.cut).await;
        self.orders.close();
        closing.cut.cancel();
        // Whoever is left is told goodbye, which has its own deadlines; this one is for the rest.
        drop(timeout(LAST_GOODBYES, visitors.wait()).await);
        self.keep_bans().await;
        let audit = Arc::clone(&self.audit);
        // It may wait for a disk.
        drop(spawn_blocking(move || audit.close()).await);
        broken.map_or(Ok(()), Err)
    }

    /// Answers whoever reads the numbers and the status page, until what it returns is dropped.
    fn open_pages(&mut self) -> Vec<AbortOnDropHandle<Result<(), Problem>>> {
        let board = Arc::clone(&self.board);
        let numbers = self.numbers.take().map(|outlet| {
            let answer = move |asked: Asked| std::future::ready(board.answer(&asked));
            tokio::spawn(outlet.run(answer))
        });
        let page = self.page.take().map(|(outlet, page)| {
            let page = Arc::new(page);
            let answer = move |asked: Asked| {
                let page = Arc::clone(&page);
                async move { page.answer(&asked).await }
            };
            tokio::spawn(outlet.run(answer))
        });
        numbers.into_iter().chain(page).map(AbortOnDropHandle::new).collect()
    }

    /// Waits for the last visitor, for the time that a drain has, or until `enough` is said.
    async fn while_they_leave(&mut self, visitors: &TaskTracker, enough: &CancellationToken) {
        let late = sleep(self.house.config.drain);
        tokio::pin!(late);
        loop {
            tokio::select! {
                () = visitors.wait() => return,
                () = &mut late => return,
                () = enough.cancelled() => return,
                order = self.orders.next() => self.obey_draining(order),
            }
        }
    }

    /// Looks after doors, files and orders until the server drains or a door breaks.
    async fn keep(&mut self, closing: &Closing) -> Result<(), Problem> {
        let mut every = interval(BETWEEN_LOOKS);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut calendar = Calendar::default();
        self.renew(closing);
        loop {
            let order = tokio::select! {
                biased;
                () = closing.retire.cancelled() => return Ok(()),
                ended = self.house.doors.ended() => {
                    ended?;
                    continue;
                }
                order = self.orders.next() => Some(order),
                _ = every.tick() => None,
            };
            if let Some(order) = order {
                self.obey(order, closing).await;
                continue;
            }
            self.look(closing).await;
            calendar.tell(self.house.handshake.endings(), UnixTime::now());
        }
    }

    /// Looks after the server's own certificate from now on, where the configuration asks for that.
    fn renew(&mut self, closing: &Closing) {
        let renewal = Renewal::of(&self.house.config);
        let task = renewal.map(|renewal| tokio::spawn(renewal.run(closing.clone())));
        self.renewal = task.map(AbortOnDropHandle::new);
    }

    async fn obey(&mut self, order: Order, closing: &Closing) {
        match order {
            Order::Reload(answer) => answer.give(self.reload(closing).await),
            Order::Status(answer) => answer.give(self.status()),
            Order::Sockets(answer) => answer.give(self.house.doors.lend()),
            Order::Ban(network, ban, answer) => answer.give(self.ban(network, ban).await),
            Order::Lift(network, answer) => answer.give(self.lift(network).await),
        }
    }

    /// What may still be asked while the last sessions finish.
    fn obey_draining(&self, order: Order) {
        match order {
            Order::Status(answer) => answer.give(Status { draining: true, ..self.status() }),
            Order::Reload(answer) => answer.give(Err(vec![stopping()])),
            Order::Sockets(answer) => answer.give(Ok(Lent::default())),
            Order::Ban(_, _, answer) | Order::Lift(_, answer) => answer.give(Err(stopping())),
        }
    }

    fn status(&self) -> Status {
        Status::of(&self.house, &self.audit, &self.reloads, self.began.elapsed())
    }

    /// What is done once a second.
    async fn look(&mut self, closing: &Closing) {
        self.audit.summarise(Instant::now());
        self.audit.remember(SystemTime::now(), Instant::now());
        self.look_after_bans().await;
        self.house.take_back();
        if let Some(Change { warnings, opened, closed }) = self.house.look_around().await {
            self.audit.record(Event::Rebound { warnings, opened, closed }, Instant::now());
        }
        if self.house.config.source.watch && self.watch.has_settled().await {
            // The record tells how it went.
            drop(self.reload(closing).await);
        }
    }

    /// Reads everything anew. All or nothing: where the new state has a problem, the old one serves on.
    async fn reload(&mut self, closing: &Closing) -> Result<Vec<Problem>, Vec<Problem>> {
        // Whatever becomes of the new state: who renamed the log has it renamed.
        self.audit.reopen();
        let began = SystemTime::now();
        let certs = self.house.config.certs.clone();
        let mut files = self.house.config.files();
        let outcome = match self.read().await {
            Ok((config, ready)) => {
                files.extend(config.files());
                self.house.reload(Arc::new(config), ready).await
            }
            Err((problems, named)) => {
                files.extend(named);
                Err(problems)
            }
        };
        if outcome.is_ok() {
            files = self.house.config.files();
            self.follow_bans();
            if self.house.config.certs != certs {
                self.renew(closing);
            }
        }
        self.watch.follow(&files, began);
        self.reloads.last = Some(status::moment(began));
        self.reloads.stale = outcome.is_err();
        let count =
            if outcome.is_ok() { &mut self.reloads.done } else { &mut self.reloads.refused };
        *count = count.saturating_add(1);
        self.post();
        let (event, answer) = match outcome {
            Ok(Change { warnings, opened, closed }) => {
                (Event::Reloaded { warnings: warnings.clone(), opened, closed }, Ok(warnings))
            }
            Err(problems) => (Event::Kept(problems.clone()), Err(problems)),
        };
        self.audit.record(event, Instant::now());
        answer
    }

    /// The state that the files describe now. Where they change while they are read, they are read again.
    async fn read(&mut self) -> Read {
        let mut tries = 0_u8;
        loop {
            self.watch.about_to_read().await;
            let running = Arc::clone(&self.house.config);
            let sandbox = self.house.sandbox.clone();
            let read = spawn_blocking(move || read(&running, sandbox.as_ref())).await;
            let read =
                read.unwrap_or_else(|panic| Err((vec![unread(&panic.to_string())], Vec::new())));
            tries = tries.saturating_add(1);
            if read.is_ok() || tries == MOST_TRIES || !self.watch.changed_meanwhile().await {
                return read;
            }
        }
    }
}

/// A state that is ready, or its problems and the files it names.
type Read = Result<(Config, Ready), (Vec<Problem>, Vec<PathBuf>)>;

fn read(running: &Config, sandbox: Option<&Sandbox>) -> Read {
    let (mut config, mut warnings) = match &running.source.file {
        Some(file) => Config::read(file).map_err(|problems| (problems, Vec::new()))?,
        None => (running.clone(), Vec::new()),
    };
    config.keep_programs(&running.keeper);
    let lacks = sandbox.map(|sandbox| sandbox.lacks(&needs(&config))).unwrap_or_default();
    if !lacks.is_empty() {
        warnings.extend(lacks);
        return Err((warnings, config.files()));
    }
    match prepare(&config, Some(running)) {
        Ok(mut ready) => {
            warnings.append(&mut ready.warnings);
            ready.warnings = warnings;
            Ok((config, ready))
        }
        Err(problems) => {
            warnings.extend(problems);
            Err((warnings, config.files()))
        }
    }
}

fn unread(panic: &str) -> Problem {
    let remedy = "this is a fault of the program: report it with the configuration that caused it";
    Problem::error(
        Fault::ConfigUnreadable,
        format!("reading the new state failed: {panic}"),
        remedy,
    )
}

/// A setting that is read when the process starts, and not again.
fn after_a_restart(setting: &str) -> Problem {
    let what = format!("{setting} changed, which counts after a restart only");
    Problem::warning(Fault::ConfigBadValue, what, "restart when it suits, or change it back")
}

/// How often the server looks after its files and interfaces.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// A certificate and its key are two files: whoever swaps them has done so before the third look.
const MOST_TRIES: u8 = 3;
/// Somewhat longer than one goodbye may take.
const LAST_GOODBYES: Duration = Duration::from_secs(3);

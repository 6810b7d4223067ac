//! Forward: the session goes on to an upstream, byte for byte, half-closes kept.

mod announce;
mod dial;
mod health;
mod relay;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::{Frames, Service, Serving, Upkeep};
use crate::identity::Caller;
use crate::problem::Problem;
use crate::refusal::Refused;
use dial::{Dial, Line};
use health::{Health, Moment};

pub use announce::Announce;
pub use upstream::{Endpoint, Upstream};

/// What a service of `kind = "forward"` is, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardSettings {
    /// Where to.
    pub to: Upstream,
    /// How long the upstream may take to be ready: connected, and in TLS where there is TLS.
    pub connect_deadline: Duration,
    /// How often the upstream is tried while nobody uses it; none means never.
    pub health: Option<Duration>,
    /// What the upstream is told of a caller.
    pub proxy: Announce,
}

/// Connects every session to an upstream. What the visitor says passes the frame gate and goes on
/// unchanged; what the upstream answers goes back as it is, or through the frame gate where the frame
/// policy asks for that.
///
/// While the upstream is down, members are told so at once and one at a time tries it again.
#[derive(Debug)]
pub struct Forward {
    service: Arc<str>,
    upstream: String,
    dial: Dial,
    connect_deadline: Duration,
    checked_every: Option<Duration>,
    announce: Announce,
    health: Health,
}

impl Forward {
    /// The forward that `settings` describe, for the service of that name, with warnings. Connects to
    /// nothing yet.
    ///
    /// # Errors
    /// Every problem of the files it names.
    pub fn open(
        settings: &ForwardSettings,
        service: &Arc<str>,
        now: UnixTime,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (dial, warnings) = Dial::load(&settings.to, now)?;
        let upstream = settings.to.to_string();
        let health = Health::new(service, &upstream);
        let forward = Self {
            service: Arc::clone(service),
            upstream,
            dial,
            connect_deadline: settings.connect_deadline,
            checked_every: settings.health,
            announce: settings.proxy,
            health,
        };
        Ok((forward, warnings))
    }

    /// A line for this caller. The member that finds the upstream down waits for a restart within the
    /// deadline; everybody after it is told at once.
    async fn connect(&self, caller: &Caller) -> Result<Line, Refused> {
        let greeting = self.announce.header(caller, &self.service)?;
        let until = self.deadline();
        let mut attempt = self.health.begin(Moment::now())?;
        let may_wait = !attempt.is_in_outage();
        loop {
            let broken = match self.dial.reach(&greeting, until).await {
                Ok(line) => {
                    attempt.succeeded(Moment::now());
                    return Ok(line);
                }
                Err(broken) => broken,
            };
            let next = attempt.failed(&broken.to_string(), Moment::now());
            let next = next.filter(|next| may_wait && broken.may_be_a_restart() && *next < until);
            match next {
                Some(next) => sleep_until(next).await,
                None => return Err(broken.refusal(&self.upstream)),
            }
        }
    }

    /// Looks whether the upstream is up, unless a member is just finding out.
    async fn check(&self) {
        let Ok(mut attempt) = self.health.begin(Moment::now()) else { return };
        match self.dial.reach(&self.announce.own(), self.deadline()).await {
            Ok(mut line) => {
                attempt.succeeded(Moment::now());
                // A goodbye that the upstream does not take is none of our trouble.
                drop(timeout(LONGEST_GOODBYE, line.shutdown()).await);
            }
            Err(broken) => drop(attempt.failed(&broken.to_string(), Moment::now())),
        }
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.connect_deadline).unwrap_or(now)
    }
}

impl Service for Forward {
    fn serve<'a>(&'a self, caller: &'a Caller, frames: &'a mut Frames) -> Serving<'a> {
        Box::pin(async move {
            let line = self.connect(caller).await?;
            relay::relay(frames, line).await?;
            Ok(())
        })
    }

    /// The upstream's protocol is not ours to speak in.
    fn reports_refusals(&self) -> bool {
        false
    }

    /// The checks, so that it is known whether the upstream is up before the first member asks.
    fn look_after(&self) -> Upkeep<'_> {
        Box::pin(async move {
            let Some(every) = self.checked_every else { return };
            let mut due = interval(every);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                due.tick().await;
                self.check().await;
            }
        })
    }
}

/// `close_notify` goes into any socket buffer but a full one.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

//! What systemd wants to hear: that the service is ready, what it does, and that it is still alive.
//!
//! It is the protocol of `sd_notify(3)`, which other service managers speak too. Where nobody listens, nothing
//! is said.

#[cfg(target_os = "linux")]
use std::time::Duration;

#[cfg(target_os = "linux")]
use sd_notify::NotifyState;

/// Whoever started this service and waits for news of it.
#[derive(Clone, Copy, Debug)]
pub struct Systemd {
    #[cfg(target_os = "linux")]
    watchdog: Option<Duration>,
}

#[cfg(target_os = "linux")]
impl Systemd {
    /// Whom the environment names, if anybody.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled().filter(|within| !within.is_zero()) }
    }

    /// The service works; `status` is a sentence about it. To be said at the start, and after a reload.
    pub fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// The service takes up a new configuration. [`Systemd::ready`] ends that, whether it was taken up or not.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => {
                tell(&[NotifyState::Reloading, now]);
            }
            // Without the time, systemd would take the message for a failure.
            Err(error) => tracing::warn!(%error, "systemd cannot be told of the reload"),
        }
    }

    /// The service takes nobody new, and ends when the sessions have.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Says again and again that the runtime still runs, at half of the time that systemd gives it.
    ///
    /// It has to be a task of the runtime that serves: a runtime that is stuck misses it, and is restarted. It
    /// returns at once where nobody asked for it.
    pub async fn live(self) {
        let Some(within) = self.watchdog else { return };
        let mut every = tokio::time::interval(within.checked_div(2).unwrap_or(within));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while tell(&[NotifyState::Watchdog]) {
            every.tick().await;
        }
    }
}

/// Other systems have other service managers, which wait for nothing.
#[cfg(not(target_os = "linux"))]
impl Systemd {
    /// Nobody.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {}
    }

    /// Nobody listens.
    pub fn ready(&self, _: &str) {}

    /// Nobody listens.
    pub fn reloading(&self) {}

    /// Nobody listens.
    pub fn stopping(&self) {}

    /// Nobody watches.
    #[expect(clippy::unused_async, reason = "the same shape as where somebody watches")]
    pub async fn live(self) {}
}

/// Whether it could be said. A service manager that went away is no reason to stop.
#[cfg(target_os = "linux")]
fn tell(news: &[NotifyState<'_>]) -> bool {
    match sd_notify::notify(news) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "systemd cannot be told how the service is");
            false
        }
    }
}

/// A line break would begin another message.
#[cfg(target_os = "linux")]
fn one_line(status: &str) -> String {
    status.replace(|c: char| c.is_control(), " ")
}

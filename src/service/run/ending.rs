//! How a program ends: by itself, or with its session, and never later than its grace.

use std::time::Duration;

use tokio::process::Child;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::refusal::{Refusal, Refused};

/// A program that was started. Dropping it ends the program: it is asked to first, then made to.
///
/// Its seat is given back when nothing of it is left.
#[derive(Debug)]
pub(super) struct Running {
    left: Option<Left>,
}

/// What has to be ended.
#[derive(Debug)]
struct Left {
    child: Child,
    group: Group,
    /// Reads the program's standard error. A keeper lives as long as somebody does.
    said: JoinHandle<()>,
    grace: Duration,
    kept: bool,
    seat: OwnedSemaphorePermit,
}

impl Running {
    pub(super) fn new(
        child: Child,
        said: JoinHandle<()>,
        grace: Duration,
        seat: OwnedSemaphorePermit,
        kept: bool,
    ) -> Self {
        let group = Group::of(&child);
        Self { left: Some(Left { child, group, said, grace, kept, seat }) }
    }

    /// Waits until the program has ended by itself.
    ///
    /// # Errors
    /// [`Refusal::ServiceFailed`] where its exit status is not 0, or a signal ended it.
    pub(super) async fn exited(&mut self) -> Result<(), Refused> {
        let Some(left) = &mut self.left else { return Ok(()) };
        let ended = left.child.wait().await;
        // A keeper leaves nobody behind, unless somebody killed the keeper.
        left.group.kill();
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                Err(Refusal::ServiceFailed.because(format!("the program ended with {status}")))
            }
            Err(error) => {
                Err(Refusal::ServiceFailed.because(format!("the program is lost: {error}")))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without a runtime the pipes are closed already, which is what a keeper waits for.
        if let (Some(left), Ok(runtime)) = (self.left.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(left.end());
        }
    }
}

impl Left {
    /// Asks, waits, and kills. The standard streams of the program are closed by now.
    async fn end(mut self) {
        if self.child.id().is_some() {
            self.group.terminate();
            // Either way the grace is over.
            drop(timeout(self.grace, self.child.wait()).await);
        }
        if self.child.id().is_none() {
            // It may have said why.
            drop(timeout(LAST_WORDS, &mut self.said).await);
        }
        // A keeper whose words nobody reads any more kills whatever is left, and then ends.
        if !self.said.is_finished() {
            self.said.abort();
            drop((&mut self.said).await);
        }
        if self.kept && timeout(LONGEST_KILLING, self.child.wait()).await.is_ok() {
            return;
        }
        // A keeper that was stopped or is held up takes its program along when it dies.
        self.group.kill();
        drop(self.child.kill().await);
        drop(self.seat);
    }
}

/// The process group of a program or of its keeper.
#[derive(Debug)]
struct Group {
    #[cfg(unix)]
    leader: Option<nix::unistd::Pid>,
}

#[cfg(unix)]
impl Group {
    fn of(child: &Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok());
        Self { leader: leader.map(nix::unistd::Pid::from_raw) }
    }

    fn terminate(&self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
    }

    fn kill(&self) {
        self.signal(nix::sys::signal::Signal::SIGKILL);
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        // A group that is gone already is what was wanted.
        if let Some(leader) = self.leader {
            nix::sys::signal::killpg(leader, signal).unwrap_or_default();
        }
    }
}

/// There are no process groups: the program alone is ended, after its grace.
#[cfg(not(unix))]
impl Group {
    fn of(_: &Child) -> Self {
        Self {}
    }

    #[expect(clippy::unused_self, reason = "the same shape as on systems with groups")]
    fn terminate(&self) {}

    #[expect(clippy::unused_self, reason = "the same shape as on systems with groups")]
    fn kill(&self) {}
}

/// What stands in a pipe is read in an instant; only a process that escaped keeps it open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// A keeper kills in milliseconds; a process that waits for a broken disk may take its time.
const LONGEST_KILLING: Duration = Duration::from_secs(5);

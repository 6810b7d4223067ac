//! The programs of one service, as they are started and talked to.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::command::Resolved;
use super::ending::Running;
use super::talk::{Dialect, from_program, to_program};
use super::{KEEP_PROGRAM, Keeper, Run};
use crate::identity::Caller;
use crate::problem::{Problem, Severity};
use crate::refusal::{Refusal, Refused};
use crate::service::{Frames, Service, Serving};

/// A service that starts a program for each session. Its command was found, its limits are set.
///
/// The session ends when the program does: with `close_notify` where its exit status is 0, and with
/// `service.failed` where it is not. Whatever else the session ends by, the program is asked to end
/// (its standard input is closed, SIGTERM goes to its process group), and killed after its grace.
#[derive(Debug)]
pub struct Programs {
    run: Run,
    found: Resolved,
    /// Decided once: a keeper that is missing later is no reason to go without.
    keeper: Option<PathBuf>,
    service: Arc<str>,
    seats: Arc<Semaphore>,
}

impl Programs {
    /// Finds the program. The service is called `service` in the log and in the program's environment.
    ///
    /// # Errors
    /// [`Fault::ServiceBadCommand`] where the program cannot be found or run, or its directory not be
    /// entered; [`Fault::ServiceUnkept`] where limits are written and nobody is there to hold them.
    ///
    /// [`Fault::ServiceBadCommand`]: crate::problem::Fault::ServiceBadCommand
    /// [`Fault::ServiceUnkept`]: crate::problem::Fault::ServiceUnkept
    pub fn open(run: &Run, service: &Arc<str>) -> Result<Self, Problem> {
        if let Some(problem) = run.unkept()
            && problem.severity() == Severity::Error
        {
            return Err(problem);
        }
        let keeper = match &run.keeper {
            Keeper::At(keeper) if run.keeper.holds() => Some(keeper.clone()),
            Keeper::At(_) | Keeper::Absent => None,
        };
        let seats = run.limits.programs.get().min(Semaphore::MAX_PERMITS);
        Ok(Self {
            found: run.resolve()?,
            run: run.clone(),
            keeper,
            service: Arc::clone(service),
            seats: Arc::new(Semaphore::new(seats)),
        })
    }

    /// A seat is free again once nothing of its program is left.
    fn seat(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let full =
            |_| Refusal::ServiceBusy.because(format!("{} programs run", self.run.limits.programs));
        Arc::clone(&self.seats).try_acquire_owned().map_err(full)
    }

    fn start(
        &self,
        caller: &Caller,
        visit: u64,
    ) -> Result<(Running, ChildStdin, ChildStdout), Refused> {
        let seat = self.seat()?;
        let cannot = |why: &dyn std::fmt::Display| {
            Refusal::ServiceFailed.because(format!("the program cannot be started: {why}"))
        };
        let kept = self.keeper.is_some();
        let mut command = self.command();
        self.environment(&mut command, caller, visit);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A keeper ends what it keeps, and has to live as long as that takes.
        command.kill_on_drop(!kept);
        #[cfg(unix)]
        if !kept {
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|error| cannot(&error))?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
            return Err(cannot(&"it has no streams"));
        };
        let said = super::said::record(stderr, Arc::clone(&self.service), visit);
        let running = Running::new(child, tokio::spawn(said), self.run.grace, seat, kept);
        Ok((running, stdin, stdout))
    }

    /// The program itself, or the keeper that will run it.
    fn command(&self) -> Command {
        let mut command = if let Some(keeper) = &self.keeper {
            let limits = &self.run.limits;
            let mut command = Command::new(keeper);
            command.args([KEEP_PROGRAM, "keep"]);
            command.arg(limits.memory.to_string());
            command.arg(limits.cpu.as_secs().to_string());
            command.arg(limits.files.to_string());
            command.arg(&self.found.program);
            command
        } else {
            Command::new(&self.found.program)
        };
        command.args(&self.run.arguments);
        if let Some(directory) = &self.found.directory {
            command.current_dir(directory);
        }
        command
    }

    /// Nothing of the server's own environment, which may hold its secrets.
    fn environment(&self, command: &mut Command, caller: &Caller, visit: u64) {
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").envs(&self.run.environment);
        let peer = caller.peer();
        command
            .env("DOORWARD_NAME", caller.name().to_string())
            .env("DOORWARD_ADDRESS", peer.ip().to_string())
            .env("DOORWARD_PORT", peer.port().to_string())
            .env("DOORWARD_RULE", caller.rule().to_string())
            .env("DOORWARD_SERVICE", &*self.service)
            .env("DOORWARD_SESSION", visit.to_string());
    }

    async fn talk(
        &self,
        running: &mut Running,
        frames: &mut Frames,
        stdin: impl AsyncWrite + Unpin,
        stdout: impl AsyncRead + Unpin,
    ) -> Result<(), Refused> {
        let dialect = Dialect::new(self.run.streams, frames.policy());
        let (idle, said_all, heard_all) = (frames.idle(), AtomicBool::new(false), Notify::new());
        let (reader, writer) = frames.halves();
        let up = async {
            to_program(reader, stdin, &dialect, &said_all).await?;
            heard_all.notified().await;
            // Neither side has anything left to say; a program that stays all the same is ended.
            sleep(self.run.grace).await;
            Ok(())
        };
        let down = async {
            from_program(stdout, writer, &dialect, idle, &said_all).await?;
            heard_all.notify_one();
            Ok(())
        };
        tokio::select! {
            biased;
            over = async { tokio::try_join!(running.exited(), down) } => over.map(drop),
            over = up => over,
        }
    }
}

impl Service for Programs {
    fn serve<'a>(&'a self, caller: &'a Caller, frames: &'a mut Frames) -> Serving<'a> {
        Box::pin(async move {
            let (mut running, stdin, stdout) = self.start(caller, frames.visit())?;
            self.talk(&mut running, frames, stdin, stdout).await?;
            Ok(())
        })
    }
}

/// Where programs find others, whoever started the server and from which shell.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

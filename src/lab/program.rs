//! The learner's own program, in whatever language, as a child that cannot outlive the check.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use doorward::peer::PeerText;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::confine;
use super::stage::Stop;

/// A program that runs. When it is dropped, it is killed with everything it started.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    group: Option<u32>,
    /// Whether it is this program.
    is_own: bool,
    confines: bool,
    started: Instant,
    output: Arc<Said>,
    errors: Arc<Said>,
}

/// What it said so far, of which no more than [`MOST_SAID`] is kept.
#[derive(Debug, Default)]
struct Said {
    bytes: Mutex<Vec<u8>>,
    more: Notify,
    /// Whether its end was read.
    over: AtomicBool,
}

impl Program {
    /// Starts `command` in `folder`; its first word may be `doorward`, which is this program.
    ///
    /// # Errors
    /// [`Stop::Yours`] where it cannot be started.
    pub(crate) fn start(
        role: &str,
        command: &[String],
        folder: &Path,
        confines: bool,
    ) -> Result<Self, Stop> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| Stop::yours(format!("[run] {role} in lab.toml names no program")))?;
        let is_own = program == "doorward";
        let itself = std::env::current_exe().map_err(Stop::machine)?;
        let mut command = if confines {
            let mut around = Command::new(itself);
            around.args(confine::around(folder)).arg(program);
            around
        } else {
            Command::new(if is_own { itself } else { program.into() })
        };
        command.args(arguments).current_dir(folder).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What Python prints is seen when it is printed, not when its buffer is full.
        command
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("RUST_BACKTRACE");
        // Most TLS libraries write the secrets of their connections there, for a capture that can be read.
        command.env("SSLKEYLOGFILE", folder.join(SECRETS));
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| {
            Stop::yours(format!("{program} of [run] {role} in lab.toml cannot be started: {error}"))
        })?;
        let output = listen(child.stdout.take());
        let errors = listen(child.stderr.take());
        let (group, started) = (child.id(), Instant::now());
        Ok(Self { child, group, is_own, confines, started, output, errors })
    }

    /// Closes its standard input.
    pub(crate) fn nothing_more(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end, no longer than `limit`; `None` where it still runs.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let status = timeout(limit, self.child.wait()).await.ok()?.ok();
        // Its last words may still be in the pipe, which something that it started may hold open for ever.
        let heard = async {
            self.output.end().await;
            self.errors.end().await;
        };
        drop(timeout(LAST_WORDS, heard).await);
        status
    }

    /// The most address space it ever had, in MiB; none where the system does not say.
    pub(crate) fn most_memory(&self) -> Option<u64> {
        let mut id = self.child.id()?;
        // What confines it stands before it in the tree, by one process or two.
        while self.confines && confine::is_around(id) {
            id = first_child(id)?;
        }
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        kibibytes.checked_div(1024)
    }

    /// For how long it has been running, or ran.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// What it wrote on standard output.
    pub(crate) fn said(&self) -> String {
        self.output.text()
    }

    /// What it wrote on standard error.
    pub(crate) fn complained(&self) -> String {
        self.errors.text()
    }

    /// What it said of its end, as it may be shown: the line that tells most, or its last two.
    pub(crate) fn last_words(&self) -> String {
        let all = format!("{}{}", self.said(), self.complained());
        let lines: Vec<_> = all.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(2)..).unwrap_or_default();
        let telling = if last.iter().any(|line| line.starts_with("doorward does not start")) {
            // Doorward says what is wrong and what is unwise, each with a line of advice below it.
            lines.iter().find(|line| !line.contains(" warning: ") && !line.starts_with(' '))
        } else if self.is_own {
            None
        } else {
            // Most languages say it at the end, some with their own name or a trace behind it.
            let is_trace = |line: &str| line.trim_start().starts_with("at ");
            lines.iter().rfind(|line| line.contains("rror") && !is_trace(line))
        };
        let words = telling.map_or_else(|| last.join(" / "), |line| line.trim().to_owned());
        PeerText::escaped(words.as_bytes()).chars().take(300).collect()
    }

    /// Waits until its standard output satisfies `wanted`, no longer than `limit`.
    pub(crate) async fn says(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> bool {
        let heard = async {
            loop {
                let more = self.output.more.notified();
                if wanted(&self.output.text()) {
                    return;
                }
                more.await;
            }
        };
        timeout(limit, heard).await.is_ok()
    }

    /// Ends it now, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.empty_tree().await;
        self.kill_group();
        drop(self.child.kill().await);
    }

    /// Ends a confined program by the first process of its tree: whoever waits for that one has waited for all,
    /// and the ports are free again.
    #[cfg(unix)]
    async fn empty_tree(&mut self) {
        use nix::sys::signal::{Signal, kill};
        use nix::unistd::Pid;
        let first = self.child.id().filter(|_| self.confines).and_then(first_child);
        if let Some(first) = first.and_then(|id| i32::try_from(id).ok()) {
            kill(Pid::from_raw(first), Signal::SIGKILL).unwrap_or_default();
            drop(timeout(LAST_WORDS, self.child.wait()).await);
        }
    }

    #[cfg(not(unix))]
    async fn empty_tree(&mut self) {}

    #[cfg(unix)]
    fn kill_group(&self) {
        use nix::sys::signal::{Signal, killpg};
        use nix::unistd::Pid;
        // Once it has been waited for, its number may belong to somebody else.
        if self.child.id().is_some()
            && let Some(group) = self.group.and_then(|id| i32::try_from(id).ok())
        {
            // Where nothing is left of the group, it has ended by itself.
            killpg(Pid::from_raw(group), Signal::SIGKILL).unwrap_or_default();
        }
    }

    #[cfg(not(unix))]
    fn kill_group(&self) {
        let _: Option<u32> = self.group;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// The first process that this one started, where the system tells.
fn first_child(id: u32) -> Option<u32> {
    let below = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
    below.split_whitespace().next()?.parse().ok()
}

impl Said {
    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn end(&self) {
        loop {
            let more = self.more.notified();
            if self.over.load(Ordering::Acquire) {
                return;
            }
            more.await;
        }
    }

    fn add(&self, more: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_SAID.saturating_sub(bytes.len());
        bytes.extend(more.iter().take(room));
        drop(bytes);
        self.more.notify_waiters();
    }
}

/// Reads until the end, so that the program never waits for us, and keeps the beginning.
fn listen(stream: Option<impl AsyncRead + Send + Unpin + 'static>) -> Arc<Said> {
    let said = Arc::new(Said::default());
    if let Some(mut stream) = stream {
        let kept = Arc::clone(&said);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                kept.add(buffer.get(..count).unwrap_or_default());
            }
            kept.over.store(true, Ordering::Release);
            kept.more.notify_waiters();
        });
    } else {
        said.over.store(true, Ordering::Release);
    }
    said
}

/// The secrets of the learner's own connections; it never leaves the stage but inside a capture.
pub(crate) const SECRETS: &str = "tls-secrets.txt";
/// More than any exercise has to say.
const MOST_SAID: usize = 256 * 1024;
/// Long enough to read what is in a pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

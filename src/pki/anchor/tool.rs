//! Other programs: an argument vector each, no shell, a deadline, and a bound on what they may say.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer::PeerText;
use crate::problem::{Fault, Problem};

/// A program and the arguments it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    program: String,
    arguments: Vec<OsString>,
    input: Vec<u8>,
    package: &'static str,
    in_an_image: bool,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    status: ExitStatus,
    pub(crate) output: Vec<u8>,
    complaint: Vec<u8>,
}

impl Tool {
    /// A program that is looked for on the search path, and what to install where it is absent.
    pub(crate) fn new(program: impl Into<String>, package: &'static str) -> Self {
        let program = program.into();
        Self { program, arguments: Vec::new(), input: Vec::new(), package, in_an_image: false }
    }

    /// A program of a system image, run there.
    pub(crate) fn in_image(root: &std::path::Path, program: &str) -> Self {
        let tool = Self::new("chroot", "coreutils").argument(root).argument(program);
        Self { in_an_image: true, ..tool }
    }

    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn arguments<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// What it reads from its standard input, which is empty otherwise.
    pub(crate) fn input(self, input: &str) -> Self {
        Self { input: input.as_bytes().to_vec(), ..self }
    }

    /// Runs it, and says that it failed where it does not end with 0.
    pub(crate) fn run(&self) -> Result<Ended, Problem> {
        let ended = self.try_run()?;
        if ended.is_fine() { Ok(ended) } else { Err(self.failed(&ended.reason())) }
    }

    /// Runs it to whatever end.
    pub(crate) fn try_run(&self) -> Result<Ended, Problem> {
        let mut child = self.spawn()?;
        let output = listen(child.stdout.take());
        let complaint = listen(child.stderr.take());
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input says itself what is wrong.
            stdin.write_all(&self.input).ok();
        }
        let status = self.wait(&mut child)?;
        // Something it left behind may hold the other end; what was not heard by now is not waited for.
        let heard = |from: &Receiver<Vec<u8>>| from.recv_timeout(LAST_WORDS).unwrap_or_default();
        Ok(Ended { status, output: heard(&output), complaint: heard(&complaint) })
    }

    fn spawn(&self) -> Result<Child, Problem> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.in_an_image {
            // The paths of this system mean nothing there.
            command.env_clear().env("PATH", IMAGE_PATH);
        }
        // What it says is read: in one language, and without what a JVM says of its options.
        command.env("LC_ALL", "C").env_remove("JAVA_TOOL_OPTIONS");
        command.spawn().map_err(|error| self.not_started(&error))
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, Problem> {
        let started = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if started.elapsed() > PATIENCE => {
                    child.kill().ok();
                    child.wait().ok();
                    return Err(self.failed(&format!("was ended after {PATIENCE:?}")));
                }
                Ok(None) => thread::sleep(PAUSE),
                Err(error) => return Err(self.failed(&error.to_string())),
            }
        }
    }

    fn not_started(&self, error: &io::Error) -> Problem {
        let program = &self.program;
        if error.kind() == ErrorKind::NotFound {
            let remedy = format!("install it: the package is {} on most systems", self.package);
            let message = format!("{program} is not installed");
            return Problem::error(Fault::CertsTool, message, remedy);
        }
        let message = format!("{program} cannot be started: {error}");
        Problem::error(Fault::CertsTool, message, "look at its permissions")
    }

    fn failed(&self, reason: &str) -> Problem {
        let message = format!("{self} {reason}");
        let remedy = "see what it says; it may need root: sudo doorward …";
        Problem::error(Fault::CertsTool, message, remedy)
    }
}

impl fmt::Display for Tool {
    /// As it could be typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        for argument in &self.arguments {
            let argument = PeerText::from(argument.to_string_lossy().as_ref()).to_string();
            let plain = |c: char| c.is_ascii_alphanumeric() || "/.,:=_-".contains(c);
            if !argument.is_empty() && argument.chars().all(plain) {
                write!(f, " {argument}")?;
            } else {
                write!(f, " '{}'", argument.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

impl Ended {
    pub(crate) fn is_fine(&self) -> bool {
        self.status.success()
    }

    /// Its exit and the first line it said, escaped and cut.
    pub(crate) fn reason(&self) -> String {
        let said = [&self.complaint, &self.output].map(|said| String::from_utf8_lossy(said));
        let mut lines = said.iter().flat_map(|said| said.lines()).map(str::trim);
        let first = lines.find(|line| !line.is_empty()).unwrap_or("it said nothing");
        format!("ended with {}: {}", self.status, PeerText::from(first))
    }
}

/// Reads to the end, so that the program is never stopped by a full pipe, and keeps the beginning.
fn listen<R: Read + Send + 'static>(from: Option<R>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut from) = from {
            // An error ends it as an end does: the exit status tells what came of it.
            from.by_ref().take(LOUDEST).read_to_end(&mut kept).ok();
            io::copy(&mut from, &mut io::sink()).ok();
        }
        sender.send(kept).ok();
    });
    receiver
}

/// A list of some thousand certificates is shorter; nothing longer is of use.
const LOUDEST: u64 = 1024 * 1024;
/// Rebuilding every trust store of a slow machine, Java's included, takes most of a minute.
const PATIENCE: Duration = Duration::from_secs(120);
/// Short beside the start of any program.
const PAUSE: Duration = Duration::from_millis(10);
/// What a program said is in the pipe when it ends.
const LAST_WORDS: Duration = Duration::from_secs(5);
const IMAGE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Tool {
        Tool::new("sh", "dash").argument("-c").argument(script)
    }

    #[test]
    fn a_failure_names_the_command_its_exit_and_its_first_line() {
        let problem = sh("echo 'no such thing' >&2; echo more >&2; exit 7").run().unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsTool);
        assert!(problem.message().starts_with("sh -c "), "{problem}");
        assert!(problem.message().ends_with("ended with exit status: 7: no such thing"));
        let silent = sh("exit 3").run().unwrap_err();
        assert!(silent.message().ends_with("exit status: 3: it said nothing"), "{silent}");
    }

    #[test]
    fn a_program_that_says_too_much_is_heard_to_the_end_and_kept_short() {
        let ended = sh("head -c 3000000 /dev/zero; echo done >&2").run().unwrap();
        assert_eq!(u64::try_from(ended.output.len()).unwrap(), LOUDEST);
    }

    #[test]
    fn control_characters_of_a_program_reach_nobody() {
        let problem = sh(r"printf 'a\033[2Jb\n'; exit 1").run().unwrap_err();
        assert!(!problem.to_string().contains('\u{1b}'), "{problem}");
    }

    #[test]
    fn a_program_that_is_absent_is_named_with_its_package() {
        let problem = Tool::new("no-such-program-here", "some-package").run().unwrap_err();
        assert_eq!(problem.message(), "no-such-program-here is not installed");
        assert!(problem.remedy().contains("some-package"));
    }

    #[test]
    fn a_command_is_shown_as_it_could_be_typed() {
        let tool = Tool::new("certutil", "x").arguments(["-d", "sql:/home/a b/it's", "-t", "C,,"]);
        assert_eq!(tool.to_string(), r"certutil -d 'sql:/home/a b/it'\''s' -t C,,");
    }

    #[test]
    fn input_is_read_to_its_end() {
        let ended = Tool::new("cat", "coreutils").input("hello").run().unwrap();
        assert_eq!(ended.output, b"hello");
    }
}

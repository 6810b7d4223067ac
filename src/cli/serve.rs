//! `doorward serve`: the main job.

mod report;

use std::path::Path;

use doorward::admin::{Admin, Predecessor};
use doorward::audit::{self, RecordSettings, RecordTo};
use doorward::bind;
use doorward::config::{Config, LogFormat};
use doorward::pki;
use doorward::problem::{Fault, Problem, Severity};
use doorward::sandbox::{self, Sandbox};
use doorward::server::{self, Control, Server};
use doorward::service::run::Keeper;
use doorward::systemd::Systemd;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use super::{ConfigFile, Exit, screen};

/// Guard the services of a configuration until told to stop.
///
/// SIGTERM or Ctrl-C lets sessions finish; a second one ends them at once. SIGHUP reads the configuration and
/// its files anew, as does a change of them. The first start with the
/// default configuration makes a development authority and certificates.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Take the place of the server that runs with this configuration, without a refused connection: its listening
    /// sockets are taken over through its admin socket, and it drains when this one is ready.
    #[arg(long)]
    take_over: bool,
}

/// A server that could be started, and what stands beside it.
struct Opened {
    server: Server,
    admin: Option<Admin>,
    sandbox: Sandbox,
    predecessor: Option<Predecessor>,
}

pub(super) fn run(args: &Args) -> Exit {
    let (mut config, mut warnings) = match Config::read(&args.config.config) {
        Ok(read) => read,
        Err(problems) => {
            let format = Config::log_format(&args.config.config);
            log_to_stderr(format);
            return does_not_start(&problems, format);
        }
    };
    config.keep_programs(&Keeper::this_program());
    log_to_stderr(config.log);
    if config.record.as_ref().is_some_and(|record| record.to.value == RecordTo::Stdout) {
        screen::leave_stdout();
    }
    if args.config.is_default()
        && let Err(problem) = first_start(&config)
    {
        return does_not_start(&[problem], config.log);
    }
    let opened = match open(&config, args.take_over, &mut warnings) {
        Ok(opened) => opened,
        Err(problems) => {
            warnings.extend(problems);
            return does_not_start(&warnings, config.log);
        }
    };
    let Opened { server, admin, sandbox, predecessor } = opened;
    tell(&warnings, config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::tell(format_args!("doorward: the runtime cannot start: {error}"));
            return Exit::Failed;
        }
    };
    runtime.block_on(async {
        // Before anybody is told that it is ready: who waits for that may end it in the next moment.
        let signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                screen::tell(format_args!("doorward: signals cannot be handled: {error}"));
                return Exit::Failed;
            }
        };
        if let Some(Err(gone)) = predecessor.map(Predecessor::retire) {
            screen::tell(gone);
        }
        let systemd = Systemd::of_this_process();
        systemd.ready(&report::status(server.listeners()));
        report::print(&config, &server, &sandbox, &args.config.config);
        guard(server.within(&sandbox), signals, systemd, admin).await
    })
}

/// Opens the sockets, then enters the sandbox; the runtime must not have a thread yet that stays outside.
fn open(
    config: &Config,
    take_over: bool,
    warnings: &mut Vec<Problem>,
) -> Result<Opened, Vec<Problem>> {
    let listeners: Vec<_> = config.services.iter().flat_map(|service| &service.listen).collect();
    warnings.extend(bind::adopt(&listeners)?);
    let mut predecessor = take_over.then(|| predecessor(config)).transpose()?;
    let sockets = predecessor.as_mut().map(Predecessor::sockets).unwrap_or_default();
    let server = Server::succeed(config, sockets)?;
    warnings.extend_from_slice(server.warnings());
    let open = if predecessor.is_some() { Admin::replace } else { Admin::open };
    let admin = config.admin.as_ref().map(open).transpose();
    let admin = admin.map_err(|problem| vec![problem])?;
    let sandbox = Sandbox::enter(&config.sandbox, &server::needs(config))?;
    warnings.extend_from_slice(sandbox.warnings());
    // From inside, where they are written from now on.
    server.open_books().map_err(|problem| vec![problem])?;
    Ok(Opened { server, admin, sandbox, predecessor })
}

/// The server whose place is to be taken.
fn predecessor(config: &Config) -> Result<Predecessor, Vec<Problem>> {
    let one = |problem| vec![problem];
    let Some(admin) = &config.admin else {
        let what = "there is no [admin] socket, over which the running server could be asked";
        let remedy = "add one, restart once without --take-over, and use it from then on";
        return Err(one(Problem::error(Fault::AdminNoSocket, what, remedy)));
    };
    let pages = [&config.metrics, &config.status].into_iter().flatten().count();
    let in_a_file = |settings: &RecordSettings| matches!(settings.to.value, RecordTo::File(_));
    if config.record.as_ref().is_some_and(in_a_file) || pages > 0 {
        let what = "an audit log in a file, [metrics] and [status] belong to one process at a time";
        let remedy = "restart it instead; behind a socket unit of systemd visitors queue meanwhile";
        return Err(one(Problem::error(Fault::AdminRefused, what, remedy)));
    }
    let foreseen = sandbox::foresee(&config.sandbox);
    // Nothing may refuse once the admin socket was replaced.
    if foreseen.iter().any(|problem| problem.severity() == Severity::Error) {
        return Err(foreseen);
    }
    Predecessor::ask(&admin.socket.value).map_err(one)
}

async fn guard(server: Server, signals: Signals, systemd: Systemd, admin: Option<Admin>) -> Exit {
    let stopping = tokio::spawn(obey(signals, server.control(), systemd));
    let living = tokio::spawn(systemd.live());
    let asked = admin.map(|admin| tokio::spawn(admin.run(server.control())));
    let ended = server.run().await;
    stopping.abort();
    living.abort();
    if let Some(asked) = asked {
        asked.abort();
        // Its file is removed when the task is gone.
        drop(asked.await);
    }
    match ended {
        Ok(()) => Exit::Fine,
        Err(problem) => {
            screen::tell(problem);
            Exit::Failed
        }
    }
}

/// Does what the signals say: reload, drain, then end.
async fn obey(mut signals: Signals, control: Control, systemd: Systemd) {
    while let Signal::Reload = signals.next().await {
        systemd.reloading();
        // The record tells how it went.
        drop(control.reload().await);
        if let Ok(status) = control.status().await {
            let open = status.listeners.into_iter();
            systemd.ready(&report::status(open.map(|open| (open.service.into(), open.at))));
        }
    }
    systemd.stopping();
    screen::tell(
        "stopping: nobody new is let in, sessions may finish; once more ends them at once",
    );
    control.drain();
    signals.end().await;
    control.cut();
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    Reload,
    End,
}

/// Makes the development set where the default configuration asks for one that is not there at all.
///
/// Where any of the files exists, nothing is made: a start never papers over a lost file.
fn first_start(config: &Config) -> Result<(), Problem> {
    let directory = Path::new(DEVELOPMENT_DIRECTORY);
    let settings = &config.handshake;
    let named = [&settings.certificate, &settings.key, &settings.clients].into_iter();
    let mut named = named.chain(&settings.crl).map(|file| file.value.as_path());
    if !named.all(|file| file.starts_with(directory) && !file.exists()) {
        return Ok(());
    }
    pki::development(directory)?;
    let doorward = std::env::args().next().unwrap_or_else(|| "doorward".to_owned());
    screen::say(
        "first start: certs/ now holds a development authority, a server certificate for localhost,\n\
         127.0.0.1 and ::1, and a client certificate for alice. Try it from a second terminal, here:",
    );
    screen::say(format_args!("  {doorward} connect hello"));
    screen::say(format_args!("  {OPENSSL}"));
    Ok(())
}

/// The problems of a start, as the log is written.
fn tell(problems: &[Problem], format: LogFormat) {
    match format {
        LogFormat::Text => screen::tell_problems(problems),
        LogFormat::Json => problems.iter().for_each(audit::tell_problem),
    }
}

fn does_not_start(problems: &[Problem], format: LogFormat) -> Exit {
    match format {
        LogFormat::Text => refuse(problems),
        LogFormat::Json => {
            tell(problems, format);
            tracing::error!("doorward does not start: {}", screen::count(problems));
            refused(problems)
        }
    }
}

pub(super) fn refuse(problems: &[Problem]) -> Exit {
    screen::tell_problems(problems);
    screen::tell(format_args!("doorward does not start: {}", screen::count(problems)));
    refused(problems)
}

fn refused(problems: &[Problem]) -> Exit {
    if problems.iter().any(|problem| problem.fault() == Fault::BindInUse) {
        return Exit::PortInUse;
    }
    Exit::Refused
}

pub(super) fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_env("DOORWARD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            use std::io::IsTerminal;
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let fields = debug_fn(write_field).delimited(" ");
            log.with_ansi(colour).with_target(false).fmt_fields(fields).init();
        }
        LogFormat::Json => log.json().flatten_event(true).with_target(false).init(),
    }
}

/// `name=value`, in quotes where a space or an equals sign could be taken for the next field.
///
/// What a peer chose is escaped already, quotes among it, so that it cannot end the quotes.
fn write_field(
    writer: &mut Writer<'_>,
    field: &Field,
    value: &dyn std::fmt::Debug,
) -> std::fmt::Result {
    if field.name() == "message" {
        return write!(writer, "{value:?}");
    }
    let value = format!("{value:?}");
    let bare = !value.is_empty() && !value.contains([' ', '=', '"']);
    // A pin is our own base64, which ends in equals signs.
    if bare || field.name() == "pin" {
        return write!(writer, "{field}={value}");
    }
    write!(writer, "{field}=\"{value}\"")
}

/// The signals that the server obeys.
#[cfg(unix)]
pub(super) struct Signals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
        }
    }
}

impl Signals {
    /// Waits for a signal that ends the process.
    pub(super) async fn end(&mut self) {
        while !matches!(self.next().await, Signal::End) {}
    }
}

/// The signals that the server obeys.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "the same shape as on systems where it can fail")]
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) -> Signal {
        // Without a signal to wait for, the process is ended by its owner.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::End
    }
}

/// Where the default configuration expects its certificates.
const DEVELOPMENT_DIRECTORY: &str = "certs";
/// One message of five bytes; the pause lets the answer come before `s_client` ends with its input.
const OPENSSL: &str = "(printf '\\0\\0\\0\\5hello'; sleep 1) | openssl s_client -quiet -no_ign_eof \
    -connect 127.0.0.1:8443 -CAfile certs/trust.pem \
    -cert certs/client/alice/chain.pem -key certs/client/alice/key.pem";

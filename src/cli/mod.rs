//! What is typed, and which verb it means.

mod admin;
mod audit;
mod bench;
mod certs;
mod check;
mod class;
mod connect;
mod explain;
mod probe;
mod firewall;
mod keep;
mod lab;
mod screen;
mod serve;
mod top;
mod tunnel;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Stands in front of a socket service and lets nobody through who has not passed every gate.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// Each verb is described where its arguments are, which is what its help shows; here where they are in parts.
#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::Args),
    Check(check::Args),
    /// Make, issue, renew and revoke certificates.
    Certs(certs::Args),
    /// Explain a code, or why somebody is or would be refused, and what would change that.
    Explain(explain::Args),
    /// Print the address policy as rules of the host's firewall, or say where the host's are wider.
    Firewall(firewall::Args),
    /// Show a running server: what is open to whom, who is in, what ends soon, who was refused.
    Status(admin::StatusArgs),
    Reload(admin::ReloadArgs),
    Ban(admin::BanArgs),
    /// Look at audit logs.
    Audit(audit::Args),
    /// Let a running server finish its sessions, and end.
    Drain(admin::DrainArgs),
    Connect(connect::Args),
    Top(top::Args),
    Probe(probe::Args),
    Lab(lab::Args),
    Class(class::Args),
    /// Watch over one program; doorward runs this by itself.
    #[command(name = doorward::service::run::KEEP_PROGRAM, hide = true)]
    KeepProgram(keep::Args),
    /// Open a plain socket here that leads, over mutual TLS, to a guarded service elsewhere.
    Tunnel(Box<tunnel::Args>),
    /// Load one's own server, and see what it carries.
    Bench(bench::Args),
}

/// The configuration, wherever a verb needs one.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration to read.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

impl ConfigFile {
    fn is_default(&self) -> bool {
        self.config == Path::new(DEFAULT_CONFIG)
    }
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure; clap knows which is which.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Fine.into() };
        }
    };
    let exit = match cli.verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Certs(args) => certs::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Firewall(args) => firewall::run(&args),
        Verb::Status(args) => admin::status(&args),
        Verb::Reload(args) => admin::reload(&args),
        Verb::Ban(args) => admin::ban(&args),
        Verb::Audit(args) => audit::run(&args),
        Verb::Drain(args) => admin::drain(&args),
        Verb::Connect(args) => connect::run(args),
        Verb::Top(args) => top::run(&args),
        Verb::Probe(args) => probe::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Lab(args) => lab::run(&args),
        Verb::Class(args) => class::run(&args),
        // It ends as its program does, which is no exit code of ours.
        Verb::KeepProgram(args) => return keep::run(&args),
        Verb::Tunnel(args) => tunnel::run(*args),
    };
    exit.into()
}

/// How a verb ends, for scripts. The numbers are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// 0: done.
    Fine,
    /// 1: tried, and failed.
    Failed,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: the configuration is refused.
    Refused,
    /// 3 too, in the lab: this machine cannot tell.
    Inconclusive,
    /// 4: another process holds a port that is needed.
    PortInUse,
    /// As a program did that this one stood around.
    AsProgram(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused | Exit::Inconclusive => 3,
            Exit::PortInUse => 4,
            Exit::AsProgram(code) => code,
        })
    }
}

const DEFAULT_CONFIG: &str = "config/doorward.toml";
const EXIT_CODES: &str =
    "Exit codes: 0 fine, 1 failed, 2 usage, 3 configuration refused, 4 port in use.";

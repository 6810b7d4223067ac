//! `doorward tunnel`: a plain socket on this machine that leads to a guarded service on another.

mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use doorward::address::{AddressGate, Effect, NetworkRule};
use doorward::bind::{BindPolicy, PortRange, Scope, ScopeRule};
use doorward::client::{ClientFiles, Deadlines, Target, server_name};
use doorward::config::{self, LogFormat, TunnelConfig};
use doorward::handshake::Pin;
use doorward::network::parse_network;
use doorward::place::{Place, Written};
use doorward::problem::Problem;
use doorward::tunnel::{
    CallerRule, CallerRules, Callers, Destination, Limits, Local, Stopper, Tunnel, Tunnels,
    parse_mode, parse_pin,
};
use ipnet::IpNet;
use rustls::pki_types::ServerName;

use super::serve::{Signals, log_to_stderr, refuse};
use super::{Exit, screen};

/// What is typed behind `tunnel`.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES, override_usage = USAGE)]
pub(super) struct Args {
    /// Read tunnels from a file, in place of all the options below.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Try one handshake with each server, say how it went, and end.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    one: One,
}

/// One tunnel, as it is typed.
#[derive(Debug, clap::Args)]
#[group(id = "one", multiple = true, conflicts_with = "config")]
struct One {
    #[arg(long, help = LISTEN, value_name = "WHERE", required_unless_present = "config", value_parser = local)]
    listen: Vec<Local>,
    /// The guarded service to lead to.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "config")]
    to: Option<Target>,
    /// The authorities that may vouch for the server.
    #[arg(long, value_name = "FILE", default_value = "certs/trust.pem")]
    trust: PathBuf,
    /// Whose certificate to show: that of certs/client/NAME.
    #[arg(long = "as", value_name = "NAME", default_value = "alice")]
    who: String,
    /// The certificate to show, in place of --as.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "who")]
    certificate: Option<PathBuf>,
    /// The private key of --certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The name the server's certificate must hold, where it is not the host of --to.
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    server_name: Option<ServerName<'static>>,
    /// A key the server must have, besides all the rest; of several, any one.
    #[arg(long, value_name = "sha256//BASE64", value_parser = pin)]
    pin: Vec<Pin>,
    /// A user of this machine that may call.
    #[arg(long, value_name = "NAME|UID")]
    allow_user: Vec<String>,
    /// A group of this machine whose members may call.
    #[arg(long, value_name = "NAME|GID")]
    allow_group: Vec<String>,
    /// Let every user of this machine call.
    #[arg(long)]
    allow_any_user: bool,
    /// A network whose machines may call; needed, and only possible, with a wider --scope.
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    allow_from: Vec<IpNet>,
    /// Where --listen may be: localhost, all, or interfaces, addresses and networks of this host.
    #[arg(long, value_name = "SCOPE", default_value = "localhost")]
    scope: Vec<String>,
    /// The mode of a unix socket.
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = mode)]
    mode: u32,
    /// How long connecting may take, and the handshake after it.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = connect)]
    connect_deadline: Duration,
    /// How long a session may go on in which neither side says anything.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = idle)]
    idle: Duration,
    /// How many callers may be carried at once.
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    max: usize,
    /// How often to try again for one caller where the server cannot be reached; 0 tells it at once.
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    retries: u32,
}

pub(super) fn run(args: Args) -> Exit {
    let read = match &args.config {
        Some(file) => TunnelConfig::read(file),
        None => args.one.config(),
    };
    let (config, warnings) = match read {
        Ok(read) => read,
        Err(problems) => return refuse(&problems),
    };
    log_to_stderr(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::tell(format_args!("doorward: the runtime cannot start: {error}"));
            return Exit::Failed;
        }
    };
    screen::tell_problems(&warnings);
    let exit = runtime
        .block_on(async { if args.check { check(&config).await } else { open(&config).await } });
    // A look at a user directory cannot be called off; nobody waits for it.
    runtime.shutdown_background();
    exit
}

async fn open(config: &TunnelConfig) -> Exit {
    let tunnels = match Tunnels::open(&config.bind, &config.tunnels, config.drain) {
        Ok(tunnels) => tunnels,
        Err(problems) => return refuse(&problems),
    };
    // Before anybody is told that it is ready: who waits for that may end it in the next moment.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            screen::tell(format_args!("doorward: signals cannot be handled: {error}"));
            return Exit::Failed;
        }
    };
    report::print(config, &tunnels);
    let stopping = tokio::spawn(stop(signals, tunnels.stopper()));
    let ended = tunnels.run().await;
    stopping.abort();
    match ended {
        Ok(()) => Exit::Fine,
        Err(problem) => {
            screen::tell(problem);
            Exit::Failed
        }
    }
}

async fn stop(mut signals: Signals, stopper: Stopper) {
    signals.end().await;
    screen::tell(
        "stopping: nobody new is let in, sessions may finish; once more ends them at once",
    );
    stopper.drain();
    signals.end().await;
    stopper.cut();
}

/// One handshake with each server. No socket is opened.
async fn check(config: &TunnelConfig) -> Exit {
    let mut exit = Exit::Fine;
    for tunnel in &config.tunnels {
        let (name, to) = (&tunnel.name, &tunnel.destination.to);
        match tunnel.destination.try_once().await {
            Ok(at) => screen::say(format_args!(
                "tunnel {name}: {to} is believed and took the certificate, at {at}"
            )),
            Err(error) => {
                screen::tell(format_args!("tunnel {name}: {error}"));
                exit = Exit::Failed;
            }
        }
    }
    exit
}

impl One {
    /// What is typed, held against the same rules as a file.
    fn config(self) -> Result<(TunnelConfig, Vec<Problem>), Vec<Problem>> {
        let mut problems = Vec::new();
        let typed = Place::in_code(TYPED);
        let written = |value| Written::new(value, typed.clone());
        let listen: Vec<_> = self.listen.iter().cloned().map(written).collect();
        let bind = keep(policy(&self.scope), &mut problems);
        let users = self.allow_user.iter().map(|text| CallerRule::user(text));
        let groups = self.allow_group.iter().map(|text| CallerRule::group(text));
        let rules: Vec<_> =
            users.chain(groups).filter_map(|rule| keep(rule, &mut problems)).collect();
        let rules = CallerRules {
            users: rules.into_iter().map(|rule| Written::new(rule, typed.clone())).collect(),
            any_user: self.allow_any_user.then(|| typed.clone()),
            from: (!self.allow_from.is_empty()).then(|| gate(&self.allow_from, &typed)),
        };
        let callers = if problems.is_empty() {
            keep(Callers::new(rules, &listen, self.mode), &mut problems)
        } else {
            None
        };
        let (Some(bind), Some((callers, warnings)), Some(to)) = (bind, callers, self.to.clone())
        else {
            return Err(problems);
        };
        let (mode, idle, max) = (self.mode, self.idle, self.max);
        let destination = self.destination(to);
        let name = Arc::from("tunnel");
        let tunnel = Tunnel { name, place: typed, listen, mode, callers, destination, idle, max };
        let (tunnels, drain, log) = (vec![tunnel], DRAIN, LogFormat::Text);
        Ok((TunnelConfig { bind, tunnels, drain, log }, warnings))
    }

    fn destination(self, to: Target) -> Destination {
        let own = |file: &str| Path::new(CLIENTS).join(&self.who).join(file);
        let files = ClientFiles {
            trust: self.trust,
            certificate: self.certificate.unwrap_or_else(|| own("chain.pem")),
            key: self.key.unwrap_or_else(|| own("key.pem")),
        };
        let (connect, handshake) = (self.connect_deadline, self.connect_deadline);
        let deadlines = Deadlines { connect, handshake, ..Deadlines::default() };
        let (server_name, pins, retries) = (self.server_name, self.pin, self.retries);
        Destination { to, files, server_name, pins, deadlines, retries }
    }
}

fn keep<T>(tried: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    tried.map_err(|problem| problems.push(problem.at(&Place::in_code(TYPED)))).ok()
}

fn policy(scope: &[String]) -> Result<BindPolicy, Problem> {
    let typed = |value| Written::new(value, Place::in_code(TYPED));
    let scope = match scope {
        [word] if word == "localhost" => Scope::Localhost,
        [word] if word == "all" => Scope::All,
        rules => {
            let rules: Result<Vec<_>, _> =
                rules.iter().map(|rule| ScopeRule::parse(rule).map(typed_rule)).collect();
            Scope::Only(rules?)
        }
    };
    let ports = PortRange::parse(UNPRIVILEGED)?;
    let ports = vec![Written::new(ports, Place::in_code("the default"))];
    Ok(BindPolicy::new(typed(scope), ports))
}

fn typed_rule(rule: ScopeRule) -> Written<ScopeRule> {
    Written::new(rule, Place::in_code(TYPED))
}

fn gate(networks: &[IpNet], typed: &Place) -> Arc<AddressGate> {
    let rule = |network: &IpNet| NetworkRule {
        network: *network,
        effect: Effect::Allow,
        place: typed.clone(),
    };
    Arc::new(AddressGate::new(networks.iter().map(rule)))
}

/// What clap shows of a value that makes no sense: one sentence, and what to write.
fn plainly(problem: &Problem) -> String {
    format!("{}: {}", problem.message(), problem.remedy())
}

fn local(text: &str) -> Result<Local, String> {
    Local::parse(text).map_err(|problem| plainly(&problem))
}

fn pin(text: &str) -> Result<Pin, String> {
    parse_pin(text).map_err(|problem| plainly(&problem))
}

fn network(text: &str) -> Result<IpNet, String> {
    parse_network(text).map_err(|problem| plainly(&problem))
}

fn mode(text: &str) -> Result<u32, String> {
    parse_mode(text).ok_or_else(|| {
        "write three octal digits after a 0 that let the owner read and write, such as 0660"
            .to_owned()
    })
}

fn connect(text: &str) -> Result<Duration, String> {
    let within = config::duration(text).filter(|duration| Limits::CONNECT.contains(duration));
    within.ok_or_else(|| "write a duration from 100ms to 60s, such as 5s".to_owned())
}

fn idle(text: &str) -> Result<Duration, String> {
    let within = config::duration(text).filter(|duration| Limits::IDLE.contains(duration));
    within.ok_or_else(|| "write a duration from 1s to 24h, such as 10m".to_owned())
}

/// Where rules are written that no file holds.
const TYPED: &str = "the command line";
/// Where the development authority keeps its clients.
const CLIENTS: &str = "certs/client";
/// The ports that need no privilege (RFC 6335 calls the rest system ports); others need a file.
const UNPRIVILEGED: &str = "1024-65535";
/// The server's default.
const DRAIN: Duration = Duration::from_secs(10);
const LISTEN: &str = "Where to listen: 127.0.0.1:6379, [::1]:6379 or unix:/run/user/1000/a.sock";
const USAGE: &str = "doorward tunnel --listen WHERE --to HOST:PORT [OPTIONS]
       doorward tunnel --config FILE [--check]";
const NOTES: &str = "Who may call is asked of the kernel: without a rule, only the user that runs the tunnel. The server's
certificate and name are always verified, before anything of a caller is sent. SIGTERM or Ctrl-C lets
sessions finish; a second one ends them at once.

Examples:
  doorward tunnel --listen 127.0.0.1:6379 --to db.internal:8443 --as alice
  doorward tunnel --listen unix:/run/user/1000/pg/.s.PGSQL.5432 --to db.internal:8444 \\
      --certificate alice.pem --key alice.key --trust trust.pem
  doorward tunnel --config tunnel.toml --check

Durations are 500ms, 5s, 2m or 1h. Exit codes: 0 fine, 1 failed, 2 usage, 3 configuration refused,
4 listener in use.";

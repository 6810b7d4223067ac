//! `doorward bench`: load one's own server, and see what it carries.

mod backend;
mod bulk;
mod dial;
mod flood;
mod load;
mod process;
mod progress;
mod report;
mod words;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use doorward::accept::{Descriptors, descriptors};
use doorward::client::{ClientFiles, Target, server_name};
use doorward::problem::Problem;
use rustls::pki_types::ServerName;
use tokio::net::lookup_host;

use super::connect::Kind;
use super::{Exit, screen};
use backend::Backend;
use bulk::Way;
use dial::{Dial, Group};
use load::Load;
use process::Clock;
use progress::Progress;
use report::Measure;
use words::Words;

/// Load one's own server, and see what it carries.
///
/// It measures full handshakes with and without a certificate, the time of an echo, bulk, what idle connections
/// weigh and what a flood of connections costs, one after the other. The service has to send every message
/// back, as kind = "echo" does, or forward to --backend; its frame table bounds what is measured, its rate
/// above all. The client takes a part of the machine too: its share is shown.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server to load.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8443")]
    to: Target,
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
    /// Offer this key exchange alone.
    #[arg(long, value_enum)]
    group: Option<Group>,
    /// Speak no TLS: what a plain relay carries is what no guard can exceed.
    #[arg(long, conflicts_with_all = ["trust", "who", "certificate", "server_name", "group"])]
    plain: bool,
    /// How messages are told apart; the service's frame table says which kind it speaks.
    #[arg(long, value_enum, default_value_t = Kind::LengthPrefixed)]
    frame: Kind,
    /// How large each message of a bulk is, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 10, value_parser = clap::value_parser!(u32).range(2..=1 << 20))]
    message: u32,
    /// Listen here as what the server forwards to; then bulk is measured each way too.
    #[arg(long, value_name = "ADDRESS:PORT")]
    backend: Option<SocketAddr>,
    /// Measure these alone; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// How long each measurement lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How many connections at once, wherever more than one is tried.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    connections: u16,
    /// How many idle connections to weigh; 0 for none.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=20_000))]
    idle: u16,
    /// The server's process on this machine: its processor time and memory are measured too.
    #[arg(long)]
    pid: Option<u32>,
    /// Flood the server with connections from this address of loopback; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    flood_from: Vec<IpAddr>,
    /// Load a server that is not on this machine. Whose server it is, is on your head. Never with a flood.
    #[arg(long)]
    i_own_this_server: bool,
    /// One JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Full handshakes, with and without a certificate.
    Handshakes,
    /// Small messages, one at a time.
    Echo,
    /// As many bytes as are taken.
    Bulk,
    /// Connections that say nothing.
    Idle,
    /// Connections without TLS.
    Flood,
}

/// One measurement that is to be made.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connections(usize),
    Handshakes(usize),
    RefusedHandshakes(usize),
    Echo(usize),
    Bulk(Way, usize),
    Idle(usize),
    Flood(IpAddr),
}

pub(super) fn run(args: &Args) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::tell(format_args!("doorward: the runtime cannot start: {error}"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(measure(args)) {
        Ok(measures) => {
            report::print(&measures, args.json);
            Exit::Fine
        }
        Err(failure) => {
            screen::tell(format_args!("doorward: {failure}"));
            match failure {
                Failure::NotLocal(_) | Failure::NoLoopback => Exit::Usage,
                Failure::TooManyIdle { .. }
                | Failure::NoAddress(_)
                | Failure::Files(_)
                | Failure::Unusable(_)
                | Failure::NoBackend(..)
                | Failure::NoEcho(_) => Exit::Failed,
            }
        }
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(
        "{0} is not on this machine, and a load is an attack on whoever did not ask for it: \
         add --i-own-this-server where it is yours"
    )]
    NotLocal(SocketAddr),
    #[error("a flood goes over loopback alone, from its addresses to a server there")]
    NoLoopback,
    #[error(
        "{idle} idle connections do not fit into the limit of {most} open files: raise it (ulimit -n), or give --idle"
    )]
    TooManyIdle { idle: u16, most: u64 },
    #[error("{0} has no address")]
    NoAddress(Target),
    #[error("{0}")]
    Files(Box<Problem>),
    #[error("the files of the client cannot be used: {0}")]
    Unusable(rustls::Error),
    #[error("nobody can listen at {0}: {1}")]
    NoBackend(SocketAddr, io::Error),
    #[error("the server did not send a message back: {0}")]
    NoEcho(io::Error),
}

async fn measure(args: &Args) -> Result<Vec<Measure>, Failure> {
    let at = address(&args.to, args.i_own_this_server).await?;
    let floods = args.flood_from.iter().chain([&at.ip()]).all(|ip| ip.to_canonical().is_loopback());
    if !args.flood_from.is_empty() && !floods {
        return Err(Failure::NoLoopback);
    }
    // The client holds as many connections as the server, and twice as many as a backend.
    let each = if args.backend.is_some() { 2 } else { 1 };
    let held = u64::from(args.idle).saturating_mul(each).saturating_add(BESIDES);
    if let Descriptors::Limited(most) = descriptors()
        && held > most
    {
        return Err(Failure::TooManyIdle { idle: args.idle, most });
    }
    let load = load(args, at).await?;
    load.try_once().await.map_err(Failure::NoEcho)?;
    let steps = args.steps();
    let mut progress = Progress::of(steps.len());
    let mut measures = Vec::new();
    for step in steps {
        progress.next(&step);
        measures.push(step.take(&load).await.named(step.to_string()));
    }
    Ok(measures)
}

/// The one address that is loaded: looked up once, so that no later answer leads elsewhere.
async fn address(to: &Target, is_owned: bool) -> Result<SocketAddr, Failure> {
    let found = lookup_host((to.host(), to.port())).await;
    let at = found.ok().and_then(|mut found| found.next());
    let at = at.ok_or_else(|| Failure::NoAddress(to.clone()))?;
    if at.ip().to_canonical().is_loopback() || is_owned {
        Ok(at)
    } else {
        Err(Failure::NotLocal(at))
    }
}

async fn load(args: &Args, at: SocketAddr) -> Result<Load, Failure> {
    let own = PathBuf::from("certs/client").join(&args.who);
    let files = ClientFiles {
        trust: args.trust.clone(),
        certificate: args.certificate.clone().unwrap_or_else(|| own.join("chain.pem")),
        key: args.key.clone().unwrap_or_else(|| own.join("key.pem")),
    };
    let name = args.server_name.clone().unwrap_or_else(|| args.to.server_name().clone());
    let dial = if args.plain { Dial::plain(at) } else { Dial::new(at, name, &files, args.group)? };
    let dial = Arc::new(dial);
    let size = usize::try_from(args.message).unwrap_or(usize::MAX);
    let words = Words { kind: args.frame.kind(), size };
    let backend = match args.backend {
        None => None,
        Some(here) => {
            let backend = Backend::at(here, words).await;
            Some(Arc::new(backend.map_err(|error| Failure::NoBackend(here, error))?))
        }
    };
    let (lasts, clock) = (Duration::from_secs(args.seconds), Clock::of(args.pid));
    Ok(Load { dial, words, lasts, clock, backend })
}

impl Args {
    fn steps(&self) -> Vec<Step> {
        let many = usize::from(self.connections);
        let is_wanted = |part| self.only.is_empty() || self.only.contains(&part);
        let mut steps = Vec::new();
        if is_wanted(Part::Handshakes) && self.plain {
            steps.extend([1, many].map(Step::Connections));
        } else if is_wanted(Part::Handshakes) {
            steps.extend([1, many].map(Step::Handshakes));
            steps.extend([1, many].map(Step::RefusedHandshakes));
        }
        if is_wanted(Part::Echo) {
            steps.extend([1, MANY_ECHOES].map(Step::Echo));
        }
        if is_wanted(Part::Bulk) {
            let ways: &[Way] = match self.backend {
                Some(_) => &[Way::Up, Way::Down, Way::Both],
                None => &[Way::Both],
            };
            let each = |way: &Way| [Step::Bulk(*way, 1), Step::Bulk(*way, many)];
            steps.extend(ways.iter().flat_map(each));
        }
        if is_wanted(Part::Idle) && self.idle > 0 {
            steps.push(Step::Idle(self.idle.into()));
        }
        if is_wanted(Part::Flood) {
            steps.extend(self.flood_from.iter().take(MOST_FLOODS).copied().map(Step::Flood));
        }
        steps
    }
}

impl Step {
    async fn take(self, load: &Load) -> Measure {
        match self {
            Self::Connections(at_once) | Self::Handshakes(at_once) => {
                load.handshakes(at_once).await
            }
            Self::RefusedHandshakes(at_once) => load.refused_handshakes(at_once).await,
            Self::Echo(at_once) => load.echo(at_once).await,
            Self::Bulk(way, connections) => load.bulk(way, connections).await,
            Self::Idle(count) => load.idle(count).await,
            Self::Flood(from) => load.flood(from).await,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections(_) => f.write_str("connection and echo"),
            Self::Handshakes(_) => f.write_str("handshake and echo"),
            Self::RefusedHandshakes(_) => f.write_str("handshake, no certificate"),
            Self::Echo(_) => f.write_str("echo of 32 bytes"),
            Self::Bulk(way, _) => way.fmt(f),
            Self::Idle(_) => f.write_str("idle connections"),
            Self::Flood(from) => write!(f, "flood from {from}"),
        }
    }
}

/// Enough that the server, not the way to it, is what they wait for.
const MANY_ECHOES: usize = 64;
/// One listed and one refused address say it all; each takes its time.
const MOST_FLOODS: usize = 8;
/// Files that are open beside the idle connections.
const BESIDES: u64 = 64;

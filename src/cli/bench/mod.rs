//! `doorward bench`: load one's own server, and see what it carries.

mod load;
mod process;
mod report;

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use doorward::client::{Client, ClientError, ClientFiles, Target, server_name};
use doorward::frame::FrameKind;
use rustls::pki_types::ServerName;
use tokio::net::lookup_host;

use super::connect::Kind;
use super::{Exit, screen};
use load::Load;
use process::Clock;
use report::Measure;

/// Load one's own server, and see what it carries.
///
/// It measures full handshakes, the time of an echo, bulk, what idle connections weigh and what a flood of
/// connections costs, one after the other. The service has to send every message back, as kind = "echo"
/// does; its rate bounds what is measured. The client takes a part of the machine too: its share is shown.
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
    /// How messages are told apart; the service's frame table says which kind it speaks.
    #[arg(long, value_enum, default_value_t = Kind::LengthPrefixed)]
    frame: Kind,
    /// How long each measurement lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How many connections at once, wherever more than one is tried.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    connections: u16,
    /// How many idle connections to weigh; 0 for none.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    idle: u16,
    /// The server's process on this machine: its processor time and memory are measured too.
    #[arg(long)]
    pid: Option<u32>,
    /// Flood the server with connections from this address of this machine; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    flood_from: Vec<IpAddr>,
    /// Load a server that is not on this machine. Whose server it is, is on your head.
    #[arg(long)]
    i_own_this_server: bool,
    /// One JSON object, for programs.
    #[arg(long)]
    json: bool,
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
            if matches!(failure, Failure::NotLocal(_)) { Exit::Usage } else { Exit::Failed }
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
    #[error("{0} has no address")]
    NoAddress(Target),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the server did not send a message back: {0}")]
    NoEcho(ClientError),
}

async fn measure(args: &Args) -> Result<Vec<Measure>, Failure> {
    let at = address(&args.to, args.i_own_this_server).await?;
    let load = Load {
        client: client(args, at)?,
        at,
        kind: args.frame.kind(),
        lasts: Duration::from_secs(args.seconds),
        clock: Clock::of(args.pid),
    };
    load.try_once().await?;
    let many = usize::from(args.connections);
    let mut measures = Vec::new();
    for connections in [1, many] {
        progress(args, "handshakes", connections);
        measures.push(load.handshakes(connections).await);
    }
    for connections in [1, MANY_ECHOES] {
        progress(args, "echo", connections);
        measures.push(load.echo(connections).await);
    }
    for connections in [1, many] {
        progress(args, "bulk", connections);
        measures.push(load.bulk(connections).await);
    }
    if args.idle > 0 {
        progress(args, "idle", args.idle.into());
        measures.push(load.idle(args.idle.into()).await);
    }
    for from in args.flood_from.iter().take(MOST_FLOODS) {
        progress(args, &format!("flood from {from}"), many);
        measures.push(load.flood(*from, many).await);
    }
    clear_progress();
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

fn client(args: &Args, at: SocketAddr) -> Result<Client, Failure> {
    let own = PathBuf::from("certs/client").join(&args.who);
    let files = ClientFiles {
        trust: args.trust.clone(),
        certificate: args.certificate.clone().unwrap_or_else(|| own.join("chain.pem")),
        key: args.key.clone().unwrap_or_else(|| own.join("key.pem")),
    };
    let name = args.server_name.clone().unwrap_or_else(|| args.to.server_name().clone());
    let target = at.to_string().parse().map_err(|_| Failure::NoAddress(args.to.clone()))?;
    Ok(Client::new(target, &files)?.expecting(name).speaking(args.frame.kind())?)
}

/// A message of so many bytes that every kind of frame and text lets pass.
fn message(kind: FrameKind, size: usize) -> Vec<u8> {
    match kind {
        FrameKind::JsonLines => format!("\"{}\"", "x".repeat(size.saturating_sub(2))).into_bytes(),
        FrameKind::LengthPrefixed { .. } | FrameKind::Lines | FrameKind::Raw => vec![b'x'; size],
    }
}

/// What is measured now, where somebody may be watching.
fn progress(args: &Args, what: &str, connections: usize) {
    let mut screen = std::io::stderr().lock();
    if screen.is_terminal() && !args.json {
        drop(write!(screen, "\r\x1b[2K{what}, {connections} at once, {} s ...", args.seconds));
        drop(screen.flush());
    }
}

fn clear_progress() {
    let mut screen = std::io::stderr().lock();
    if screen.is_terminal() {
        drop(write!(screen, "\r\x1b[2K"));
        drop(screen.flush());
    }
}

/// Enough that the server, not the way to it, is what they wait for.
const MANY_ECHOES: usize = 64;
/// One listed and one refused address say it all; each takes its time.
const MOST_FLOODS: usize = 8;

//! `doorward explain`: what a code means, who would get in, and why somebody did not.

mod codes;
mod event;
mod paper;
mod picture;

use std::net::IpAddr;
use std::path::PathBuf;

use doorward::peer::PeerAddr;

use super::{ConfigFile, Exit};

/// Explains a code, or walks the hallway: on paper for somebody who might come, or again for somebody who was refused.
///
/// Without anything, all codes are listed.
///
/// A walk on paper asks the server's own gates, without a network. It knows the configuration and the
/// files that it names, but no ban and no free seat. Exit codes: 0 the visitor would be let in, 1 it would
/// be refused, 2 usage, 3 the configuration is refused. With --event and --last: 0 found and explained, 1
/// there is no such refusal, or no server.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The code, such as handshake.expired.
    #[arg(conflicts_with_all = ["from", "event", "last"])]
    code: Option<String>,
    /// Walk on paper for a visitor from this address.
    #[arg(long, value_name = "ADDRESS", help_heading = "On paper", conflicts_with_all = ["event", "last"])]
    from: Option<IpAddr>,
    #[command(flatten)]
    visitor: Visitor,
    /// Explain the refusal with this number of a visit, from the record of a running server.
    #[arg(long, value_name = "NUMBER", help_heading = "A refusal", conflicts_with = "last")]
    event: Option<u64>,
    /// Explain the last refusal, of this address or name if one is given.
    #[arg(long, value_name = "ADDRESS|NAME", num_args = 0..=1, default_missing_value = "", help_heading = "A refusal")]
    last: Option<String>,
    /// The admin socket, where it is not the one that the configuration names.
    #[arg(long, value_name = "FILE", help_heading = "A refusal")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// What is known of the visitor on paper, besides its address.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "On paper")]
struct Visitor {
    /// The listener it comes to, such as 127.0.0.1:8443, as the configuration writes it.
    #[arg(long, value_name = "LISTENER", requires = "from", conflicts_with = "service")]
    to: Option<String>,
    /// The service it comes to. Not needed where there is only one.
    #[arg(long, value_name = "NAME", requires = "from")]
    service: Option<String>,
    /// The balancer that announces it with the PROXY protocol.
    #[arg(long, value_name = "ADDRESS", requires = "from")]
    via: Option<IpAddr>,
    /// Its certificate with the chain it sends, in PEM. Without one it shows none.
    #[arg(long, value_name = "FILE", requires = "from")]
    cert: Option<PathBuf>,
    /// What it says, as bytes on the wire.
    #[arg(long, value_name = "FILE", requires = "from")]
    frame: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    if let Some(from) = args.from {
        return paper::run(args, from);
    }
    if let Some(number) = args.event {
        return event::run(args, &|refusal| refusal.visit == number);
    }
    if let Some(who) = &args.last {
        return event::run(args, &|refusal| event::is_of(refusal, who));
    }
    codes::run(args.code.as_deref(), args.json)
}

/// An address on paper. No gate looks at the port, but 0 would be no port a visitor can come from.
fn peer(ip: IpAddr) -> PeerAddr {
    PeerAddr::new((ip, u16::MAX).into())
}

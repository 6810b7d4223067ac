//! `doorward explain`: what a code means, who would get in, and why somebody did not.

mod codes;
mod event;
mod lessons;
mod paper;
mod picture;
mod scene;

use std::net::IpAddr;
use std::path::PathBuf;

use doorward::paper::{Shows, Visitor};
use doorward::peer::PeerAddr;
use doorward::pki::keyfile::read_chain;

use super::{ConfigFile, Exit};

/// Explains a code, or walks the hallway: on paper for somebody who might come, or again for somebody who was refused.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
#[command(group = clap::ArgGroup::new("who").args(["from", "event", "last"]))]
pub(super) struct Args {
    /// The code, such as handshake.expired.
    #[arg(conflicts_with = "who")]
    code: Option<String>,
    /// Walk on paper for a visitor from this address.
    #[arg(long, value_name = "ADDRESS", help_heading = "Who")]
    from: Option<IpAddr>,
    /// Explain the refusal with this number of a visit, from the record of a running server.
    #[arg(long, value_name = "NUMBER", help_heading = "Who")]
    event: Option<u64>,
    /// Explain the last refusal, of this address or name if one is given.
    #[arg(long, value_name = "ADDRESS|NAME", num_args = 0..=1, default_missing_value = "", help_heading = "Who")]
    last: Option<String>,
    /// The admin socket, where it is not the one that the configuration names.
    #[arg(long, value_name = "FILE", requires = "who")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    visitor: Told,
}

/// What is told of the visitor, besides its address.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is known of it")]
struct Told {
    /// The listener it comes to, such as 127.0.0.1:8443 or systemd:NAME.
    #[arg(long, value_name = "LISTENER", requires = "from", conflicts_with = "service")]
    to: Option<String>,
    /// The service it comes to. Not needed where there is only one.
    #[arg(long, value_name = "NAME", requires = "from")]
    service: Option<String>,
    /// The balancer that announces it with the PROXY protocol.
    #[arg(long, value_name = "ADDRESS", requires = "from")]
    via: Option<IpAddr>,
    /// A protocol that it offers in TLS (ALPN). May be given more than once; with "" it offers none.
    #[arg(long, value_name = "PROTOCOL", requires = "who")]
    alpn: Vec<String>,
    /// Its certificate with the chain it sends, in PEM. Without one, a visitor on paper shows none.
    #[arg(long, value_name = "FILE", requires = "who")]
    cert: Option<PathBuf>,
    /// What it says, as bytes on the wire.
    #[arg(long, value_name = "FILE", requires = "who")]
    frame: Option<PathBuf>,
}

impl Told {
    /// The visitor from there, with what is told of it.
    fn known(&self, from: PeerAddr, via: Option<PeerAddr>) -> Result<Visitor, String> {
        let chain = match &self.cert {
            Some(file) => read_chain(file).map_err(|problem| problem.to_string())?,
            None => Vec::new(),
        };
        let words = self.frame.as_deref().map(paper::said).transpose()?;
        let named = self.alpn.iter().filter(|name| !name.is_empty());
        let alpn = (!self.alpn.is_empty()).then(|| named.cloned().collect());
        Ok(Visitor { from, via, alpn, shows: Shows::Chain(chain), words })
    }
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

const NOTES: &str = "Without anything, all codes are listed.\n\
    A walk on paper asks the server's own gates, without a network: by the configuration, the files that it names, \
    and the bans of the running server, where there is one with an admin socket. It knows no free seat.\n\
    Exit codes: with --from 0 the visitor would be let in, 1 it would be refused, 2 usage, 3 the configuration is \
    refused; otherwise 0 explained, 1 there is no such code or refusal, or no server, 2 usage.";

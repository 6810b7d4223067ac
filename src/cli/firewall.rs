//! `doorward firewall`: the address policy as rules of the host's firewall.

use doorward::bind::Interfaces;
use doorward::config::Config;
use doorward::firewall::{Dialect, Policy};

use super::{ConfigFile, Exit, screen};

/// Prints the address policy as rules of the host's firewall, for defence in depth. Nothing is changed.
///
/// The rules drop at the host's door what the address gate would refuse, for IPv4 and IPv6, and speak of no
/// other port. Listeners on loopback have none. Exit codes: 0 printed, 1 the interfaces cannot be listed, 3 the
/// configuration is refused.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which firewall.
    #[arg(value_enum)]
    dialect: Which,
    /// Print what takes the rules out again instead.
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Which {
    /// A file for nft -f: a table named doorward.
    Nftables,
    /// A script: chains named DOORWARD, for IPv4 and IPv6.
    Iptables,
    /// A script of ufw commands.
    Ufw,
    /// A script of firewall-cmd commands: a policy named doorward.
    Firewalld,
}

pub(super) fn run(args: &Args) -> Exit {
    let config = match Config::read(&args.config.config) {
        Ok((config, _)) => config,
        Err(problems) => {
            screen::tell_problems(&problems);
            return Exit::Refused;
        }
    };
    let interfaces = match Interfaces::of_this_host() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            screen::tell(format_args!(
                "doorward: the interfaces of this host cannot be listed: {error}"
            ));
            return Exit::Failed;
        }
    };
    let policy = Policy::of(&config, &interfaces);
    let dialect = match args.dialect {
        Which::Nftables => Dialect::Nftables,
        Which::Iptables => Dialect::Iptables,
        Which::Ufw => Dialect::Ufw,
        Which::Firewalld => Dialect::Firewalld,
    };
    let text = if args.remove { policy.remove(dialect) } else { policy.load(dialect) };
    text.lines().for_each(screen::say);
    Exit::Fine
}

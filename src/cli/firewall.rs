//! `doorward firewall`: the address policy as rules of the host's firewall, and where the host's rules differ.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use doorward::bind::Interfaces;
use doorward::config::Config;
use doorward::firewall::{Addresses, Dialect, Difference, Policy, Ruleset};
use doorward::network::counted;
use doorward::peer::PeerText;
use serde_json::{Value, json};

use super::{ConfigFile, Exit, screen};

/// Prints the address policy as rules of the host's firewall, for defence in depth, or compares them. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print a file for nft -f: a table named doorward.
    Nftables(Print),
    /// Print a script: chains named DOORWARD, for IPv4 and IPv6.
    Iptables(Print),
    /// Print a script of ufw commands.
    Ufw(Print),
    /// Print a script of firewall-cmd commands: a policy named doorward.
    Firewalld(Print),
    /// Say where the host's nftables rules let more addresses knock than the configuration does.
    Diff(Diff),
}

#[derive(Debug, clap::Args)]
struct Print {
    /// Print what takes the rules out again instead.
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// Walks the host's rules, as nft lists them, for each door of the configuration, with every source at once.
#[derive(Debug, clap::Args)]
#[command(after_help = DIFF_NOTES)]
struct Diff {
    /// What nft -j list ruleset printed. Without it, nft is asked, which takes root.
    #[arg(long, value_name = "FILE")]
    ruleset: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    match &args.what {
        What::Nftables(print) => printed(print, Dialect::Nftables),
        What::Iptables(print) => printed(print, Dialect::Iptables),
        What::Ufw(print) => printed(print, Dialect::Ufw),
        What::Firewalld(print) => printed(print, Dialect::Firewalld),
        What::Diff(diff) => compared(diff),
    }
}

fn printed(print: &Print, dialect: Dialect) -> Exit {
    let policy = match policy(&print.config) {
        Ok(policy) => policy,
        Err(exit) => return exit,
    };
    let text = if print.remove { policy.remove(dialect) } else { policy.load(dialect) };
    text.lines().for_each(screen::say);
    Exit::Fine
}

fn policy(file: &ConfigFile) -> Result<Policy, Exit> {
    let (config, _) = Config::read(&file.config).map_err(|problems| {
        screen::tell_problems(&problems);
        Exit::Refused
    })?;
    let interfaces = Interfaces::of_this_host().map_err(|error| {
        screen::tell(format_args!(
            "doorward: the interfaces of this host cannot be listed: {error}"
        ));
        Exit::Failed
    })?;
    Ok(Policy::of(&config, &interfaces))
}

fn compared(diff: &Diff) -> Exit {
    let policy = match policy(&diff.config) {
        Ok(policy) => policy,
        Err(exit) => return exit,
    };
    let listed = diff.ruleset.as_deref().map_or_else(asked, written);
    let host = match listed.and_then(|text| Ruleset::parse(&text)) {
        Ok(host) => host,
        Err(words) => {
            screen::tell(format_args!("doorward: the rules of the host cannot be read: {words}"));
            return Exit::Usage;
        }
    };
    let differences = policy.differences(&host);
    if diff.json {
        screen::say(differences.iter().map(as_json).collect::<Value>());
    } else {
        differences.iter().for_each(show);
        for left_out in policy.left_out() {
            screen::say(format_args!("not compared: {left_out}"));
        }
    }
    let wide = |one: &Difference| one.wider.count > 0 || one.perhaps.count > 0;
    if differences.iter().any(wide) { Exit::Failed } else { Exit::Fine }
}

fn written(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {}", file.display(), error.kind()))
}

fn asked() -> Result<String, String> {
    let listed = Command::new("nft").args(["-j", "list", "ruleset"]).output();
    let listed = listed.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return "nft is not installed here; give what it prints with --ruleset".to_owned();
        }
        error.kind().to_string()
    })?;
    if !listed.status.success() {
        return Err(PeerText::new(&listed.stderr).to_string());
    }
    String::from_utf8(listed.stdout).map_err(|_| "nft printed no UTF-8".to_owned())
}

fn show(difference: &Difference) {
    let Difference { service, at, place, wider, perhaps, narrower } = difference;
    screen::say(format_args!("{service} at {at} ({place})"));
    let mut same = true;
    for (what, addresses) in [
        ("wider: the host lets through whom the gate refuses", wider),
        ("perhaps wider: it depends on conditions of the host's rules", perhaps),
        ("narrower: the host drops who may knock", narrower),
    ] {
        if addresses.count > 0 {
            same = false;
            let count = counted(addresses.count);
            screen::say(format_args!(
                "    {what}: {count} addresses\n        {}",
                listed(addresses)
            ));
        }
    }
    if same {
        screen::say("    the same as the configuration");
    }
}

fn listed(addresses: &Addresses) -> String {
    let shown: Vec<_> = addresses.networks.iter().take(SHOWN).map(ToString::to_string).collect();
    match addresses.networks.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} other networks (all with --json)", shown.join(", ")),
    }
}

fn as_json(difference: &Difference) -> Value {
    let addresses = |addresses: &Addresses| {
        let networks: Vec<_> = addresses.networks.iter().map(ToString::to_string).collect();
        // JSON numbers end at 2^53 for many readers.
        json!({ "count": addresses.count.to_string(), "networks": networks })
    };
    json!({
        "service": *difference.service,
        "at": difference.at.to_string(),
        "place": difference.place.to_string(),
        "wider": addresses(&difference.wider),
        "perhaps": addresses(&difference.perhaps),
        "narrower": addresses(&difference.narrower),
    })
}

/// Two lines of a terminal.
const SHOWN: usize = 8;

const NOTES: &str = "The rules drop at the host's door what the address gate would refuse, for IPv4 and IPv6, and \
    speak of no other port. Listeners on loopback have none.\n\
    Exit codes: 0 printed, 1 the interfaces cannot be listed, 2 usage, 3 the configuration is refused.";
const DIFF_NOTES: &str = "Rules that were not made with nftables (iptables-legacy, BPF) are not seen.\n\
    Exit codes: 0 the host is nowhere wider, 1 it is or may be, 2 the rules cannot be read, \
    3 the configuration is refused.";

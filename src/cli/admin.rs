//! `doorward status`, `reload`, `ban` and `drain`: a running server, over its admin socket.

mod picture;

use std::path::PathBuf;
use std::time::Duration;

use doorward::admin::{Answer, Question, ask};
use doorward::config::Config;
use doorward::network::parse_network;
use doorward::problem::Problem;
use ipnet::IpNet;
use serde_json::json;

use super::{ConfigFile, Exit, screen};

/// Which server is asked.
#[derive(Debug, clap::Args)]
struct Server {
    #[command(flatten)]
    config: ConfigFile,
    /// The admin socket, where it is not the one that the configuration names.
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what is open to whom, who is in, what ends soon and who was refused.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    server: Server,
}

/// Let a running server read its configuration and every file it names anew.
///
/// All or nothing: where something is wrong the old state serves on, and the exit code is 3.
#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    server: Server,
}

/// Takes nobody new, and ends the server when its sessions have ended or their time is over.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    server: Server,
}

/// Keep an address or a network out of a running server for a while.
///
/// Its sessions are cut. A restart forgets bans, unless state in [bans] names a file for them.
#[derive(Debug, clap::Args)]
pub(super) struct BanArgs {
    /// The address or network, such as `192.0.2.7` or `2001:db8::/64`.
    #[arg(value_parser = network, required_unless_present = "list")]
    network: Option<IpNet>,
    /// For how long, such as 90s, 15m, 12h or 30d.
    #[arg(long = "for", value_name = "TIME", value_parser = span, default_value = "1h")]
    span: Duration,
    /// Why, for whoever looks later.
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    why: String,
    /// End the ban of this network instead.
    #[arg(long, conflicts_with = "list")]
    lift: bool,
    /// Show every ban instead.
    #[arg(long, conflicts_with = "network")]
    list: bool,
    #[command(flatten)]
    server: Server,
}

pub(super) fn status(args: &StatusArgs) -> Exit {
    talk(&args.server, &Question::Status, picture::print)
}

pub(super) fn reload(args: &ReloadArgs) -> Exit {
    talk(&args.server, &Question::Reload, |_| ())
}

pub(super) fn drain(args: &DrainArgs) -> Exit {
    talk(&args.server, &Question::Drain, |_| ())
}

pub(super) fn ban(args: &BanArgs) -> Exit {
    let Some(network) = args.network else {
        return talk(&args.server, &Question::Status, picture::print_bans);
    };
    let question = if args.lift {
        Question::Lift { network }
    } else {
        Question::Ban { network, seconds: args.span.as_secs(), why: args.why.clone() }
    };
    talk(&args.server, &question, |_| ())
}

/// Asks, and shows the answer; `show` is for a status.
fn talk(
    server: &Server,
    question: &Question,
    show: impl Fn(&doorward::server::status::Status),
) -> Exit {
    let answer = match server.find().and_then(|socket| ask(&socket, question)) {
        Ok(answer) => answer,
        Err(problem) => {
            screen::tell(format_args!("doorward: {problem}"));
            return Exit::Failed;
        }
    };
    if server.json {
        screen::say(json!(answer));
    }
    match (answer, server.json) {
        (Answer::Status(status), false) => show(&status),
        (Answer::Done(warnings), false) => {
            warnings.iter().for_each(screen::tell);
            screen::say("done");
        }
        (Answer::Refused(problems), json) => {
            if !json {
                problems.iter().for_each(screen::tell);
            }
            // What a reload is refused for is what a start would be refused for.
            let refused = matches!(question, Question::Reload);
            return if refused { Exit::Refused } else { Exit::Failed };
        }
        // Nobody asks for sockets here.
        (Answer::Status(_) | Answer::Done(_), true) | (Answer::Sockets(_), _) => {}
    }
    Exit::Fine
}

impl Server {
    fn find(&self) -> Result<PathBuf, Problem> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => Config::admin_socket(&self.config.config),
        }
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    parse_network(text).map_err(|problem| format!("{}; {}", problem.message(), problem.remedy()))
}

/// A span of whole seconds, minutes, hours or days.
fn span(text: &str) -> Result<Duration, String> {
    let refused = || "is no time: write a whole number with s, m, h or d, such as 15m".to_owned();
    let unit = text.chars().next_back().ok_or_else(refused)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(refused()),
    };
    let number: u32 = text.trim_end_matches(unit).parse().map_err(|_| refused())?;
    match u64::from(number).saturating_mul(seconds) {
        0 => Err("is no time at all: a ban needs one".to_owned()),
        seconds if seconds > LONGEST_BAN => {
            Err("is longer than a year: whoever is out for good belongs in deny of [address]"
                .to_owned())
        }
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

const LONGEST_BAN: u64 = 365 * 24 * 3600;

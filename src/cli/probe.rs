//! `doorward probe`: attack one's own running server, and see where each attack ends.

use std::net::SocketAddr;
use std::path::PathBuf;

use doorward::config::Config;
use doorward::probe::{Aim, Attack, Probe, Report, Row, Verdict};
use doorward::problem::Problem;
use serde_json::json;

use super::{ConfigFile, Exit, screen};

/// Attack one's own running server, and see where each attack ends.
///
/// Only an address that the configuration listens on and that is this machine's is attacked, and only a server
/// that shows the configuration's certificate; nothing lifts this. At most 260 connections are open at once, no
/// attack takes longer than 40 s, and none begins after 180 s. Nothing is written but the report.
///
/// With [admin] the server's own record tells the room in which an attack ended. Where the private key of the
/// authority is in the store, certificates that only it can sign are minted in memory; otherwise those attacks
/// are listed as ones that could not be tried.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The service; the first of the configuration without it.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Which of the service's listeners.
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: Option<SocketAddr>,
    /// The store of certificates; where [handshake] has its authorities without it.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The honest client's certificate; one of the store that the service permits without it.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of --cert.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Make these attacks alone.
    #[arg(long, value_name = "ATTACK", num_args = 1..)]
    only: Vec<Attack>,
    /// List every attack, and make none.
    #[arg(long)]
    list: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Write the report to this file too, for continuous integration, in the XML of `JUnit`.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    if args.list {
        list(args.json);
        return Exit::Fine;
    }
    let config = match Config::read(&args.config.config) {
        Ok((config, _)) => config,
        Err(problems) => {
            screen::tell_problems(&problems);
            return Exit::Refused;
        }
    };
    let probe = match Probe::aim(&config, &args.aim()) {
        Ok(probe) => probe,
        Err(problem) => return no_aim(args, &problem),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::tell(format_args!("doorward: the runtime cannot start: {error}"));
            return Exit::Failed;
        }
    };
    if !args.json {
        head(&probe);
    }
    let report = runtime.block_on(probe.run(|row| {
        if !args.json {
            print(row);
        }
    }));
    if args.json {
        screen::say(json!(report));
    } else {
        sum_up(&report);
    }
    if let Some(file) = &args.junit
        && let Err(error) = std::fs::write(file, report.junit())
    {
        screen::tell(format_args!("doorward: {} cannot be written: {error}", file.display()));
        return Exit::Failed;
    }
    if report.all_held() { Exit::Fine } else { Exit::Failed }
}

impl Args {
    fn aim(&self) -> Aim {
        let client = self.cert.clone().zip(self.key.clone());
        Aim {
            service: self.service.clone(),
            to: self.to,
            directory: self.dir.clone(),
            client,
            only: self.only.clone(),
            command: std::env::current_exe().ok(),
        }
    }
}

/// What was typed is wrong, or else the configuration.
fn no_aim(args: &Args, problem: &Problem) -> Exit {
    screen::tell(format_args!("doorward: {problem}"));
    let typed = args.to.is_some() || args.service.is_some() || args.cert.is_some();
    if typed { Exit::Usage } else { Exit::Refused }
}

fn list(json: bool) {
    for attack in Attack::ALL {
        let codes: Vec<_> = attack.ends().iter().map(|refusal| refusal.code()).collect();
        let (word, room, sentence) = (attack.word(), attack.room(), attack.sentence());
        if json {
            screen::say(
                json!({ "attack": word, "room": room, "ends": codes, "sentence": sentence }),
            );
        } else {
            screen::say(format_args!("{room:<10} {word:<20} {sentence}"));
        }
    }
}

fn head(probe: &Probe) {
    let by = if probe.has_witness() {
        "the server's own record tells where each attack ends"
    } else {
        "no admin socket answers, so only what an attacker sees is known"
    };
    screen::say(format_args!("service {} at {}: {by}", probe.service(), probe.target()));
    let [room, attack, expected, got] = ["room", "attack", "must end as", "ended as"];
    line(room, attack, expected, got, "verdict");
}

fn print(row: &Row) {
    let Row { attack, room, expected, got, verdict, note, took } = row;
    let milliseconds = took.as_millis();
    let verdict = format!("{} ({milliseconds} ms)", verdict.words());
    line(room, attack.word(), expected, got, &verdict);
    if !note.is_empty() {
        screen::say(format_args!("           {note}"));
    }
}

fn line(room: &str, attack: &str, expected: &str, got: &str, verdict: &str) {
    screen::say(format_args!("{room:<10} {attack:<19} {expected:<27} {got:<27} {verdict}"));
}

fn sum_up(report: &Report) {
    let count = |verdict| report.count(verdict);
    screen::say(format_args!(
        "{} held, {} not held, {} could not be tried; the honest client was served {} times",
        count(Verdict::Held),
        count(Verdict::NotHeld),
        count(Verdict::CouldNotTry),
        report.honest,
    ));
    if let Some(why) = &report.honest_failure {
        screen::say(format_args!(
            "the honest client was not always served, so nothing is proven: {why}"
        ));
    }
}

const EXIT_CODES: &str = "Exit codes: 0 all held, 1 something got through, ended in another room, or the honest \
    client was not served, 2 usage, 3 the configuration is refused.";

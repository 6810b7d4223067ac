//! `doorward certs trust`: lets other programs trust the authority, for one shell or for a whole machine.

use std::env;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use clap::Subcommand;
use doorward::pki::anchor::{
    self, Breadth, Effect, Installation, Outcome, Removal, Shell, Site, Standing, Status,
    TrustStore,
};
use doorward::problem::{Fault, Problem};
use serde_json::{Value, json};

use super::{Directory, Done, Exit, screen, word};

/// Lets other programs trust the authority: in one shell, or in the trust stores of this machine.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Env(EnvArgs),
    Install(InstallArgs),
    Uninstall(StoresArgs),
    Status(StatusArgs),
}

/// Prints what sets the variables by which OpenSSL, curl, git, Node, Python and Java trust the authority.
///
/// It counts for what is started from that shell alone: eval "$(doorward certs trust env)". Most of the
/// variables replace the system's authorities; the comments say which. Writes trust.p12 for Java.
#[derive(Debug, clap::Args)]
struct EnvArgs {
    #[command(flatten)]
    directory: Directory,
    /// The language of the lines: sh, fish or powershell.
    #[arg(long, value_name = "SHELL", default_value = "sh", value_parser = word::<Shell>)]
    shell: Shell,
    /// Print the variables as JSON.
    #[arg(long)]
    json: bool,
}

/// Puts the authority into trust stores, after it has said what it will write and run, and was told to.
///
/// What was done is recorded beside the authority, and uninstall takes back exactly that. An authority
/// that may vouch for every name, or is outside its dates, is refused.
#[derive(Debug, clap::Args)]
struct InstallArgs {
    #[command(flatten)]
    stores: StoresArgs,
    /// Do not ask. Without it and without a terminal nothing is done.
    #[arg(long)]
    yes: bool,
    /// Install an authority that may vouch for every name: whoever steals its key can be anybody to you.
    #[arg(long)]
    unconstrained: bool,
}

/// Says of each trust store whether it has the authority.
///
/// Exit code 0 where every trust store that is there has it, 1 otherwise.
#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    stores: StoresArgs,
}

/// Takes back what install did, and nothing else: what somebody changed since is left alone.
#[derive(Debug, clap::Args)]
struct StoresArgs {
    #[command(flatten)]
    directory: Directory,
    /// Which trust stores: system, nss (Firefox, Chromium, Chrome) or java. All of them by default.
    #[arg(long = "store", value_name = "STORE", num_args = 1.., value_parser = word::<TrustStore>)]
    stores: Vec<TrustStore>,
    /// Operate on a mounted system image instead of /, and run its programs there. Leaves out nss, which
    /// is below the home, unless it is named.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print what came of it as JSON.
    #[arg(long)]
    json: bool,
}

impl StoresArgs {
    fn kinds(&self) -> Vec<TrustStore> {
        let mut kinds = self.stores.clone();
        if kinds.is_empty() {
            kinds = TrustStore::ALL.to_vec();
            kinds.retain(|kind| self.root.is_none() || *kind != TrustStore::Nss);
        }
        kinds.sort();
        kinds.dedup();
        kinds
    }

    fn site(&self) -> Result<Site, Problem> {
        let path = |name: &str| env::var_os(name).map(PathBuf::from);
        let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        let site = Site::new(path(home), path("JAVA_HOME"));
        match &self.root {
            Some(root) => site.image(root),
            None => Ok(site),
        }
    }
}

pub(super) fn run(args: &Args) -> Done {
    match &args.verb {
        Verb::Env(args) => print_variables(args),
        Verb::Install(args) => install(args),
        Verb::Uninstall(args) => uninstall(args),
        Verb::Status(args) => status(&args.stores),
    }
}

fn print_variables(args: &EnvArgs) -> Done {
    let store = args.directory.open()?;
    let variables = store.variables()?;
    if args.json {
        let variables = variables.iter().map(|variable| {
            json!({
                "name": variable.name,
                "value": variable.value,
                "effect": variable.effect.word(),
                "readers": variable.readers,
            })
        });
        screen::say(json!({
            "trust": store.layout().trust(),
            "variables": variables.collect::<Vec<_>>(),
        }));
        return Ok(Exit::Fine);
    }
    for variable in &variables {
        screen::say(args.shell.line(variable));
    }
    // The comments come last: a shell that is given all of this as one line loses nothing but them.
    for variable in &variables {
        let (name, readers) = (variable.name, variable.readers);
        let effect = match variable.effect {
            Effect::Adds => "adds to the authorities trusted already",
            Effect::Replaces => {
                "REPLACES the system's authorities, so public servers may be refused"
            }
        };
        screen::say(format_args!("# {name} {effect}: {readers}."));
    }
    screen::say("# JAVA_TOOL_OPTIONS also replaces what was in that variable before.");
    screen::say(format_args!("# To take it over: {}", args.shell.usage()));
    Ok(Exit::Fine)
}

fn install(args: &InstallArgs) -> Done {
    let store = args.stores.directory.open()?;
    let (site, kinds) = (args.stores.site()?, args.stores.kinds());
    let breadth =
        if args.unconstrained { Breadth::DangerUnconstrained } else { Breadth::Constrained };
    let plan = Installation::plan(&store, &site, &kinds, breadth)?;
    let passed_over = plan.passed_over().to_vec();
    let (steps, stuck) = (plan.steps(), is_stuck(&passed_over));
    passed_over.iter().for_each(tell_passed_over);
    if passed_over.iter().all(|status| status.standing == Standing::Absent) && steps.is_empty() {
        let message = "there is none of these trust stores here";
        let remedy = "start the browser once, install ca-certificates or set JAVA_HOME; or use doorward certs trust env";
        return Err(Problem::error(Fault::CertsTrustStore, message, remedy));
    }
    let mut outcomes = Vec::new();
    if !steps.is_empty() {
        confirm(&steps, args.yes)?;
        outcomes = plan.perform()?;
    }
    let failed = outcomes.iter().any(|outcome| outcome.result.is_err());
    print_outcomes(&args.stores, &outcomes, |left| ("installed", left.as_deref()));
    Ok(if failed || stuck { Exit::Failed } else { Exit::Fine })
}

fn is_stuck(passed_over: &[Status]) -> bool {
    passed_over.iter().any(|status| status.standing == Standing::CannotTell)
}

fn tell_passed_over(status: &Status) {
    if let Some(problem) = &status.problem {
        screen::tell(format_args!("doorward: {problem}"));
        return;
    }
    let (store, standing) = (status.store, status.standing.words());
    match &status.note {
        Some(note) => screen::tell(format_args!("{store}: {standing}: {note}")),
        None => screen::tell(format_args!("{store}: {standing}")),
    }
}

/// Says what will be done, and waits for a yes.
fn confirm(steps: &[String], yes: bool) -> Result<(), Problem> {
    screen::tell("this will");
    for step in steps {
        screen::tell(format_args!("  {step}"));
    }
    if yes {
        return Ok(());
    }
    let refused = |message| {
        let remedy = "read the lines above; then answer yes at a terminal, or say --yes";
        Problem::error(Fault::CertsNotConfirmed, message, remedy)
    };
    if !io::stdin().is_terminal() {
        return Err(refused("nothing was changed: there is no terminal to ask at"));
    }
    drop(write!(io::stderr().lock(), "go on? [y/N] "));
    let mut answer = String::new();
    // More than a line nobody types; an error is no yes.
    io::stdin().lock().take(64).read_line(&mut answer).ok();
    if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(refused("nothing was changed: the answer was not yes"))
}

fn uninstall(args: &StoresArgs) -> Done {
    let store = args.directory.open()?;
    let outcomes = anchor::uninstall(&store, &args.site()?, &args.kinds())?;
    if outcomes.is_empty() && !args.json {
        screen::say("nothing of this store is installed there");
    }
    print_outcomes(args, &outcomes, |removal| match removal {
        Removal::Removed(left) => ("removed", left.as_deref()),
        Removal::Gone => ("was gone already", None),
        Removal::LeftAlone(why) => ("left alone", Some(why)),
    });
    let failed = outcomes.iter().any(|outcome| outcome.result.is_err());
    Ok(if failed { Exit::Failed } else { Exit::Fine })
}

fn print_outcomes<T>(
    args: &StoresArgs,
    outcomes: &[Outcome<T>],
    words: impl Fn(&T) -> (&'static str, Option<&str>),
) {
    if args.json {
        let outcomes = outcomes.iter().map(|outcome| outcome_json(outcome, &words));
        screen::say(outcomes.collect::<Value>());
        return;
    }
    for Outcome { store, place, result, .. } in outcomes {
        match result.as_ref().map(&words) {
            Ok((word, None)) => screen::say(format_args!("{store:6}  {word}  {place}")),
            Ok((word, Some(note))) => {
                screen::say(format_args!("{store:6}  {word}  {place}: {note}"));
            }
            Err(problem) => screen::tell(format_args!("doorward: {problem}")),
        }
    }
}

fn outcome_json<T>(
    Outcome { store, place, mark, result }: &Outcome<T>,
    words: impl Fn(&T) -> (&'static str, Option<&str>),
) -> Value {
    let (word, note, code) = match result {
        Ok(done) => {
            let (word, note) = words(done);
            (word, note.map(str::to_owned), None)
        }
        Err(problem) => {
            ("failed", Some(problem.message().to_owned()), Some(problem.fault().code()))
        }
    };
    let sha256 = mark.sha256();
    json!({ "store": store.word(), "place": place, "sha256": sha256, "result": word, "note": note, "code": code })
}

fn status(args: &StoresArgs) -> Done {
    let store = args.directory.open()?;
    let seen = anchor::status(&store, &args.site()?, &args.kinds())?;
    let fine = |status: &Status| matches!(status.standing, Standing::Installed | Standing::Absent);
    let installed = seen.iter().any(|status| status.standing == Standing::Installed);
    if args.json {
        screen::say(seen.iter().map(status_json).collect::<Value>());
    } else {
        seen.iter().for_each(print_status);
    }
    Ok(if installed && seen.iter().all(fine) { Exit::Fine } else { Exit::Failed })
}

fn print_status(status: &Status) {
    let (store, words) = (status.store, status.standing.words());
    let place = status.place.as_deref().unwrap_or_default();
    match note_of(status) {
        Some(note) => screen::say(format_args!("{store:6}  {words}  {place}: {note}")),
        None => screen::say(format_args!("{store:6}  {words}  {place}").to_string().trim_end()),
    }
}

fn status_json(status: &Status) -> Value {
    json!({
        "store": status.store.word(),
        "place": status.place,
        "sha256": status.mark.sha256(),
        "standing": status.standing.words(),
        "note": note_of(status),
        "code": status.problem.as_ref().map(|problem| problem.fault().code()),
    })
}

fn note_of(status: &Status) -> Option<String> {
    let problem = |problem: &Problem| format!("{}: {}", problem.message(), problem.remedy());
    status.note.clone().or_else(|| status.problem.as_ref().map(problem))
}

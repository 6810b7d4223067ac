//! `doorward certs init`: everything for mutual TLS, proven.

use clap::ValueEnum;
use doorward::pki::{
    AuthorityKey, ClientIdentity, ClientName, Constraints, HostName, KeyType, Layout, Plan, Store,
    Subtree,
};
use doorward::problem::{Fault, Problem};
use doorward::proof::{Trial, prove};
use serde_json::json;

use super::passphrase::Source;
use super::{Directory, Done, Exit, block_on, day, moment, near, screen, word};

/// Makes an authority, a server certificate, client certificates and a revocation list, and proves them.
///
/// The proof is real handshakes, in memory, with the verifier that serve uses: every client gets in;
/// nobody gets in without a certificate, with one of another authority, with a server's, with an expired
/// or with a revoked one; and the client refuses a server of another name. Nothing that exists is
/// overwritten. Exit codes: 0 made and proven, 1 not made or not proven, 2 usage.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    directory: Directory,
    /// The names and addresses of the server.
    #[arg(value_name = "HOST|IP", value_parser = word::<HostName>, default_values = ["localhost", "127.0.0.1", "::1"])]
    hosts: Vec<HostName>,
    /// The clients.
    #[arg(long = "client", value_name = "NAME", num_args = 1.., value_parser = word::<ClientName>, default_value = "alice")]
    clients: Vec<ClientName>,
    /// The kind of every key: p256, p384, ed25519, rsa3072 or ml-dsa-65.
    #[arg(long, value_name = "KIND", default_value = "p256", value_parser = word::<KeyType>)]
    key: KeyType,
    /// The life of the authority in days, 3650 at the most.
    #[arg(long, value_name = "DAYS", default_value_t = 825)]
    ca_days: u32,
    /// The life of servers' and clients' certificates in days, 199 at the most.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    days: u32,
    /// What else the authority may vouch for, beside the hosts, names of development and loopback.
    #[arg(long, value_name = "DNS|CIDR", num_args = 1.., value_parser = word::<Subtree>)]
    permit: Vec<Subtree>,
    /// Let the authority vouch for every name: whoever steals its key can be anybody.
    #[arg(long, conflicts_with = "permit")]
    unconstrained: bool,
    /// What becomes of the authority's key.
    #[arg(long, value_enum, default_value_t = KeyCare::Plain)]
    ca_key: KeyCare,
    #[command(flatten)]
    passphrase: Source,
    /// Print what was made and proven as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeyCare {
    /// Write it, readable by its owner only.
    Plain,
    /// Write it encrypted with a passphrase, which everything that signs asks for.
    Encrypted,
    /// Never write it: nothing more can be issued, renewed or revoked.
    Discard,
}

pub(super) fn run(args: &Args) -> Done {
    let plan = plan(args)?;
    let (store, authority) = Store::create_with_authority(&args.directory.dir, &plan)?;
    let layout = store.layout();
    let trials = block_on(prove(layout, &plan, &authority))??;
    let proven = !trials.is_empty() && trials.iter().all(Trial::is_right);
    if args.json {
        screen::say(json!({
            "directory": layout.directory(),
            "trust": layout.trust(),
            "revocations": layout.revocations(),
            "authority": {
                "may_vouch_for": plan.authority.constraints.to_string(),
                "not_after": moment(authority.not_after()),
                "key": store_key(&plan, layout),
            },
            "servers": plan.servers.iter().filter_map(|names| names.first())
                .map(|host| layout.server(host)).collect::<Vec<_>>(),
            "clients": plan.clients.iter().map(|client| layout.client(client.name()))
                .collect::<Vec<_>>(),
            "proven": proven,
            "trials": trials.iter().map(trial_json).collect::<Vec<_>>(),
        }));
    } else {
        print_made(&plan, layout, &day(authority.not_after()).to_string());
        print_trials(&trials);
    }
    if proven {
        return Ok(Exit::Fine);
    }
    screen::tell("doorward: a handshake did not end as it has to: do not use these certificates");
    Ok(Exit::Failed)
}

fn plan(args: &Args) -> Result<Plan, Problem> {
    let mut clients: Vec<ClientIdentity> = Vec::new();
    for name in &args.clients {
        if !clients.iter().any(|client| client.name() == name) {
            clients.push(name.clone().into());
        }
    }
    let mut plan = Plan::new(args.hosts.clone(), clients);
    plan.authority.constraints = if args.unconstrained {
        Constraints::unconstrained()
    } else {
        plan.authority.constraints.permitting(args.permit.iter().cloned())
    };
    plan.authority.key = args.key;
    plan.authority.days = args.ca_days;
    plan.leaf.key = args.key;
    plan.leaf.days = args.days;
    plan.authority_key = authority_key(args)?;
    Ok(plan)
}

fn authority_key(args: &Args) -> Result<AuthorityKey, Problem> {
    let care = match args.ca_key {
        KeyCare::Encrypted => return args.passphrase.choose().map(AuthorityKey::Encrypted),
        KeyCare::Plain => AuthorityKey::Kept,
        KeyCare::Discard => AuthorityKey::Discarded,
    };
    if args.passphrase.is_written() {
        let message = "a passphrase was given for a key that is not encrypted";
        let remedy = "add --ca-key encrypted, or leave --passphrase-file out";
        return Err(Problem::error(Fault::CertsBadOption, message, remedy));
    }
    Ok(care)
}

fn store_key(plan: &Plan, layout: &Layout) -> Option<std::path::PathBuf> {
    match &plan.authority_key {
        AuthorityKey::Kept | AuthorityKey::Encrypted(_) => Some(layout.authority_key()),
        AuthorityKey::Discarded => None,
    }
}

fn print_made(plan: &Plan, layout: &Layout, until: &str) {
    let constraints = &plan.authority.constraints;
    screen::say(format_args!("authority  until {until}, for {constraints}"));
    match store_key(plan, layout) {
        Some(key) => {
            let how = match &plan.authority_key {
                AuthorityKey::Encrypted(_) => "encrypted, ",
                AuthorityKey::Kept | AuthorityKey::Discarded => "",
            };
            screen::say(format_args!("its key    {}, {how}which no service needs", near(&key)));
        }
        None => screen::say("its key    discarded: nothing more can be issued, renewed or revoked"),
    }
    screen::say(format_args!("trust      {}, the file to hand to peers", near(&layout.trust())));
    screen::say(format_args!("revoked    {}, nobody so far", near(&layout.revocations())));
    for names in &plan.servers {
        let Some(first) = names.first() else { continue };
        let all: Vec<_> = names.iter().map(ToString::to_string).collect();
        let place = layout.server(first);
        screen::say(format_args!("server     {} for {}", near(&place), all.join(", ")));
    }
    for client in &plan.clients {
        let place = layout.client(client.name());
        screen::say(format_args!("client     {} for {}", near(&place), client.name().dns()));
    }
}

fn print_trials(trials: &[Trial]) {
    screen::say("\nproof: handshakes in memory, with the verifier that serve uses");
    let widest = trials.iter().map(|trial| trial.visitor.chars().count()).max().unwrap_or(0);
    for trial in trials {
        let (visitor, found) = (&trial.visitor, trial.found);
        if trial.is_right() {
            screen::say(format_args!("  right  {visitor:widest$}  {found}"));
        } else {
            let expected = trial.expected;
            screen::say(format_args!("  WRONG  {visitor:widest$}  {found}, not {expected}"));
        }
    }
}

fn trial_json(trial: &Trial) -> serde_json::Value {
    json!({
        "visitor": trial.visitor,
        "expected": trial.expected.code(),
        "found": trial.found.code(),
        "right": trial.is_right(),
    })
}

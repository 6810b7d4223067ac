//! `doorward certs renew`: a new key and certificate in the place of the old.

use doorward::pki::{Filed, Renewed, Store};
use doorward::problem::Problem;
use serde_json::json;
use time::Duration;

use super::passphrase::Signing;
use super::{Done, Exit, day, is_due, moment, near, screen, span};

/// Issues servers and clients anew: new keys of the same kind, the same names, as long a life.
///
/// The previous pair is kept beside the new one as chain.pem.old and key.pem.old, and counts until it
/// ends or is revoked. --all and --due leave out who is revoked; a revoked client that is named gets a
/// new certificate.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(super) struct Args {
    #[command(flatten)]
    signing: Signing,
    /// A client, the first name of a server, or a serial number; client/NAME or server/HOST where it could be both.
    #[arg(value_name = "NAME", group = "which")]
    name: Option<String>,
    /// Every server and client.
    #[arg(long, group = "which")]
    all: bool,
    /// Every server and client whose certificate ends within this time.
    #[arg(long, group = "which", value_name = "30d|12h", value_parser = span)]
    due: Option<Duration>,
    /// Their new life in days, where it is not as long as before.
    #[arg(long, value_name = "DAYS")]
    days: Option<u32>,
    /// Print what was renewed as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let store = args.signing.open()?;
    let mut renewed = Vec::new();
    let mut exit = Exit::Fine;
    for filed in chosen(args, &store)? {
        match store.renew(&filed, args.days) {
            Ok(new) => renewed.push(new),
            Err(problem) => {
                // One that cannot be renewed does not keep the others from it.
                let place = near(&filed.place);
                screen::tell(format_args!("doorward: {place} is not renewed: {problem}"));
                exit = Exit::Failed;
            }
        }
    }
    say(args, &renewed);
    let again =
        renewed.iter().find(|new| args.due.is_some_and(|within| is_due(new.not_after, within)));
    if let Some(new) = again {
        screen::tell(format_args!(
            "doorward: {} is due again at once: either its authority ends soon, and a new one is needed, \
             or its life is no longer than --due",
            near(&new.place)
        ));
    }
    Ok(exit)
}

fn chosen(args: &Args, store: &Store) -> Result<Vec<Filed>, Problem> {
    if let Some(name) = &args.name {
        return store.find_filed(name).map(|filed| vec![filed]);
    }
    let due = |filed: &Filed| {
        let ends = filed.entry.issued.not_after;
        filed.entry.revoked.is_none() && args.due.is_none_or(|within| is_due(ends, within))
    };
    Ok(store.filed()?.into_iter().filter(due).collect())
}

fn say(args: &Args, renewed: &[Renewed]) {
    if args.json {
        let renewed: Vec<_> = renewed
            .iter()
            .map(|new| {
                json!({
                    "directory": new.place,
                    "serial": new.serial.to_string(),
                    "not_after": moment(new.not_after),
                })
            })
            .collect();
        return screen::say(json!({ "renewed": renewed }));
    }
    for new in renewed {
        screen::say(format_args!("{}: renewed, until {}", near(&new.place), day(new.not_after)));
    }
    if renewed.is_empty() {
        screen::say("nothing was renewed");
    }
}

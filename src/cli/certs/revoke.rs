//! `doorward certs revoke` and `doorward certs crl`: who no longer counts.

use doorward::pki::{Reason, RevocationList, Store, Target};
use serde_json::json;

use super::passphrase::Signing;
use super::{Done, Exit, near, screen, word};

/// Revokes every certificate of a client or server, or one by its number, and publishes a new list.
///
/// A server refuses what is on the list from when it reads the list.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    signing: Signing,
    /// A client, the first name of a server, or a serial number; client/NAME or server/HOST where it could be both.
    #[arg(value_name = "NAME|SERIAL")]
    name: String,
    /// Why: unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation or
    /// privilege-withdrawn.
    #[arg(long, value_name = "REASON", default_value = "unspecified", value_parser = word::<Reason>)]
    reason: Reason,
    /// Print what was revoked as JSON.
    #[arg(long)]
    json: bool,
}

/// Signs the revocation list anew, with a higher number, before the old one ends.
///
/// A server believes nobody after the list's last day, so run it from a timer.
#[derive(Debug, clap::Args)]
pub(super) struct CrlArgs {
    #[command(flatten)]
    signing: Signing,
    /// Print where it is as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let store = args.signing.open()?;
    let target = Target::find(&args.name, &store.list()?)?;
    let revoked = store.revoke(&target, args.reason)?;
    let list = store.layout().revocations();
    if args.json {
        let revoked: Vec<_> = revoked.iter().map(ToString::to_string).collect();
        screen::say(json!({ "revoked": revoked, "revocations": list }));
        return Ok(Exit::Fine);
    }
    if revoked.is_empty() {
        screen::say(format_args!("{target} was revoked before"));
    }
    for serial in revoked {
        screen::say(format_args!("revoked {serial} ({})", args.reason));
    }
    say_published(&store);
    Ok(Exit::Fine)
}

pub(super) fn crl(args: &CrlArgs) -> Done {
    let store = args.signing.open()?;
    store.publish_revocations()?;
    if args.json {
        screen::say(json!({
            "revocations": store.layout().revocations(),
            "days": RevocationList::DAYS,
        }));
    } else {
        say_published(&store);
    }
    Ok(Exit::Fine)
}

fn say_published(store: &Store) {
    let list = store.layout().revocations();
    let days = RevocationList::DAYS;
    screen::say(format_args!("{} is published anew, for {days} days", near(&list)));
}

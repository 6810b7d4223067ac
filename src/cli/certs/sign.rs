//! `doorward certs sign`: a certificate for a key that stays where it is.

use std::path::PathBuf;

use clap::ValueEnum;
use doorward::pki::{Request, Role};
use serde_json::json;

use super::passphrase::Signing;
use super::{Done, Exit, day, moment, near, screen};

/// Signs a certificate signing request (PKCS#10, PEM or DER), and writes the chain beside it.
///
/// Of the request only the key and the names are taken over; what else it asks for is listed and left
/// out, and one that asks to be an authority is refused. A server needs subject alternative names; a
/// client is named by DNS:NAME.client.internal or by its common name.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    signing: Signing,
    /// The request.
    #[arg(value_name = "CSR")]
    request: PathBuf,
    /// What the certificate is for; the request has no say in it.
    #[arg(long = "as", value_name = "ROLE", value_enum)]
    role: As,
    /// Its life in days: 199 at the most for a server, 825 for a client, and no longer than its authority's.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    days: u32,
    /// The new file for the chain, where it is not the request's name with .chain.pem.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print what was signed as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum As {
    /// It stands for hosts.
    Server,
    /// It stands for a client.
    Client,
}

pub(super) fn run(args: &Args) -> Done {
    let store = args.signing.open()?;
    let request = Request::open(&args.request)?;
    let role = match args.role {
        As::Server => Role::Server,
        As::Client => Role::Client,
    };
    let out = args.out.clone().unwrap_or_else(|| args.request.with_extension("chain.pem"));
    let signed = store.sign(&request, role, args.days, &out)?;
    if args.json {
        screen::say(json!({
            "chain": signed.chain,
            "names": signed.names,
            "serial": signed.serial.to_string(),
            "not_after": moment(signed.not_after),
            "left_out": request.left_out(),
        }));
        return Ok(Exit::Fine);
    }
    let names = signed.names.join(", ");
    let until = day(signed.not_after);
    screen::say(format_args!("{}: {role} {names}, until {until}", near(&signed.chain)));
    for wish in request.left_out() {
        screen::say(format_args!("  not taken over: {wish}"));
    }
    Ok(Exit::Fine)
}

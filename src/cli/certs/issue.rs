//! `doorward certs server` and `doorward certs client`: one more.

use std::path::Path;

use doorward::pki::keyfile::read_chain;
use doorward::pki::{
    ClientIdentity, ClientName, Email, HostName, KeyType, Options, Serial, SpiffeId, last_second,
};
use doorward::problem::{Fault, Problem};
use serde_json::json;

use super::passphrase::Signing;
use super::{Done, Exit, day, moment, near, screen, word};

/// Issues a certificate for a server: DIR/server/HOST/{chain,key}.pem, under the first name.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    signing: Signing,
    /// Its names and addresses, the one it is filed under first.
    #[arg(value_name = "HOST|IP", required = true, value_parser = word::<HostName>)]
    hosts: Vec<HostName>,
    #[command(flatten)]
    kind: Kind,
}

/// Issues a certificate for a client: DIR/client/NAME/{chain,key}.pem.
///
/// Identity rules permit it as dns:NAME.client.internal, or by the names given with --san.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    signing: Signing,
    /// Its name, one word such as alice.
    #[arg(value_name = "NAME", value_parser = word::<ClientName>)]
    name: ClientName,
    /// More names: one SPIFFE ID (`spiffe://example.test/reporting`), and e-mail addresses.
    #[arg(long, value_name = "URI|EMAIL", num_args = 1.., value_parser = alternative)]
    san: Vec<Alternative>,
    #[command(flatten)]
    kind: Kind,
}

/// What both kinds of certificate have in common.
#[derive(Debug, clap::Args)]
struct Kind {
    /// The kind of its key: p256, p384, ed25519, rsa3072 or ml-dsa-65.
    #[arg(long, value_name = "KIND", default_value = "p256", value_parser = word::<KeyType>)]
    key: KeyType,
    /// Its life in days: 199 at the most for a server, 825 for a client, and no longer than its authority's.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    days: u32,
    /// Print what was issued as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug)]
enum Alternative {
    Spiffe(SpiffeId),
    Email(Email),
}

pub(super) fn server(args: &ServerArgs) -> Done {
    let store = args.signing.open()?;
    let place = store.issue_server(&args.hosts, args.kind.options())?;
    let names: Vec<_> = args.hosts.iter().map(HostName::typed).collect();
    say(&place, &names, args.kind.json)
}

pub(super) fn client(args: &ClientArgs) -> Done {
    let mut identity = ClientIdentity::from(args.name.clone());
    for name in &args.san {
        identity = match name {
            Alternative::Email(email) => identity.with_email(email.clone()),
            Alternative::Spiffe(_) if identity.spiffe().is_some() => {
                let message = "two SPIFFE IDs were given, and a certificate holds one";
                let remedy = "issue a certificate for each";
                return Err(Problem::error(Fault::CertsBadName, message, remedy));
            }
            Alternative::Spiffe(id) => identity.with_spiffe(id.clone()),
        };
    }
    let store = args.signing.open()?;
    let place = store.issue_client(&identity, args.kind.options())?;
    say(&place, &identity.typed_names(), args.kind.json)
}

impl Kind {
    fn options(&self) -> Options {
        Options { key: self.key, days: self.days }
    }
}

fn alternative(text: &str) -> Result<Alternative, String> {
    if text.contains("://") {
        return word(text).map(Alternative::Spiffe);
    }
    word(text).map(Alternative::Email)
}

fn say(place: &Path, names: &[String], as_json: bool) -> Done {
    let (chain, key) = (place.join("chain.pem"), place.join("key.pem"));
    let certificates = read_chain(&chain)?;
    let not_after = last_second(&certificates)?;
    if as_json {
        let serial = certificates.first().map(Serial::of).transpose()?;
        let serial = serial.map(|serial| serial.to_string());
        screen::say(json!({
            "names": names, "serial": serial, "not_after": moment(not_after),
            "chain": chain, "key": key,
        }));
        return Ok(Exit::Fine);
    }
    screen::say(format_args!("{}: {}, until {}", near(place), names.join(", "), day(not_after)));
    Ok(Exit::Fine)
}

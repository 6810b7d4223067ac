//! `doorward certs`: an authority of one's own, and what it issues.

mod issue;
mod init;
mod r#break;
mod check;
mod doctor;
mod inspect;
mod lint;
mod list;
mod needs_renewal;
mod p12;
mod passphrase;
mod renew;
mod revoke;
mod sign;
mod trust;
mod verify;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use doorward::pki::Store;
use doorward::problem::{Fault, Problem};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{Exit, screen};

/// Makes an authority and issues, renews and revokes what it vouches for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// Each verb is described where its arguments are, which is what its help shows.
#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Args),
    Server(issue::ServerArgs),
    Client(issue::ClientArgs),
    List(list::Args),
    Revoke(revoke::Args),
    Crl(revoke::CrlArgs),
    Renew(renew::Args),
    Sign(sign::Args),
    P12(p12::Args),
    NeedsRenewal(needs_renewal::Args),
    Trust(trust::Args),
    /// Explain what a file holds or a server shows: certificates, requests, revocation lists.
    Inspect(inspect::Args),
    /// Judge a file by RFC 5280 and by what strict verifiers refuse.
    Lint(lint::Args),
    /// Look over a store: exposed keys, links, what ends soon, what contradicts the inventory.
    Doctor(doctor::Args),
    /// Make certificates that are wrong on purpose.
    Break(r#break::Args),
    Check(check::Args),
    /// Verify a chain as the other side of a handshake would.
    Verify(verify::Args),
}

pub(super) fn run(args: &Args) -> Exit {
    let done = match &args.verb {
        Verb::Init(args) => init::run(args),
        Verb::Server(args) => issue::server(args),
        Verb::Client(args) => issue::client(args),
        Verb::List(args) => list::run(args),
        Verb::Revoke(args) => revoke::run(args),
        Verb::Crl(args) => revoke::crl(args),
        Verb::Renew(args) => renew::run(args),
        Verb::Sign(args) => sign::run(args),
        Verb::P12(args) => p12::run(args),
        Verb::NeedsRenewal(args) => Ok(needs_renewal::run(args)),
        Verb::Trust(args) => trust::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Lint(args) => lint::run(args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::Break(args) => r#break::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Verify(args) => verify::run(args),
    };
    done.unwrap_or_else(|problem| {
        screen::tell(format_args!("doorward: {problem}"));
        Exit::Failed
    })
}

/// Where the certificates are.
#[derive(Debug, clap::Args)]
struct Directory {
    /// The directory of the authority and of what it issued.
    #[arg(long, value_name = "DIRECTORY", default_value = "certs")]
    dir: PathBuf,
}

impl Directory {
    fn open(&self) -> Result<Store, Problem> {
        Store::open(&self.dir)
    }
}

/// Runs what shakes hands in memory.
fn block_on<F: Future>(future: F) -> Result<F::Output, Problem> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            let message = format!("the certificates cannot be tried: {error}");
            Problem::error(Fault::CertsCryptography, message, "look at the limits of this user")
        })?;
    Ok(runtime.block_on(future))
}

/// How a verb ends that did not fail on the way.
type Done = Result<Exit, Problem>;

/// A path as short as it can be named from here.
fn near(path: &Path) -> impl Display {
    let here = std::env::current_dir().ok();
    let inside = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    inside.unwrap_or(path).display()
}

/// A moment as programs and people read it, such as `2026-11-23T04:25:49Z`.
fn moment(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).unwrap_or_else(|_| moment.to_string())
}

/// A day as people read it.
fn day(moment: OffsetDateTime) -> impl Display {
    moment.date()
}

/// The value of an option whose words the library knows, with its remedy where it is none of them.
fn word<T: std::str::FromStr<Err = Problem>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|problem: Problem| format!("{}; {}", problem.message(), problem.remedy()))
}

/// A span of whole days or hours, such as `30d` or `12h`.
fn span(text: &str) -> Result<Duration, String> {
    let refused =
        || "is no span: write a whole number of days or hours, such as 30d or 12h".to_owned();
    let (number, hours) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (days, 24),
        (None, Some(hours)) => (hours, 1),
        (None, None) => return Err(refused()),
    };
    let number: u16 = number.parse().map_err(|_| refused())?;
    Ok(Duration::hours(i64::from(number).saturating_mul(hours)))
}

/// Whether something that ends then ends within a span from now, or has ended.
fn is_due(not_after: OffsetDateTime, within: Duration) -> bool {
    not_after < OffsetDateTime::now_utc().saturating_add(within)
}

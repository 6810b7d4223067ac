//! `doorward certs verify`: whether a chain would be believed, and by whom.

use std::path::PathBuf;

use clap::ValueEnum;
use doorward::pki::HostName;
use doorward::pki::keyfile::{read_chain, read_crls, read_key};
use doorward::pki::lint::Verifier;
use doorward::pki::verdict::{Foreseen, Purpose, Question};
use serde_json::json;
use time::OffsetDateTime;

use super::{Done, Exit, screen};

/// Verifies a chain as the other side of a handshake would, and says who objects.
///
/// Exit code 0 where it is believed, 1 where it is not.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The chain in PEM, its own certificate first.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is shown for.
    #[arg(long = "as", value_enum, value_name = "ROLE")]
    role: Role,
    /// The authorities that are trusted.
    #[arg(long, value_name = "FILE", default_value = "certs/trust.pem")]
    trust: PathBuf,
    /// The host a server's certificate has to stand for.
    #[arg(long, value_name = "HOST", value_parser = host)]
    name: Option<HostName>,
    /// Revocation lists; with one, every issuer in the chain needs one.
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// By whose rules. For all but doorward the verdict is foreseen from what is known of them: nobody is asked.
    #[arg(long = "for", value_enum, value_name = "VERIFIER", default_value = "doorward")]
    verifier: Whose,
    /// The private key that has to belong to it.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print the verdict as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// It stands for a server.
    Server,
    /// It stands for a client.
    Client,
}

/// Whose rules decide.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Whose {
    /// This program, which asks more of clients than rustls does.
    Doorward,
    /// rustls with webpki.
    Rustls,
    /// OpenSSL with the defaults of a current Linux distribution.
    Openssl,
    /// The same, asked to be strict.
    OpensslStrict,
    /// Python from 3.13 on, which is strict by default.
    Python313,
    /// Node.js.
    Node,
    /// GnuTLS, as curl and wget of some distributions use it.
    Gnutls,
    /// Go's crypto/x509.
    Go,
    /// macOS and iOS.
    Apple,
}

impl Whose {
    fn verifier(self) -> Verifier {
        match self {
            Self::Doorward => Verifier::Doorward,
            Self::Rustls => Verifier::Rustls,
            Self::Openssl => Verifier::OpenSsl,
            Self::OpensslStrict => Verifier::OpenSslStrict,
            Self::Python313 => Verifier::Python313,
            Self::Node => Verifier::Node,
            Self::Gnutls => Verifier::GnuTls,
            Self::Go => Verifier::Go,
            Self::Apple => Verifier::Apple,
        }
    }
}

pub(super) fn run(args: &Args) -> Done {
    let purpose = match (args.role, &args.name) {
        (Role::Server, name) => Purpose::Server(name.clone()),
        (Role::Client, None) => Purpose::Client,
        (Role::Client, Some(_)) => {
            screen::tell("doorward: --name goes with --as server; nobody dials a client");
            return Ok(Exit::Usage);
        }
    };
    let chain = read_chain(&args.file)?;
    let trust = read_chain(&args.trust)?;
    let mut lists = Vec::new();
    for path in &args.crl {
        lists.extend(read_crls(path)?);
    }
    let now = OffsetDateTime::now_utc();
    let question = Question { purpose, trust: &trust, lists: &lists, key: None, now };
    let verifier = args.verifier.verifier();
    let mut verdict = question.foresee(verifier, &chain);
    // What is wrong with the certificate says more than that its key cannot even be loaded.
    if let (Ok(()), Some(path)) = (&verdict, &args.key) {
        let key = read_key(path)?;
        verdict = Question { key: Some(&key), ..question }.foresee(verifier, &chain);
    }
    Ok(tell(args, verdict))
}

fn tell(args: &Args, verdict: Result<(), Foreseen>) -> Exit {
    let exit = if verdict.is_ok() { Exit::Fine } else { Exit::Failed };
    let role = match args.role {
        Role::Server => "server",
        Role::Client => "client",
    };
    if args.json {
        let refused = verdict.err();
        screen::say(json!({
            "file": args.file.display().to_string(),
            "as": role,
            "for": args.verifier.verifier().word(),
            "believed": refused.is_none(),
            "code": refused.as_ref().map(Foreseen::code),
            "by": refused.as_ref().map(|refused| refused.by().word()),
            "detail": refused.as_ref().map(Foreseen::detail),
        }));
        return exit;
    }
    if let Err(refused) = verdict {
        screen::say(format_args!("{}: {refused}", args.file.display()));
        return exit;
    }
    let lists = if args.crl.is_empty() { "; nobody asked whether it is revoked" } else { "" };
    let verifier = args.verifier.verifier();
    let by = if verifier == Verifier::Doorward {
        String::new()
    } else {
        format!(" by {}, as far as its rules are known", verifier.word())
    };
    screen::say(format_args!("{}: believed as a {role}{by}{lists}", args.file.display()));
    exit
}

fn host(text: &str) -> Result<HostName, String> {
    text.parse().map_err(|problem: doorward::problem::Problem| problem.message().to_owned())
}

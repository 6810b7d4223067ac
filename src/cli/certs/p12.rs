//! `doorward certs p12`: key and certificates in one file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use doorward::pki::Password;
use doorward::problem::{Fault, Problem};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Directory, Done, Exit, near, screen};

/// Writes a key, its certificate and the authority's as PKCS#12, for browsers, Java and Windows.
///
/// AES-256 and SHA-256, which OpenSSL 3, Java and current systems read. Without --password-file a
/// password is made and printed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    directory: Directory,
    /// A client or the first name of a server; client/NAME or server/HOST where it could be both.
    #[arg(value_name = "NAME")]
    name: String,
    /// The file whose first line is the password: printable ASCII, 128 characters at the most.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The new file, where it is not id.p12 beside the key.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print where it is as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let store = args.directory.open()?;
    let filed = store.find_filed(&args.name)?;
    let password = match &args.password_file {
        Some(file) => read(file)?,
        None => Password::random()?,
    };
    let bundle = store.export(&filed, &password, args.out.as_deref())?;
    let made = args.password_file.is_none().then(|| password.as_str());
    if args.json {
        screen::say(json!({ "bundle": bundle, "password": made }));
        return Ok(Exit::Fine);
    }
    screen::say(near(&bundle));
    if let Some(password) = made {
        screen::say(format_args!("password: {password}"));
    }
    Ok(Exit::Fine)
}

fn read(file: &Path) -> Result<Password, Problem> {
    let unreadable = |error: std::io::Error| {
        let message = format!("the password file {} cannot be read: {error}", file.display());
        let remedy = "write the password into a file of your own";
        Problem::error(Fault::CertsUnreadable, message, remedy)
    };
    let mut text = Zeroizing::new(String::new());
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(FILE_LIMIT).read_to_string(&mut text).map_err(unreadable)?;
    text.lines().next().unwrap_or_default().parse()
}

/// The longest password is far shorter.
const FILE_LIMIT: u64 = 4096;

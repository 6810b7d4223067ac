//! Key and certificate files: read whole or not at all.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::problem::{Fault, Problem};

/// The certificates of a PEM file, in their order.
///
/// # Errors
/// [`Fault::HandshakeUnreadable`] where the file is missing, too large, holds no certificate, or holds
/// something that is half one.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let text = read(path, Secrecy::Public)?;
    sections(path, &text, "certificate")
}

/// The private key of a PEM file.
///
/// # Errors
/// [`Fault::HandshakeKeyExposed`] where others than the owner may read it, otherwise as [`read_chain`].
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    let text = zeroize::Zeroizing::new(read(path, Secrecy::Secret)?);
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| half(path, "private key"))
}

/// The revocation lists of a PEM file, or the one of a DER file.
///
/// # Errors
/// As [`read_chain`].
pub fn read_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let text = read(path, Secrecy::Public)?;
    // DER begins with the tag of a SEQUENCE, PEM with a dash or a comment.
    if text.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(text)]);
    }
    sections(path, &text, "revocation list")
}

fn sections<T: PemObject>(path: &Path, text: &[u8], what: &str) -> Result<Vec<T>, Problem> {
    let found: Result<Vec<T>, _> = T::pem_slice_iter(text).collect();
    let found = found.map_err(|_| half(path, what))?;
    if found.is_empty() {
        return Err(half(path, what));
    }
    Ok(found)
}

fn half(path: &Path, what: &str) -> Problem {
    Problem::error(
        Fault::HandshakeUnreadable,
        format!("{} holds no whole {what}", path.display()),
        format!("name a PEM file with the {what}, and see that it was copied whole"),
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Public,
    Secret,
}

fn read(path: &Path, secrecy: Secrecy) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: std::io::Error| {
        let remedy = "see that the file is there, and that this user may read it";
        Problem::error(Fault::HandshakeUnreadable, format!("{}: {error}", path.display()), remedy)
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if secrecy == Secrecy::Secret && is_exposed(&meta) {
        return Err(Problem::error(
            Fault::HandshakeKeyExposed,
            format!("{} can be read by others than its owner", path.display()),
            format!(
                "chmod 600 {}, and make a new key if somebody may have read it",
                path.display()
            ),
        ));
    }
    if meta.len() > LARGEST_FILE || !meta.is_file() {
        let remedy = "name a file with certificates or a key";
        let what = format!("{} is no file of at most 1 MiB", path.display());
        return Err(Problem::error(Fault::HandshakeUnreadable, what, remedy));
    }
    let mut text = Vec::new();
    file.by_ref().take(LARGEST_FILE).read_to_end(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(unix)]
fn is_exposed(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &std::fs::Metadata) -> bool {
    false
}

/// A hundred public authorities fit; a log or an image does not.
const LARGEST_FILE: u64 = 1024 * 1024;

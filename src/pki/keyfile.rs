//! Reads certificates, keys and revocation lists that are named in a configuration: all of a file, or none of it.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::Path;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, CertificateSigningRequestDer, PrivateKeyDer,
    PrivatePkcs8KeyDer,
};
use x509_parser::pem::Pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::pki::passphrase::{self, Passphrase};
use crate::pki::pbes2::{Sealed, Unreadable};
use crate::problem::{Fault, Problem};

/// Reads every certificate of a PEM file, in its order. Other sections, such as a key, are skipped.
///
/// # Errors
/// [`Fault::HandshakeUnreadable`] if the file is missing, no regular file, empty, larger than 1 MiB, or if
/// anything in it is cut off or cannot be parsed.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = read(path, open(path)?, LARGEST)?;
    if contains(&bytes, b"-----BEGIN TRUSTED CERTIFICATE-----") {
        let remedy = "rewrite it with openssl x509 -in FILE -out NEWFILE";
        return Err(unreadable(path, "holds a certificate in the form only OpenSSL knows", remedy));
    }
    let chain = sections::<CertificateDer<'static>>(path, &bytes)?;
    if chain.is_empty() {
        return Err(unreadable(
            path,
            "holds no certificate in PEM",
            "write certificates as -----BEGIN CERTIFICATE----- sections",
        ));
    }
    for (number, certificate) in (1_usize..).zip(&chain) {
        if !X509Certificate::from_der(certificate).is_ok_and(|(rest, _)| rest.is_empty()) {
            let reason = format!("holds a certificate that cannot be parsed, as number {number}");
            return Err(unreadable(path, &reason, "copy the file again from where it was made"));
        }
    }
    Ok(chain)
}

/// Reads the one private key of a PEM file: PKCS#8, PKCS#1 or SEC1, without a password.
///
/// On Unix the file may carry no permission for group or others, judged on the opened file itself.
///
/// # Errors
/// [`Fault::HandshakeKeyExposed`] if others than the owner may use the file; [`Fault::HandshakeUnreadable`] if
/// it is missing, no regular file, empty, larger than 1 MiB, cut off, encrypted, or holds no key or several.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    let bytes = read_private(path)?;
    if contains(&bytes, BEGIN_ENCRYPTED) || contains(&bytes, b"Proc-Type: 4,ENCRYPTED") {
        let remedy =
            "decrypt it with openssl pkey -in FILE -out NEWFILE, and keep the new file at mode 600";
        return Err(unreadable(path, "holds a key that is encrypted with a password", remedy));
    }
    let mut keys = sections::<PrivateKeyDer<'static>>(path, &bytes)?.into_iter();
    let Some(key) = keys.next() else {
        return Err(unreadable(
            path,
            "holds no private key in PEM",
            "write the key as a -----BEGIN PRIVATE KEY----- section",
        ));
    };
    if keys.next().is_some() {
        return Err(unreadable(path, "holds more than one private key", "keep one key a file"));
    }
    if any_supported_type(&key).is_err() {
        return Err(unreadable(
            path,
            "holds a key that is damaged or of an unsupported kind",
            "use a P-256, P-384, Ed25519, RSA or ML-DSA key",
        ));
    }
    Ok(key)
}

/// Whether a file holds a key that is encrypted with a passphrase, in PKCS#8.
///
/// # Errors
/// [`Fault::HandshakeUnreadable`] if the file is missing, no regular file, empty, or larger than 16 MiB.
pub fn is_encrypted(path: &Path) -> Result<bool, Problem> {
    read_whole(path).map(|bytes| contains(&bytes, BEGIN_ENCRYPTED))
}

/// Reads the one private key of a PEM file that is encrypted: PKCS#8 with PBES2, by scrypt or PBKDF2, and AES.
///
/// A file that asks for more than 129 MiB of memory or for minutes of work is refused before any is spent.
///
/// # Errors
/// [`Fault::CertsWrongPassphrase`]; [`Fault::HandshakeKeyExposed`] if others than the owner may use the file;
/// [`Fault::HandshakeUnreadable`] if it is missing, no regular file, empty, larger than 1 MiB, cut off, or
/// holds no such key or several.
pub fn read_encrypted_key(
    path: &Path,
    passphrase: &Passphrase,
) -> Result<Zeroizing<PrivateKeyDer<'static>>, Problem> {
    let bytes = read_private(path)?;
    let again = "copy the file again from where it was made";
    let mut sealed = Vec::new();
    for section in Pem::iter_from_buffer(&bytes) {
        let section = section.map_err(|_| unreadable(path, "is cut off or damaged", again))?;
        if section.label == ENCRYPTED {
            sealed.push(section.contents);
        }
    }
    let [sealed] = sealed.as_slice() else {
        let reason = format!("holds {} encrypted keys", sealed.len());
        return Err(unreadable(path, &reason, "keep one key a file"));
    };
    let sealed = Sealed::read(sealed).map_err(|why| match why {
        Unreadable::Malformed => unreadable(path, "holds a key that is damaged", again),
        Unreadable::Unknown => {
            let remedy = "encrypt it anew: openssl pkcs8 -topk8 -v2 aes256 -in FILE -out NEWFILE";
            unreadable(path, "holds a key that is encrypted in a way not known here", remedy)
        }
        Unreadable::Costly => {
            let reason = "asks for more memory or time than a key is given";
            let remedy = "encrypt it anew with the usual parameters: openssl pkcs8 -topk8 -scrypt -in FILE -out NEWFILE";
            unreadable(path, reason, remedy)
        }
    })?;
    // What a wrong passphrase decrypts may have the right padding by chance, but is no key.
    let plain = sealed.open(passphrase.bytes()).ok_or_else(|| passphrase::wrong(path))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(plain.to_vec()));
    let key = Zeroizing::new(key);
    if any_supported_type(&key).is_err() {
        return Err(passphrase::wrong(path));
    }
    Ok(key)
}

/// Reads a file that nobody but its owner may use.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let file = open(path)?;
    refuse_exposed(path, &file)?;
    read(path, file, LARGEST)
}

/// Reads every revocation list of a file: PEM, or one list in DER.
///
/// # Errors
/// [`Fault::HandshakeUnreadable`] if the file is missing, no regular file, empty, larger than 16 MiB, or if
/// anything in it is cut off or cannot be parsed.
pub fn read_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let bytes = read(path, open(path)?, LARGEST_CRL)?;
    let lists = if contains(&bytes, b"-----BEGIN ") {
        sections::<CertificateRevocationListDer<'static>>(path, &bytes)?
    } else {
        vec![CertificateRevocationListDer::from(bytes.to_vec())]
    };
    if lists.is_empty() {
        return Err(unreadable(
            path,
            "holds no revocation list",
            "write lists as -----BEGIN X509 CRL----- sections, or one in DER",
        ));
    }
    for list in &lists {
        if !CertificateRevocationList::from_der(list).is_ok_and(|(rest, _)| rest.is_empty()) {
            return Err(unreadable(
                path,
                "holds a revocation list that cannot be parsed",
                "fetch the list again from its authority",
            ));
        }
    }
    Ok(lists)
}

/// Reads the one certificate signing request of a file: PEM or DER. What it asks for is not looked at.
///
/// # Errors
/// [`Fault::HandshakeUnreadable`] if the file is missing, no regular file, empty, larger than 1 MiB, cut off, or
/// holds no request or several.
pub fn read_request(path: &Path) -> Result<CertificateSigningRequestDer<'static>, Problem> {
    let bytes = read(path, open(path)?, LARGEST)?;
    if !contains(&bytes, b"-----BEGIN ") {
        return Ok(CertificateSigningRequestDer::from(bytes.to_vec()));
    }
    let mut requests = sections::<CertificateSigningRequestDer<'static>>(path, &bytes)?.into_iter();
    match (requests.next(), requests.next()) {
        (Some(request), None) => Ok(request),
        (None, _) => Err(unreadable(
            path,
            "holds no certificate signing request in PEM",
            "write it as a -----BEGIN CERTIFICATE REQUEST----- section",
        )),
        (Some(_), Some(_)) => {
            Err(unreadable(path, "holds more than one request", "sign one at a time"))
        }
    }
}

/// Reads whatever a file holds, a private key included, into a buffer that is wiped.
///
/// # Errors
/// [`Fault::HandshakeUnreadable`] if the file is missing, no regular file, empty, or larger than 16 MiB.
pub(crate) fn read_whole(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    read(path, open(path)?, LARGEST_CRL)
}

/// The label of an encrypted key (RFC 7468 section 11).
pub(crate) const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const BEGIN_ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// A chain of six certificates of 16 KiB is what a handshake accepts; a trust store of hundreds still fits.
const LARGEST: u64 = 1024 * 1024;

/// The list of a large company has some hundred thousand entries of about 40 bytes.
const LARGEST_CRL: u64 = 16 * 1024 * 1024;

fn open(path: &Path) -> Result<File, Problem> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // A named pipe must not make the start wait for a writer.
        options.custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    }
    let file = options.open(path).map_err(|error| unopened(path, &error))?;
    let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !regular {
        return Err(unreadable(path, "is not a regular file", "name a file"));
    }
    Ok(file)
}

/// Reads all of a file into a buffer that is wiped, and that never moved while it grew.
fn read(path: &Path, file: File, largest: u64) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let announced = file.metadata().map_or(0, |metadata| metadata.len()).min(largest);
    let room = usize::try_from(announced).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let length = file
        .take(largest.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| unopened(path, &error))?;
    if length == 0 {
        return Err(unreadable(path, "is empty", "copy the file again from where it was made"));
    }
    if u64::try_from(length).map_or(true, |length| length > largest) {
        let reason = format!("is larger than {largest} bytes");
        return Err(unreadable(path, &reason, "check that it is the file you mean"));
    }
    Ok(bytes)
}

/// Every section of one kind. A file that is damaged anywhere is refused, also where the damage is in another section.
fn sections<T: PemObject>(path: &Path, bytes: &[u8]) -> Result<Vec<T>, Problem> {
    let damaged =
        || unreadable(path, "is cut off or damaged", "copy the file again from where it was made");
    let mut wanted = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        let (kind, der) = section.map_err(|_| damaged())?;
        wanted.extend(T::from_pem(kind, der));
    }
    // The parser forgives an end without a beginning, and a beginning inside another section.
    let begins = lines(bytes, b"-----BEGIN ");
    if begins != lines(bytes, b"-----END ") {
        return Err(damaged());
    }
    Ok(wanted)
}

fn lines(bytes: &[u8], start: &[u8]) -> usize {
    bytes.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| line.starts_with(start)).count()
}

pub(crate) fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(unix)]
fn refuse_exposed(path: &Path, file: &File) -> Result<(), Problem> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode =
        file.metadata().map_err(|error| unopened(path, &error))?.permissions().mode() & 0o777;
    let others = mode & 0o077;
    if others == 0 {
        return Ok(());
    }
    let message = format!(
        "{} has mode {mode:03o}, so others than its owner may use the private key",
        path.display()
    );
    Err(Problem::error(
        Fault::HandshakeKeyExposed,
        message,
        format!("chmod 600 {}", path.display()),
    ))
}

/// Where there are no permission bits there is nothing to judge: keep the file in a directory of your own.
#[cfg(not(unix))]
fn refuse_exposed(_path: &Path, _file: &File) -> Result<(), Problem> {
    Ok(())
}

fn unopened(path: &Path, error: &std::io::Error) -> Problem {
    use std::io::ErrorKind;
    let (reason, remedy) = if error.kind() == ErrorKind::NotFound {
        ("does not exist".to_owned(), "check the path, or make the file first")
    } else if error.kind() == ErrorKind::PermissionDenied {
        let remedy = "run as the owner of the file, or give the file to this user";
        ("may not be read by this user".to_owned(), remedy)
    } else {
        (format!("cannot be read: {error}"), "check the path and the disk")
    };
    unreadable(path, &reason, remedy)
}

pub(crate) fn unreadable(path: &Path, reason: &str, remedy: &str) -> Problem {
    Problem::error(Fault::HandshakeUnreadable, format!("{} {reason}", path.display()), remedy)
}

#[cfg(test)]
#[cfg(unix)]
#[path = "keyfile_tests.rs"]
mod tests;

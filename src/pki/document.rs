//! A file with certificates, requests and lists in it, of which nobody has said yet what is what.

use std::path::Path;

use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, CertificateSigningRequestDer,
};
use x509_parser::prelude::{
    CertificateRevocationList, FromDer as _, X509Certificate, X509CertificationRequest,
};

use crate::pki::keyfile;
use crate::problem::Problem;

/// What a file holds, in its order. Every item can be parsed.
#[derive(Debug)]
pub struct Document {
    items: Vec<Item>,
}

/// One thing in a file.
#[derive(Debug)]
pub enum Item {
    /// A certificate.
    Certificate(CertificateDer<'static>),
    /// A request to be given a certificate (PKCS#10).
    Request(CertificateSigningRequestDer<'static>),
    /// A revocation list.
    RevocationList(CertificateRevocationListDer<'static>),
    /// A private key. Only that it is there is kept, and in which form.
    PrivateKey(&'static str),
    /// A public key.
    PublicKey,
}

impl Document {
    /// Reads a file: any number of PEM sections, or one item in DER.
    ///
    /// # Errors
    /// [`Fault::HandshakeUnreadable`](crate::problem::Fault::HandshakeUnreadable) if the file is missing, no
    /// regular file, empty, larger than 16 MiB, cut off, or holds nothing that is known here.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let bytes = keyfile::read_whole(path)?;
        let items = if keyfile::contains(&bytes, b"-----BEGIN ") {
            pem(&bytes)
        } else {
            der(&bytes).map(|item| vec![item])
        };
        match items {
            Ok(items) if !items.is_empty() => Ok(Self { items }),
            Ok(_) => Err(Unreadable::Nothing.at(path)),
            Err(reason) => Err(reason.at(path)),
        }
    }

    /// A document of these certificates.
    #[must_use]
    pub fn of_chain(chain: &[CertificateDer<'static>]) -> Self {
        Self { items: chain.iter().cloned().map(Item::Certificate).collect() }
    }

    /// What it holds.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The certificates in it.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let certificates = self.items.iter().filter_map(|item| match item {
            Item::Certificate(der) => Some(der.clone()),
            Item::Request(_) | Item::RevocationList(_) | Item::PrivateKey(_) | Item::PublicKey => {
                None
            }
        });
        certificates.collect()
    }
}

impl From<Item> for Document {
    fn from(item: Item) -> Self {
        Self { items: vec![item] }
    }
}

enum Unreadable {
    Damaged,
    Item(usize),
    Nothing,
}

impl Unreadable {
    fn at(self, path: &Path) -> Problem {
        let again = "copy the file again from where it was made";
        match self {
            Self::Damaged => keyfile::unreadable(path, "is cut off or damaged", again),
            Self::Item(number) => {
                let reason = format!("holds something that cannot be parsed, as number {number}");
                keyfile::unreadable(path, &reason, again)
            }
            Self::Nothing => keyfile::unreadable(
                path,
                "holds no certificate, request, revocation list or key",
                "name a file in PEM or DER",
            ),
        }
    }
}

fn pem(bytes: &[u8]) -> Result<Vec<Item>, Unreadable> {
    let mut items = Vec::new();
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes);
    for (number, section) in (1_usize..).zip(sections) {
        let (kind, der) = section.map_err(|_| Unreadable::Damaged)?;
        let unreadable = || Unreadable::Item(number);
        items.extend(match kind {
            SectionKind::Certificate => Some(certificate(&der).ok_or_else(unreadable)?),
            SectionKind::Csr => Some(request(&der).ok_or_else(unreadable)?),
            SectionKind::Crl => Some(list(&der).ok_or_else(unreadable)?),
            SectionKind::PrivateKey => Some(Item::PrivateKey("PKCS#8")),
            SectionKind::RsaPrivateKey => Some(Item::PrivateKey("PKCS#1")),
            SectionKind::EcPrivateKey => Some(Item::PrivateKey("SEC1")),
            SectionKind::PublicKey => Some(Item::PublicKey),
            SectionKind::EchConfigList | _ => None,
        });
    }
    // The parser skips labels it does not know, and an encrypted key is still a key.
    if keyfile::contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        items.push(Item::PrivateKey("encrypted PKCS#8"));
    }
    let ends = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    let (mut begun, mut ended) = (0_usize, 0_usize);
    for line in ends {
        begun = begun.saturating_add(usize::from(line.starts_with(b"-----BEGIN ")));
        ended = ended.saturating_add(usize::from(line.starts_with(b"-----END ")));
    }
    if begun == ended { Ok(items) } else { Err(Unreadable::Damaged) }
}

fn der(bytes: &[u8]) -> Result<Item, Unreadable> {
    let item = certificate(bytes).or_else(|| list(bytes)).or_else(|| request(bytes));
    if let Some(item) = item {
        return Ok(item);
    }
    match rustls::pki_types::PrivateKeyDer::try_from(bytes) {
        Ok(_key) => Ok(Item::PrivateKey("DER")),
        Err(_) => Err(Unreadable::Nothing),
    }
}

fn certificate(der: &[u8]) -> Option<Item> {
    let whole = X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    whole.then(|| Item::Certificate(CertificateDer::from(der.to_vec())))
}

fn request(der: &[u8]) -> Option<Item> {
    let whole = X509CertificationRequest::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    whole.then(|| Item::Request(CertificateSigningRequestDer::from(der.to_vec())))
}

fn list(der: &[u8]) -> Option<Item> {
    let whole = CertificateRevocationList::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    whole.then(|| Item::RevocationList(CertificateRevocationListDer::from(der.to_vec())))
}

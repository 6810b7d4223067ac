//! Pins: of all servers that the authority vouches for, only those with these keys.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::handshake::Pin;

/// Judges a server as ever, by chain, time, purpose and name, and then by its key.
///
/// It stands inside the handshake, so a server with another key does not even see the client's certificate.
#[derive(Debug)]
pub(super) struct Pinned {
    chain: Arc<WebPkiServerVerifier>,
    pins: Vec<Pin>,
}

/// The key of a server that passed in everything else.
#[derive(Debug)]
pub(super) struct WrongPin {
    pub(super) shown: Pin,
}

impl Pinned {
    pub(super) fn new(chain: Arc<WebPkiServerVerifier>, pins: Vec<Pin>) -> Self {
        Self { chain, pins }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        let shown = pin_of(end_entity)?;
        if self.pins.contains(&shown) {
            return Ok(verified);
        }
        let why: Arc<dyn std::error::Error + Send + Sync> = Arc::new(WrongPin { shown });
        Err(CertificateError::Other(OtherError(why)).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn pin_of(certificate: &CertificateDer<'_>) -> Result<Pin, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let key = digest(&SHA256, parsed.public_key().raw);
    let key: [u8; 32] =
        key.as_ref().try_into().map_err(|_| Error::from(CertificateError::BadEncoding))?;
    Ok(Pin::from_digest(key))
}

impl fmt::Display for WrongPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server's key is {}", self.shown)
    }
}

impl std::error::Error for WrongPin {}

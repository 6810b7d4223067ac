//! What a running server shows, asked without believing any of it.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::peer::PeerText;
use crate::pki::document::Document;
use crate::problem::{Fault, Problem};

/// The chain that the server at `HOST:PORT` shows, whatever it is worth. Nothing is sent to it but the
/// beginning of a handshake, and no certificate is shown in return.
///
/// # Errors
/// [`Fault::CertsNotShown`] if nobody answers, or nobody shows a certificate within `patience`.
pub fn shown_by(address: &str, patience: Duration) -> Result<Document, Problem> {
    let deadline = Instant::now().checked_add(patience);
    let left = || deadline.and_then(|end| end.checked_duration_since(Instant::now()));
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| not_shown(address, "the host is no name and no address"))?;
    let notes = Arc::new(DangerNotesAnyCertificate::new());
    let mut tls =
        connection(&notes, name).map_err(|error| not_shown(address, &error.to_string()))?;
    let mut stream = connect(address, patience)?;
    while tls.is_handshaking() && notes.is_empty() {
        let Some(left) = left().filter(|left| !left.is_zero()) else {
            return Err(not_shown(address, "it took too long"));
        };
        let timed =
            stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
        let moved = timed.and_then(|()| {
            if tls.wants_write() { tls.write_tls(&mut stream) } else { tls.read_tls(&mut stream) }
        });
        match moved {
            Ok(0) => return Err(not_shown(address, "it hung up before it showed one")),
            Ok(_) => {}
            Err(error) => return Err(not_shown(address, &error.to_string())),
        }
        match tls.process_new_packets() {
            // A server that shows a certificate and then errs has shown it all the same.
            Err(error) if notes.is_empty() => return Err(not_shown(address, &error.to_string())),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(Document::of_chain(&notes.take()))
}

fn connection(
    notes: &Arc<DangerNotesAnyCertificate>,
    name: ServerName<'static>,
) -> Result<ClientConnection, Error> {
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<DangerNotesAnyCertificate>::clone(notes);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), name)
}

fn connect(address: &str, patience: Duration) -> Result<TcpStream, Problem> {
    let addresses =
        address.to_socket_addrs().map_err(|error| not_shown(address, &error.to_string()))?;
    let mut last = not_shown(address, "the name has no address");
    for one in addresses {
        match TcpStream::connect_timeout(&one, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = not_shown(address, &error.to_string()),
        }
    }
    Err(last)
}

/// Notes the chain and believes anybody. For looking at a certificate only: the connection carries nothing.
#[derive(Debug)]
struct DangerNotesAnyCertificate {
    provider: CryptoProvider,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl DangerNotesAnyCertificate {
    fn new() -> Self {
        Self { provider: default_provider(), chain: Mutex::default() }
    }

    fn is_empty(&self) -> bool {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self) -> Vec<CertificateDer<'static>> {
        std::mem::take(&mut self.chain.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ServerCertVerifier for DangerNotesAnyCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = std::iter::once(end_entity).chain(intermediates);
        let shown = shown.map(|der| der.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn not_shown(address: &str, why: &str) -> Problem {
    let message =
        format!("{} showed no certificate: {}", PeerText::from(address), PeerText::from(why));
    let remedy = "check host and port, and that TLS is spoken there from the first byte";
    Problem::error(Fault::CertsNotShown, message, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, Credential, Draft, HostName};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection};
    use std::net::TcpListener;
    use std::thread;
    use time::OffsetDateTime;

    /// A server that wants a certificate of its clients, and answers one of them.
    fn server(authority: &Authority, own: &Credential) -> String {
        let provider = Arc::new(default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.anchor().clone()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(own.chain().to_vec(), own.key())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
            while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
        });
        address
    }

    #[test]
    fn a_server_is_looked_at_without_being_believed() {
        let authority = Authority::ephemeral().unwrap();
        let now = OffsetDateTime::now_utc();
        let expired = Draft::server(&HostName::loopback())
            .unwrap()
            .valid(now - time::Duration::days(9), now - time::Duration::days(2));
        let own = authority.sign(&expired).unwrap();
        let chain = own.chain();
        let shown = shown_by(&server(&authority, &own), PATIENCE).unwrap();
        assert_eq!(shown.certificates(), chain);
    }

    #[test]
    fn who_shows_nothing_is_waited_for_only_so_long() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let problem = shown_by(&address, Duration::from_millis(50)).unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsNotShown);
        drop(silent);
        for nobody in [address.as_str(), "127.0.0.1", "a b:443"] {
            let problem = shown_by(nobody, PATIENCE).unwrap_err();
            assert_eq!(problem.fault(), Fault::CertsNotShown, "{nobody}");
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);
}

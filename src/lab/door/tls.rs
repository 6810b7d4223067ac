//! TLS at the lab's door, as strict as its file says and no stricter.

use std::sync::Arc;

use doorward::handshake::{Presented, provider};
use doorward::pki::keyfile::{read_chain, read_key};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;

use super::plan::{Clients, Tls};

/// What the table says, ready for handshakes.
///
/// # Errors
/// In a sentence: which file or key of the table cannot be used.
pub(super) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, String> {
    let chain = read_chain(&tls.certificate).map_err(|problem| problem.message().to_owned())?;
    let key = read_key(&tls.key).map_err(|problem| problem.message().to_owned())?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = builder
        .with_client_cert_verifier(verifier(tls)?)
        .with_single_cert(chain, key)
        .map_err(|error| format!("the certificate and the key in [tls]: {error}"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn verifier(tls: &Tls) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if tls.clients == Clients::Anonymous {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let file = tls.client_ca.as_ref();
    let file =
        file.ok_or("clients are asked for certificates, but client_ca is missing in [tls]")?;
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(file).map_err(|problem| problem.message().to_owned())? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match tls.clients {
        Clients::Optional => builder.allow_unauthenticated(),
        Clients::Anonymous | Clients::Required => builder,
    };
    builder.build().map_err(|error| error.to_string())
}

/// The first name in the certificate that the visitor showed.
pub(super) fn name(connection: &ServerConnection) -> Option<String> {
    let leaf = connection.peer_certificates()?.first()?;
    let presented = Presented::read(leaf).ok()?;
    Some(presented.names().first()?.to_string())
}

//! What the tests of this folder share: a handshake in memory, and other programs' opinion.
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SideData,
};

use crate::pki::{Credential, pem};

/// A whole TLS 1.3 handshake with certificates on both sides, and who refused it why.
pub(crate) fn handshake(
    anchor: &CertificateDer<'static>,
    server: &Credential,
    client: &Credential,
    name: &str,
) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(anchor.clone()).unwrap();
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown(server));
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(shown(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server).map_err(|error| format!("server: {error:?}"))?;
        carry(&mut server, &mut client).map_err(|error| format!("client: {error:?}"))?;
    }
    Ok(())
}

/// The credential as it is; the usual way of configuring one refuses some broken ones by itself.
fn shown(credential: &Credential) -> Arc<SingleCertAndKey> {
    let key = any_supported_type(&credential.key()).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(credential.chain().to_vec(), key)))
}

/// Carries everything one side has to say to the other.
fn carry<A, B>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error>
where
    A: SideData,
    B: SideData,
{
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// An installed `openssl`.
pub(crate) struct Tools {
    program: &'static str,
}

impl Tools {
    /// The program, or a line that says the test was skipped.
    pub(crate) fn find(program: &'static str) -> Option<Self> {
        if Command::new(program).arg("version").stdout(Stdio::null()).status().is_ok() {
            return Some(Self { program });
        }
        println!("skipped: {program} is not installed");
        None
    }

    /// Whether it takes the chain for this purpose, as strictly as it can.
    pub(crate) fn verify(
        &self,
        anchor: &CertificateDer<'static>,
        credential: &Credential,
        purpose: &str,
    ) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let (trust, chain) = (dir.path().join("trust.pem"), dir.path().join("chain.pem"));
        fs::write(&trust, pem::certificates([anchor])).unwrap();
        fs::write(&chain, credential.chain_pem()).unwrap();
        let run = Command::new(self.program)
            .args(["verify", "-x509_strict", "-check_ss_sig", "-purpose", purpose, "-CAfile"])
            .arg(&trust)
            .arg("-untrusted")
            .args([&chain, &chain])
            .output()
            .unwrap();
        run.status.success()
    }

    /// The public key as it reads it from the private one.
    pub(crate) fn public_key_of_key(&self, credential: &Credential) -> Vec<u8> {
        self.read(&["pkey", "-pubout"], credential.key_pem().as_bytes())
    }

    /// The public key as it reads it from the certificate.
    pub(crate) fn public_key_of_certificate(&self, credential: &Credential) -> Vec<u8> {
        self.read(&["x509", "-noout", "-pubkey"], credential.chain_pem().as_bytes())
    }

    /// What it prints about a file.
    pub(crate) fn read(&self, arguments: &[&str], file: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, file).unwrap();
        let run =
            Command::new(self.program).args(arguments).arg("-in").arg(&path).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        run.stdout
    }
}

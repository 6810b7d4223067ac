//! Certificates for one test, in a directory of its own.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use doorward::pki::{
    Authority, AuthorityOptions, Constraints, Credential, Depth, Draft, HostName, Options, Reason,
    Revocation, RevocationList,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

/// An authority with the files a server needs: trust.pem, chain.pem, key.pem and crl.pem.
pub(crate) struct Set {
    pub(crate) authority: Authority,
    directory: TempDir,
}

impl Set {
    /// An authority that may vouch for localhost, `.internal` and `.test`.
    pub(crate) fn new() -> Self {
        Self::of(Authority::ephemeral().unwrap())
    }

    /// An authority without name constraints, whose intermediates may be tried as well.
    pub(crate) fn unconstrained() -> Self {
        let options = AuthorityOptions {
            constraints: Constraints::unconstrained(),
            depth: Depth::OneIntermediate,
            ..AuthorityOptions::default()
        };
        Self::of(Authority::create(&options).unwrap())
    }

    fn of(authority: Authority) -> Self {
        let set = Self { authority, directory: tempfile::tempdir().unwrap() };
        let server = set.authority.server(&HostName::loopback(), Options::default()).unwrap();
        set.write("trust.pem", set.authority.trust_pem().as_bytes());
        set.write("chain.pem", server.chain_pem().as_bytes());
        set.write("key.pem", server.key_pem().as_bytes());
        set.publish(&RevocationList::new(1));
        set
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file that only its owner may read, whole, in place of what was there.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        let fresh = path.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .unwrap();
        file.write_all(content).unwrap();
        fs::rename(&fresh, &path).unwrap();
        path
    }

    /// Writes a credential's chain and key, for clients that read files.
    pub(crate) fn write_credential(
        &self,
        name: &str,
        credential: &Credential,
    ) -> (PathBuf, PathBuf) {
        let chain = self.write(&format!("{name}.chain.pem"), credential.chain_pem().as_bytes());
        let key = self.write(&format!("{name}.key.pem"), credential.key_pem().as_bytes());
        (chain, key)
    }

    /// Publishes a revocation list.
    pub(crate) fn publish(&self, list: &RevocationList) {
        self.write("crl.pem", list.sign_pem(&self.authority).unwrap().as_bytes());
    }

    /// Publishes a list that names these credentials.
    pub(crate) fn revoke(&self, number: u64, credentials: &[&Credential]) {
        let list = credentials.iter().fold(RevocationList::new(number), |list, credential| {
            let now = OffsetDateTime::now_utc();
            list.revoking(Revocation::new(credential.serial().clone(), Reason::KeyCompromise, now))
        });
        self.publish(&list);
    }

    pub(crate) fn client(&self, name: &str) -> Credential {
        self.authority.client(&name.parse().unwrap(), Options::default()).unwrap()
    }

    /// A draft of what `client` would make.
    #[expect(
        clippy::unused_self,
        reason = "it reads as a question to the set, like its neighbours"
    )]
    pub(crate) fn draft(&self, name: &str) -> Draft {
        Draft::client(&name.parse().unwrap()).unwrap()
    }

    /// The certificate that a draft describes, with whatever is wrong in it.
    pub(crate) fn sign(&self, draft: &Draft) -> Credential {
        self.authority.sign(draft).unwrap()
    }

    /// The tables before the services of a configuration with these files.
    pub(crate) fn tables(&self, handshake: &str) -> String {
        let file = |name: &str| self.path(name).display().to_string();
        let (chain, key, trust, crl) =
            (file("chain.pem"), file("key.pem"), file("trust.pem"), file("crl.pem"));
        let crl =
            if handshake.contains("crl") { String::new() } else { format!("crl = {crl:?}\n") };
        format!(
            "[bind]\nports = [\"1-65535\"]\n[address]\nallow = [\"127.0.0.0/8\", \"::1\"]\n\
             [handshake]\ncertificate = {chain:?}\nkey = {key:?}\nclients = {trust:?}\n{crl}{handshake}\n"
        )
    }
}

/// So many days before (negative) or after now.
pub(crate) fn days(count: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::days(count)
}

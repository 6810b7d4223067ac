use super::*;
use crate::pki::{Authority, Credential, HostName, Options, RevocationList};
use std::path::PathBuf;

struct Files {
    dir: tempfile::TempDir,
    ca: Authority,
    server: Credential,
}

impl Files {
    fn new() -> Self {
        let ca = Authority::ephemeral().unwrap();
        let server = ca.server(&HostName::loopback(), Options::default()).unwrap();
        Self { dir: tempfile::tempdir().unwrap(), ca, server }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        mode(&path, 0o600);
        path
    }
}

fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn refused<T: std::fmt::Debug>(read: Result<T, Problem>, reason: &str) {
    let problem = read.unwrap_err();
    assert_eq!(problem.fault(), Fault::HandshakeUnreadable);
    assert!(problem.message().contains(reason), "{problem}");
}

#[test]
fn a_chain_is_read_whole_and_in_order() {
    let files = Files::new();
    let text = format!("# ours\n{}{}", files.server.chain_pem(), files.ca.trust_pem());
    let chain = read_chain(&files.write("chain.pem", text)).unwrap();
    assert_eq!(chain, [files.server.certificate().clone(), files.ca.certificate().clone()]);
}

#[test]
fn a_key_is_read_in_each_of_its_forms() {
    let files = Files::new();
    let key = read_key(&files.write("key.pem", files.server.key_pem().as_bytes())).unwrap();
    assert_eq!(key.secret_der(), files.server.key().secret_der());
    let Some(tools) = crate::pki::testing::Tools::find("openssl") else { return };
    let sec1 = tools.read(&["pkey", "-traditional"], files.server.key_pem().as_bytes());
    assert!(sec1.starts_with(b"-----BEGIN EC PRIVATE KEY"));
    assert!(matches!(read_key(&files.write("sec1.pem", sec1)).unwrap(), PrivateKeyDer::Sec1(_)));
    let arguments = ["pkey", "-aes256", "-passout", "pass:secret"];
    let locked = tools.read(&arguments, files.server.key_pem().as_bytes());
    refused(read_key(&files.write("locked.pem", locked)), "encrypted with a password");
}

#[test]
fn a_key_that_others_may_use_is_refused_with_the_command_that_mends_it() {
    let files = Files::new();
    let path = files.write("key.pem", files.server.key_pem().as_bytes());
    for bits in [0o644, 0o640, 0o604, 0o620, 0o601, 0o610] {
        mode(&path, bits);
        let problem = read_key(&path).unwrap_err();
        assert_eq!(problem.fault(), Fault::HandshakeKeyExposed, "{bits:o}");
        assert_eq!(problem.remedy(), format!("chmod 600 {}", path.display()));
    }
    for bits in [0o600, 0o400] {
        mode(&path, bits);
        assert!(read_key(&path).is_ok(), "{bits:o}");
    }
    let link = files.dir.path().join("link.pem");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    mode(&path, 0o644);
    assert_eq!(read_key(&link).unwrap_err().fault(), Fault::HandshakeKeyExposed);
}

#[test]
fn what_is_missing_empty_large_or_no_file_is_said_so() {
    let files = Files::new();
    refused(read_chain(&files.dir.path().join("none.pem")), "does not exist");
    refused(read_key(&files.dir.path().join("none.pem")), "does not exist");
    refused(read_crls(&files.dir.path().join("none.pem")), "does not exist");
    refused(read_chain(&files.write("empty.pem", "")), "is empty");
    refused(read_crls(&files.write("empty.pem", "")), "is empty");
    refused(
        read_key(&files.write("large.pem", vec![b'\n'; 1024 * 1024 + 1])),
        "larger than 1048576",
    );
    refused(
        read_chain(&files.write("large.pem", vec![b'\n'; 1024 * 1024 + 1])),
        "larger than 1048576",
    );
    refused(read_chain(files.dir.path()), "is not a regular file");
    refused(read_chain(&files.write("words.pem", "hello\n")), "holds no certificate");
    refused(read_key(&files.write("words.pem", "hello\n")), "holds no private key");
}

#[test]
fn a_pipe_does_not_make_the_start_wait() {
    let files = Files::new();
    let path = files.dir.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    refused(read_key(&path), "is not a regular file");
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let files = Files::new();
    let text = format!("{}{}", files.server.chain_pem(), files.ca.trust_pem());
    let mut tried = 0;
    for cut in (1..text.len() - 1).step_by(7) {
        if let Ok(chain) = read_chain(&files.write("cut.pem", &text[..cut])) {
            // Just between two certificates, nothing shows that there was a second.
            assert_eq!(chain.len(), 1);
            assert!(
                text[..cut].trim_end().ends_with("-----END CERTIFICATE-----")
                    || cut_in_dashes(&text[..cut])
            );
        }
        tried += 1;
    }
    assert!(tried > 100, "{tried}");
}

/// Whether the cut is within the last dashes of an end line, or the first of a begin line.
fn cut_in_dashes(text: &str) -> bool {
    let last = text.lines().last().unwrap_or_default();
    "-----BEGIN CERTIFICATE-----".starts_with(last) && last.len() < 11
}

#[test]
fn a_chain_with_a_lost_line_or_a_foreign_certificate_is_refused() {
    let files = Files::new();
    let text = files.server.chain_pem();
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let (body, both) = (text.replace(begin, ""), format!("{text}{text}"));
    refused(read_chain(&files.write("a.pem", format!("{text}{body}"))), "cut off or damaged");
    let no_end = both.replacen("-----END CERTIFICATE-----\n", "", 1);
    refused(read_chain(&files.write("b.pem", no_end)), "cut off or damaged");
    refused(read_chain(&files.write("c.pem", text.replace("MII", "M*I"))), "cut off or damaged");
    let other = crate::pki::pem::encode("CERTIFICATE", b"\x30\x03abc");
    refused(
        read_chain(&files.write("d.pem", format!("{text}{}", *other))),
        "cannot be parsed, as number 2",
    );
    let trusted = text.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    refused(read_chain(&files.write("e.pem", trusted)), "only OpenSSL knows");
}

#[test]
fn several_keys_and_broken_keys_are_refused() {
    let files = Files::new();
    let pem = files.server.key_pem();
    refused(
        read_key(&files.write("two.pem", format!("{}{}", *pem, *pem))),
        "more than one private key",
    );
    let broken = crate::pki::pem::encode("PRIVATE KEY", b"\x30\x03abc");
    refused(
        read_key(&files.write("broken.pem", broken.as_bytes())),
        "damaged or of an unsupported kind",
    );
    refused(read_key(&files.write("chain.pem", files.server.chain_pem())), "holds no private key");
}

#[test]
fn revocation_lists_are_read_as_pem_and_as_der() {
    let files = Files::new();
    let list = RevocationList::new(1);
    let text = list.sign_pem(&files.ca).unwrap();
    assert_eq!(read_crls(&files.write("a.pem", format!("{}{}", *text, *text))).unwrap().len(), 2);
    let der = list.sign(&files.ca).unwrap();
    assert_eq!(read_crls(&files.write("a.der", &der)).unwrap(), std::slice::from_ref(&der));
    refused(read_crls(&files.write("b.der", &der[..der.len() - 1])), "cannot be parsed");
    refused(read_crls(&files.write("c.der", [&der[..], b"x"].concat())), "cannot be parsed");
    refused(
        read_crls(&files.write("chain.pem", files.server.chain_pem())),
        "holds no revocation list",
    );
}

//! pkilint, a linter of others, about everything that is issued.

use std::path::Path;
use std::process::Command;

use super::Desk;
use crate::support::skipped;

/// Its answer where it has nothing to say but what is known to be no fault: it takes names by a library of its own,
/// for which `localhost`, a top-level domain and a name space of `spiffe://` are none.
fn findings(program: &str, words: &[&str], files: &[&Path]) -> Vec<String> {
    let run = Command::new(program).args(words).args(files).output().unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
    let findings = said.lines().filter(|line| line.starts_with("    "));
    let no_fault = |line: &&str| {
        line.contains("pkix.invalid_domain_name_syntax")
            || line.contains("pkix.invalid_uri_syntax")
            // ML-DSA is newer than the linter (RFC 9881).
            || line.contains("pkix.unsupported_algorithm (NOTICE)")
    };
    findings.filter(|line| !no_fault(line)).map(str::to_owned).collect()
}

#[test]
fn pkilint_finds_nothing_in_what_is_issued_with_any_key() {
    if Command::new("lint_pkix_cert").arg("--help").output().is_err() {
        return skipped("pkilint is not installed");
    }
    for key in ["p256", "p384", "ed25519", "rsa3072", "ml-dsa-65"] {
        let desk = Desk::new();
        desk.certs(&["init", "localhost", "app.test", "127.0.0.1", "--key", key]).fine();
        desk.certs(&["client", "bob", "--san", "spiffe://example.test/bob"]).fine();
        desk.certs(&["revoke", "alice"]).fine();
        let file = |name: &str| desk.path("certs").join(name);
        let authority = file("ca/ca.crt");
        let pkix = ["lint", "--severity", "NOTICE"];
        for leaf in ["server/localhost", "client/alice", "client/bob"] {
            let leaf = file(leaf).join("chain.pem");
            let found = findings("lint_pkix_cert", &pkix, &[&leaf]);
            assert_eq!(found, [""; 0], "{key} {}", leaf.display());
            let pair = [authority.as_path(), &leaf];
            let found = findings("lint_pkix_signer_signee_cert_chain", &pkix, &pair);
            assert_eq!(found, [""; 0], "{key} {}", leaf.display());
        }
        assert_eq!(findings("lint_pkix_cert", &pkix, &[&authority]), [""; 0], "{key}");
        let list = ["lint", "--severity", "NOTICE", "--profile", "PKIX", "--type", "CRL"];
        assert_eq!(findings("lint_crl", &list, &[&file("ca/crl.pem")]), [""; 0], "{key}");
    }
}

#[test]
fn our_own_linter_finds_nothing_in_what_is_issued_with_any_key() {
    for key in ["p256", "p384", "ed25519", "rsa3072", "ml-dsa-65"] {
        let desk = Desk::new();
        desk.certs(&["init", "--key", key]).fine();
        desk.certs(&["client", "bob", "--san", "spiffe://example.test/bob"]).fine();
        desk.certs(&["revoke", "alice"]).fine();
        for file in [
            "ca/ca.crt",
            "ca/crl.pem",
            "server/localhost/chain.pem",
            "client/alice/chain.pem",
            "client/bob/chain.pem",
        ] {
            let said = desk.certs(&["lint", "--strict", &format!("certs/{file}")]).fine();
            assert!(said.ends_with("errors: 0, warnings: 0\n"), "{key} {file} {said}");
        }
    }
}

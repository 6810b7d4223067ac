//! Several processes change one store at once.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use doorward::pki::Store;
use doorward::problem::Severity;
use serde_json::Value;

use super::{Desk, Ended};

impl Desk {
    /// Starts a verb and does not wait for it.
    pub(super) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// That the inventory can be read, names nothing twice, and knows every pair in the store, of which key and
    /// certificate belong together.
    pub(super) fn is_whole(&self) {
        let store = Store::open(&self.path("certs")).unwrap();
        let entries = store.list().unwrap();
        let serials: BTreeSet<_> =
            entries.iter().map(|entry| entry.issued.serial.to_string()).collect();
        assert_eq!(serials.len(), entries.len(), "a serial number was used twice");
        let problems =
            doorward::pki::doctor::examine(&self.path("certs"), time::OffsetDateTime::now_utc());
        let problems = problems.unwrap();
        let broken: Vec<_> = problems
            .iter()
            // A revocation may be recorded and not be published yet; the next one publishes it.
            .filter(|problem| problem.severity() == Severity::Error)
            .filter(|problem| !problem.message().contains("was revoked, but is not on"))
            .collect();
        assert!(broken.is_empty(), "{broken:#?}");
        let filed = store.filed().unwrap();
        let mut places = 0_usize;
        for role in ["client", "server"] {
            let folder = std::fs::read_dir(self.path("certs").join(role)).unwrap();
            for entry in folder {
                let name = entry.unwrap().file_name();
                places += usize::from(!name.to_string_lossy().starts_with('.'));
            }
        }
        assert_eq!(filed.len(), places, "a directory without a pair that the inventory knows");
    }
}

fn ended(child: Child) -> Ended {
    let run = child.wait_with_output().unwrap();
    Ended {
        code: run.status.code().unwrap(),
        said: String::from_utf8(run.stdout).unwrap(),
        complained: String::from_utf8(run.stderr).unwrap(),
    }
}

#[test]
fn two_processes_issue_at_once_and_both_succeed_every_time() {
    let desk = Desk::with_store();
    for round in 0..16 {
        let (one, two) = (format!("one-{round}"), format!("two-{round}.test"));
        let both = [desk.start(&["client", &one]), desk.start(&["server", &two])];
        for child in both {
            ended(child).fine();
        }
    }
    desk.is_whole();
    let listed = desk.certs(&["list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 3 + 32);
}

#[test]
fn of_two_who_want_one_name_one_gets_it() {
    let desk = Desk::with_store();
    for round in 0..8 {
        let name = format!("bob-{round}");
        let both = [desk.start(&["client", &name]), desk.start(&["client", &name])].map(ended);
        let [one, two] = both;
        let (winner, loser) = if one.code == 0 { (one, two) } else { (two, one) };
        winner.fine();
        loser.failed("certs.exists");
    }
    desk.is_whole();
    assert_eq!(desk.certs(&["list", "--json"]).json().as_array().unwrap().len(), 3 + 8);
}

#[test]
fn every_verb_that_changes_a_store_runs_beside_the_others() {
    let desk = Desk::with_store();
    for round in 0..6 {
        let name = format!("carol-{round}");
        desk.certs(&["client", &name]).fine();
        let bob = format!("bob-{round}");
        let verbs: [&[&str]; 4] =
            [&["revoke", &name], &["renew", "localhost"], &["client", &bob], &["crl"]];
        for child in verbs.map(|verb| desk.start(verb)) {
            ended(child).fine();
        }
    }
    desk.is_whole();
    let listed = desk.certs(&["list", "--json"]).json();
    let revoked = |entry: &&Value| entry["state"] == "revoked";
    assert_eq!(listed.as_array().unwrap().iter().filter(revoked).count(), 6);
    let number = std::fs::read_to_string(desk.path("certs/ca/crlnumber")).unwrap();
    assert_eq!(number, "13\n", "a list for each of 6 revocations and 6 calls of crl");
    assert_eq!(desk.certs(&["doctor"]).code, 0);
}

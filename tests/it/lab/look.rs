//! What a learner looks at: a capture that a sniffer decrypts, and a page that a browser shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{has_pocket_lan, lab, solve, started};
use crate::support::skipped;

/// Whether this program is on the path.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skipped(program);
    }
    found
}

/// A solved exercise 10, looked at with these words.
fn looked(words: &[&str]) -> tempfile::TempDir {
    let folder = started("10");
    solve(folder.path(), "10");
    let (code, said, complaint) = lab(folder.path(), &[&["look", "10"], words].concat());
    assert_eq!(code, 0, "{said}{complaint}");
    folder
}

#[test]
fn a_recorded_conversation_opens_decrypted() {
    if !has_pocket_lan() || !has("tshark") {
        return;
    }
    let folder = looked(&["--pcap", "post.pcapng"]);
    let read = |words: &[&str]| {
        let output = Command::new("tshark")
            .current_dir(folder.path())
            .args(["-r", "post.pcapng"])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let packets = read(&[]);
    assert!(packets.contains("Client Hello") && packets.contains("TLSv1.3"), "{packets}");
    assert!(!packets.contains("Malformed") && !packets.contains("TCP Retransmission"), "{packets}");
    let talk = read(&["-q", "-z", "follow,tls,ascii,0"]);
    assert!(talk.contains("PIN=") && talk.contains("your balance is"), "{talk}");
    // Whoever has not the keys has nothing: they are in one block, and the rest is noise.
    let bytes = fs::read(folder.path().join("post.pcapng")).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"PIN="));
}

#[test]
fn the_page_shows_the_rooms_and_the_bytes_without_a_network() {
    if !has_pocket_lan() || !has("chromium") {
        return;
    }
    let folder = looked(&["--html", "post.html"]);
    let page = folder.path().join("post.html");
    let text = fs::read_to_string(&page).unwrap();
    assert!(!text.contains("http://") && !text.contains("https://"), "the page asks for something");
    let shown = shown(&page, folder.path());
    for expected in [
        "To be served",
        "To be stopped",
        "Ana, from 127.0.0.1",
        "has no key",
        "bank.school.test",
        "ClientHello",
        "Replay",
    ] {
        assert!(shown.contains(expected), "{expected} is not on the page: {shown}");
    }
}

/// The page after its script has run.
fn shown(page: &Path, home: &Path) -> String {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", home.join("browser").display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

//! Java's own TLS: with the bundle of `certs p12` and the trust store of `certs trust env` it makes the round trip.

use std::path::Path;

use crate::anchor::scene::{Ended, Scene};
use crate::support::{Hall, has};

/// A runtime without a compiler runs no source.
fn has_java() -> bool {
    has("java") && has("javac")
}

/// What `Echo.java` prints: what it heard, or why it was refused.
async fn echo(scene: &Scene, hall: &Hall, trust: &Path, own: &[&str]) -> String {
    let mut command = scene.command("java");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/Echo.java"));
    command.arg(hall.address("echo").port().to_string()).arg(trust).args(own);
    command.env_remove("JAVA_HOME");
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ended = Ended::of(&run.await.unwrap());
    assert_eq!((ended.code, ended.complained.as_str()), (0, ""), "{ended:?}");
    ended.said.trim().to_owned()
}

/// The trust store that `certs trust env` writes.
fn trust(scene: &Scene) -> std::path::PathBuf {
    scene.certs(&["trust", "env"]).fine();
    scene.certs_file("trust.p12")
}

#[tokio::test]
async fn java_makes_the_round_trip_with_its_bundle_and_trust_store() {
    if !has_java() {
        return;
    }
    let scene = Scene::new();
    let bundle = scene.bundle("alice", "a password");
    let own = [bundle.to_str().unwrap(), "a password"];
    let mut hall = scene.hall("kind = \"length-prefixed\"");
    let heard = echo(&scene, &hall, &trust(&scene), &own).await;
    assert_eq!((hall.verdict().await, heard.as_str()), ("left", "heard hello TLSv1.3"));
    let told = echo(&scene, &hall, &trust(&scene), &[]).await;
    assert_eq!(hall.verdict().await, "handshake.no-certificate");
    assert!(told.starts_with("refused ") && told.contains("certificate_required"), "{told}");
}

#[tokio::test]
async fn java_refuses_a_server_of_an_authority_it_was_not_told_of() {
    if !has_java() {
        return;
    }
    let (scene, other) = (Scene::new(), Scene::new());
    let bundle = scene.bundle("alice", "a password");
    let own = [bundle.to_str().unwrap(), "a password"];
    let mut hall = scene.hall("kind = \"length-prefixed\"");
    let told = echo(&scene, &hall, &trust(&other), &own).await;
    assert_eq!(hall.verdict().await, "handshake.client-alert");
    assert!(told.starts_with("refused ") && told.contains("PKIX path"), "{told}");
}

//! Trust stores: put in, seen, and taken back; and everything that is refused or left alone.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::Stdio;

use super::scene::{Ended, Scene, tree};
use crate::support::{has, skipped};

/// Where Debian keeps what an administrator adds.
const ADDITIONS: &str = "usr/local/share/ca-certificates";
/// The home of the Java in the image, as every command of a scene has it in `JAVA_HOME`.
const JAVA: &str = "opt/jdk/lib/security";

#[test]
fn what_was_installed_is_taken_back_to_the_byte() {
    let scene = Scene::new();
    let additions = scene.folder(ADDITIONS);
    fs::write(additions.join("company.crt"), "the company's own").unwrap();
    let before = (tree(&scene.root()), tree(&scene.work()));
    assert_eq!(scene.standing("system"), "not installed");

    let told = scene.trust("install", &["--yes"]);
    let file = additions.join(format!("{}.crt", scene.label()));
    assert!(told.complained.contains(&format!("  write {}\n", file.display())), "{told:?}");
    assert!(told.said.contains("run there, when it has: update-ca-certificates\n"), "{told:?}");
    told.fine();
    assert_eq!(fs::read(&file).unwrap(), fs::read(scene.certs_file("trust.pem")).unwrap());
    let during = tree(&scene.root());
    assert_eq!(during.len(), before.0.len() + 1);
    // Nothing was rebuilt, so nobody can say yet that programs trust it.
    assert_eq!(scene.standing("system"), "cannot tell");
    assert_eq!(scene.trust("install", &["--yes"]).code, 1);
    assert_eq!(tree(&scene.root()), during);

    // An image that is another one, and a kind that was not installed, are none of it.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = ["trust", "uninstall", "--root", elsewhere.path().to_str().unwrap()];
    assert_eq!(scene.certs(&other).fine(), "nothing of this store is installed there\n");
    scene.trust("uninstall", &["--store", "java"]).fine();
    assert_eq!(tree(&scene.root()), during);

    scene.trust("uninstall", &[]).fine();
    assert_eq!((tree(&scene.root()), tree(&scene.work())), before);
    let again = scene.trust("uninstall", &[]).fine();
    assert_eq!(again, "nothing of this store is installed there\n");
}

#[test]
fn nothing_is_done_unless_somebody_says_yes() {
    let scene = Scene::new();
    scene.folder(ADDITIONS);
    let before = (tree(&scene.root()), tree(&scene.work()));
    let complaint = scene.trust("install", &[]).failed("certs.not-confirmed");
    assert!(complaint.contains("this will\n  write "), "{complaint}");
    // Words in a pipe are no answer: there is nobody who read the question.
    let mut piped = scene.trusting("install");
    let mut child =
        piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"yes\n").ok();
    Ended::of(&child.wait_with_output().unwrap()).failed("certs.not-confirmed");
    assert_eq!((tree(&scene.root()), tree(&scene.work())), before);
}

#[test]
fn a_terminal_is_asked_and_its_answer_counts() {
    if !has("script") {
        return;
    }
    let scene = Scene::new();
    scene.folder(ADDITIONS);
    let before = tree(&scene.root());
    let ask = |answer: &str| {
        let line = r#"printf '%s\n' "$ANSWER" | script -qec '"$DOORWARD" certs trust install --root "$ROOT"' /dev/null"#;
        let mut shell = scene.command("sh");
        shell.env("DOORWARD", env!("CARGO_BIN_EXE_doorward")).env("ROOT", scene.root());
        shell.env("ANSWER", answer).env("SHELL", "/bin/sh");
        Ended::of(&shell.args(["-c", line]).output().unwrap())
    };
    for no in ["n", "", "yess"] {
        let asked = ask(no);
        assert!(asked.said.contains("go on? [y/N]"), "{asked:?}");
        assert!(asked.said.contains("certs.not-confirmed nothing was changed"), "{asked:?}");
        assert_eq!(tree(&scene.root()), before, "{no}");
    }
    ask("y").fine();
    assert_eq!(tree(&scene.root()).len(), before.len() + 1);
}

#[test]
fn a_planted_link_is_not_followed() {
    let scene = Scene::new();
    let additions = scene.folder(ADDITIONS);
    let victim = scene.home().join("victim");
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, additions.join(format!("{}.crt", scene.label()))).unwrap();
    let before = (tree(&scene.root()), tree(&scene.work()), tree(&scene.home()));
    scene.trust("install", &["--yes", "--store", "system"]).failed("certs.symlink");
    assert_eq!((tree(&scene.root()), tree(&scene.work()), tree(&scene.home())), before);
}

#[test]
fn a_link_out_of_the_image_is_not_followed() {
    for (folder, store) in [(ADDITIONS, "system"), (JAVA, "java")] {
        let scene = Scene::new();
        let outside = scene.home().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("cacerts"), "somebody's").unwrap();
        fs::create_dir_all(scene.root().join(folder).parent().unwrap()).unwrap();
        symlink(&outside, scene.root().join(folder)).unwrap();
        let before = (tree(&scene.root()), tree(&scene.home()), tree(&scene.work()));
        let complaint =
            scene.trust("install", &["--yes", "--store", store]).failed("certs.symlink");
        assert!(complaint.contains("leads out of the image"), "{complaint}");
        assert_eq!((tree(&scene.root()), tree(&scene.home()), tree(&scene.work())), before);
    }
}

#[test]
fn what_somebody_changed_is_left_alone() {
    let scene = Scene::new();
    let additions = scene.folder(ADDITIONS);
    scene.trust("install", &["--yes"]).fine();
    let file = additions.join(format!("{}.crt", scene.label()));
    let changed = fs::read_to_string(&file).unwrap() + "# and a word of mine\n";
    fs::write(&file, &changed).unwrap();
    let (standing, note) = scene.standings("system").remove(0);
    assert_eq!(standing, "cannot tell");
    assert!(note.ends_with("somebody changed it"), "{note}");
    let said = scene.trust("uninstall", &[]).fine();
    assert!(said.contains("left alone") && said.contains("somebody changed it"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), changed);
}

#[test]
fn what_failed_half_way_is_known_and_can_be_taken_back() {
    let scene = Scene::new();
    let additions = scene.folder(ADDITIONS);
    // It cannot be run: nothing it would need is in the image.
    fs::write(scene.folder("usr/sbin").join("update-ca-certificates"), "#!/bin/sh\n").unwrap();
    let before = (tree(&scene.root()), tree(&scene.work()));
    let complaint = scene.trust("install", &["--yes"]).failed("certs.tool");
    assert!(complaint.contains("update-ca-certificates ended with exit status: 12"), "{complaint}");
    assert_eq!(fs::read_dir(&additions).unwrap().count(), 1);
    scene.trust("uninstall", &[]).failed("certs.tool");
    assert!(scene.trust("uninstall", &[]).fine().contains("was gone already"));
    assert_eq!((tree(&scene.root()), tree(&scene.work())), before);
}

#[test]
fn what_somebody_else_installed_is_left_alone() {
    let scene = Scene::new();
    let additions = scene.folder(ADDITIONS);
    let file = additions.join(format!("{}.crt", scene.label()));
    fs::copy(scene.certs_file("trust.pem"), &file).unwrap();
    scene.trust("install", &["--yes", "--store", "system"]);
    scene.trust("uninstall", &[]).fine();
    assert!(file.exists());
}

#[test]
fn a_record_that_somebody_wrote_removes_nothing_else() {
    let scene = Scene::new();
    let additions = scene.folder(ADDITIONS);
    scene.trust("install", &["--yes"]).fine();
    let record = scene.certs_file("ca/installed.json");
    let honest = fs::read_to_string(&record).unwrap();
    let victim = additions.join("company.crt");
    fs::write(&victim, "the company's own").unwrap();
    let sha256 = honest.split("\"sha256\": \"").nth(1).unwrap().split('"').next().unwrap();
    for lie in ["../company", "", &sha256.to_uppercase(), &format!("{sha256}0")] {
        fs::write(&record, honest.replace(sha256, lie)).unwrap();
        scene.trust("uninstall", &[]).failed("certs.unreadable");
    }
    // Another certificate's hash: a name of ours at which nothing is.
    fs::write(&record, honest.replace(sha256, &"0".repeat(64))).unwrap();
    assert!(scene.trust("uninstall", &[]).fine().contains("was gone already"));
    assert_eq!(fs::read_dir(&additions).unwrap().count(), 2);
}

#[test]
fn an_authority_for_every_name_is_installed_only_where_that_is_said() {
    let scene = Scene::with_store(&["--unconstrained"]);
    scene.folder(ADDITIONS);
    let before = tree(&scene.root());
    let complaint = scene.trust("install", &["--yes"]).failed("certs.unconstrained");
    assert!(complaint.contains("every name"), "{complaint}");
    assert_eq!(tree(&scene.root()), before);
    scene.trust("install", &["--yes", "--unconstrained"]).fine();
    assert_eq!(tree(&scene.root()).len(), before.len() + 1);
}

#[test]
fn what_is_no_authority_is_not_installed() {
    let scene = Scene::new();
    scene.folder(ADDITIONS);
    let before = tree(&scene.root());
    fs::copy(scene.certs_file("server/localhost/chain.pem"), scene.certs_file("trust.pem"))
        .unwrap();
    scene.trust("install", &["--yes", "--unconstrained"]).failed("certs.not-authority");
    assert_eq!(tree(&scene.root()), before);
}

#[test]
fn an_authority_whose_key_is_gone_is_as_good() {
    let scene = Scene::with_store(&["--ca-key", "discard"]);
    scene.folder(ADDITIONS);
    scene.trust("install", &["--yes"]).fine();
    assert_eq!(scene.standing("system"), "cannot tell");
}

#[test]
fn another_authority_of_ours_is_told_from_this_one() {
    let (scene, other) = (Scene::new(), Scene::new());
    let additions = scene.folder(ADDITIONS);
    let file = additions.join(format!("{}.crt", other.label()));
    fs::copy(other.certs_file("trust.pem"), &file).unwrap();
    let seen = scene.standings("system");
    let expected = ("other authority of ours installed".to_owned(), other.label());
    assert_eq!(seen, [expected]);
    scene.trust("install", &["--yes"]).fine();
    scene.trust("uninstall", &[]).fine();
    assert!(file.exists());
}

#[test]
fn where_there_is_no_trust_store_that_is_said() {
    let scene = Scene::new();
    for store in ["system", "nss", "java"] {
        assert_eq!(scene.standing(store), "store absent");
    }
    assert_eq!(scene.trust("status", &[]).code, 1);
    scene.trust("install", &["--yes"]).failed("certs.trust-store");
    assert_eq!(scene.trust("status", &["--store", "keyring"]).code, 2);
}

/// Makes a database as a browser would, below the home.
fn database(scene: &Scene, path: &str) -> String {
    let folder = scene.home().join(path);
    fs::create_dir_all(&folder).unwrap();
    let name = format!("sql:{}", folder.display());
    scene.run("certutil", &["-N", "-d", &name, "--empty-password"]).fine();
    name
}

#[test]
fn browsers_trust_it_and_then_no_more() {
    if !has("certutil") {
        return;
    }
    let scene = Scene::new();
    let databases =
        [".pki/nssdb", ".mozilla/firefox/a1b2c3.default"].map(|path| database(&scene, path));
    let lists = || databases.clone().map(|name| scene.run("certutil", &["-L", "-d", &name]).fine());
    for (name, leaf) in [("server", "server/localhost"), ("client", "client/alice")] {
        let chain = scene.certs_file(leaf).join("chain.pem");
        for database in &databases {
            let add = ["-A", "-d", database, "-n", name, "-t", ",,", "-i", chain.to_str().unwrap()];
            scene.run("certutil", &add).fine();
        }
    }
    let trusted = || {
        databases.clone().map(|database| {
            let verified = |name, usage| {
                scene.run("certutil", &["-V", "-d", &database, "-n", name, "-u", usage]).code == 0
            };
            // An authority for servers alone: nobody asked who may be a client.
            assert!(!verified("client", "C"));
            verified("server", "V")
        })
    };
    let before = lists();
    assert_eq!(trusted(), [false; 2]);
    let told = scene.trust("install", &["--yes", "--store", "nss"]);
    assert_eq!(told.complained.matches("  run certutil -d ").count(), 2, "{told:?}");
    told.fine();
    assert_eq!(trusted(), [true; 2]);
    let installed = ("installed".to_owned(), String::new());
    assert_eq!(scene.standings("nss"), [installed.clone(), installed]);
    scene.trust("status", &["--store", "nss"]).fine();
    scene.trust("uninstall", &["--store", "nss"]).fine();
    assert_eq!((trusted(), lists()), ([false; 2], before));
}

#[test]
fn a_certificate_of_somebody_else_under_our_name_stays() {
    if !has("certutil") {
        return;
    }
    let (scene, other) = (Scene::new(), Scene::new());
    let name = database(&scene, ".pki/nssdb");
    scene.trust("install", &["--yes", "--store", "nss"]).fine();
    let label = scene.label();
    scene.run("certutil", &["-D", "-d", &name, "-n", &label]).fine();
    let theirs = other.certs_file("trust.pem");
    scene
        .run(
            "certutil",
            &["-A", "-d", &name, "-n", &label, "-t", "C,,", "-i", theirs.to_str().unwrap()],
        )
        .fine();
    assert_eq!(scene.standing("nss"), "cannot tell");
    let before = scene.run("certutil", &["-L", "-d", &name]).fine();
    let said = scene.trust("uninstall", &["--store", "nss"]).fine();
    assert!(said.contains("left alone"), "{said}");
    assert_eq!(scene.run("certutil", &["-L", "-d", &name]).fine(), before);
}

#[test]
fn the_same_certificate_under_another_name_is_somebody_elses() {
    if !has("certutil") {
        return;
    }
    let scene = Scene::new();
    let name = database(&scene, ".pki/nssdb");
    let trust = scene.certs_file("trust.pem");
    let add = ["-A", "-d", &name, "-n", "by hand", "-t", "CT,,", "-i", trust.to_str().unwrap()];
    scene.run("certutil", &add).fine();
    let before = scene.run("certutil", &["-L", "-d", &name]).fine();
    let (standing, note) = scene.standings("nss").remove(0);
    assert_eq!((standing.as_str(), note.as_str()), ("installed", "by somebody else, as by hand"));
    scene.trust("install", &["--yes", "--store", "nss"]).fine();
    scene.trust("uninstall", &["--store", "nss"]).fine();
    assert_eq!(scene.run("certutil", &["-L", "-d", &name]).fine(), before);
}

#[test]
fn a_database_of_another_user_is_not_written() {
    if !has("certutil") {
        return;
    }
    let scene = Scene::new();
    let name = database(&scene, ".pki/nssdb");
    if chown(scene.home().join(".pki/nssdb/cert9.db"), Some(1), None).is_err() {
        skipped("only root can give a file away");
        return;
    }
    let before = scene.run("certutil", &["-L", "-d", &name]).fine();
    scene.trust("install", &["--yes", "--store", "nss"]).failed("certs.trust-store");
    assert_eq!(scene.run("certutil", &["-L", "-d", &name]).fine(), before);
    assert!(!scene.certs_file("ca/installed.json").exists());
}

#[test]
fn a_missing_certutil_is_named() {
    let scene = Scene::new();
    fs::create_dir_all(scene.home().join(".pki/nssdb")).unwrap();
    fs::write(scene.home().join(".pki/nssdb/cert9.db"), "").unwrap();
    let before = tree(&scene.work());
    let with_nothing = |verb: &str| {
        let mut command = scene.trusting(verb);
        command.env("PATH", scene.root()).args(["--store", "nss"]);
        command
    };
    let complaint = Ended::of(&with_nothing("install").arg("--yes").output().unwrap());
    let complaint = complaint.failed("certs.tool");
    assert!(complaint.contains("certutil is not installed\n"), "{complaint}");
    assert!(complaint.contains("libnss3-tools"), "{complaint}");
    let status = Ended::of(&with_nothing("status").output().unwrap());
    assert!(
        status.said.contains("cannot tell") && status.said.contains("certutil is not installed"),
        "{status:?}"
    );
    assert_eq!(tree(&scene.work()), before);
}

#[test]
fn java_trusts_it_and_then_no_more() {
    if !has("keytool") {
        return;
    }
    let (scene, other) = (Scene::new(), Scene::new());
    let cacerts = scene.folder(JAVA).join("cacerts");
    let keytool = |more: &[&str]| {
        let store = ["-keystore", cacerts.to_str().unwrap(), "-storepass", "changeit"];
        scene.run("keytool", &[more, &store].concat())
    };
    let file = other.certs_file("trust.pem");
    let file = file.to_str().unwrap();
    keytool(&["-importcert", "-noprompt", "-alias", "company", "-file", file]).fine();
    let before = keytool(&["-list", "-rfc"]).fine();
    scene.trust("install", &["--yes", "--store", "java"]).fine();
    assert_eq!(scene.standing("java"), "installed");
    let shown = keytool(&["-exportcert", "-rfc", "-alias", &scene.label()]).fine();
    let body = |text: &str| text.lines().filter(|line| !line.starts_with("--")).collect::<String>();
    assert_eq!(body(&shown), body(&fs::read_to_string(scene.certs_file("trust.pem")).unwrap()));
    scene.trust("uninstall", &["--store", "java"]).fine();
    assert_eq!(keytool(&["-list", "-rfc"]).fine(), before);
    // Another certificate under our name is not taken for ours.
    keytool(&["-importcert", "-noprompt", "-alias", &scene.label(), "-file", file]);
    assert_eq!(scene.standing("java"), "cannot tell");
}

#[test]
fn a_keystore_with_another_password_is_told_with_the_words_of_keytool() {
    if !has("keytool") {
        return;
    }
    let scene = Scene::new();
    let cacerts = scene.folder(JAVA).join("cacerts");
    let file = scene.certs_file("trust.pem");
    let make = ["-importcert", "-noprompt", "-alias", "a", "-storepass", "other-password"];
    let with = ["-file", file.to_str().unwrap(), "-keystore", cacerts.to_str().unwrap()];
    scene.run("keytool", &[&make[..], &with].concat()).fine();
    let complaint = scene.trust("install", &["--yes", "--store", "java"]).failed("certs.tool");
    assert!(complaint.contains("keystore password was incorrect"), "{complaint}");
}

/// What makes an image of this system: its programs, and nothing else of it.
const IMAGE: &str = r#"
set -e
for folder in usr/bin usr/sbin usr/lib usr/lib64; do
    [ ! -d "/$folder" ] || mount --bind "/$folder" "$ROOT/$folder"
done
mount --bind /dev/null "$ROOT/dev/null"
exec "$@"
"#;

/// Runs something in a namespace where the root of a scene is a small Debian.
fn in_an_image(scene: &Scene, command: &[&str]) -> Ended {
    let mut unshare = scene.command("unshare");
    unshare.env("ROOT", scene.root()).args(["--user", "--map-root-user", "--mount"]);
    unshare.args(["sh", "-c", IMAGE, "sh"]).args(command);
    Ended::of(&unshare.output().unwrap())
}

/// Lays out a small Debian with one authority of its distribution.
fn lay_out(scene: &Scene, distributed: &Path) {
    for folder in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "dev", "tmp", "etc/ssl/certs"] {
        scene.folder(folder);
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), scene.root().join(link)).unwrap();
    }
    fs::write(scene.root().join("dev/null"), "").unwrap();
    fs::write(scene.root().join("etc/ca-certificates.conf"), "distribution/one.crt\n").unwrap();
    let distribution = scene.folder("usr/share/ca-certificates/distribution");
    fs::copy(distributed, distribution.join("one.crt")).unwrap();
    scene.folder(ADDITIONS);
}

#[test]
fn the_program_of_the_image_rebuilds_what_programs_read() {
    if !has("unshare") || !has("openssl") || !has("update-ca-certificates") {
        return;
    }
    let (scene, other) = (Scene::new(), Scene::new());
    lay_out(&scene, &other.certs_file("trust.pem"));
    let root = scene.root();
    let first = in_an_image(&scene, &["chroot", root.to_str().unwrap(), "update-ca-certificates"]);
    if first.code != 0 {
        skipped(&format!("no image of this system can be made here: {}", first.complained.trim()));
        return;
    }
    let bundle = root.join("etc/ssl/certs/ca-certificates.crt");
    let verifies = |scene: &Scene| {
        let chain = scene.certs_file("server/localhost/chain.pem");
        let chain = chain.to_str().unwrap();
        let verify = ["verify", "-no-CApath", "-CAfile", bundle.to_str().unwrap(), chain];
        scene.run("openssl", &verify).code == 0
    };
    let trust = |verb: &str, more: &[&str]| {
        let command = [env!("CARGO_BIN_EXE_doorward"), "certs", "trust", verb, "--store", "system"];
        in_an_image(&scene, &[&command[..], &["--root", root.to_str().unwrap()], more].concat())
    };
    let before = (tree(&root), tree(&scene.work()));
    assert_eq!((verifies(&scene), verifies(&other)), (false, true));
    let told = trust("install", &["--yes"]);
    assert!(
        told.complained
            .contains(&format!("  run chroot {} update-ca-certificates\n", root.display())),
        "{told:?}"
    );
    told.fine();
    assert_eq!((verifies(&scene), verifies(&other)), (true, true));
    assert!(
        trust("status", &[])
            .fine()
            .starts_with("system  installed  /usr/local/share/ca-certificates")
    );
    trust("uninstall", &[]).fine();
    assert_eq!((verifies(&scene), verifies(&other)), (false, true));
    assert_eq!((tree(&root), tree(&scene.work())), before);
}

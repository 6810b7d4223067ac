//! Which files make up the state of the server, and whether they have changed since they were read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Looks after files by polling, which sees what notifications miss on network file systems and through
/// replaced links, and costs a system call a file.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Looks,
    changed: Option<Looks>,
}

type Looks = BTreeMap<PathBuf, Fingerprint>;

/// What a file looked like: when it was changed, how long it is, and on Unix which file it is.
type Fingerprint = Option<(Option<SystemTime>, u64, u64)>;

impl Watch {
    /// Looks after these files, as they are now.
    pub(super) fn new(files: &[PathBuf]) -> Self {
        Self { seen: look(files), changed: None }
    }

    /// Whether files have changed since they were read, and not since the last look: whoever writes them
    /// has finished.
    pub(super) async fn has_settled(&mut self) -> bool {
        let now = self.look().await;
        if now == self.seen {
            self.changed = None;
            return false;
        }
        let settled = self.changed.as_ref() == Some(&now);
        self.changed = Some(now);
        settled
    }

    /// Takes the files as they are now for read; to be called before they are read.
    pub(super) async fn about_to_read(&mut self) {
        self.seen = self.look().await;
        self.changed = None;
    }

    /// Whether a file changed since [`Watch::about_to_read`], so that two of them may not fit together.
    pub(super) async fn changed_meanwhile(&self) -> bool {
        self.look().await != self.seen
    }

    /// Looks after these files from now on. Those that are new here and were written after `began` may not
    /// have been read whole, so they count as changed.
    pub(super) fn follow(&mut self, files: &[PathBuf], began: SystemTime) {
        let fresh = |print: &Fingerprint| {
            print.and_then(|(written, _, _)| written).is_some_and(|written| written >= began)
        };
        let before = std::mem::take(&mut self.seen);
        for (file, print) in look(files) {
            let print = match before.get(&file) {
                Some(known) => *known,
                None if fresh(&print) => None,
                None => print,
            };
            self.seen.insert(file, print);
        }
    }

    async fn look(&self) -> Looks {
        let files: Vec<_> = self.seen.keys().cloned().collect();
        let looks = tokio::task::spawn_blocking(move || look(&files));
        // A look that failed is none: the next one is soon.
        looks.await.unwrap_or_else(|_| self.seen.clone())
    }
}

fn look(files: &[PathBuf]) -> Looks {
    files.iter().map(|file| (file.clone(), fingerprint(file))).collect()
}

fn fingerprint(file: &Path) -> Fingerprint {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok(), meta.len(), number(&meta)))
}

#[cfg(unix)]
fn number(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_counts_when_it_has_settled() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        std::fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(std::slice::from_ref(&file));
        assert!(!watch.has_settled().await);
        std::fs::write(&file, "ab").unwrap();
        assert!(!watch.has_settled().await, "just written");
        std::fs::write(&file, "abc").unwrap();
        assert!(!watch.has_settled().await, "written again");
        assert!(watch.has_settled().await);
        watch.about_to_read().await;
        assert!(!watch.has_settled().await);
        std::fs::remove_file(&file).unwrap();
        assert!(watch.changed_meanwhile().await);
    }

    #[test]
    fn a_file_that_was_written_while_it_was_read_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        let mut watch = Watch::new(&[]);
        std::fs::write(&old, "a").unwrap();
        let began = std::fs::metadata(&old).unwrap().modified().unwrap();
        watch.follow(&[old.clone(), new.clone()], began);
        assert_eq!(watch.seen[&old], None);
        let later = began + std::time::Duration::from_secs(1);
        watch.follow(&[new], later);
        assert!(!watch.seen.contains_key(&old));
        watch.follow(std::slice::from_ref(&old), later);
        assert!(watch.seen[&old].is_some());
    }
}

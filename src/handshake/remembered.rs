//! Chains that were verified before. The same client comes again and again, and what an authority signed stays signed:
//! a third of a handshake's work is to verify that anew (measured: a quarter more handshakes a second without it).
//!
//! Only a yes is remembered, by all bytes that were shown, within one policy: whatever is read anew begins with
//! nothing remembered. That the client holds the key is proved in every handshake; this is not about that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::{CertificateDer, UnixTime};

/// Verified chains, each with the time for which that holds.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<HashMap<Digest, Span>>);

/// SHA-256 of a chain, each certificate with its length before it.
pub(super) type Digest = [u8; 32];

/// From the moment that it was verified to the earliest end of anything it was verified by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: UnixTime,
    pub(super) until: UnixTime,
}

impl Remembered {
    /// Whether this chain is as good now as when it was verified. A clock that was set back makes it a new one.
    pub(super) fn holds(&self, digest: &Digest, now: UnixTime) -> bool {
        self.chains().get(digest).is_some_and(|span| span.holds(now))
    }

    /// Remembers a chain that was verified.
    pub(super) fn keep(&self, digest: Digest, span: Span) {
        let mut chains = self.chains();
        if chains.len() >= MOST_CHAINS {
            chains.retain(|_, other| other.holds(span.from));
        }
        if chains.len() >= MOST_CHAINS {
            // Whoever comes next is verified once more.
            chains.clear();
        }
        chains.insert(digest, span);
    }

    fn chains(&self) -> MutexGuard<'_, HashMap<Digest, Span>> {
        // No change of the map can be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Span {
    fn holds(self, now: UnixTime) -> bool {
        (self.from.as_secs()..=self.until.as_secs()).contains(&now.as_secs())
    }
}

/// The digest of everything that a client showed.
pub(super) fn digest(leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Digest {
    let mut context = Context::new(&SHA256);
    for certificate in std::iter::once(leaf).chain(chain) {
        context.update(&certificate.len().to_be_bytes());
        context.update(certificate);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// Each takes about 100 bytes. More clients than that at a time are verified again now and then.
const MOST_CHAINS: usize = 4096;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn certificate(bytes: &[u8]) -> CertificateDer<'static> {
        CertificateDer::from(bytes.to_vec())
    }

    #[test]
    fn it_holds_from_its_verification_to_its_end() {
        let remembered = Remembered::default();
        remembered.keep([1; 32], Span { from: at(100), until: at(200) });
        let held = [99, 100, 200, 201].map(|now| remembered.holds(&[1; 32], at(now)));
        assert_eq!(held, [false, true, true, false]);
        assert!(!remembered.holds(&[2; 32], at(150)));
    }

    #[test]
    fn chains_that_are_cut_elsewhere_are_others() {
        let (ab, c) = (certificate(b"ab"), certificate(b"c"));
        let (a, bc) = (certificate(b"a"), certificate(b"bc"));
        assert_ne!(digest(&ab, &[c]), digest(&a, std::slice::from_ref(&bc)));
        assert_ne!(digest(&a, &[]), digest(&a, &[bc]));
    }

    #[test]
    fn there_are_only_so_many_and_those_that_ended_go_first() {
        let remembered = Remembered::default();
        let number = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest
        };
        for one in 0..MOST_CHAINS {
            let until = if one == 0 { at(1000) } else { at(10) };
            remembered.keep(number(one), Span { from: at(0), until });
        }
        remembered.keep(number(MOST_CHAINS), Span { from: at(20), until: at(1000) });
        assert_eq!(remembered.chains().len(), 2);
        for one in 0..MOST_CHAINS {
            remembered.keep(number(one), Span { from: at(20), until: at(1000) });
        }
        assert!(remembered.chains().len() <= MOST_CHAINS);
    }
}

//! What is known of networks, for a while: bounded, and the first to be forgotten is what fades first.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::peer::Source;

/// Values by network, each until a moment.
#[derive(Debug)]
pub(super) struct Fading<T> {
    values: HashMap<Source, (Instant, T)>,
    order: BTreeSet<(Instant, Source)>,
}

impl<T> Default for Fading<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: BTreeSet::new() }
    }
}

impl<T> Fading<T> {
    /// What is known of a network at `now`.
    pub(super) fn get(&self, source: Source, now: Instant) -> Option<&T> {
        self.values.get(&source).filter(|(until, _)| *until > now).map(|(_, value)| value)
    }

    /// Takes what is known of a network.
    pub(super) fn take(&mut self, source: Source) -> Option<T> {
        let (until, value) = self.values.remove(&source)?;
        self.order.remove(&(until, source));
        Some(value)
    }

    /// Knows something until a moment, for which what fades first is forgotten where there is too much.
    pub(super) fn put(&mut self, source: Source, until: Instant, value: T) {
        self.take(source);
        self.values.insert(source, (until, value));
        self.order.insert((until, source));
        if self.values.len() > MOST
            && let Some((_, first)) = self.order.pop_first()
        {
            self.values.remove(&first);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.values.len(), self.order.len());
        self.values.len()
    }
}

/// Bounds what strangers can make us remember: about 200 bytes each, so 3 MiB.
const MOST: usize = 16_384;

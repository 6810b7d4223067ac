//! Longest-prefix match by disjoint ranges: one sorted array, one binary search.
//!
//! Networks either nest or do not touch, so a list of them cuts the address space into runs that each
//! belong to one deciding rule. Of the structures measured for this table it was the fastest or next
//! to it at every size, with the least memory.

use std::num::NonZeroU32;

use super::Effect;

/// A run of addresses that one rule covers, before nesting is resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<T> {
    first: T,
    last: T,
    effect: Effect,
    rule: Option<NonZeroU32>,
}

pub(super) fn span<T>(first: T, last: T, effect: Effect, rule: u32) -> Span<T> {
    Span { first, last, effect, rule: NonZeroU32::new(rule) }
}

/// An address as a number that can be counted on from.
pub(super) trait Bits: Copy + Ord {
    const LAST: Self;
    fn following(self) -> Option<Self>;
    /// The address before, or itself where there is none.
    fn preceding(self) -> Self;
}

impl Bits for u32 {
    const LAST: Self = Self::MAX;

    fn following(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn preceding(self) -> Self {
        self.saturating_sub(1)
    }
}

impl Bits for u128 {
    const LAST: Self = Self::MAX;

    fn following(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn preceding(self) -> Self {
        self.saturating_sub(1)
    }
}

/// Where each run begins, and which rule decides in it. Both arrays have the same length.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    starts: Vec<T>,
    rules: Vec<Option<NonZeroU32>>,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self { starts: Vec::new(), rules: Vec::new() }
    }
}

impl<T: Bits> Ranges<T> {
    /// Cuts nested spans into disjoint runs; the narrower span wins, then the deny.
    pub(super) fn flatten(mut spans: Vec<Span<T>>) -> Self {
        // Outer spans come before inner ones, and an allow before the deny of the same network.
        spans.sort_unstable_by_key(|span| (span.first, std::cmp::Reverse(span.last), span.effect));
        let mut runs = Self::default();
        let mut open: Vec<Span<T>> = Vec::new();
        for span in spans {
            while let Some(inner) = open.pop_if(|inner| inner.last < span.first) {
                runs.resume_after(inner.last, open.last());
            }
            runs.begin(span.first, span.rule);
            open.push(span);
        }
        while let Some(inner) = open.pop() {
            runs.resume_after(inner.last, open.last());
        }
        runs.starts.shrink_to_fit();
        runs.rules.shrink_to_fit();
        runs
    }

    /// The rule of the run that holds the address.
    pub(super) fn find(&self, address: T) -> Option<NonZeroU32> {
        let after = self.starts.partition_point(|start| *start <= address);
        *self.rules.get(after.checked_sub(1)?)?
    }

    /// Where each run begins, and its rule, in order.
    pub(super) fn starts(&self) -> impl Iterator<Item = (T, Option<NonZeroU32>)> {
        self.starts.iter().copied().zip(self.rules.iter().copied())
    }

    /// Every run that a rule covers: its first address, its last, and the rule.
    pub(super) fn runs(&self) -> impl Iterator<Item = (T, T, NonZeroU32)> {
        let ends = self.starts.iter().skip(1).map(|next| next.preceding());
        let ends = ends.chain(std::iter::once(T::LAST));
        let runs = self.starts.iter().zip(ends).zip(&self.rules);
        runs.filter_map(|((first, last), rule)| Some((*first, last, (*rule)?)))
    }

    fn resume_after(&mut self, last: T, outer: Option<&Span<T>>) {
        // An outer span that ends with the inner one has nothing left of its own.
        let outer = outer.filter(|outer| outer.last > last);
        if let Some(start) = last.following() {
            self.begin(start, outer.and_then(|outer| outer.rule));
        }
    }

    fn begin(&mut self, start: T, rule: Option<NonZeroU32>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.rules.pop();
        }
        self.starts.push(start);
        self.rules.push(rule);
    }
}

//! Longest-prefix match by disjoint ranges: one sorted array, and an index of where in it to look.
//!
//! Networks either nest or do not touch, so a list of them cuts the address space into runs that each
//! belong to one deciding rule. A binary search over a million of them misses the processor's caches at
//! most of its steps; the index leads to the few that can hold the address, wherever they are spread. Where
//! a list crowds together in few places, what is left of the search is as long as that crowd asks for.

use std::num::NonZeroU32;

use super::Effect;

/// A run of addresses that one rule covers, before nesting is resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<T> {
    first: T,
    last: T,
    effect: Effect,
    rule: Option<Deciding>,
}

/// The number of a rule, and what it does, which is known without looking it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deciding(NonZeroU32);

impl Deciding {
    /// The rule of this number, from 1 and below [`DENY`]; none otherwise.
    fn new(number: u32, effect: Effect) -> Option<Self> {
        let mark = match effect {
            Effect::Allow => 0,
            Effect::Deny => DENY,
        };
        let number = NonZeroU32::new(number).filter(|number| number.get() < DENY)?;
        Some(Self(number | mark))
    }

    /// Its number, from 1.
    pub(super) fn number(self) -> u32 {
        self.0.get() & !DENY
    }

    /// What it does.
    pub(super) fn effect(self) -> Effect {
        if self.0.get() & DENY == 0 { Effect::Allow } else { Effect::Deny }
    }
}

pub(super) fn span<T>(first: T, last: T, effect: Effect, rule: u32) -> Span<T> {
    Span { first, last, effect, rule: Deciding::new(rule, effect) }
}

/// An address as a number that can be counted on from.
pub(super) trait Bits: Copy + Ord {
    const LAST: Self;
    fn following(self) -> Option<Self>;
    /// The address before, or itself where there is none.
    fn preceding(self) -> Self;
    /// How far it is behind `first`, in steps of two to the power of `shift`.
    fn steps_from(self, first: Self, shift: u32) -> usize;
    /// By how much the distance from `first` is to be shifted to become less than `most`.
    fn shift_from(self, first: Self, most: usize) -> u32;
}

impl Bits for u32 {
    const LAST: Self = Self::MAX;

    fn following(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn preceding(self) -> Self {
        self.saturating_sub(1)
    }

    fn steps_from(self, first: Self, shift: u32) -> usize {
        let steps = self.saturating_sub(first).checked_shr(shift).unwrap_or(0);
        usize::try_from(steps).unwrap_or(usize::MAX)
    }

    fn shift_from(self, first: Self, most: usize) -> u32 {
        u128::from(self).shift_from(first.into(), most)
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

    fn steps_from(self, first: Self, shift: u32) -> usize {
        let steps = self.saturating_sub(first).checked_shr(shift).unwrap_or(0);
        usize::try_from(steps).unwrap_or(usize::MAX)
    }

    fn shift_from(self, first: Self, most: usize) -> u32 {
        let bits = |number: Self| Self::BITS.saturating_sub(number.leading_zeros());
        let most = Self::try_from(most).unwrap_or(1);
        bits(self.saturating_sub(first)).saturating_sub(bits(most).saturating_sub(1))
    }
}

/// Where each run begins, and which rule decides in it. Both arrays have the same length.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    starts: Vec<T>,
    rules: Vec<Option<Deciding>>,
    /// How many runs begin before each step from the first one on, and after the last step.
    index: Vec<u32>,
    shift: u32,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self { starts: Vec::new(), rules: Vec::new(), index: Vec::new(), shift: 0 }
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
        runs.build_index();
        runs
    }

    /// The rule of the run that holds the address.
    pub(super) fn find(&self, address: T) -> Option<Deciding> {
        let first = self.starts.first().filter(|first| **first <= address)?;
        let last_step = self.index.len().checked_sub(2)?;
        let step = address.steps_from(*first, self.shift).min(last_step);
        let bound = |step: usize| usize::try_from(*self.index.get(step)?).ok();
        let (low, high) = (bound(step)?, bound(step.checked_add(1)?)?);
        let within = self.starts.get(low..high)?;
        let after = low.checked_add(within.partition_point(|start| *start <= address))?;
        *self.rules.get(after.checked_sub(1)?)?
    }

    /// Where each run begins, and its rule, in order.
    pub(super) fn starts(&self) -> impl Iterator<Item = (T, Option<Deciding>)> {
        self.starts.iter().copied().zip(self.rules.iter().copied())
    }

    /// Every run that a rule covers: its first address, its last, and the rule.
    pub(super) fn runs(&self) -> impl Iterator<Item = (T, T, Deciding)> {
        let ends = self.starts.iter().skip(1).map(|next| next.preceding());
        let ends = ends.chain(std::iter::once(T::LAST));
        let runs = self.starts.iter().zip(ends).zip(&self.rules);
        runs.filter_map(|((first, last), rule)| Some((*first, last, (*rule)?)))
    }

    /// How many bytes it holds on to.
    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        let lists = [
            size_of_val(self.starts.as_slice()),
            size_of_val(self.rules.as_slice()),
            size_of_val(self.index.as_slice()),
        ];
        lists.iter().sum()
    }

    fn build_index(&mut self) {
        let (Some(first), Some(last)) = (self.starts.first(), self.starts.last()) else { return };
        let most = (self.starts.len() / RUNS_A_STEP).max(1);
        self.shift = last.shift_from(*first, most);
        let steps = last.steps_from(*first, self.shift).saturating_add(1);
        let mut index = vec![0; steps.saturating_add(1)];
        for start in &self.starts {
            let after = start.steps_from(*first, self.shift).saturating_add(1);
            if let Some(count) = index.get_mut(after) {
                *count = u32::saturating_add(*count, 1);
            }
        }
        let mut before: u32 = 0;
        for count in &mut index {
            before = before.saturating_add(*count);
            *count = before;
        }
        self.index = index;
    }

    fn resume_after(&mut self, last: T, outer: Option<&Span<T>>) {
        // An outer span that ends with the inner one has nothing left of its own.
        let outer = outer.filter(|outer| outer.last > last);
        if let Some(start) = last.following() {
            self.begin(start, outer.and_then(|outer| outer.rule));
        }
    }

    fn begin(&mut self, start: T, rule: Option<Deciding>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.rules.pop();
        }
        self.starts.push(start);
        self.rules.push(rule);
    }
}

/// Marks a deny; the numbers of rules are below it, which a list of at most 64 MiB is as well.
const DENY: u32 = 1 << 31;
/// About as many starts as a cache line holds; the index then takes half a byte a run at most.
const RUNS_A_STEP: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(starts: &std::collections::BTreeSet<u128>) -> Ranges<u128> {
        Ranges::flatten(
            (1..).zip(starts).map(|(rule, at)| span(*at, *at, Effect::Deny, rule)).collect(),
        )
    }

    #[test]
    fn a_rule_is_known_by_its_number_and_its_effect() {
        for effect in [Effect::Allow, Effect::Deny] {
            for number in [1, 2, DENY - 1] {
                let deciding = Deciding::new(number, effect).unwrap();
                assert_eq!((deciding.number(), deciding.effect()), (number, effect));
            }
            assert_eq!((Deciding::new(0, effect), Deciding::new(DENY, effect)), (None, None));
        }
    }

    proptest! {
        #[test]
        fn the_index_leads_where_a_search_of_all_would(
            crowds in prop::collection::vec((any::<u128>(), 0..128_u32, 1..60_u128), 1..8),
            asked in prop::collection::vec(any::<u128>(), 20),
        ) {
            let crowd = |(from, apart, count): &(u128, u32, u128)| {
                let (from, apart) = (*from, *apart);
                (0..*count).map(move |number| from.saturating_add(number << apart)).collect::<Vec<_>>()
            };
            let starts = crowds.iter().flat_map(crowd).collect();
            let ranges = ranges(&starts);
            let near = starts.iter().flat_map(|at| [at.saturating_sub(1), *at, at.saturating_add(1)]);
            for address in near.chain(asked).chain([0, u128::MAX]) {
                let all = ranges.starts.partition_point(|start| *start <= address);
                let expected = all.checked_sub(1).and_then(|last| ranges.rules[last]);
                prop_assert_eq!(ranges.find(address), expected);
                prop_assert_eq!(expected.is_some(), starts.contains(&address));
            }
        }
    }
}

//! From steps along the addresses to instructions: a decision tree over one word of the address after
//! the other.

use super::{Family, MOST_INSTRUCTIONS, Step, TooLong};

/// One instruction of classic BPF, as `struct sock_filter` of `linux/filter.h` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions to skip where the comparison holds.
    pub jt: u8,
    /// How many to skip where it does not.
    pub jf: u8,
    /// The number it works with.
    pub k: u32,
}

/// A program while it is written, from its end to its beginning: jumps go forward only, so what an
/// instruction jumps to is always written before it.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// The last instruction comes first.
    reversed: Vec<Instruction>,
    /// The nearest end that lets pass, and the nearest that drops.
    ends: [Option<Label>; 2],
}

/// An instruction, counted from the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Label(usize);

/// Where a decision leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// The packet passes, or is dropped.
    End(bool),
    /// The next word decides.
    At(Label),
}

/// What is decided from a value of the word on.
#[derive(Clone, Copy, Debug)]
struct Piece<'s> {
    from: u32,
    verdict: Verdict<'s>,
}

/// What a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict<'s> {
    /// The packet passes, or is dropped, whatever the words after it are.
    Sure(bool),
    /// The words after it decide by these steps; up to the first of them, by `before`.
    Open { before: bool, steps: &'s [Step] },
}

impl Assembly {
    /// The instructions that say what the steps say.
    pub(super) fn of(family: Family, steps: &[Step]) -> Result<Vec<Instruction>, TooLong> {
        let offsets: &[u32] = match family {
            Family::V4 => &V4_SOURCE,
            Family::V6 => &V6_SOURCE,
        };
        let mut assembly = Self::default();
        let begin = assembly.words(offsets, false, steps)?;
        assembly.enter(begin)?;
        assembly.reversed.reverse();
        Ok(assembly.reversed)
    }

    /// A decision over the word at the first offset, and where it leaves that open over those after it.
    /// `before` is what is said of values below the first step. All steps are alike in the words before.
    fn words(
        &mut self,
        offsets: &[u32],
        mut before: bool,
        steps: &[Step],
    ) -> Result<Target, TooLong> {
        let Some((offset, rest)) = offsets.split_first() else { return Ok(Target::End(before)) };
        let mut pieces = vec![Piece { from: 0, verdict: Verdict::Sure(before) }];
        for group in steps.chunk_by(|one, other| word(one, rest) == word(other, rest)) {
            let Some((first, last)) = group.first().zip(group.last()) else { continue };
            let from = word(first, rest);
            if group.len() == 1 && is_at_the_start(first, rest) {
                piece(&mut pieces, from, Verdict::Sure(first.passes));
            } else {
                piece(&mut pieces, from, Verdict::Open { before, steps: group });
                if let Some(after) = from.checked_add(1) {
                    piece(&mut pieces, after, Verdict::Sure(last.passes));
                }
            }
            before = last.passes;
        }
        let decision = self.decision(rest, &pieces)?;
        if let Target::End(_) = decision {
            return Ok(decision);
        }
        self.enter(decision)?;
        let load = Instruction { code: LOAD_WORD, jt: 0, jf: 0, k: *offset };
        Ok(Target::At(self.write(load)?))
    }

    /// A balanced tree over the pieces. What is open is written where it is needed, within reach.
    fn decision(&mut self, rest: &[u32], pieces: &[Piece<'_>]) -> Result<Target, TooLong> {
        let (lower, upper) = pieces.split_at(pieces.len().div_ceil(2));
        let Some(first) = upper.first() else {
            return match pieces.first().map(|piece| piece.verdict) {
                Some(Verdict::Open { before, steps }) => self.words(rest, before, steps),
                Some(Verdict::Sure(passes)) => Ok(Target::End(passes)),
                None => Ok(Target::End(false)),
            };
        };
        let above = self.decision(rest, upper)?;
        let below = self.decision(rest, lower)?;
        let above = self.near(above)?;
        let below = self.near(below)?;
        let (jt, jf) = (self.distance(above)?, self.distance(below)?);
        self.write(Instruction { code: JUMP_IF_AT_LEAST, jt, jf, k: first.from }).map(Target::At)
    }

    /// The target itself, or an instruction within reach that leads to it.
    fn near(&mut self, target: Target) -> Result<Label, TooLong> {
        let end = |passes: bool| usize::from(passes);
        let known = match target {
            Target::At(label) => Some(label),
            Target::End(passes) => self.ends.get(end(passes)).copied().flatten(),
        };
        if let Some(label) = known.filter(|label| self.skipped(*label) < REACH) {
            return Ok(label);
        }
        match target {
            Target::At(label) => self.jump(label),
            Target::End(passes) => {
                let k = if passes { WHOLE_PACKET } else { NOTHING };
                let label = self.write(Instruction { code: RETURN, jt: 0, jf: 0, k })?;
                if let Some(known) = self.ends.get_mut(end(passes)) {
                    *known = Some(label);
                }
                Ok(label)
            }
        }
    }

    /// Lets what is written next lead to the target.
    fn enter(&mut self, target: Target) -> Result<(), TooLong> {
        match target {
            Target::At(label) if self.skipped(label) == 0 => {}
            Target::At(label) => drop(self.jump(label)?),
            Target::End(_) => {
                let label = self.near(target)?;
                self.enter(Target::At(label))?;
            }
        }
        Ok(())
    }

    fn jump(&mut self, to: Label) -> Result<Label, TooLong> {
        let k = u32::try_from(self.skipped(to)).map_err(|_| TooLong)?;
        self.write(Instruction { code: JUMP, jt: 0, jf: 0, k })
    }

    /// How many instructions the next one skips when it jumps there.
    fn skipped(&self, label: Label) -> usize {
        self.reversed.len().saturating_sub(label.0).saturating_sub(1)
    }

    fn distance(&self, label: Label) -> Result<u8, TooLong> {
        u8::try_from(self.skipped(label)).map_err(|_| TooLong)
    }

    fn write(&mut self, instruction: Instruction) -> Result<Label, TooLong> {
        if self.reversed.len() == MOST_INSTRUCTIONS {
            return Err(TooLong);
        }
        let label = Label(self.reversed.len());
        self.reversed.push(instruction);
        Ok(label)
    }
}

/// Adds a piece where it changes anything. A later one from the same value takes its place.
fn piece<'s>(pieces: &mut Vec<Piece<'s>>, from: u32, verdict: Verdict<'s>) {
    pieces.pop_if(|last| last.from == from);
    if pieces.last().is_none_or(|last| last.verdict != verdict) {
        pieces.push(Piece { from, verdict });
    }
}

/// The word of a step that has the words `rest` after it.
fn word(step: &Step, rest: &[u32]) -> u32 {
    let below = WORD_BITS.saturating_mul(u32::try_from(rest.len()).unwrap_or(0));
    let word = step.from.checked_shr(below).unwrap_or(0) & u128::from(u32::MAX);
    u32::try_from(word).unwrap_or(u32::MAX)
}

/// Whether nothing but zeros is in the words `rest`.
fn is_at_the_start(step: &Step, rest: &[u32]) -> bool {
    let below = WORD_BITS.saturating_mul(u32::try_from(rest.len()).unwrap_or(0));
    step.from.trailing_zeros() >= below
}

const WORD_BITS: u32 = 32;
/// A conditional jump skips 255 at most; one more may be written before the jump itself.
const REACH: usize = 255;

/// Offsets from the network header on (`SKF_NET_OFF`): a filter of a socket sees the packet from the
/// transport header on. The source is in the fixed part of both headers.
const V4_SOURCE: [u32; 1] = [0xFFF0_0000 + 12];
const V6_SOURCE: [u32; 4] = [0xFFF0_0000 + 8, 0xFFF0_0000 + 12, 0xFFF0_0000 + 16, 0xFFF0_0000 + 20];

/// `BPF_LD | BPF_W | BPF_ABS`: a word in network order. Where it is not there, the packet is dropped.
pub(super) const LOAD_WORD: u16 = 0x20;
/// `BPF_JMP | BPF_JA`.
pub(super) const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JGE | BPF_K`, which compares without a sign.
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
/// `BPF_RET | BPF_K`: how much of the packet is kept.
pub(super) const RETURN: u16 = 0x06;
const WHOLE_PACKET: u32 = u32::MAX;
const NOTHING: u32 = 0;

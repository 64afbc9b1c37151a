//! The numbers of EVS: positions in one sender's messages, and ranges of them.

use core::fmt;

use bytes::BufMut;
use nom::Parser;
use nom::error::context;
use nom::number::complete::le_i64;

use crate::decode::Parsed;

/// The number of one sender's USER message inside one view, from 0. −1 says "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seqno(pub i64);

impl Seqno {
    /// "None": nothing sent, nothing seen, not leaving.
    pub const NONE: Self = Self(-1);
    /// The first number of a view.
    pub const FIRST: Self = Self(0);

    /// The number `count` further on; stays put at the end of the number line.
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// The number after this one.
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The number before this one.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How far this number is beyond `earlier`; negative if it is before it.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// True for −1.
    pub const fn is_none(self) -> bool {
        self.0 == -1
    }

    pub(crate) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, number) = le_i64(input)?;
        Ok((input, Self(number)))
    }

    pub(crate) fn encode(self, out: &mut impl BufMut) {
        out.put_i64_le(self.0);
    }
}

impl fmt::Display for Seqno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Seqno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an EVS message in the whole life of one process. −1 marks a message that was
/// made up from another one (a number inside somebody's `seq_range`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FifoSeqno(pub i64);

impl FifoSeqno {
    /// Not a message of its own: the duplicate filter lets it pass.
    pub const NONE: Self = Self(-1);

    pub(crate) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, number) = le_i64(input)?;
        Ok((input, Self(number)))
    }

    pub(crate) fn encode(self, out: &mut impl BufMut) {
        out.put_i64_le(self.0);
    }
}

/// What a node has of one sender's messages. On the wire, little-endian:
///
/// | offset | size | field         |
/// |-------:|-----:|---------------|
/// |      0 |    8 | lowest unseen |
/// |      8 |    8 | highest seen  |
///
/// Without a hole the lowest unseen is the highest seen plus one. In a retransmission request the
/// two are the first and the last missing number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first number that is missing.
    pub lowest_unseen: Seqno,
    /// The last number that is there.
    pub highest_seen: Seqno,
}

impl Range {
    /// "No range".
    pub const NONE: Self = Self { lowest_unseen: Seqno::NONE, highest_seen: Seqno::NONE };
    /// Nothing received yet.
    pub const START: Self = Self { lowest_unseen: Seqno::FIRST, highest_seen: Seqno::NONE };

    /// A range of numbers, both ends included.
    pub const fn new(lowest_unseen: Seqno, highest_seen: Seqno) -> Self {
        Self { lowest_unseen, highest_seen }
    }

    /// True if no number lies in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE || self.lowest_unseen > self.highest_seen
    }

    /// Could a correct node have measured this? The lowest unseen is missing, so it cannot be the
    /// highest seen, and nothing beyond it plus one can be the first missing one.
    pub fn is_measurable(&self) -> bool {
        self.lowest_unseen >= Seqno::FIRST
            && self.highest_seen >= Seqno::NONE
            && self.lowest_unseen <= self.highest_seen.next()
            && self.lowest_unseen != self.highest_seen
    }

    pub(crate) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, lowest_unseen) = context("lowest unseen", Seqno::parse).parse(input)?;
        let (input, highest_seen) = context("highest seen", Seqno::parse).parse(input)?;
        Ok((input, Self { lowest_unseen, highest_seen }))
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        self.lowest_unseen.encode(out);
        self.highest_seen.encode(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_line_ends_instead_of_wrapping() {
        assert_eq!(Seqno(i64::MAX).next(), Seqno(i64::MAX));
        assert_eq!(Seqno(i64::MIN).previous(), Seqno(i64::MIN));
        assert_eq!(Seqno(i64::MAX).since(Seqno(i64::MIN)), i64::MAX);
    }

    #[test]
    fn a_range_with_a_hole_or_without_can_be_measured_and_others_cannot() {
        let range = |low, high| Range::new(Seqno(low), Seqno(high));
        assert!(range(0, -1).is_measurable());
        assert!(range(5, 4).is_measurable());
        assert!(range(3, 9).is_measurable());
        assert!(!range(4, 4).is_measurable());
        assert!(!range(6, 4).is_measurable());
        assert!(!Range::NONE.is_measurable());
        assert!(!range(i64::MAX, i64::MAX).is_measurable());
        assert!(Range::NONE.is_empty() && range(5, 4).is_empty() && !range(4, 4).is_empty());
    }
}

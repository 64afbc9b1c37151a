//! What a member knows about one node, and the map of them that STATE and INSTALL carry.

use bytes::BufMut;
use nom::Parser;
use nom::error::context;
use nom::number::complete::{le_i64, le_u8, le_u32};
use std::collections::BTreeMap;

use crate::decode::{Parsed, Problem, fail};
use crate::id::{NodeId, Segment, ViewId, ViewKind};

/// Nodes and what is known about them, in UUID order. On the wire, little-endian:
///
/// | offset | size | field                              |
/// |-------:|-----:|------------------------------------|
/// |      0 |    4 | number of entries                  |
/// |      4 | 52·n | [`Entry`], ascending UUIDs         |
pub type NodeMap = BTreeMap<NodeId, Entry>;

/// Most entries of one message: what fits into the largest PC message (32644 bytes).
///
/// It also bounds what a member remembers: who cannot report what it knows must start afresh.
pub const NODES_MAX: usize = (super::message::MESSAGE_MAX - 12) / ENTRY_LENGTH;

/// Length of an entry in bytes.
pub const ENTRY_LENGTH: usize = 52;

const FLAG_PRIMARY: u8 = 0x01;
const FLAG_WEIGHT: u8 = 0x02;
const FLAG_UNKNOWN: u8 = 0x04;
const FLAG_EVICTED: u8 = 0x08;

/// `last_seq` of a node that was in no primary view yet.
pub const NO_LAST_SEQ: u32 = u32::MAX;

/// `to_seq` of a node that has delivered nothing in a primary view.
pub const NO_TO_SEQ: i64 = -1;

/// What is known about one node. On the wire, little-endian:
///
/// | offset | size | field                                                             |
/// |-------:|-----:|-------------------------------------------------------------------|
/// |      0 |   16 | UUID (the key of the map)                                         |
/// |     16 |    1 | flags: 1 primary, 2 weight present, 4 unknown, 8 evicted          |
/// |     17 |    1 | reserved, 0                                                       |
/// |     18 |    1 | segment                                                           |
/// |     19 |    1 | weight                                                            |
/// |     20 |    4 | last_seq                                                          |
/// |     24 |   16 | last primary view: UUID                                           |
/// |     40 |    4 | last primary view: kind in the upper two bits, number in the rest |
/// |     44 |    8 | to_seq                                                            |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Comes from a running primary view.
    pub is_primary: bool,
    /// May have become primary without the one who says so.
    pub is_unknown: bool,
    /// Banned from the group.
    pub is_evicted: bool,
    /// Its vote. `None` only from releases older than weights: it switches the whole group to
    /// counting heads, so ours is always there, 0 included.
    pub weight: Option<u8>,
    /// Its site.
    pub segment: Segment,
    /// Number of its last SAFE message delivered in the primary view.
    pub last_seq: u32,
    /// The last primary view it was in; kind NON_PRIM for none, or one read from a file.
    pub last_primary: ViewId,
    /// Number, minus one, of SAFE messages delivered since the primary lineage began.
    pub to_seq: i64,
}

impl Entry {
    /// A node that was in no primary view.
    pub const fn new(weight: u8, segment: Segment) -> Self {
        Self {
            is_primary: false,
            is_unknown: false,
            is_evicted: false,
            weight: Some(weight),
            segment,
            last_seq: NO_LAST_SEQ,
            last_primary: ViewId::new(ViewKind::NonPrimary, NodeId::NIL, 0),
            to_seq: NO_TO_SEQ,
        }
    }

    /// Do a reported entry and ours say the same? Eviction is a local matter and not compared; of
    /// releases without weights only the counters and the status are.
    pub fn agrees_with(&self, ours: &Self) -> bool {
        let counters = self.is_primary == ours.is_primary
            && self.last_seq == ours.last_seq
            && self.last_primary == ours.last_primary
            && self.to_seq == ours.to_seq;
        let rest = self.is_unknown == ours.is_unknown
            && self.weight == ours.weight
            && self.segment == ours.segment;
        counters && (rest || self.weight.is_none())
    }

    pub(super) fn parse(input: &[u8]) -> Parsed<'_, (NodeId, Self)> {
        let (input, node) = context("node", NodeId::parse).parse(input)?;
        let (input, flags) = context("flags", le_u8).parse(input)?;
        let (input, _reserved) = context("reserved", le_u8).parse(input)?;
        let (input, segment) = context("segment", le_u8).parse(input)?;
        let (input, weight) = context("weight", le_u8).parse(input)?;
        let (input, last_seq) = context("last seq", le_u32).parse(input)?;
        let (input, last_primary) = parse_last_primary(input)?;
        let (input, to_seq) = context("to seq", le_i64).parse(input)?;
        let entry = Self {
            is_primary: flags & FLAG_PRIMARY != 0,
            is_unknown: flags & FLAG_UNKNOWN != 0,
            is_evicted: flags & FLAG_EVICTED != 0,
            weight: (flags & FLAG_WEIGHT != 0).then_some(weight),
            segment: Segment(segment),
            last_seq,
            last_primary,
            to_seq,
        };
        Ok((input, (node, entry)))
    }

    pub(super) fn encode(&self, node: &NodeId, out: &mut impl BufMut) {
        node.encode(out);
        out.put_u8(self.flags());
        out.put_u8(0);
        out.put_u8(self.segment.0);
        out.put_u8(self.weight.unwrap_or(0));
        out.put_u32_le(self.last_seq);
        self.last_primary.node.encode(out);
        out.put_u32_le((self.last_primary.kind as u32) << 30 | self.last_primary.seq & SEQ_MASK);
        out.put_i64_le(self.to_seq);
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        flag(self.is_primary, FLAG_PRIMARY)
            | flag(self.weight.is_some(), FLAG_WEIGHT)
            | flag(self.is_unknown, FLAG_UNKNOWN)
            | flag(self.is_evicted, FLAG_EVICTED)
    }
}

/// View numbers have 30 bits.
pub(super) const SEQ_MASK: u32 = (1 << 30) - 1;

fn parse_last_primary(input: &[u8]) -> Parsed<'_, ViewId> {
    let (at_word, node) = context("last primary view", NodeId::parse).parse(input)?;
    let (input, word) = context("last primary view", le_u32).parse(at_word)?;
    let kind = if word >> 30 == ViewKind::Primary as u32 {
        ViewKind::Primary
    } else if word >> 30 == ViewKind::NonPrimary as u32 {
        ViewKind::NonPrimary
    } else {
        // The kinds of EVS: nobody writes them, and handing them on would be a guess.
        return fail(at_word, "last primary view", Problem::Invalid);
    };
    Ok((input, ViewId::new(kind, node, word & SEQ_MASK)))
}

pub(super) fn parse_map(input: &[u8]) -> Parsed<'_, NodeMap> {
    let (mut rest, count) = context("number of nodes", le_u32).parse(input)?;
    if usize::try_from(count).map_or(true, |count| count > NODES_MAX) {
        return fail(input, "number of nodes", Problem::TooLarge);
    }
    let mut nodes = NodeMap::new();
    for _ in 0..count {
        let (after, (node, entry)) = Entry::parse(rest)?;
        if nodes.insert(node, entry).is_some() {
            return fail(rest, "node", Problem::Invalid);
        }
        rest = after;
    }
    Ok((rest, nodes))
}

pub(super) fn encode_map(nodes: &NodeMap, out: &mut impl BufMut) {
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    out.put_u32_le(count);
    for (node, entry) in nodes {
        entry.encode(node, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_map_fits_the_largest_message_and_one_more_entry_does_not() {
        assert_eq!(NODES_MAX, 627);
        const { assert!(12 + 52 * NODES_MAX <= 32644) };
        const { assert!(12 + 52 * (NODES_MAX + 1) > 32644) };
    }

    #[test]
    fn eviction_does_not_count_when_entries_are_compared() {
        let entry = Entry::new(1, Segment(0));
        assert!(Entry { is_evicted: true, ..entry }.agrees_with(&entry));
        assert!(!Entry { is_unknown: true, ..entry }.agrees_with(&entry));
        assert!(!Entry { segment: Segment(1), ..entry }.agrees_with(&entry));
        assert!(!Entry { weight: Some(2), ..entry }.agrees_with(&entry));
        assert!(!Entry { last_seq: 0, ..entry }.agrees_with(&entry));
        assert!(!Entry { to_seq: 0, ..entry }.agrees_with(&entry));
    }

    #[test]
    fn without_a_weight_only_status_and_counters_are_compared() {
        let ours = Entry::new(1, Segment(0));
        let theirs = Entry { weight: None, segment: Segment(3), ..ours };
        assert!(theirs.agrees_with(&ours));
        assert!(!Entry { to_seq: 7, ..theirs }.agrees_with(&ours));
    }

    #[test]
    fn a_last_primary_view_of_an_evs_kind_is_refused() {
        for kind in [ViewKind::Regular, ViewKind::Transitional] {
            let mut entry = Entry::new(1, Segment(0));
            entry.last_primary.kind = kind;
            let mut bytes = Vec::new();
            entry.encode(&NodeId::NIL, &mut bytes);
            assert!(Entry::parse(&bytes).is_err());
        }
    }
}

//! The list of nodes in JOIN and INSTALL.

use std::collections::BTreeMap;

use bytes::BufMut;
use nom::Parser;
use nom::error::context;
use nom::number::complete::{le_u8, le_u32};

use super::header::{encode_view_id, parse_view_id};
use crate::decode::{Parsed, Problem, fail};
use crate::evs::seqno::{Range, Seqno};
use crate::id::{NodeId, ViewId, ViewKind};

/// Bytes of one entry on the wire.
pub const NODE_ENTRY_BYTES: usize = 70;

const OPERATIONAL: u8 = 0x01;
const SUSPECTED: u8 = 0x02;
const EVICTED: u8 = 0x04;

/// What the sender of a JOIN or INSTALL says about one node. On the wire, little-endian:
///
/// | offset | size | field |
/// |-------:|-----:|-------|
/// |      0 |   16 | node |
/// |     16 |    1 | flags: 0x01 operational, 0x02 suspected, 0x04 evicted |
/// |     17 |    1 | segment: always 0 in EVS |
/// |     18 |    8 | leave seqno: −1 unless the node has sent LEAVE |
/// |     26 |   20 | the node's view |
/// |     46 |    8 | safe seqno: the node has everything up to here |
/// |     54 |   16 | range: what the sender has of the node's messages |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// The sender still counts on the node.
    pub is_operational: bool,
    /// The sender has seen no progress of the node for the suspect time-out.
    pub is_suspected: bool,
    /// The sender has banned the node.
    pub is_evicted: bool,
    /// 0; some releases set it to 1 by mistake. Never compared.
    pub segment: u8,
    /// Number of the node's LEAVE, or −1.
    pub leave_seqno: Seqno,
    /// The node's view as the sender knows it; nil if it was only heard of.
    pub view: ViewId,
    /// What the node has acknowledged in that view.
    pub safe: Seqno,
    /// What there is of the node's messages in that view.
    pub range: Range,
}

impl NodeEntry {
    /// A node that the sender has only heard of.
    pub const HEARD_OF: Self = Self {
        is_operational: true,
        is_suspected: false,
        is_evicted: false,
        segment: 0,
        leave_seqno: Seqno::NONE,
        view: ViewId::new(ViewKind::Regular, NodeId::NIL, 0),
        safe: Seqno::NONE,
        range: Range::NONE,
    };

    /// A node that is banned and otherwise unknown.
    pub const BANNED: Self = Self { is_operational: false, is_evicted: true, ..Self::HEARD_OF };

    /// True if the node has sent LEAVE.
    pub fn is_leaving(&self) -> bool {
        !self.leave_seqno.is_none()
    }

    /// True if the node goes on: neither given up nor leaving.
    pub fn goes_on(&self) -> bool {
        self.is_operational && !self.is_leaving()
    }

    /// Do two members mean the same? Segment and eviction are no part of the agreement.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let neutral = |entry: &Self| Self { segment: 0, is_evicted: false, ..*entry };
        neutral(self) == neutral(other)
    }

    fn parse(input: &[u8]) -> Parsed<'_, (NodeId, Self)> {
        let (input, node) = context("node", NodeId::parse).parse(input)?;
        let (input, flags) = context("node flags", le_u8).parse(input)?;
        let (input, segment) = context("segment", le_u8).parse(input)?;
        let (input, leave_seqno) = context("leave seqno", Seqno::parse).parse(input)?;
        let (input, view) = context("node view", parse_view_id).parse(input)?;
        let (input, safe) = context("safe seqno", Seqno::parse).parse(input)?;
        let (input, range) = context("range", Range::parse).parse(input)?;
        let is_operational = flags & OPERATIONAL != 0;
        let is_suspected = flags & SUSPECTED != 0;
        let is_evicted = flags & EVICTED != 0;
        let entry = Self {
            is_operational,
            is_suspected,
            is_evicted,
            segment,
            leave_seqno,
            view,
            safe,
            range,
        };
        Ok((input, (node, entry)))
    }

    fn encode(&self, node: NodeId, out: &mut impl BufMut) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        node.encode(out);
        out.put_u8(
            flag(self.is_operational, OPERATIONAL)
                | flag(self.is_suspected, SUSPECTED)
                | flag(self.is_evicted, EVICTED),
        );
        out.put_u8(self.segment);
        self.leave_seqno.encode(out);
        encode_view_id(self.view, out);
        self.safe.encode(out);
        self.range.encode(out);
    }
}

/// A u32 count, then the entries in ascending order of nodes, each node once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeList(BTreeMap<NodeId, NodeEntry>);

impl NodeList {
    const COUNT_LEN: usize = 4;

    /// What the list says about a node.
    pub fn entry(&self, node: &NodeId) -> Option<&NodeEntry> {
        self.0.get(node)
    }

    /// True if the node is listed.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }

    /// All entries in ascending order of nodes.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &NodeEntry)> {
        self.0.iter()
    }

    /// How many nodes are listed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if nobody is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only the entries that `keep` accepts, as pairs that can be compared.
    pub(crate) fn filtered(
        &self,
        keep: impl Fn(&NodeEntry) -> bool,
    ) -> impl Iterator<Item = (&NodeId, &NodeEntry)> {
        self.0.iter().filter(move |(_, entry)| keep(entry))
    }

    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let count_at = input;
        let (mut input, count) = context("count", le_u32).parse(input)?;
        let fits = input.len() / NODE_ENTRY_BYTES;
        if usize::try_from(count).map_or(true, |count| count > fits) {
            return fail(count_at, "count", Problem::Truncated);
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..count {
            let (rest, (node, entry)) = NodeEntry::parse(input)?;
            if nodes.insert(node, entry).is_some() {
                return fail(input, "duplicate node", Problem::Invalid);
            }
            input = rest;
        }
        Ok((input, Self(nodes)))
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        // A list that fits a message has far fewer than 2^32 entries.
        out.put_u32_le(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        for (node, entry) in &self.0 {
            entry.encode(*node, out);
        }
    }

    pub(super) fn encoded_len(&self) -> usize {
        Self::COUNT_LEN + NODE_ENTRY_BYTES * self.0.len()
    }
}

impl FromIterator<(NodeId, NodeEntry)> for NodeList {
    fn from_iter<I: IntoIterator<Item = (NodeId, NodeEntry)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

//! DELAYED_LIST: who seems slow to the sender, the input of automatic eviction.

use std::collections::BTreeMap;

use bytes::BufMut;
use nom::Parser;
use nom::error::context;
use nom::number::complete::le_u8;

use crate::decode::{Parsed, Problem, fail};
use crate::id::NodeId;

/// Slow nodes. After the header:
///
/// | offset | size | field |
/// |-------:|-----:|-------|
/// |      0 |    1 | count |
/// |      1 | 17 n | per node: UUID, then how often it became slow (u8) |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelayedList(pub BTreeMap<NodeId, u8>);

impl DelayedList {
    const COUNT_MAX: usize = u8::MAX as usize;
    const ENTRY_LEN: usize = 17;

    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (mut input, count) = context("count", le_u8).parse(input)?;
        let mut nodes = BTreeMap::new();
        for _ in 0..count {
            let at = input;
            let (rest, node) = context("node", NodeId::parse).parse(input)?;
            let (rest, changes) = context("state changes", le_u8).parse(rest)?;
            if nodes.insert(node, changes).is_some() {
                return fail(at, "duplicate node", Problem::Invalid);
            }
            input = rest;
        }
        Ok((input, Self(nodes)))
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        let count = self.0.len().min(Self::COUNT_MAX);
        out.put_u8(u8::try_from(count).unwrap_or(u8::MAX));
        for (node, changes) in self.0.iter().take(count) {
            node.encode(out);
            out.put_u8(*changes);
        }
    }

    pub(super) fn encoded_len(&self) -> usize {
        1 + Self::ENTRY_LEN * self.0.len().min(Self::COUNT_MAX)
    }
}

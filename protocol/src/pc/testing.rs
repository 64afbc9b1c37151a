//! What the tests of this layer share: vectors, hex, short ways to write nodes and views.

use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeSet;

use super::{Entry, Input, NodeMap, Output, Pc};
use crate::id::{NodeId, Segment, ViewId, ViewKind};
use crate::message::{Delivery, Order};
use crate::time::Instant;
use crate::view::View;

pub(super) const VECTORS: &str = include_str!("../../tests/vectors/pc.json");

/// A view id as the vector files write it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct JsonViewId {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    uuid: String,
    seq: u32,
}

impl JsonViewId {
    pub(super) fn with_kind(&self, kind: ViewKind) -> ViewId {
        ViewId::new(kind, self.uuid.parse().unwrap(), self.seq)
    }

    pub(super) fn id(&self) -> ViewId {
        self.with_kind(match self.kind.as_str() {
            "REG" => ViewKind::Regular,
            "TRANS" => ViewKind::Transitional,
            "NON_PRIM" => ViewKind::NonPrimary,
            "PRIM" => ViewKind::Primary,
            other => panic!("view kind {other}"),
        })
    }
}

pub(super) fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> =
        text.chars().map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<_>>().into()
}

/// Every byte of these vectors that must decode.
pub(super) fn valid_messages() -> Vec<Bytes> {
    #[derive(Deserialize)]
    struct Vector {
        hex: String,
        decoded: Option<serde_json::Value>,
    }
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    let valid = vectors.iter().filter(|vector| vector.decoded.is_some());
    valid.map(|vector| unhex(&vector.hex)).collect()
}

pub(super) fn nodes(texts: &[String]) -> BTreeSet<NodeId> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Node number `n`: ascending numbers give ascending UUIDs and, on purpose, *older* ones.
pub(super) fn node(n: u8) -> NodeId {
    NodeId::version1(u64::from(n) << 24 | (0xff - u64::from(n)) << 48, 0, [n; 6])
}

pub(super) fn members(numbers: &[u8]) -> BTreeSet<NodeId> {
    numbers.iter().map(|&n| node(n)).collect()
}

pub(super) fn entry(weight: u8) -> Entry {
    Entry::new(weight, Segment(0))
}

pub(super) fn map(entries: &[(u8, Entry)]) -> NodeMap {
    entries.iter().map(|&(n, entry)| (node(n), entry)).collect()
}

pub(super) fn primary_id(n: u8, seq: u32) -> ViewId {
    ViewId::new(ViewKind::Primary, node(n), seq)
}

/// An entry of a node that is in the primary view `(n, seq)`.
pub(super) fn in_primary(n: u8, seq: u32, last_seq: u32, to_seq: i64) -> Entry {
    Entry { is_primary: true, last_primary: primary_id(n, seq), last_seq, to_seq, ..entry(1) }
}

pub(super) fn regular(seq: u32, numbers: &[u8]) -> View {
    let members = members(numbers);
    let id = ViewId::new(ViewKind::Regular, *members.first().unwrap(), seq);
    View::new(id, 1, members)
}

pub(super) fn transitional(from: &View, numbers: &[u8], left: &[u8]) -> View {
    let id = from.id.with_kind(ViewKind::Transitional);
    let mut view = View::new(id, 1, members(numbers));
    view.left = members(left);
    let stays = |node: &NodeId| view.members.contains(node) || view.left.contains(node);
    view.partitioned = from.members.iter().filter(|node| !stays(node)).copied().collect();
    view
}

pub(super) fn end_view() -> View {
    View::new(ViewId::new(ViewKind::Regular, NodeId::NIL, 0), 0, BTreeSet::new())
}

pub(super) fn message(source: NodeId, user_type: u8, payload: Bytes) -> Input {
    Input::Message(Delivery { source, order: Order::Safe, user_type, payload })
}

/// Feeds one input and returns everything it caused.
pub(super) fn feed(pc: &mut Pc, input: Input) -> Vec<Output> {
    pc.handle_input(Instant::ZERO, input);
    std::iter::from_fn(|| pc.poll_output()).collect()
}

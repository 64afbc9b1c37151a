//! The view that the input map belongs to.

use std::collections::BTreeSet;

use crate::id::{NodeId, ViewId, ViewKind};

/// The installed view: its id, its version and its members with their indices.
#[derive(Clone, Debug)]
pub(super) struct CurrentView {
    pub(super) id: ViewId,
    pub(super) version: u8,
    members: Vec<NodeId>,
}

impl CurrentView {
    /// The view before the first regular one: just me.
    pub(super) fn pseudo(me: NodeId, seq: u32) -> Self {
        Self { id: ViewId::new(ViewKind::Transitional, me, seq), version: 0, members: vec![me] }
    }

    pub(super) fn new(id: ViewId, version: u8, members: &BTreeSet<NodeId>) -> Self {
        Self { id, version, members: members.iter().copied().collect() }
    }

    /// True before the first regular view.
    pub(super) fn is_pseudo(&self) -> bool {
        self.id.kind == ViewKind::Transitional
    }

    /// A member's rank among the members, ascending.
    pub(super) fn index_of(&self, node: &NodeId) -> Option<usize> {
        self.members.binary_search(node).ok()
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.index_of(node).is_some()
    }

    pub(super) fn member_at(&self, index: usize) -> Option<NodeId> {
        self.members.get(index).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &NodeId> {
        self.members.iter()
    }

    pub(super) fn to_set(&self) -> BTreeSet<NodeId> {
        self.members.iter().copied().collect()
    }
}

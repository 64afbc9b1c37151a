//! What a member knows about every node it heard of since its last primary view.

use std::collections::BTreeSet;

use super::node::{Entry, NodeMap};
use crate::id::{NodeId, ViewId};

/// The own entry and those of all others. The own one is always there.
///
/// Bounded by [`super::node::NODES_MAX`]: a member that learns of more stops, see
/// [`super::exchange::Exchange::merge_into`].
#[derive(Clone, Debug)]
pub(super) struct Known {
    me: NodeId,
    nodes: NodeMap,
}

impl Known {
    pub(super) fn new(me: NodeId, mine: Entry) -> Self {
        Self { me, nodes: NodeMap::from([(me, mine)]) }
    }

    pub(super) fn nodes(&self) -> &NodeMap {
        &self.nodes
    }

    pub(super) fn nodes_mut(&mut self) -> &mut NodeMap {
        &mut self.nodes
    }

    pub(super) fn mine(&self) -> &Entry {
        self.nodes.get(&self.me).expect("the own entry is never removed")
    }

    pub(super) fn mine_mut(&mut self) -> &mut Entry {
        self.nodes.get_mut(&self.me).expect("the own entry is never removed")
    }

    /// No member of this view comes from a primary view any more. Of those that are gone nothing is
    /// changed: what they were last is still asked for when all come together again.
    pub(super) fn demote(&mut self, members: &BTreeSet<NodeId>) {
        let current = self.nodes.iter_mut().filter(|(node, _)| members.contains(node));
        current.for_each(|(_, entry)| entry.is_primary = false);
        self.mine_mut().is_primary = false;
    }

    /// Everybody who came along into a regular view has delivered what we have delivered.
    pub(super) fn level_positions(&mut self, members: &BTreeSet<NodeId>) {
        let position = self.mine().to_seq;
        let current = self.nodes.iter_mut().filter(|(node, _)| members.contains(node));
        current.for_each(|(_, entry)| entry.to_seq = position);
    }

    /// The bit stays with the entry, whatever the list of evicted nodes says later.
    pub(super) fn mark_evicted(&mut self, evicted: &BTreeSet<NodeId>) {
        let listed = self.nodes.iter_mut().filter(|(node, _)| evicted.contains(node));
        listed.for_each(|(_, entry)| entry.is_evicted = true);
    }

    /// The members start into the primary view `id` at position `to_seq`.
    pub(super) fn promote(&mut self, id: ViewId, members: &BTreeSet<NodeId>, to_seq: i64) {
        for (node, entry) in &mut self.nodes {
            entry.is_primary = members.contains(node);
            if entry.is_primary {
                entry.last_primary = id;
                entry.last_seq = 0;
                entry.to_seq = to_seq;
            }
        }
        self.mine_mut().to_seq = to_seq;
    }

    /// A primary view stands: who is not in it is forgotten, and nobody is uncertain any more.
    pub(super) fn forget_absent(&mut self, members: &BTreeSet<NodeId>) {
        let me = self.me;
        self.nodes.retain(|node, _| members.contains(node) || *node == me);
        self.nodes.values_mut().for_each(|entry| entry.is_unknown = false);
    }

    /// Marks the nodes of `listed` that did not come along: they may be primary without us.
    pub(super) fn mark_unknown(
        &mut self,
        listed: &NodeMap,
        members: &BTreeSet<NodeId>,
    ) -> BTreeSet<NodeId> {
        let mut marked = BTreeSet::new();
        for node in listed.keys().filter(|node| !members.contains(node)) {
            if let Some(entry) = self.nodes.get_mut(node) {
                entry.is_unknown = true;
                marked.insert(*node);
            }
        }
        marked
    }

    /// Takes over what a weight change says about its sender.
    pub(super) fn take_weight(&mut self, source: &NodeId, listed: &NodeMap) -> Option<u8> {
        let weight = listed.get(source)?.weight;
        self.nodes.get_mut(source)?.weight = weight;
        weight
    }
}

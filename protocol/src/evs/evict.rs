//! Banning nodes: by an operator, by others' JOINs, or by many complaints (spec 02 §6.12).

use tracing::warn;

use super::state::StateKind;
use super::{Evs, Output};
use crate::id::NodeId;

impl Evs {
    pub(super) fn evict_by_operator(&mut self, node: NodeId) {
        if node == self.me || self.state.kind() == StateKind::Closed {
            return;
        }
        self.evict(node);
        if self.view.contains(&node) && self.state.kind() == StateKind::Operational {
            self.restart_gather();
        }
    }

    /// Bans a node; our JOINs will tell the others.
    pub(super) fn evict(&mut self, node: NodeId) {
        if node != self.me && self.evicted.insert(node, self.now) {
            warn!(%node, "evs evicts a node");
            self.emit(Output::Evict(node));
        }
    }

    /// Somebody's JOIN says that a node is banned.
    pub(super) fn accept_eviction(&mut self, node: NodeId) {
        self.set_inactive(&node);
        self.evict(node);
    }
}

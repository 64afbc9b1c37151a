//! The one formula that decides whether survivors may go on (spec 03 §3.4).
//!
//! Who left politely does not count against the survivors; who vanished does. With nobody else
//! involved it reads: the survivors must outweigh those that vanished. A weight of 0 adds nothing
//! to any of the sums, so such a member can neither save nor cost a quorum.

use std::collections::BTreeSet;

use super::node::NodeMap;
use crate::id::NodeId;
use crate::view::View;

/// Votes of a transitional view, measured against a reference view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Votes of the reference view's members that continue with us.
    pub members: u32,
    /// Votes of those that left gracefully.
    pub left: u32,
    /// Votes of the whole reference view.
    pub total: u32,
}

impl Tally {
    /// Counts `view` against `reference`. If anyone involved has no weight (releases older than
    /// weights), heads are counted instead.
    pub fn count(view: &View, reference: &BTreeSet<NodeId>, known: &NodeMap) -> Self {
        let involved = view.members.iter().chain(&view.left).chain(reference);
        let by_heads =
            involved.filter_map(|node| known.get(node)).any(|entry| entry.weight.is_none());
        let vote = |node: &NodeId| -> u32 {
            if by_heads {
                return 1;
            }
            known.get(node).and_then(|entry| entry.weight).map_or(0, u32::from)
        };
        Self {
            members: view.members.intersection(reference).map(vote).sum(),
            left: view.left.intersection(reference).map(vote).sum(),
            total: reference.iter().map(vote).sum(),
        }
    }

    /// More than half of those that did not leave politely.
    pub const fn has_quorum(self) -> bool {
        2 * self.members + self.left > self.total
    }

    /// Exactly half: the other half, if it lives, sees the same.
    pub const fn is_split(self) -> bool {
        2 * self.members + self.left == self.total
    }
}

#[cfg(test)]
mod tests;

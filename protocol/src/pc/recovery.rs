//! Automatic recovery after everybody was gone: members that all come back from the same saved
//! view, and nobody else, make themselves primary again (spec 03 §4.4).

use std::collections::BTreeSet;

use super::node::NodeMap;
use super::saved::SavedView;
use crate::id::{NodeId, ViewKind};

/// Whether the members of a non-primary view may promote themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// All of the newest saved view are here, and nobody else.
    Possible,
    /// Somebody is missing, or somebody is too many, or another saved view is newer.
    NotNow,
    /// This node was in another primary view since.
    MixedHistory(NodeId),
}

/// Looks at one restored member's view of the world.
pub(super) fn assess(
    restored: &SavedView,
    known: &NodeMap,
    members: &BTreeSet<NodeId>,
) -> Recovery {
    let mut newest = 0;
    for (node, entry) in known.iter().filter(|(node, _)| restored.names(node)) {
        let view = entry.last_primary;
        if view.kind != ViewKind::NonPrimary || view.node != restored.view.node {
            return Recovery::MixedHistory(*node);
        }
        newest = newest.max(view.seq);
    }
    let is_same_membership = members.len() == restored.members.len()
        && members.iter().zip(restored.members.keys()).all(|(here, then)| here.is_same_node(then));
    if restored.view.seq == newest && is_same_membership {
        Recovery::Possible
    } else {
        Recovery::NotNow
    }
}

#[cfg(test)]
mod tests;

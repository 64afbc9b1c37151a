//! Is a primary view possible? (spec 03 §3.6)
//!
//! Either somebody comes from a running primary view, and the quorum was settled when its last
//! transitional view came; or nobody does, and then *every* member of the greatest last primary
//! view must be back, weight 0 and arbitrators included, unless it was evicted.

use std::collections::BTreeSet;

use super::exchange::Exchange;
use super::fatal::Fatal;
use super::node::{Entry, NodeMap};
use crate::id::{NodeId, ViewId, ViewKind};

/// What a completed state exchange allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Members come from a running primary view and carry it on.
    Continue,
    /// Nobody is primary, but all of the last primary view are back.
    Rebootstrap,
    /// Not possible.
    NonPrimary(Obstacle),
}

/// What is in the way of a primary view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Nobody here was in a primary view in its present life.
    #[error("nobody comes from a primary view")]
    NoLastPrimary,
    /// This node may be primary without us, and is not here.
    #[error("{0} may have become primary elsewhere")]
    Unknown(NodeId),
    /// These members of the last primary view are not here.
    #[error("members of {view} are missing: {missing:?}")]
    Missing {
        /// The last primary view.
        view: ViewId,
        /// Who is missing, in the incarnation that it had then.
        missing: BTreeSet<NodeId>,
    },
}

impl Decision {
    /// May a primary view be installed?
    pub const fn is_possible(&self) -> bool {
        matches!(self, Self::Continue | Self::Rebootstrap)
    }
}

/// Decides for the view of `members`, whose exchange is complete.
pub(super) fn decide(
    exchange: &Exchange,
    known: &NodeMap,
    members: &BTreeSet<NodeId>,
) -> Result<Decision, Fatal> {
    let mut primaries = exchange.self_entries().filter(|(_, entry)| entry.is_primary);
    let Some((_, first)) = primaries.next() else {
        return Ok(rebootstrap(exchange, known, members));
    };
    let agrees =
        |entry: &Entry| entry.last_primary == first.last_primary && entry.to_seq == first.to_seq;
    if primaries.all(|(_, entry)| agrees(entry)) {
        Ok(Decision::Continue)
    } else {
        Err(Fatal::InconsistentPrimaries)
    }
}

fn rebootstrap(exchange: &Exchange, known: &NodeMap, members: &BTreeSet<NodeId>) -> Decision {
    let mut absent = known.iter().filter(|(node, _)| !members.contains(node));
    if let Some((node, _)) = absent.find(|(_, entry)| entry.is_unknown) {
        return Decision::NonPrimary(Obstacle::Unknown(*node));
    }
    let reports = || exchange.reports().map(|(_, report)| report);
    let Some(last) = LastPrimary::find(reports()) else {
        return Decision::NonPrimary(Obstacle::NoLastPrimary);
    };
    let evicted: BTreeSet<_> =
        reports().flatten().filter(|(_, entry)| entry.is_evicted).map(|(node, _)| *node).collect();
    let is_back = |node: &NodeId| members.iter().any(|member| member.is_same_node(node));
    let missing: BTreeSet<_> =
        last.nodes.difference(&evicted).filter(|node| !is_back(node)).copied().collect();
    if missing.is_empty() {
        Decision::Rebootstrap
    } else {
        Decision::NonPrimary(Obstacle::Missing { view: last.view, missing })
    }
}

/// The greatest last primary view of some reports, and whom they place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastPrimary {
    pub(super) view: ViewId,
    pub(super) nodes: BTreeSet<NodeId>,
}

impl LastPrimary {
    /// Views read from a file (kind NON_PRIM) are not counted.
    pub(super) fn find<'a>(reports: impl Iterator<Item = &'a NodeMap>) -> Option<Self> {
        let mut greatest: Option<Self> = None;
        for (node, entry) in reports.flatten() {
            let view = entry.last_primary;
            if view.kind == ViewKind::NonPrimary {
                continue;
            }
            match &mut greatest {
                Some(last) if view.is_less(&last.view) => {}
                // Neither less nor greater: one view, named by two incarnations of its node.
                Some(last) if !last.view.is_less(&view) => {
                    last.nodes.insert(*node);
                }
                Some(_) | None => greatest = Some(Self { view, nodes: BTreeSet::from([*node]) }),
            }
        }
        greatest
    }
}

#[cfg(test)]
mod tests;

//! Is a primary view possible? (spec 03 §3.6)
//!
//! Either somebody comes from a running primary view, and the quorum was settled when its last
//! transitional view came; or nobody does, and then *every* member of the greatest last primary
//! view must be back, weight 0 and arbitrators included, unless it was evicted.

use std::collections::BTreeSet;

use super::exchange::Exchange;
use super::fatal::Fatal;
use super::node::{Entry, NodeMap};
use super::saved::SavedView;
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
    let missing = last.missing(exchange, members);
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

    /// What a saved view says of itself.
    pub(super) fn of_saved(saved: &SavedView) -> Self {
        Self { view: saved.view, nodes: saved.members.keys().copied().collect() }
    }

    /// The greater of two; of one and the same view, everybody who was placed in it.
    pub(super) fn join(self, other: Self) -> Self {
        if self.view.is_less(&other.view) {
            return other;
        }
        let nodes = if other.view.is_less(&self.view) { BTreeSet::new() } else { other.nodes };
        Self { nodes: self.nodes.into_iter().chain(nodes).collect(), ..self }
    }

    /// Who of it is not here in any incarnation, evicted nodes not counted.
    pub(super) fn missing(
        &self,
        exchange: &Exchange,
        members: &BTreeSet<NodeId>,
    ) -> BTreeSet<NodeId> {
        let evicted: BTreeSet<_> = exchange
            .reports()
            .flat_map(|(_, report)| report)
            .filter(|(_, entry)| entry.is_evicted)
            .map(|(node, _)| *node)
            .collect();
        let is_back = |node: &NodeId| members.iter().any(|member| member.is_same_node(node));
        self.nodes.difference(&evicted).filter(|node| !is_back(node)).copied().collect()
    }
}

/// The greatest last primary view that anybody told of since we were primary ourselves, and all who
/// were ever placed in it.
///
/// A re-bootstrap trusts the reports of the moment. They may have lost members: what is known of a
/// node is not refreshed by a later report (spec 03 T11), and a restarted member knows nothing.
/// Then the rule can be satisfied while the rest of that view is still primary elsewhere. All
/// members decide alike and none can veto, but one that remembers better need not take part.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    last: Option<LastPrimary>,
}

impl Memory {
    pub(super) fn new(saved: Option<&SavedView>) -> Self {
        Self { last: saved.map(LastPrimary::of_saved) }
    }

    /// Adds what an exchange says, and names those whom a re-bootstrap of it would forget.
    pub(super) fn add(
        &mut self,
        exchange: &Exchange,
        members: &BTreeSet<NodeId>,
    ) -> Option<(ViewId, BTreeSet<NodeId>)> {
        let now = LastPrimary::find(exchange.reports().map(|(_, report)| report))?;
        let view = now.view;
        let joined = match self.last.take() {
            Some(before) => before.join(now),
            None => now,
        };
        // A remembered view that nobody reports any more may be of another group's life.
        let missing =
            if joined.view == view { joined.missing(exchange, members) } else { BTreeSet::new() };
        self.last = Some(joined);
        (!missing.is_empty()).then_some((view, missing))
    }
}

#[cfg(test)]
mod tests;

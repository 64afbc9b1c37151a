//! Does everybody who goes on agree (spec 02 §6.5)? Only reads; changes nothing.
//!
//! Consensus says: everybody who goes on agrees on who goes on; all survivors of my view have the
//! same messages of every member, the dead included; all have used up the same numbers; and
//! everything that can become safe is safe.

use std::collections::BTreeMap;

use super::current_view::CurrentView;
use super::input_map::InputMap;
use super::message::NodeEntry;
use super::nodes::{Join, Node, Nodes};
use super::seqno::{Range, Seqno};
use crate::id::NodeId;

/// Everything that an agreement is about.
#[derive(Clone, Copy)]
pub(super) struct Consensus<'a> {
    pub(super) me: NodeId,
    pub(super) view: &'a CurrentView,
    pub(super) map: &'a InputMap,
    pub(super) nodes: &'a Nodes,
    /// False only to simulate servers, which know fewer rules.
    pub(super) exceeds_servers: bool,
}

type Ranges = BTreeMap<NodeId, Range>;

impl<'a> Consensus<'a> {
    /// True if everybody who goes on proposes the same, and all work in the old view is done.
    pub(super) fn is_reached(&self) -> bool {
        let Some(mine) = self.own_join() else { return false };
        self.is_consistent_in_view(mine)
            && self
                .nodes
                .operational()
                .all(|(_, node)| node.join.as_ref().is_some_and(|join| self.is_consistent(join)))
    }

    /// Have those who come together from another view finished it alike? Servers do not ask; then
    /// one of them may deliver as safe what another one delivers only after the view's end.
    pub(super) fn is_reached_elsewhere(&self) -> bool {
        let votes = || self.nodes.operational().filter_map(|(_, node)| node.join.as_ref());
        let done = |join: &Join| (join.proposal.safe, join.proposal.aru);
        votes().all(|a| votes().all(|b| a.view != b.view || done(a) == done(b)))
    }

    /// Does a proposal say what my own proposal says, and what I have?
    pub(super) fn is_consistent(&self, theirs: &Join) -> bool {
        self.equals_mine(theirs)
            && (theirs.view != self.view.id || self.is_consistent_in_view(theirs))
    }

    /// Does a proposal say what my own proposal says?
    pub(super) fn equals_mine(&self, theirs: &Join) -> bool {
        self.own_join().is_some_and(|mine| are_equal(mine, theirs))
    }

    /// How far SAFE can still get in this view.
    pub(super) fn highest_reachable_safe(&self) -> Option<Seqno> {
        self.nodes
            .iter()
            .filter(|(id, node)| self.counts_in_view(id, node))
            .filter_map(|(id, node)| self.reachable_through(id, node))
            .min()
    }

    /// True if everybody who goes on lists the node as suspected.
    pub(super) fn is_suspected_by_all(&self, suspect: &NodeId) -> bool {
        self.nodes.operational().all(|(_, node)| {
            let entry = node.join.as_ref().and_then(|join| join.proposal.nodes.entry(suspect));
            entry.is_some_and(|entry| entry.is_suspected)
        })
    }

    fn own_join(&self) -> Option<&'a Join> {
        self.nodes.get(&self.me)?.join.as_ref()
    }

    /// Does this node take part in what my view still has to do?
    fn counts_in_view(&self, id: &NodeId, node: &Node) -> bool {
        (node.join.is_none() && self.view.contains(id))
            || node.join_from(self.view.id).is_some()
            || node.leave_from(self.view.id).is_some()
    }

    fn reachable_through(&self, id: &NodeId, node: &Node) -> Option<Seqno> {
        let index = self.view.index_of(id)?;
        let range = self.map.range(index);
        if let Some(leave) = node.leave_seqno() {
            return self.limit_by_leaver(id, leave, range);
        }
        Some(if node.is_operational {
            range.highest_seen
        } else {
            self.map.acknowledged(index).min(range.lowest_unseen.previous())
        })
    }

    /// Nobody has numbers of a leaver beyond its LEAVE, so nothing beyond can become safe. If
    /// everybody has lost sight of it, nothing beyond what it has told us can.
    ///
    /// Servers then set no limit at all. Whenever they agree so do we: SAFE is never beyond what
    /// everybody has of everybody. Where they do not, they never would: what is missing of the
    /// leaver's messages is in nobody's hands.
    fn limit_by_leaver(&self, id: &NodeId, leave: Seqno, range: Range) -> Option<Seqno> {
        if !self.is_suspected_by_all(id) {
            return Some(leave);
        }
        self.exceeds_servers.then(|| leave.min(range.lowest_unseen.previous()))
    }

    /// SAFE, not waiting for leavers that everybody has lost sight of.
    fn safe_without_suspected_leavers(&self) -> Option<Seqno> {
        let skipped = |id: &NodeId, node: &Node| {
            !node.is_operational && node.leave.is_some() && self.is_suspected_by_all(id)
        };
        let counted = self.nodes.iter().filter(|(id, node)| !skipped(id, node));
        counted
            .filter_map(|(id, _)| self.view.index_of(id))
            .map(|index| self.map.acknowledged(index))
            .min()
    }

    /// Does a proposal of my own view describe exactly what I have, with nothing left to do?
    fn is_consistent_in_view(&self, theirs: &Join) -> bool {
        let Some((highest, reachable)) = self.goals_of(theirs) else { return false };
        self.map.highest_seen() == highest
            && self.highest_reachable_safe() == Some(reachable)
            && self.safe_without_suspected_leavers() == Some(reachable)
            && theirs.proposal.aru == self.map.aru()
            && theirs.proposal.safe == self.map.safe()
            && self.has_same_ranges(theirs)
    }

    /// The highest number used, and the highest that can become safe, as the proposal has them.
    fn goals_of(&self, theirs: &Join) -> Option<(Seqno, Seqno)> {
        let highest = self.entries(theirs).filter(|(_, entry)| entry.goes_on());
        let highest = highest.map(|(_, entry)| entry.range.highest_seen).max()?;
        let limits = self.entries(theirs).filter_map(|(id, entry)| self.limit_of(id, entry));
        Some((highest, limits.min().map_or(highest, |limit| limit.min(highest))))
    }

    fn limit_of(&self, id: &NodeId, entry: &NodeEntry) -> Option<Seqno> {
        if entry.is_operational {
            None
        } else if entry.is_leaving() {
            self.limit_by_leaver(id, entry.leave_seqno, entry.range)
        } else {
            Some(entry.safe.min(entry.range.lowest_unseen.previous()))
        }
    }

    fn has_same_ranges(&self, theirs: &Join) -> bool {
        let dead = |node: &Node| !node.is_operational && node.leave.is_none();
        let left = |node: &Node| !node.is_operational && node.leave_from(self.view.id).is_some();
        self.ranges_of(|_| true) == self.claimed(theirs, |_| true)
            && self.ranges_of(dead)
                == self.claimed(theirs, |entry| !entry.is_operational && !entry.is_leaving())
            && self.ranges_of(left)
                == self.claimed(theirs, |entry| !entry.is_operational && entry.is_leaving())
    }

    fn ranges_of(&self, which: impl Fn(&Node) -> bool) -> Ranges {
        let chosen = self.nodes.iter().filter(|(_, node)| which(node));
        chosen.filter_map(|(id, _)| Some((*id, self.map.range(self.view.index_of(id)?)))).collect()
    }

    fn claimed(&self, theirs: &Join, which: impl Fn(&NodeEntry) -> bool) -> Ranges {
        let chosen = self.entries(theirs).filter(|(_, entry)| which(entry));
        chosen.map(|(id, entry)| (*id, entry.range)).collect()
    }

    /// The entries of nodes that are in my view.
    fn entries<'j>(&self, join: &'j Join) -> impl Iterator<Item = (&'j NodeId, &'j NodeEntry)> {
        let view = self.view.id;
        join.proposal.nodes.filtered(move |entry| entry.view == view)
    }
}

/// Do two proposals mean the same membership and the same state of the old views?
fn are_equal(a: &Join, b: &Join) -> bool {
    if a.view == b.view && (a.proposal.safe, a.proposal.aru) != (b.proposal.safe, b.proposal.aru) {
        return false;
    }
    let compared = |join: &Join, entry: &NodeEntry| {
        if a.source == b.source { entry.view == join.view } else { entry.goes_on() }
    };
    let mine = a.proposal.nodes.filtered(|entry| compared(a, entry));
    let theirs = b.proposal.nodes.filtered(|entry| compared(b, entry));
    let agree =
        |(a, b): ((&NodeId, &NodeEntry), (&NodeId, &NodeEntry))| a.0 == b.0 && a.1.agrees_with(b.1);
    let (mine, theirs) = (mine.collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
    mine.len() == theirs.len() && mine.into_iter().zip(theirs).all(agree)
}

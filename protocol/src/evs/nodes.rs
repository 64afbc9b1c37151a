//! Everything known about the nodes around us during a membership change.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{DelayedList, Leave, Proposal};
use super::seqno::{FifoSeqno, Seqno};
use crate::id::{NodeId, ViewId};
use crate::time::{Duration, Instant};

/// Nodes known at once. Together with the evicted ones they fill a JOIN, which has room for 466.
pub(super) const NODES_MAX: usize = 256;

/// A JOIN as it is stored: who proposed what, from which view. An INSTALL is compared as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) source: NodeId,
    pub(super) version: u8,
    pub(super) view: ViewId,
    pub(super) proposal: Proposal,
}

/// A LEAVE as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredLeave {
    pub(super) view: ViewId,
    pub(super) version: u8,
    pub(super) fifo_seqno: FifoSeqno,
    pub(super) leave: Leave,
}

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Our opinion: does it go on? Once false, false until the next regular view.
    pub(super) is_operational: bool,
    /// No progress for the suspect time-out, as of the last inactivity check.
    pub(super) is_suspected: bool,
    /// No progress for the inactive time-out, as of the last inactivity check.
    pub(super) is_inactive: bool,
    /// Its last JOIN of this membership change.
    pub(super) join: Option<Join>,
    /// Its LEAVE.
    pub(super) leave: Option<StoredLeave>,
    /// Its last DELAYED_LIST, and when it came.
    pub(super) delayed_list: Option<(Instant, DelayedList)>,
    /// When it last made progress; none is long ago.
    pub(super) alive: Option<Instant>,
    /// When anything of it last arrived.
    pub(super) seen: Instant,
    /// Filters duplicates that come along different paths.
    pub(super) last_fifo: FifoSeqno,
    /// When it was last asked to send something again.
    pub(super) last_request: Option<Instant>,
}

impl Node {
    fn new(now: Instant) -> Self {
        Self {
            is_operational: true,
            is_suspected: false,
            is_inactive: false,
            join: None,
            leave: None,
            delayed_list: None,
            alive: Some(now),
            seen: now,
            last_fifo: FifoSeqno::NONE,
            last_request: None,
        }
    }

    /// Time without progress.
    pub(super) fn idle(&self, now: Instant) -> Duration {
        self.alive.map_or(Duration::MAX, |alive| now.saturating_since(alive))
    }

    /// Gives the node up: its proposal no longer counts. Unlike a LEAVE this also silences it.
    pub(super) fn set_inactive(&mut self) {
        self.alive = None;
        self.join = None;
        self.is_operational = false;
    }

    /// The JOIN, if it was sent from this view.
    pub(super) fn join_from(&self, view: ViewId) -> Option<&Join> {
        self.join.as_ref().filter(|join| join.view == view)
    }

    /// The LEAVE, if it was sent from this view.
    pub(super) fn leave_from(&self, view: ViewId) -> Option<&StoredLeave> {
        self.leave.as_ref().filter(|leave| leave.view == view)
    }

    /// The number of its LEAVE, wherever it left.
    pub(super) fn leave_seqno(&self) -> Option<Seqno> {
        self.leave.map(|leave| leave.leave.last_sent)
    }
}

/// The known nodes, we included, in ascending order.
#[derive(Debug, Default)]
pub(super) struct Nodes(BTreeMap<NodeId, Node>);

impl Nodes {
    pub(super) fn only(me: NodeId, now: Instant) -> Self {
        Self(BTreeMap::from([(me, Node::new(now))]))
    }

    pub(super) fn get(&self, id: &NodeId) -> Option<&Node> {
        self.0.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Node> {
        self.0.get_mut(id)
    }

    pub(super) fn contains(&self, id: &NodeId) -> bool {
        self.0.contains_key(id)
    }

    /// True if nobody else is known.
    pub(super) fn is_only(&self, id: &NodeId) -> bool {
        self.len() == 1 && self.contains(id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes a node known. False if there is no room for it.
    pub(super) fn add(&mut self, id: NodeId, now: Instant) -> bool {
        if !self.contains(&id) && self.len() >= NODES_MAX {
            return false;
        }
        self.0.entry(id).or_insert_with(|| Node::new(now));
        true
    }

    /// A regular view begins: only its members are known, and all of them count.
    pub(super) fn start_over_with(&mut self, members: &BTreeSet<NodeId>, now: Instant) {
        self.0.retain(|id, _| members.contains(id));
        for id in members {
            let node = self.0.entry(*id).or_insert_with(|| Node::new(now));
            node.is_operational = true;
            node.join = None;
            node.leave = None;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Node)> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&NodeId, &mut Node)> {
        self.0.iter_mut()
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.0.keys().copied().collect()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&NodeId) -> bool) {
        self.0.retain(|id, _| keep(id));
    }

    /// The nodes that we count on, in ascending order.
    pub(super) fn operational(&self) -> impl Iterator<Item = (&NodeId, &Node)> {
        self.iter().filter(|(_, node)| node.is_operational)
    }

    /// All stored JOINs.
    pub(super) fn joins(&self) -> impl Iterator<Item = &Join> {
        self.iter().filter_map(|(_, node)| node.join.as_ref())
    }

    /// Who decides: the lowest node that goes on.
    pub(super) fn representative(&self) -> Option<NodeId> {
        let goes_on =
            |node: &Node| node.is_operational && !node.is_inactive && node.leave.is_none();
        self.iter().find(|(_, node)| goes_on(node)).map(|(id, _)| *id)
    }

    pub(super) fn is_operational(&self, id: &NodeId) -> bool {
        self.get(id).is_some_and(|node| node.is_operational)
    }

    /// Notes progress of a node.
    pub(super) fn mark_alive(&mut self, id: &NodeId, now: Instant) {
        if let Some(node) = self.get_mut(id) {
            node.alive = Some(now);
        }
    }
}

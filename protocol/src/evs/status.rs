//! What people may want to know about a member's EVS.

use std::collections::BTreeSet;

use super::state::StateKind;
use super::{Evs, Seqno};
use crate::id::{NodeId, ViewId};
use crate::time::Duration;

/// Things that happened, counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that could not be decoded.
    pub malformed: u64,
    /// Messages that a correct member would not have sent.
    pub violations: u64,
    /// Messages refused because too much of their sender's is held.
    pub refused: u64,
    /// Requests for retransmission that we sent.
    pub requests: u64,
    /// Messages that we sent again for others.
    pub retransmissions: u64,
    /// Regular views delivered.
    pub views: u64,
    /// Views that we left or entered without knowing whether everybody else did the same.
    pub interrupted_installs: u64,
    /// Membership changes that took too long.
    pub install_timeouts: u64,
}

/// One known node, as we see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Which node.
    pub node: NodeId,
    /// A member of the current view.
    pub is_member: bool,
    /// We count on it.
    pub is_operational: bool,
    /// No progress for the suspect time-out.
    pub is_suspected: bool,
    /// Time since its last progress; none if it was given up.
    pub idle: Option<Duration>,
    /// What it has acknowledged in this view.
    pub acknowledged: Seqno,
}

/// A snapshot for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where the member stands.
    pub state: StateKind,
    /// The current view; (TRANS, me, n) before the first one.
    pub view: ViewId,
    /// Its members.
    pub members: BTreeSet<NodeId>,
    /// Every known node.
    pub nodes: Vec<NodeStatus>,
    /// What everybody has.
    pub safe: Seqno,
    /// What we have from everybody.
    pub aru: Seqno,
    /// Banned nodes.
    pub evicted: BTreeSet<NodeId>,
    /// What happened so far.
    pub counters: Counters,
}

impl Evs {
    /// Who we are.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Where the member stands.
    pub fn state(&self) -> StateKind {
        self.state.kind()
    }

    /// The current view; (TRANS, me, n) before the first regular one.
    pub fn view_id(&self) -> ViewId {
        self.view.id
    }

    /// Every known node, we included: the members, and whoever was heard of in a change.
    pub fn known(&self) -> BTreeSet<NodeId> {
        self.nodes.iter().map(|(id, _)| *id).collect()
    }

    /// Banned nodes.
    pub fn evicted(&self) -> BTreeSet<NodeId> {
        self.evicted.iter().copied().collect()
    }

    /// A snapshot for people.
    pub fn status(&self) -> Status {
        Status {
            state: self.state(),
            view: self.view.id,
            members: self.view.to_set(),
            nodes: self.nodes.iter().map(|(id, _)| self.node_status(*id)).collect(),
            safe: self.map.safe(),
            aru: self.map.aru(),
            evicted: self.evicted(),
            counters: self.counters,
        }
    }

    fn node_status(&self, id: NodeId) -> NodeStatus {
        let node = self.nodes.get(&id);
        let index = self.view.index_of(&id);
        NodeStatus {
            node: id,
            is_member: index.is_some(),
            is_operational: node.is_some_and(|node| node.is_operational),
            is_suspected: node.is_some_and(|node| node.is_suspected),
            idle: node.and_then(|node| node.alive).map(|alive| self.now.saturating_since(alive)),
            acknowledged: index.map_or(Seqno::NONE, |index| self.map.acknowledged(index)),
        }
    }
}

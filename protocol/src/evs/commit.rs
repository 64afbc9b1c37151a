//! Commits that are not lost although they come too early, or fall on deaf ears.
//!
//! A commit gap that overtakes its INSTALL on another link is dropped by servers and comes again
//! only a whole period later. If the membership change has taken long by then, its time-out comes
//! first, and nodes without any fault are given up. Nothing here makes us commit to anything; it
//! only lets us know, and others hear, sooner what is the case.

use std::collections::{BTreeMap, BTreeSet};

use super::join::JOIN_PERIOD;
use super::message::{Body, Flags};
use super::nodes::{Join, NODES_MAX};
use super::receive::Incoming;
use super::state::{Pending, State};
use super::{Evs, FifoSeqno, Timer};
use crate::id::{NodeId, ViewId};

/// The last commit gap of each node that came before its INSTALL. At most one for each known node.
#[derive(Debug, Default)]
pub(super) struct EarlyCommits(BTreeMap<NodeId, (ViewId, FifoSeqno)>);

impl EarlyCommits {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A relay may bring an older one later.
    fn insert(&mut self, source: NodeId, view: ViewId, install: FifoSeqno) {
        let is_newer = self
            .0
            .get(&source)
            .is_none_or(|(known, fifo_seqno)| known.node != view.node || *fifo_seqno < install);
        if is_newer && (self.0.len() < NODES_MAX || self.0.contains_key(&source)) {
            self.0.insert(source, (view, install));
        }
    }

    fn to(&self, view: ViewId, install: FifoSeqno) -> impl Iterator<Item = NodeId> {
        self.0.iter().filter(move |(_, commit)| **commit == (view, install)).map(|(id, _)| *id)
    }
}

impl Evs {
    /// Keeps a commit to an INSTALL that we may get yet.
    pub(super) fn note_early_commit(&mut self, incoming: &Incoming) {
        let Body::Gap(gap) = &incoming.message.body else { return };
        let is_commit = incoming.message.header.flags.contains(Flags::COMMIT);
        let is_time = matches!(self.state, State::Gather(None)) && self.config.exceeds_servers();
        if is_commit && is_time && self.nodes.is_operational(&incoming.source) {
            let install = FifoSeqno(gap.seqno.0);
            self.early_commits.insert(incoming.source, incoming.view(), install);
        }
    }

    /// Who is known to have committed to this INSTALL when we accept it. Its sender commits in the
    /// same breath.
    pub(super) fn known_commits(&self, pending: &Pending) -> BTreeSet<NodeId> {
        if !self.config.exceeds_servers() {
            return BTreeSet::new();
        }
        let early = self.early_commits.to(pending.view, pending.fifo_seqno);
        let sender = Some(pending.join.source).filter(|source| *source != self.me);
        early.chain(sender).collect()
    }

    /// Has this node committed to the pending INSTALL?
    pub(super) fn has_committed(&self, node: &NodeId) -> bool {
        self.pending().is_some_and(|pending| pending.committed.contains(node))
    }

    /// Does this JOIN show that its sender will never commit to our INSTALL? It has had the time to
    /// see it, and says something else. Servers wait for their time-out, and give it up then.
    pub(super) fn is_install_refused_by(&self, join: &Join) -> bool {
        let Some(pending) = self.pending() else { return false };
        let is_ours = pending.join.source == self.me && join.source != self.me;
        let is_late =
            self.now.saturating_since(pending.accepted_at) >= self.config.join_retrans_period;
        is_ours
            && is_late
            && self.config.exceeds_servers()
            && matches!(self.state, State::Gather(_))
            && !pending.committed.contains(&join.source)
            && !self.consensus().is_consistent(join)
    }

    /// Servers drop gaps that come before the INSTALL, or before all commits.
    pub(super) fn repeat_gaps_soon(&mut self) {
        if self.config.exceeds_servers() && !self.nodes.is_only(&self.me) {
            self.arm(Timer::Soon, JOIN_PERIOD);
        }
    }

    pub(super) fn on_soon_timer(&mut self) {
        match &self.state {
            State::Gather(None) => self.send_late_join(),
            State::Gather(Some(_)) => self.send_commit_gap(),
            State::Install(_) => {
                self.send_commit_gap();
                self.send_install_gap();
            }
            State::Closed | State::Joining | State::Operational(_) | State::Leaving => {}
        }
    }
}

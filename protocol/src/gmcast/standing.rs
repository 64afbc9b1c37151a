//! What EVS and PC say about nodes: members, gone, welcome, evicted (spec 01 §4.6).

use core::time::Duration;
use std::collections::BTreeSet;

use tracing::warn;

use super::Gmcast;
use super::config::EVICTED_MAX;
use super::event::{Phase, Reason, Refusal};
use super::link::Link;
use crate::id::NodeId;
use crate::time::Instant;

/// The primary component, as far as links are concerned.
#[derive(Clone, Debug, Default)]
pub(super) struct Primary {
    members: Option<BTreeSet<NodeId>>,
    was_reached: bool,
}

impl Primary {
    /// Its members, while we are in one.
    pub(super) fn members(&self) -> Option<&BTreeSet<NodeId>> {
        self.members.as_ref()
    }

    pub(super) fn has_member(&self, node: NodeId) -> bool {
        self.members.as_ref().is_some_and(|members| members.contains(&node))
    }

    /// True from the first primary component on, whatever happens later.
    pub(super) fn was_reached(&self) -> bool {
        self.was_reached
    }
}

impl Gmcast {
    pub(super) fn on_regular_view(
        &mut self,
        now: Instant,
        members: &BTreeSet<NodeId>,
        left: &BTreeSet<NodeId>,
    ) {
        for node in members {
            self.book.welcome(*node);
        }
        for node in left {
            self.forget(now, *node, self.config.time_wait, &Reason::Forgotten);
        }
    }

    pub(super) fn on_primary_view(&mut self, now: Instant, members: BTreeSet<NodeId>) {
        let known = self.book.remote().filter_map(|(_, entry)| entry.node);
        let strangers: BTreeSet<_> = known.filter(|node| !members.contains(node)).collect();
        for node in strangers {
            self.forget(now, node, self.config.time_wait / 2, &Reason::Forgotten);
        }
        for node in &members {
            self.book.welcome(*node);
        }
        self.primary = Primary { members: Some(members), was_reached: true };
        self.seek(now);
        self.close_needless_dials(now);
    }

    /// Links still in their handshake with an address that nobody misses any more.
    fn close_needless_dials(&mut self, now: Instant) {
        let book = &self.book;
        let is_needless = |link: &Link| {
            let is_wanted = |key| book.is_known(key) || book.is_pending(key);
            let is_established = link.kind().phase() == Phase::Established;
            !is_established && link.key.is_some_and(|key| !is_wanted(key))
        };
        for id in self.links.numbers(is_needless) {
            self.fail_link(now, id, Reason::NotNeeded);
        }
    }

    pub(super) fn on_primary_lost(&mut self, now: Instant) {
        self.primary.members = None;
        self.seek(now);
    }

    pub(super) fn on_evict(&mut self, now: Instant, node: NodeId) {
        if node == self.me || self.evicted.len() >= EVICTED_MAX {
            return warn!(%node, "eviction not possible");
        }
        self.evicted.insert(node);
        let reason = Reason::Refused(Refusal::Evicted);
        self.forget(now, node, self.config.time_wait, &reason);
    }

    pub(super) fn on_unevict(&mut self, node: NodeId) {
        self.evicted.remove(&node);
    }

    pub(super) fn is_evicted(&self, node: NodeId) -> bool {
        self.evicted.contains(&node)
    }

    /// Closes every link to a node, and keeps it out for a while.
    fn forget(&mut self, now: Instant, node: NodeId, wait: Duration, reason: &Reason) {
        if node == self.me {
            return;
        }
        let addresses = self.book.forget(now + wait, node);
        let is_its = |link: &Link| {
            link.peer().is_some_and(|peer| peer.node == node)
                || link.key.is_some_and(|key| addresses.contains(&key))
        };
        for id in self.links.numbers(is_its) {
            self.fail_link(now, id, reason.clone());
        }
        self.is_topology_stale = true;
    }
}

#[cfg(test)]
mod tests;

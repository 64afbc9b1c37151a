//! Slow nodes and automatic eviction (spec 02 §6.12). Off unless `evs.auto_evict` is set.

use std::collections::{BTreeMap, BTreeSet};

use tracing::debug;

use super::Evs;
use super::message::{Body, DelayedList, Flags, Message};
use super::receive::Incoming;
use super::state::StateKind;
use crate::id::NodeId;
use crate::message::Order;
use crate::time::{Duration, Instant};

/// How often a node became slow, and since when it is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    is_delayed: bool,
    count: u8,
    since: Instant,
}

/// The delays that we have seen ourselves. Bounded by the known nodes.
#[derive(Debug, Default)]
pub(super) struct Delayed(BTreeMap<NodeId, Record>);

impl Delayed {
    /// A node is late. True if that is worth reporting.
    fn note_delay(&mut self, node: NodeId, now: Instant) -> bool {
        let Some(record) = self.0.get_mut(&node) else {
            self.0.insert(node, Record { is_delayed: true, count: 1, since: now });
            return false;
        };
        if !record.is_delayed {
            record.count = record.count.saturating_add(1);
        }
        record.is_delayed = true;
        record.since = now;
        true
    }

    /// A node is on time. True if its past is still worth reporting.
    fn note_progress(&mut self, node: &NodeId, now: Instant, keep: Duration) -> bool {
        let Some(record) = self.0.get_mut(node) else { return false };
        if record.since + keep < now && record.count > 0 {
            record.count -= 1;
            record.since = now;
        }
        record.is_delayed = false;
        record.count > 0
    }

    fn retain(&mut self, keep: impl Fn(&NodeId) -> bool) {
        self.0.retain(|id, record| (record.is_delayed || record.count > 0) && keep(id));
    }

    fn list(&self) -> DelayedList {
        DelayedList(self.0.iter().map(|(id, record)| (*id, record.count)).collect())
    }
}

impl Evs {
    /// Part of the inactivity check.
    pub(super) fn detect_delays(&mut self) {
        if self.config.auto_evict == 0 {
            return;
        }
        let limit = self.config.keepalive_period + self.config.delay_margin;
        let mut is_worth_reporting = false;
        let me = self.me;
        for id in self.nodes.ids().into_iter().filter(|id| *id != me) {
            let Some(seen) = self.nodes.get(&id).map(|node| node.seen) else { continue };
            is_worth_reporting |= if seen + limit <= self.now {
                self.request_late(id);
                self.delayed.note_delay(id, self.now)
            } else {
                self.delayed.note_progress(&id, self.now, self.config.delayed_keep_period)
            };
        }
        self.forget_old_delays();
        if is_worth_reporting && self.view.version > 0 {
            self.send_delayed_list();
        }
    }

    fn request_late(&mut self, id: NodeId) {
        let Some(index) = self.view.index_of(&id) else { return };
        let lowest_unseen = self.map.range(index).lowest_unseen;
        if self.pending().is_none() && lowest_unseen <= self.last_sent() {
            self.request_retransmission(id, id, lowest_unseen, self.last_sent());
        }
    }

    fn forget_old_delays(&mut self) {
        let (evicted, view, nodes) = (&self.evicted, &self.view, &self.nodes);
        self.delayed.retain(|id| {
            (nodes.contains(id) || view.contains(id))
                && (!evicted.contains(id) || view.contains(id))
        });
        let (now, keep) = (self.now, self.config.delayed_keep_period);
        for (_, node) in self.nodes.iter_mut() {
            if node.delayed_list.as_ref().is_some_and(|(at, _)| *at + keep < now) {
                node.delayed_list = None;
            }
        }
    }

    fn send_delayed_list(&mut self) {
        let list = self.delayed.list();
        let header = self.numbered_header(Order::Drop, Flags::NONE);
        let message = Message { header, body: Body::DelayedList(list) };
        self.transmit(None, &message);
        self.handle_delayed_list(Incoming { source: self.me, message, is_delegated: false });
    }

    pub(super) fn handle_delayed_list(&mut self, incoming: Incoming) {
        let Body::DelayedList(list) = incoming.message.body else { return };
        if self.config.auto_evict == 0 {
            return;
        }
        let now = self.now;
        if let Some(node) = self.nodes.get_mut(&incoming.source) {
            node.delayed_list = Some((now, list));
        }
        let to_evict = self.candidates();
        for node in &to_evict {
            debug!(%node, "evs delayed too often");
            self.evict(*node);
        }
        if !to_evict.is_empty() && self.state.kind() == StateKind::Operational {
            self.restart_gather();
        }
    }

    /// Nodes that a majority calls slow, and somebody slow too often. Complaints of those who call
    /// *us* slow do not count.
    fn candidates(&self) -> BTreeSet<NodeId> {
        let lists = self.nodes.iter().filter_map(|(_, node)| node.delayed_list.as_ref());
        let fair = lists.map(|(_, list)| list).filter(|list| !list.0.contains_key(&self.me));
        let mut votes: BTreeMap<NodeId, (usize, bool)> = BTreeMap::new();
        for (id, count) in fair.flat_map(|list| &list.0).filter(|(_, count)| **count > 1) {
            let (total, is_over) = votes.entry(*id).or_default();
            *total += 1;
            *is_over |= *count >= self.config.auto_evict;
        }
        let over = votes.into_iter().filter(|(_, (_, is_over))| *is_over);
        over.filter(|(id, (total, _))| self.is_majority(id, *total)).map(|(id, _)| id).collect()
    }

    fn is_majority(&self, id: &NodeId, total: usize) -> bool {
        !self.evicted.contains(id)
            && ((self.view.contains(id) && total > self.view.len() / 2)
                || total > self.nodes.len() / 2)
    }
}

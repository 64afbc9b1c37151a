//! Asking for what is missing and sending again what others miss (spec 02 §4.8, 4.9).
//!
//! Requests and answers are addressed to one node, but the transport may show them to everybody.

use super::input_map::Held;
use super::message::{Body, Flags, Gap, Header, Message, User};
use super::seqno::Range;
use super::state::StateKind;
use super::{Evs, Seqno};
use crate::id::NodeId;
use crate::message::Order;
use crate::planted::Bug;
use crate::time::Duration;

/// One node is asked at most this often.
const REQUEST_PERIOD: Duration = Duration::from_millis(100);

/// Requests sent at once for one sender's messages; the rest is asked for next time.
const RUNS_PER_REQUEST_MAX: usize = 32;

impl Evs {
    /// Asks `target` for what is missing of `origin`'s messages in `first ..= last`.
    pub(super) fn request_retransmission(
        &mut self,
        target: NodeId,
        origin: NodeId,
        first: Seqno,
        last: Seqno,
    ) {
        let Some(index) = self.view.index_of(&origin) else { return };
        if !self.may_request_from(&target) {
            return;
        }
        let runs = self.map.missing(index, first, last);
        for range in runs.into_iter().take(RUNS_PER_REQUEST_MAX) {
            self.counters.requests += 1;
            let known = Gap::acknowledgement(self.last_sent(), self.map.aru());
            let gap = Gap { range_node: origin, range, ..known };
            let header = self.numbered_header(Order::Unreliable, Flags::RETRANSMISSION);
            self.transmit(Some(target), &Message { header, body: Body::Gap(gap) });
        }
    }

    fn may_request_from(&mut self, target: &NodeId) -> bool {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(target) else { return false };
        if node.last_request.is_some_and(|last| now.saturating_since(last) < REQUEST_PERIOD) {
            return false;
        }
        node.last_request = Some(now);
        true
    }

    /// Before a view can change, everybody needs everything: asks for what is missing, and so makes
    /// others use up their numbers.
    pub(super) fn request_missing(&mut self) {
        for id in self.nodes.ids() {
            if id != self.me && self.lacks_messages_of(&id) {
                self.request_messages_of(id);
            }
        }
    }

    fn lacks_messages_of(&self, id: &NodeId) -> bool {
        let Some(index) = self.view.index_of(id) else { return false };
        let Range { lowest_unseen, highest_seen } = self.map.range(index);
        let has_hole = lowest_unseen <= highest_seen;
        let is_behind = highest_seen < self.last_sent();
        let leave = self.nodes.get(id).and_then(|node| node.leave_seqno());
        (has_hole || is_behind) && leave.is_none_or(|leave| leave > highest_seen)
    }

    fn request_messages_of(&mut self, id: NodeId) {
        let Some(index) = self.view.index_of(&id) else { return };
        let lowest_unseen = self.map.range(index).lowest_unseen;
        let (target, last) = if self.nodes.is_operational(&id) {
            (Some(id), self.last_sent())
        } else {
            self.best_source_for(&id)
        };
        if let Some(target) = target.filter(|_| lowest_unseen <= last) {
            self.request_retransmission(target, id, lowest_unseen, last);
        }
    }

    /// The survivor that has most of a dead node's messages, and up to where.
    fn best_source_for(&self, dead: &NodeId) -> (Option<NodeId>, Seqno) {
        let mut best = (None, Seqno::NONE);
        for (id, node) in self.nodes.operational().filter(|(id, _)| **id != self.me) {
            let entry =
                node.join_from(self.view.id).and_then(|join| join.proposal.nodes.entry(dead));
            // What it says of another view has nothing to do with our numbers.
            let Some(entry) = entry.filter(|entry| entry.view == self.view.id) else { continue };
            let last = entry.range.lowest_unseen.previous();
            if best.0.is_none() || last > best.1 {
                best = (Some(*id), last);
            }
        }
        best
    }

    /// Answers whatever a GAP asks for, whether or not it was meant for us.
    pub(super) fn answer_request(&mut self, source: NodeId, header: &Header, gap: &Gap) {
        let Range { lowest_unseen: first, highest_seen: last } = gap.range;
        if gap.range_node == self.me {
            let completes = matches!(self.state.kind(), StateKind::Operational | StateKind::Gather);
            if completes && self.pending().is_none() {
                self.complete(last);
            }
            self.resend_own(source, first, last.min(self.last_sent()));
        } else if header.flags.contains(Flags::RETRANSMISSION) && source != self.me {
            self.recover(source, gap.range_node, first, last);
        }
    }

    /// Sends own messages again.
    pub(super) fn resend_own(&mut self, target: NodeId, first: Seqno, last: Seqno) {
        let Some(index) = self.index_of_me() else { return };
        let aru = self.map.aru();
        for held in self.held_for_answer(index, first, last) {
            let flags = Flags::RETRANSMISSION.union(aggregate_flag(&held));
            let header = self.header_of(&held, flags, None);
            let body = Body::User(User { aru, ..held.user });
            self.transmit(Some(target), &Message { header, body });
        }
    }

    /// Sends somebody else's messages again, wrapped.
    fn recover(&mut self, target: NodeId, origin: NodeId, first: Seqno, last: Seqno) {
        if self.config.planted.is(Bug::NoRecovery) {
            return;
        }
        let Some(index) = self.view.index_of(&origin) else { return };
        for held in self.held_for_answer(index, first, last) {
            let flags = Flags::RETRANSMISSION.union(aggregate_flag(&held));
            let header = self.header_of(&held, flags, Some(origin));
            let inner = Box::new(Message { header, body: Body::User(held.user) });
            let header = self.numbered_header(Order::Unreliable, Flags::NONE);
            self.transmit(Some(target), &Message { header, body: Body::Delegate(inner) });
        }
    }

    /// A request at or below SAFE is stale as a whole: its sender has said that it has them.
    fn held_for_answer(&mut self, index: usize, first: Seqno, last: Seqno) -> Vec<Held> {
        if first <= self.map.safe() || first > last {
            return Vec::new();
        }
        let held: Vec<Held> =
            self.map.held_between(index, first, last).into_iter().cloned().collect();
        self.counters.retransmissions += held.len() as u64;
        held
    }

    /// The header that the message was first sent with, but for the flags.
    fn header_of(&self, held: &Held, flags: Flags, source: Option<NodeId>) -> Header {
        let (order, version, fifo_seqno) = (held.order, held.version, held.fifo_seqno);
        Header { order, flags, version, fifo_seqno, source, view: self.view.id }
    }

    /// LEAVING: gives the others what they say they miss of ours.
    pub(super) fn retransmit_missing(&mut self) {
        let last = self.last_sent();
        for id in self.nodes.ids() {
            if let Some(first) = self.first_missed_by(&id).filter(|first| *first <= last) {
                self.resend_own(id, first, last);
            }
        }
    }

    fn first_missed_by(&self, id: &NodeId) -> Option<Seqno> {
        let node = self.nodes.get(id).filter(|_| *id != self.me)?;
        if let Some(leave) = node.leave_from(self.view.id) {
            return Some(leave.leave.aru.next());
        }
        let mine = node.join_from(self.view.id)?.proposal.nodes.entry(&self.me)?;
        Some(mine.range.lowest_unseen)
    }
}

fn aggregate_flag(held: &Held) -> Flags {
    if held.is_aggregate { Flags::AGGREGATE } else { Flags::NONE }
}

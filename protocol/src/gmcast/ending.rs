//! How a link ends, and what follows (spec 01 §4.5, 4.10).

use super::config::{REDIAL_DELAY, REFUSED_REDIAL_DELAY};
use super::event::{Event, LinkClosed, LinkEnd, Reason, Refusal};
use super::link::Link;
use super::{Gmcast, Input, LinkId, Output};
use crate::id::NodeId;
use crate::time::Instant;

impl Gmcast {
    pub(super) fn on_closed(&mut self, now: Instant, id: LinkId, end: LinkEnd) {
        let is_time_wait = end == LinkEnd::EndOfStream && self.is_dropped_after_ok(id);
        let reason = if is_time_wait { Reason::TimeWait } else { Reason::Ended(end) };
        self.fail_link(now, id, reason);
    }

    /// OK, then the end, and no word in between. With another link to the same node the peer has
    /// only chosen that one.
    fn is_dropped_after_ok(&self, id: LinkId) -> bool {
        let Some(link) = self.links.link(id) else {
            return false;
        };
        let was_greeted = link.received_topology.is_some();
        let is_other = |peer: NodeId| {
            self.links.established().any(|(other, _, p)| other != id && p.node == peer)
        };
        matches!(id, LinkId::Dialled(_))
            && link.established().is_some_and(|peer| !was_greeted && !is_other(peer.node))
    }

    /// Ends a link in whatever state, for whatever reason.
    pub(super) fn fail_link(&mut self, now: Instant, id: LinkId, reason: Reason) {
        let Some(link) = self.links.remove(id) else {
            return;
        };
        self.is_topology_stale = true;
        self.is_wake_stale = true;
        self.counters.note(&reason);
        if !matches!(reason, Reason::Ended(_) | Reason::TimeWait) {
            self.outputs.push_back(Output::CloseLink { link: id });
        }
        self.note_failure(now, &link, &reason);
        self.event(Event::LinkClosed(LinkClosed {
            link: id,
            remote: link.remote,
            node: link.peer().map(|peer| peer.node).or(link.claims),
            phase: link.kind().phase(),
            reason,
            failures: link.key.map_or(0, |key| self.book.failures(key)),
        }));
    }

    /// The end of a link is a failure of its address only if no other link leads there.
    fn note_failure(&mut self, now: Instant, link: &Link, reason: &Reason) {
        let is_linked = link.peer().is_some_and(|peer| self.links.to_node(peer.node).is_some());
        let Some(key) = link.key.filter(|key| !is_linked && !self.links.has_address(*key)) else {
            return;
        };
        let is_hopeless = matches!(
            reason,
            Reason::RefusedByPeer(Refusal::InvalidGroup | Refusal::InvalidNodeAddress)
        );
        let delay = if is_hopeless { REFUSED_REDIAL_DELAY } else { REDIAL_DELAY };
        self.book.failed(now, key, delay, self.config.redials_max);
    }

    /// Ends everything. The layer cannot be started again.
    pub(super) fn close(&mut self, now: Instant) {
        for id in self.links.numbers(|_| true) {
            self.fail_link(now, id, Reason::Closing);
        }
        self.is_closed = true;
        self.is_topology_stale = false;
        self.next_check = None;
    }

    /// A caller may still come through the door that is being closed.
    pub(super) fn handle_closed(&mut self, input: &Input) {
        if let Input::Accepted { link, .. } = input {
            self.outputs.push_back(Output::CloseLink { link: *link });
        }
    }
}

#[cfg(test)]
mod tests;

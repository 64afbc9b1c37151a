//! Messages of EVS: sending, passing on, delivering (spec 01 §4.8).
//!
//! A message goes to every peer of our segment directly and to one peer of each other segment,
//! which spreads it there. When a known node cannot be linked (the relay set is not empty), peers
//! that see it are asked to pass our messages on:
//!
//! | what we send             | on                                        | flag          |
//! |--------------------------|-------------------------------------------|---------------|
//! | own message              | links of the relay set                    | RELAY         |
//! |                          | other links of our segment                | none          |
//! |                          | one link of each other segment            | SEGMENT_RELAY |
//! | copy, asked by RELAY     | every link but the one it came in on      | none          |
//! | copy, by SEGMENT_RELAY   | links of the relay set                    | RELAY         |
//! |                          | other links of our segment                | none          |
//!
//! A copy keeps the originator's UUID and segment. Doubles are normal; EVS discards them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tracing::{error, trace};

use super::event::Event;
use super::link::Peer;
use super::message::{Body, Message, Relay};
use super::outgoing::check_payload;
use super::{Gmcast, LinkId, Output};
use crate::id::{NodeId, Segment};
use crate::time::Instant;

impl Gmcast {
    pub(super) fn on_send(&mut self, now: Instant, target: Option<NodeId>, payload: Bytes) {
        if let Err(error) = check_payload(&payload, self.config.payload_check) {
            self.counters.forbidden += 1;
            return error!(%error, bytes = payload.len(), "message not sent");
        }
        let copies = Copies::new(self.config.segment, self.me, payload);
        match target.and_then(|node| self.links.to_node(node)) {
            Some((id, _)) => self.send_copies(now, copies, BTreeMap::from([(id, Relay::No)])),
            None => self.send_copies(now, copies, self.own_routes()),
        }
    }

    /// How an own message goes out.
    fn own_routes(&self) -> BTreeMap<LinkId, Relay> {
        let mut routes = BTreeMap::new();
        for (segment, links) in self.links_by_segment() {
            if segment == self.config.segment {
                routes.extend(links.values().map(|id| (*id, Relay::No)));
            } else if let Some(id) = self.entry_point(segment, &links) {
                routes.insert(id, Relay::Segment);
            }
        }
        routes.extend(self.relay_set.iter().map(|id| (*id, Relay::Everywhere)));
        routes
    }

    /// Established links by segment, and there by node.
    fn links_by_segment(&self) -> BTreeMap<Segment, BTreeMap<NodeId, LinkId>> {
        let mut segments = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (id, _, peer) in self.links.established() {
            segments.entry(peer.segment).or_default().insert(peer.node, id);
        }
        segments
    }

    /// The peer that spreads our messages in its segment: another one for each member of ours.
    fn entry_point(&self, segment: Segment, links: &BTreeMap<NodeId, LinkId>) -> Option<LinkId> {
        let is_before_us = |peer: &Peer| peer.segment == self.config.segment && peer.node < self.me;
        let index = self.links.established().filter(|(_, _, peer)| is_before_us(peer)).count();
        let turn = (index + usize::from(segment.0)).checked_rem(links.len())?;
        links.values().nth(turn).copied()
    }

    pub(super) fn on_user(&mut self, now: Instant, id: LinkId, message: UserMessage) {
        let UserMessage { source, segment, relay, payload } = message;
        let is_established = self.links.link(id).is_some_and(|link| link.established().is_some());
        // Our own messages come back when members echo what they should only spread.
        let is_wanted = source != self.me && !source.is_nil() && !self.is_evicted(source);
        if !is_established || !is_wanted {
            self.counters.users_dropped += 1;
            return trace!(?id, %source, "user message dropped");
        }
        self.pass_on(now, id, relay, Copies::new(segment, source, payload.clone()));
        self.outputs.push_back(Output::Deliver { source, payload });
    }

    fn pass_on(&mut self, now: Instant, from: LinkId, relay: Relay, copies: Copies) {
        let mut routes = match relay {
            Relay::No => return,
            Relay::Everywhere => self.links.established().map(|(id, ..)| (id, Relay::No)).collect(),
            Relay::Segment => self.segment_routes(),
        };
        routes.remove(&from);
        if let Some((originator, _)) = self.links.to_node(copies.source) {
            routes.remove(&originator);
        }
        // What crashes database servers is not spread any further.
        if check_payload(&copies.payload, self.config.payload_check).is_err() {
            self.counters.forbidden += 1;
            return;
        }
        self.counters.relayed += 1;
        self.send_copies(now, copies, routes);
    }

    fn segment_routes(&self) -> BTreeMap<LinkId, Relay> {
        let is_ours = |peer: &Peer| peer.segment == self.config.segment;
        let own = self.links.established().filter(|(_, _, peer)| is_ours(peer));
        let mut routes: BTreeMap<_, _> = own.map(|(id, ..)| (id, Relay::No)).collect();
        routes.extend(self.relay_set.iter().map(|id| (*id, Relay::Everywhere)));
        routes
    }

    fn send_copies(&mut self, now: Instant, copies: Copies, routes: BTreeMap<LinkId, Relay>) {
        let mut encoded = BTreeMap::new();
        for (link, relay) in routes {
            let body = encoded.entry(relay).or_insert_with(|| copies.encode(relay)).clone();
            if let Some(state) = self.links.link_mut(link) {
                state.last_sent = now;
            }
            self.outputs.push_back(Output::SendFrame { link, body, is_user: true });
        }
    }

    /// Chooses the peers through which nodes without a link are reached: greedily those that see
    /// most of them, of our own segment first.
    pub(super) fn choose_relays(&mut self) {
        let mut missing = self.unreachable();
        let mut chosen = BTreeSet::new();
        for is_own_segment in [true, false] {
            while let Some(id) = self.best_relay(&missing, is_own_segment) {
                missing.retain(|node| !self.sees(id, node));
                chosen.insert(id);
            }
        }
        self.relay_set = chosen;
    }

    /// Tells people when relaying has changed. Done in the regular round only: on the way to a full
    /// mesh it changes with every link.
    pub(super) fn report_relaying(&mut self) {
        let through = self.relay_set.iter().filter_map(|id| self.links.link(*id)?.established());
        let through: BTreeSet<_> = through.map(|peer| peer.node).collect();
        let relaying = (self.unreachable(), through);
        if relaying != self.relaying {
            self.relaying = relaying.clone();
            let (unreachable, through) = relaying;
            self.event(Event::RelayingChanged { unreachable, through });
        }
    }

    /// Nodes that should be linked and are not.
    fn unreachable(&self) -> BTreeSet<NodeId> {
        let linked = self.links.nodes();
        let wanted = self.book.remote().filter(|(_, entry)| !entry.is_in_time_wait);
        let nodes = wanted.filter_map(|(_, entry)| entry.node);
        let is_missing =
            |node: &NodeId| *node != self.me && !linked.contains(node) && !self.is_evicted(*node);
        nodes.filter(is_missing).collect()
    }

    fn best_relay(&self, missing: &BTreeSet<NodeId>, is_own_segment: bool) -> Option<LinkId> {
        let gain = |id| missing.iter().filter(|node| self.sees(id, node)).count();
        let candidates = self
            .links
            .established()
            .filter(|(_, _, peer)| (peer.segment == self.config.segment) == is_own_segment);
        let gains = candidates.map(|(id, ..)| (gain(id), core::cmp::Reverse(id)));
        gains.max().filter(|(gain, _)| *gain > 0).map(|(_, id)| id.0)
    }

    /// True if the peer says that it has a link to this node.
    fn sees(&self, id: LinkId, node: &NodeId) -> bool {
        let list = self.links.link(id).and_then(|link| link.received_topology.as_ref());
        list.is_some_and(|list| list.contains_key(node))
    }
}

/// A USER message that came in.
pub(super) struct UserMessage {
    pub(super) source: NodeId,
    pub(super) segment: Segment,
    pub(super) relay: Relay,
    pub(super) payload: Bytes,
}

/// One USER message for several links.
struct Copies {
    segment: Segment,
    source: NodeId,
    payload: Bytes,
}

impl Copies {
    fn new(segment: Segment, source: NodeId, payload: Bytes) -> Self {
        Self { segment, source, payload }
    }

    fn encode(&self, relay: Relay) -> Bytes {
        let body = Body::User { relay, payload: self.payload.clone() };
        Message { segment: self.segment, source: self.source, body }.encode()
    }
}

#[cfg(test)]
mod tests;

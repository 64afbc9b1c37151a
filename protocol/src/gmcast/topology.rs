//! Who is linked to whom: the lists that members send each other, and what follows from them
//! (spec 01 §4.4).
//!
//! A changed set of links is told to every peer; an unchanged one to nobody, or two members would
//! tell each other for ever. From the lists of others we learn whom else to dial.

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use super::address::{parse_peer_uri, peer_uri};
use super::config::FIRST_DIAL_SPREAD;
use super::link::Link;
use super::message::{Body, Kind, Topology};
use super::text::Text;
use super::{Gmcast, LinkId};
use crate::id::NodeId;
use crate::time::Instant;

impl Gmcast {
    pub(super) fn on_topology(&mut self, now: Instant, id: LinkId, links: Topology) {
        let Some(link) = self.links.link_mut(id) else {
            return;
        };
        if link.established().is_none() {
            return self.fail_out_of_place(now, id, Kind::TopologyChange);
        }
        if link.received_topology.as_ref() != Some(&links) {
            link.received_topology = Some(links);
            self.is_topology_stale = true;
        }
    }

    /// Brings peers, address book and relay set in line with the links. Runs once at the end of an
    /// input that has changed any of them.
    pub(super) fn refresh(&mut self, now: Instant) {
        if !core::mem::take(&mut self.is_topology_stale) {
            return;
        }
        self.is_wake_stale = true;
        self.send_topology(now);
        self.learn(now);
        self.choose_relays();
    }

    fn send_topology(&mut self, now: Instant) {
        let list = self.own_topology();
        let established: Vec<_> = self.links.established().map(|(id, ..)| id).collect();
        for id in established {
            self.send_topology_to(now, id, &list);
        }
    }

    /// Our established links with the addresses that can be dialled. Of several nodes at one
    /// address (an old life of a node, or peers behind one address translator) only the last one
    /// met is listed.
    fn own_topology(&self) -> Vec<Entry> {
        let mut newest = BTreeMap::new();
        for (_, link, peer) in self.links.established() {
            let Some(address) = link.key.filter(|key| key.port() != 0) else {
                continue;
            };
            let met = (link.step_began(), peer.handshake, peer.node);
            let other = newest.entry(address).or_insert(met);
            *other = met.max(*other);
        }
        let entry = |(address, (_, _, node))| {
            let text = Text::new(peer_uri(address, self.config.tls)).ok()?;
            Some(Entry { address, node, text })
        };
        newest.into_iter().filter_map(entry).collect()
    }

    fn send_topology_to(&mut self, now: Instant, id: LinkId, list: &[Entry]) {
        let Some(link) = self.links.link(id) else {
            return;
        };
        let links = list_for(link, list);
        if link.sent_topology.as_ref() == Some(&links) {
            return;
        }
        let body = Body::TopologyChange { group: self.config.group.clone(), links: links.clone() };
        self.send(now, id, body);
        if let Some(link) = self.links.link_mut(id) {
            link.sent_topology = Some(links);
        }
    }

    /// Adds what peers list to the address book.
    fn learn(&mut self, now: Instant) {
        let mut listed = BTreeSet::new();
        for (_, link, _) in self.links.established() {
            for (node, address) in link.received_topology.iter().flatten() {
                let address = parse_peer_uri(address.as_bytes());
                if let Some(address) = address.filter(|_| !node.is_nil() && *node != self.me) {
                    listed.insert((address, *node));
                }
            }
        }
        for (address, node) in listed {
            let spread = self.random.below(FIRST_DIAL_SPREAD);
            self.book.learn(address, node, now + spread);
        }
    }
}

/// One of our established links, as others may know it.
struct Entry {
    address: SocketAddr,
    node: NodeId,
    text: Text,
}

/// The list as one receiver may see it: never its own address under another node's UUID, which ends
/// it.
fn list_for(receiver: &Link, list: &[Entry]) -> Topology {
    let receivers = receiver.established().map(|peer| peer.node);
    let is_safe =
        |entry: &&Entry| !receiver.may_be_at(entry.address) || Some(entry.node) == receivers;
    list.iter().filter(is_safe).map(|entry| (entry.node, entry.text.clone())).collect()
}

#[cfg(test)]
mod tests;

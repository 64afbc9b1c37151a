//! Who is linked to whom: the lists that members send each other, and what follows from them
//! (spec 01 §4.4).
//!
//! A changed set of links is told to every peer; an unchanged one to nobody, or two members would
//! tell each other for ever. From the lists of others we learn whom else to dial.
//!
//! Members compare addresses as text and dial whatever they are told, under the UUID they are told.
//! A second name for a known node (an alias, a virtual IP, IPv4 written as IPv6) makes them call it
//! again, and a server that is called twice while it starts goes down. So each receiver gets the
//! names it uses itself, then those of its peers, and ours only for nodes that nobody else lists. A
//! peer that does the same gives our own names back to us; so what counts is the name with which it
//! began, or the two would exchange names for ever.

use core::cmp::Reverse;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use super::address::{parse_peer_uri, peer_uri};
use super::config::{FIRST_DIAL_SPREAD, INITIAL_ADDRESS_HOLD, LISTS_PER_ROUND_MAX};
use super::link::{Link, Peer};
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
            note_names(&mut link.names, &links);
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
        let entries = self.own_links(now);
        self.has_held_back = entries.iter().any(|entry| entry.shared.is_none());
        let established: Vec<_> = self.links.established().map(|(id, ..)| id).collect();
        for id in established {
            self.send_topology_to(now, id, &entries);
        }
    }

    /// Our established links that can be listed, the newest first.
    fn own_links(&self, now: Instant) -> Vec<Entry> {
        let mut links: Vec<_> = self.links.established().collect();
        links.sort_by_key(|(_, link, peer)| Reverse((link.step_began(), peer.handshake)));
        let heard = self.heard();
        let entry = |(_, link, peer): (LinkId, &Link, &Peer)| {
            let own = Text::new(peer_uri(link.key?, self.config.tls)).ok()?;
            let is_held = link.is_initial && now - link.step_began() < INITIAL_ADDRESS_HOLD;
            let heard = heard.get(&peer.node).map(|text| (*text).clone());
            let shared = heard.or_else(|| (!is_held).then(|| own.clone()));
            Some(Entry { node: peer.node, shared, own })
        };
        links.into_iter().filter_map(entry).collect()
    }

    /// What peers call each other.
    fn heard(&self) -> BTreeMap<NodeId, &Text> {
        let mut heard = BTreeMap::new();
        for (_, link, _) in self.links.established() {
            for (node, text) in &link.names {
                heard.entry(*node).or_insert(text);
            }
        }
        heard
    }

    fn send_topology_to(&mut self, now: Instant, id: LinkId, entries: &[Entry]) {
        let Some(link) = self.links.link(id) else {
            return;
        };
        let links = self.list_for(link, entries);
        if link.sent_topology.as_ref() == Some(&links) {
            return;
        }
        if link.lists_sent >= LISTS_PER_ROUND_MAX {
            self.has_held_back = true;
            return;
        }
        let body = Body::TopologyChange { group: self.config.group.clone(), links: links.clone() };
        self.send(now, id, body);
        if let Some(link) = self.links.link_mut(id) {
            link.sent_topology = Some(links);
            link.lists_sent += 1;
        }
    }

    /// The list as one receiver may see it: never an address of its own under another node's UUID,
    /// which ends it, and of several nodes at one address (an old life of a node, peers behind one
    /// address translator) only the last one met.
    fn list_for(&self, receiver: &Link, entries: &[Entry]) -> Topology {
        let own = receiver.established().map(|peer| peer.node);
        let own_addresses = self.addresses_of(receiver);
        let mut used = BTreeSet::new();
        let mut list = Topology::new();
        for entry in entries {
            let Some((address, text)) = name_for(receiver, entry) else {
                continue;
            };
            let is_safe = Some(entry.node) == own || !own_addresses.contains(&address);
            if is_safe && used.insert(address) {
                list.insert(entry.node, text);
            }
        }
        list
    }

    /// Every address that a peer may consider its own listen address.
    pub(super) fn addresses_of(&self, link: &Link) -> BTreeSet<SocketAddr> {
        let mut addresses: BTreeSet<_> = link.key.into_iter().chain(link.advertised).collect();
        if let Some(node) = link.peer().map(|peer| peer.node) {
            addresses.extend(self.heard_of(node));
        }
        addresses
    }

    /// Where peers say that a node is.
    pub(super) fn heard_of(&self, node: NodeId) -> impl Iterator<Item = SocketAddr> {
        let links = self.links.established();
        let lists =
            links.flat_map(|(_, link, _)| link.received_topology.iter().chain([&link.names]));
        lists.filter_map(move |list| parse_peer_uri(list.get(&node)?.as_bytes()))
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

/// Keeps the first usable name of every node while it is listed.
fn note_names(names: &mut Topology, list: &Topology) {
    names.retain(|node, _| list.contains_key(node));
    for (node, text) in list {
        if parse_peer_uri(text.as_bytes()).is_some() && !names.contains_key(node) {
            names.insert(*node, text.clone());
        }
    }
}

/// One of our established links.
struct Entry {
    node: NodeId,
    /// Its name for receivers that have none: what a peer calls it or, in the end, our own name.
    shared: Option<Text>,
    /// What we call it.
    own: Text,
}

/// What to call a node when talking to `receiver`: what that calls it, before anything else. Its
/// own entry it does not look at.
fn name_for(receiver: &Link, entry: &Entry) -> Option<(SocketAddr, Text)> {
    let usable = |text: &Text| Some((parse_peer_uri(text.as_bytes())?, text.clone()));
    let receivers = receiver.names.get(&entry.node).and_then(usable);
    let is_receiver = receiver.established().is_some_and(|peer| peer.node == entry.node);
    let own = is_receiver.then_some(&entry.own);
    receivers.or_else(|| usable(entry.shared.as_ref().or(own)?))
}

#[cfg(test)]
mod tests;

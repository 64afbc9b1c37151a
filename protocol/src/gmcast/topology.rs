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
use super::config::{FIRST_DIAL_SPREAD, INITIAL_ADDRESS_HOLD, LISTS_PER_ROUND_MAX, NAMES_MAX};
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
            note_names(link, &links);
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
        self.has_held_back = false;
        let entries = self.own_links(now);
        let established: Vec<_> = self.links.established().map(|(id, ..)| id).collect();
        for id in established {
            self.send_topology_to(now, id, &entries);
        }
    }

    /// Our established links, the newest first.
    fn own_links(&self, now: Instant) -> Vec<Entry> {
        let mut links: Vec<_> = self.links.established().collect();
        links.sort_by_key(|(_, link, peer)| Reverse((link.step_began(), peer.handshake)));
        let heard = self.heard();
        let entry = |(_, link, peer): (LinkId, &Link, &Peer)| {
            let own = Text::new(peer_uri(link.key?, self.config.tls)).ok()?;
            let heard = heard.get(&peer.node).map(|text| (*text).clone());
            let may_be_alias = link.is_initial && heard.is_none();
            let is_held = may_be_alias && !is_settled(now, link);
            Some(Entry { node: peer.node, name: heard.unwrap_or(own), may_be_alias, is_held })
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
        let (links, has_held_back) = self.list_for(now, link, entries);
        self.has_held_back |= has_held_back;
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

    /// The list as one receiver may see it, and whether something is missing from it for now: never
    /// an address of its own under another node's UUID, which ends it, and of several nodes at one
    /// address (an old life of a node, peers behind one address translator) only the last one met.
    fn list_for(&self, now: Instant, receiver: &Link, entries: &[Entry]) -> (Topology, bool) {
        let own = receiver.established().map(|peer| peer.node);
        let own_addresses = self.addresses_of(receiver);
        let (mut list, mut used, mut has_held_back) = (Topology::new(), BTreeSet::new(), false);
        for entry in entries {
            let is_stranger = self.config.holds_strangers && !has_listed(receiver, entry.node);
            if Some(entry.node) != own && (is_stranger || is_too_early(now, receiver, entry)) {
                has_held_back = true;
                continue;
            }
            let text = receiver.names.get(&entry.node).unwrap_or(&entry.name);
            let Some(address) = parse_peer_uri(text.as_bytes()) else {
                continue;
            };
            let is_safe = Some(entry.node) == own || !own_addresses.contains(&address);
            if is_safe && used.insert(address) {
                list.insert(entry.node, text.clone());
            }
        }
        (list, has_held_back)
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

/// Keeps the name with which a peer began to list a node, also when it stops listing it: its memory
/// is longer than its list.
fn note_names(link: &mut Link, list: &Topology) {
    let before = link.received_topology.as_ref();
    for (node, text) in list {
        let is_new = before.is_none_or(|before| !before.contains_key(node));
        if is_new && parse_peer_uri(text.as_bytes()).is_some() {
            link.names.insert(*node, text.clone());
        }
    }
    if link.names.len() > NAMES_MAX {
        link.names.retain(|node, _| list.contains_key(node));
    }
}

/// One of our established links.
struct Entry {
    node: NodeId,
    /// What a peer calls it, or else we.
    name: Text,
    /// Nobody but the user has named it.
    may_be_alias: bool,
    /// It may still get a better name.
    is_held: bool,
}

/// True once peers have had time to talk about a link.
fn is_settled(now: Instant, link: &Link) -> bool {
    now - link.step_began() >= INITIAL_ADDRESS_HOLD
}

/// Does a peer know the node without us?
fn has_listed(receiver: &Link, node: NodeId) -> bool {
    receiver.received_topology.as_ref().is_some_and(|list| list.contains_key(&node))
}

/// What a receiver calls others is not known before its first list, which is as good as here: it
/// sends one at once. What only the user has named waits until the receiver has had the time to meet
/// the node itself.
fn is_too_early(now: Instant, receiver: &Link, entry: &Entry) -> bool {
    if receiver.names.contains_key(&entry.node) {
        return false;
    }
    let is_unheard = receiver.received_topology.is_none() || entry.may_be_alias;
    entry.is_held || (is_unheard && !is_settled(now, receiver))
}

#[cfg(test)]
mod tests;

//! How a link comes to be (spec 01 §3).
//!
//! The acceptor speaks first. Who may not come in, and how it learns that:
//!
//! | the peer                        | as acceptor                 | as initiator         |
//! |---------------------------------|-----------------------------|----------------------|
//! | has another group name          | FAIL `invalid group`        | cannot know          |
//! | advertises no address           | FAIL `invalid node address` | —                    |
//! | is evicted                      | FAIL `evicted`              | closed               |
//! | is ourselves                    | closed                      | closed, never dialled again |
//! | has our UUID, once we have reached a primary component | FAIL `duplicate uuid` | the same |
//! | has our UUID otherwise          | closed; ours is lost        | the same             |
//! | is a member of our primary component, linked at another address | FAIL `duplicate uuid` | closed |
//! | is otherwise linked at another address | closed               | closed               |
//! | is linked at the same address   | the greater handshake id survives | the same       |
//!
//! FAIL `duplicate uuid` ends a server that is not part of a primary component yet. A sound one may
//! come to meet us twice while it starts (two addresses of ours, an address translator), so that
//! only an impostor gets it; for the others a closed connection says "try again" just as well.

use core::net::SocketAddr;

use tracing::{info, warn};

use super::address::{canonical, parse_advertised, peer_uri};
use super::config::{CALLERS_MAX, LINKS_MAX};
use super::event::{Event, IdentityProblem, Reason, Refusal, Violation};
use super::link::{Link, Peer, State, StateKind};
use super::message::{Body, HandshakeId, Kind};
use super::text::{GroupName, Text};
use super::{Gmcast, LinkId};
use crate::id::{NodeId, Segment};
use crate::time::Instant;

impl Gmcast {
    pub(super) fn on_connected(&mut self, now: Instant, id: LinkId, local: SocketAddr) {
        let Some(link) = self.links.link_mut(id) else {
            return; // given up while it was connecting
        };
        if link.kind() == StateKind::Dialling {
            link.local = Some(local);
            link.transition(now, State::HandshakeWait);
        }
    }

    pub(super) fn on_accepted(
        &mut self,
        now: Instant,
        id: LinkId,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        if self.links.link(id).is_some() {
            return warn!(?id, "link number used twice");
        }
        self.make_room_for_caller(now);
        self.links.insert(id, Link::accepted(now, local, remote));
        let handshake = self.handshake_ids.next(now);
        self.send(now, id, Body::Handshake { handshake });
        self.transition(now, id, State::HandshakeSent(handshake));
    }

    /// Of too many callers the one that has dawdled longest gives way.
    fn make_room_for_caller(&mut self, now: Instant) {
        let is_caller = |link: &Link| link.kind() == StateKind::HandshakeSent;
        let callers = self.links.numbers(is_caller);
        if callers.len() < CALLERS_MAX {
            return;
        }
        let since = |id: &LinkId| self.links.link(*id).map(Link::silent_since);
        if let Some(oldest) = callers.into_iter().min_by_key(since) {
            self.fail_link(now, oldest, Reason::Crowded);
        }
    }

    pub(super) fn on_handshake(
        &mut self,
        now: Instant,
        id: LinkId,
        source: (NodeId, Segment),
        handshake: HandshakeId,
    ) {
        if !self.expect(now, id, Kind::Handshake, StateKind::HandshakeWait) {
            return;
        }
        let (node, segment) = source;
        self.note_claim(id, node);
        if node.is_nil() || handshake.0.is_nil() {
            return self.fail_link(now, id, Reason::Violation(Violation::NilUuid));
        }
        if node == self.me && self.has_made(handshake) {
            return self.found_own_address(now, id);
        }
        if self.is_evicted(node) {
            return self.fail_link(now, id, Reason::Refused(Refusal::Evicted));
        }
        if self.is_duplicate(id, node) {
            return self.leave_duplicate(now, id, node);
        }
        self.send_response(now, id, Peer { node, segment, handshake });
    }

    fn send_response(&mut self, now: Instant, id: LinkId, peer: Peer) {
        let address = Text::new(peer_uri(self.config.listen, self.config.tls)).unwrap_or_default();
        let group = self.config.group.clone();
        let body = Body::HandshakeResponse { handshake: peer.handshake, address, group };
        self.send(now, id, body);
        self.transition(now, id, State::ResponseSent(peer));
    }

    pub(super) fn on_response(
        &mut self,
        now: Instant,
        id: LinkId,
        source: (NodeId, Segment),
        response: (HandshakeId, Text, GroupName),
    ) {
        if !self.expect(now, id, Kind::HandshakeResponse, StateKind::HandshakeSent) {
            return;
        }
        let (handshake, address, group) = response;
        let (node, segment) = source;
        self.note_claim(id, node);
        if group != self.config.group {
            return self.refuse(now, id, Refusal::InvalidGroup);
        }
        if node.is_nil() {
            return self.fail_link(now, id, Reason::Violation(Violation::NilUuid));
        }
        if self.links.link(id).and_then(Link::handshake) != Some(handshake) {
            return self.fail_link(now, id, Reason::Violation(Violation::WrongHandshake));
        }
        if !self.note_advertised(id, &address) {
            return self.refuse(now, id, Refusal::InvalidNodeAddress);
        }
        if self.is_evicted(node) {
            return self.refuse(now, id, Refusal::Evicted);
        }
        if self.is_duplicate(id, node) {
            return self.refuse_duplicate(now, id, node);
        }
        self.send(now, id, Body::Ok);
        self.establish(now, id, Peer { node, segment, handshake });
    }

    /// The peer's address is where it calls from, with the port that it listens on.
    fn note_advertised(&mut self, id: LinkId, text: &Text) -> bool {
        let advertised = parse_advertised(text.as_bytes());
        let (Some(advertised), Some(link)) = (advertised, self.links.link_mut(id)) else {
            return false;
        };
        link.key = Some(canonical(SocketAddr::new(link.remote.ip(), advertised.port)));
        link.advertised = advertised.address;
        true
    }

    pub(super) fn on_ok(&mut self, now: Instant, id: LinkId) {
        match self.links.link(id).map(Link::state) {
            Some(State::ResponseSent(peer)) => self.establish(now, id, peer),
            Some(State::Established(_)) | None => {} // the answer to a KEEPALIVE
            Some(
                State::Greeting | State::HandshakeSent(_) | State::Dialling | State::HandshakeWait,
            ) => self.fail_out_of_place(now, id, Kind::Ok),
        }
    }

    /// FAIL counts in every state.
    pub(super) fn on_fail(&mut self, now: Instant, id: LinkId, reason: &Text) {
        let Some(link) = self.links.link(id) else {
            return;
        };
        let (remote, peer) = (link.remote, link.claims);
        let refusal = Refusal::from_text(reason);
        let problem = match &refusal {
            Refusal::Evicted => Some(IdentityProblem::Evicted),
            // Once in a primary component this passes: our address has changed, or our last link
            // has not timed out yet. And who knows us by another link only means that one.
            Refusal::DuplicateUuid
                if !self.primary.was_reached() && !self.is_linked_twice(peer) =>
            {
                Some(IdentityProblem::Duplicate)
            }
            Refusal::DuplicateUuid
            | Refusal::InvalidGroup
            | Refusal::InvalidNodeAddress
            | Refusal::Other(_) => None,
        };
        self.fail_link(now, id, Reason::RefusedByPeer(refusal));
        if let Some(problem) = problem {
            self.event(Event::IdentityRefused { problem, remote });
        }
    }

    fn is_linked_twice(&self, node: Option<NodeId>) -> bool {
        let is_it = |link: &Link| link.peer().is_some_and(|peer| Some(peer.node) == node);
        self.links.numbers(is_it).len() > 1
    }

    /// The order of these steps is the protocol's (spec 01 §3.7).
    fn establish(&mut self, now: Instant, id: LinkId, peer: Peer) {
        if self.is_evicted(peer.node) {
            return self.fail_link(now, id, Reason::Refused(Refusal::Evicted));
        }
        self.transition(now, id, State::Established(peer));
        let Some(key) = self.links.link(id).and_then(|link| link.key) else {
            return;
        };
        if let Some(before) = self.book.met(now, key, peer.node) {
            self.event(Event::IdentityChanged { remote: key, before, now: peer.node });
        }
        if self.book.is_in_time_wait(key) {
            return self.fail_link(now, id, Reason::PeerInTimeWait);
        }
        self.book.reached(key);
        if !self.survives_duplicates(now, id, &peer) {
            return;
        }
        if self.links.established().count() > LINKS_MAX {
            return self.fail_link(now, id, Reason::Crowded);
        }
        self.is_topology_stale = true;
        self.announce(now, id, &peer);
    }

    fn announce(&mut self, now: Instant, id: LinkId, peer: &Peer) {
        let Some(link) = self.links.link_mut(id) else {
            return;
        };
        link.last_received = now;
        link.last_sent = now;
        let remote = link.remote;
        info!(node = %peer.node, %remote, "connection established");
        let (node, segment) = (peer.node, peer.segment);
        self.event(Event::LinkEstablished { link: id, node, segment, remote });
    }

    /// Both ends compare the same two ids and keep the same link.
    fn survives_duplicates(&mut self, now: Instant, id: LinkId, peer: &Peer) -> bool {
        let others = |link: &Link| link.established().is_some_and(|other| other.node == peer.node);
        for other in self.links.numbers(others).into_iter().filter(|other| *other != id) {
            let handshake = self.links.link(other).and_then(Link::handshake);
            if handshake > Some(peer.handshake) {
                self.fail_link(now, id, Reason::DuplicateLink);
                return false;
            }
            self.fail_link(now, other, Reason::DuplicateLink);
        }
        true
    }

    /// True if one of our own accepted links goes by this name: the far end is ourselves.
    fn has_made(&self, handshake: HandshakeId) -> bool {
        self.links.iter().any(|(_, link)| link.state() == State::HandshakeSent(handshake))
    }

    fn found_own_address(&mut self, now: Instant, id: LinkId) {
        if let Some(key) = self.links.link(id).and_then(|link| link.key) {
            self.book.found_own(key);
            self.event(Event::OwnAddressFound { remote: key });
        }
        self.fail_link(now, id, Reason::OwnAddress);
    }

    /// True for our own UUID, and for that of another link whose peer is at another address.
    fn is_duplicate(&self, id: LinkId, node: NodeId) -> bool {
        let key = self.links.link(id).and_then(|link| link.key);
        let is_other = |(other, link): (LinkId, &Link)| {
            let is_same_node = link.peer().is_some_and(|peer| peer.node == node);
            other != id && is_same_node && link.key != key
        };
        node == self.me || self.links.iter().any(is_other)
    }

    /// We have dialled a second address of a node that is linked, or a clone of ourselves.
    fn leave_duplicate(&mut self, now: Instant, id: LinkId, node: NodeId) {
        if node == self.me {
            return self.refuse_duplicate(now, id, node);
        }
        if let Some(key) = self.links.link(id).and_then(|link| link.key) {
            self.book.identify(key, node);
        }
        self.fail_link(now, id, Reason::LinkedElsewhere);
    }

    fn refuse_duplicate(&mut self, now: Instant, id: LinkId, node: NodeId) {
        let Some(remote) = self.links.link(id).map(|link| link.remote) else {
            return;
        };
        if self.is_impostor(node) {
            self.refuse(now, id, Refusal::DuplicateUuid);
        } else {
            self.fail_link(now, id, Reason::Refused(Refusal::DuplicateUuid));
        }
        if node == self.me && !self.primary.was_reached() {
            let problem = IdentityProblem::Duplicate;
            self.event(Event::IdentityRefused { problem, remote });
        }
    }

    /// True if whoever claims this UUID anew cannot be its owner. Owners of a UUID in our primary
    /// component have reached one, so that the FAIL does not end them even if we are mistaken.
    pub(super) fn is_impostor(&self, node: NodeId) -> bool {
        if node == self.me { self.primary.was_reached() } else { self.primary.has_member(node) }
    }

    /// Sends FAIL, which is flushed before the link closes.
    fn refuse(&mut self, now: Instant, id: LinkId, refusal: Refusal) {
        self.send(now, id, Body::Fail { reason: refusal.text() });
        self.fail_link(now, id, Reason::Refused(refusal));
    }

    fn note_claim(&mut self, id: LinkId, node: NodeId) {
        if let Some(link) = self.links.link_mut(id) {
            link.claims = Some(node);
        }
    }

    /// Closes the link unless it is in the one state that this message belongs to.
    fn expect(&mut self, now: Instant, id: LinkId, kind: Kind, state: StateKind) -> bool {
        let is_expected = self.links.link(id).is_some_and(|link| link.kind() == state);
        if !is_expected {
            self.fail_out_of_place(now, id, kind);
        }
        is_expected
    }

    pub(super) fn fail_out_of_place(&mut self, now: Instant, id: LinkId, message: Kind) {
        if let Some(state) = self.links.link(id).map(Link::kind) {
            let violation = Violation::OutOfPlace { message, state };
            self.fail_link(now, id, Reason::Violation(violation));
        }
    }
}

#[cfg(test)]
mod tests;

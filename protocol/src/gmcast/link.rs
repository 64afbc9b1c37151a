//! One link's state, and the table of all links (spec 01 §3.2).
//!
//! ```text
//! accepted:  Greeting ──> HandshakeSent ──────────────────┐
//! dialled:   Dialling ──> HandshakeWait ──> ResponseSent ─┴──> Established
//! ```
//!
//! A link that fails in any state is removed from the table at once; what still arrives on it finds
//! nothing and is ignored.

use core::fmt;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use tracing::debug;

use super::LinkId;
use super::address::canonical;
use super::event::Phase;
use super::message::{HandshakeId, Topology};
use crate::id::{NodeId, Segment};
use crate::time::Instant;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) segment: Segment,
    pub(super) handshake: HandshakeId,
}

/// How far a link has come, with what is known from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Acceptor: HANDSHAKE is about to be sent.
    Greeting,
    /// Acceptor: waits for HANDSHAKE_RESPONSE.
    HandshakeSent(HandshakeId),
    /// Initiator: TCP, and TLS if any, are not up.
    Dialling,
    /// Initiator: waits for HANDSHAKE. Sends nothing.
    HandshakeWait,
    /// Initiator: waits for OK or FAIL.
    ResponseSent(Peer),
    /// In use.
    Established(Peer),
}

/// A state without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateKind {
    /// Accepted, HANDSHAKE about to be sent.
    Greeting,
    /// Accepted, waiting for HANDSHAKE_RESPONSE.
    HandshakeSent,
    /// Dialled, TCP or TLS under way.
    Dialling,
    /// Dialled, waiting for HANDSHAKE.
    HandshakeWait,
    /// Dialled, waiting for OK or FAIL.
    ResponseSent,
    /// In use.
    Established,
}

impl StateKind {
    /// The legal transitions. Leaving the table is always possible and not listed.
    pub(super) const fn may_become(self, to: Self) -> bool {
        matches!(
            (self, to),
            (Self::Greeting, Self::HandshakeSent)
                | (Self::HandshakeSent, Self::Established)
                | (Self::Dialling, Self::HandshakeWait)
                | (Self::HandshakeWait, Self::ResponseSent)
                | (Self::ResponseSent, Self::Established)
        )
    }

    /// The state in words that people outside this module use.
    pub const fn phase(self) -> Phase {
        match self {
            Self::Dialling => Phase::Dialling,
            Self::Greeting | Self::HandshakeSent | Self::HandshakeWait | Self::ResponseSent => {
                Phase::Handshake
            }
            Self::Established => Phase::Established,
        }
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "about to greet",
            Self::HandshakeSent => "waiting for HANDSHAKE_RESPONSE",
            Self::Dialling => "connecting",
            Self::HandshakeWait => "waiting for HANDSHAKE",
            Self::ResponseSent => "waiting for OK",
            Self::Established => "established",
        })
    }
}

impl State {
    pub(super) const fn kind(&self) -> StateKind {
        match self {
            Self::Greeting => StateKind::Greeting,
            Self::HandshakeSent(_) => StateKind::HandshakeSent,
            Self::Dialling => StateKind::Dialling,
            Self::HandshakeWait => StateKind::HandshakeWait,
            Self::ResponseSent(_) => StateKind::ResponseSent,
            Self::Established(_) => StateKind::Established,
        }
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    state: State,
    /// The address dialled, or where the caller came from.
    pub(super) remote: SocketAddr,
    /// Our end, once it is known.
    pub(super) local: Option<SocketAddr>,
    /// The peer's address in the sense of 01 §4.1; for an accepted link known from its response on.
    pub(super) key: Option<SocketAddr>,
    /// The key is an initial address: one that a user gave, not one that members know.
    pub(super) is_initial: bool,
    /// What the peer itself calls its address, if that says anything.
    pub(super) advertised: Option<SocketAddr>,
    /// The UUID that the peer gave in its handshake, accepted or not.
    pub(super) claims: Option<NodeId>,
    /// When the present step began: a handshake has a fixed time for each, whatever is received.
    step_began: Instant,
    pub(super) last_received: Instant,
    /// When USER was last sent. Nothing else counts, as with all members.
    pub(super) last_sent: Instant,
    pub(super) received_topology: Option<Topology>,
    /// What the peer called each node when it last began to list it.
    pub(super) names: Topology,
    pub(super) sent_topology: Option<Topology>,
    /// Lists sent since the last round.
    pub(super) lists_sent: u32,
}

impl Link {
    pub(super) fn dialled(now: Instant, remote: SocketAddr, is_initial: bool) -> Self {
        let key = Some(canonical(remote));
        Self { key, is_initial, ..Self::new(now, State::Dialling, remote) }
    }

    pub(super) fn accepted(now: Instant, local: SocketAddr, remote: SocketAddr) -> Self {
        Self { local: Some(local), ..Self::new(now, State::Greeting, remote) }
    }

    fn new(now: Instant, state: State, remote: SocketAddr) -> Self {
        Self {
            state,
            remote,
            local: None,
            key: None,
            is_initial: false,
            advertised: None,
            claims: None,
            step_began: now,
            last_received: now,
            last_sent: now,
            received_topology: None,
            names: Topology::new(),
            sent_topology: None,
            lists_sent: 0,
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) const fn kind(&self) -> StateKind {
        self.state.kind()
    }

    pub(super) fn transition(&mut self, now: Instant, next: State) {
        let (from, to) = (self.kind(), next.kind());
        assert!(from.may_become(to), "gmcast: {from:?} -> {to:?}");
        debug!(?from, ?to, remote = %self.remote, "link state");
        // Waiting for HANDSHAKE is one step with connecting: nodes time both together.
        if to != StateKind::HandshakeWait {
            self.step_began = now;
        }
        self.state = next;
    }

    /// Who is at the other end, if it has said so.
    pub(super) const fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::ResponseSent(peer) | State::Established(peer) => Some(peer),
            State::Greeting | State::HandshakeSent(_) | State::Dialling | State::HandshakeWait => {
                None
            }
        }
    }

    /// Who is at the other end of an established link.
    pub(super) const fn established(&self) -> Option<&Peer> {
        match &self.state {
            State::Established(peer) => Some(peer),
            State::ResponseSent(_)
            | State::Greeting
            | State::HandshakeSent(_)
            | State::Dialling
            | State::HandshakeWait => None,
        }
    }

    /// The name of the connection, if it has one yet.
    pub(super) const fn handshake(&self) -> Option<HandshakeId> {
        match &self.state {
            State::HandshakeSent(handshake) => Some(*handshake),
            State::ResponseSent(peer) | State::Established(peer) => Some(peer.handshake),
            State::Greeting | State::Dialling | State::HandshakeWait => None,
        }
    }

    /// The moment from which `gmcast.peer_timeout` counts.
    pub(super) fn silent_since(&self) -> Instant {
        match self.established() {
            Some(_) => self.last_received,
            None => self.step_began,
        }
    }

    pub(super) fn step_began(&self) -> Instant {
        self.step_began
    }

    /// True while the peer may be called back at this address.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        self.key == Some(address)
    }
}

/// All links, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(BTreeMap<LinkId, Link>);

impl Links {
    pub(super) fn insert(&mut self, id: LinkId, link: Link) {
        self.0.insert(id, link);
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Link> {
        self.0.remove(&id)
    }

    pub(super) fn link(&self, id: LinkId) -> Option<&Link> {
        self.0.get(&id)
    }

    pub(super) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.0.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.0.iter().map(|(id, link)| (*id, link))
    }

    /// Established links with their peers, in the order of link numbers.
    pub(super) fn established(&self) -> impl Iterator<Item = (LinkId, &Link, &Peer)> {
        self.iter().filter_map(|(id, link)| Some((id, link, link.established()?)))
    }

    /// The established link to a node. There is at most one.
    pub(super) fn to_node(&self, node: NodeId) -> Option<(LinkId, &Link)> {
        self.established().find(|(_, _, peer)| peer.node == node).map(|(id, link, _)| (id, link))
    }

    /// A new round begins.
    pub(super) fn begin_round(&mut self) {
        for link in self.0.values_mut() {
            link.lists_sent = 0;
        }
    }

    /// Numbers of the links that `wanted` picks.
    pub(super) fn numbers(&self, wanted: impl Fn(&Link) -> bool) -> Vec<LinkId> {
        self.iter().filter(|(_, link)| wanted(link)).map(|(id, _)| id).collect()
    }

    pub(super) fn count(&self, wanted: impl Fn(LinkId, &Link) -> bool) -> usize {
        self.iter().filter(|(id, link)| wanted(*id, link)).count()
    }

    pub(super) fn has_address(&self, address: SocketAddr) -> bool {
        self.iter().any(|(_, link)| link.is_at(address))
    }

    /// True if any link, established or about to be, leads to this node.
    pub(super) fn has_peer(&self, node: NodeId) -> bool {
        self.iter().any(|(_, link)| link.peer().is_some_and(|peer| peer.node == node))
    }

    /// Nodes with an established link.
    pub(super) fn nodes(&self) -> BTreeSet<NodeId> {
        self.established().map(|(_, _, peer)| peer.node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [StateKind; 6] = [
        StateKind::Greeting,
        StateKind::HandshakeSent,
        StateKind::Dialling,
        StateKind::HandshakeWait,
        StateKind::ResponseSent,
        StateKind::Established,
    ];

    #[test]
    fn only_the_drawn_transitions_are_legal() {
        let mut legal = Vec::new();
        for from in KINDS {
            legal.extend(KINDS.iter().filter(|to| from.may_become(**to)).map(|to| (from, *to)));
        }
        assert_eq!(
            legal,
            [
                (StateKind::Greeting, StateKind::HandshakeSent),
                (StateKind::HandshakeSent, StateKind::Established),
                (StateKind::Dialling, StateKind::HandshakeWait),
                (StateKind::HandshakeWait, StateKind::ResponseSent),
                (StateKind::ResponseSent, StateKind::Established),
            ]
        );
    }

    #[test]
    fn connecting_and_waiting_for_the_handshake_share_one_time_limit() {
        let remote = SocketAddr::from(([10, 0, 0, 1], 4567));
        let mut link = Link::dialled(Instant::ZERO, remote, true);
        link.transition(Instant::from_micros(5), State::HandshakeWait);
        assert_eq!(link.silent_since(), Instant::ZERO);
    }
}

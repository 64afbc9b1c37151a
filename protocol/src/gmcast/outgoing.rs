//! The last look at a message before it leaves (spec 01 §9.1).
//!
//! Database servers trust their peers: each of the messages refused here takes a server down. The
//! state machine never makes one; this check does not rely on that, and reads the message as its
//! receiver will.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use super::address::parse_peer_uri;
use super::link::StateKind;
use super::message::{
    Body, HandshakeId, Kind, Message, PAYLOAD_BYTES_MAX, TOPOLOGY_ENTRIES_MAX, Topology,
};
use super::text::Text;
use bytes::Bytes;

use crate::id::{NodeId, Segment};

/// Why a message must not be sent.
#[expect(missing_docs, reason = "each variant's sentence names its fields")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The peer is in a state in which this message ends it.
    #[error("{kind} while {state}")]
    State { kind: Kind, state: StateKind },
    /// A nil UUID.
    #[error("{0} with a nil UUID")]
    NilUuid(Kind),
    /// No group name.
    #[error("{0} without a group name")]
    NoGroup(Kind),
    /// A listen address that is not `tcp://ip:port` or `ssl://ip:port`.
    #[error("HANDSHAKE_RESPONSE without a usable listen address")]
    ListenAddress,
    /// A FAIL that ends a peer which has done nothing to deserve it.
    #[error("FAIL that would end a sound peer")]
    UndeservedFail,
    /// A listed address that cannot be dialled.
    #[error("TOPOLOGY_CHANGE with an address that cannot be dialled")]
    ListedAddress,
    /// The receiver's own address under somebody else's UUID.
    #[error("TOPOLOGY_CHANGE that gives the receiver's address to another node")]
    ReceiversAddress,
    /// More entries than fit.
    #[error("TOPOLOGY_CHANGE with too many links")]
    TooManyLinks,
    /// A segment other than 0 in a topology list.
    #[error("TOPOLOGY_CHANGE with a segment")]
    TopologySegment,
    /// A payload that is empty, too long, or not a message of the layer above.
    #[error("USER with a payload that is no message")]
    Payload,
}

/// What the check has to know about the link and its peer.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    pub(super) state: StateKind,
    pub(super) node: Option<NodeId>,
    /// Every address that the peer may consider its own.
    pub(super) addresses: BTreeSet<SocketAddr>,
    /// The peer was evicted.
    pub(super) is_evicted: bool,
    /// The UUID that the peer claims is ours, or that of a member of our primary component.
    pub(super) is_impostor: bool,
}

impl Receiver {
    fn is_at(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&address)
    }
}

/// Checks a message that is no USER message.
pub(super) fn check(message: &Message, to: &Receiver) -> Result<(), Forbidden> {
    let kind = message.body.kind();
    check_state(kind, to.state)?;
    if message.source.is_nil() {
        return Err(Forbidden::NilUuid(kind));
    }
    match &message.body {
        Body::Handshake { handshake } => check_handshake(kind, *handshake),
        Body::HandshakeResponse { handshake, address, group } => {
            check_handshake(kind, *handshake)?;
            check_group(kind, group.is_empty())?;
            check_listen_address(address)
        }
        Body::Ok | Body::Keepalive => Ok(()),
        Body::Fail { reason } => check_fail(reason, to),
        Body::TopologyChange { group, links } => {
            check_group(kind, group.is_empty())?;
            check_topology(message.segment, links, to)
        }
        Body::User { .. } => Err(Forbidden::State { kind, state: to.state }),
    }
}

/// Checks what a USER message carries. Done once for all links that it goes to.
pub(super) fn check_payload(
    payload: &Bytes,
    is_message: fn(&Bytes) -> bool,
) -> Result<(), Forbidden> {
    match payload.len() {
        1..=PAYLOAD_BYTES_MAX if is_message(payload) => Ok(()),
        _ => Err(Forbidden::Payload),
    }
}

/// Which message may be sent in which state of ours. In the states before `Established` we cannot
/// know whether the peer has already left the state in which a KEEPALIVE's OK would end it.
pub(super) fn check_state(kind: Kind, state: StateKind) -> Result<(), Forbidden> {
    let is_allowed = match kind {
        Kind::Handshake => matches!(state, StateKind::Greeting),
        Kind::HandshakeResponse => matches!(state, StateKind::HandshakeWait),
        Kind::Ok => matches!(state, StateKind::HandshakeSent | StateKind::Established),
        Kind::Fail => matches!(
            state,
            StateKind::HandshakeSent | StateKind::HandshakeWait | StateKind::Established
        ),
        Kind::TopologyChange | Kind::Keepalive | Kind::User => {
            matches!(state, StateKind::Established)
        }
    };
    if is_allowed { Ok(()) } else { Err(Forbidden::State { kind, state }) }
}

fn check_handshake(kind: Kind, handshake: HandshakeId) -> Result<(), Forbidden> {
    if handshake.0.is_nil() { Err(Forbidden::NilUuid(kind)) } else { Ok(()) }
}

fn check_group(kind: Kind, is_empty: bool) -> Result<(), Forbidden> {
    if is_empty { Err(Forbidden::NoGroup(kind)) } else { Ok(()) }
}

/// A response whose address has no port aborts the process that reads it. A wildcard host is fine.
fn check_listen_address(address: &Text) -> Result<(), Forbidden> {
    let bytes = address.as_bytes();
    let host_port = bytes.strip_prefix(b"tcp://").or_else(|| bytes.strip_prefix(b"ssl://"));
    let text = host_port.and_then(|bytes| core::str::from_utf8(bytes).ok());
    let address = text.and_then(|text| text.parse::<SocketAddr>().ok());
    match address {
        Some(address) if address.port() != 0 => Ok(()),
        Some(_) | None => Err(Forbidden::ListenAddress),
    }
}

/// Two reasons end the peer's process, by design. They have to be deserved.
fn check_fail(reason: &Text, to: &Receiver) -> Result<(), Forbidden> {
    let is_deserved = match reason.as_bytes() {
        b"evicted" => to.is_evicted,
        b"duplicate uuid" => to.is_impostor,
        _ => true,
    };
    if is_deserved { Ok(()) } else { Err(Forbidden::UndeservedFail) }
}

fn check_topology(segment: Segment, links: &Topology, to: &Receiver) -> Result<(), Forbidden> {
    if segment != Segment(0) {
        return Err(Forbidden::TopologySegment);
    }
    if links.len() > TOPOLOGY_ENTRIES_MAX {
        return Err(Forbidden::TooManyLinks);
    }
    for (node, address) in links {
        check_entry(*node, address, to)?;
    }
    Ok(())
}

fn check_entry(node: NodeId, address: &Text, to: &Receiver) -> Result<(), Forbidden> {
    if node.is_nil() {
        return Err(Forbidden::NilUuid(Kind::TopologyChange));
    }
    let address = parse_peer_uri(address.as_bytes()).ok_or(Forbidden::ListedAddress)?;
    if to.is_at(address) && to.node != Some(node) {
        return Err(Forbidden::ReceiversAddress);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

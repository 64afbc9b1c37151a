//! The messages of the link layer: the body of a frame (spec 01 §2.6, 2.7).
//!
//! ```text
//! initiator                                 acceptor
//!     <---------------- HANDSHAKE -----------
//!     ------- HANDSHAKE_RESPONSE ----------->
//!     <------------------- OK, or FAIL ------
//!     <--------- TOPOLOGY_CHANGE ----------->
//!     <------ USER, KEEPALIVE, OK ---------->
//! ```
//!
//! Every message, little-endian; the optional fields come in this order, each only with its flag:
//!
//! | offset | size      | field          | flag   |
//! |-------:|----------:|----------------|--------|
//! |      0 |         1 | version, 0     |        |
//! |      1 |         1 | type           |        |
//! |      2 |         1 | flags          |        |
//! |      3 |         1 | segment of the source (0 in TOPOLOGY_CHANGE) | |
//! |      4 |        16 | source         |        |
//! |        |        16 | handshake id   | `0x10` |
//! |        |        64 | listen address, or reason of a FAIL | `0x04` |
//! |        |        32 | group name     | `0x01` |
//! |        | 4 + 148·n | node list      | `0x08` |
//!
//! | type | name               | flags              | then    |
//! |-----:|--------------------|--------------------|---------|
//! |    1 | HANDSHAKE          | `0x10`             |         |
//! |    2 | HANDSHAKE_RESPONSE | `0x15`             |         |
//! |    3 | OK                 | `0x00`             |         |
//! |    4 | FAIL               | `0x04`             |         |
//! |    5 | TOPOLOGY_CHANGE    | `0x09`             |         |
//! |    6 | KEEPALIVE          | `0x00`             |         |
//! |    8 | USER               | `0x00`, `0x20` or `0x40` | payload |

mod fields;

use core::fmt;
use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use self::fields::{encode_topology, parse};
use super::text::{GroupName, Text};
use crate::decode::{DecodeError, Problem, whole};
use crate::frame::BODY_BYTES_MAX;
use crate::id::{NodeId, Segment};

/// Bytes of the fixed part.
pub const HEADER_BYTES: usize = 20;

/// The largest payload of a USER message.
pub const PAYLOAD_BYTES_MAX: usize = BODY_BYTES_MAX - HEADER_BYTES;

/// Most entries that fit into one TOPOLOGY_CHANGE.
pub const TOPOLOGY_ENTRIES_MAX: usize = (BODY_BYTES_MAX - 56) / ENTRY_BYTES;

const ENTRY_BYTES: usize = 148;
const VERSION: u8 = 0;

const GROUP_NAME: u8 = 0x01;
const TEXT: u8 = 0x04;
const NODE_LIST: u8 = 0x08;
const HANDSHAKE_ID: u8 = 0x10;
const FIELDS: u8 = GROUP_NAME | TEXT | NODE_LIST | HANDSHAKE_ID;
const RELAY: u8 = 0x20;
const SEGMENT_RELAY: u8 = 0x40;

/// Names one connection: a version 1 UUID that its acceptor makes. Of two links between the same
/// pair the one with the greater id (byte-wise) survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandshakeId(pub NodeId);

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Acceptor → initiator, first on every link.
    Handshake = 1,
    /// Initiator → acceptor.
    HandshakeResponse = 2,
    /// Ends the handshake; answers a KEEPALIVE.
    Ok = 3,
    /// Refuses the peer.
    Fail = 4,
    /// The sender's established links.
    TopologyChange = 5,
    /// Asks for an OK.
    Keepalive = 6,
    /// Carries a message of EVS.
    User = 8,
}

impl Kind {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Handshake),
            2 => Some(Self::HandshakeResponse),
            3 => Some(Self::Ok),
            4 => Some(Self::Fail),
            5 => Some(Self::TopologyChange),
            6 => Some(Self::Keepalive),
            8 => Some(Self::User),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "HANDSHAKE",
            Self::HandshakeResponse => "HANDSHAKE_RESPONSE",
            Self::Ok => "OK",
            Self::Fail => "FAIL",
            Self::TopologyChange => "TOPOLOGY_CHANGE",
            Self::Keepalive => "KEEPALIVE",
            Self::User => "USER",
        })
    }
}

/// What the sender of a USER message asks its receiver to do with it, beside delivering it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relay {
    /// Nothing.
    #[default]
    No,
    /// Pass it on over every other link.
    Everywhere,
    /// Pass it on inside the receiver's segment.
    Segment,
}

/// A list of links: who, at which address. Nodes write it in ascending UUID order.
///
/// An entry on the wire:
///
/// | offset | size | field                          |
/// |-------:|-----:|--------------------------------|
/// |      0 |   16 | UUID                           |
/// |     16 |    4 | reserved, 0                    |
/// |     20 |   64 | address, `scheme://ip:port`    |
/// |     84 |   64 | multicast address, always empty |
pub type Topology = BTreeMap<NodeId, Text>;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Segment of the source; 0 in a TOPOLOGY_CHANGE.
    pub segment: Segment,
    /// Who made it: with relaying, not always the peer at the other end.
    pub source: NodeId,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// "I am `source`; this connection is called `handshake`."
    Handshake {
        /// Made by the acceptor for this connection.
        handshake: HandshakeId,
    },
    /// "I am `source`, of this group, and listen there."
    HandshakeResponse {
        /// Copied from the HANDSHAKE.
        handshake: HandshakeId,
        /// The initiator's listen address; the acceptor uses its port only.
        address: Text,
        /// The initiator's group.
        group: GroupName,
    },
    /// "Welcome", or "I am here".
    Ok,
    /// "I will not talk to you."
    Fail {
        /// One of a few fixed strings, see [`Refusal`](super::Refusal).
        reason: Text,
    },
    /// "These are my established links."
    TopologyChange {
        /// The sender's group; nobody looks at it.
        group: GroupName,
        /// The receiver included, the sender not.
        links: Topology,
    },
    /// "Are you there?"
    Keepalive,
    /// A message of the layer above.
    User {
        /// Whether to pass it on.
        relay: Relay,
        /// An EVS message.
        payload: Bytes,
    },
}

impl Body {
    /// The type of the message.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Handshake { .. } => Kind::Handshake,
            Self::HandshakeResponse { .. } => Kind::HandshakeResponse,
            Self::Ok => Kind::Ok,
            Self::Fail { .. } => Kind::Fail,
            Self::TopologyChange { .. } => Kind::TopologyChange,
            Self::Keepalive => Kind::Keepalive,
            Self::User { .. } => Kind::User,
        }
    }

    fn flags(&self) -> u8 {
        match self {
            Self::Ok | Self::Keepalive => 0,
            Self::Handshake { .. } => HANDSHAKE_ID,
            Self::HandshakeResponse { .. } => HANDSHAKE_ID | TEXT | GROUP_NAME,
            Self::Fail { .. } => TEXT,
            Self::TopologyChange { .. } => GROUP_NAME | NODE_LIST,
            Self::User { relay: Relay::No, .. } => 0,
            Self::User { relay: Relay::Everywhere, .. } => RELAY,
            Self::User { relay: Relay::Segment, .. } => SEGMENT_RELAY,
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Ok | Self::Keepalive => {}
            Self::Handshake { handshake } => handshake.0.encode(out),
            Self::HandshakeResponse { handshake, address, group } => {
                handshake.0.encode(out);
                address.encode(out);
                group.encode(out);
            }
            Self::Fail { reason } => reason.encode(out),
            Self::TopologyChange { group, links } => {
                group.encode(out);
                encode_topology(links, out);
            }
            Self::User { payload, .. } => out.put_slice(payload),
        }
    }

    fn encoded_bytes(&self) -> usize {
        match self {
            Self::Ok | Self::Keepalive => 0,
            Self::Handshake { .. } => 16,
            Self::HandshakeResponse { .. } => 16 + 64 + 32,
            Self::Fail { .. } => 64,
            Self::TopologyChange { links, .. } => 32 + 4 + links.len() * ENTRY_BYTES,
            Self::User { payload, .. } => payload.len(),
        }
    }
}

impl Message {
    /// Decodes a frame's body.
    ///
    /// The flags have to be those of the type. As nodes do, bytes behind the last field of a
    /// message other than USER are ignored; of a USER message they are the payload.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut payload = body.slice(body.len()..);
        let (kind, flags, header, fields) = whole("gmcast message", body, |input| {
            let (rest, parsed) = parse(input)?;
            payload = body.slice(body.len() - rest.len()..);
            Ok((&input[input.len()..], parsed))
        })?;
        let wrong_flags = DecodeError {
            message: "gmcast message",
            field: "flags",
            offset: 2,
            problem: Problem::Invalid,
        };
        let body = fields.into_body(kind, flags, payload).ok_or(wrong_flags)?;
        Ok(Self { segment: header.0, source: header.1, body })
    }

    /// Encodes a frame's body. Whether the result may be sent is another question.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + self.body.encoded_bytes());
        out.put_u8(VERSION);
        out.put_u8(self.body.kind() as u8);
        out.put_u8(self.body.flags());
        out.put_u8(self.segment.0);
        self.source.encode(&mut out);
        self.body.encode(&mut out);
        out.freeze()
    }
}

#[cfg(test)]
mod tests;

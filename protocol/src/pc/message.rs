//! The three messages of PC, byte for byte.

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;
use nom::error::context;
use nom::number::complete::{le_u8, le_u16, le_u32};

use super::node::{self, ENTRY_LENGTH, NodeMap};
use crate::decode::{DecodeError, Parsed, Problem, fail, whole};

/// EVS user type of STATE and INSTALL; USER travels under the type of the layer above.
pub const CONTROL_USER_TYPE: u8 = 0xff;

/// Length of the header of every PC message in bytes.
pub const HEADER_LENGTH: usize = 8;

/// Largest PC message that EVS takes, in bytes.
pub const MESSAGE_MAX: usize = 32644;

/// Largest payload of a USER message in bytes.
pub const PAYLOAD_MAX: usize = MESSAGE_MAX - HEADER_LENGTH;

/// Highest protocol version that is understood.
pub const VERSION_MAX: u8 = 1;

/// Flag nibble of a header. Unknown bits are kept and ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// The message carries a CRC-16 (USER only).
    pub const CRC16: Self = Self(1);
    /// The view is formed by decree, not by quorum (INSTALL only).
    pub const BOOTSTRAP: Self = Self(2);
    /// The sender has another weight from now on (INSTALL only).
    pub const WEIGHT_CHANGE: Self = Self(4);

    /// True if all of `other`'s bits are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A PC message. Its header, little-endian:
///
/// | offset | size | field                                                     |
/// |-------:|-----:|-----------------------------------------------------------|
/// |      0 |    1 | low nibble version, high nibble flags                     |
/// |      1 |    1 | type: 1 STATE, 2 INSTALL, 3 USER                          |
/// |      2 |    2 | CRC-16, 0 unless flag CRC16                               |
/// |      4 |    4 | seq: number of a USER message, 0 elsewhere                |
/// |      8 |      | [`NodeMap`] (STATE, INSTALL) or payload (USER)            |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Protocol version of the group: 0 or 1, both laid out alike.
    pub version: u8,
    /// What is special about it.
    pub flags: Flags,
    /// Number of a USER message in its primary view, starting at 1.
    pub seq: u32,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// "This is what I know." Every member's first message in a regular view.
    State(NodeMap),
    /// "This view is primary." Also carries weight changes and bootstraps.
    Install(NodeMap),
    /// A message of the layer above.
    User(Bytes),
}

impl Body {
    const fn number(&self) -> u8 {
        match self {
            Self::State(_) => 1,
            Self::Install(_) => 2,
            Self::User(_) => 3,
        }
    }
}

impl Message {
    /// A STATE message.
    pub const fn state(version: u8, nodes: NodeMap) -> Self {
        Self { version, flags: Flags(0), seq: 0, body: Body::State(nodes) }
    }

    /// An INSTALL message.
    pub const fn install(version: u8, flags: Flags, nodes: NodeMap) -> Self {
        Self { version, flags, seq: 0, body: Body::Install(nodes) }
    }

    /// A USER message without checksum.
    pub const fn user(version: u8, seq: u32, payload: Bytes) -> Self {
        Self { version, flags: Flags(0), seq, body: Body::User(payload) }
    }

    /// Decodes a message. A checksum that is present must be right. Bytes behind a node map are
    /// ignored, as existing members do.
    pub fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        whole("PC message", input, |bytes| Self::parse(input, bytes))
    }

    fn parse<'a>(whole: &Bytes, input: &'a [u8]) -> Parsed<'a, Self> {
        let (rest, version_flags) = context("version and flags", le_u8).parse(input)?;
        let version = version_flags & 0x0f;
        if version > VERSION_MAX {
            return fail(input, "version", Problem::Version);
        }
        let flags = Flags(version_flags >> 4);
        let (at_crc, number) = context("type", le_u8).parse(rest)?;
        let (covered, crc) = context("crc16", le_u16).parse(at_crc)?;
        let (body, seq) = context("seq", le_u32).parse(covered)?;
        let (end, body) = match number {
            1 => node::parse_map(body).map(|(end, nodes)| (end, Body::State(nodes)))?,
            2 => node::parse_map(body).map(|(end, nodes)| (end, Body::Install(nodes)))?,
            3 => (&body[body.len()..], Body::User(whole.slice_ref(body))),
            _ => return fail(rest, "type", Problem::Invalid),
        };
        let is_checked = number == 3 && flags.contains(Flags::CRC16);
        if is_checked && crc != checksum(covered) {
            return fail(at_crc, "crc16", Problem::Checksum);
        }
        Ok((&end[end.len()..], Self { version, flags, seq, body }))
    }

    /// Encodes the message; with flag CRC16 a USER message gets its checksum.
    pub fn encode(&self) -> Bytes {
        let mut covered = BytesMut::with_capacity(self.length() - 4);
        covered.put_u32_le(self.seq);
        match &self.body {
            Body::State(nodes) | Body::Install(nodes) => node::encode_map(nodes, &mut covered),
            Body::User(payload) => covered.put_slice(payload),
        }
        let is_checked = matches!(self.body, Body::User(_)) && self.flags.contains(Flags::CRC16);
        let mut out = BytesMut::with_capacity(self.length());
        out.put_u8(self.flags.0 << 4 | self.version & 0x0f);
        out.put_u8(self.body.number());
        out.put_u16_le(if is_checked { checksum(&covered) } else { 0 });
        out.put_slice(&covered);
        out.freeze()
    }

    fn length(&self) -> usize {
        let body = match &self.body {
            Body::State(nodes) | Body::Install(nodes) => 4 + ENTRY_LENGTH * nodes.len(),
            Body::User(payload) => payload.len(),
        };
        HEADER_LENGTH + body
    }
}

/// CRC-16/ARC over the length of what is covered and then what is covered (seq and payload).
fn checksum(covered: &[u8]) -> u16 {
    let length = u32::try_from(covered.len()).unwrap_or(u32::MAX);
    crc16_arc(crc16_arc(0, &length.to_le_bytes()), covered)
}

/// Polynomial 0x8005 reflected, no final xor. Bit by bit: only who asked for it pays for it.
fn crc16_arc(start: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(start, |crc, &byte| {
        (0..8).fold(
            crc ^ u16::from(byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests;

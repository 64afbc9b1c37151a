//! Identities that the layers share: nodes, views, segments and the state of a group.

use core::fmt;
use core::str::FromStr;

use crate::decode::{DecodeError, Parsed, bytes16};
use bytes::BufMut;

/// A node's UUID: 16 raw bytes, RFC 4122 version 1. Ordered byte-wise, as the protocol orders nodes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 16]);

impl NodeId {
    /// The nil UUID.
    pub const NIL: Self = Self([0; 16]);

    /// Takes the 16 bytes as they stand on the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes as they stand on the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Builds a version 1 UUID from a 60-bit timestamp (100 ns units since 1582-10-15), the
    /// incarnation (bytes 8–9; its top two bits become the variant `10`) and six node bytes.
    pub const fn version1(timestamp_100ns: u64, incarnation: u16, node: [u8; 6]) -> Self {
        let t = timestamp_100ns.to_be_bytes();
        let i = ((incarnation & 0x3fff) | 0x8000).to_be_bytes();
        Self([
            t[4],
            t[5],
            t[6],
            t[7],
            t[2],
            t[3],
            (t[0] & 0x0f) | 0x10,
            t[1],
            i[0],
            i[1],
            node[0],
            node[1],
            node[2],
            node[3],
            node[4],
            node[5],
        ])
    }

    /// True for the nil UUID.
    pub fn is_nil(&self) -> bool {
        *self == Self::NIL
    }

    /// The RFC 4122 timestamp, in 100 ns units. An *older* UUID has a smaller one.
    pub fn timestamp(&self) -> u64 {
        let b = &self.0;
        let high = u64::from(u16::from_be_bytes([b[6], b[7]]) & 0x0fff);
        let middle = u64::from(u16::from_be_bytes([b[4], b[5]]));
        let low = u64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        (high << 48) | (middle << 32) | low
    }

    /// Bytes 8–9: counts the lives of one node.
    pub fn incarnation(&self) -> u16 {
        u16::from_be_bytes([self.0[8], self.0[9]])
    }

    /// The same node in its next life: incarnation plus one, wrapping.
    pub fn next_incarnation(&self) -> Self {
        let mut bytes = self.0;
        let next = self.incarnation().wrapping_add(1).to_be_bytes();
        bytes[8] = next[0];
        bytes[9] = next[1];
        Self(bytes)
    }

    /// True if both are the same node, in whatever incarnation.
    pub fn is_same_node(&self, other: &Self) -> bool {
        self.fixed_part() == other.fixed_part()
    }

    /// All bytes but the incarnation (which reads as zero).
    pub fn fixed_part(&self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes[8] = 0;
        bytes[9] = 0;
        bytes
    }

    pub(crate) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, bytes) = bytes16(input)?;
        Ok((input, Self(bytes)))
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&self.0);
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_uuid(&self.0, f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_uuid(&self.0, f)
    }
}

impl FromStr for NodeId {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        parse_uuid(text).map(Self)
    }
}

/// Identity of a data history (group UUID, state UUID): the first half of a GTID.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId([u8; 16]);

impl StateId {
    /// The nil UUID: no state.
    pub const NIL: Self = Self([0; 16]);

    /// Takes the 16 bytes as they stand on the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes as they stand on the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// True for the nil UUID.
    pub fn is_nil(&self) -> bool {
        *self == Self::NIL
    }

    pub(crate) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, bytes) = bytes16(input)?;
        Ok((input, Self(bytes)))
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&self.0);
    }
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_uuid(&self.0, f)
    }
}

impl fmt::Debug for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_uuid(&self.0, f)
    }
}

impl FromStr for StateId {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        parse_uuid(text).map(Self)
    }
}

/// The text is not a UUID of the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse UUID: expected 36 characters, hexadecimal digits in groups of 8-4-4-4-12")]
pub struct ParseUuidError;

fn parse_uuid(text: &str) -> Result<[u8; 16], ParseUuidError> {
    let text = text.as_bytes();
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|&at| text[at] != b'-') {
        return Err(ParseUuidError);
    }
    let mut digits = text.iter().enumerate().filter(|(at, _)| ![8, 13, 18, 23].contains(at));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        let mut digit = || {
            let (_, &character) = digits.next().ok_or(ParseUuidError)?;
            let value = char::from(character).to_digit(16).ok_or(ParseUuidError)?;
            u8::try_from(value).map_err(|_| ParseUuidError)
        };
        *byte = digit()? << 4 | digit()?;
    }
    Ok(bytes)
}

fn fmt_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

/// A site number. Members of one segment talk directly; between segments one link carries all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(pub u8);

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kind of a view: the first two come from EVS, the last two from PC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ViewKind {
    /// EVS: an agreed membership.
    Regular = 0,
    /// EVS: who comes along from the old view.
    Transitional = 1,
    /// PC: this component may not act.
    NonPrimary = 2,
    /// PC: this component is the cluster.
    Primary = 3,
}

impl ViewKind {
    /// The kind with this number on the wire, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Regular),
            1 => Some(Self::Transitional),
            2 => Some(Self::NonPrimary),
            3 => Some(Self::Primary),
            _ => None,
        }
    }
}

impl fmt::Display for ViewKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regular => "REG",
            Self::Transitional => "TRANS",
            Self::NonPrimary => "NON_PRIM",
            Self::Primary => "PRIM",
        })
    }
}

/// Identifies a view. Two are equal only if kind, node and number are.
///
/// There is no `Ord` on purpose: PC's order of view ids ([`ViewId::is_less`]) is not field by field.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewId {
    /// Regular, transitional, non-primary or primary.
    pub kind: ViewKind,
    /// The representative that formed it.
    pub node: NodeId,
    /// Its number; 30 bits on the EVS wire.
    pub seq: u32,
}

impl ViewId {
    /// Makes a view id.
    pub const fn new(kind: ViewKind, node: NodeId, seq: u32) -> Self {
        Self { kind, node, seq }
    }

    /// The same view id with another kind.
    pub const fn with_kind(self, kind: ViewKind) -> Self {
        Self { kind, ..self }
    }

    /// PC's order (spec 03 §0.2): by number; then the view of the *older* UUID is the greater; then
    /// by kind.
    pub fn is_less(&self, other: &Self) -> bool {
        (self.seq, core::cmp::Reverse(self.node.timestamp()))
            .cmp(&(other.seq, core::cmp::Reverse(other.node.timestamp())))
            .then(if self.node == other.node {
                self.kind.cmp(&other.kind)
            } else {
                core::cmp::Ordering::Equal
            })
            .is_lt()
    }
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "view_id({},{},{})", self.kind, self.node, self.seq)
    }
}

impl fmt::Debug for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Decodes a whole input as one UUID.
impl TryFrom<&[u8]> for NodeId {
    type Error = DecodeError;

    fn try_from(input: &[u8]) -> Result<Self, DecodeError> {
        crate::decode::whole("UUID", input, Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "6a1b2c3d-4e5f-11ee-8a7b-0123456789ab";

    #[test]
    fn uuid_text_round_trips() {
        let id: NodeId = TEXT.parse().expect("valid text");
        assert_eq!(id.to_string(), TEXT);
        assert!("6a1b2c3d-4e5f-11ee-8a7b-0123456789aX".parse::<NodeId>().is_err());
        assert!("6a1b2c3d+4e5f-11ee-8a7b-0123456789ab".parse::<NodeId>().is_err());
    }

    #[test]
    fn version1_puts_the_timestamp_where_it_is_read_back() {
        let id = NodeId::version1(0x01ee_4e5f_6a1b_2c3d, 0x8a7b, [1, 0x23, 0x45, 0x67, 0x89, 0xab]);
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(id.timestamp(), 0x01ee_4e5f_6a1b_2c3d);
        assert_eq!(id.incarnation(), 0x8a7b);
    }

    #[test]
    fn next_incarnation_is_the_same_node() {
        let id: NodeId = TEXT.parse().expect("valid text");
        let next = id.next_incarnation();
        assert_ne!(id, next);
        assert!(id.is_same_node(&next));
        assert_eq!(next.incarnation(), id.incarnation() + 1);
    }

    #[test]
    fn with_equal_numbers_the_older_uuid_gives_the_greater_view() {
        let older = NodeId::version1(1, 0, [0; 6]);
        let newer = NodeId::version1(2, 0, [0; 6]);
        let view = |node, seq| ViewId::new(ViewKind::Primary, node, seq);
        assert!(view(newer, 5).is_less(&view(older, 5)));
        assert!(!view(older, 5).is_less(&view(newer, 5)));
        assert!(view(older, 4).is_less(&view(newer, 5)));
    }
}

//! ACTION messages: one fragment of an action (a write-set, a state transfer request).
//!
//! Not the action itself: fragments are put together in `defragment`.

use bytes::{BufMut, Bytes};
use nom::Parser;
use nom::error::context;
use nom::number::complete::{be_u64, le_u8, le_u24, le_u32};

use crate::decode::{DecodeError, Parsed, Problem, fail, whole};

/// Bytes of the header that every fragment starts with.
pub const HEADER_LENGTH: usize = 20;

/// The longest action that the format can describe, in bytes.
pub const ACTION_LENGTH_MAX: u32 = 0x7fff_ffff;

/// What an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionType {
    /// 0: a transaction to certify and apply; takes a global seqno.
    WriteSet,
    /// 2: a state transfer request, or a request to be desynced.
    StateRequest,
    /// Anything else. Nobody sends one today; skipped by its length.
    Other(u8),
}

impl ActionType {
    /// The type with this number on the wire.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::WriteSet,
            2 => Self::StateRequest,
            other => Self::Other(other),
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::WriteSet => 0,
            Self::StateRequest => 2,
            Self::Other(number) => number,
        }
    }
}

/// The header of a fragment:
///
/// | offset | size | field            | encoding                                    |
/// |-------:|-----:|------------------|---------------------------------------------|
/// |      0 |    1 | protocol version | the negotiated gcs protocol, or it is dropped |
/// |      1 |    7 | action id        | big-endian, unlike everything else          |
/// |      8 |    4 | action size      | little-endian, of all fragments together    |
/// |     12 |    4 | fragment number  | little-endian, from 0                       |
/// |     16 |    1 | action type      |                                             |
/// |     17 |    3 | reserved         | 0 when sent, ignored when read              |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentHeader {
    /// Negotiated gcs protocol when it was sent.
    pub protocol: u8,
    /// Sender's number for the action, 56 bits; equal in all its fragments.
    pub action_id: u64,
    /// Length of the whole action in bytes.
    pub action_size: u32,
    /// Which fragment this is, from 0.
    pub fragment: u32,
    /// What the action is.
    pub action_type: ActionType,
    /// Three bytes without meaning, little-endian.
    pub reserved: u32,
}

impl FragmentHeader {
    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, first) = context("protocol and action id", be_u64).parse(input)?;
        let at_size = input;
        let (input, action_size) = context("action size", le_u32).parse(input)?;
        let (input, fragment) = context("fragment number", le_u32).parse(input)?;
        let (input, action_type) = context("action type", le_u8).parse(input)?;
        let (input, reserved) = context("reserved", le_u24).parse(input)?;
        if action_size == 0 || action_size > ACTION_LENGTH_MAX {
            return fail(at_size, "action size", Problem::Invalid);
        }
        let action_type = ActionType::from_number(action_type);
        let (protocol, action_id) = (first.to_be_bytes()[0], first & ACTION_ID_MASK);
        Ok((input, Self { protocol, action_id, action_size, fragment, action_type, reserved }))
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u64((u64::from(self.protocol) << 56) | (self.action_id & ACTION_ID_MASK));
        out.put_u32_le(self.action_size);
        out.put_u32_le(self.fragment);
        out.put_u8(self.action_type.number());
        out.put_uint_le(u64::from(self.reserved & 0x00ff_ffff), 3);
    }
}

const ACTION_ID_MASK: u64 = (1 << 56) - 1;

/// One ACTION message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The 20 bytes in front.
    pub header: FragmentHeader,
    /// This fragment's part of the action.
    pub data: Bytes,
}

impl Fragment {
    /// Decodes the body of an ACTION message; `data` shares the input's memory.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        let head = &payload[..payload.len().min(HEADER_LENGTH)];
        let header = whole("ACTION", head, FragmentHeader::parse)?;
        Ok(Self { header, data: payload.slice(HEADER_LENGTH..) })
    }

    /// The body of the ACTION message.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_LENGTH + self.data.len());
        self.header.encode(&mut out);
        out.put_slice(&self.data);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shorter_than_its_header_is_refused() {
        let error = Fragment::decode(&Bytes::from_static(&[5; 19])).expect_err("too short");
        assert_eq!((error.message, error.field), ("ACTION", "reserved"));
    }

    #[test]
    fn an_action_of_no_bytes_is_refused() {
        let error = Fragment::decode(&Bytes::from_static(&[0; 20])).expect_err("size 0");
        assert_eq!((error.field, error.offset), ("action size", 8));
    }

    #[test]
    fn the_action_id_keeps_its_56_bits_beside_the_protocol() {
        let header = FragmentHeader {
            protocol: 0xff,
            action_id: ACTION_ID_MASK,
            action_size: ACTION_LENGTH_MAX,
            fragment: u32::MAX,
            action_type: ActionType::Other(200),
            reserved: 0x0001_0203,
        };
        let fragment = Fragment { header, data: Bytes::from_static(b"x") };
        assert_eq!(Fragment::decode(&fragment.encode()), Ok(fragment));
    }
}

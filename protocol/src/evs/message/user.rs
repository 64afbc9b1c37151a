//! USER: a numbered message in the total order.

use bytes::{BufMut, Bytes};
use nom::Parser;
use nom::error::context;
use nom::number::complete::{le_u8, le_u16};

use crate::decode::Parsed;
use crate::evs::seqno::Seqno;

/// User type of empty messages and of PC's own STATE and INSTALL.
pub const USER_TYPE_PROTOCOL: u8 = 0xff;

/// A numbered message. After the header, little-endian:
///
/// | offset | size | field |
/// |-------:|-----:|-------|
/// |      0 |    1 | user type |
/// |      1 |    1 | seq range: how many more numbers it uses up |
/// |      2 |    2 | pad, 0 |
/// |      4 |    8 | seqno |
/// |     12 |    8 | aru: the sender has everything from everybody up to here |
/// |     20 |    … | payload, to the end |
///
/// It stands for the numbers `seqno ..= seqno + seq_range`. The payload belongs to the first; the
/// others are empty messages with order DROP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// 0xff for empty messages and PC's own; otherwise the GCS message type.
    pub user_type: u8,
    /// Further numbers that this message uses up.
    pub seq_range: u8,
    /// Its number.
    pub seqno: Seqno,
    /// What the sender had from everybody after inserting this message.
    pub aru: Seqno,
    /// What the layer above sent.
    pub payload: Bytes,
}

impl User {
    const FIXED_LEN: usize = 20;

    /// The last number that the message uses up.
    pub fn last_seqno(&self) -> Seqno {
        self.seqno.plus(i64::from(self.seq_range))
    }

    pub(super) fn parse<'a>(whole: &Bytes, input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, user_type) = context("user type", le_u8).parse(input)?;
        let (input, seq_range) = context("seq range", le_u8).parse(input)?;
        let (input, _pad) = context("pad", le_u16).parse(input)?;
        let (input, seqno) = context("seqno", Seqno::parse).parse(input)?;
        let (input, aru) = context("aru", Seqno::parse).parse(input)?;
        let (payload, rest) = input.split_at(input.len());
        let payload = whole.slice(whole.len() - payload.len()..);
        Ok((rest, Self { user_type, seq_range, seqno, aru, payload }))
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.user_type);
        out.put_u8(self.seq_range);
        out.put_u16_le(0);
        self.seqno.encode(out);
        self.aru.encode(out);
        out.put_slice(&self.payload);
    }

    pub(super) fn encoded_len(&self) -> usize {
        Self::FIXED_LEN + self.payload.len()
    }
}

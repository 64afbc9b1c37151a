//! Code messages: LAST, JOIN, SYNC and VOTE share one layout.

use bytes::{BufMut, Bytes};
use nom::Parser;
use nom::combinator::rest;
use nom::error::context;
use nom::number::complete::le_i64;

use super::number::Seqno;
use crate::decode::{DecodeError, Parsed, Problem, fail, whole};
use crate::id::StateId;

const LONG_LENGTH: usize = 32;
const SHORT_LENGTH: usize = 8;

/// A LAST, JOIN, SYNC or VOTE.
///
/// gcs protocol 1 and later:
///
/// | offset | size | field      | encoding                                                     |
/// |-------:|-----:|------------|--------------------------------------------------------------|
/// |      0 |   16 | group UUID | dropped by receivers of another group                        |
/// |     16 |    8 | seqno      | little-endian; JOIN, SYNC: informative only                  |
/// |     24 |    8 | code       | little-endian; JOIN: 0 or −errno; VOTE: 0 or a hash          |
/// |     32 |    … | text       | VOTE only, at least a NUL                                    |
///
/// gcs protocol 0: eight bytes, little-endian: the seqno, or a negative error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeMessage {
    /// The form of gcs protocol 1 and later.
    Long {
        /// The history that the seqno counts in.
        state: StateId,
        /// What position it is about.
        seqno: Seqno,
        /// Outcome: 0 is success, negative a failure.
        code: i64,
        /// What follows: a VOTE's error text.
        text: Bytes,
    },
    /// The form of gcs protocol 0: a seqno, or a negative error.
    Short(i64),
}

impl CodeMessage {
    /// Decodes the body of a message named `message`.
    pub fn decode(message: &'static str, payload: &[u8]) -> Result<Self, DecodeError> {
        whole(message, payload, Self::parse)
    }

    /// The history it belongs to; the short form does not say.
    pub fn state(&self) -> Option<StateId> {
        match self {
            Self::Long { state, .. } => Some(*state),
            Self::Short(_) => None,
        }
    }

    /// The outcome: negative is a failure, in both forms.
    pub fn code(&self) -> i64 {
        match self {
            Self::Long { code, .. } => *code,
            Self::Short(value) => (*value).min(0),
        }
    }

    /// The position; undefined where the short form carries an error.
    pub fn seqno(&self) -> Seqno {
        match self {
            Self::Long { seqno, .. } => *seqno,
            Self::Short(value) if *value < 0 => Seqno::UNDEFINED,
            Self::Short(value) => Seqno(*value),
        }
    }

    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        match input.len() {
            SHORT_LENGTH => {
                let (input, value) = context("seqno or error", le_i64).parse(input)?;
                Ok((input, Self::Short(value)))
            }
            length if length >= LONG_LENGTH => Self::parse_long(input),
            _ => fail(input, "length", Problem::Invalid),
        }
    }

    fn parse_long(input: &[u8]) -> Parsed<'_, Self> {
        let (input, state) = context("group UUID", StateId::parse).parse(input)?;
        let (input, seqno) = context("seqno", le_i64).parse(input)?;
        let (input, code) = context("code", le_i64).parse(input)?;
        let (input, text) = rest(input)?;
        let text = Bytes::copy_from_slice(text);
        Ok((input, Self::Long { state, seqno: Seqno(seqno), code, text }))
    }

    /// The body of the message.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(LONG_LENGTH);
        match self {
            Self::Long { state, seqno, code, text } => {
                state.encode(&mut out);
                out.put_i64_le(seqno.0);
                out.put_i64_le(*code);
                out.put_slice(text);
            }
            Self::Short(value) => out.put_i64_le(*value),
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_short_form_is_an_error_and_no_position() {
        let failed = CodeMessage::Short(-87);
        assert_eq!((failed.code(), failed.seqno()), (-87, Seqno::UNDEFINED));
        let ok = CodeMessage::Short(129);
        assert_eq!((ok.code(), ok.seqno()), (0, Seqno(129)));
    }

    #[test]
    fn only_8_bytes_or_32_and_more_are_code_messages() {
        for length in 0..40 {
            let decoded = CodeMessage::decode("JOIN", &vec![0; length]);
            assert_eq!(decoded.is_ok(), length == 8 || length >= 32, "{length} bytes");
        }
    }
}

//! Aggregates: several small messages in the payload of one USER message.

use bytes::Bytes;
use nom::Parser;
use nom::bytes::complete::take;
use nom::error::context;
use nom::number::complete::{le_u8, le_u16};

use crate::decode::{DecodeError, Parsed, Problem, whole};

/// Bytes before each sub-message.
pub const AGGREGATE_HEADER_BYTES: usize = 4;

/// One message inside an aggregate. In the payload, little-endian:
///
/// | offset | size | field |
/// |-------:|-----:|-------|
/// |      0 |    1 | flags, 0 |
/// |      1 |    1 | user type |
/// |      2 |    2 | length |
/// |      4 |    … | payload |
///
/// All sub-messages share the number and the order of the message around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubMessage {
    /// Its own user type.
    pub user_type: u8,
    /// What the layer above sent.
    pub payload: Bytes,
}

/// Splits the payload of an aggregate, which the sub-messages must fill exactly.
pub fn split_aggregate(payload: &Bytes) -> Result<Vec<SubMessage>, DecodeError> {
    if payload.is_empty() {
        let (message, field, problem) = ("EVS aggregate", "sub-message", Problem::Truncated);
        return Err(DecodeError { message, field, offset: 0, problem });
    }
    whole("EVS aggregate", payload, |mut rest| {
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let (after, (user_type, body)) = parse_sub_message(rest)?;
            messages.push(SubMessage { user_type, payload: payload.slice_ref(body) });
            rest = after;
        }
        Ok((rest, messages))
    })
}

fn parse_sub_message(input: &[u8]) -> Parsed<'_, (u8, &[u8])> {
    let (input, _flags) = context("flags", le_u8).parse(input)?;
    let (input, user_type) = context("user type", le_u8).parse(input)?;
    let (input, length) = context("length", le_u16).parse(input)?;
    let (input, body) = context("payload", take(length)).parse(input)?;
    Ok((input, (user_type, body)))
}

//! The messages of EVS on the wire, as the payload of a gmcast USER message (spec 02 §2).
//!
//! Every message is a [`Header`] followed by the [`Body`] of its type. All integers are
//! little-endian. Decoding checks layout only; whether a message makes sense *now* is decided by
//! the machine. Encoding is byte-exact: what a current Galera sends decodes and encodes to itself.

mod aggregate;
mod delayed_list;
mod gap;
mod header;
mod membership;
mod node_list;
mod user;

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;
use nom::error::context;

use crate::decode::{DecodeError, Parsed, Problem, fail, whole};

pub use aggregate::{AGGREGATE_HEADER_BYTES, SubMessage, split_aggregate};
pub use delayed_list::DelayedList;
pub use gap::Gap;
pub use header::{Flags, Header, MessageType};
pub use membership::{Install, Leave, Proposal};
pub use node_list::{NODE_ENTRY_BYTES, NodeEntry, NodeList};
pub use user::{USER_TYPE_PROTOCOL, User};

/// The largest EVS message: a frame body of 32768 bytes without gmcast's 20.
pub const MESSAGE_BYTES_MAX: usize = 32_748;

/// The largest payload of one USER message: leaves room for a DELEGATE around it.
pub const PAYLOAD_BYTES_MAX: usize = 32_644;

/// One EVS message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What every message starts with.
    pub header: Header,
    /// What only messages of this type have.
    pub body: Body,
}

/// The part of a message that depends on its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A numbered message in total order, with or without payload.
    User(User),
    /// A USER or LEAVE of somebody else, passed on.
    Delegate(Box<Message>),
    /// Acknowledgement, commit or install gap, or retransmission request.
    Gap(Gap),
    /// How the sender sees the group while the membership changes.
    Join(Proposal),
    /// The representative's decision.
    Install(Install),
    /// The sender leaves.
    Leave(Leave),
    /// Who seems slow to the sender.
    DelayedList(DelayedList),
}

impl Body {
    /// The type number that stands in the header.
    pub fn message_type(&self) -> MessageType {
        match self {
            Self::User(_) => MessageType::User,
            Self::Delegate(_) => MessageType::Delegate,
            Self::Gap(_) => MessageType::Gap,
            Self::Join(_) => MessageType::Join,
            Self::Install(_) => MessageType::Install,
            Self::Leave(_) => MessageType::Leave,
            Self::DelayedList(_) => MessageType::DelayedList,
        }
    }
}

impl Message {
    /// Decodes one whole message. The payload of a USER message stays a slice of `input`.
    pub fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        whole("EVS message", input, |rest| Self::parse(input, rest, Depth::Outer))
    }

    fn parse<'a>(whole: &Bytes, input: &'a [u8], depth: Depth) -> Parsed<'a, Self> {
        let (rest, (message_type, header)) = Header::parse(input)?;
        let (rest, body) = match message_type {
            MessageType::User => User::parse(whole, rest).map(|(r, b)| (r, Body::User(b)))?,
            MessageType::Delegate => Self::parse_inner(whole, rest, depth)?,
            MessageType::Gap => Gap::parse(rest).map(|(r, b)| (r, Body::Gap(b)))?,
            MessageType::Join => Proposal::parse(rest).map(|(r, b)| (r, Body::Join(b)))?,
            MessageType::Install => Install::parse(rest).map(|(r, b)| (r, Body::Install(b)))?,
            MessageType::Leave => Leave::parse(rest).map(|(r, b)| (r, Body::Leave(b)))?,
            MessageType::DelayedList => {
                DelayedList::parse(rest).map(|(r, b)| (r, Body::DelayedList(b)))?
            }
        };
        Ok((rest, Self { header, body }))
    }

    /// A DELEGATE carries one message that names its source, and never another DELEGATE.
    fn parse_inner<'a>(whole: &Bytes, input: &'a [u8], depth: Depth) -> Parsed<'a, Body> {
        if depth == Depth::Inner {
            return fail(input, "nested delegate", Problem::Invalid);
        }
        let inner = |rest| Self::parse(whole, rest, Depth::Inner);
        let (rest, message) = context("delegated message", inner).parse(input)?;
        if message.header.source.is_none() {
            return fail(input, "delegated source", Problem::Invalid);
        }
        Ok((rest, Body::Delegate(Box::new(message))))
    }

    /// Encodes the message.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode_into(&mut out);
        out.freeze()
    }

    fn encode_into(&self, out: &mut impl BufMut) {
        self.header.encode(self.body.message_type(), out);
        match &self.body {
            Body::User(body) => body.encode(out),
            Body::Delegate(inner) => inner.encode_into(out),
            Body::Gap(body) => body.encode(out),
            Body::Join(body) => body.encode(out),
            Body::Install(body) => body.encode(out),
            Body::Leave(body) => body.encode(out),
            Body::DelayedList(body) => body.encode(out),
        }
    }

    /// Bytes that [`Self::encode`] will produce.
    pub fn encoded_len(&self) -> usize {
        self.header.encoded_len()
            + match &self.body {
                Body::User(body) => body.encoded_len(),
                Body::Delegate(inner) => inner.encoded_len(),
                Body::Gap(_) => Gap::ENCODED_LEN,
                Body::Join(body) => body.encoded_len(),
                Body::Install(body) => body.encoded_len(),
                Body::Leave(_) => Leave::ENCODED_LEN,
                Body::DelayedList(body) => body.encoded_len(),
            }
    }
}

/// Whether a message stands by itself or inside a DELEGATE.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outer,
    Inner,
}

#[cfg(test)]
mod tests;

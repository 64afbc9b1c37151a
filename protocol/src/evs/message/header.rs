//! The header of every EVS message, and the view ids in it.

use core::fmt;

use bytes::BufMut;
use nom::Parser;
use nom::error::context;
use nom::number::complete::{le_u8, le_u32};

use crate::decode::{Parsed, Problem, fail};
use crate::evs::seqno::FifoSeqno;
use crate::id::{NodeId, ViewId, ViewKind};
use crate::message::Order;

/// The highest protocol version that current members accept.
pub(crate) const VERSION_MAX: u8 = 1;

const VIEW_SEQ_BITS: u32 = 30;
/// View numbers have 30 bits on the wire.
pub(crate) const VIEW_SEQ_MAX: u32 = (1 << VIEW_SEQ_BITS) - 1;

/// Which message follows the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// A numbered message in total order.
    User = 1,
    /// Somebody else's message, passed on.
    Delegate = 2,
    /// Acknowledgement, commit, install or request.
    Gap = 3,
    /// A membership proposal.
    Join = 4,
    /// The representative's membership decision.
    Install = 5,
    /// A graceful leave.
    Leave = 6,
    /// Who seems slow.
    DelayedList = 7,
}

impl MessageType {
    /// The type with this number on the wire, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::User),
            2 => Some(Self::Delegate),
            3 => Some(Self::Gap),
            4 => Some(Self::Join),
            5 => Some(Self::Install),
            6 => Some(Self::Leave),
            7 => Some(Self::DelayedList),
            _ => None,
        }
    }

    /// JOIN, INSTALL, LEAVE and DELAYED_LIST are about the membership and pass whatever the view.
    pub const fn is_membership(self) -> bool {
        matches!(self, Self::Join | Self::Install | Self::Leave | Self::DelayedList)
    }

    /// JOIN and INSTALL must reach nodes that do not know our version yet.
    const fn hides_version(self) -> bool {
        matches!(self, Self::Join | Self::Install)
    }
}

/// The flag byte of the header. Unknown bits survive decoding and mean nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// USER: more messages follow at once, do not complete or acknowledge yet.
    pub const MORE: Self = Self(0x01);
    /// A retransmission, or (GAP) a request for one.
    pub const RETRANSMISSION: Self = Self(0x02);
    /// The header names the source.
    pub const SOURCE: Self = Self(0x04);
    /// The payload consists of sub-messages.
    pub const AGGREGATE: Self = Self(0x08);
    /// GAP: a commit gap.
    pub const COMMIT: Self = Self(0x10);

    /// True if every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of flags.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Only the flags that are also in `other`.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

/// What every EVS message starts with: 32 bytes, or 48 with the source.
///
/// | offset   | size | field |
/// |---------:|-----:|-------|
/// |        0 |    1 | bits 0–1 `zv`, bits 2–4 message type, bits 5–7 order |
/// |        1 |    1 | flags |
/// |        2 |    1 | version |
/// |        3 |    1 | reserved, 0 |
/// |        4 |    8 | fifo seqno |
/// |       12 |   16 | source, only with [`Flags::SOURCE`] |
/// | 12 or 28 |   20 | source view: UUID, then u32 with the number (bits 0–29) and kind (30–31) |
///
/// `zv` is 0 in JOIN and INSTALL and otherwise says whether the version is 1; receivers ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Delivery guarantee; meaningful in USER messages.
    pub order: Order,
    /// Flags. [`Flags::SOURCE`] is set here exactly if `source` is some.
    pub flags: Flags,
    /// What the sender speaks (JOIN), what the view will speak (INSTALL), 1 elsewhere.
    pub version: u8,
    /// Number of this message in the sender's life.
    pub fifo_seqno: FifoSeqno,
    /// The originator, in INSTALL and inside DELEGATE.
    pub source: Option<NodeId>,
    /// The view that the message belongs to.
    pub view: ViewId,
}

impl Header {
    pub(super) fn parse(input: &[u8]) -> Parsed<'_, (MessageType, Self)> {
        let start = input;
        let (input, first) = context("type and order", le_u8).parse(input)?;
        let Some(message_type) = MessageType::from_number((first >> 2) & 0x07) else {
            return fail(start, "type", Problem::Invalid);
        };
        let Some(order) = Order::from_number(first >> 5) else {
            return fail(start, "order", Problem::Invalid);
        };
        let (input, flags) = context("flags", le_u8).parse(input)?;
        let flags = Flags(flags);
        let version_at = input;
        let (input, version) = context("version", le_u8).parse(input)?;
        if version > VERSION_MAX {
            return fail(version_at, "version", Problem::Version);
        }
        let (input, _reserved) = context("reserved", le_u8).parse(input)?;
        let (input, fifo_seqno) = context("fifo seqno", FifoSeqno::parse).parse(input)?;
        let (input, source) = context("source", |rest| parse_source(rest, flags)).parse(input)?;
        let (input, view) = context("source view", parse_view_id).parse(input)?;
        let header = Self { order, flags, version, fifo_seqno, source, view };
        Ok((input, (message_type, header)))
    }

    pub(super) fn encode(&self, message_type: MessageType, out: &mut impl BufMut) {
        let zv = u8::from(self.version != 0 && !message_type.hides_version());
        out.put_u8(zv | (message_type as u8) << 2 | (self.order as u8) << 5);
        let flags = match self.source {
            Some(_) => self.flags.union(Flags::SOURCE),
            None => self.flags.without(Flags::SOURCE),
        };
        out.put_u8(flags.0);
        out.put_u8(self.version);
        out.put_u8(0);
        self.fifo_seqno.encode(out);
        if let Some(source) = self.source {
            source.encode(out);
        }
        encode_view_id(self.view, out);
    }

    pub(super) fn encoded_len(&self) -> usize {
        if self.source.is_some() { 48 } else { 32 }
    }
}

fn parse_source(input: &[u8], flags: Flags) -> Parsed<'_, Option<NodeId>> {
    if !flags.contains(Flags::SOURCE) {
        return Ok((input, None));
    }
    let (input, source) = NodeId::parse(input)?;
    Ok((input, Some(source)))
}

/// Reads the 20 bytes of a view id.
pub(super) fn parse_view_id(input: &[u8]) -> Parsed<'_, ViewId> {
    let (input, node) = context("view node", NodeId::parse).parse(input)?;
    let word_at = input;
    let (input, word) = context("view number", le_u32).parse(input)?;
    let kind = u8::try_from(word >> VIEW_SEQ_BITS).ok().and_then(ViewKind::from_number);
    match kind {
        Some(kind) => Ok((input, ViewId::new(kind, node, word & VIEW_SEQ_MAX))),
        None => fail(word_at, "view kind", Problem::Invalid),
    }
}

/// Writes the 20 bytes of a view id.
pub(super) fn encode_view_id(view: ViewId, out: &mut impl BufMut) {
    view.node.encode(out);
    out.put_u32_le((view.seq & VIEW_SEQ_MAX) | (view.kind as u32) << VIEW_SEQ_BITS);
}

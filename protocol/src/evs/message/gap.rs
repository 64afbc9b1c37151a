//! GAP: acknowledgement, commit gap, install gap, retransmission request.

use bytes::BufMut;
use nom::Parser;
use nom::error::context;

use crate::decode::Parsed;
use crate::evs::seqno::{Range, Seqno};
use crate::id::NodeId;

/// One layout, five meanings. After the header, little-endian:
///
/// | offset | size | field |
/// |-------:|-----:|-------|
/// |      0 |    8 | seqno |
/// |      8 |    8 | aru |
/// |     16 |   16 | range node |
/// |     32 |   16 | range |
///
/// | kind | flags | view | seqno | aru | range node | range |
/// |------|-------|------|-------|-----|------------|-------|
/// | acknowledgement | – | current | last sent | ARU | nil | none |
/// | commit gap | COMMIT | to be installed | fifo seqno of the INSTALL | −1 | nil | none |
/// | install gap | – | to be installed | −1 | −1 | nil | none |
/// | request | RETRANSMISSION | current | last sent | ARU | whose messages | first..last missing |
/// | request of old nodes | – | current | last sent | ARU | whose messages | their raw range |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Last own number, or the fifo seqno of the INSTALL in a commit gap.
    pub seqno: Seqno,
    /// The sender has everything from everybody up to here.
    pub aru: Seqno,
    /// Whose messages are missing; nil if none are asked for.
    pub range_node: NodeId,
    /// Which are missing, both ends included.
    pub range: Range,
}

impl Gap {
    pub(super) const ENCODED_LEN: usize = 48;

    /// "I have everything up to `aru`, and I have sent up to `last_sent`."
    pub fn acknowledgement(last_sent: Seqno, aru: Seqno) -> Self {
        Self { seqno: last_sent, aru, range_node: NodeId::NIL, range: Range::NONE }
    }

    /// "I have installed the view" (with the view in the header).
    pub fn install() -> Self {
        Self::acknowledgement(Seqno::NONE, Seqno::NONE)
    }

    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, seqno) = context("seqno", Seqno::parse).parse(input)?;
        let (input, aru) = context("aru", Seqno::parse).parse(input)?;
        let (input, range_node) = context("range node", NodeId::parse).parse(input)?;
        let (input, range) = context("range", Range::parse).parse(input)?;
        Ok((input, Self { seqno, aru, range_node, range }))
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        self.seqno.encode(out);
        self.aru.encode(out);
        self.range_node.encode(out);
        self.range.encode(out);
    }
}

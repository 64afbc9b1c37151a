//! JOIN, INSTALL and LEAVE: the membership protocol.

use bytes::BufMut;
use nom::Parser;
use nom::error::context;

use super::header::{encode_view_id, parse_view_id};
use super::node_list::NodeList;
use crate::decode::Parsed;
use crate::evs::seqno::Seqno;
use crate::id::ViewId;

/// How its sender sees the group: the body of JOIN, and part of INSTALL. Little-endian:
///
/// | offset | size | field |
/// |-------:|-----:|-------|
/// |      0 |    8 | seqno: the sender's SAFE |
/// |      8 |    8 | aru |
/// |     16 |    … | node list (in INSTALL the install view stands before it) |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Everybody of the sender's view has everything up to here, as far as the sender knows.
    pub safe: Seqno,
    /// The sender has everything from everybody of its view up to here.
    pub aru: Seqno,
    /// Every node the sender knows, itself included.
    pub nodes: NodeList,
}

impl Proposal {
    const FIXED_LEN: usize = 16;

    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, safe) = context("seqno", Seqno::parse).parse(input)?;
        let (input, aru) = context("aru", Seqno::parse).parse(input)?;
        let (input, nodes) = context("node list", NodeList::parse).parse(input)?;
        Ok((input, Self { safe, aru, nodes }))
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        self.safe.encode(out);
        self.aru.encode(out);
        self.nodes.encode(out);
    }

    pub(super) fn encoded_len(&self) -> usize {
        Self::FIXED_LEN + self.nodes.encoded_len()
    }
}

/// The representative's decision. After the header, little-endian:
///
/// | offset | size | field |
/// |-------:|-----:|-------|
/// |      0 |    8 | seqno: the representative's SAFE |
/// |      8 |    8 | aru |
/// |     16 |   20 | install view |
/// |     36 |    … | node list |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The view that is to be installed.
    pub view: ViewId,
    /// The state of the group that everybody agreed on.
    pub proposal: Proposal,
}

impl Install {
    const VIEW_LEN: usize = 20;

    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, safe) = context("seqno", Seqno::parse).parse(input)?;
        let (input, aru) = context("aru", Seqno::parse).parse(input)?;
        let (input, view) = context("install view", parse_view_id).parse(input)?;
        let (input, nodes) = context("node list", NodeList::parse).parse(input)?;
        Ok((input, Self { view, proposal: Proposal { safe, aru, nodes } }))
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        self.proposal.safe.encode(out);
        self.proposal.aru.encode(out);
        encode_view_id(self.view, out);
        self.proposal.nodes.encode(out);
    }

    pub(super) fn encoded_len(&self) -> usize {
        Self::VIEW_LEN + self.proposal.encoded_len()
    }
}

/// The sender leaves. After the header, little-endian:
///
/// | offset | size | field |
/// |-------:|-----:|-------|
/// |      0 |    8 | seqno: the last number it used |
/// |      8 |    8 | aru |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The last number that the leaver used.
    pub last_sent: Seqno,
    /// The leaver has everything from everybody up to here.
    pub aru: Seqno,
}

impl Leave {
    pub(super) const ENCODED_LEN: usize = 16;

    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, last_sent) = context("seqno", Seqno::parse).parse(input)?;
        let (input, aru) = context("aru", Seqno::parse).parse(input)?;
        Ok((input, Self { last_sent, aru }))
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        self.last_sent.encode(out);
        self.aru.encode(out);
    }
}

//! Reading a message: the fixed part, the optional fields behind it, the node list.

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;
use nom::error::context;
use nom::number::complete::{le_u8, le_u32};

use super::{Body, HandshakeId, Kind, Relay, TOPOLOGY_ENTRIES_MAX, Topology};
use super::{FIELDS, GROUP_NAME, HANDSHAKE_ID, NODE_LIST, RELAY, SEGMENT_RELAY, TEXT, VERSION};
use crate::decode::{Parsed, Problem, fail};
use crate::gmcast::text::{GroupName, Text};
use crate::id::{NodeId, Segment};

/// The optional fields that a message has.
pub(super) struct Fields {
    handshake: Option<HandshakeId>,
    text: Option<Text>,
    group: Option<GroupName>,
    links: Option<Topology>,
}

impl Fields {
    fn parse(flags: u8, input: &[u8]) -> Parsed<'_, Self> {
        let (input, handshake) = optional(flags, HANDSHAKE_ID, input, |input| {
            context("handshake id", NodeId::parse).map(HandshakeId).parse(input)
        })?;
        let (input, text) = optional(flags, TEXT, input, |input| {
            context("address or reason", Text::parse).parse(input)
        })?;
        let (input, group) = optional(flags, GROUP_NAME, input, |input| {
            context("group name", GroupName::parse).parse(input)
        })?;
        let (input, links) = optional(flags, NODE_LIST, input, parse_topology)?;
        Ok((input, Self { handshake, text, group, links }))
    }

    /// The body, if exactly the fields of this type are there. A USER message may carry any of them
    /// in front of its payload, and a FAIL without a reason has an empty one.
    pub(super) fn into_body(self, kind: Kind, flags: u8, payload: Bytes) -> Option<Body> {
        let present = flags & FIELDS;
        match kind {
            Kind::Handshake if present == HANDSHAKE_ID => {
                Some(Body::Handshake { handshake: self.handshake? })
            }
            Kind::HandshakeResponse if present == HANDSHAKE_ID | TEXT | GROUP_NAME => {
                let (address, group) = (self.text?, self.group?);
                Some(Body::HandshakeResponse { handshake: self.handshake?, address, group })
            }
            Kind::Ok if present == 0 => Some(Body::Ok),
            Kind::Fail if present & !TEXT == 0 => {
                Some(Body::Fail { reason: self.text.unwrap_or_default() })
            }
            Kind::TopologyChange if present == GROUP_NAME | NODE_LIST => {
                Some(Body::TopologyChange { group: self.group?, links: self.links? })
            }
            Kind::Keepalive if present == 0 => Some(Body::Keepalive),
            Kind::User => Some(Body::User { relay: relay_of(flags), payload }),
            Kind::Handshake
            | Kind::HandshakeResponse
            | Kind::Ok
            | Kind::Fail
            | Kind::TopologyChange
            | Kind::Keepalive => None,
        }
    }
}

/// With both flags set RELAY wins.
pub(super) fn relay_of(flags: u8) -> Relay {
    if flags & RELAY != 0 {
        Relay::Everywhere
    } else if flags & SEGMENT_RELAY != 0 {
        Relay::Segment
    } else {
        Relay::No
    }
}

/// Segment and source.
pub(super) type Header = (Segment, NodeId);

pub(super) fn parse(input: &[u8]) -> Parsed<'_, (Kind, u8, Header, Fields)> {
    let (rest, version) = context("version", le_u8).parse(input)?;
    if version != VERSION {
        return fail(input, "version", Problem::Version);
    }
    let (rest, kind) = parse_kind(rest)?;
    let (rest, flags) = context("flags", le_u8).parse(rest)?;
    let (rest, segment) = context("segment", le_u8).parse(rest)?;
    let (rest, source) = context("source", NodeId::parse).parse(rest)?;
    let (rest, fields) = Fields::parse(flags & FIELDS, rest)?;
    Ok((rest, (kind, flags, (Segment(segment), source), fields)))
}

fn parse_kind(input: &[u8]) -> Parsed<'_, Kind> {
    let (rest, number) = context("type", le_u8).parse(input)?;
    match Kind::from_number(number) {
        Some(kind) => Ok((rest, kind)),
        None => fail(input, "type", Problem::Invalid),
    }
}

fn optional<'a, T>(
    flags: u8,
    flag: u8,
    input: &'a [u8],
    parser: impl FnOnce(&'a [u8]) -> Parsed<'a, T>,
) -> Parsed<'a, Option<T>> {
    if flags & flag == 0 {
        return Ok((input, None));
    }
    parser(input).map(|(rest, value)| (rest, Some(value)))
}

fn parse_topology(input: &[u8]) -> Parsed<'_, Topology> {
    let (mut rest, count) = context("number of links", le_u32).parse(input)?;
    if count as usize > TOPOLOGY_ENTRIES_MAX {
        return fail(input, "number of links", Problem::TooLarge);
    }
    let mut links = Topology::new();
    for _ in 0..count {
        let (next, (node, address)) = parse_entry(rest)?;
        if links.insert(node, address).is_some() {
            return fail(rest, "link listed twice", Problem::Invalid);
        }
        rest = next;
    }
    Ok((rest, links))
}

fn parse_entry(input: &[u8]) -> Parsed<'_, (NodeId, Text)> {
    let (input, node) = context("link uuid", NodeId::parse).parse(input)?;
    let (input, _reserved) = context("link flags", le_u32).parse(input)?;
    let (input, address) = context("link address", Text::parse).parse(input)?;
    let (input, _multicast) = context("link multicast address", Text::parse).parse(input)?;
    Ok((input, (node, address)))
}

pub(super) fn encode_topology(links: &Topology, out: &mut BytesMut) {
    out.put_u32_le(links.len() as u32);
    for (node, address) in links {
        node.encode(out);
        out.put_u32_le(0);
        address.encode(out);
        Text::default().encode(out);
    }
}

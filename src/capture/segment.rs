//! TCP segments out of packets: Ethernet, Linux's cooked and loopback headers, IPv4 and IPv6.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::Linktype;

use super::{Packet, Timestamp};

/// Length of the header of Linux's "any" device, in both versions.
const SLL_BYTES: usize = 16;
const SLL2_BYTES: usize = 20;

/// Length of the BSD loopback header.
const NULL_BYTES: usize = 4;

/// A part of a TCP stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// When it was captured.
    pub time: Timestamp,
    /// Whose.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Number of its first byte.
    pub seq: u32,
    /// It opens the stream.
    pub syn: bool,
    /// It ends the stream.
    pub fin: bool,
    /// It breaks the connection.
    pub rst: bool,
    /// Its bytes; fewer than were sent if the capture cut packets off.
    pub payload: Bytes,
}

impl Segment {
    /// The segment in a packet, if there is one.
    pub fn parse(packet: &Packet) -> Option<Self> {
        let sliced = slice(packet)?;
        let (from, to) = addresses(sliced.net.as_ref()?)?;
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
        Some(Self {
            time: packet.time,
            from: SocketAddr::new(from, tcp.source_port()),
            to: SocketAddr::new(to, tcp.destination_port()),
            seq: tcp.sequence_number(),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            payload: Bytes::copy_from_slice(tcp.payload()),
        })
    }
}

fn slice(packet: &Packet) -> Option<LaxSlicedPacket<'_>> {
    let data = packet.data.as_slice();
    let ip = match packet.link {
        Linktype::ETHERNET => return LaxSlicedPacket::from_ethernet(data).ok(),
        Linktype::LINUX_SLL => data.get(SLL_BYTES..)?,
        Linktype::LINUX_SLL2 => data.get(SLL2_BYTES..)?,
        Linktype::NULL | Linktype::LOOP => data.get(NULL_BYTES..)?,
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => data,
        _ => return None,
    };
    LaxSlicedPacket::from_ip(ip).ok()
}

fn addresses(net: &LaxNetSlice<'_>) -> Option<(IpAddr, IpAddr)> {
    match net {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            Some((header.source_addr().into(), header.destination_addr().into()))
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            Some((header.source_addr().into(), header.destination_addr().into()))
        }
        _ => None,
    }
}

//! Links between members: handshake, mesh, relaying, liveness (spec 01).

use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;

use crate::id::{NodeId, Segment};

/// One connection to a peer, for as long as it lives. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkId {
    /// We dialled; the core chose the number.
    Dialled(u32),
    /// The peer dialled; the driver chose the number.
    Accepted(u32),
}

/// What happens to the link layer.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin: resolve and dial the initial addresses.
    Start,
    /// Names were looked up, in answer to [`Output::Resolve`]. Empty: the look-up failed.
    Resolved { host: String, port: u16, addresses: Vec<IpAddr> },
    /// A dialled link is up, TLS included.
    Connected { link: LinkId, local: SocketAddr, remote: SocketAddr },
    /// A peer dialled us; TLS, if any, is up.
    Accepted { link: LinkId, local: SocketAddr, remote: SocketAddr },
    /// A whole frame body arrived, checksum already verified.
    Frame { link: LinkId, body: Bytes },
    /// The link is gone, or could not be made.
    Closed { link: LinkId },
    /// EVS sends: to one member if it has a direct link, otherwise to everybody.
    Send { target: Option<NodeId>, payload: Bytes },
    /// EVS installed a regular view (told before the view goes to PC).
    RegularView { members: BTreeSet<NodeId>, left: BTreeSet<NodeId> },
    /// PC installed a primary view (told after the view went to GCS).
    PrimaryView { members: BTreeSet<NodeId> },
    /// EVS is about to talk to this node: lift its time wait ("allow connect").
    Welcome(NodeId),
    /// Refuse this node from now on.
    Evict(NodeId),
    /// Close every link. Nothing follows but [`Output::CloseLink`].
    Close,
    /// A deadline has passed.
    Timeout,
}

/// What the link layer wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Look a name up; answer with [`Input::Resolved`].
    Resolve { host: String, port: u16 },
    /// Connect (with TLS where configured); answer with `Connected` or `Closed`.
    Dial { link: LinkId, remote: SocketAddr, tls: bool },
    /// Send one frame body on a link.
    SendFrame { link: LinkId, body: Bytes, is_user: bool },
    /// Close a link after flushing what was sent on it.
    CloseLink { link: LinkId },
    /// A message for EVS, with the originator's UUID (not the link's peer).
    Deliver { source: NodeId, payload: Bytes },
    /// To be told to people: link up, link down and why, refused, evicted.
    Event(Event),
}

/// Facts about links, for logs, `status` and `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Handshake done.
    LinkEstablished { link: LinkId, node: NodeId, segment: Segment, remote: SocketAddr },
}

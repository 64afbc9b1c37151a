//! What can be asked about links: for `status`, `doctor`, metrics and the filter on the donor's
//! address.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;

use super::event::{LinkEnd, Phase, Reason};
use super::{Gmcast, LinkId};
use crate::id::{NodeId, Segment};
use crate::time::Instant;

/// One link as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// Its number.
    pub link: LinkId,
    /// How far it has come.
    pub phase: Phase,
    /// The peer, once known.
    pub node: Option<NodeId>,
    /// The peer's segment, once known.
    pub segment: Option<Segment>,
    /// Our end, once connected.
    pub local: Option<SocketAddr>,
    /// The address dialled, or where the caller came from.
    pub remote: SocketAddr,
    /// Where the peer can be called, once known.
    pub address: Option<SocketAddr>,
    /// When a message was last received (at first: when the link began).
    pub last_received: Instant,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links that ended, for any reason but our own closing.
    pub links_lost: u64,
    /// Links closed because the peer broke the protocol, malformed frames included.
    pub violations: u64,
    /// Links closed for silence.
    pub timeouts: u64,
    /// Messages that we kept from sending because they would have harmed their receivers.
    pub forbidden: u64,
    /// USER messages dropped: own echo, evicted originator, link not established.
    pub users_dropped: u64,
    /// USER messages passed on for others.
    pub relayed: u64,
}

impl Counters {
    pub(super) fn note(&mut self, reason: &Reason) {
        self.links_lost += u64::from(*reason != Reason::Closing);
        self.timeouts += u64::from(*reason == Reason::TimedOut);
        self.forbidden += u64::from(matches!(reason, Reason::Forbidden(_)));
        let is_violation =
            matches!(reason, Reason::Violation(_) | Reason::Ended(LinkEnd::Frame(_)));
        self.violations += u64::from(is_violation);
    }
}

impl Gmcast {
    /// All links, in the order of their numbers.
    pub fn links(&self) -> impl Iterator<Item = LinkStatus> {
        self.links.iter().map(|(id, link)| LinkStatus {
            link: id,
            phase: link.kind().phase(),
            node: link.peer().map(|peer| peer.node),
            segment: link.peer().map(|peer| peer.segment),
            local: link.local,
            remote: link.remote,
            address: link.key,
            last_received: link.last_received,
        })
    }

    /// The IP address of a node: the far end of the link to it or, without one, where it is said to
    /// be.
    pub fn ip_of(&self, node: NodeId) -> Option<IpAddr> {
        let linked = self.links.to_node(node).map(|(_, link)| link.remote.ip().to_canonical());
        linked.or_else(|| Some(self.book.address_of(node)?.ip()))
    }

    /// Every IP address that a node may call from, as far as we and our peers know. More than one
    /// if it was dialled by a virtual address, or has several.
    pub fn ips_of(&self, node: NodeId) -> BTreeSet<IpAddr> {
        let heard = self.heard_of(node).map(|address| address.ip());
        heard.chain(self.ip_of(node)).collect()
    }

    /// Where nodes may be found, for a core that replaces this one.
    pub fn known_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let wanted = self.book.remote().filter(|(address, entry)| {
            !entry.is_in_time_wait && address.port() != 0 && !self.book.is_own(*address)
        });
        wanted.map(|(address, _)| address)
    }

    /// How many groups our peers are in, judged by whom they list: two peers are of one group if one
    /// of them lists the other, or both somebody else. Those that have listed nobody yet are not
    /// counted together with others.
    pub fn groups_of_peers(&self) -> usize {
        let mut groups: Vec<BTreeSet<NodeId>> = Vec::new();
        for (_, link, peer) in self.links.established() {
            let listed = link.received_topology.iter().flat_map(|list| list.keys());
            let mut group: BTreeSet<NodeId> =
                listed.copied().filter(|node| *node != self.me).collect();
            group.insert(peer.node);
            let (same, others): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|other| !other.is_disjoint(&group));
            group.extend(same.into_iter().flatten());
            groups = others;
            groups.push(group);
        }
        groups.len()
    }

    /// The number that the next dialled link will have.
    pub fn next_link(&self) -> u32 {
        self.next_link
    }

    /// What has happened since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

//! A member at a glance: for `status`, for metrics, and for whoever needs an address.

use core::net::IpAddr;

use super::Member;
use crate::gmcast::{LinkStatus, Phase};
use crate::id::{NodeId, StateId};
use crate::time::Instant;
use crate::{gcs, gmcast, pc};

/// What a member knows about itself and the group at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Our UUID in this life.
    pub me: NodeId,
    /// Quorum: state, view, weights.
    pub pc: pc::Status,
    /// Where we stand in the group.
    pub gcs: gcs::state::StateKind,
    /// The group's members in index order; empty outside a primary component.
    pub members: Vec<gcs::Member>,
    /// The group's position.
    pub seqno: Option<gcs::Seqno>,
    /// The number of the group's configuration, its history and its protocols.
    pub configuration: Option<(gcs::ConfigurationId, StateId, gcs::Protocols)>,
    /// Do data nodes hold replication back at this moment?
    pub is_flow_paused: bool,
    /// What passed through the group in this life.
    pub traffic: gcs::Counters,
    /// Votes of the members of the primary view, by node; empty outside one.
    pub weights: Vec<(NodeId, u8)>,
    /// The moment of this picture, by the member's own clock.
    pub at: Instant,
    /// Links, whatever their phase.
    pub links: Vec<LinkStatus>,
    /// Where members are reached, several entries for some: first the far end of a link or where
    /// others say the member is, then other addresses that it may call from.
    pub addresses: Vec<(NodeId, IpAddr)>,
    /// What happened to links since the start.
    pub counters: gmcast::Counters,
}

impl Status {
    /// The address that our established links leave from: the first of them, or the one to `node`.
    pub fn local_address(&self, node: Option<NodeId>) -> Option<IpAddr> {
        let established = || self.links.iter().filter(|link| link.phase == Phase::Established);
        let to_node = established().find(|link| node.is_some() && link.node == node);
        to_node.or_else(|| established().next())?.local.map(|local| local.ip().to_canonical())
    }

    /// Where a node is.
    pub fn address_of(&self, node: &NodeId) -> Option<IpAddr> {
        self.addresses.iter().find(|(known, _)| known == node).map(|(_, address)| *address)
    }

    /// Every address that a node may call from.
    pub fn addresses_of(&self, node: &NodeId) -> Vec<IpAddr> {
        self.addresses.iter().filter(|(known, _)| known == node).map(|(_, ip)| *ip).collect()
    }
}

impl Member {
    /// Takes the picture.
    pub fn status(&self) -> Status {
        let layers = &self.layers;
        let members = layers.gcs.members().to_vec();
        let known = layers.pc.known().keys();
        // The far end of the link comes first, then whatever else the node may call from.
        let addresses = known.flat_map(|node| {
            let first = layers.gmcast.ip_of(*node);
            let others = layers.gmcast.ips_of(*node);
            let others = others.into_iter().filter(move |other| Some(*other) != first);
            first.into_iter().chain(others).map(|address| (*node, address))
        });
        Status {
            me: layers.me,
            pc: layers.pc.status(),
            gcs: layers.gcs.state(),
            addresses: addresses.collect(),
            members,
            seqno: layers.gcs.seqno(),
            configuration: layers.gcs.position(),
            is_flow_paused: layers.gcs.is_flow_control_paused(),
            traffic: layers.gcs.counters(),
            weights: layers.pc.weights().collect(),
            at: self.now,
            links: layers.gmcast.links().collect(),
            counters: layers.gmcast.counters(),
        }
    }
}

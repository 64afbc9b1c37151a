//! The group at one moment, in words and numbers that people and programs read.

use galera_protocol::gcs::{Member, Seqno};
use galera_protocol::member::Status;
use serde::Serialize;

use crate::ops::quorum_margin;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Is there a primary component, and are we in it?
    pub is_primary: bool,
    /// The number of its configuration.
    pub configuration: Option<i64>,
    /// The identity of its history.
    pub state_uuid: Option<String>,
    /// Its position: the last write-set or configuration change.
    pub seqno: Option<i64>,
    /// Negotiated protocols: group communication, replication, application.
    pub protocols: Option<String>,
    /// The view of the primary-component layer.
    pub view: String,
    /// All votes in it.
    pub votes: u32,
    /// Votes that may be lost at once without losing the primary component.
    pub quorum_margin: u32,
    /// Do servers hold replication back at this moment?
    pub is_flow_control_paused: bool,
    /// The members in the group's order: the first one is its representative.
    pub members: Vec<MemberReport>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberReport {
    /// Its place in the group's order.
    pub index: usize,
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its status in the group.
    pub state: String,
    /// Its site.
    pub segment: u8,
    /// Its vote.
    pub weight: u8,
    /// Where clients reach it; empty for a member without data.
    pub incoming_address: String,
    /// Where its group links are, as we see it.
    pub address: Option<String>,
    /// The highest protocols that it supports.
    pub protocols: String,
    /// The lowest seqno in its write-set cache.
    pub cached: Option<i64>,
    /// The last seqno that it said it applied; members say so now and then.
    pub last_applied: Option<i64>,
    /// Why it is desynced: the number of reasons.
    pub desync_count: u32,
    /// It leads membership changes and state exchanges.
    pub is_representative: bool,
    /// It has no data: an arbitrator, or one of us.
    pub is_stateless: bool,
    /// It is this process.
    pub is_us: bool,
    /// The name of the member that sends it a state.
    pub donor: Option<String>,
    /// The name of the member that it sends a state to.
    pub joiner: Option<String>,
}

impl Report {
    /// Describes what a member knows.
    pub fn new(status: &Status) -> Self {
        let members = status.members.iter().enumerate();
        let position = status.configuration;
        Self {
            is_primary: position.is_some(),
            configuration: position.map(|(id, _, _)| id.0),
            state_uuid: position.map(|(_, state, _)| state.to_string()),
            seqno: status.seqno.and_then(defined),
            protocols: position.map(|(_, _, protocols)| protocols.to_string()),
            view: status.pc.view.to_string(),
            votes: status.pc.cluster_weight,
            quorum_margin: quorum_margin(status.pc.cluster_weight),
            is_flow_control_paused: status.is_flow_paused,
            members: members.map(|(index, member)| describe(status, index, member)).collect(),
        }
    }
}

fn describe(status: &Status, index: usize, member: &Member) -> MemberReport {
    let name_of = |node| {
        let found = status.members.iter().find(|other| Some(other.node) == node);
        found.map(|other| other.name.to_string())
    };
    let weight = status.weights.iter().find(|(node, _)| *node == member.node);
    MemberReport {
        index,
        uuid: member.node.to_string(),
        name: member.name.to_string(),
        state: member.status.to_string(),
        segment: member.segment.0,
        weight: weight.map_or(0, |(_, weight)| *weight),
        incoming_address: member.incoming_address.to_string(),
        address: status.address_of(&member.node).map(|address| address.to_string()),
        protocols: member.protocols.to_string(),
        cached: defined(member.cached),
        last_applied: Some(member.last_applied.0).filter(|seqno| *seqno > 0),
        desync_count: member.desync_count,
        is_representative: index == 0,
        is_stateless: member.is_stateless,
        is_us: member.node == status.me,
        donor: name_of(member.donor).filter(|_| is_joining(member)),
        joiner: name_of(member.joiner).filter(|_| member.desync_count > 0),
    }
}

fn is_joining(member: &Member) -> bool {
    member.status == galera_protocol::gcs::Status::Joiner
}

fn defined(seqno: Seqno) -> Option<i64> {
    seqno.is_defined().then_some(seqno.0)
}

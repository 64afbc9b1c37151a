//! The group in a primary configuration: what an exchange agreed on, and the position since.

use super::flow::FlowCount;
use super::number::{ConfigurationId, Protocols, Seqno};
use super::quorum::Quorum;
use super::roster::Member;
use super::state_message::{StateFlags, StateMessage};
use super::status::Status;
use crate::id::StateId;

/// What holds until the next view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) configuration: ConfigurationId,
    pub(super) state: StateId,
    /// Position after everything delivered so far.
    pub(super) act_id: Seqno,
    /// Position at the exchange, from which caches are judged.
    pub(super) agreed_act_id: Seqno,
    pub(super) protocols: Protocols,
    /// Layout of state messages that every member understands.
    pub(super) version: u8,
    pub(super) flow: FlowCount,
    /// False if we were advised to leave: nothing but the duties of a member is sent then.
    pub(super) is_usable: bool,
}

impl Group {
    /// The group after the exchange: the configuration change takes a seqno of its own from gcs
    /// protocol 1 on.
    pub(super) fn new(quorum: &Quorum) -> Self {
        let own_seqno = i64::from(quorum.numbers_configurations());
        Self {
            configuration: quorum.configuration.next(),
            state: quorum.group,
            act_id: quorum.act_id.advanced_by(own_seqno),
            agreed_act_id: quorum.act_id,
            protocols: quorum.protocols,
            version: quorum.version,
            flow: FlowCount::default(),
            is_usable: true,
        }
    }
}

/// Writes the outcome of an exchange into the members' rows; both in index order.
pub(super) fn apply_quorum(members: &mut [Member], messages: &[StateMessage], quorum: &Quorum) {
    for (member, message) in members.iter_mut().zip(messages) {
        describe(member, message);
        let standing = quorum.standing(message);
        member.status = standing.status;
        member.desync_count = standing.desync_count;
        member.counts_last_applied = standing.counts_last_applied;
        if quorum.protocols.gcs >= 2 && message.group == quorum.group {
            member.last_applied = message.votes.last_applied;
        }
        if member.status <= Status::Primary {
            member.last_applied = Seqno(0);
        }
    }
}

/// Writes what a member says of itself into its row, whether or not there is a quorum.
pub(super) fn describe(member: &mut Member, message: &StateMessage) {
    member.name = message.name.clone();
    member.incoming_address = message.incoming_address.clone();
    member.is_stateless = message.flags.has(StateFlags::STATELESS);
    member.protocols = message.protocols;
    member.cached = message.cached;
}

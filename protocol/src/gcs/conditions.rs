//! What must hold in the group before we take a donor away from it.
//!
//! Other than the donor's choice this is our own manners: the group would grant the request. Nothing but
//! the roster is looked at, so every member would answer the same.

use super::event::WaitReason;
use super::roster::Member;
use super::status::Status;
use crate::id::NodeId;

/// Conditions for a request; by default there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// So many members with data must be SYNCED, the donor among them.
    pub synced_min: usize,
    /// Nobody else may be in a state transfer: neither a joiner nor another backup.
    pub alone: bool,
}

impl Conditions {
    /// What to wait for, if anything.
    pub(super) fn obstacle(self, members: &[Member], me: &NodeId) -> Option<WaitReason> {
        if self.alone && members.iter().any(|member| is_in_transfer(member, me)) {
            return Some(WaitReason::SomebodyJoins);
        }
        let synced = members.iter().filter(|member| {
            member.status == Status::Synced && !member.is_stateless && member.node != *me
        });
        (synced.count() < self.synced_min).then_some(WaitReason::TooFewSynced)
    }
}

/// Who came after a transfer began cannot tell for whom a member is DONOR, nor whether it was desynced by
/// hand: both are left alone.
fn is_in_transfer(member: &Member, me: &NodeId) -> bool {
    match member.status {
        Status::Joiner | Status::Donor => member.node != *me,
        Status::NonPrimary
        | Status::Primary
        | Status::Joined
        | Status::Synced
        | Status::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Segment;

    fn member(number: u8, status: Status) -> Member {
        let node = NodeId::from_bytes([number; 16]);
        Member { status, ..Member::new(node, Segment(0)) }
    }

    fn me() -> NodeId {
        NodeId::from_bytes([9; 16])
    }

    #[test]
    fn nothing_is_waited_for_without_conditions() {
        let members = [member(1, Status::Joiner), member(2, Status::Donor)];
        assert_eq!(Conditions::default().obstacle(&members, &me()), None);
    }

    #[test]
    fn a_joiner_or_its_donor_is_left_alone() {
        let alone = Conditions { alone: true, ..Conditions::default() };
        let busy = Some(WaitReason::SomebodyJoins);
        assert_eq!(alone.obstacle(&[member(1, Status::Joiner)], &me()), busy);
        assert_eq!(alone.obstacle(&[member(1, Status::Donor)], &me()), busy);
        let only_us = [member(1, Status::Synced), member(9, Status::Joiner)];
        assert_eq!(alone.obstacle(&only_us, &me()), None);
    }

    #[test]
    fn arbitrators_and_ourselves_do_not_count_as_synced() {
        let two = Conditions { synced_min: 2, ..Conditions::default() };
        let arbitrator = Member { is_stateless: true, ..member(3, Status::Synced) };
        let members = [member(1, Status::Synced), arbitrator, member(9, Status::Synced)];
        assert_eq!(two.obstacle(&members, &me()), Some(WaitReason::TooFewSynced));
        let enough = [member(1, Status::Synced), member(2, Status::Synced)];
        assert_eq!(two.obstacle(&enough, &me()), None);
    }
}

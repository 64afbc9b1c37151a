//! The members of the current component and what the group knows of each.
//!
//! Rows are in index order (ascending UUID) and survive a view change by UUID. Indexes are valid
//! in one component only; whatever must outlive it is kept by UUID.

use super::name::Name;
use super::number::{Protocols, Seqno};
use super::status::Status;
use crate::id::{NodeId, Segment};
use crate::view::Component;

/// One member, as its own state message and later messages describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its UUID.
    pub node: NodeId,
    /// Its name; empty until its first state message.
    pub name: Name,
    /// Where clients reach it; empty for arbitrators.
    pub incoming_address: Name,
    /// Its site.
    pub segment: Segment,
    /// Its status.
    pub status: Status,
    /// It has no data: an arbitrator.
    pub is_stateless: bool,
    /// The highest protocols that it supports.
    pub protocols: Protocols,
    /// The lowest seqno in its write-set cache, as of the last exchange.
    pub cached: Seqno,
    /// How many reasons it has to be DONOR.
    pub desync_count: u32,
    /// The last seqno that it said it applied.
    pub last_applied: Seqno,
    /// Its last applied seqno counts in the commit cut.
    pub counts_last_applied: bool,
    /// Who sends it a state transfer.
    pub donor: Option<NodeId>,
    /// To whom it sends one.
    pub joiner: Option<NodeId>,
}

impl Member {
    /// A member of which nothing is known yet.
    pub fn new(node: NodeId, segment: Segment) -> Self {
        Self {
            node,
            name: Name::default(),
            incoming_address: Name::default(),
            segment,
            status: Status::NonPrimary,
            is_stateless: false,
            protocols: Protocols::default(),
            cached: Seqno::UNDEFINED,
            desync_count: 0,
            last_applied: Seqno(0),
            counts_last_applied: false,
            donor: None,
            joiner: None,
        }
    }
}

/// A change of one member's status inside a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusChange {
    pub(super) node: NodeId,
    pub(super) from: Status,
    pub(super) to: Status,
}

/// The rows. As many as the component has members.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: Vec<Member>,
}

impl Roster {
    /// Takes a component's members; rows of those who stay are kept.
    pub(super) fn install(&mut self, component: &Component) {
        let old = core::mem::take(&mut self.members);
        let row = |(node, segment): (&NodeId, &Segment)| {
            let known = old.iter().find(|member| member.node == *node).cloned();
            let fresh = || Member::new(*node, *segment);
            Member { segment: *segment, ..known.unwrap_or_else(fresh) }
        };
        self.members = component.members.iter().map(row).collect();
    }

    /// All rows in index order.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// All rows in index order, to be rewritten at the end of an exchange.
    pub(super) fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// The row of a member.
    pub(super) fn member(&self, node: &NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == *node)
    }

    fn member_mut(&mut self, node: &NodeId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.node == *node)
    }

    /// Nobody has a usable status: the component is not primary.
    pub(super) fn lose_primary(&mut self) {
        for member in &mut self.members {
            member.status = Status::NonPrimary;
            member.desync_count = 0;
            member.counts_last_applied = false;
        }
    }

    /// A transfer begins: PRIM → JOINER, SYNCED → DONOR.
    pub(super) fn begin_transfer(
        &mut self,
        requester: &NodeId,
        donor: &NodeId,
    ) -> Vec<StatusChange> {
        let mut changes = Vec::new();
        if let Some(row) = self.member_mut(requester) {
            row.donor = Some(*donor);
            changes.extend(row.become_status(Status::Joiner));
        }
        if let Some(row) = self.member_mut(donor) {
            row.joiner = Some(*requester);
            row.desync_count = row.desync_count.saturating_add(1);
            changes.extend(row.become_status(Status::Donor));
        }
        changes
    }

    /// A member wanted to be desynced: one more reason to be DONOR.
    pub(super) fn begin_desync(&mut self, node: &NodeId) -> Option<StatusChange> {
        let row = self.member_mut(node)?;
        row.desync_count = row.desync_count.saturating_add(1);
        if row.desync_count == 1 {
            (row.donor, row.joiner) = (Some(*node), Some(*node));
        }
        row.become_status(Status::Donor)
    }

    /// A JOIN: one reason less to be DONOR, or the end of being JOINER.
    pub(super) fn join(&mut self, sender: &NodeId, code: i64) -> Option<StatusChange> {
        let row = self.member_mut(sender)?;
        match row.status {
            Status::Donor => {
                row.desync_count = row.desync_count.saturating_sub(1);
                let is_last = row.desync_count == 0;
                is_last.then(|| row.become_status(Status::Joined)).flatten()
            }
            Status::Joiner if code >= 0 => row.become_status(Status::Joined),
            Status::Joiner => row.become_status(Status::Primary),
            // Duplicates are normal: a JOIN is sent again if a view change came in between.
            Status::NonPrimary
            | Status::Primary
            | Status::Joined
            | Status::Synced
            | Status::Unknown(_) => None,
        }
    }

    /// A SYNC: JOINED → SYNCED, anything else stays.
    pub(super) fn sync(&mut self, sender: &NodeId) -> Option<StatusChange> {
        let row = self.member_mut(sender)?;
        if row.status != Status::Joined {
            return None;
        }
        row.counts_last_applied = !row.is_stateless;
        row.become_status(Status::Synced)
    }

    /// A LAST: the sender applied up to `seqno`.
    pub(super) fn last_applied(&mut self, sender: &NodeId, seqno: Seqno) {
        if let Some(row) = self.member_mut(sender) {
            row.last_applied = row.last_applied.max(seqno);
        }
    }
}

impl Member {
    fn become_status(&mut self, to: Status) -> Option<StatusChange> {
        let from = core::mem::replace(&mut self.status, to);
        (from != to).then_some(StatusChange { node: self.node, from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ViewId, ViewKind};

    const DONOR: NodeId = NodeId::from_bytes([1; 16]);
    const REQUESTER: NodeId = NodeId::from_bytes([2; 16]);

    fn roster(donor: Status, requester: Status) -> Roster {
        let members = [DONOR, REQUESTER].map(|node| (node, Segment(0))).into_iter().collect();
        let id = ViewId::new(ViewKind::Primary, DONOR, 1);
        let mut roster = Roster::default();
        roster.install(&Component { id, is_bootstrap: false, members });
        roster.members[0].status = donor;
        roster.members[1].status = requester;
        roster
    }

    fn statuses(roster: &Roster) -> (Status, Status) {
        (roster.members[0].status, roster.members[1].status)
    }

    #[test]
    fn a_donor_is_joined_when_its_last_reason_to_be_desynced_ends() {
        let mut roster = roster(Status::Synced, Status::Primary);
        roster.begin_transfer(&REQUESTER, &DONOR);
        assert_eq!(statuses(&roster), (Status::Donor, Status::Joiner));
        assert_eq!(roster.begin_desync(&DONOR), None);
        assert_eq!(roster.join(&DONOR, 0), None);
        assert_eq!(roster.members[0].desync_count, 1);
        let change = roster.join(&DONOR, 0).expect("the last one");
        assert_eq!((change.from, change.to), (Status::Donor, Status::Joined));
        assert_eq!(roster.join(&DONOR, 0), None);
        assert_eq!(roster.sync(&DONOR).map(|change| change.to), Some(Status::Synced));
        assert_eq!(roster.sync(&DONOR), None);
    }

    #[test]
    fn a_joiner_whose_transfer_failed_is_without_state_again() {
        let mut failed = roster(Status::Synced, Status::Joiner);
        failed.join(&REQUESTER, -22);
        assert_eq!(statuses(&failed).1, Status::Primary);
        let mut done = roster(Status::Synced, Status::Joiner);
        done.join(&REQUESTER, 0);
        assert_eq!(statuses(&done).1, Status::Joined);
    }

    #[test]
    fn join_and_sync_change_nothing_for_members_without_a_transfer() {
        for status in [Status::NonPrimary, Status::Primary, Status::Synced] {
            let mut roster = roster(status, Status::Primary);
            assert_eq!((roster.join(&DONOR, 0), roster.sync(&DONOR)), (None, None));
            assert_eq!(statuses(&roster).0, status);
        }
    }

    #[test]
    fn rows_survive_a_view_change_by_uuid() {
        let mut roster = roster(Status::Donor, Status::Joiner);
        roster.members[0].joiner = Some(REQUESTER);
        let newcomer = NodeId::from_bytes([0; 16]);
        let members = [newcomer, DONOR].map(|node| (node, Segment(3))).into_iter().collect();
        let id = ViewId::new(ViewKind::Primary, newcomer, 2);
        roster.install(&Component { id, is_bootstrap: false, members });
        assert_eq!(roster.members[0], Member::new(newcomer, Segment(3)));
        assert_eq!(roster.members[1].joiner, Some(REQUESTER));
        assert!(roster.member(&REQUESTER).is_none());
    }
}

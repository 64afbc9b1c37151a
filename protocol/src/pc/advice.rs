//! Rules that concern the whole process: PC states the case, the caller carries it out.
//!
//! Weight 0 makes a member invisible to every vote, but not to the rules that count *members*: the
//! re-bootstrap after a lost quorum wants everybody of the last primary view back, the automatic
//! recovery after an outage wants exactly its members. So a guest must be gone when it is not in
//! that view, and must not be gone when it is (spec 03 §7.2 d–f, §7.3).

use std::collections::BTreeSet;

use super::decision::LastPrimary;
use super::exchange::Exchange;
use super::saved::SavedView;
use crate::id::{NodeId, ViewKind};

/// What the process should do about the group's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Leave at once and try again after a long pause: here we can only be in the way.
    Leave(LeaveReason),
    /// The primary view is lost and we were in it; see [`PrimaryLost::remedy`].
    PrimaryLost(PrimaryLost),
}

/// Why staying would only be in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaveReason {
    /// One member more than the last primary view had blocks the group's automatic recovery.
    #[error("the group is not primary and does not know this member")]
    Fresh,
    /// The same, with an identity that belongs to another view.
    #[error("the group is not primary and the saved view is not its last one")]
    ForeignSavedView,
}

/// The primary view is lost, and we were in it: without us the group may never re-bootstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryLost {
    /// Our identity and the view that was lost.
    pub saved: SavedView,
    /// It was lost while the next view was being agreed on, so an INSTALL may have been delivered
    /// elsewhere and mark this very UUID.
    pub is_mid_exchange: bool,
}

/// How a member that lost its primary view waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Stop the stack and start it again at once from the saved view, in the next incarnation: then
    /// the group recovers by itself whoever survived.
    RestartFromSavedView,
    /// Stay under the same UUID: a new incarnation would not lift a mark on the old one.
    Stay,
}

impl PrimaryLost {
    /// `exchange_complete`: the group's state messages of the lost view all arrived, so everybody
    /// had installed it and nobody can hold us for one who may be primary elsewhere.
    pub const fn remedy(&self, exchange_complete: bool) -> Remedy {
        if exchange_complete && !self.is_mid_exchange {
            Remedy::RestartFromSavedView
        } else {
            Remedy::Stay
        }
    }
}

/// What this life of the member has to do with primary views.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// It was in one.
    pub(super) was_primary: bool,
    /// It saw an INSTALL too late to take part. Others may have become primary by it, or hold us
    /// for one who did: under this UUID we are somebody they may have to wait for.
    pub(super) missed_install: bool,
}

/// The case of a member whose state exchange ended without a primary view.
pub(super) struct NotPrimary<'a> {
    pub(super) me: &'a NodeId,
    pub(super) standing: Standing,
    pub(super) restored: Option<&'a SavedView>,
    pub(super) members: &'a BTreeSet<NodeId>,
    pub(super) exchange: &'a Exchange,
}

impl NotPrimary<'_> {
    /// Should it leave?
    pub(super) fn reason_to_leave(&self) -> Option<LeaveReason> {
        if self.standing.was_primary || self.standing.missed_install {
            return None;
        }
        let Some(saved) = self.restored else {
            return Some(LeaveReason::Fresh);
        };
        let is_alone = self.members.len() == 1;
        let is_known = is_alone || self.is_waited_for() || self.is_fellow_there(saved);
        (!is_known).then_some(LeaveReason::ForeignSavedView)
    }

    /// We belong to the last primary view that the others report: they cannot go on without us.
    fn is_waited_for(&self) -> bool {
        let others = self.exchange.reports().filter(|(source, _)| *source != self.me);
        let last = LastPrimary::find(others.map(|(_, report)| report));
        last.is_some_and(|last| last.nodes.iter().any(|node| node.is_same_node(self.me)))
    }

    /// Somebody else came back from the same view.
    fn is_fellow_there(&self, saved: &SavedView) -> bool {
        let view = saved.view.with_kind(ViewKind::NonPrimary);
        let mut others = self.exchange.self_entries().filter(|(source, _)| *source != self.me);
        others.any(|(_, entry)| entry.last_primary == view)
    }
}

#[cfg(test)]
mod tests;

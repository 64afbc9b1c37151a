//! What PC tells people.

use std::collections::BTreeSet;

use super::decision::Decision;
use super::quorum::Tally;
use super::state::State;
use crate::id::{NodeId, ViewId};

/// What people may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another state.
    StateChanged(State),
    /// The component that follows; `departed` are the nodes of the last one that are not in it,
    /// however they went.
    Published {
        /// The PC view.
        view: ViewId,
        /// Who is known and not in it.
        departed: BTreeSet<NodeId>,
    },
    /// What is left of the primary view is not enough.
    QuorumLost(Tally),
    /// It is not, and options say to go on.
    QuorumIgnored(Tally),
    /// The state exchange is complete.
    Decided(Decision),
    /// Another primary component was met and is about to stop. The member that reported it.
    ConflictIgnored(NodeId),
    /// A member has another weight.
    WeightChanged {
        /// Whose.
        node: NodeId,
        /// The new one.
        weight: Option<u8>,
    },
    /// These members of the last primary view are missing from its re-bootstrap.
    MembersForgotten(BTreeSet<NodeId>),
    /// An INSTALL came too late; these members may have become primary by it.
    MarkedUnknown(BTreeSet<NodeId>),
    /// An INSTALL of this member came when the view was installed already.
    BootstrapIgnored(NodeId),
    /// No automatic recovery: this node was in another primary view since.
    RecoveryRefused(NodeId),
    /// A message that has no place any more, of this member, was dropped.
    MessageDropped(NodeId),
    /// EVS did not take a message because the next view is coming; nobody waits for it any more.
    SendOvertaken,
}

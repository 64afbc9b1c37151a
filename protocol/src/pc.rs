//! The primary component: may this set of members act (spec 03).

use bytes::Bytes;
use std::collections::BTreeSet;

use crate::id::{NodeId, ViewId};
use crate::message::Delivery;
use crate::view::{Component, View};

/// What happens to PC.
#[derive(Clone, Debug)]
pub enum Input {
    /// A TRANS or REG view from EVS.
    View(View),
    /// A message from EVS, in order.
    Message(Delivery),
    /// We are leaving: the coming loss of quorum is intended.
    Close,
}

/// What PC wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To EVS, always with order SAFE.
    Send { user_type: u8, payload: Bytes },
    /// To GCS: a component. The nil-node, empty one ends a leave.
    Component(Component),
    /// To GCS: a message of the last delivered component, header already taken off.
    Deliver(Delivery),
    /// To gmcast, *after* the component went up.
    PrimaryView { members: BTreeSet<NodeId> },
    /// To the driver: save this identity and view (`gvwstate.dat`).
    Persist(SavedView),
    /// The stack must stop: counters no longer agree with the group. Drop the links.
    Fatal(Fatal),
}

/// What survives a restart: our identity and the last primary view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedView {
    /// Our UUID.
    pub me: NodeId,
    /// The last primary view.
    pub view: ViewId,
    /// Its members.
    pub members: BTreeSet<NodeId>,
}

/// Why the stack cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// Another member says it was primary where we say otherwise.
    #[error("conflicting primary components")]
    ConflictingPrimaries,
}

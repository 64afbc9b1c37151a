//! Extended virtual synchrony: membership, total order, retransmission (spec 02).

use bytes::Bytes;
use std::collections::BTreeSet;

use crate::id::NodeId;
use crate::message::{Delivery, Order};
use crate::view::View;

/// What happens to EVS.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start: CLOSED → JOINING.
    Open,
    /// A message from gmcast with its originator.
    Message { source: NodeId, payload: Bytes },
    /// The layer above sends. Refusals are returned by `Evs::send` (not through this enum).
    Send { order: Order, user_type: u8, payload: Bytes },
    /// Leave the group gracefully.
    Close,
    /// Ban this node (manual eviction).
    Evict(NodeId),
    /// A deadline has passed.
    Timeout,
}

/// What EVS wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To gmcast.
    Send { target: Option<NodeId>, payload: Bytes },
    /// To gmcast: lift this node's time wait.
    Welcome(NodeId),
    /// To gmcast: refuse this node.
    Evict(NodeId),
    /// To gmcast, *before* the view goes up to PC.
    RegularView { members: BTreeSet<NodeId>, left: BTreeSet<NodeId> },
    /// To PC: TRANS or REG view.
    View(View),
    /// To PC: the next message in order.
    Deliver(Delivery),
    /// CLOSED was reached.
    Closed,
}

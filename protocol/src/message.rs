//! A message on its way between EVS, PC and GCS, and why one cannot be sent.

use bytes::Bytes;

use crate::id::NodeId;

/// Delivery guarantee of an EVS user message. Everything that PC and GCS send is [`Order::Safe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Order {
    /// Never passed up: fills gaps and ends a leave.
    Drop = 0,
    /// No order.
    Unreliable = 1,
    /// In the sender's order.
    Fifo = 2,
    /// In the one total order.
    Agreed = 3,
    /// In the total order, once every member has it.
    Safe = 4,
}

impl Order {
    /// The order with this number on the wire, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Drop),
            1 => Some(Self::Unreliable),
            2 => Some(Self::Fifo),
            3 => Some(Self::Agreed),
            4 => Some(Self::Safe),
            _ => None,
        }
    }
}

/// One message in delivery order. Own messages come back this way too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Who sent it.
    pub source: NodeId,
    /// Its guarantee.
    pub order: Order,
    /// EVS user type; above PC it is the GCS message type.
    pub user_type: u8,
    /// What it carries for the layer above.
    pub payload: Bytes,
}

/// Why a layer did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// A membership change is under way, or the window is full: try after the next view.
    #[error("send message: membership change in progress, try again")]
    TryAgain,
    /// Not a member of a primary component.
    #[error("send message: not connected to a primary component")]
    NotConnected,
    /// Empty, or longer than the layer's limit.
    #[error("send message: {length} bytes, limit {limit}")]
    Size {
        /// Bytes asked for.
        length: usize,
        /// The layer's limit in bytes.
        limit: usize,
    },
}

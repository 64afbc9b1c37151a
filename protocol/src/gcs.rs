//! The group above the primary component: states, protocols, donors, requests (spec 04).

use bytes::Bytes;

use crate::message::Delivery;
use crate::view::Component;

/// What happens to GCS.
#[derive(Clone, Debug)]
pub enum Input {
    /// A component from PC.
    Component(Component),
    /// A message from PC.
    Message(Delivery),
    /// The layer below refused a message that it should try again after the next view.
    SendRefused,
    /// A deadline has passed.
    Timeout,
}

/// What GCS wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To PC: one GCS message.
    Send { message_type: u8, payload: Bytes },
}

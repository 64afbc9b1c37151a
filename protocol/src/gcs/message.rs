//! The message types of GCS and one decoder for all of them.
//!
//! The type is the user type of the EVS message that carries it; the body does not repeat it.

use core::fmt;

use bytes::Bytes;

use super::action::Fragment;
use super::code::CodeMessage;
use super::flow::Flow;
use super::state_message::{ExchangeId, StateMessage};
use crate::decode::DecodeError;

/// What a GCS message is, by the numbers of Galera 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// 1: a fragment of an action.
    Action,
    /// 2: the last applied seqno of a data node.
    Last,
    /// 4: begins a state exchange.
    StateUuid,
    /// 5: a node's part of a state exchange.
    StateMessage,
    /// 6: the sender's part of a state transfer ended.
    Join,
    /// 7: the sender keeps up with the group.
    Sync,
    /// 8: flow control.
    Flow,
    /// 9: a vote on an inconsistency. In Galera 3 a local marker that is never sent.
    Vote,
    /// A type that is local to a process, or one that this implementation does not know.
    Other(u8),
}

impl MessageType {
    /// The type with this number on the wire.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Action,
            2 => Self::Last,
            4 => Self::StateUuid,
            5 => Self::StateMessage,
            6 => Self::Join,
            7 => Self::Sync,
            8 => Self::Flow,
            9 => Self::Vote,
            other => Self::Other(other),
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Action => 1,
            Self::Last => 2,
            Self::StateUuid => 4,
            Self::StateMessage => 5,
            Self::Join => 6,
            Self::Sync => 7,
            Self::Flow => 8,
            Self::Vote => 9,
            Self::Other(number) => number,
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Action => "ACTION",
            Self::Last => "LAST",
            Self::StateUuid => "STATE_UUID",
            Self::StateMessage => "STATE_MSG",
            Self::Join => "JOIN",
            Self::Sync => "SYNC",
            Self::Flow => "FLOW",
            Self::Vote => "VOTE",
            Self::Other(0) => "ERROR",
            Self::Other(3) => "COMPONENT",
            Self::Other(10) => "CAUSAL",
            Self::Other(number) => return write!(f, "unknown type {number}"),
        })
    }
}

/// A decoded GCS message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A fragment of an action.
    Action(Fragment),
    /// The last applied seqno of a data node.
    Last(CodeMessage),
    /// Begins a state exchange.
    StateUuid(ExchangeId),
    /// A node's part of a state exchange.
    State(Box<StateMessage>),
    /// The sender's part of a state transfer ended.
    Join(CodeMessage),
    /// The sender keeps up with the group.
    Sync(CodeMessage),
    /// Flow control.
    Flow(Flow),
    /// A vote on an inconsistency.
    Vote(CodeMessage),
    /// A type that is not sent, or not known; its body untouched.
    Other {
        /// The number on the wire.
        number: u8,
        /// The body.
        payload: Bytes,
    },
}

impl Message {
    /// Decodes the body of a message of the type `number`.
    pub fn decode(number: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        Ok(match MessageType::from_number(number) {
            MessageType::Action => Self::Action(Fragment::decode(payload)?),
            MessageType::Last => Self::Last(CodeMessage::decode("LAST", payload)?),
            MessageType::StateUuid => Self::StateUuid(ExchangeId::decode(payload)?),
            MessageType::StateMessage => Self::State(Box::new(StateMessage::decode(payload)?)),
            MessageType::Join => Self::Join(CodeMessage::decode("JOIN", payload)?),
            MessageType::Sync => Self::Sync(CodeMessage::decode("SYNC", payload)?),
            MessageType::Flow => Self::Flow(Flow::decode(payload)?),
            MessageType::Vote => Self::Vote(CodeMessage::decode("VOTE", payload)?),
            MessageType::Other(number) => Self::Other { number, payload: payload.clone() },
        })
    }

    /// Its type.
    pub fn message_type(&self) -> MessageType {
        match self {
            Self::Action(_) => MessageType::Action,
            Self::Last(_) => MessageType::Last,
            Self::StateUuid(_) => MessageType::StateUuid,
            Self::State(_) => MessageType::StateMessage,
            Self::Join(_) => MessageType::Join,
            Self::Sync(_) => MessageType::Sync,
            Self::Flow(_) => MessageType::Flow,
            Self::Vote(_) => MessageType::Vote,
            Self::Other { number, .. } => MessageType::Other(*number),
        }
    }

    /// The body of the message.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Action(fragment) => fragment.encode(),
            Self::Last(code) | Self::Join(code) | Self::Sync(code) | Self::Vote(code) => {
                code.encode()
            }
            Self::StateUuid(exchange) => exchange.encode(),
            Self::State(state) => state.encode(),
            Self::Flow(flow) => flow.encode(),
            Self::Other { payload, .. } => payload.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_number_survives() {
        for number in 0..=u8::MAX {
            assert_eq!(MessageType::from_number(number).number(), number);
        }
    }

    #[test]
    fn unknown_types_survive_decoding() {
        let payload = Bytes::from_static(b"whatever");
        let message = Message::decode(77, &payload).expect("any bytes");
        assert_eq!(message.message_type(), MessageType::Other(77));
        assert_eq!(message.encode(), payload);
    }
}

//! The one ordered queue of what GCS wants done; drained after every input.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Output;
use super::event::Event;
use super::message::MessageType;

#[derive(Debug, Default)]
pub(super) struct Outputs(VecDeque<Output>);

impl Outputs {
    pub(super) fn send(&mut self, message_type: MessageType, payload: Bytes) {
        self.0.push_back(Output::Send { message_type: message_type.number(), payload });
    }

    pub(super) fn event(&mut self, event: Event) {
        self.0.push_back(Output::Event(event));
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.0.pop_front()
    }
}

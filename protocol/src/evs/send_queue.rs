//! Messages of the layer above that wait for the send window.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::message::Order;

/// Payload bytes after which the layer above has to wait. One more message may exceed it.
pub(super) const QUEUE_BYTES_MAX: usize = 1 << 20;

/// One message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) order: Order,
    pub(super) user_type: u8,
    pub(super) payload: Bytes,
}

/// First in, first out, bounded by [`QUEUE_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    messages: VecDeque<Queued>,
    bytes: usize,
}

impl SendQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= QUEUE_BYTES_MAX
    }

    pub(super) fn push(&mut self, message: Queued) {
        self.bytes += Self::cost(&message);
        self.messages.push_back(message);
    }

    pub(super) fn front(&self) -> Option<&Queued> {
        self.messages.front()
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let message = self.messages.pop_front()?;
        self.bytes -= Self::cost(&message);
        Some(message)
    }

    /// An empty payload takes room, too.
    fn cost(message: &Queued) -> usize {
        message.payload.len() + size_of::<Queued>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Queued {
        Queued { order: Order::Safe, user_type: 1, payload: vec![7; length].into() }
    }

    #[test]
    fn the_queue_is_full_at_its_limit_and_empties_in_order() {
        let mut queue = SendQueue::default();
        let mut pushed = 0;
        while !queue.is_full() {
            pushed += 1;
            queue.push(message(10_000 + pushed));
        }
        assert!((90..=105).contains(&pushed), "{pushed}");
        for expected in 1..=pushed {
            assert_eq!(queue.front(), Some(&message(10_000 + expected)));
            assert_eq!(queue.pop(), Some(message(10_000 + expected)));
        }
        assert!(queue.is_empty() && !queue.is_full() && queue.pop().is_none());
        assert_eq!(queue.bytes, 0);
    }
}

//! Sending: the window, the queue, completion and acknowledgement (spec 02 §4.1–4.3).

use bytes::Bytes;
use tracing::trace;

use super::input_map::Held;
use super::message::{
    Body, Flags, Gap, Header, Message, PAYLOAD_BYTES_MAX, USER_TYPE_PROTOCOL, User,
};
use super::send_queue::{Queued, SendQueue};
use super::state::StateKind;
use super::validator::Readers;
use super::{Evs, Failure, FifoSeqno, Output, Seqno, Step};
use crate::id::NodeId;
use crate::message::{Order, SendError};
use crate::planted::Bug;
use crate::time::Instant;

/// Whether a message has to wait for the send window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    /// Its number may be at most so far beyond SAFE.
    Limit(u32),
    /// It goes out at once: keepalives, completion, and whatever must precede a view change.
    Ignored,
}

impl Evs {
    /// Sends a message of the layer above to everybody, ourselves included.
    ///
    /// [`SendError::TryAgain`]: a view is coming, or the queue is full.
    /// [`SendError::NotConnected`]: not a member of a regular view. Afterwards the caller drains
    /// [`Self::poll_output`], unless it is doing so already.
    pub fn send(
        &mut self,
        now: Instant,
        order: Order,
        user_type: u8,
        payload: Bytes,
    ) -> Result<(), SendError> {
        self.now = self.now.max(now);
        let queued = self.accept(order, user_type, payload)?;
        let window = Window::Limit(self.config.user_send_window);
        if self.is_queue_empty() && self.may_send(window) {
            self.send_user(&queued, None);
            self.steps.push_back(Step::Deliver);
        } else if let Some(queue) = self.state.queue_mut() {
            queue.push(queued);
        }
        Ok(())
    }

    fn accept(&self, order: Order, user_type: u8, payload: Bytes) -> Result<Queued, SendError> {
        let (length, limit) = (payload.len(), PAYLOAD_BYTES_MAX);
        if length > limit {
            return Err(SendError::Size { length, limit });
        }
        match self.state.kind() {
            StateKind::Gather | StateKind::Install => Err(SendError::TryAgain),
            StateKind::Closed | StateKind::Joining | StateKind::Leaving => {
                Err(SendError::NotConnected)
            }
            StateKind::Operational if self.state.queue().is_some_and(|q| q.is_full()) => {
                Err(SendError::TryAgain)
            }
            StateKind::Operational => Ok(Queued { order, user_type, payload }),
        }
    }

    pub(super) fn is_queue_empty(&self) -> bool {
        self.state.queue().is_none_or(|queue| queue.is_empty())
    }

    fn may_send(&self, window: Window) -> bool {
        match window {
            Window::Ignored => true,
            Window::Limit(limit) => self.last_sent().next() <= self.map.safe().plus(limit.into()),
        }
    }

    /// Sends what waits, as far as the window allows. False if something waits and the window does
    /// not allow even the first.
    pub(super) fn drain_queue(&mut self, window: Window) -> bool {
        let mut has_sent = false;
        while let Some(queued) = self.state.queue().and_then(|queue| queue.front()).cloned() {
            if !self.may_send(window) {
                return has_sent;
            }
            self.send_user(&queued, None);
            self.state.queue_mut().map(SendQueue::pop);
            has_sent = true;
        }
        true
    }

    /// An empty message: shows that we live, and gives others something to acknowledge.
    pub(super) fn send_empty(&mut self) {
        self.send_user(&Self::empty(), None);
    }

    /// Uses up our numbers up to `seqno`, so that nobody has to wait for us.
    pub(super) fn complete(&mut self, seqno: Seqno) {
        let seqno = seqno.min(self.map.highest_acceptable());
        if self.config.planted.is(Bug::NoCompletion) {
            return;
        }
        while self.last_sent() < seqno {
            let before = self.last_sent();
            self.send_user(&Self::empty(), Some(seqno));
            if self.last_sent() == before {
                return;
            }
        }
    }

    fn empty() -> Queued {
        Queued { order: Order::Drop, user_type: USER_TYPE_PROTOCOL, payload: Bytes::new() }
    }

    /// Gives the message its number and sends it, up to a given number or (without) as far as
    /// anybody is already.
    fn send_user(&mut self, queued: &Queued, up_to: Option<Seqno>) {
        let Some(index) = self.index_of_me() else { return };
        let seqno = self.last_sent().next();
        let range = up_to.unwrap_or_else(|| self.map.highest_seen()).since(seqno);
        let user = User {
            user_type: queued.user_type,
            seq_range: u8::try_from(range.clamp(0, 255)).unwrap_or(u8::MAX),
            seqno,
            aru: self.map.aru(),
            payload: queued.payload.clone(),
        };
        let (order, version, fifo_seqno) = (queued.order, self.config.version, self.take_fifo());
        let held = Held { order, version, fifo_seqno, is_aggregate: false, user };
        self.map.insert_own(index, &held);
        self.map.acknowledge(index, self.map.aru());
        let user = User { aru: self.map.aru(), ..held.user };
        let header = Header { fifo_seqno, ..self.header(order, Flags::NONE) };
        self.transmit(None, &Message { header, body: Body::User(user) });
    }

    /// "I have everything up to here": broadcast, in the current view.
    pub(super) fn send_acknowledgement(&mut self) {
        if self.state.kind() == StateKind::Closed {
            return;
        }
        let has_holes = self.config.planted.is(Bug::AcknowledgesHoles);
        let aru = if has_holes { self.map.highest_seen() } else { self.map.aru() };
        let gap = Gap::acknowledgement(self.last_sent(), aru);
        let header = self.numbered_header(Order::Unreliable, Flags::NONE);
        self.transmit(None, &Message { header, body: Body::Gap(gap) });
    }

    /// A header of the current view, without a number of its own.
    pub(super) fn header(&self, order: Order, flags: Flags) -> Header {
        let (version, view) = (self.config.version, self.view.id);
        Header { order, flags, version, fifo_seqno: FifoSeqno::NONE, source: None, view }
    }

    /// A header of the current view with the next number of this process.
    pub(super) fn numbered_header(&mut self, order: Order, flags: Flags) -> Header {
        let fifo_seqno = self.take_fifo();
        Header { fifo_seqno, ..self.header(order, flags) }
    }

    fn take_fifo(&mut self) -> FifoSeqno {
        let fifo_seqno = FifoSeqno(self.next_fifo);
        self.next_fifo += 1;
        fifo_seqno
    }

    /// The one way out. What could harm the readers does not leave; we do.
    pub(super) fn transmit(&mut self, target: Option<NodeId>, message: &Message) {
        if self.isolated_until.is_some() {
            return;
        }
        let must_cover = self.config.exceeds_servers();
        let readers = Readers { me: self.me, view: &self.view, nodes: &self.nodes, must_cover };
        if let Err(violation) = readers.check(message) {
            return self.fail(Failure::HarmfulMessage(violation));
        }
        trace!(message_type = ?message.body.message_type(), ?target, "evs send");
        self.emit(Output::Send { target, payload: message.encode() });
    }
}

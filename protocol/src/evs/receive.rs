//! What comes in, and which of it is dropped before it reaches a handler (spec 02 §3.7).

use bytes::Bytes;
use tracing::{debug, trace};

use super::inspect::inspect;
use super::message::{Body, Flags, Header, Message};
use super::state::StateKind;
use super::{Evs, FifoSeqno};
use crate::id::{NodeId, ViewId};

/// A message with its originator.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) source: NodeId,
    pub(super) message: Message,
    /// Somebody else passed it on.
    pub(super) is_delegated: bool,
}

impl Incoming {
    pub(super) fn view(&self) -> ViewId {
        self.message.header.view
    }

    pub(super) fn is_retransmission(&self) -> bool {
        self.message.header.flags.contains(Flags::RETRANSMISSION)
    }
}

impl Evs {
    /// A payload from the transport. Nothing changes before all of it is known to make sense.
    pub(super) fn receive(&mut self, transport: NodeId, payload: &Bytes) {
        if self.state.kind() == StateKind::Closed
            || transport == self.me
            || self.evicted.contains(&transport)
        {
            return;
        }
        let message = match Message::decode(payload) {
            Ok(message) => message,
            Err(error) => {
                self.counters.malformed += 1;
                return debug!(%transport, %error, "evs message dropped");
            }
        };
        if self.isolated_until.is_some() {
            return;
        }
        if let Err(violation) = inspect(transport, &message, self.me, &self.view) {
            self.counters.violations += 1;
            return debug!(%transport, %violation, "evs message dropped");
        }
        trace!(%transport, message_type = ?message.body.message_type(), "evs receive");
        let source = message.header.source.unwrap_or(transport);
        self.admit(Incoming { source, message, is_delegated: false });
    }

    fn admit(&mut self, incoming: Incoming) {
        if incoming.source == self.me {
            return;
        }
        let is_known = self.nodes.contains(&incoming.source);
        if !is_known || incoming.message.body.message_type().is_membership() {
            // What changes the membership comes after the answer to what came before it.
            self.pay();
        }
        if !is_known {
            if !incoming.is_delegated {
                self.handle_foreign(incoming);
            }
            return;
        }
        if self.is_left_behind(&incoming) {
            return self.rejoin();
        }
        self.note_early_commit(&incoming);
        if self.is_wanted(&incoming) && self.passes_fifo_filter(&incoming) {
            self.dispatch(incoming);
        }
    }

    fn is_wanted(&mut self, incoming: &Incoming) -> bool {
        let view = incoming.view();
        let is_of_my_view = view == self.view.id;
        let is_retransmission = incoming.is_retransmission();
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&incoming.source) else { return false };
        if !is_retransmission && !incoming.is_delegated {
            node.seen = now;
        }
        let counts = node.is_operational || node.leave.is_some() || is_retransmission;
        let serves = self.state.kind() == StateKind::Leaving && is_of_my_view;
        let is_membership = incoming.message.body.message_type().is_membership();
        let is_awaited = self.pending().is_some_and(|pending| pending.view == view);
        let is_stranger = is_of_my_view && !self.view.contains(&incoming.source);
        (counts || serves) && (is_membership || is_of_my_view || is_awaited) && !is_stranger
    }

    /// Relays may bring a message twice. Gaps are normal: senders number unicast messages, too.
    fn passes_fifo_filter(&mut self, incoming: &Incoming) -> bool {
        let fifo_seqno = incoming.message.header.fifo_seqno;
        if fifo_seqno == FifoSeqno::NONE || incoming.is_retransmission() {
            return true;
        }
        let Some(node) = self.nodes.get_mut(&incoming.source) else { return false };
        let is_new = fifo_seqno > node.last_fifo;
        node.last_fifo = node.last_fifo.max(fifo_seqno);
        is_new
    }

    /// Hands an admitted message to its handler.
    pub(super) fn dispatch(&mut self, incoming: Incoming) {
        match &incoming.message.body {
            Body::User(_) => self.handle_user(incoming),
            Body::Delegate(_) => self.handle_delegate(incoming),
            Body::Gap(_) => self.handle_gap(incoming),
            Body::Join(_) => self.handle_join_message(incoming),
            Body::Install(_) => self.handle_install_message(incoming),
            Body::Leave(_) => self.handle_leave(incoming),
            Body::DelayedList(_) => self.handle_delayed_list(incoming),
        }
    }

    fn handle_delegate(&mut self, incoming: Incoming) {
        let is_from_member = incoming.view() == self.view.id;
        let Body::Delegate(inner) = incoming.message.body else { return };
        let Header { source: Some(source), .. } = inner.header else { return };
        if is_from_member && self.nodes.contains(&source) {
            self.admit(Incoming { source, message: *inner, is_delegated: true });
        }
    }

    /// Is this a message of the past?
    pub(super) fn is_from_previous_view(&self, source: &NodeId, view: ViewId) -> bool {
        let is_behind = self.view.contains(source) && view.seq < self.view.id.seq;
        is_behind || self.previous_views.contains(view)
    }
}

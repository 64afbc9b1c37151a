//! Leaving: gracefully, at once, and others' leaves (spec 02 §7.2).

use super::message::{Body, Flags, Install, Leave, Message, NodeEntry};
use super::nodes::StoredLeave;
use super::receive::Incoming;
use super::sending::Window;
use super::state::{State, StateKind};
use super::{Evs, Output, Timer};
use crate::id::{NodeId, ViewId, ViewKind};
use crate::message::Order;
use crate::view::View;

impl Evs {
    /// Leaves gracefully; during a membership change, after it.
    pub(super) fn close(&mut self) {
        match self.state.kind() {
            StateKind::Closed | StateKind::Leaving => {}
            StateKind::Gather | StateKind::Install => self.is_leave_pending = true,
            StateKind::Joining => {
                self.transition(State::Leaving);
                self.enter_closed();
            }
            StateKind::Operational => self.leave(),
        }
    }

    fn leave(&mut self) {
        self.pay();
        self.drain_queue(Window::Ignored);
        // Without something new to acknowledge the others could wait for a whole period.
        self.send_empty();
        if self.state.kind() != StateKind::Operational {
            return;
        }
        self.transition(State::Leaving);
        self.arm(Timer::Inactivity, self.config.inactive_check_period);
        self.arm(Timer::Retransmission, self.config.keepalive_period);
        self.send_leave();
        if self.view.len() == 1 {
            self.enter_closed();
        }
    }

    /// Says that we leave, and what we have by now.
    pub(super) fn send_leave(&mut self) {
        let leave = Leave { last_sent: self.last_sent(), aru: self.map.aru() };
        let header = self.numbered_header(Order::Unreliable, Flags::NONE);
        let (view, version, fifo_seqno) = (header.view, header.version, header.fifo_seqno);
        self.transmit(None, &Message { header, body: Body::Leave(leave) });
        if let Some(me) = self.nodes.get_mut(&self.me) {
            me.leave = Some(StoredLeave { view, version, fifo_seqno, leave });
        }
    }

    /// CLOSED at once: whoever still counts on us will find out.
    pub(super) fn abandon(&mut self) {
        if self.state.kind() != StateKind::Closed {
            self.enter_closed();
        }
    }

    /// The end: everything that is contiguous is delivered, then the empty view.
    pub(super) fn enter_closed(&mut self) {
        self.deliver();
        let id = self.transitional_id();
        let alone = View::new(id, self.view.version, [self.me].into());
        let partitioned = self.view.iter().filter(|id| **id != self.me).copied().collect();
        self.emit(Output::View(View { partitioned, ..alone }));
        self.deliver_last();
        let end = ViewId::new(ViewKind::Regular, NodeId::NIL, 0);
        self.emit(Output::View(View::new(end, 0, [].into())));
        self.emit(Output::Closed);
        self.transition(State::Closed);
        self.timers.cancel_all();
        self.steps.clear();
    }

    /// Somebody leaves. What it has sent so far still counts.
    pub(super) fn handle_leave(&mut self, incoming: Incoming) {
        let (source, header) = (incoming.source, incoming.message.header);
        let Body::Leave(leave) = incoming.message.body else { return };
        if self.pending().is_some_and(|pending| pending.view == header.view) {
            // It leaves the view that we are about to enter.
            return self.handle_early(incoming);
        }
        if self.is_from_previous_view(&source, header.view) {
            return;
        }
        if header.view != self.view.id && self.view.contains(&source) {
            // It has moved on without us before it left. Its numbers there say nothing here.
            return self.set_inactive(&source);
        }
        let (view, version, fifo_seqno) = (header.view, header.version, header.fifo_seqno);
        let is_news = self.note_leave(source, StoredLeave { view, version, fifo_seqno, leave });
        if view != self.view.id {
            return;
        }
        match self.state.kind() {
            StateKind::Operational => self.restart_gather(),
            StateKind::Gather if is_news && self.pending().is_none() => {
                self.send_and_handle_join();
            }
            StateKind::Gather
            | StateKind::Closed
            | StateKind::Joining
            | StateKind::Install
            | StateKind::Leaving => {}
        }
    }

    /// Stores the LEAVE. True if it acknowledges something new.
    fn note_leave(&mut self, source: NodeId, stored: StoredLeave) -> bool {
        let is_frozen = self.pending().is_some();
        let Some(node) = self.nodes.get_mut(&source) else { return false };
        node.leave = Some(stored);
        node.is_operational = false;
        if stored.view != self.view.id || is_frozen {
            return false;
        }
        let Some(index) = self.view.index_of(&source) else { return false };
        let is_news = self.map.acknowledge(index, stored.leave.aru);
        if is_news {
            self.nodes.mark_alive(&source, self.now);
        }
        is_news
    }

    /// The others go on without us: done.
    pub(super) fn handle_install_while_leaving(&mut self, install: &Install) {
        let entry = install.proposal.nodes.entry(&self.me);
        if entry.is_some_and(NodeEntry::is_leaving) {
            self.release = Some(self.survivors(install));
        }
        if entry.is_some_and(|entry| !entry.is_operational || entry.is_leaving()) {
            self.enter_closed();
        }
    }

    fn survivors(&self, install: &Install) -> View {
        let (members, others): (Vec<_>, Vec<_>) =
            install.proposal.nodes.iter().partition(|(_, entry)| entry.goes_on());
        let ids =
            |nodes: Vec<(&NodeId, &NodeEntry)>| nodes.into_iter().map(|(id, _)| *id).collect();
        let left = others.into_iter().filter(|(_, entry)| entry.is_leaving()).collect();
        let view = View::new(self.transitional_id(), self.view.version, ids(members));
        View { left: ids(left), ..view }
    }

    /// Who goes on without us, and who left with us, if the others have confirmed our leave. To those
    /// that were out of reach then we are lost.
    pub fn release(&self) -> Option<&View> {
        self.release.as_ref()
    }
}

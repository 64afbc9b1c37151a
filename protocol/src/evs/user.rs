//! Reaction to USER messages (spec 02 §4.5, 6.8).

use super::input_map::Held;
use super::message::{Body, Flags, User};
use super::receive::Incoming;
use super::seqno::Range;
use super::state::StateKind;
use super::{Evs, Seqno, Step};
use crate::id::NodeId;

/// How far things were before a message was handled.
#[derive(Clone, Copy)]
pub(super) struct Before {
    aru: Seqno,
    safe: Seqno,
}

impl Evs {
    pub(super) fn handle_user(&mut self, incoming: Incoming) {
        if incoming.view() != self.view.id {
            return self.handle_early(incoming);
        }
        // An accepted INSTALL has fixed what will be delivered.
        if self.pending().is_some() {
            return;
        }
        let Some(index) = self.view.index_of(&incoming.source) else { return };
        let before = self.before();
        let is_retransmission = incoming.is_retransmission();
        let wants_more = incoming.message.header.flags.contains(Flags::MORE);
        let source = incoming.source;
        self.take_in(index, incoming);
        if !is_retransmission {
            self.request_hole(source, index);
        }
        if self.state.kind() == StateKind::Operational {
            return self.owe_for_user(before.aru, wants_more);
        }
        self.answer(before.aru, !wants_more);
        if !is_retransmission {
            self.propose_after_progress(before);
        }
    }

    pub(super) fn before(&self) -> Before {
        Before { aru: self.map.aru(), safe: self.map.safe() }
    }

    /// Puts a message into the map and notes what its sender says it has.
    fn take_in(&mut self, index: usize, incoming: Incoming) {
        let Incoming { source, message, .. } = incoming;
        let Body::User(user) = message.body else { return };
        let lowest_unseen = self.map.range(index).lowest_unseen;
        let aru = user.aru;
        if user.seqno >= lowest_unseen {
            self.insert(index, user, &message.header);
        }
        if self.map.range(index).lowest_unseen > lowest_unseen {
            self.nodes.mark_alive(&source, self.now);
        }
        self.acknowledge_own();
        self.map.acknowledge(index, aru);
    }

    fn insert(&mut self, index: usize, user: User, header: &super::message::Header) {
        let held = Held {
            order: header.order,
            version: header.version,
            fifo_seqno: header.fifo_seqno,
            is_aggregate: header.flags.contains(Flags::AGGREGATE),
            user,
        };
        if let Err(refusal) = self.map.insert(index, held) {
            self.counters.refused += 1;
            tracing::debug!(?refusal, index, "evs user message refused");
        }
    }

    fn acknowledge_own(&mut self) {
        if let Some(me) = self.index_of_me() {
            self.map.acknowledge(me, self.map.aru());
        }
    }

    fn request_hole(&mut self, source: NodeId, index: usize) {
        let Range { lowest_unseen, highest_seen } = self.map.range(index);
        if highest_seen > lowest_unseen {
            self.request_retransmission(source, source, lowest_unseen, highest_seen);
        }
    }

    /// In GATHER: once everything that can be safe has arrived, propose again.
    pub(super) fn propose_after_progress(&mut self, before: Before) {
        let has_progressed = self.map.aru() != before.aru || self.map.safe() != before.safe;
        if self.state.kind() == StateKind::Gather
            && self.pending().is_none()
            && has_progressed
            && self.consensus().highest_reachable_safe() == Some(self.map.aru())
            && !self.consensus().is_reached()
        {
            self.send_and_handle_join();
        }
    }

    /// A message from inside the view that is being installed: its sender has seen everybody's
    /// install gap, so we need not wait for those that were lost on the way to us. The message waits
    /// until we are in the view.
    pub(super) fn handle_early(&mut self, incoming: Incoming) {
        let is_operational = self.nodes.is_operational(&incoming.source);
        let Some(pending) = self.state.pending_mut().filter(|p| p.view == incoming.view()) else {
            return;
        };
        let is_late = pending.installed.contains(&incoming.source);
        if is_operational && (self.config.exceeds_servers() || !is_late) {
            pending.stash(incoming);
            self.follow_into_view();
        }
    }

    fn follow_into_view(&mut self) {
        if self.state.kind() == StateKind::Gather {
            self.enter_install();
        }
        self.mark_all_installed();
        self.enter_operational();
    }

    /// Runs the messages that came early, after everything else that follows the view.
    pub(super) fn schedule_stash(&mut self, stash: Vec<Incoming>) {
        self.steps.extend(stash.into_iter().map(Step::Handle));
    }
}

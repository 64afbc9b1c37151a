//! Reaction to JOINs, our own included (spec 02 §6.4).

use tracing::debug;

use super::gather::Announce;
use super::message::{Body, Flags, Message};
use super::nodes::Join;
use super::receive::Incoming;
use super::state::{State, StateKind};
use super::{Evs, Step, Timer};
use crate::id::NodeId;
use crate::message::Order;
use crate::planted::Bug;
use crate::time::Duration;

/// A JOIN in reaction to a JOIN is sent at most this often.
pub(super) const JOIN_PERIOD: Duration = Duration::from_millis(100);

/// JOINs of one membership change that are sent late instead of not at all. Enough for a guest
/// that learns of others, of their views and of a death; stale ones can chase each other, so there
/// is an end to them.
const LATE_JOINS_MAX: u32 = 4;

impl Evs {
    pub(super) fn handle_join_message(&mut self, incoming: Incoming) {
        let (view, version) = (incoming.view(), incoming.message.header.version);
        let representative_is_ahead = self
            .pending()
            .is_some_and(|pending| pending.join.source == incoming.source && pending.view == view);
        if representative_is_ahead {
            return self.follow_representative(incoming);
        }
        let Body::Join(proposal) = incoming.message.body else { return };
        self.handle_join(Join { source: incoming.source, version, view, proposal });
    }

    /// The representative is in the new view and leaves it already. So everybody has installed it.
    fn follow_representative(&mut self, incoming: Incoming) {
        if self.state.kind() != StateKind::Install {
            return;
        }
        self.nodes.mark_alive(&incoming.source, self.now);
        self.mark_all_installed();
        self.enter_operational();
        if !self.is_leave_pending {
            self.steps.push_back(Step::Handle(incoming));
        }
    }

    pub(super) fn handle_join(&mut self, join: Join) {
        if self.state.kind() == StateKind::Leaving {
            return self.handle_join_while_leaving(join);
        }
        if self.is_from_previous_view(&join.source, join.view) || !self.prepare_for(&join) {
            return;
        }
        let source = join.source;
        if self.view.contains(&source) && join.view.seq > self.view.id.seq {
            // It has moved on without us; we meet again as strangers.
            return self.set_inactive(&source);
        }
        if !self.learn_nodes(&join) {
            return debug!(%source, "evs join lists too many nodes");
        }
        for (_, entry) in join.proposal.nodes.iter().filter(|(_, e)| !e.view.node.is_nil()) {
            self.previous_views.collect(entry.view);
        }
        self.note_opinion_of_me(&join);
        self.store(join.clone());
        self.take_over_acknowledgements(&join);
        self.request_missing();
        self.resend_leaves(&join);
        self.form_opinions(&join);
        self.propose_or_install();
    }

    /// Gets to GATHER without an INSTALL, if this JOIN is a reason to. False if it is not.
    fn prepare_for(&mut self, join: &Join) -> bool {
        match self.pending() {
            Some(pending) if pending.join.source == join.source => {
                self.enter_gather(Announce::Nothing);
            }
            Some(_) if self.is_install_refused_by(join) => self.restart_gather(),
            // The sender has not seen the INSTALL yet, or not its repetition.
            Some(pending) if self.consensus().is_consistent(&pending.join) => return false,
            Some(_) => self.enter_gather(Announce::Nothing),
            None if self.state.kind() != StateKind::Gather => self.enter_gather(Announce::Nothing),
            None => {}
        }
        matches!(self.state, State::Gather(_))
    }

    /// Who wants to go on without us is not somebody to go on with.
    fn note_opinion_of_me(&mut self, join: &Join) {
        match join.proposal.nodes.entry(&self.me) {
            Some(entry) if entry.is_operational => self.nodes.mark_alive(&join.source, self.now),
            Some(_) => self.set_inactive(&join.source),
            None => {}
        }
    }

    fn store(&mut self, join: Join) {
        if let Some(node) = self.nodes.get_mut(&join.source) {
            node.join = Some(join);
        }
    }

    fn take_over_acknowledgements(&mut self, join: &Join) {
        if join.source == self.me || join.view != self.view.id {
            return;
        }
        self.acknowledge_entries(join);
        self.complete(self.highest_seen_in(join));
    }

    /// Everybody's acknowledgements as the sender knows them. True if one of them is news.
    fn acknowledge_entries(&mut self, join: &Join) -> bool {
        let mut is_news = false;
        for (id, entry) in join.proposal.nodes.filtered(|entry| entry.view == self.view.id) {
            let Some(index) = self.view.index_of(id).filter(|_| *id != self.me) else { continue };
            is_news |= self.map.acknowledge(index, entry.safe);
        }
        is_news
    }

    /// Passes on LEAVEs that the sender of this JOIN has not seen.
    fn resend_leaves(&mut self, join: &Join) {
        if join.source == self.me || join.view != self.view.id {
            return;
        }
        for id in self.nodes.ids() {
            if self.has_missed_leave(join, &id) {
                self.delegate_leave(id);
            }
        }
    }

    fn has_missed_leave(&self, join: &Join, id: &NodeId) -> bool {
        let Some(node) = self.nodes.get(id).filter(|node| node.leave.is_some()) else {
            return false;
        };
        let entry = join.proposal.nodes.entry(id).filter(|entry| entry.view == self.view.id);
        !node.is_inactive && !entry.is_some_and(|entry| entry.is_leaving())
    }

    fn delegate_leave(&mut self, source: NodeId) {
        let Some(stored) = self.nodes.get(&source).and_then(|node| node.leave) else { return };
        if stored.view != self.view.id {
            return;
        }
        let mut header = self.header(Order::Unreliable, Flags::RETRANSMISSION);
        header.fifo_seqno = stored.fifo_seqno;
        header.version = stored.version;
        header.source = Some(source);
        let inner = Box::new(Message { header, body: Body::Leave(stored.leave) });
        let header = self.numbered_header(Order::Unreliable, Flags::NONE);
        self.transmit(None, &Message { header, body: Body::Delegate(inner) });
    }

    /// Answers with our own view of things if that has changed, and decides if nobody differs.
    fn propose_or_install(&mut self) {
        let is_news = self.renew_own_join();
        if is_news && !self.is_settled_by_us() {
            self.send_join_soon();
        }
        self.install_if_agreed();
    }

    /// An INSTALL of ours tells everybody all that a JOIN would.
    fn is_settled_by_us(&self) -> bool {
        let consensus = self.consensus();
        self.nodes.representative() == Some(self.me)
            && consensus.is_reached()
            && (consensus.is_reached_elsewhere() || !self.config.exceeds_servers())
    }

    /// Existing members drop a JOIN that comes within [`JOIN_PERIOD`] of their last one, and then the
    /// whole group waits a second for the repetition. Ours is sent when the period is over.
    fn send_join_soon(&mut self) {
        let since = self.last_join_sent.map(|last| self.now.saturating_since(last));
        match since.and_then(|since| JOIN_PERIOD.checked_sub(since)) {
            Some(rest) if !rest.is_zero() => {
                if self.late_joins < LATE_JOINS_MAX {
                    self.arm(Timer::Soon, rest);
                }
            }
            Some(_) | None => self.send_join(),
        }
    }

    /// Sends the JOIN that came too soon after another one.
    pub(super) fn send_late_join(&mut self) {
        if self.late_joins < LATE_JOINS_MAX {
            self.late_joins += 1;
            self.send_join();
        }
    }

    /// Sends the INSTALL if it is ours to send.
    pub(super) fn install_if_agreed(&mut self) {
        let is_free =
            matches!(self.state, State::Gather(None)) && !self.config.planted.is(Bug::NeverDecides);
        if is_free && self.is_settled_by_us() {
            self.decide();
        }
    }

    fn handle_join_while_leaving(&mut self, join: Join) {
        if join.view != self.view.id {
            return;
        }
        self.nodes.mark_alive(&join.source, self.now);
        let is_news = self.acknowledge_entries(&join);
        self.store(join);
        if is_news {
            self.send_leave();
        }
        self.request_missing();
    }
}

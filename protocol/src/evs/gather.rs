//! Starting, entering GATHER, and nodes nobody knew before (spec 02 §1.4, 6.2, 7.1).

use tracing::info;

use super::current_view::CurrentView;
use super::input_map::InputMap;
use super::message::{Body, Message};
use super::nodes::{Join, Nodes};
use super::receive::Incoming;
use super::sending::Window;
use super::state::{State, StateKind};
use super::{Evs, Start, Step, Timer};
use crate::id::{NodeId, ViewKind};

/// Whether others are told at once that the membership changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Announce {
    Join,
    Nothing,
}

impl Evs {
    pub(super) fn open(&mut self) {
        if self.state.kind() != StateKind::Closed || self.next_fifo != 0 {
            return;
        }
        self.transition(State::Joining);
        self.last_inactivity_check = self.now;
        self.nodes = Nodes::only(self.me, self.now);
        self.arm(Timer::Retransmission, self.config.join_retrans_period);
        self.arm(Timer::Inactivity, self.config.inactive_check_period);
        match self.config.start {
            Start::Bootstrap => self.send_and_handle_join(),
            Start::JoinGroup | Start::AloneIfUnanswered => self.send_join(),
        }
    }

    /// Begins a membership change, or begins it anew.
    pub(super) fn enter_gather(&mut self, announce: Announce) {
        let from = self.state.kind();
        if from == StateKind::Operational {
            // Messages belong to the view they were accepted in, and so do answers.
            self.pay();
            self.drain_queue(Window::Ignored);
        }
        if self.state.kind() == StateKind::Closed {
            return;
        }
        self.transition(State::Gather(None));
        if announce == Announce::Join {
            self.send_join();
        }
        self.arm(Timer::Inactivity, self.config.inactive_check_period);
        if matches!(from, StateKind::Operational | StateKind::Joining) {
            self.late_joins = 0;
            self.early_commits.clear();
            self.arm(Timer::Retransmission, self.config.join_retrans_period);
            self.arm(Timer::Install, self.config.install_timeout);
        }
    }

    /// Begins the membership change anew and says so.
    pub(super) fn restart_gather(&mut self) {
        self.enter_gather(Announce::Join);
    }

    /// A message of somebody unknown: a new node, or another part of the group.
    pub(super) fn handle_foreign(&mut self, incoming: Incoming) {
        let source = incoming.source;
        if !self.may_meet(&incoming) || !self.nodes.add(source, self.now) {
            return;
        }
        info!(node = %source, view = %incoming.view(), "evs meets a new node");
        self.enter_gather(Announce::Nothing);
        self.arm(Timer::Install, self.config.install_timeout);
        if let Body::Join(_) = &incoming.message.body {
            self.store_foreign_join(incoming);
        }
        self.send_and_handle_join();
    }

    fn may_meet(&self, incoming: &Incoming) -> bool {
        let source = &incoming.source;
        let is_time = match self.state.kind() {
            StateKind::Joining => names(&incoming.message, &self.me),
            StateKind::Gather | StateKind::Operational => true,
            StateKind::Closed | StateKind::Install | StateKind::Leaving => false,
        };
        is_time
            && self.pending().is_none()
            && !matches!(incoming.message.body, Body::Leave(_))
            && !source.is_nil()
            && !self.is_from_previous_view(source, incoming.view())
            // A restarted node has to wait until its former life is out of the view.
            && !self.nodes.iter().any(|(id, _)| id.is_same_node(source))
    }

    /// Every node that a stranger lists becomes known before anything else happens: an INSTALL of
    /// ours that left one of them out could stop the servers that still hold its messages.
    fn store_foreign_join(&mut self, incoming: Incoming) {
        let (view, version) = (incoming.view(), incoming.message.header.version);
        let Body::Join(proposal) = incoming.message.body else { return };
        let join = Join { source: incoming.source, version, view, proposal };
        if self.config.exceeds_servers() && !self.learn_nodes(&join) {
            return;
        }
        if let Some(node) = self.nodes.get_mut(&join.source) {
            node.join = Some(join);
        }
    }

    /// Makes every listed node known. False if there is no room for all of them.
    ///
    /// Nodes that the sender itself has only heard of are left out: no survivor's view can contain
    /// them without its own JOIN saying so, and two groups could otherwise keep telling each other
    /// about a dead one for ever.
    pub(super) fn learn_nodes(&mut self, join: &Join) -> bool {
        let learns_all = !self.config.exceeds_servers();
        for (id, entry) in join.proposal.nodes.iter() {
            if (learns_all || !entry.view.node.is_nil()) && !self.nodes.add(*id, self.now) {
                return false;
            }
            if entry.is_evicted && *id != self.me {
                self.accept_eviction(*id);
            }
        }
        true
    }

    /// Before our first view: somebody who knew us is in a view now, and we are not.
    ///
    /// The members of that view hold everything from our pseudo view for stale, our JOINs included,
    /// so they would never let us in.
    pub(super) fn is_left_behind(&self, incoming: &Incoming) -> bool {
        let view = incoming.view();
        let Some(join) = self.nodes.get(&incoming.source).and_then(|node| node.join.as_ref())
        else {
            return false;
        };
        let proves_view = matches!(incoming.message.body, Body::User(_) | Body::Join(_));
        proves_view
            && self.view.is_pseudo()
            && matches!(self.state, State::Gather(None))
            && view.kind == ViewKind::Regular
            && view.seq > join.view.seq
            && join.proposal.nodes.contains(&self.me)
    }

    /// Starts over before our first view, in another pseudo view.
    pub(super) fn rejoin(&mut self) {
        info!("evs was left behind before its first view, joins again");
        self.transition(State::Joining);
        self.view = CurrentView::pseudo(self.me, self.view.id.seq.saturating_add(1));
        self.map = InputMap::new(self.view.len(), self.config.held_bytes_per_sender_max);
        self.nodes = Nodes::only(self.me, self.now);
        self.installs.restart();
        self.timers.cancel(Timer::Install);
        self.arm(Timer::Retransmission, self.config.join_retrans_period);
        if self.is_leave_pending {
            self.steps.push_back(Step::Leave);
        } else {
            self.send_join();
        }
    }
}

fn names(message: &Message, node: &NodeId) -> bool {
    matches!(&message.body, Body::Join(proposal) if proposal.nodes.contains(node))
}

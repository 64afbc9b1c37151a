//! INSTALL: deciding, accepting, and entering the view (spec 02 §6.7, 6.8).

use std::collections::BTreeSet;

use tracing::{debug, info};

use super::current_view::CurrentView;
use super::gather::Announce;
use super::input_map::InputMap;
use super::message::{Body, Flags, Header, Install, Message, NodeEntry};
use super::nodes::Join;
use super::receive::Incoming;
use super::send_queue::SendQueue;
use super::state::{Pending, State, StateKind};
use super::{Evs, Failure, FifoSeqno, Output, Start, Step, Timer};
use crate::id::{NodeId, ViewId, ViewKind};
use crate::message::Order;
use crate::view::View;

/// Numbers for the views that we decide, so that none is used twice.
#[derive(Debug, Default)]
pub(super) struct Installs {
    base: u32,
    attempts: u32,
    /// Install time-outs since the last regular view.
    pub(super) timeouts: u32,
}

impl Installs {
    fn next_seq(&mut self, highest_view: u32) -> u32 {
        self.base = self.base.max(highest_view);
        self.attempts += 1;
        self.base.saturating_add(self.attempts)
    }

    /// A regular view, or a start over: views decided from now on have numbers of their own.
    pub(super) fn restart(&mut self) {
        self.base = self.base.saturating_add(self.attempts);
        self.attempts = 0;
        self.timeouts = 0;
    }
}

impl Evs {
    /// Everybody agrees and we are the representative: sends the INSTALL.
    pub(super) fn decide(&mut self) {
        if self.config.start == Start::JoinGroup && self.view.is_pseudo() && self.is_alone() {
            return self.rejoin();
        }
        let voters = self.nodes.operational().filter_map(|(_, node)| node.join.as_ref());
        let votes = voters.map(|join| (join.version, join.view.seq));
        let (version, highest) =
            votes.fold((u8::MAX, 0), |(v, seq), (version, view)| (v.min(version), seq.max(view)));
        let seq = self.installs.next_seq(highest);
        let view = ViewId::new(ViewKind::Regular, self.me, seq);
        let install = Install { view, proposal: self.decision() };
        let header = self.numbered_header(Order::Unreliable, Flags::NONE);
        let header = Header { version, source: Some(self.me), ..header };
        info!(%view, "evs decides a view");
        let message = Message { header, body: Body::Install(install) };
        self.transmit(None, &message);
        self.handle_install_message(Incoming { source: self.me, message, is_delegated: false });
    }

    fn is_alone(&self) -> bool {
        self.nodes.operational().all(|(id, _)| *id == self.me)
    }

    pub(super) fn handle_install_message(&mut self, incoming: Incoming) {
        let (source, header) = (incoming.source, incoming.message.header);
        let Body::Install(install) = incoming.message.body else { return };
        match self.state.kind() {
            StateKind::Closed | StateKind::Joining | StateKind::Operational => {}
            StateKind::Leaving => self.handle_install_while_leaving(&install),
            StateKind::Gather | StateKind::Install => {
                if self.may_consider(&source, &header, &install) {
                    self.consider(source, &header, install);
                }
            }
        }
    }

    /// Sorts out repetitions and competing representatives.
    fn may_consider(&mut self, source: &NodeId, header: &Header, install: &Install) -> bool {
        if !self.nodes.is_operational(source) || self.is_from_previous_view(source, header.view) {
            return false;
        }
        let Some(pending) = self.pending() else { return true };
        if pending.join.source == *source {
            let is_newer = install.view.seq > pending.view.seq;
            if is_newer {
                self.enter_gather(Announce::Nothing);
            }
            return is_newer;
        }
        if install.proposal.nodes.entry(&self.me).is_some_and(|entry| entry.is_operational) {
            debug!(%source, "evs two representatives");
            self.restart_gather();
        }
        false
    }

    fn consider(&mut self, source: NodeId, header: &Header, install: Install) {
        let own_entry = install.proposal.nodes.entry(&source);
        let from = own_entry.map_or(header.view, |entry| entry.view);
        let version = header.version;
        let join = Join { source, version, view: from, proposal: install.proposal };
        if source != self.me {
            // The freshest news of the representative, which may change what we propose.
            self.handle_join(join.clone());
        }
        let names_me = join.proposal.nodes.entry(&self.me).is_some_and(|e| e.is_operational);
        if !names_me || !matches!(self.state, State::Gather(None)) {
            return;
        }
        self.forget_strangers(&join);
        if self.is_acceptable(&join) {
            self.accept_install(join, install.view, header.fifo_seqno);
        } else {
            debug!(%source, view = %install.view, "evs refuses an install");
            self.restart_gather();
        }
    }

    /// Nodes that the INSTALL does not know and whose messages we do not hold have no part in it.
    fn forget_strangers(&mut self, join: &Join) {
        let before = self.nodes.len();
        let (nodes, view) = (&mut self.nodes, &self.view);
        nodes.retain(|id| join.proposal.nodes.contains(id) || view.contains(id));
        if self.nodes.len() != before {
            self.renew_own_join();
        }
    }

    /// It says what we say, and what becomes of everybody whose messages we hold.
    fn is_acceptable(&self, join: &Join) -> bool {
        let covers_view = self.view.iter().all(|id| join.proposal.nodes.contains(id));
        self.consensus().is_consistent(join) && (covers_view || !self.config.exceeds_servers())
    }

    fn accept_install(&mut self, join: Join, view: ViewId, fifo_seqno: FifoSeqno) {
        self.nodes.mark_alive(&join.source, self.now);
        let mut pending = Pending::new(join, view, fifo_seqno, self.now);
        pending.committed = self.known_commits(&pending);
        self.transition(State::Gather(Some(Box::new(pending))));
        self.repeat_gaps_soon();
        self.send_commit_gap();
    }

    /// Everybody has committed, as we know from their commits or from somebody who has them all.
    pub(super) fn enter_install(&mut self) {
        let Some(mut pending) = self.state.take_accepted() else { return };
        // Not all commits may have reached us; the time-out gives up only who has not committed.
        let members = pending.members();
        pending.committed.extend(members);
        self.transition(State::Install(pending));
        self.arm(Timer::Inactivity, self.config.inactive_check_period);
        self.arm(Timer::Retransmission, self.config.join_retrans_period);
        self.repeat_gaps_soon();
        self.send_install_gap();
    }

    /// Everybody has installed: finishes the old view now, and enters the new one as soon as the
    /// layer above has seen the end of the old one.
    pub(super) fn enter_operational(&mut self) {
        let is_entering = self.steps.iter().any(|step| matches!(step, Step::EnterView));
        let State::Install(pending) = &self.state else { return };
        if is_entering {
            return;
        }
        let join = pending.join.clone();
        let is_certain = pending.members().is_subset(&pending.installed);
        self.counters.interrupted_installs += u64::from(!is_certain);
        if !self.consensus().equals_mine(&join) {
            return self.fail(Failure::InstallDiffers);
        }
        self.deliver();
        self.emit(Output::View(self.transitional_view(&join)));
        self.deliver_transitional(&join);
        self.steps.push_back(Step::EnterView);
    }

    /// Who comes along from the old view.
    fn transitional_view(&self, join: &Join) -> View {
        let of_view = |which: fn(&NodeEntry) -> bool| {
            let listed = join.proposal.nodes.filtered(which);
            let came = listed.filter(|(id, e)| e.view == self.view.id && self.view.contains(id));
            came.map(|(id, _)| *id).collect::<BTreeSet<NodeId>>()
        };
        let members = of_view(|entry| entry.is_operational);
        let left = of_view(|entry| !entry.is_operational && entry.is_leaving());
        let id = self.transitional_id();
        let gone = |id: &&NodeId| !members.contains(id) && !left.contains(id);
        let partitioned = self.view.iter().filter(gone).copied().collect();
        View { left, partitioned, ..View::new(id, self.view.version, members) }
    }

    /// The id of the view that ends; what came before the first view has always the same.
    pub(super) fn transitional_id(&self) -> ViewId {
        let ending = if self.view.is_pseudo() { self.first_view } else { self.view.id };
        ending.with_kind(ViewKind::Transitional)
    }

    /// Enters the view that was agreed on. The layer above may send as soon as it sees the view.
    pub(super) fn enter_view(&mut self) {
        if self.state.kind() != StateKind::Install {
            return;
        }
        let State::Install(mut pending) = self.transition(State::Operational(SendQueue::default()))
        else {
            return;
        };
        let view = regular_view(&self.view, &pending);
        self.move_to(&view);
        self.arm(Timer::Inactivity, self.config.inactive_check_period);
        self.arm(Timer::Retransmission, self.config.keepalive_period);
        self.timers.cancel(Timer::Install);
        info!(view = %view.id, members = view.members.len(), "evs view");
        let (members, left) = (view.members.clone(), view.left.clone());
        self.emit(Output::RegularView { members, left });
        self.emit(Output::View(view));
        self.steps.push_back(Step::AcknowledgeView);
        if core::mem::take(&mut self.is_leave_pending) {
            self.steps.push_back(Step::Leave);
        }
        self.schedule_stash(pending.take_stash());
    }

    fn move_to(&mut self, view: &View) {
        self.previous_views.insert(self.view.id, self.now);
        self.previous_views.take_over_collected(self.now);
        self.view = CurrentView::new(view.id, view.version, &view.members);
        self.map = InputMap::new(self.view.len(), self.config.held_bytes_per_sender_max);
        self.nodes.start_over_with(&view.members, self.now);
        self.installs.restart();
        self.counters.views += 1;
    }
}

fn regular_view(old: &CurrentView, pending: &Pending) -> View {
    let members = pending.members();
    let leaving = |entry: &NodeEntry| !entry.is_operational && entry.is_leaving();
    let left: BTreeSet<NodeId> =
        pending.join.proposal.nodes.filtered(leaving).map(|(id, _)| *id).collect();
    let joined = members.iter().filter(|id| !old.contains(id)).copied().collect();
    let gone = |id: &&NodeId| !members.contains(id) && !left.contains(id);
    let partitioned = old.iter().filter(gone).copied().collect();
    View { joined, left, partitioned, ..View::new(pending.view, pending.join.version, members) }
}

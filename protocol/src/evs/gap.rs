//! Reaction to GAPs (spec 02 §4.7), and the commit and install gaps of our own.

use super::message::{Body, Flags, Gap, Header, Message};
use super::receive::Incoming;
use super::state::{Pending, StateKind};
use super::{Evs, FifoSeqno, Seqno};
use crate::id::NodeId;
use crate::message::Order;

impl Evs {
    pub(super) fn handle_gap(&mut self, incoming: Incoming) {
        let Body::Gap(gap) = incoming.message.body else { return };
        let view = incoming.view();
        let is_of_pending = self.pending().is_some_and(|pending| pending.view == view);
        if incoming.message.header.flags.contains(Flags::COMMIT) {
            if is_of_pending && self.state.kind() == StateKind::Gather {
                self.handle_commit_gap(incoming.source, gap.seqno);
            }
        } else if is_of_pending {
            self.handle_install_gap(incoming);
        } else if view == self.view.id {
            self.handle_gap_of_view(incoming.source, &incoming.message.header, &gap);
        }
    }

    fn handle_commit_gap(&mut self, source: NodeId, fifo_seqno: Seqno) {
        let Some(pending) = self.state.pending_mut() else { return };
        let expected = Seqno(pending.fifo_seqno.0);
        if fifo_seqno > expected {
            // The sender has committed to a newer INSTALL.
            return self.restart_gather();
        }
        if fifo_seqno == expected {
            pending.committed.insert(source);
            self.nodes.mark_alive(&source, self.now);
            if self.has_everybody(|pending| &pending.committed) {
                self.enter_install();
            }
        }
    }

    /// In GATHER servers take the gap for early and wait for its repetition. But its sender has seen
    /// that everybody has committed, so we go on with it. The gap itself does not tell which INSTALL
    /// of that view it means; the commit before it does.
    fn handle_install_gap(&mut self, incoming: Incoming) {
        let source = incoming.source;
        if !is_bare(&incoming.message) {
            return self.handle_early(incoming);
        }
        if self.config.exceeds_servers() && self.has_committed(&source) {
            self.enter_install();
        }
        let is_installing = self.state.kind() == StateKind::Install;
        let Some(pending) = self.state.pending_mut().filter(|_| is_installing) else { return };
        pending.installed.insert(source);
        self.nodes.mark_alive(&source, self.now);
        if self.has_everybody(|pending| &pending.installed) {
            self.enter_operational();
        }
    }

    fn handle_gap_of_view(&mut self, source: NodeId, header: &Header, gap: &Gap) {
        let Some(index) = self.view.index_of(&source) else { return };
        let before = self.before();
        let is_frozen = self.pending().is_some();
        // An accepted INSTALL has fixed which messages become safe in the old view.
        if !is_frozen && self.map.acknowledge(index, gap.aru) {
            self.nodes.mark_alive(&source, self.now);
        }
        self.answer_request(source, header, gap);
        if is_frozen {
            return;
        }
        if self.state.kind() == StateKind::Operational {
            self.owe_for_gap();
        }
        self.propose_after_progress(before);
    }

    /// Is everybody who goes on into the pending view in the set?
    pub(super) fn has_everybody(
        &self,
        set: impl Fn(&Pending) -> &std::collections::BTreeSet<NodeId>,
    ) -> bool {
        let Some(pending) = self.pending() else { return false };
        let listed = |id: &NodeId| pending.join.proposal.nodes.contains(id);
        let mut expected = self.nodes.operational().filter(|(id, _)| listed(id));
        expected.all(|(id, _)| set(pending).contains(id))
    }

    /// Somebody is in the view already, so everybody is about to be.
    pub(super) fn mark_all_installed(&mut self) {
        if let Some(pending) = self.state.pending_mut() {
            pending.installed = pending.members();
        }
    }

    /// "I have accepted this INSTALL."
    pub(super) fn send_commit_gap(&mut self) {
        let Some(FifoSeqno(fifo)) = self.pending().map(|pending| pending.fifo_seqno) else {
            return;
        };
        self.send_pending_gap(Flags::COMMIT, Gap { seqno: Seqno(fifo), ..Gap::install() });
        self.handle_own_commit();
    }

    fn handle_own_commit(&mut self) {
        if self.state.kind() == StateKind::Gather
            && let Some(FifoSeqno(fifo)) = self.pending().map(|pending| pending.fifo_seqno)
        {
            self.handle_commit_gap(self.me, Seqno(fifo));
        }
    }

    /// "I know that everybody has accepted it."
    pub(super) fn send_install_gap(&mut self) {
        self.send_pending_gap(Flags::NONE, Gap::install());
        let me = self.me;
        if let Some(pending) = self.state.pending_mut() {
            pending.installed.insert(me);
        }
        if self.has_everybody(|pending| &pending.installed) {
            self.enter_operational();
        }
    }

    /// A gap of the view to be installed.
    fn send_pending_gap(&mut self, flags: Flags, gap: Gap) {
        let Some(view) = self.pending().map(|pending| pending.view) else { return };
        let header = Header { view, ..self.numbered_header(Order::Unreliable, flags) };
        self.transmit(None, &Message { header, body: Body::Gap(gap) });
    }
}

/// An install gap says nothing else; an acknowledgement from inside the view does.
fn is_bare(message: &Message) -> bool {
    matches!(&message.body, Body::Gap(gap) if *gap == Gap::install())
}

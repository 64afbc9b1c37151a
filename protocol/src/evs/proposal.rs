//! What we say about the group: building and sending JOINs (spec 02 §6.3).

use super::message::{Body, Flags, Header, Message, NodeEntry, NodeList, Proposal};
use super::nodes::{Join, Node};
use super::{Evs, Output, Range, Seqno};
use crate::id::NodeId;
use crate::message::Order;

impl Evs {
    /// The state of the group as we see it now.
    pub(super) fn own_proposal(&self) -> Proposal {
        let evicted = self.evicted.iter().map(|id| (*id, NodeEntry::BANNED));
        let known = self.nodes.iter().map(|(id, node)| (*id, self.entry_of(id, node)));
        // Known nodes come last and so replace their bans, which their entries repeat.
        let nodes: NodeList = evicted.chain(known).collect();
        Proposal { safe: self.map.safe(), aru: self.map.aru(), nodes }
    }

    /// Of nodes of my own view it says what *I* have of them; of others what they say themselves.
    /// Otherwise no two members would ever propose the same.
    fn entry_of(&self, id: &NodeId, node: &Node) -> NodeEntry {
        let is_me = *id == self.me;
        let opinion = NodeEntry {
            is_operational: is_me || node.is_operational,
            is_suspected: !is_me && node.is_suspected,
            is_evicted: self.evicted.contains(id),
            ..NodeEntry::HEARD_OF
        };
        if is_me {
            return self.measured(id, opinion);
        }
        if let Some(join) = &node.join {
            return self.entry_by_join(id, join, opinion);
        }
        if let Some(leave) = &node.leave {
            let left =
                NodeEntry { leave_seqno: leave.leave.last_sent, view: leave.view, ..opinion };
            return if leave.view == self.view.id { self.measured(id, left) } else { left };
        }
        if self.view.contains(id) { self.measured(id, opinion) } else { opinion }
    }

    fn entry_by_join(&self, id: &NodeId, join: &Join, opinion: NodeEntry) -> NodeEntry {
        if join.view == self.view.id {
            return self.measured(id, opinion);
        }
        let claimed = join.proposal.nodes.entry(id);
        let (safe, range) = claimed.map_or((opinion.safe, opinion.range), |e| (e.safe, e.range));
        NodeEntry { view: join.view, safe, range, ..opinion }
    }

    fn measured(&self, id: &NodeId, opinion: NodeEntry) -> NodeEntry {
        let Some(index) = self.view.index_of(id) else { return opinion };
        let (safe, range) = (self.map.acknowledged(index), self.map.range(index));
        NodeEntry { view: self.view.id, safe, range, ..opinion }
    }

    /// What an INSTALL of ours says. It goes further than a JOIN in one thing: of dead nodes that we
    /// only heard of it repeats what their survivors have in common, so that these lose nothing that
    /// somebody may have delivered already. Servers give no range there, and discard.
    pub(super) fn decision(&self) -> Proposal {
        let proposal = self.own_proposal();
        let refine = |(id, entry): (&NodeId, &NodeEntry)| {
            let is_hearsay = !entry.is_operational && entry.view.node.is_nil();
            let is_refined = is_hearsay && self.config.exceeds_servers();
            let common = self.common_knowledge_of(id).filter(|_| is_refined);
            let is_evicted = entry.is_evicted;
            (*id, common.map_or(*entry, |common| NodeEntry { is_evicted, ..common }))
        };
        Proposal { nodes: proposal.nodes.iter().map(refine).collect(), ..proposal }
    }

    /// What all who come from a dead node's view have of it; none if they come from several views.
    fn common_knowledge_of(&self, id: &NodeId) -> Option<NodeEntry> {
        let voters = self.nodes.operational().filter_map(|(_, node)| node.join.as_ref());
        let mut claims = voters.filter_map(|join| {
            join.proposal.nodes.entry(id).filter(|entry| entry.view == join.view)
        });
        let first = claims.next()?;
        claims.try_fold(least(first, first)?, |common, claim| least(&common, claim))
    }

    /// Makes our stored JOIN say what is the case now. True if it said something else before.
    pub(super) fn renew_own_join(&mut self) -> bool {
        let (me, view, version) = (self.me, self.view.id, self.config.version);
        let join = Join { source: me, version, view, proposal: self.own_proposal() };
        let Some(node) = self.nodes.get_mut(&me) else { return false };
        let is_news = node.join.as_ref() != Some(&join);
        node.join = Some(join);
        is_news
    }

    fn own_join(&self) -> Option<&Join> {
        self.nodes.get(&self.me)?.join.as_ref()
    }

    /// Says what is the case now.
    pub(super) fn send_join(&mut self) {
        self.renew_own_join();
        let Some(proposal) = self.own_join().map(|join| join.proposal.clone()) else { return };
        self.welcome(&proposal);
        self.last_join_sent = Some(self.now);
        let header = self.numbered_header(Order::Unreliable, Flags::NONE);
        let header = Header { version: self.config.version, ..header };
        self.transmit(None, &Message { header, body: Body::Join(proposal) });
    }

    /// Says what is the case now, and acts on it.
    pub(super) fn send_and_handle_join(&mut self) {
        self.send_join();
        if let Some(join) = self.own_join().cloned() {
            self.handle_join(join);
        }
    }

    /// Lets the transport connect to everybody we want to go on with, even if it has just
    /// forgotten them.
    fn welcome(&mut self, proposal: &Proposal) {
        let wanted = |e: &NodeEntry| e.is_operational && !e.is_suspected && !e.is_evicted;
        let wanted = proposal.nodes.filtered(wanted).map(|(id, _)| *id);
        for node in wanted.filter(|id| *id != self.me).collect::<Vec<_>>() {
            self.emit(Output::Welcome(node));
        }
    }

    /// The highest own number that others have heard of, in a proposal of my view.
    pub(super) fn highest_seen_in(&self, join: &Join) -> Seqno {
        let of_view = join.proposal.nodes.filtered(|entry| entry.view == self.view.id);
        of_view.map(|(_, entry)| entry.range.highest_seen).max().unwrap_or(Seqno::NONE)
    }
}

/// What is true of both entries about one node of one view.
fn least(a: &NodeEntry, b: &NodeEntry) -> Option<NodeEntry> {
    let lowest_unseen = a.range.lowest_unseen.min(b.range.lowest_unseen);
    let leave_seqno = if a.leave_seqno == b.leave_seqno { a.leave_seqno } else { Seqno::NONE };
    let range = Range::new(lowest_unseen, lowest_unseen.previous());
    let least = NodeEntry { safe: a.safe.min(b.safe), range, leave_seqno, ..*a };
    (a.view == b.view && !a.is_operational && !b.is_operational).then_some(least)
}

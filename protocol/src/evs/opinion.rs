//! Agreeing on who is out (spec 02 §6.6).

use std::collections::BTreeSet;

use tracing::info;

use super::Evs;
use super::message::NodeEntry;
use super::nodes::Join;
use crate::id::NodeId;

impl Evs {
    /// Gives a node up. Never ourselves.
    pub(super) fn set_inactive(&mut self, id: &NodeId) {
        if *id == self.me {
            return;
        }
        if let Some(node) = self.nodes.get_mut(id) {
            if node.is_operational {
                info!(node = %id, "evs gives a node up");
            }
            node.set_inactive();
        }
    }

    fn set_all_inactive(&mut self, ids: impl IntoIterator<Item = NodeId>) {
        ids.into_iter().for_each(|id| self.set_inactive(&id));
    }

    /// What a JOIN makes us think of others.
    pub(super) fn form_opinions(&mut self, join: &Join) {
        if join.source != self.me {
            self.follow_majority(join);
            self.follow_shared_suspicion(join);
            self.give_up_unseen();
            self.give_up_only_heard_of();
        }
        self.eliminate_asymmetry();
    }

    /// The JOIN's entries about members of my view, without me.
    fn entries_about_members(&self, join: &Join, which: fn(&NodeEntry) -> bool) -> Vec<NodeId> {
        let of_view = |entry: &NodeEntry| entry.view == self.view.id && which(entry);
        let listed = join.proposal.nodes.filtered(of_view).map(|(id, _)| *id);
        listed.filter(|id| *id != self.me).collect()
    }

    /// A member that most of the view suspect is out.
    fn follow_majority(&mut self, join: &Join) {
        for suspect in self.entries_about_members(join, |entry| entry.is_suspected) {
            let suspects = |join: &&Join| {
                let entry = join.proposal.nodes.entry(&suspect);
                join.source != suspect
                    && self.view.contains(&join.source)
                    && entry.is_some_and(|entry| entry.is_suspected)
            };
            let is_majority = self.nodes.joins().filter(suspects).count() > self.view.len() / 2;
            if is_majority && self.nodes.is_operational(&suspect) {
                self.set_inactive(&suspect);
            }
        }
    }

    /// A member that somebody has given up, and that we suspect as well, is out.
    fn follow_shared_suspicion(&mut self, join: &Join) {
        for id in self.entries_about_members(join, |entry| !entry.is_operational) {
            if self.nodes.get(&id).is_some_and(|node| node.is_suspected) {
                self.set_inactive(&id);
            }
        }
    }

    /// A node of another view that we never heard from is out if everybody who knows it says so.
    fn give_up_unseen(&mut self) {
        let unseen: Vec<NodeId> = self
            .nodes
            .operational()
            .filter(|(id, node)| **id != self.me && !self.view.contains(id) && node.join.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in unseen {
            if self.is_given_up_by_all(&id) {
                self.set_inactive(&id);
            }
        }
    }

    fn is_given_up_by_all(&self, id: &NodeId) -> bool {
        let mut is_mentioned = false;
        for join in self.nodes.joins().filter(|join| join.source != self.me) {
            for (listed, entry) in join.proposal.nodes.iter() {
                if listed == id {
                    let is_known = !entry.view.node.is_nil();
                    is_mentioned |= is_known;
                    if is_known && entry.is_operational {
                        return false;
                    }
                } else if self.is_vote_missing(listed, entry) {
                    return false;
                }
            }
        }
        is_mentioned
    }

    /// Somebody counts there, but we have not heard what it thinks.
    fn is_vote_missing(&self, id: &NodeId, entry: &NodeEntry) -> bool {
        let counts = entry.is_operational && !entry.view.node.is_nil();
        self.nodes.get(id).is_none_or(|node| counts && node.join.is_none())
    }

    /// A node that everybody suspects and nobody ever heard from is out.
    fn give_up_only_heard_of(&mut self) {
        let is_ghost = |join: &Join, id: &NodeId| {
            let entry = join.proposal.nodes.entry(id);
            entry.is_some_and(|entry| entry.view.node.is_nil() && entry.is_suspected)
        };
        let others = self.nodes.iter().filter(|(id, _)| **id != self.me);
        let ghosts: Vec<NodeId> = others
            .map(|(id, _)| *id)
            .filter(|id| self.nodes.joins().all(|join| is_ghost(join, id)))
            .collect();
        self.set_all_inactive(ghosts);
    }

    /// When a change drags on: whoever says nothing is out, and so is whoever somebody we go on
    /// with cannot reach. Otherwise links that work one way only would block the group.
    fn eliminate_asymmetry(&mut self) {
        let Some(deadline) = self.timers.install_deadline() else { return };
        let patience = self.config.install_timeout.saturating_sub(self.config.suspect_timeout);
        if deadline.saturating_since(self.now) > patience {
            return;
        }
        let silent = self.nodes.operational().filter(|(_, node)| node.join.is_none());
        let silent: Vec<NodeId> = silent.map(|(id, _)| *id).collect();
        let mut unreachable = BTreeSet::new();
        for join in self.nodes.operational().filter_map(|(_, node)| node.join.as_ref()) {
            let mine = join.proposal.nodes.entry(&self.me);
            if mine.is_some_and(|entry| entry.is_operational) {
                let given_up = join.proposal.nodes.filtered(|entry| !entry.is_operational);
                unreachable.extend(given_up.map(|(id, _)| *id));
            }
        }
        self.set_all_inactive(silent);
        self.set_all_inactive(unreachable);
    }
}

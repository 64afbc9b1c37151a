//! Which primary view may follow which (spec 03 §3.4, §3.6, §3.8, §4.4).
//!
//! | way | what is demanded |
//! |---|---|
//! | quorum | most of the votes of the view before, those that left politely not counted |
//! | re-bootstrap | all of the view before, but for those that were banned or have lost their memory |
//! | quorum over an earlier view | that its members installed last, if they have outvoted every later one |
//! | recovery | exactly the members of a saved view, none of whom ever installed a later one |
//!
//! The last is the one way to two primary components at a time. It is Galera's, and the operator has
//! to end it; everything else that is not in the table is a failure.

use std::collections::{BTreeMap, BTreeSet};

use galera_protocol::id::{NodeId, Segment, ViewId};
use galera_protocol::pc::SavedView;
use galera_protocol::view::Component;

use super::{Checked, Oracle, ensure, number};
use crate::coverage::Seen;
use crate::process::Process;

/// What all members that install one primary view agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    is_bootstrap: bool,
    members: BTreeMap<NodeId, Segment>,
    to_seq: i64,
    weights: BTreeMap<NodeId, u32>,
}

impl Oracle {
    /// Primary views form one chain: each has a quorum of the one before, or all of it.
    pub(super) fn install(&mut self, process: &Process, component: Component) -> Checked {
        let Component { id, is_bootstrap, members } = component;
        ensure(members.contains_key(&process.me), || format!("not in its primary view {id}"))?;
        let known = process.pc().known();
        let weight = |node: &NodeId| known.get(node).and_then(|entry| entry.weight).unwrap_or(0);
        let weights = members.keys().map(|node| (*node, u32::from(weight(node)))).collect();
        // The position is compared with every message; a later one may have been delivered since.
        let installed = Installed { is_bootstrap, members, to_seq: 0, weights };
        self.installers.entry(number(id)).or_default().insert(process.me);
        let mut known = self.chain.iter().chain(&self.past);
        if let Some((_, same)) = known.find(|(known, _)| *known == id) {
            let (mine, theirs) = (&installed.members, &same.members);
            return ensure(mine == theirs && same.is_bootstrap == is_bootstrap, || {
                format!("primary view {id}: {installed:?}, for others {same:?}")
            });
        }
        if let Some((before, last)) = self.chain.last() {
            let members = installed.members.keys().copied().collect();
            let goes_on = self.allows_rivals
                || goes_on(self, last, &members)
                || self.goes_on_from_earlier(&members);
            let is_split = !goes_on && is_bootstrap && self.is_recovery(&members);
            ensure(goes_on || is_split, || {
                format!("{id} {installed:?} has no right to follow {before} {last:?}")
            })?;
            self.split = is_split.then_some(id).or(self.split);
            self.coverage.add(Seen::Split, u64::from(is_split));
        }
        self.coverage.add(Seen::PrimaryView, 1);
        self.coverage.add(Seen::Recovery, u64::from(is_bootstrap));
        self.chain.push((id, installed));
        Ok(())
    }

    /// May these nodes form the next primary view?
    pub(crate) fn may_go_on(&self, members: &BTreeSet<NodeId>) -> bool {
        self.chain.last().is_none_or(|(_, last)| goes_on(self, last, members))
    }

    /// Quorum is counted against the last view that a member has *installed* (spec 03 §3.4). Who
    /// hears of an INSTALL only when its view is over, but then has most of the votes of that view
    /// too, stays primary without installing it (§3.8): those that did install it have lost. If one
    /// more change comes before the next installation, it is judged against the earlier view.
    fn goes_on_from_earlier(&self, members: &BTreeSet<NodeId>) -> bool {
        let has_installed = |id: &ViewId, node: &NodeId| {
            self.installers.get(&number(*id)).is_some_and(|it| it.contains(node))
        };
        let goes_on = |member: &NodeId| {
            let place = self.chain.iter().rposition(|(id, _)| has_installed(id, member));
            let Some(place) = place else { return false };
            has_votes(self, &self.chain[place].1, members)
                && self.chain[place + 1..].iter().all(|later| self.has_outvoted(member, later))
        };
        members.iter().any(goes_on)
    }

    /// Came this member out of a view with most of its votes, without installing it?
    fn has_outvoted(&self, member: &NodeId, (id, view): &(ViewId, Installed)) -> bool {
        let mut companies = self.companies.get(&number(*id)).into_iter().flatten();
        companies.any(|company| company.contains(member) && has_votes(self, view, company))
    }

    /// Exactly the members of the newest saved view are back, and found it anew. They have a right to that
    /// even if others have gone on with newcomers from there, which happens when all of them die
    /// after the INSTALL of the next view became safe for the newcomers and before it did for them
    /// (spec 03 §4.4): what is on nobody's disk nobody can know.
    fn is_recovery(&self, members: &BTreeSet<NodeId>) -> bool {
        let files: Vec<_> = members.iter().filter_map(|node| self.restored.get(node)).collect();
        let Some(file) = files.iter().max_by_key(|file| file.view.seq) else { return false };
        let is_one_history = files.len() == members.len()
            && files.iter().all(|other| other.view.node == file.view.node);
        let is_everybody = members.len() == file.members.len()
            && members.iter().zip(file.members.keys()).all(|(now, then)| now.is_same_node(then));
        let Some(place) = self.chain.iter().position(|(view, _)| *view == file.view) else {
            return false;
        };
        let later =
            self.chain[place + 1..].iter().filter_map(|(id, _)| self.installers.get(&number(*id)));
        let knew = |node: &NodeId| members.iter().any(|member| member.is_same_node(node));
        is_one_history && is_everybody && !later.flatten().any(knew)
    }

    /// A life that begins with what an earlier one has saved, or saves its own first view.
    pub(crate) fn note_saved(&mut self, saved: &SavedView) {
        if !saved.members.contains_key(&saved.me) {
            self.restored.insert(saved.me, saved.clone());
        }
    }

    /// Has a second primary view come about beside another, by the rules?
    pub(crate) fn take_split(&mut self) -> Option<ViewId> {
        self.split.take()
    }

    /// Votes have changed since the last primary view was installed.
    pub(crate) fn note_votes(&mut self, process: &Process) {
        let Some((_, last)) = self.chain.last_mut() else { return };
        for (node, weight) in &mut last.weights {
            let known = process.pc().known().get(node).and_then(|entry| entry.weight);
            *weight = known.map_or(*weight, u32::from);
        }
    }

    /// A founder starts the chain anew, because the operator says so.
    pub(crate) fn forget_chain(&mut self) {
        self.past.append(&mut self.chain);
    }
}

/// Do these members follow that primary view, as most of its votes or as all who can be missed?
fn goes_on(oracle: &Oracle, last: &Installed, next: &BTreeSet<NodeId>) -> bool {
    let is_out = |node: &NodeId| oracle.banned.contains(node) || oracle.forgotten.contains(node);
    let is_missed =
        |node: &NodeId| !is_among(node, next) && !oracle.leavers.contains(node) && !is_out(node);
    has_votes(oracle, last, next) || !last.members.keys().any(is_missed)
}

/// Have they most of its votes, those that left politely not counted?
fn has_votes(oracle: &Oracle, last: &Installed, next: &BTreeSet<NodeId>) -> bool {
    let sum = |counts: &dyn Fn(&NodeId) -> bool| -> u32 {
        let nodes = last.members.keys().filter(|node| counts(node));
        nodes.map(|node| last.weights.get(node).copied().unwrap_or(0)).sum()
    };
    let total = sum(&|_| true);
    let stayed = sum(&|node| is_among(node, next));
    let left = sum(&|node| !is_among(node, next) && oracle.leavers.contains(node));
    2 * stayed + left > total
}

fn is_among(node: &NodeId, nodes: &BTreeSet<NodeId>) -> bool {
    nodes.iter().any(|other| other.is_same_node(node))
}

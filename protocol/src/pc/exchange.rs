//! The state exchange: what the members of a view reported, and what follows from it.
//!
//! ```text
//! every member ── STATE {all it knows} ──► all        once per regular view, first message
//! lowest UUID  ── INSTALL {self-entries} ─► all        if a primary view is possible
//! ```
//!
//! Everybody has the same reports, so everybody comes to the same decision. Pure functions of the
//! reports, the view and what is known; no message is sent from here.

use std::collections::{BTreeMap, BTreeSet};

use super::fatal::Fatal;
use super::node::{Entry, NO_TO_SEQ, NODES_MAX, NodeMap};
use crate::id::NodeId;

/// STATE messages of the current regular view, by source.
///
/// At most one per member, at most [`NODES_MAX`] entries each.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    reports: BTreeMap<NodeId, NodeMap>,
}

impl Exchange {
    /// Takes one member's report.
    pub(super) fn add(
        &mut self,
        source: NodeId,
        report: NodeMap,
        members: &BTreeSet<NodeId>,
    ) -> Result<(), Fatal> {
        if !report.contains_key(&source) {
            return Err(Fatal::NotListed { source_node: source, node: source });
        }
        if !members.contains(&source) || self.reports.insert(source, report).is_some() {
            return Err(Fatal::ExtraState { source_node: source });
        }
        Ok(())
    }

    /// Has everybody reported?
    pub(super) fn is_complete(&self, members: &BTreeSet<NodeId>) -> bool {
        members.iter().all(|member| self.reports.contains_key(member))
    }

    pub(super) fn reports(&self) -> impl Iterator<Item = (&NodeId, &NodeMap)> {
        self.reports.iter()
    }

    /// What a member said about itself.
    pub(super) fn self_entry(&self, source: &NodeId) -> Option<&Entry> {
        self.reports.get(source)?.get(source)
    }

    /// What all members said about themselves, in UUID order.
    pub(super) fn self_entries(&self) -> impl Iterator<Item = (&NodeId, &Entry)> {
        self.reports.iter().filter_map(|(source, report)| report.get_key_value(source))
    }

    /// The map of an INSTALL: the self-entries of the view's members.
    pub(super) fn install_map(&self) -> NodeMap {
        self.self_entries().map(|(node, entry)| (*node, *entry)).collect()
    }

    /// Adds what was unknown. Of nodes that are known already only two things are taken over: the
    /// weight a node reports of itself and, while not primary, that a node may be primary
    /// elsewhere.
    pub(super) fn merge_into(&self, known: &mut NodeMap, me: &NodeId) -> Result<(), Fatal> {
        let is_primary = known.get(me).is_some_and(|mine| mine.is_primary);
        for (source, report) in &self.reports {
            for (node, entry) in report {
                let Some(ours) = known.get_mut(node) else {
                    known.insert(*node, *entry);
                    continue;
                };
                if node == source || ours.weight.is_none() {
                    ours.weight = entry.weight;
                }
                ours.is_unknown |= entry.is_unknown && !is_primary && node != me;
            }
        }
        if known.len() > NODES_MAX { Err(Fatal::TooManyNodes) } else { Ok(()) }
    }

    /// Do those that come from our primary view know the same as we do? Existing members stop
    /// themselves when they find a difference, and so do we.
    pub(super) fn check(
        &self,
        known: &NodeMap,
        me: &NodeId,
        members: &BTreeSet<NodeId>,
    ) -> Result<(), Fatal> {
        if !known.get(me).is_some_and(|mine| mine.is_primary) {
            return Ok(());
        }
        let position = self.primary_position();
        for (source, report) in self.reports.iter().filter(|(source, _)| self.is_primary(source)) {
            let current = report.iter().filter(|(node, _)| members.contains(node));
            for (node, entry) in current.filter(|(_, entry)| entry.is_primary) {
                let agrees = known.get(node).is_some_and(|ours| entry.agrees_with(ours));
                if !agrees || entry.to_seq != position {
                    return Err(Fatal::StateMismatch { source_node: *source, node: *node });
                }
            }
        }
        Ok(())
    }

    fn is_primary(&self, source: &NodeId) -> bool {
        self.self_entry(source).is_some_and(|entry| entry.is_primary)
    }

    /// The furthest position that a primary member reports of itself.
    fn primary_position(&self) -> i64 {
        let primaries = self.self_entries().filter(|(_, entry)| entry.is_primary);
        primaries.map(|(_, entry)| entry.to_seq).max().unwrap_or(NO_TO_SEQ)
    }
}

#[cfg(test)]
mod tests;

//! The last look at a message before it leaves.
//!
//! A wrong entry in a STATE, an INSTALL that is not the sum of the STATEs, a USER message outside
//! a primary view or with a number out of order stop *the other members*, not the one that sent it
//! (spec 03 §1.4, §3.5). Nothing here can be reached while the counters are right; it is what
//! stands between a bug of ours and somebody's database.

use std::collections::BTreeSet;

use super::exchange::Exchange;
use super::node::{Entry, NODES_MAX, NodeMap, SEQ_MASK};
use crate::id::{NodeId, ViewKind};

/// Why a message of ours must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// It does not list a node that it must list.
    #[error("{0} is not listed")]
    NotListed(NodeId),
    /// It lists a node that it must not list.
    #[error("{0} must not be listed")]
    Listed(NodeId),
    /// More entries than the message can hold.
    #[error("{0} nodes are too many")]
    TooMany(usize),
    /// An entry of a current member contradicts our own one.
    #[error("what is known about {0} is inconsistent")]
    Inconsistent(NodeId),
}

/// May this STATE go out? `companions` are the members of the view that were in our last primary
/// view too: of others, whatever they reported last may be known.
pub(super) fn check_state(
    nodes: &NodeMap,
    me: &NodeId,
    companions: &BTreeSet<NodeId>,
) -> Result<(), Unsendable> {
    if nodes.len() > NODES_MAX {
        return Err(Unsendable::TooMany(nodes.len()));
    }
    let mine = nodes.get(me).ok_or(Unsendable::NotListed(*me))?;
    check_own(me, mine)?;
    let current = nodes.iter().filter(|(node, _)| companions.contains(node));
    for (node, entry) in current.filter(|_| mine.is_primary) {
        if !agrees_with_own(entry, mine) {
            return Err(Unsendable::Inconsistent(*node));
        }
    }
    nodes.iter().try_for_each(|(node, entry)| check_entry(node, entry))
}

/// May this INSTALL go out? It is the self-entries of the exchange, exactly of the view's members.
/// `has_new_weight`: our own entry differs from them in the weight.
pub(super) fn check_install(
    nodes: &NodeMap,
    me: &NodeId,
    members: &BTreeSet<NodeId>,
    exchange: &Exchange,
    has_new_weight: bool,
) -> Result<(), Unsendable> {
    if let Some(missing) = members.iter().find(|member| !nodes.contains_key(member)) {
        return Err(Unsendable::NotListed(*missing));
    }
    for (node, entry) in nodes {
        if !members.contains(node) {
            return Err(Unsendable::Listed(*node));
        }
        let reported = exchange.self_entry(node).ok_or(Unsendable::NotListed(*node))?;
        let may_differ = has_new_weight && node == me;
        let expected =
            if may_differ { Entry { weight: entry.weight, ..*reported } } else { *reported };
        if *entry != expected {
            return Err(Unsendable::Inconsistent(*node));
        }
        check_entry(node, entry)?;
    }
    Ok(())
}

/// Without a weight in our own entry the whole group would count heads.
fn check_own(me: &NodeId, mine: &Entry) -> Result<(), Unsendable> {
    let is_lineage_known = !mine.is_primary || mine.last_primary.kind == ViewKind::Primary;
    if mine.weight.is_none() || mine.is_unknown || !is_lineage_known {
        return Err(Unsendable::Inconsistent(*me));
    }
    Ok(())
}

/// What primary members compare with their own knowledge (and stop over) in a current entry.
fn agrees_with_own(entry: &Entry, mine: &Entry) -> bool {
    let is_same_lineage = entry.last_primary == mine.last_primary && !entry.is_unknown;
    entry.to_seq == mine.to_seq && (!entry.is_primary || is_same_lineage)
}

fn check_entry(node: &NodeId, entry: &Entry) -> Result<(), Unsendable> {
    let kind = entry.last_primary.kind;
    let is_pc_view = matches!(kind, ViewKind::NonPrimary | ViewKind::Primary);
    if is_pc_view && entry.last_primary.seq <= SEQ_MASK {
        Ok(())
    } else {
        Err(Unsendable::Inconsistent(*node))
    }
}

#[cfg(test)]
mod tests;

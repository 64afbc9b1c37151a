//! What EVS remembers across views: old views, whose messages are stale, and banned nodes.

use std::collections::BTreeMap;

use crate::id::{NodeId, ViewId, ViewKind};
use crate::time::{Duration, Instant};

/// Views remembered. Merges add several at once; the oldest go first, and a message of a view that
/// old has long lost its links.
const PREVIOUS_VIEWS_MAX: usize = 4096;

/// Bans remembered. Each takes an entry in every JOIN, which has room for 466 entries.
pub(super) const EVICTED_MAX: usize = 200;

type ViewKey = (ViewKind, NodeId, u32);

fn key(view: ViewId) -> ViewKey {
    (view.kind, view.node, view.seq)
}

/// Views whose messages are stale. Collected during a membership change, in force after it.
#[derive(Debug, Default)]
pub(super) struct PreviousViews {
    known: BTreeMap<ViewKey, Instant>,
    collected: BTreeMap<ViewKey, ()>,
}

impl PreviousViews {
    pub(super) fn contains(&self, view: ViewId) -> bool {
        self.known.contains_key(&key(view))
    }

    pub(super) fn insert(&mut self, view: ViewId, now: Instant) {
        self.known.insert(key(view), now);
        while self.known.len() > PREVIOUS_VIEWS_MAX {
            self.forget_oldest();
        }
    }

    /// A saved view may have been noted as the primary view it became: it is the same regular one.
    pub(super) fn insert_all_kinds(&mut self, view: ViewId, now: Instant) {
        for kind in [ViewKind::Regular, view.kind] {
            self.insert(view.with_kind(kind), now);
        }
    }

    /// Notes a view that somebody comes from; the next regular view makes it a previous one.
    pub(super) fn collect(&mut self, view: ViewId) {
        if self.collected.len() < PREVIOUS_VIEWS_MAX {
            self.collected.insert(key(view), ());
        }
    }

    /// A regular view stands: what was collected is the past now.
    pub(super) fn take_over_collected(&mut self, now: Instant) {
        for (kind, node, seq) in core::mem::take(&mut self.collected).into_keys() {
            self.insert(ViewId::new(kind, node, seq), now);
        }
    }

    pub(super) fn expire(&mut self, now: Instant, lifetime: Duration) {
        self.known.retain(|_, seen| now.saturating_since(*seen) <= lifetime);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.known.iter().min_by_key(|(_, seen)| **seen).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            self.known.remove(&oldest);
        }
    }
}

/// Banned nodes and since when.
#[derive(Debug, Default)]
pub(super) struct Evicted(BTreeMap<NodeId, Instant>);

impl Evicted {
    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }

    /// Bans a node. False if it was banned already, or the list is full.
    pub(super) fn insert(&mut self, node: NodeId, now: Instant) -> bool {
        if self.0.len() >= EVICTED_MAX || self.contains(&node) {
            return false;
        }
        self.0.insert(node, now);
        true
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &NodeId> {
        self.0.keys()
    }

    pub(super) fn expire(&mut self, now: Instant, lifetime: Duration) {
        self.0.retain(|_, since| now.saturating_since(*since) <= lifetime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(seq: u32) -> ViewId {
        ViewId::new(ViewKind::Regular, NodeId::version1(1, 0, [0; 6]), seq)
    }

    #[test]
    fn a_collected_view_is_previous_only_after_the_change() {
        let mut views = PreviousViews::default();
        views.collect(view(1));
        assert!(!views.contains(view(1)));
        views.take_over_collected(Instant::ZERO);
        assert!(views.contains(view(1)));
        views.expire(Instant::from_micros(11), Duration::from_micros(10));
        assert!(!views.contains(view(1)));
    }

    #[test]
    fn the_oldest_views_are_forgotten_first() {
        let mut views = PreviousViews::default();
        let count = u32::try_from(PREVIOUS_VIEWS_MAX).unwrap();
        for seq in 0..count + 2 {
            views.insert(view(seq), Instant::from_micros(u64::from(seq)));
        }
        assert_eq!(views.known.len(), PREVIOUS_VIEWS_MAX);
        assert!(!views.contains(view(1)) && views.contains(view(2)));
        assert!(views.contains(view(count + 1)));
    }

    #[test]
    fn a_ban_is_new_only_once_and_ends_after_its_lifetime() {
        let node = NodeId::version1(1, 0, [0; 6]);
        let mut evicted = Evicted::default();
        assert!(evicted.insert(node, Instant::ZERO));
        assert!(!evicted.insert(node, Instant::ZERO));
        evicted.expire(Instant::from_micros(11), Duration::from_micros(10));
        assert!(!evicted.contains(&node));
    }
}

//! What each member saw, and what must hold between all of them (spec 02 §11.2).

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{NodeId, ViewId, ViewKind};
use crate::view::View;

/// A message: who sent it, its number in the sender's life, and the view it was sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) source: NodeId,
    pub(super) number: u64,
    pub(super) view: ViewId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    View(View),
    Delivered(Stamp),
}

/// Everything that one member handed up, and what it accepted for sending.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub(super) events: Vec<Event>,
    pub(super) accepted: Vec<Stamp>,
    pub(super) is_crashed: bool,
    /// It once left INSTALL without knowing what the others do: the one way to transitional views
    /// that overlap (spec 02 §6.10).
    pub(super) was_interrupted: bool,
}

/// What one member saw of one regular view.
#[derive(Clone, Debug)]
struct Stay<'a> {
    node: NodeId,
    view: &'a View,
    regular: Vec<Stamp>,
    /// The transitional view and the messages after it, if it got that far.
    transitional: Option<(&'a View, Vec<Stamp>)>,
    /// The regular view after that.
    next: Option<&'a View>,
    is_crashed: bool,
    was_interrupted: bool,
}

type Problem = String;
type Checked = Result<(), Problem>;

fn ensure(holds: bool, problem: impl FnOnce() -> Problem) -> Checked {
    if holds { Ok(()) } else { Err(problem()) }
}

impl Trace {
    /// Accepted messages that were not delivered back.
    pub(super) fn undelivered(&self) -> Vec<Stamp> {
        let delivered = |stamp: &Stamp| self.events.contains(&Event::Delivered(*stamp));
        self.accepted.iter().filter(|stamp| !delivered(stamp)).copied().collect()
    }
}

/// Checks all invariants between the traces of one run.
pub(super) fn check_traces(traces: &[(NodeId, &Trace)]) -> Checked {
    let mut stays = Vec::new();
    for (node, trace) in traces {
        check_alternation(*node, trace)?;
        check_deliveries(*node, trace)?;
        stays.extend(stays_of(*node, trace));
    }
    let mut by_view: BTreeMap<(NodeId, u32), Vec<&Stay<'_>>> = BTreeMap::new();
    for stay in &stays {
        by_view.entry((stay.view.id.node, stay.view.id.seq)).or_default().push(stay);
    }
    for stays in by_view.values() {
        for (at, a) in stays.iter().enumerate() {
            check_sets(a)?;
            for b in &stays[at + 1..] {
                check_pair(a, b)?;
            }
        }
        check_safe_delivery(stays)?;
    }
    Ok(())
}

/// TRANS, REG, messages, TRANS of the same number, messages, REG … and at the end the empty view.
fn check_alternation(node: NodeId, trace: &Trace) -> Checked {
    let mut last_regular: Option<&View> = None;
    let mut last: Option<&View> = None;
    for event in &trace.events {
        let Event::View(view) = event else {
            let is_inside = last.is_some_and(|view| !view.is_end()) && last_regular.is_some();
            ensure(is_inside, || format!("{node}: delivery outside of a view"))?;
            continue;
        };
        let follows = match (view.id.kind, last.map(|view| view.id.kind)) {
            (ViewKind::Transitional, None) => view.members == BTreeSet::from([node]),
            (ViewKind::Transitional, Some(ViewKind::Regular)) => {
                last_regular.is_some_and(|r| (r.id.node, r.id.seq) == (view.id.node, view.id.seq))
            }
            (ViewKind::Regular, Some(ViewKind::Transitional)) => {
                view.is_end() || last_regular.is_none_or(|last| view.id.seq > last.id.seq)
            }
            _ => false,
        };
        ensure(follows, || format!("{node}: view {} after {last:?}", view.id))?;
        let is_in = view.is_end() || view.members.contains(&node);
        ensure(is_in, || format!("{node}: not in its view {}", view.id))?;
        last = Some(view);
        if view.id.kind == ViewKind::Regular {
            last_regular = Some(view);
        }
    }
    Ok(())
}

/// Own messages come back in order; nothing comes twice or in another view than it was sent in.
fn check_deliveries(node: NodeId, trace: &Trace) -> Checked {
    let mut highest: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut view: Option<ViewId> = None;
    let mut own = Vec::new();
    for event in &trace.events {
        match event {
            Event::View(new) if new.id.kind == ViewKind::Regular => view = Some(new.id),
            Event::View(_) => {}
            Event::Delivered(stamp) => {
                ensure(view == Some(stamp.view), || format!("{node}: {stamp:?} in {view:?}"))?;
                let is_next = highest.get(&stamp.source).is_none_or(|last| stamp.number > *last);
                ensure(is_next, || format!("{node}: {stamp:?} twice or out of order"))?;
                highest.insert(stamp.source, stamp.number);
                if stamp.source == node {
                    own.push(*stamp);
                }
            }
        }
    }
    let is_own_in_order = trace.accepted.starts_with(&own);
    ensure(is_own_in_order, || format!("{node}: own messages missing in between"))?;
    let is_closed = matches!(trace.events.last(), Some(Event::View(view)) if view.is_end());
    let is_complete = !is_closed || trace.is_crashed || own.len() == trace.accepted.len();
    ensure(is_complete, || format!("{node}: left without its own messages"))
}

fn stays_of(node: NodeId, trace: &Trace) -> Vec<Stay<'_>> {
    let mut stays: Vec<Stay<'_>> = Vec::new();
    for event in &trace.events {
        match (event, stays.last_mut()) {
            (Event::View(view), last) if view.id.kind == ViewKind::Regular => {
                if let Some(last) = last {
                    last.next = Some(view);
                }
                stays.push(Stay {
                    node,
                    view,
                    regular: Vec::new(),
                    transitional: None,
                    next: None,
                    is_crashed: trace.is_crashed,
                    was_interrupted: trace.was_interrupted,
                });
            }
            (Event::View(view), Some(last)) => last.transitional = Some((view, Vec::new())),
            (Event::View(_) | Event::Delivered(_), None) => {}
            (Event::Delivered(stamp), Some(last)) => match &mut last.transitional {
                Some((_, messages)) => messages.push(*stamp),
                None => last.regular.push(*stamp),
            },
        }
    }
    stays.retain(|stay| !stay.view.is_end());
    stays
}

/// joined, left and partitioned say how one view became the next.
fn check_sets(stay: &Stay<'_>) -> Checked {
    let Some(next) = stay.next.filter(|next| !next.is_end()) else { return Ok(()) };
    let (old, new) = (&stay.view.members, &next.members);
    let joined: BTreeSet<_> = new.difference(old).copied().collect();
    let gone: BTreeSet<_> = old.difference(new).copied().collect();
    let accounted: BTreeSet<_> = next.left.union(&next.partitioned).copied().collect();
    ensure(next.joined == joined, || format!("{}: joined in {next:?}", stay.node))?;
    ensure(gone.is_subset(&accounted), || format!("{}: gone in {next:?}", stay.node))?;
    ensure(next.left.is_disjoint(&next.partitioned), || format!("{}: {next:?}", stay.node))
}

fn check_pair(a: &Stay<'_>, b: &Stay<'_>) -> Checked {
    let who = || format!("{} and {} in {}", a.node, b.node, a.view.id);
    ensure(a.view.members == b.view.members, || format!("{}: members differ", who()))?;
    let is_prefix = a.regular.starts_with(&b.regular) || b.regular.starts_with(&a.regular);
    ensure(is_prefix, || format!("{}: orders differ", who()))?;
    let (Some((trans_a, after_a)), Some((trans_b, after_b))) = (&a.transitional, &b.transitional)
    else {
        return Ok(());
    };
    if trans_a.members != trans_b.members {
        let is_disjoint =
            trans_a.members.is_disjoint(&trans_b.members) || a.was_interrupted || b.was_interrupted;
        return ensure(is_disjoint, || format!("{}: overlapping {trans_a:?} {trans_b:?}", who()));
    }
    let is_same_way = a.next.is_some() && a.next.map(|v| v.id) == b.next.map(|v| v.id);
    if !is_same_way {
        return Ok(());
    }
    ensure(a.regular == b.regular, || {
        let (a, b) = (a.regular.len(), b.regular.len());
        format!("{}: {a} and {b} messages in the regular configuration", who())
    })?;
    ensure(after_a == after_b, || {
        format!("{}: transitional messages {after_a:?} and {after_b:?}", who())
    })?;
    let sets = |view: &View| (view.left.clone(), view.partitioned.clone());
    ensure(sets(trans_a) == sets(trans_b), || format!("{}: {trans_a:?} {trans_b:?}", who()))
}

/// What one delivers in the regular configuration, every member delivers that got out of the view.
fn check_safe_delivery(stays: &[&Stay<'_>]) -> Checked {
    let longest = stays.iter().map(|stay| &stay.regular).max_by_key(|messages| messages.len());
    let Some(longest) = longest else { return Ok(()) };
    for stay in stays {
        let Some((_, after)) = &stay.transitional else { continue };
        if stay.is_crashed && stay.next.is_none() {
            continue;
        }
        let all: Vec<_> = stay.regular.iter().chain(after).collect();
        for stamp in longest {
            ensure(all.contains(&stamp), || {
                format!("{} in {}: safe {stamp:?} not delivered", stay.node, stay.view.id)
            })?;
        }
    }
    Ok(())
}
